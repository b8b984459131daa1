//! From Responses into the one vocabulary.
//!
//! The format is a list of *items*; the vocabulary is a list of messages of parts. What the model said between two turns of
//! the user (reasoning, messages, calls) becomes one message of the assistant, because other formats demand it so; a part
//! remembers its item's id, by which the encoder finds the borders again.

mod answer;
mod content;
mod item;
mod mcp;
mod media;
mod request;
mod stream;
mod tools;

pub(crate) use answer::answer;
pub(super) use media::is_made;
pub(crate) use request::request;
pub(crate) use stream::StreamDecoder;
