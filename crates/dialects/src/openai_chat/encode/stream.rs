//! A stream as a client gets it.
//!
//! The finish reasons and the usage are kept until the stream is known to be whole: a client that has seen
//! `finish_reason` believes the answer complete, and a cut one must never look like that.

use domain::{Dialect, Usage};
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{finish_reason, id, is_legacy, model, named, note_unsaid, note_untold};
use super::custom;
use super::said;
use super::usage::Written;
use crate::hub::{Content, Delta, Event, Losses, Part, Stop, Thinking, free_text, native_name};
use crate::limits::{PREFILL_MAX, WAITING_MAX};
use crate::sse;
use crate::translate::{Footing, Reply};

mod media;

/// Writes a stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    reply: Reply,
    legacy: bool,
    id: String,
    model: String,
    created: i64,
    service_tier: Option<String>,
    usage: Option<Usage>,
    choices: Vec<Told>,
    /// Bytes of wrapped inputs that are held back.
    held: usize,
}

/// What was told of one choice.
#[derive(Debug, Default)]
struct Told {
    has_role: bool,
    parts: Vec<ToldPart>,
    calls: u32,
    thoughts: usize,
    annotations: usize,
    images: usize,
    has_sound: bool,
    /// Characters of text so far: annotations count from the beginning of the message.
    chars: u64,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct ToldPart {
    place: u32,
    kind: Kind,
}

/// What a part is, as far as its deltas depend on it.
#[derive(Debug)]
enum Kind {
    Text {
        before: u64,
    },
    Refusal,
    Thinking {
        index: usize,
        /// What was told, for a seal that has to have it by it.
        told: String,
    },
    Call {
        index: u32,
        custom: bool,
        has_arguments: bool,
        /// What a custom tool is called with where the target calls it as a function: told when it is whole.
        wrapped: Option<String>,
    },
    Whole,
}

#[derive(Serialize)]
struct Chunk<'a, D> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    choices: &'a [Choice<'a, D>],
    /// `null` in all but the last chunk, where the client asked for usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(clippy::option_option, reason = "the member is absent, null or there: three things")]
    usage: Option<Option<Written>>,
}

#[derive(Serialize)]
struct Choice<'a, D> {
    index: u32,
    delta: D,
    logprobs: Option<&'a Value>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Text<'a> {
    content: &'a str,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    reasoning_content: &'a str,
}

#[derive(Serialize)]
struct Arguments<'a> {
    tool_calls: [ArgumentsOf<'a>; 1],
}

#[derive(Serialize)]
struct ArgumentsOf<'a> {
    index: u32,
    function: ArgumentsText<'a>,
}

#[derive(Serialize)]
struct ArgumentsText<'a> {
    arguments: &'a str,
}

impl StreamEncoder {
    /// For the answer to a request.
    pub(crate) fn new(reply: Reply) -> Self {
        Self {
            legacy: is_legacy(&reply),
            id: String::new(),
            model: String::new(),
            created: reply.created,
            service_tier: None,
            usage: None,
            choices: Vec::new(),
            held: 0,
            reply,
        }
    }

    /// Tells one event. Nothing is kept back but the end, and what custom tools are called with as functions; false where
    /// that is too much.
    pub(crate) fn event(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) -> bool {
        match event {
            Event::Start {
                id: known,
                model: name,
                created,
                extra,
            } => {
                note_unsaid(&extra, losses);
                self.id = id(&known, &self.reply);
                model(&name, &self.reply).clone_into(&mut self.model);
                self.created = created.unwrap_or(self.reply.created);
                self.greet(0, out);
            }
            Event::Open { choice, place, part } => self.open(choice, place, *part, out, losses),
            Event::Delta { choice, place, delta } => self.grow(choice, place, delta, out, losses),
            Event::Close { choice, place } => self.close(choice, place, out),
            Event::Logprobs { choice, value } => {
                self.greet(choice, out);
                self.chunk(
                    Choice {
                        index: choice,
                        delta: json!({}),
                        logprobs: Some(&value),
                        finish_reason: None,
                    },
                    out,
                );
            }
            Event::Stop { choice, stop } => {
                self.greet(choice, out);
                self.told(choice).stop = Some(stop);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.service_tier = Some(named(tier)),
        }
        self.held <= WAITING_MAX
    }

    /// The finish reasons, the usage if the client asked for it, and the terminator.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, losses: &mut Losses) {
        note_untold(self.usage.as_ref(), None, losses);
        // An answer without a choice is none in this format.
        if self.choices.is_empty() {
            self.id = id(&self.id, &self.reply);
            let named = model(&self.model, &self.reply).to_owned();
            self.model = named;
            self.greet(0, out);
        }
        for choice in 0..self.choices.len() as u32 {
            let reason = self.told(choice).stop.take();
            note_untold(None, reason.as_ref(), losses);
            let reason = reason.as_ref().map_or("stop", |stop| finish_reason(stop, self.legacy));
            self.chunk(
                Choice {
                    index: choice,
                    delta: json!({}),
                    logprobs: None,
                    finish_reason: Some(reason),
                },
                out,
            );
        }
        if self.reply.stream_usage {
            let usage = self.usage.map(Written::from);
            let chunk: Chunk<'_, Value> = Chunk {
                usage: Some(usage),
                ..self.around(&[])
            };
            sse::write(out, &chunk);
        }
        out.extend_from_slice(crate::openai_chat::TERMINATOR);
    }

    /// Goes on behind chunks of a provider.
    pub(crate) fn follow(&mut self, footing: &Footing) {
        if !footing.id.is_empty() {
            self.id.clone_from(&footing.id);
        }
        if !footing.model.is_empty() {
            self.model.clone_from(&footing.model);
        }
        self.created = footing.created.unwrap_or(self.created);
    }

    fn told(&mut self, choice: u32) -> &mut Told {
        let at = choice as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Told::default);
        }
        &mut self.choices[at]
    }

    /// The role stands in the first chunk of a choice, and nowhere else.
    fn greet(&mut self, choice: u32, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.told(choice).has_role, true) {
            self.delta(
                choice,
                json!({"role": "assistant", "content": "", "refusal": null}),
                out,
            );
        }
    }

    fn open(&mut self, choice: u32, place: u32, mut part: Part, out: &mut Vec<u8>, losses: &mut Losses) {
        self.greet(choice, out);
        let seal = part.signature.take().map(|seal| seal.for_client(Dialect::Gemini));
        losses.note_if(
            seal.is_some() && !matches!(part.content, Content::ToolCall(_)),
            "thought_signature",
            "the format has a place for the seals of tool calls only",
        );
        let mut first = std::mem::replace(&mut part.content, Content::Refusal(String::new()));
        let wrapped = match &mut first {
            Content::ToolCall(call) => custom::wrapped(call, &self.reply),
            _ => None,
        };
        self.held += wrapped.as_ref().map_or(0, String::len);
        let kind = match &first {
            Content::Text { .. } => Kind::Text {
                before: self.told(choice).chars,
            },
            Content::Refusal(_) => Kind::Refusal,
            Content::Thinking(_) => Kind::Thinking {
                index: self.told(choice).next_thought(),
                told: String::new(),
            },
            Content::ToolCall(call) => Kind::Call {
                index: self.told(choice).next_call(),
                custom: call.custom,
                has_arguments: !call.arguments.is_empty(),
                wrapped,
            },
            Content::Media(_) | Content::ToolResult(_) | Content::Native { .. } | Content::Deed(_) => Kind::Whole,
        };
        let index = match kind {
            Kind::Call { index, .. } => index,
            _ => 0,
        };
        self.told(choice).parts.push(ToldPart { place, kind });
        match first {
            Content::Text { text, citations } => {
                self.text(choice, place, &text, out);
                for citation in citations {
                    self.grow(choice, place, Delta::Citation(citation), out, losses);
                }
            }
            Content::Refusal(text) => self.text(choice, place, &text, out),
            Content::Thinking(thinking) => self.thought(choice, place, &thinking, out),
            Content::ToolCall(call) => {
                let id = call.id.unwrap_or_else(|| self.call_id(choice, index));
                let mut written = if call.custom {
                    json!({"index": index, "id": id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}})
                } else {
                    json!({"index": index, "id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
                };
                if let Some(seal) = seal {
                    written["extra_content"] = json!({"google": {"thought_signature": seal}});
                }
                match written.get("function") {
                    Some(function) if self.legacy => {
                        losses.note_if(index > 0, "tool_calls", "`function_call` has place for one");
                        if index == 0 {
                            self.delta(choice, json!({"function_call": function}), out);
                        }
                    }
                    _ => self.delta(choice, json!({"tool_calls": [written]}), out),
                }
            }
            Content::Media(media) => self.media(choice, media, part.item, out, losses),
            Content::ToolResult(_) => losses.note("tool_result", "a model does not answer tools"),
            Content::Deed(deed) => losses.note(deed.name(), said::UNSHOWN),
            Content::Native { value, .. } => {
                losses.note(native_name(&value), "only the provider's own format can say it");
            }
        }
    }

    /// Ids must differ between choices too.
    fn call_id(&self, choice: u32, index: u32) -> String {
        let base = &self.reply.id;
        if choice == 0 {
            format!("call_{base}_{index}")
        } else {
            format!("call_{base}_{choice}_{index}")
        }
    }

    fn thought(&mut self, choice: u32, place: u32, thinking: &Thinking, out: &mut Vec<u8>) {
        self.text(choice, place, &thinking.text, out);
        if thinking.signature.is_some() {
            self.seal(choice, place, thinking, out);
        }
    }

    /// Tells the seal of reasoning whose words were told. A client puts entries together by their index, so each has one.
    fn seal(&mut self, choice: u32, place: u32, thinking: &Thinking, out: &mut Vec<u8>) {
        let Some(ToldPart {
            kind: Kind::Thinking { index, told },
            ..
        }) = self.part(choice, place)
        else {
            return;
        };
        let index = *index;
        let sealed = Thinking {
            text: std::mem::take(told),
            is_summary: thinking.is_summary,
            signature: thinking.signature.clone(),
            redacted: thinking.redacted,
        };
        if let Some(Value::Object(mut detail)) = said::detail(&sealed, index, false) {
            detail.entry("index").or_insert(index.into());
            self.delta(choice, json!({"reasoning_details": [detail]}), out);
        }
    }

    fn grow(&mut self, choice: u32, place: u32, delta: Delta, out: &mut Vec<u8>, losses: &mut Losses) {
        match delta {
            Delta::Text(text) => self.text(choice, place, &text, out),
            Delta::Arguments(text) => self.arguments(choice, place, &text, out),
            Delta::Signature(seal) => match self.part(choice, place).map(|part| &part.kind) {
                Some(Kind::Thinking { .. }) => {
                    let sealed = Thinking {
                        signature: Some(seal),
                        ..Thinking::default()
                    };
                    self.seal(choice, place, &sealed, out);
                }
                Some(Kind::Call { index, .. }) => {
                    let seal = seal.for_client(Dialect::Gemini);
                    let index = *index;
                    let call = json!({"index": index, "extra_content": {"google": {"thought_signature": seal}}});
                    self.delta(choice, json!({"tool_calls": [call]}), out);
                }
                _ => losses.note(
                    "thought_signature",
                    "the format has a place for the seals of tool calls only",
                ),
            },
            Delta::Citation(citation) => {
                let before = match self.part(choice, place).map(|part| &part.kind) {
                    Some(Kind::Text { before }) => *before,
                    _ => 0,
                };
                if let Some(mut annotation) = said::annotation(&citation, before, losses) {
                    annotation["index"] = next(&mut self.told(choice).annotations).into();
                    self.delta(choice, json!({"annotations": [annotation]}), out);
                }
            }
        }
    }

    /// More of a text, a refusal or reasoning.
    fn text(&mut self, choice: u32, place: u32, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        match self.part(choice, place).map(|part| &mut part.kind) {
            Some(Kind::Text { .. }) => {
                self.told(choice).chars += text.chars().count() as u64;
                self.delta(choice, Text { content: text }, out);
            }
            Some(Kind::Refusal) => self.delta(choice, json!({"refusal": text}), out),
            Some(Kind::Thinking { told, .. }) => {
                if told.len() + text.len() <= PREFILL_MAX {
                    told.push_str(text);
                }
                self.delta(
                    choice,
                    Reasoning {
                        reasoning_content: text,
                    },
                    out,
                );
            }
            _ => {}
        }
    }

    fn arguments(&mut self, choice: u32, place: u32, text: &str, out: &mut Vec<u8>) {
        let legacy = self.legacy;
        let Some(ToldPart {
            kind:
                Kind::Call {
                    index,
                    custom,
                    has_arguments,
                    wrapped,
                },
            ..
        }) = self.part(choice, place)
        else {
            return;
        };
        let (index, custom) = (*index, *custom);
        *has_arguments |= !text.is_empty();
        if let Some(wrapped) = wrapped {
            wrapped.push_str(text);
            self.held += text.len();
            return;
        }
        if custom {
            self.delta(
                choice,
                json!({"tool_calls": [{"index": index, "custom": {"input": text}}]}),
                out,
            );
        } else if !legacy {
            let function = ArgumentsText { arguments: text };
            self.delta(
                choice,
                Arguments {
                    tool_calls: [ArgumentsOf { index, function }],
                },
                out,
            );
        } else if index == 0 {
            self.delta(choice, json!({"function_call": {"arguments": text}}), out);
        }
    }

    /// A call without arguments has the empty object here, never nothing.
    fn close(&mut self, choice: u32, place: u32, out: &mut Vec<u8>) {
        if let Some(ToldPart {
            kind: Kind::Call { wrapped, .. },
            ..
        }) = self.part(choice, place)
            && let Some(wrapped) = wrapped.take()
        {
            self.held -= wrapped.len();
            self.arguments(choice, place, &free_text(wrapped), out);
        }
        if let Some(ToldPart {
            kind:
                Kind::Call {
                    has_arguments: false,
                    custom: false,
                    ..
                },
            ..
        }) = self.part(choice, place)
        {
            self.arguments(choice, place, "{}", out);
        }
        let parts = &mut self.told(choice).parts;
        parts.retain(|part| part.place != place);
    }

    fn part(&mut self, choice: u32, place: u32) -> Option<&mut ToldPart> {
        self.choices
            .get_mut(choice as usize)?
            .parts
            .iter_mut()
            .find(|part| part.place == place)
    }

    fn delta(&self, choice: u32, delta: impl Serialize, out: &mut Vec<u8>) {
        self.chunk(
            Choice {
                index: choice,
                delta,
                logprobs: None,
                finish_reason: None,
            },
            out,
        );
    }

    fn chunk<D: Serialize>(&self, choice: Choice<'_, D>, out: &mut Vec<u8>) {
        sse::write(out, &self.around(&[choice]));
    }

    fn around<'a, D>(&'a self, choices: &'a [Choice<'a, D>]) -> Chunk<'a, D> {
        Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            service_tier: self.service_tier.as_deref(),
            choices,
            usage: self.reply.stream_usage.then_some(None),
        }
    }
}

impl Told {
    const fn next_call(&mut self) -> u32 {
        let index = self.calls;
        self.calls += 1;
        index
    }

    const fn next_thought(&mut self) -> usize {
        next(&mut self.thoughts)
    }
}

/// Entries of lists have their place in them: OpenAI's SDKs put lists together by it, and fail without.
const fn next(count: &mut usize) -> usize {
    let index = *count;
    *count += 1;
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Citation, CitedSource, Signature, StopReason, ToolCall};

    fn told(reply: Reply, events: Vec<Event>) -> Vec<Value> {
        let (mut encoder, mut out, mut losses) = (StreamEncoder::new(reply), Vec::new(), Losses::default());
        for event in events {
            assert!(encoder.event(event, &mut out, &mut losses));
        }
        encoder.finish(&mut out, &mut losses);
        let text = String::from_utf8(out).unwrap();
        let mut chunks: Vec<&str> = text
            .split_terminator("\n\n")
            .map(|event| event.strip_prefix("data: ").unwrap())
            .collect();
        assert_eq!(chunks.pop(), Some("[DONE]"));
        chunks
            .into_iter()
            .map(|chunk| serde_json::from_str(chunk).unwrap())
            .collect()
    }

    fn reply(stream_usage: bool) -> Reply {
        Reply {
            model: "asked".to_owned(),
            id: "7".to_owned(),
            created: 5,
            stream_usage,
            ..Reply::default()
        }
    }

    fn start() -> Event {
        Event::Start {
            id: String::new(),
            model: String::new(),
            created: None,
            extra: crate::hub::Extra::default(),
        }
    }

    fn open(place: u32, content: Content) -> Event {
        Event::Open {
            choice: 0,
            place,
            part: Box::new(Part::new(content)),
        }
    }

    fn grow(place: u32, delta: Delta) -> Event {
        Event::Delta {
            choice: 0,
            place,
            delta,
        }
    }

    fn deltas(chunks: &[Value]) -> Vec<Value> {
        chunks
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"].clone())
            .collect()
    }

    #[test]
    fn the_end_comes_last_and_usage_only_where_asked() {
        let events = || {
            vec![
                Event::Usage(Usage {
                    input: 3,
                    cache_read: 4,
                    output: 1,
                    ..Usage::default()
                }),
                start(),
                open(
                    0,
                    Content::Text {
                        text: String::new(),
                        citations: Vec::new(),
                    },
                ),
                grow(0, Delta::Text("hi".to_owned())),
                Event::Stop {
                    choice: 0,
                    stop: Stop::new(StopReason::Length),
                },
                Event::Usage(Usage {
                    input: 3,
                    cache_read: 4,
                    output: 9,
                    reasoning: 2,
                    ..Usage::default()
                }),
            ]
        };
        let chunks = told(reply(true), events());
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(
            (&chunks[0]["id"], &chunks[0]["model"]),
            (&json!("chatcmpl-7"), &json!("asked"))
        );
        assert!(chunks[0]["usage"].is_null() && chunks[0].get("usage").is_some());
        assert_eq!(chunks[2]["choices"][0]["finish_reason"], "length");
        assert_eq!(chunks[3]["choices"], json!([]));
        assert_eq!(chunks[3]["usage"]["prompt_tokens"], 7);
        assert_eq!(chunks[3]["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
        let unasked = told(reply(false), events());
        assert_eq!(unasked.len(), 3);
        assert!(unasked.iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[test]
    fn nothing_looks_like_an_end_before_the_end() {
        let (mut encoder, mut out, mut losses) = (StreamEncoder::new(reply(true)), Vec::new(), Losses::default());
        for event in [
            start(),
            Event::Stop {
                choice: 0,
                stop: Stop::new(StopReason::End),
            },
        ] {
            encoder.event(event, &mut out, &mut losses);
        }
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("\"finish_reason\":null") && !text.contains("stop\""),
            "{text}"
        );
    }

    #[test]
    fn interleaved_calls_keep_their_index_and_empty_ones_get_an_object() {
        let call = |id: Option<&str>| {
            Content::ToolCall(ToolCall {
                id: id.map(str::to_owned),
                name: "f".to_owned(),
                ..ToolCall::default()
            })
        };
        let chunks = told(
            reply(false),
            vec![
                start(),
                open(0, call(Some("a"))),
                open(1, call(None)),
                grow(0, Delta::Arguments("{\"x\"".to_owned())),
                Event::Close { choice: 0, place: 1 },
                grow(0, Delta::Arguments(":1}".to_owned())),
                Event::Close { choice: 0, place: 0 },
                Event::Stop {
                    choice: 0,
                    stop: Stop::new(StopReason::Tool),
                },
            ],
        );
        let calls: Vec<Value> = deltas(&chunks)
            .into_iter()
            .filter_map(|delta| delta.get("tool_calls").map(|calls| calls[0].clone()))
            .collect();
        assert_eq!(
            calls[0],
            json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})
        );
        assert_eq!(calls[1]["id"], "call_7_1");
        assert_eq!(calls[2], json!({"index": 0, "function": {"arguments": "{\"x\""}}));
        assert_eq!(calls[3], json!({"index": 1, "function": {"arguments": "{}"}}));
        assert_eq!(calls[4], json!({"index": 0, "function": {"arguments": ":1}"}}));
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn reasoning_seals_and_citations_have_their_places() {
        let seal = Signature {
            origin: Dialect::AnthropicMessages,
            value: "s".to_owned(),
        };
        let source = CitedSource::Url {
            url: "https://a".to_owned(),
            title: None,
        };
        let citation = Citation {
            span: Some((1, 2)),
            quote: None,
            source,
            native: None,
        };
        let chunks = told(
            reply(false),
            vec![
                start(),
                open(0, Content::Thinking(Thinking::default())),
                grow(0, Delta::Text("hm".to_owned())),
                grow(0, Delta::Signature(seal)),
                Event::Close { choice: 0, place: 0 },
                open(
                    1,
                    Content::Text {
                        text: "abc".to_owned(),
                        citations: Vec::new(),
                    },
                ),
                Event::Close { choice: 0, place: 1 },
                open(
                    2,
                    Content::Text {
                        text: String::new(),
                        citations: Vec::new(),
                    },
                ),
                grow(2, Delta::Citation(citation)),
            ],
        );
        let deltas = deltas(&chunks);
        assert_eq!(deltas[1], json!({"reasoning_content": "hm"}));
        assert_eq!(
            deltas[2]["reasoning_details"][0]["signature"],
            "tollgate:anthropic_messages:s"
        );
        assert_eq!(deltas[3], json!({"content": "abc"}));
        assert_eq!(deltas[4]["annotations"][0]["index"], 0);
        let annotation = &deltas[4]["annotations"][0]["url_citation"];
        assert_eq!(
            (&annotation["start_index"], &annotation["end_index"]),
            (&json!(4), &json!(5))
        );
    }

    #[test]
    fn the_older_word_for_calls_is_answered_in() {
        let mut reply = reply(false);
        reply.echo.insert("functions".to_owned(), Value::Bool(true));
        let call = ToolCall {
            id: Some("a".to_owned()),
            name: "f".to_owned(),
            ..ToolCall::default()
        };
        let chunks = told(
            reply,
            vec![
                start(),
                open(0, Content::ToolCall(call)),
                grow(0, Delta::Arguments("{}".to_owned())),
                Event::Stop {
                    choice: 0,
                    stop: Stop::new(StopReason::Tool),
                },
            ],
        );
        let deltas = deltas(&chunks);
        assert_eq!(deltas[1], json!({"function_call": {"name": "f", "arguments": ""}}));
        assert_eq!(deltas[2], json!({"function_call": {"arguments": "{}"}}));
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "function_call");
    }
}
