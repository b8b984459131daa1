//! `OpenAI` Chat Completions and its kin: the classic completions, embeddings, errors.
//!
//! The format that everybody imitates, each a little differently; the quirks are handled by what is in the bytes, never
//! by who sent them.

pub(crate) mod answer;
pub(crate) mod decode;
mod detail;
pub(crate) mod encode;
pub(crate) mod request;
pub(crate) mod usage;

/// The event that ends a stream; added where a provider forgets it.
pub(crate) const TERMINATOR: &[u8] = b"data: [DONE]\n\n";
