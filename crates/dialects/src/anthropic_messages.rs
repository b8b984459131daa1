//! Anthropic Messages: content in blocks, a stream of named events with a strict order.

pub(crate) mod answer;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod request;
pub(crate) mod served;
pub(crate) mod usage;

/// The event that ends a stream; added where a provider forgets it.
pub(crate) const TERMINATOR: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod roundtrip;
