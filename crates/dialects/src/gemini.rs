//! Google Gemini: candidates with parts; a stream is a sequence of whole answers, as events or as one JSON array.

pub(crate) mod answer;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod request;
pub(crate) mod usage;
