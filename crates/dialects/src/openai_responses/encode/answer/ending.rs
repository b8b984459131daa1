//! How an answer ends, and what it cost.

use serde_json::{Value, json};

use crate::hub::{Stop, StopReason};

/// How a response ends.
pub(super) struct Ending {
    pub(super) status: &'static str,
    pub(super) reason: Option<&'static str>,
}

impl Ending {
    pub(super) fn of(stop: Option<&Stop>) -> Self {
        let incomplete = |reason| Self {
            status: "incomplete",
            reason: Some(reason),
        };
        let completed = Self {
            status: "completed",
            reason: None,
        };
        let Some(stop) = stop else { return completed };
        match stop.reason {
            StopReason::End | StopReason::Sequence | StopReason::Tool | StopReason::Pause => completed,
            StopReason::Length | StopReason::Context => incomplete("max_output_tokens"),
            StopReason::Filter => incomplete("content_filter"),
            // The format has two words, and SDKs know no third; it says only that something is missing.
            StopReason::Other => Self {
                status: "incomplete",
                reason: None,
            },
        }
    }
}

/// The prompt includes what was cached, the output what was reasoned.
pub(super) fn usage(usage: &domain::Usage) -> Value {
    json!({
        "input_tokens": usage.prompt(),
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total(),
    })
}
