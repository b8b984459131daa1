//! Google Gemini: candidates with parts; a stream is a sequence of whole answers, as events or as one JSON array.

pub(crate) mod answer;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod request;
pub(crate) mod served;
pub(crate) mod usage;

mod logprobs;
mod response;
mod schema;
mod words;

/// Begins the seal of a redacted thought of another provider on its way through a Gemini client. Base64 has no colon.
const REDACTED: &str = "redacted:";

#[cfg(test)]
mod tests;
