//! From Chat Completions to the vocabulary: requests of clients, answers and streams of upstreams.

mod answer;
mod message;
mod reasoning;
mod request;
mod stream;

pub(crate) use answer::answer;
pub(crate) use request::{CUSTOM_TOOLS, LEGACY_FUNCTIONS, request};
pub(crate) use stream::StreamDecoder;
