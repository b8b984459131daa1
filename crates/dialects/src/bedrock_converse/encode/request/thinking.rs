//! `additionalModelRequestFields`: how much to think and the likeliest tokens, in the words of the model's maker.

use serde_json::{Map, Value, json};

use super::super::super::family::{ADAPTS, Family, Generation, TAKES_NO_BUDGET, THINKS};
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
            if is_thinking {
                let is_lost = request
                    .sampling
                    .temperature
                    .take()
                    .is_some_and(|heat| heat.as_f64() != Some(1.0));
                losses.note_if(is_lost, "temperature", "the model takes none while it thinks");
                losses.note_if(top_k.is_some(), "top_k", "the model takes none while it thinks");
            } else if let Some(top_k) = top_k {
                fields.insert("top_k".to_owned(), top_k);
            }
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
        let word = match effort {
            Effort::Xhigh | Effort::Max => "max",
            effort => three(effort),
        };
        fields.insert("output_config".to_owned(), json!({"effort": word}));
    }
    fields
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
