//! From the stream that tells an answer to the answer.

use super::{Answer, Choice, Content, Delta, Event, Part};
use crate::limits::{CHOICES_MAX, PARTS_MAX};

/// Puts an answer together from its events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collector {
    answer: Answer,
    /// For each choice the places of its parts, in the order in which they were opened.
    places: Vec<Vec<u32>>,
}

impl Collector {
    /// Takes the next event. What refers to a part that was never opened is ignored.
    pub(crate) fn push(&mut self, event: Event) {
        match event {
            Event::Start {
                id,
                model,
                created,
                extra,
            } => {
                (
                    self.answer.id,
                    self.answer.model,
                    self.answer.created,
                    self.answer.extra,
                ) = (id, model, created, extra);
            }
            Event::Open { choice, place, part } => {
                let Some(said) = self.choice(choice) else { return };
                if said.parts.len() < PARTS_MAX {
                    said.parts.push(*part);
                    self.places[choice as usize].push(place);
                }
            }
            Event::Delta { choice, place, delta } => {
                if let Some(part) = self.part(choice, place) {
                    grow(part, delta);
                }
            }
            Event::Close { .. } => {}
            Event::Logprobs { choice, value } => {
                if let Some(said) = self.choice(choice) {
                    match &mut said.logprobs {
                        Some(known) => join(known, value),
                        none => *none = Some(value),
                    }
                }
            }
            Event::Stop { choice, stop } => {
                if let Some(said) = self.choice(choice) {
                    said.stop = Some(stop);
                }
            }
            Event::Usage(usage) => self.answer.usage = Some(usage),
            Event::ServiceTier(tier) => self.answer.service_tier = Some(tier),
        }
    }

    /// The answer so far.
    pub(crate) fn into_answer(self) -> Answer {
        self.answer
    }

    fn choice(&mut self, choice: u32) -> Option<&mut Choice> {
        let choice = choice as usize;
        if choice >= CHOICES_MAX {
            return None;
        }
        while self.answer.choices.len() <= choice {
            self.answer.choices.push(Choice::default());
            self.places.push(Vec::new());
        }
        self.answer.choices.get_mut(choice)
    }

    fn part(&mut self, choice: u32, place: u32) -> Option<&mut Part> {
        let at = self
            .places
            .get(choice as usize)?
            .iter()
            .position(|known| *known == place)?;
        self.answer.choices.get_mut(choice as usize)?.parts.get_mut(at)
    }
}

/// Lets a part grow.
pub(crate) fn grow(part: &mut Part, delta: Delta) {
    match (&mut part.content, delta) {
        (Content::Text { text, .. } | Content::Refusal(text), Delta::Text(more)) => text.push_str(&more),
        (Content::Thinking(thinking), Delta::Text(more)) => thinking.text.push_str(&more),
        (Content::Thinking(thinking), Delta::Signature(seal)) => thinking.signature = Some(seal),
        (Content::ToolCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
        (_, Delta::Signature(seal)) => part.signature = Some(seal),
        (_, Delta::Text(_) | Delta::Arguments(_) | Delta::Citation(_)) => {}
    }
}

/// Joins `{content: […], refusal: […]}` list by list.
fn join(known: &mut serde_json::Value, more: serde_json::Value) {
    let (Some(known), serde_json::Value::Object(more)) = (known.as_object_mut(), more) else {
        return;
    };
    for (name, value) in more {
        match (known.get_mut(&name).and_then(serde_json::Value::as_array_mut), value) {
            (Some(list), serde_json::Value::Array(items)) => list.extend(items),
            (None, value) if !value.is_null() => {
                known.insert(name, value);
            }
            _ => {}
        }
    }
}
