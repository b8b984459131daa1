//! How the answer is drawn, how long it is, what shape it has: `generationConfig`.

use serde_json::{Map, Value, json};

use super::model::{Generation, Model};
use super::put;
use crate::gemini::schema;
use crate::hub::{Effort, Losses, OutputFormat, Reasoning, Request, Sampling, ThinkingBudget};
use crate::translate::Target;

/// Writes it; empty if there is nothing to say.
pub(super) fn write(
    request: &mut Request,
    target: &Target<'_>,
    is_own: bool,
    losses: &mut Losses,
) -> Map<String, Value> {
    let mut config = Map::new();
    sampling(std::mem::take(&mut request.sampling), &mut config, losses);
    put(
        &mut config,
        "maxOutputTokens",
        bound(request.max_output, target, losses),
    );
    put(&mut config, "candidateCount", request.choices);
    if let Some(alternatives) = request.logprobs {
        config.insert("responseLogprobs".to_owned(), true.into());
        put(&mut config, "logprobs", (alternatives > 0).then_some(alternatives));
    }
    format(request.format.take(), &mut config, losses);
    put(&mut config, "responseModalities", modalities(&request.modalities));
    if let Some(reasoning) = request.reasoning.take() {
        let thinking = thinking(&reasoning, Model::of(target.model), is_own, losses);
        put(
            &mut config,
            "thinkingConfig",
            (!thinking.is_empty()).then_some(thinking),
        );
    }
    config
}

fn sampling(sampling: Sampling, config: &mut Map<String, Value>, losses: &mut Losses) {
    put(config, "temperature", sampling.temperature);
    put(config, "topP", sampling.top_p);
    put(config, "topK", sampling.top_k);
    let seed = sampling.seed.filter(|seed| {
        let fits = seed.as_i64().is_some_and(|seed| i32::try_from(seed).is_ok());
        losses.note_if(!fits, "seed", "Gemini's seeds have 32 bits");
        fits
    });
    put(config, "seed", seed);
    put(config, "presencePenalty", sampling.presence_penalty);
    put(config, "frequencyPenalty", sampling.frequency_penalty);
    put(
        config,
        "stopSequences",
        (!sampling.stop.is_empty()).then_some(sampling.stop),
    );
    losses.note_if(
        sampling.logit_bias.is_some(),
        "logit_bias",
        "Gemini has no bias of tokens",
    );
}

/// A bound above what the model can generate is refused.
fn bound(wanted: Option<u64>, target: &Target<'_>, losses: &mut Losses) -> Option<u64> {
    let wanted = wanted?;
    if target.max_output > 0 && wanted > target.max_output {
        losses.note(
            "max_output_tokens",
            "it is more than the model can generate; lowered to that",
        );
        return Some(target.max_output);
    }
    Some(wanted)
}

fn format(format: Option<OutputFormat>, config: &mut Map<String, Value>, losses: &mut Losses) {
    let mime = match format {
        None | Some(OutputFormat::Other) => return,
        Some(OutputFormat::Text) => "text/plain",
        Some(OutputFormat::Json) => "application/json",
        Some(OutputFormat::Schema {
            description,
            mut schema,
            ..
        }) => {
            if let (Some(description), Some(members)) = (description, schema.as_object_mut()) {
                members.entry("description").or_insert(description.into());
            }
            let schema = schema::to_gemini(schema, losses);
            config.insert("responseJsonSchema".to_owned(), schema);
            "application/json"
        }
    };
    config.insert("responseMimeType".to_owned(), mime.into());
}

/// Sound comes alone, pictures come with text.
fn modalities(wanted: &[String]) -> Option<Value> {
    let words: Vec<String> = wanted.iter().map(|word| word.to_ascii_uppercase()).collect();
    match words.iter().any(|word| word == "AUDIO") {
        _ if words.is_empty() => None,
        true => Some(words.into()),
        false => Some(std::iter::once("TEXT".to_owned()).chain(words).collect()),
    }
}

fn thinking(reasoning: &Reasoning, model: Model, is_own: bool, losses: &mut Losses) -> Map<String, Value> {
    let mut config = Map::new();
    if model.generation == Generation::Early {
        losses.note_if(
            !matches!(
                (reasoning.effort, reasoning.budget),
                (None | Some(Effort::None), None | Some(ThinkingBudget::Off))
            ),
            "reasoning",
            "the model cannot think",
        );
        return config;
    }
    let is_summary_styled = reasoning.summary.as_deref().is_some_and(|style| style != "auto");
    losses.note_if(
        is_summary_styled,
        "reasoning.summary",
        "Gemini writes its summaries in one way only",
    );
    let amount = match (model.generation, is_own) {
        // What Gemini's client wrote for this generation or another is for Google to judge.
        (_, true) => own(reasoning),
        (Generation::Level, false) => level(reasoning, model, losses),
        (Generation::Early | Generation::Budget, false) => tokens(reasoning, model, losses),
    };
    config.extend(amount.map(|(name, value)| (name.to_owned(), value)));
    let implied = !is_own
        && (reasoning.summary.is_some()
            || matches!(
                reasoning.budget,
                Some(ThinkingBudget::Tokens(_) | ThinkingBudget::Adaptive)
            ));
    let visible = reasoning.visible.or_else(|| implied.then_some(true));
    put(&mut config, "includeThoughts", visible);
    config
}

type Amount = Option<(&'static str, Value)>;

fn own(reasoning: &Reasoning) -> Amount {
    if let Some(effort) = reasoning.effort {
        return Some(("thinkingLevel", effort.name().to_ascii_uppercase().into()));
    }
    let tokens = match reasoning.budget? {
        ThinkingBudget::Adaptive => json!(-1),
        ThinkingBudget::Off => json!(0),
        ThinkingBudget::Tokens(tokens) => json!(tokens),
    };
    Some(("thinkingBudget", tokens))
}

fn level(reasoning: &Reasoning, model: Model, losses: &mut Losses) -> Amount {
    let effort = match (reasoning.effort, reasoning.budget) {
        (Some(effort), _) => effort,
        (None, Some(ThinkingBudget::Off)) => Effort::None,
        (None, Some(ThinkingBudget::Tokens(tokens))) => Effort::of_budget(tokens),
        // Adaptive is what it does by itself.
        (None, Some(ThinkingBudget::Adaptive) | None) => return None,
    };
    let least = if model.knows_minimal() { "MINIMAL" } else { "LOW" };
    let word = match effort {
        Effort::None => {
            losses.note(
                "reasoning.effort",
                "the model cannot be kept from thinking; it thinks the least it can",
            );
            least
        }
        Effort::Minimal => least,
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High => "HIGH",
        Effort::Xhigh | Effort::Max => {
            losses.note("reasoning.effort", "Gemini's highest level is `high`");
            "HIGH"
        }
    };
    Some(("thinkingLevel", word.into()))
}

fn tokens(reasoning: &Reasoning, model: Model, losses: &mut Losses) -> Amount {
    let wanted = match (reasoning.budget, reasoning.effort) {
        (Some(ThinkingBudget::Adaptive), None) => return Some(("thinkingBudget", json!(-1))),
        (Some(ThinkingBudget::Tokens(tokens)), _) => tokens,
        (Some(ThinkingBudget::Off), _) => 0,
        (_, Some(effort)) => effort.budget(),
        (None, None) => return None,
    };
    let (least, most) = model.budgets();
    let tokens = match wanted {
        0 if model.can_be_quiet() => 0,
        0 => {
            losses.note(
                "reasoning.effort",
                "the model cannot be kept from thinking; it thinks the least it can",
            );
            least
        }
        wanted => wanted.clamp(least, most),
    };
    losses.note_if(
        wanted > 0 && tokens != wanted && reasoning.budget.is_some(),
        "thinking.budget_tokens",
        "the model takes other budgets; the nearest one is asked for",
    );
    Some(("thinkingBudget", tokens.into()))
}
