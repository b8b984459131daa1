//! Taking up an answer that broke off: the request that asks for its rest, and the stream that goes on with it.

use bytes::Bytes;
use domain::Dialect;
use serde_json::Value;

use super::beginning::Beginning;
use super::passing::Passing;
use super::thread::{Standing, Thread};
use super::{Encoded, Kind, Question, Target, Transcoder, Translation, written};
use crate::hub::{BadRequest, Content, Extra, Losses, Message, OutputFormat, Part, Request, Role, ToolChoice};
use crate::stream::{StreamEnd, StreamFault, StreamTap};

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

    /// What the next model is given as the beginning of the answer of which `told` was told. `is_repeated`: who told it is
    /// known to say once more what it was given.
    ///
    /// # Errors
    /// Why nobody can go on with it.
    pub fn beginning(&self, told: String, is_repeated: bool) -> Result<Beginning, &'static str> {
        if let Some(why) = self.forbids_prefill() {
            return Err(why);
        }
        match &self.asked {
            Kind::Conversation(request) => Beginning::new(request, told, is_repeated),
            _ => Err("it is no conversation"),
        }
    }

    /// Tells it in an upstream's dialect, with this as what the model has said already. The model is not asked to think
    /// again: with thinking, providers refuse to be given the beginning
    /// (<https://platform.claude.com/docs/en/build-with-claude/extended-thinking>).
    ///
    /// # Errors
    /// As of [`Question::encode`].
    pub fn encode_rest(
        &self,
        dialect: Dialect,
        target: &Target<'_>,
        beginning: &Beginning,
        told_tokens: u64,
    ) -> Result<Encoded, BadRequest> {
        let Kind::Conversation(request) = &self.asked else {
            return self.encode(dialect, target);
        };
        let mut losses = Losses::default();
        let mut rest = self.filled(request, dialect, target);
        losses.note_if(
            rest.reasoning.take().is_some(),
            "reasoning",
            "a model that goes on with a text does not think again",
        );
        rest.max_output = rest.max_output.map(|bound| bound.saturating_sub(told_tokens).max(1));
        let mark = Some(&*target.quirks.prefill_mark).filter(|mark| dialect == Dialect::OpenaiChat && !mark.is_empty());
        begin_with(&mut rest, beginning, mark);
        let body = written(dialect, rest, target, &mut losses)?;
        Ok(Encoded {
            body: body.to_string().into(),
            losses: losses.into_vec(),
            kept: None,
        })
    }
}

/// Puts the beginning of the answer at the end of the conversation; behind one that the client has put there itself.
fn begin_with(request: &mut Request, beginning: &Beginning, mark: Option<&str>) {
    let added = beginning.added();
    let is_begun = request.messages.last().is_some_and(|last| last.role == Role::Assistant);
    if !is_begun {
        request.messages.push(Message::new(Role::Assistant, Vec::new()));
    }
    let Some(last) = request.messages.last_mut() else {
        return;
    };
    match last.parts.last_mut().map(|part| &mut part.content) {
        Some(Content::Text { text, .. }) => {
            if beginning.holds_own {
                text.truncate(text.trim_end().len());
            }
            text.push_str(added);
        }
        _ => last.parts.push(Part::text(added)),
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
    /// A stream that can be taken up by another one, see [`Transcoder::resume`]. Until then it passes as it came where both
    /// sides speak the same format; but an answer that is kept here is told under our name from its beginning.
    pub fn recoverable(tap: StreamTap, to: Dialect, reply: super::Reply) -> Self {
        let is_same = tap.surface().dialect == to;
        let passes = is_same && !reply.is_kept;
        let mut transcoder = Self::translate(tap, to, reply);
        if let Self::Translate(translation) = &mut transcoder {
            translation.losses.note_if(
                is_same && !passes,
                "what only this format says",
                "the stream is told anew so that it can be gone on with and kept (`recovery`)",
            );
            translation.thread = Some(Box::default());
            translation.passing = passes.then(|| Box::new(Passing::new(to)));
        }
        transcoder
    }

    /// Reads a stream that shall take up another one, and tells nothing yet.
    pub fn listening(tap: StreamTap) -> Self {
        Self::Translate(Box::new(Translation::new(tap, None, super::ToolNames::default())))
    }

    /// How the answer stands, if its stream broke off.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Translate(translation) => translation.standing(),
            Self::Passthrough(_) | Self::Sound(_) => Standing::Lost("it passes through"),
        }
    }

    /// Whether its answer could be taken up by another stream at all.
    pub const fn is_recoverable(&self) -> bool {
        matches!(self, Self::Translate(translation) if translation.thread.is_some())
    }

    /// Goes on with what `next` has listened to and will hear: from now on this is that stream, in the same answer, which it
    /// was given this beginning of. `is_repeated`: it is known to say that once more. What may go to the client now is
    /// appended to `out`. If that stream has ended already, its end is returned.
    pub fn resume(
        &mut self,
        next: Self,
        beginning: &Beginning,
        is_repeated: bool,
        out: &mut Vec<Bytes>,
    ) -> Option<StreamEnd> {
        let (Self::Translate(own), Self::Translate(next)) = (self, next) else {
            return None;
        };
        own.resume(*next, beginning, is_repeated, out)
    }
}

impl Translation {
    /// How the answer stands; the encoder must also be able to go on behind what passed.
    fn standing(&self) -> Standing {
        let Some(thread) = &self.thread else {
            return Standing::Lost("it was not watched");
        };
        // The thread has not seen this: its event is held back.
        if self.tap.has_stopped() {
            return Standing::Lost("it had come to its end");
        }
        // What goes on would say the other half, or stand behind one that nobody can read.
        if self.passing.is_some() && !self.halves.is_empty() {
            return Standing::Lost("it broke off in the middle of a character");
        }
        let follows = match (&self.passing, &self.encoder) {
            (Some(passing), Some(encoder)) => encoder.can_follow(&passing.footing, thread.in_text()),
            _ => true,
        };
        match thread.standing() {
            Standing::Silent | Standing::Spoken(_) if !follows => {
                Standing::Lost("it broke off where its provider's events cannot be gone on with")
            }
            standing => standing,
        }
    }

    /// What a stream that passes ends with: the provider's word that it failed is a break, unless nobody can go on. Of what
    /// the caller did wrong nobody would make more.
    pub(super) fn passed(&self, last: Bytes) -> StreamEnd {
        let failure = self.tap.seen().failure.as_ref();
        let failure = failure.filter(|failure| !matches!(failure.status, Some(400 | 404 | 413 | 422)));
        match failure {
            Some(failure) if !matches!(self.standing(), Standing::Lost(_)) => StreamEnd::Incomplete {
                why: StreamFault::ErrorEvent(failure.clone()),
            },
            _ => StreamEnd::Complete { last },
        }
    }

    fn resume(
        &mut self,
        next: Self,
        beginning: &Beginning,
        is_repeated: bool,
        out: &mut Vec<Bytes>,
    ) -> Option<StreamEnd> {
        let Self {
            tap,
            framing,
            decoder,
            halves,
            usage,
            tier,
            events,
            fault,
            has_ended,
            ..
        } = next;
        self.stop_passing();
        if let Some(thread) = &mut self.thread {
            thread.join(beginning.whole(), is_repeated);
        }
        self.expected = self.expected.map(|expected| expected.begun_with(&beginning.told));
        self.back = self.tools.back_from(tap.surface().dialect);
        (self.tap, self.framing, self.decoder) = (tap, framing, decoder);
        // A half that waited was told to nobody, and what goes on does not say the other one.
        self.halves = halves;
        (self.usage, self.tier, self.fault) = (usage, tier, fault);
        self.events = events;
        self.steps = None;
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

#[cfg(test)]
mod tests {
    use domain::provider::Quirks;
    use domain::{Operation, Surface};
    use serde_json::json;

    use super::*;
    use crate::translate::Asked;

    fn question(from: Dialect, body: &Value) -> Question {
        let asked = Asked {
            surface: Surface::new(Operation::Chat, from),
            model: "m",
            stream: true,
            json_array: false,
            id: "7",
            created: 1,
        };
        Question::read(&asked, body.to_string().as_bytes()).unwrap()
    }

    fn rest(question: &Question, to: Dialect, quirks: &Quirks) -> (Value, usize) {
        let target = Target {
            model: "m",
            max_output: 0,
            thinks: Some(true),
            include_usage: false,
            quirks,
        };
        let beginning = question.beginning("The sky".to_owned(), false).unwrap();
        let encoded = question.encode_rest(to, &target, &beginning, 30).unwrap();
        (serde_json::from_slice(&encoded.body).unwrap(), encoded.losses.len())
    }

    fn anthropic(more: &Value) -> Value {
        let mut body = json!({"model": "m", "max_tokens": 5_000, "stream": true,
            "messages": [{"role": "user", "content": "Why is the sky blue?"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    #[test]
    fn the_beginning_stands_last_in_every_format() {
        let question = question(Dialect::AnthropicMessages, &anthropic(&json!({})));
        let quirks = Quirks::default();
        for (to, last, text) in [
            (Dialect::OpenaiChat, "/messages/1", "/content"),
            (Dialect::OpenaiResponses, "/input/1", "/content"),
            (Dialect::AnthropicMessages, "/messages/1", "/content/0/text"),
            (Dialect::Gemini, "/contents/1", "/parts/0/text"),
            (Dialect::BedrockConverse, "/messages/1", "/content/0/text"),
        ] {
            let (body, _) = rest(&question, to, &quirks);
            let last = body.pointer(last).unwrap_or_else(|| panic!("{to}: {body}"));
            assert!(
                matches!(last["role"].as_str(), Some("assistant" | "model")),
                "{to}: {body}"
            );
            assert_eq!(
                last.pointer(text).and_then(Value::as_str),
                Some("The sky"),
                "{to}: {body}"
            );
            assert!(last.get("prefix").is_none(), "{to}: {body}");
        }
    }

    #[test]
    fn a_provider_that_wants_a_mark_gets_it() {
        let quirks = Quirks {
            prefill_mark: "prefix".to_owned(),
            ..Quirks::default()
        };
        let question = question(Dialect::AnthropicMessages, &anthropic(&json!({})));
        let (body, _) = rest(&question, Dialect::OpenaiChat, &quirks);
        assert_eq!(body["messages"][1]["prefix"], true, "{body}");
        assert!(body["messages"][0].get("prefix").is_none(), "{body}");
    }

    #[test]
    fn the_model_does_not_think_again_and_has_the_rest_of_the_bound() {
        let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2_000}});
        let question = question(Dialect::AnthropicMessages, &anthropic(&thinking));
        let (body, losses) = rest(&question, Dialect::AnthropicMessages, &Quirks::default());
        assert!(
            body.get("thinking")
                .is_none_or(|thinking| thinking["type"] == "disabled"),
            "{body}"
        );
        assert_eq!(body["max_tokens"], 4_970, "{body}");
        assert_eq!(losses, 1, "and that is told");
    }

    #[test]
    fn a_beginning_of_the_clients_own_grows() {
        let begun =
            json!({"messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "Well: "}]});
        let question = question(Dialect::AnthropicMessages, &anthropic(&begun));
        let (body, _) = rest(&question, Dialect::AnthropicMessages, &Quirks::default());
        let messages = body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 2, "{body}");
        assert_eq!(messages[1]["content"][0]["text"], "Well: The sky", "{body}");
    }

    #[test]
    fn a_beginning_of_the_clients_own_that_was_said_once_more_stands_there_once() {
        let begun =
            json!({"messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "Well: "}]});
        let question = question(Dialect::AnthropicMessages, &anthropic(&begun));
        let target = Target {
            model: "m",
            max_output: 0,
            thinks: None,
            include_usage: false,
            quirks: &Quirks::default(),
        };
        let given = |told: &str, is_repeated| {
            let beginning = question.beginning(told.to_owned(), is_repeated).unwrap();
            let encoded = question.encode_rest(Dialect::AnthropicMessages, &target, &beginning, 30);
            let body: Value = serde_json::from_slice(&encoded.unwrap().body).unwrap();
            let text = body["messages"][1]["content"][0]["text"].as_str().unwrap().to_owned();
            assert_eq!(text, beginning.whole(), "what may be said once more is what was given");
            text
        };
        assert_eq!(given("Well: The sky", true), "Well: The sky");
        assert_eq!(given("The sky", true), "Well: The sky", "it was not said once more");
        assert_eq!(
            given("Well: The sky", false),
            "Well: Well: The sky",
            "the model's own word"
        );
        for (told, is_repeated, is_possible) in [("We", true, false), ("Well:", true, false), ("We", false, true)] {
            let beginning = question.beginning(told.to_owned(), is_repeated);
            assert_eq!(beginning.is_ok(), is_possible, "{told} {is_repeated}");
        }
    }

    #[test]
    fn what_must_have_a_form_is_not_gone_on_with() {
        let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
        let tool = json!([{"name": "f", "input_schema": {"type": "object"}}]);
        for (more, is_free) in [
            (json!({}), true),
            (json!({"tools": tool, "tool_choice": {"type": "auto"}}), true),
            (json!({"tools": tool, "tool_choice": {"type": "any"}}), false),
            (
                json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
                false,
            ),
        ] {
            let question = question(Dialect::AnthropicMessages, &anthropic(&more));
            assert_eq!(question.forbids_prefill().is_none(), is_free, "{more}");
        }
        let two = json!({"model": "m", "n": 2, "messages": [{"role": "user", "content": "hi"}]});
        assert!(question(Dialect::OpenaiChat, &two).forbids_prefill().is_some());
    }
}
