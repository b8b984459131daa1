//! `usageMetadata`: the prompt includes what was cached, the candidates exclude thoughts.

use domain::Usage;
use serde::Serialize;

use crate::hub::Losses;

/// Figures as Gemini tells them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageMetadata {
    prompt_token_count: u64,
    candidates_token_count: u64,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<[Modality; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_tokens_details: Option<[Modality; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Modality {
    modality: &'static str,
    token_count: u64,
}

/// The tier in Gemini's words, which its SDKs know (`google.genai.types.ServiceTier`).
fn named(tier: &str, losses: &mut Losses) -> Option<String> {
    match tier {
        "default" | "auto" | "on_demand" | "standard" => Some("standard".to_owned()),
        "flex" | "priority" => Some(tier.to_owned()),
        _ => {
            losses.note("service_tier", "Gemini has no word for this tier");
            None
        }
    }
}

/// Writes usage in the normal form.
pub(super) fn write(usage: &Usage, tier: Option<String>, losses: &mut Losses) -> UsageMetadata {
    losses.note_if(
        usage.cache_write_5m + usage.cache_write_1h > 0,
        "usage.cache_write",
        "Gemini does not tell what was written to the cache; the prompt includes it",
    );
    losses.note_if(usage.web_searches > 0, "usage.web_searches", "Gemini does not tell it");
    let known = |count: u64| (count > 0).then_some(count);
    let audio = |count: u64| {
        known(count).map(|token_count| {
            [Modality {
                modality: "AUDIO",
                token_count,
            }]
        })
    };
    UsageMetadata {
        prompt_token_count: usage.prompt(),
        candidates_token_count: usage.output.saturating_sub(usage.reasoning),
        total_token_count: usage.total(),
        cached_content_token_count: known(usage.cache_read),
        prompt_tokens_details: audio(usage.input_audio),
        candidates_tokens_details: audio(usage.output_audio),
        thoughts_token_count: known(usage.reasoning),
        service_tier: tier.and_then(|tier| named(&tier, losses)),
    }
}
