//! Amazon Bedrock Converse: a format of upstreams only.

pub(crate) mod decode;
pub(crate) mod encode;
