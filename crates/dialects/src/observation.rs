//! What a reader has seen of an answer: the common ground of whole answers and streams.

use domain::{Dialect, Surface};
use smallvec::SmallVec;

use crate::answer::{Finish, Report, ReportedFailure};
use crate::json::{Cursor, Kind, Syntax, Text, count};
use crate::limits::{CHOICES_MAX, NAME_MAX};
use crate::searches::Searches;
use crate::stream::stencil::{Filling, Holes};
use crate::usage::Tally;

/// Everything seen so far.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are findings, independent of each other, not a state"
)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    /// As it is shown.
    pub(crate) report: Report,
    /// Token figures of the dialects that spread them over several events.
    pub(crate) tally: Tally,
    /// Searches that are billed by the piece and that usage does not count.
    pub(crate) searches: Searches,
    /// The choices seen and whether each has its finish reason.
    pub(crate) choices: Choices,
    /// Whether the model asked for a tool: some dialects finish with a plain "stop" then.
    pub(crate) tool_asked: bool,
    /// Whether an object was found where the answers of the operation have theirs.
    pub(crate) has_body: bool,
    /// Whether the last event carried usage.
    pub(crate) usage_was_last: bool,
    /// The last event's number, where it has one.
    pub(crate) sequence: Option<u64>,
    /// What of the last event may be another in the next one, which otherwise means the same.
    pub(crate) holes: Holes,
    /// The provider said that the prompt was refused: there will be no candidates.
    pub(crate) blocked: bool,
    /// Anthropic: a `message_delta` came, after which only the end can. Responses: the response is no longer running.
    /// Bedrock: `messageStop` came, after which only the `metadata` can. Tasks: an event that may be the last one came.
    pub(crate) closing: bool,
}

/// What one event is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Something that the model generated is in it.
    pub(crate) content: bool,
    /// It carries usage and no choice.
    pub(crate) usage_only: bool,
    /// What it means for the stream.
    pub(crate) mark: Mark,
}

impl Sign {
    /// Something was generated, and the stream goes on.
    pub(crate) fn is_plain(&self) -> bool {
        self.content && !self.usage_only && self.mark == Mark::None
    }
}

/// What an event means for the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It goes on.
    #[default]
    None,
    /// It may be the last: to be held back until another comes, or the end.
    Perhaps,
    /// The terminal marker.
    End,
    /// An error instead of the answer.
    Error(ReportedFailure),
}

/// Choices by their index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices(SmallVec<[(u64, bool); 4]>);

impl Choices {
    /// Notes a choice, and that it is finished if it is. `false`: there are too many to be true.
    pub(crate) fn note(&mut self, index: u64, finished: bool) -> bool {
        if let Some(known) = self.0.iter_mut().find(|(known, _)| *known == index) {
            known.1 |= finished;
            return true;
        }
        if self.0.len() == CHOICES_MAX {
            return false;
        }
        self.0.push((index, finished));
        true
    }

    /// Whether there is a choice, and all have their finish reason.
    pub(crate) fn all_finished(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, finished)| *finished)
    }

    /// Whether there is a choice, and none has a finish reason.
    pub(crate) fn none_finished(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, finished)| !finished)
    }
}

impl Observation {
    /// Takes the model's name; the first one counts.
    pub(crate) fn model(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let (Some(text), None) = (value.string_if()?, &self.report.model) {
            self.report.model = name(text);
        }
        Ok(())
    }

    /// Reads what the model generated, as [`generated`] does. Where it is one string, events that follow are often the
    /// same but for it.
    pub(crate) fn said(&mut self, value: &mut Cursor<'_>) -> Result<u64, Syntax> {
        if value.kind()? != Kind::String {
            return generated(value);
        }
        let text = value.string()?;
        self.holes.note(text.raw, Filling::Said);
        Ok(text.len())
    }

    /// Steps over a string that says nothing and differs from event to event.
    pub(crate) fn aside(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let Some(text) = value.string_if()? {
            self.holes.note(text.raw, Filling::Aside);
        }
        Ok(())
    }

    /// Steps over a number that differs from event to event.
    pub(crate) fn counter(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        let kind = value.kind()?;
        let span = value.skip()?;
        if kind == Kind::Number {
            self.holes.note(value.slice(span), Filling::Counter);
        }
        Ok(())
    }

    /// Takes the event's number, by which the next one's is known.
    pub(crate) fn sequence(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        let mut at = value.clone();
        let span = at.skip()?;
        self.sequence = count(value.slice(span));
        self.counter(value)
    }

    /// Takes the service tier; the last one counts, since the first is only what was asked for.
    pub(crate) fn service_tier(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let Some(text) = value.string_if()? {
            let known = self.report.service_tier.as_deref().is_some_and(|known| text.is(known));
            if !known && let Some(tier) = name(text) {
                self.report.service_tier = Some(tier);
            }
        }
        Ok(())
    }

    /// Takes a finish reason. Of several choices the first decides.
    pub(crate) fn finish(&mut self, index: u64, finish: Finish) {
        if index == 0 || self.report.finish == Finish::Unknown {
            self.report.finish = finish;
        }
    }

    /// Whether a clean end now would make the stream whole.
    pub(crate) fn may_end(&self, surface: Surface) -> bool {
        match surface.dialect {
            Dialect::OpenaiChat if surface.operation.is_task() => self.closing,
            Dialect::OpenaiChat => self.choices.all_finished(),
            Dialect::AnthropicMessages => self.closing && self.report.finish != Finish::Unknown,
            Dialect::Gemini => self.choices.all_finished() || self.blocked,
            // Its end is always said, and nothing else is it.
            Dialect::OpenaiResponses | Dialect::BedrockConverse => false,
        }
    }

    /// Whether the terminal marker may be believed now. A cut answer must not look whole because a proxy in between
    /// puts a terminator after everything.
    pub(crate) fn may_terminate(&self, surface: Surface) -> bool {
        match surface.dialect {
            Dialect::OpenaiChat if surface.operation.is_task() => self.closing,
            // Some providers give no finish reasons at all (recorded of Novita's Kimi K2 through OpenRouter, and of
            // Snowflake); their last word before `[DONE]` is the usage.
            Dialect::OpenaiChat => self.may_end(surface) || (self.choices.none_finished() && self.usage_was_last),
            Dialect::AnthropicMessages | Dialect::OpenaiResponses | Dialect::BedrockConverse => self.closing,
            Dialect::Gemini => self.may_end(surface),
        }
    }
}

/// Text that the model generated, as measured in one value.
///
/// Formats put it into strings at any depth (`[{"type": "text", "text": …}]`); what counts is told by the key.
pub(crate) fn generated(value: &mut Cursor<'_>) -> Result<u64, Syntax> {
    Ok(match value.kind()? {
        Kind::String => value.string()?.len(),
        Kind::Array | Kind::Object => generated_inside(value)?,
        Kind::Number | Kind::Bool | Kind::Null => value.skip().map(|_| 0)?,
    })
}

fn generated_inside(value: &mut Cursor<'_>) -> Result<u64, Syntax> {
    let mut bytes = 0;
    let kind = value.kind()?;
    // Nobody knows the words of something so deep; it is counted as it is written.
    if value.is_deepest() {
        return value.skip().map(|span| span.len() as u64);
    }
    match kind {
        Kind::Object => {
            value.object(|key, member| {
                bytes += match (key, member.kind()?) {
                    (b"args" | b"input", Kind::Object) => member.skip()?.len() as u64,
                    (_, Kind::Object | Kind::Array) => generated_inside(member)?,
                    (
                        b"text" | b"thinking" | b"content" | b"refusal" | b"reasoning" | b"arguments" | b"name"
                        | b"input" | b"transcript" | b"code" | b"output" | b"partial_json" | b"summary",
                        Kind::String,
                    ) => member.string()?.len(),
                    _ => member.skip().map(|_| 0)?,
                };
                Ok::<(), Syntax>(())
            })?;
        }
        Kind::Array => {
            value.array(|element| {
                bytes += generated_inside(element)?;
                Ok::<(), Syntax>(())
            })?;
        }
        _ => {
            value.skip()?;
        }
    }
    Ok(bytes)
}

/// Whether a value holds anything: `null`, `""`, `[]` and `{}` do not.
pub(crate) fn is_filled(value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let kind = value.kind()?;
    let span = value.skip()?;
    Ok(match kind {
        Kind::Null => false,
        Kind::String | Kind::Array | Kind::Object => span.len() > 2,
        Kind::Number | Kind::Bool => true,
    })
}

fn name(text: Text<'_>) -> Option<String> {
    (1..=NAME_MAX)
        .contains(&text.raw.len())
        .then(|| text.decode().into_owned())
}
