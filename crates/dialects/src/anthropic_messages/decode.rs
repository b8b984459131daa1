//! From Anthropic's format to the vocabulary: clients' requests, upstreams' answers and streams.
//!
//! Blocks are the same in requests, answers and the starts of streamed blocks, so one module reads them all
//! ([`blocks`]). What Anthropic runs itself (searches, code) stays in its own words: only Anthropic reads it again.

mod answer;
mod blocks;
mod client_tools;
mod mcp;
mod request;
mod stream;
mod tools;

pub(crate) use answer::answer;
pub(crate) use client_tools::{is_one as is_client_tool, is_run_by_client, settle as settle_client_tools};
pub(super) use mcp::{SERVER, TOOLSET};
pub(crate) use request::request;
pub(crate) use stream::StreamDecoder;

/// The dialect whose words these are.
const OWN: domain::Dialect = domain::Dialect::AnthropicMessages;
