//! How much to think.
//!
//! Models up to Claude 4.5 (and those of other makers) are given a budget, from 4.6 on they think as they like and are
//! told in words how hard. A budget must be at least 1,024 tokens and less than `max_tokens`. Where the client bounded the
//! output, the budget gives way, because that bound is what was reserved of the client's money; else the bound grows.

use serde_json::{Value, json};

use super::model::Model;
use crate::hub::{Effort, Losses, Reasoning, ThinkingBudget};
use crate::limits::MAX_TOKENS_DEFAULT;

/// The least budget that Anthropic takes.
const BUDGET_MIN: u64 = 1_024;

/// What decides about thinking.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts, each named where it is set"
)]
pub(super) struct Ask<'a> {
    pub(super) reasoning: Option<&'a Reasoning>,
    pub(super) model: Model,
    /// It comes in Anthropic's own words, so it says what it means.
    pub(super) is_own: bool,
    pub(super) max_tokens: u64,
    /// The client set `max_tokens`.
    pub(super) max_is_fixed: bool,
    /// The most that the model generates; 0: not known.
    pub(super) max_output: u64,
    /// The choice of tools forces one.
    pub(super) forces_tool: bool,
    /// The last turn of the model calls tools and does not begin with a thought.
    pub(super) lacks_thoughts: bool,
}

/// What was decided.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The member `thinking`.
    pub(super) thinking: Option<Value>,
    /// The word of `output_config`.
    pub(super) effort: Option<&'static str>,
    /// The bound on the output.
    pub(super) max_tokens: u64,
    /// The model was asked to think.
    pub(super) thinks: bool,
}

/// Decides.
pub(super) fn plan(ask: &Ask<'_>, losses: &mut Losses) -> Plan {
    let mut plan = Plan {
        thinking: None,
        effort: None,
        max_tokens: ask.max_tokens,
        thinks: false,
    };
    let Some(reasoning) = ask.reasoning else { return plan };
    let wanted = wanted(reasoning, ask.is_own);
    if wanted == Wanted::Nothing {
        plan.effort = effort(reasoning.effort, ask, losses);
        return plan;
    }
    if !ask.is_own && !ask.model.can_think() {
        losses.note_if(wanted != Wanted::Rest, "reasoning", "the model does not think");
        return plan;
    }
    if wanted == Wanted::Rest {
        if ask.model.can_rest() {
            plan.thinking = Some(json!({"type": "disabled"}));
        } else {
            losses.note("reasoning", "the model always thinks; asked for little effort");
            plan.effort = Some("low");
        }
        return plan;
    }
    match wanted {
        Wanted::Tokens(budget) if ask.model.takes_budget() && (ask.is_own || !ask.model.is_adaptive()) => {
            plan.effort = if ask.is_own {
                effort(reasoning.effort, ask, losses)
            } else {
                None
            };
            with_budget(budget, ask, &mut plan, losses);
        }
        Wanted::Tokens(budget) if ask.model.is_adaptive() => {
            losses.note_if(
                reasoning.effort.is_none(),
                "reasoning budget",
                "the model is told in words how hard to think; told the word that comes nearest",
            );
            plan.effort = effort(reasoning.effort.or(Some(Effort::of_budget(budget))), ask, losses);
            plan.thinking = Some(json!({"type": "adaptive"}));
        }
        _ if ask.model.is_adaptive() => {
            plan.effort = effort(reasoning.effort, ask, losses);
            plan.thinking = Some(json!({"type": "adaptive"}));
        }
        _ => {
            losses.note_if(
                reasoning.budget == Some(ThinkingBudget::Adaptive),
                "reasoning budget",
                "the model needs a budget; given the usual one",
            );
            let budget = reasoning.effort.unwrap_or(Effort::Medium).budget();
            with_budget(budget, ask, &mut plan, losses);
        }
    }
    plan.thinks = plan.thinking.is_some();
    show(reasoning, ask, &mut plan);
    plan
}

/// What the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It does not say whether to think.
    Nothing,
    /// Not to think.
    Rest,
    /// To think.
    Think,
    /// To think so much.
    Tokens(u64),
}

fn wanted(reasoning: &Reasoning, is_own: bool) -> Wanted {
    match (reasoning.budget, reasoning.effort) {
        (Some(ThinkingBudget::Off | ThinkingBudget::Tokens(0)), _) | (None, Some(Effort::None)) => Wanted::Rest,
        (Some(ThinkingBudget::Tokens(budget)), _) => Wanted::Tokens(budget),
        (Some(ThinkingBudget::Adaptive), _) => Wanted::Think,
        // In Anthropic's own words the effort is that of the whole answer and does not turn thinking on.
        (None, Some(_)) if !is_own => Wanted::Think,
        (None, _) => Wanted::Nothing,
    }
}

fn effort(effort: Option<Effort>, ask: &Ask<'_>, losses: &mut Losses) -> Option<&'static str> {
    let effort = effort?;
    Some(match effort {
        Effort::None => return None,
        Effort::Minimal => {
            losses.note("reasoning effort", "Anthropic has no `minimal`; told as `low`");
            "low"
        }
        Effort::Xhigh if !ask.is_own && !ask.model.knows_xhigh() => {
            losses.note("reasoning effort", "the model has no `xhigh`; told as `high`");
            "high"
        }
        _ => effort.name(),
    })
}

fn with_budget(budget: u64, ask: &Ask<'_>, plan: &mut Plan, losses: &mut Losses) {
    // Adaptive models take both.
    if ask.forces_tool && !ask.is_own {
        losses.note(
            "reasoning",
            "Anthropic's models with a budget do not think where a tool must be used",
        );
        return;
    }
    if ask.lacks_thoughts && !ask.is_own {
        losses.note(
            "reasoning",
            "the conversation is in the middle of tool calls whose thoughts Anthropic did not seal; it goes on without",
        );
        return;
    }
    losses.note_if(
        budget < BUDGET_MIN,
        "reasoning budget",
        "raised to 1,024 tokens, the least that Anthropic takes",
    );
    let mut budget = budget.max(BUDGET_MIN);
    if !ask.max_is_fixed {
        let grown = ask.max_tokens.max(budget.saturating_add(MAX_TOKENS_DEFAULT));
        plan.max_tokens = if ask.max_output > 0 {
            grown.min(ask.max_output)
        } else {
            grown
        };
    }
    if budget >= plan.max_tokens {
        // Half of it, but not more than another budget's least, stays for the answer itself.
        let room = (plan.max_tokens / 2).min(BUDGET_MIN);
        budget = plan.max_tokens - room;
        if budget < BUDGET_MIN {
            losses.note(
                "reasoning",
                "max_tokens leaves no room for it: Anthropic's models think 1,024 tokens or not at all",
            );
            return;
        }
        losses.note("reasoning budget", "lowered to fit into max_tokens, which includes it");
    }
    plan.thinking = Some(json!({"type": "enabled", "budget_tokens": budget}));
}

/// Whether the thoughts can be read. Models from 4.7 on show them only when asked.
fn show(reasoning: &Reasoning, ask: &Ask<'_>, plan: &mut Plan) {
    let visible = reasoning.visible.or_else(|| reasoning.summary.as_ref().map(|_| true));
    if let (Some(Value::Object(thinking)), Some(visible)) = (&mut plan.thinking, visible)
        && (ask.is_own || ask.model.is_adaptive())
    {
        let display = if visible { "summarized" } else { "omitted" };
        thinking.insert("display".to_owned(), display.into());
    }
}
