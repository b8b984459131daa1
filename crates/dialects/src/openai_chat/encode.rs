//! From the vocabulary to Chat Completions: requests for upstreams, answers and streams for clients.

mod answer;
mod custom;
mod message;
mod request;
mod said;
mod sound;
mod stream;
mod usage;

pub(crate) use answer::answer;
pub(crate) use request::request;
pub(crate) use stream::StreamEncoder;
