//! What a model said.

use domain::Usage;
use serde_json::Value;

use super::{Content, Event, Extra, Losses, Part};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// The provider's id; empty where it gives none.
    pub(crate) id: String,
    /// The model that answered, in the provider's words; empty where it does not say.
    pub(crate) model: String,
    /// Seconds since 1970, where the provider says.
    pub(crate) created: Option<i64>,
    /// The answers, by their index.
    pub(crate) choices: Vec<Choice>,
    /// What was consumed, as the provider said it, in the normal form.
    pub(crate) usage: Option<Usage>,
    /// The tier that served it.
    pub(crate) service_tier: Option<String>,
    /// What only one family can say.
    pub(crate) extra: Extra,
}

/// One of the answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// What was said.
    pub(crate) parts: Vec<Part>,
    /// Why it ended.
    pub(crate) stop: Option<Stop>,
    /// OpenAI's log probabilities (`{content: […], refusal: […]}`).
    pub(crate) logprobs: Option<Value>,
}

impl Choice {
    /// Leaves out calls that a bound on the output cut, for formats in which arguments are an object: nobody must run a tool
    /// with arguments that the model did not finish, and that it was cut is told by the reason.
    fn drop_cut_calls(&mut self, losses: &mut Losses) {
        if !self.stop.as_ref().is_some_and(Stop::is_cut) {
            return;
        }
        let before = self.parts.len();
        self.parts
            .retain(|part| !matches!(&part.content, Content::ToolCall(call) if call.is_unfinished()));
        losses.note_if(self.parts.len() < before, CUT_CALL.0, CUT_CALL.1);
    }
}

/// What is lost with a call that was cut.
pub(crate) const CUT_CALL: (&str, &str) = (
    "tool call",
    "the bound on the output cut its arguments, and the format has only whole ones",
);

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// In our words.
    pub(crate) reason: StopReason,
    /// The stop sequence that was met.
    pub(crate) sequence: Option<String>,
    /// The provider's word, for the same family and for the operator.
    pub(crate) raw: String,
}

impl Stop {
    /// Whether a bound cut the answer.
    pub(crate) const fn is_cut(&self) -> bool {
        matches!(self.reason, StopReason::Length | StopReason::Context)
    }

    /// For this reason, and nothing more.
    pub(crate) fn new(reason: StopReason) -> Self {
        Self {
            reason,
            sequence: None,
            raw: String::new(),
        }
    }
}

/// Why an answer ended. `wire-facts.md` §5.5 has the table of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// All was said.
    End,
    /// A stop sequence was met.
    Sequence,
    /// The bound on the output was met.
    Length,
    /// The context window is full.
    Context,
    /// Tools are to be called.
    Tool,
    /// A filter cut it, or the model declined.
    Filter,
    /// The provider's own tool loop paused; the client asks again with what there is.
    Pause,
    /// The model's tool call was malformed, or something else that is neither of the above.
    Other,
}

impl Answer {
    /// Leaves out calls that were cut, for formats that have only whole ones.
    pub(crate) fn drop_cut_calls(&mut self, losses: &mut Losses) {
        for choice in &mut self.choices {
            choice.drop_cut_calls(losses);
        }
    }

    /// The answer as the stream that tells it.
    pub(crate) fn into_events(self) -> Vec<Event> {
        let mut events = vec![Event::Start {
            id: self.id,
            model: self.model,
            created: self.created,
            extra: self.extra,
        }];
        events.extend(self.service_tier.map(Event::ServiceTier));
        for (choice, said) in self.choices.into_iter().enumerate() {
            let choice = choice as u32;
            for (place, part) in said.parts.into_iter().enumerate() {
                let place = place as u32;
                events.push(Event::Open {
                    choice,
                    place,
                    part: Box::new(part),
                });
                events.push(Event::Close { choice, place });
            }
            events.extend(said.logprobs.map(|value| Event::Logprobs { choice, value }));
            events.extend(said.stop.map(|stop| Event::Stop { choice, stop }));
        }
        events.extend(self.usage.map(Event::Usage));
        events
    }
}
