//! From the vocabulary to Anthropic's format: requests to upstreams, answers and streams to clients.

mod answer;
mod blocks;
mod request;
mod stream;
mod usage;

pub(crate) use answer::answer;
pub(crate) use request::request;
pub(crate) use stream::StreamEncoder;

/// The dialect whose words these are.
const OWN: domain::Dialect = domain::Dialect::AnthropicMessages;
