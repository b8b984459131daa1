//! A whole answer as a Gemini client gets it.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::grounding::{Cited, Grounding};
use super::part::{self, To};
use super::{merge, put, restore, usage};
use crate::gemini::{logprobs, words};
use crate::hub::{Answer, Choice, Content, Extra, Losses, Part, Stop, StopReason};
use crate::translate::Reply;

/// Members of a candidate that only Google has; the hub keeps those of the first one beside the answer's own.
const OF_CANDIDATE: [&str; 5] = [
    "safetyRatings",
    "avgLogprobs",
    "finishMessage",
    "tokenCount",
    "citationMetadata",
];

/// Writes it.
pub(crate) fn answer(mut answer: Answer, reply: &Reply, losses: &mut Losses) -> Value {
    let mut of_candidate = of_candidate(&mut answer.extra);
    let is_blocked = is_blocked(&answer);
    let mut candidates: Vec<Value> = Vec::new();
    for (index, choice) in answer.choices.into_iter().enumerate() {
        let mut told = candidate(index, choice, losses);
        if index == 0 {
            merge(&mut told, std::mem::take(&mut of_candidate));
        }
        candidates.push(Value::Object(told));
    }
    let mut body = Map::new();
    put(&mut body, "candidates", (!is_blocked).then_some(candidates));
    let has_usage = answer.usage.is_some();
    losses.note_if(
        !has_usage && answer.service_tier.is_some(),
        "service_tier",
        "Gemini tells it with the usage only",
    );
    let figures = answer
        .usage
        .map(|figures| json!(usage::write(&figures, answer.service_tier.take(), losses)));
    put(&mut body, "usageMetadata", figures);
    let or_else = |known: String, other: &str| if known.is_empty() { other.to_owned() } else { known };
    body.insert("modelVersion".to_owned(), or_else(answer.model, &reply.model).into());
    body.insert("responseId".to_owned(), or_else(answer.id, &reply.id).into());
    restore(&mut body, answer.extra, losses);
    Value::Object(body)
}

fn of_candidate(extra: &mut Extra) -> Map<String, Value> {
    let mut members = Map::new();
    if extra.origin == Some(Dialect::Gemini) {
        let taken = OF_CANDIDATE
            .iter()
            .filter_map(|name| extra.members.shift_remove_entry(*name));
        members.extend(taken);
    }
    members
}

/// A blocked prompt has no candidates.
fn is_blocked(answer: &Answer) -> bool {
    let reason = answer
        .extra
        .members
        .get("promptFeedback")
        .and_then(|feedback| feedback.get("blockReason"));
    answer.extra.origin == Some(Dialect::Gemini)
        && reason.is_some_and(|reason| !reason.is_null())
        && answer.choices.iter().all(|choice| choice.parts.is_empty())
}

fn candidate(index: usize, choice: Choice, losses: &mut Losses) -> Map<String, Value> {
    let (mut parts, mut grounding) = (Vec::new(), Grounding::default());
    for mut part in choice.parts {
        match part.content {
            Content::Deed(deed) => {
                parts.extend(grounding.deed(*deed, losses));
                continue;
            }
            Content::Native {
                origin: Dialect::Gemini,
                ref value,
            } if grounding.own(value) => continue,
            _ => {}
        }
        cite(&mut part, parts.len(), &mut grounding, losses);
        if let Err(refused) = part::write(part, To::Client, losses, &mut parts) {
            losses.note(refused.path, "Gemini cannot say where it is");
        }
    }
    let mut members = Map::new();
    members.insert("content".to_owned(), json!({"parts": parts, "role": "model"}));
    end(
        &mut members,
        choice.stop.as_ref(),
        choice.logprobs.as_ref(),
        grounding,
        losses,
    );
    members.insert("index".to_owned(), index.into());
    members
}

fn cite(part: &mut Part, place: usize, grounding: &mut Grounding, losses: &mut Losses) {
    if let Content::Text { text, citations } = &mut part.content {
        for citation in std::mem::take(citations) {
            let about = Cited {
                text,
                part: Some(place),
                before: 0,
            };
            grounding.cite(citation, about, losses);
        }
    }
}

/// What a candidate ends with, in whole answers and in streams.
pub(super) fn end(
    members: &mut Map<String, Value>,
    stop: Option<&Stop>,
    probabilities: Option<&Value>,
    grounding: Grounding,
    losses: &mut Losses,
) {
    if let Some(stop) = stop {
        losses.note_if(
            stop.sequence.is_some(),
            "stop_sequence",
            "Gemini does not tell which one was met",
        );
        losses.note_if(
            stop.reason == StopReason::Pause,
            "stop_reason",
            "Gemini has no word for a pause; it is told as the end",
        );
    }
    // Some servers give no reason at all; a candidate without one is not over.
    members.insert("finishReason".to_owned(), stop.map_or("STOP", words::write).into());
    if let Some((result, mean)) = probabilities.and_then(logprobs::write) {
        members.insert("logprobsResult".to_owned(), result);
        put(members, "avgLogprobs", mean);
    }
    grounding.write(members, losses);
}
