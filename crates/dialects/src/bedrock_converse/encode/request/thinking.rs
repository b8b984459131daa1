//! `additionalModelRequestFields`: how much to think and the likeliest tokens, in the words of the model's maker.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::super::super::family::{ADAPTS, Family, Generation, SAMPLES_ONE_WAY, TAKES_NO_BUDGET, THINKS};
use super::message::Told;
use crate::hub::{Effort, Losses, Reasoning, Request, ThinkingBudget, ToolChoice};

/// The least that Claude thinks, where it does:
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>.
const BUDGET_MIN: u64 = 1_024;

/// Why a wish to think comes to nothing.
const UNKNOWN: &str = "how the model is told to think is not known";

/// Writes what Converse itself has no words for. What a thinking model does not take is taken out of the request.
pub(super) fn additional(
    request: &mut Request,
    told: &Told,
    family: Family,
    losses: &mut Losses,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let top_k = request.sampling.top_k.take();
    let wish = request.reasoning.take();
    match family {
        Family::Claude(generation) => {
            let thinking = wish.and_then(|wish| claude(&wish, generation, request, told, losses));
            let is_thinking = thinking.as_ref().is_some_and(|fields| fields.contains_key("thinking"));
            fields.extend(thinking.unwrap_or_default());
            let top_k = sampling(request, generation, is_thinking, top_k, losses);
            fields.extend(top_k.map(|top_k| ("top_k".to_owned(), top_k)));
        }
        Family::Nova(generation) => {
            if let Some(top_k) = top_k {
                fields.insert("inferenceConfig".to_owned(), json!({"topK": top_k}));
            }
            fields.extend(wish.and_then(|wish| nova(&wish, generation, losses)));
        }
        Family::GptOss => {
            losses.note_if(top_k.is_some(), "top_k", "the model has no such setting");
            let effort = wish.as_ref().and_then(effort);
            fields.extend(effort.map(|effort| ("reasoning_effort".to_owned(), three(effort).into())));
        }
        Family::Other => {
            losses.note_if(top_k.is_some(), "top_k", "how the model is told is not known");
            losses.note_if(
                wish.is_some_and(|wish| effort(&wish) != Some(Effort::None)),
                "thinking",
                UNKNOWN,
            );
        }
    }
    fields
}

/// Takes out what a Claude of this generation answers with an error, and gives back what may be said of `top_k`: the rules
/// are the model's, so those of Anthropic's own API
/// (<https://platform.claude.com/docs/en/about-claude/models/migration-guide>).
fn sampling(
    request: &mut Request,
    generation: Generation,
    thinks: bool,
    mut top_k: Option<Value>,
    losses: &mut Losses,
) -> Option<Value> {
    let sampling = &mut request.sampling;
    if generation >= TAKES_NO_BUDGET {
        let why = "models from Claude 4.7 on refuse it";
        losses.note_if(sampling.temperature.take().is_some(), "temperature", why);
        losses.note_if(sampling.top_p.take().is_some(), "top_p", why);
        losses.note_if(top_k.take().is_some(), "top_k", why);
        return None;
    }
    if thinks {
        let is_one = |value: &mut Value| value.as_f64() == Some(1.0);
        let is_low = |value: &mut Value| value.as_f64().is_some_and(|share| share < 0.95);
        let why = "the model takes none while it thinks";
        losses.note_if(
            sampling.temperature.take_if(|heat| !is_one(heat)).is_some(),
            "temperature",
            why,
        );
        losses.note_if(top_k.take().is_some(), "top_k", why);
        let low = sampling.top_p.take_if(is_low);
        losses.note_if(low.is_some(), "top_p", "a model that thinks takes 0.95 to 1");
    }
    if generation >= SAMPLES_ONE_WAY && sampling.temperature.is_some() {
        let why = "models from Claude 4.1 on take it or temperature, not both";
        losses.note_if(sampling.top_p.take().is_some(), "top_p", why);
    }
    top_k
}

/// The wish in words, where there is one.
fn effort(wish: &Reasoning) -> Option<Effort> {
    wish.effort.or(match wish.budget {
        Some(ThinkingBudget::Off) => Some(Effort::None),
        Some(ThinkingBudget::Tokens(tokens)) => Some(Effort::of_budget(tokens)),
        Some(ThinkingBudget::Adaptive) | None => None,
    })
}

const fn three(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    }
}

fn claude(
    wish: &Reasoning,
    generation: Generation,
    request: &Request,
    told: &Told,
    losses: &mut Losses,
) -> Option<Map<String, Value>> {
    // In Anthropic's words an effort is that of the whole answer, and does not make a model think.
    let is_only_effort = wish.budget.is_none() && request.extra.origin == Some(Dialect::AnthropicMessages);
    if let (true, Some(effort)) = (is_only_effort, wish.effort) {
        if generation >= ADAPTS {
            return Some(Map::from_iter([(
                "output_config".to_owned(),
                json!({"effort": word(effort)}),
            )]));
        }
        losses.note("effort", "the model is not told how hard to try");
        return None;
    }
    let is_off =
        wish.budget == Some(ThinkingBudget::Off) || (wish.budget.is_none() && wish.effort == Some(Effort::None));
    if is_off || (wish.budget.is_none() && wish.effort.is_none()) {
        return None;
    }
    if generation < THINKS {
        losses.note("thinking", "the model cannot think");
        return None;
    }
    if matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    ) {
        losses.note("thinking", "the model does not think where it must use a tool");
        return None;
    }
    let tokens = match wish.budget {
        Some(ThinkingBudget::Tokens(tokens)) => tokens,
        _ => wish.effort.unwrap_or(Effort::Medium).budget(),
    };
    let by_words = generation >= TAKES_NO_BUDGET
        || (generation >= ADAPTS && !matches!(wish.budget, Some(ThinkingBudget::Tokens(_))));
    if by_words {
        return Some(adaptive(wish));
    }
    if told.calls_unthought {
        losses.note(
            "thinking",
            "the last turn calls tools without sealed reasoning, which the model then refuses",
        );
        return None;
    }
    let budget = request
        .max_output
        .map_or(tokens, |most| tokens.min(most.saturating_sub(1)))
        .max(BUDGET_MIN);
    if request.max_output.is_some_and(|most| most <= budget) {
        losses.note("thinking", "the bound on the output leaves no room for it");
        return None;
    }
    Some(Map::from_iter([(
        "thinking".to_owned(),
        json!({"type": "enabled", "budget_tokens": budget}),
    )]))
}

/// Claude decides how much; an effort is a hint.
fn adaptive(wish: &Reasoning) -> Map<String, Value> {
    let mut fields = Map::from_iter([("thinking".to_owned(), json!({"type": "adaptive"}))]);
    if let Some(effort) = effort(wish) {
        fields.insert("output_config".to_owned(), json!({"effort": word(effort)}));
    }
    fields
}

/// An effort in Claude's words.
const fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::Xhigh | Effort::Max => "max",
        effort => three(effort),
    }
}

/// The second generation thinks: <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html>. At its
/// highest effort it would take no bound on the output.
fn nova(wish: &Reasoning, generation: u32, losses: &mut Losses) -> Option<(String, Value)> {
    let effort = effort(wish).filter(|effort| *effort != Effort::None)?;
    if generation < 2 {
        losses.note("thinking", "the model cannot think");
        return None;
    }
    losses.note_if(
        effort > Effort::Medium,
        "thinking",
        "more than a medium effort would take no bound on the output",
    );
    let word = three(effort.min(Effort::Medium));
    Some((
        "reasoningConfig".to_owned(),
        json!({"type": "enabled", "maxReasoningEffort": word}),
    ))
}
