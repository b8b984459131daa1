//! Amazon Bedrock Converse: a format of upstreams only.
//!
//! Streams are Amazon's binary event stream (`stream/frames.rs`); an event's name stands in a header of its frame, so
//! what is read of a stream are whole frames. Answers name neither themselves nor their model.

pub(crate) mod answer;
pub(crate) mod decode;
pub(crate) mod encode;
mod family;
pub(crate) mod served;
mod usage;
