//! From Bedrock's words into the vocabulary: answers only, since no client speaks this format.

mod answer;
mod stream;

pub(crate) use answer::answer;
pub(crate) use stream::StreamDecoder;
