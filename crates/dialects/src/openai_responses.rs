//! `OpenAI` Responses: an answer is a list of items, a stream a list of named events about them.

pub(crate) mod answer;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod request;
