//! Usage in Anthropic's fields: the input excludes the cache, whose writes are told by how long they live.

use domain::Usage;
use serde::Serialize;

use crate::hub::Losses;

/// The `usage` object. A figure that is not known yet is 0, since the format demands a number.
#[derive(Debug, Serialize)]
pub(super) struct UsageObject<'a> {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreation,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tool_use: Option<ServerToolUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Debug, Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

#[derive(Debug, Serialize)]
struct ServerToolUse {
    web_search_requests: u64,
    web_fetch_requests: u64,
}

/// Tells what was consumed, and by which tier.
pub(super) fn usage<'a>(usage: &Usage, tier: Option<&'a str>) -> UsageObject<'a> {
    UsageObject {
        input_tokens: usage.input,
        cache_creation_input_tokens: usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        cache_read_input_tokens: usage.cache_read,
        cache_creation: CacheCreation {
            ephemeral_5m_input_tokens: usage.cache_write_5m,
            ephemeral_1h_input_tokens: usage.cache_write_1h,
        },
        output_tokens: usage.output,
        output_tokens_details: (usage.reasoning > 0).then_some(OutputDetails {
            thinking_tokens: usage.reasoning,
        }),
        server_tool_use: (usage.web_searches > 0).then_some(ServerToolUse {
            web_search_requests: usage.web_searches,
            web_fetch_requests: 0,
        }),
        service_tier: tier,
    }
}

/// The tier in Anthropic's words (`standard`, `priority`, `batch`), which SDKs check.
pub(super) fn tier(tier: Option<&str>, losses: &mut Losses) -> Option<&'static str> {
    match tier? {
        "standard" | "default" | "auto" | "on_demand" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => {
            losses.note("service_tier", "Anthropic's format has no word for this tier");
            None
        }
    }
}
