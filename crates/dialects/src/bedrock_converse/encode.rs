//! From the vocabulary into Bedrock's words: requests only, since no client speaks this format.

mod request;

pub(crate) use request::request;
