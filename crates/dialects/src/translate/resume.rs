//! Taking up an answer that broke off: the request that asks for its rest, and the stream that goes on with it.

use bytes::Bytes;
use domain::Dialect;
use serde_json::Value;

use super::thread::{Standing, Thread};
use super::{Encoded, Kind, Question, Target, Transcoder, Translation, written};
use crate::hub::{BadRequest, Content, Extra, Losses, Message, OutputFormat, Part, Request, Role, ToolChoice};
use crate::stream::{StreamEnd, StreamTap};

impl Question {
    /// Why nobody can go on with an answer to it, whatever was said; `None`: somebody may.
    pub fn forbids_prefill(&self) -> Option<&'static str> {
        let Kind::Conversation(request) = &self.asked else {
            return Some("it is no conversation");
        };
        let is_shaped = matches!(
            request.format,
            Some(OutputFormat::Json | OutputFormat::Schema { .. } | OutputFormat::Other)
        );
        let must_call = matches!(
            request.tool_choice,
            Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
        );
        match () {
            // https://platform.claude.com/docs/en/build-with-claude/structured-outputs: incompatible with a prefill.
            () if is_shaped => Some("it wants an answer of a given form"),
            () if must_call => Some("it wants a tool to be called"),
            () if request.choices.is_some_and(|choices| choices > 1) => Some("it wants several answers"),
            () => None,
        }
    }

    /// Tells it in an upstream's dialect, with `told` as what the model has said already. The model is not asked to think
    /// again: with thinking, providers refuse to be given the beginning
    /// (<https://platform.claude.com/docs/en/build-with-claude/extended-thinking>).
    ///
    /// # Errors
    /// As of [`Question::encode`].
    pub fn encode_rest(
        &self,
        dialect: Dialect,
        target: &Target<'_>,
        told: &str,
        told_tokens: u64,
    ) -> Result<Encoded, BadRequest> {
        let Kind::Conversation(request) = &self.asked else {
            return self.encode(dialect, target);
        };
        let mut losses = Losses::default();
        let mut rest = self.filled(request, dialect, target);
        rest.reasoning = None;
        rest.max_output = rest.max_output.map(|bound| bound.saturating_sub(told_tokens).max(1));
        let mark = Some(&*target.quirks.prefill_mark).filter(|mark| dialect == Dialect::OpenaiChat && !mark.is_empty());
        begin_with(&mut rest, told, mark);
        let body = written(dialect, rest, target, &mut losses)?;
        Ok(Encoded {
            body: body.to_string().into(),
            losses: losses.into_vec(),
        })
    }
}

/// Puts the beginning of the answer at the end of the conversation; behind one that the client has put there itself.
fn begin_with(request: &mut Request, told: &str, mark: Option<&str>) {
    let is_begun = request.messages.last().is_some_and(|last| last.role == Role::Assistant);
    if !is_begun {
        request.messages.push(Message::new(Role::Assistant, Vec::new()));
    }
    let Some(last) = request.messages.last_mut() else {
        return;
    };
    match last.parts.last_mut().map(|part| &mut part.content) {
        Some(Content::Text { text, .. }) => text.push_str(told),
        _ => last.parts.push(Part::text(told)),
    }
    if let Some(mark) = mark {
        if last.extra.origin != Some(Dialect::OpenaiChat) {
            last.extra = Extra {
                origin: Some(Dialect::OpenaiChat),
                ..Extra::default()
            };
        }
        last.extra.members.insert(mark.to_owned(), Value::Bool(true));
    }
}

impl Transcoder {
    /// A translation that can be taken up by another stream, see [`Transcoder::resume`].
    pub fn recoverable(tap: StreamTap, to: Dialect, reply: super::Reply) -> Self {
        let mut transcoder = Self::translate(tap, to, reply);
        if let Self::Translate(translation) = &mut transcoder {
            translation.thread = Some(Box::default());
        }
        transcoder
    }

    /// Reads a stream that shall take up another one, and tells nothing yet.
    pub fn listening(tap: StreamTap) -> Self {
        Self::Translate(Box::new(Translation::new(tap, None)))
    }

    /// How the answer stands, if its stream broke off.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Translate(translation) => match &translation.thread {
                Some(thread) => thread.standing(),
                None => Standing::Lost("it was not watched"),
            },
            Self::Passthrough(_) | Self::Sound(_) => Standing::Lost("it passes through"),
        }
    }

    /// Whether its answer could be taken up by another stream at all.
    pub const fn is_recoverable(&self) -> bool {
        matches!(self, Self::Translate(translation) if translation.thread.is_some())
    }

    /// Goes on with what `next` has listened to and will hear: from now on this is that stream, in the same answer. What may
    /// go to the client now is appended to `out`. If that stream has ended already, its end is returned.
    pub fn resume(&mut self, next: Self, is_repeated: bool, out: &mut Vec<Bytes>) -> Option<StreamEnd> {
        let (Self::Translate(own), Self::Translate(next)) = (self, next) else {
            return None;
        };
        own.resume(*next, is_repeated, out)
    }
}

impl Translation {
    fn resume(&mut self, next: Self, is_repeated: bool, out: &mut Vec<Bytes>) -> Option<StreamEnd> {
        let Self {
            tap,
            framing,
            decoder,
            usage,
            tier,
            events,
            fault,
            has_ended,
            ..
        } = next;
        if let Some(thread) = &mut self.thread {
            thread.join(is_repeated);
        }
        (self.tap, self.framing, self.decoder) = (tap, framing, decoder);
        (self.usage, self.tier, self.fault) = (usage, tier, fault);
        self.events = events;
        let mut told = Vec::new();
        self.tell(&mut told);
        if !told.is_empty() {
            out.push(told.into());
        }
        has_ended.then(|| self.end(Vec::new()))
    }

    /// Notes that what was told is not what the client has.
    pub(super) fn lose(&mut self, why: &'static str) {
        if let Some(thread) = &mut self.thread {
            Thread::lose(thread, why);
        }
    }
}
