//! An upstream's stream.
//!
//! This format never says that a part is over, so it is told from what comes next: text and thinking end where another
//! kind of part begins; tool calls, which may interleave, end with the choice. Calls are told apart by their index, and
//! by their id where a server numbers all of them 0.

use domain::Dialect;
use serde_json::{Map, Value};

use super::answer::{citation, created, stop};
use super::message::{arguments, located, thought_signature};
use super::reasoning;
use crate::answer::Nonsense;
use crate::hub::{
    Content, Delta, Event, Extra, Media, MediaKind, Part, Signature, Source, Stop, StopReason, Thinking, ToolCall,
    nested,
};
use crate::limits::{CHOICES_MAX, PARTS_MAX};
use crate::openai_chat::detail;

/// What sound in a stream is: `pcm16`, the only format that can be streamed, of 24,000 samples a second
/// (<https://platform.openai.com/docs/guides/audio>), in Google's words.
const STREAMED_SOUND: &str = "audio/L16;codec=pcm;rate=24000";

/// Reads a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    started: bool,
    choices: Vec<Telling>,
}

/// Where one choice stands.
#[derive(Debug, Default)]
struct Telling {
    /// The place of the next part.
    next: u32,
    /// The text, refusal or reasoning that is growing.
    open: Option<(Kind, u32)>,
    /// The entry of `reasoning_details` that is growing: of the reasoning that is open, or one without words.
    detail: Option<Map<String, Value>>,
    calls: Vec<OpenCall>,
    /// The id of the sound.
    sound: Option<String>,
    stop: Option<Stop>,
}

/// Kinds of parts of which at most one grows at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
}

#[derive(Debug)]
struct OpenCall {
    index: u64,
    id: String,
    place: u32,
}

impl StreamDecoder {
    /// Reads one chunk.
    pub(crate) fn event(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let Ok(Value::Object(mut chunk)) = nested::read(data) else {
            return Err(Nonsense::Lacks("an object"));
        };
        if !self.started {
            self.started = true;
            out.push(Event::Start {
                id: text(&mut chunk, "id").unwrap_or_default(),
                model: text(&mut chunk, "model").unwrap_or_default(),
                created: created(chunk.get("created")),
                extra: Extra::default(),
            });
        }
        let Some(Value::Array(choices)) = chunk.remove("choices") else {
            return Ok(());
        };
        for (at, choice) in choices.into_iter().enumerate() {
            if let Value::Object(choice) = choice {
                self.choice(at, choice, out);
            }
        }
        Ok(())
    }

    /// Closes what is open, and says why each choice ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        for (choice, telling) in self.choices.iter_mut().enumerate() {
            let choice = choice as u32;
            telling.close(choice, out);
            for call in telling.calls.drain(..) {
                out.push(Event::Close {
                    choice,
                    place: call.place,
                });
            }
            out.extend(telling.stop.take().map(|stop| Event::Stop { choice, stop }));
        }
    }

    fn choice(&mut self, at: usize, mut members: Map<String, Value>, out: &mut Vec<Event>) {
        let index = members
            .get("index")
            .and_then(Value::as_u64)
            .map_or(at, |index| index as usize);
        if index >= CHOICES_MAX {
            return;
        }
        while self.choices.len() <= index {
            self.choices.push(Telling::default());
        }
        let Some(telling) = self.choices.get_mut(index) else {
            return;
        };
        let choice = index as u32;
        if let Some(Value::Object(delta)) = members.remove("delta").or_else(|| members.remove("message")) {
            telling.delta(choice, delta, out);
        }
        if let Some(value) = members.remove("logprobs").filter(|value| !value.is_null()) {
            out.push(Event::Logprobs { choice, value });
        }
        if let Some(Value::String(word)) = members.remove("finish_reason")
            && !word.is_empty()
        {
            telling.ended(&word);
        }
    }
}

impl Telling {
    fn delta(&mut self, choice: u32, mut delta: Map<String, Value>, out: &mut Vec<Event>) {
        self.thinking(choice, &mut delta, out);
        match delta.remove("content") {
            Some(Value::String(text)) => self.grow(choice, Kind::Text, text, out),
            Some(Value::Array(items)) => self.pieces(choice, items, out),
            _ => {}
        }
        if let Some(Value::String(text)) = delta.remove("refusal") {
            self.grow(choice, Kind::Refusal, text, out);
        }
        if let Some(Value::Array(annotations)) = delta.remove("annotations") {
            self.cite(choice, &annotations, out);
        }
        if let Some(Value::Array(images)) = delta.remove("images") {
            let urls = images
                .iter()
                .filter_map(|image| image.get("image_url")?.get("url")?.as_str());
            for url in urls {
                self.whole(choice, Part::new(Content::Media(located(MediaKind::Image, url))), out);
            }
        }
        if let Some(Value::Object(audio)) = delta.remove("audio") {
            self.sound(choice, audio, out);
        }
        if let Some(Value::Array(calls)) = delta.remove("tool_calls") {
            for (at, call) in calls.into_iter().enumerate() {
                if let Value::Object(call) = call {
                    self.tool_call(choice, at as u64, call, out);
                }
            }
        }
        if let Some(Value::Object(mut call)) = delta.remove("function_call") {
            let name = text(&mut call, "name");
            let more = call.remove("arguments");
            self.call(
                choice,
                Called {
                    index: 0,
                    id: None,
                    name,
                    more,
                    custom: false,
                    seal: None,
                },
                out,
            );
        }
    }

    /// Reasoning under its several names; side by side they say the same.
    fn thinking(&mut self, choice: u32, delta: &mut Map<String, Value>, out: &mut Vec<Event>) {
        let plain = ["reasoning_content", "reasoning"]
            .iter()
            .filter_map(|name| text(delta, name))
            .find(|text| !text.is_empty());
        let details = match delta.remove("reasoning_details") {
            Some(Value::Array(details)) => details,
            _ => Vec::new(),
        };
        let is_told = |entry: &Value| entry.as_object().and_then(detail::words).is_some();
        // Side by side they say the same, and only what stands in the entries can be sent back as it was.
        if !details.iter().any(is_told) {
            self.grow(choice, Kind::Thinking, plain.unwrap_or_default(), out);
        }
        for entry in details {
            if let Value::Object(entry) = entry {
                self.detail(choice, entry, out);
            }
        }
    }

    /// A piece of an entry of `reasoning_details`. Its seal, which is the whole entry, is told when it is over.
    fn detail(&mut self, choice: u32, mut piece: Map<String, Value>, out: &mut Vec<Event>) {
        if let Some(seal) = detail::foreign(&piece) {
            self.sealed_by_another(choice, &piece, seal, out);
            return;
        }
        let words = detail::words(&piece).unwrap_or_default().to_owned();
        let (is_spoken, is_empty) = (detail::is_spoken(&piece), detail::is_empty(&piece));
        detail::leave_out_words(&mut piece);
        match &mut self.detail {
            Some(known) if detail::goes_on(known, &piece) => detail::grow(known, piece),
            None | Some(_) if is_empty => return,
            Some(_) => {
                self.close(choice, out);
                self.detail = Some(piece);
            }
            None => {
                // Words that were told outside of it are its own.
                let is_open = matches!(self.open, Some((Kind::Thinking, _)));
                if !(is_spoken && is_open) {
                    self.close(choice, out);
                }
                self.detail = Some(piece);
            }
        }
        if is_spoken {
            self.open_thinking(choice, out);
            self.grow(choice, Kind::Thinking, words, out);
        }
    }

    /// Opens the part of an entry that is read, without what would end the entry.
    fn open_thinking(&mut self, choice: u32, out: &mut Vec<Event>) {
        let entry = self.detail.take();
        self.open(choice, Kind::Thinking, out);
        self.detail = entry;
    }

    /// The upstream has it from elsewhere: it is a gateway itself.
    fn sealed_by_another(&mut self, choice: u32, piece: &Map<String, Value>, seal: Signature, out: &mut Vec<Event>) {
        if detail::is_encrypted(piece) {
            let sealed = Thinking {
                signature: Some(seal),
                redacted: true,
                ..Thinking::default()
            };
            self.whole(choice, Part::new(Content::Thinking(sealed)), out);
            return;
        }
        let words = detail::words(piece).unwrap_or_default().to_owned();
        self.grow(choice, Kind::Thinking, words, out);
        let place = self.open(choice, Kind::Thinking, out);
        let delta = Delta::Signature(seal);
        out.push(Event::Delta { choice, place, delta });
    }

    /// A piece of the model's voice, of its transcript, or of both. Each is a part of its own: sound is put together by
    /// laying one behind the other, and none waits for the rest.
    fn sound(&mut self, choice: u32, mut audio: Map<String, Value>, out: &mut Vec<Event>) {
        if let Some(id) = text(&mut audio, "id").filter(|id| !id.is_empty()) {
            self.sound = Some(id);
        }
        let data = text(&mut audio, "data").unwrap_or_default();
        let transcript = text(&mut audio, "transcript").filter(|text| !text.is_empty());
        if data.is_empty() && transcript.is_none() {
            return;
        }
        let media = Media {
            source: Source::Base64(data),
            mime: STREAMED_SOUND.to_owned(),
            context: transcript,
            ..located(MediaKind::Audio, "")
        };
        let mut part = Part::new(Content::Media(media));
        part.item.clone_from(&self.sound);
        self.whole(choice, part, out);
    }

    /// Mistral's lists of parts.
    fn pieces(&mut self, choice: u32, items: Vec<Value>, out: &mut Vec<Event>) {
        for item in items {
            match item {
                Value::String(text) => self.grow(choice, Kind::Text, text, out),
                Value::Object(mut piece) => match piece.get("type").and_then(Value::as_str) {
                    Some("thinking") => {
                        let text = reasoning::mistral(piece.remove("thinking"));
                        self.grow(choice, Kind::Thinking, text, out);
                    }
                    Some("text") | None => {
                        let text = text(&mut piece, "text").unwrap_or_default();
                        self.grow(choice, Kind::Text, text, out);
                    }
                    Some(_) => {
                        let value = Value::Object(piece);
                        self.whole(
                            choice,
                            Part::new(Content::Native {
                                origin: Dialect::OpenaiChat,
                                value,
                            }),
                            out,
                        );
                    }
                },
                _ => {}
            }
        }
    }

    fn cite(&mut self, choice: u32, annotations: &[Value], out: &mut Vec<Event>) {
        for annotation in annotations {
            let place = self.open(choice, Kind::Text, out);
            out.push(Event::Delta {
                choice,
                place,
                delta: Delta::Citation(citation(annotation)),
            });
        }
    }

    fn tool_call(&mut self, choice: u32, at: u64, mut call: Map<String, Value>, out: &mut Vec<Event>) {
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(at);
        let id = text(&mut call, "id").filter(|id| !id.is_empty());
        let seal = thought_signature(call.get("extra_content"));
        let (custom, input) = if call.contains_key("custom") {
            (true, "input")
        } else {
            (false, "arguments")
        };
        let Some(Value::Object(mut inner)) = call.remove(if custom { "custom" } else { "function" }) else {
            return;
        };
        let called = Called {
            index,
            id,
            name: text(&mut inner, "name"),
            more: inner.remove(input),
            custom,
            seal,
        };
        self.call(choice, called, out);
    }

    fn call(&mut self, choice: u32, called: Called, out: &mut Vec<Event>) {
        let Called {
            index,
            id,
            name,
            more,
            custom,
            seal,
        } = called;
        let more = more
            .filter(|value| !value.is_null())
            .map(|value| arguments(Some(value)))
            .unwrap_or_default();
        let known = self
            .calls
            .iter()
            .rev()
            .find(|call| call.index == index)
            .map(|call| (call.place, call.id.clone()));
        let goes_on = known.filter(|(_, known)| id.as_ref().is_none_or(|id| id == known || known.is_empty()));
        if let Some((place, _)) = goes_on {
            if !more.is_empty() {
                out.push(Event::Delta {
                    choice,
                    place,
                    delta: Delta::Arguments(more),
                });
            }
            if let Some(seal) = seal {
                out.push(Event::Delta {
                    choice,
                    place,
                    delta: Delta::Signature(seal),
                });
            }
            return;
        }
        if self.next as usize >= PARTS_MAX {
            return;
        }
        self.close(choice, out);
        let place = self.take_place();
        self.calls.push(OpenCall {
            index,
            id: id.clone().unwrap_or_default(),
            place,
        });
        let call = ToolCall {
            id,
            name: name.unwrap_or_default(),
            arguments: String::new(),
            custom,
        };
        let part = Part {
            signature: seal,
            ..Part::new(Content::ToolCall(call))
        };
        out.push(Event::Open {
            choice,
            place,
            part: Box::new(part),
        });
        if !more.is_empty() {
            out.push(Event::Delta {
                choice,
                place,
                delta: Delta::Arguments(more),
            });
        }
    }

    /// Lets the part of this kind grow; opens it if it is not open.
    fn grow(&mut self, choice: u32, kind: Kind, text: String, out: &mut Vec<Event>) {
        if !text.is_empty() {
            let place = self.open(choice, kind, out);
            out.push(Event::Delta {
                choice,
                place,
                delta: Delta::Text(text),
            });
        }
    }

    fn open(&mut self, choice: u32, kind: Kind, out: &mut Vec<Event>) -> u32 {
        if let Some((open, place)) = self.open
            && open == kind
        {
            return place;
        }
        self.close(choice, out);
        let place = self.take_place();
        self.open = Some((kind, place));
        let part = match kind {
            Kind::Text => Part::text(""),
            Kind::Refusal => Part::new(Content::Refusal(String::new())),
            Kind::Thinking => Part::new(Content::Thinking(Thinking::default())),
        };
        out.push(Event::Open {
            choice,
            place,
            part: Box::new(part),
        });
        place
    }

    /// A part that comes in one piece.
    fn whole(&mut self, choice: u32, part: Part, out: &mut Vec<Event>) {
        self.close(choice, out);
        let place = self.take_place();
        out.push(Event::Open {
            choice,
            place,
            part: Box::new(part),
        });
        out.push(Event::Close { choice, place });
    }

    fn close(&mut self, choice: u32, out: &mut Vec<Event>) {
        let entry = self.detail.take();
        match (self.open.take(), entry) {
            (Some((kind, place)), entry) => {
                if let Some(entry) = entry.filter(|_| kind == Kind::Thinking) {
                    let delta = Delta::Signature(detail::seal(entry));
                    out.push(Event::Delta { choice, place, delta });
                }
                out.push(Event::Close { choice, place });
            }
            (None, Some(entry)) => {
                let sealed = detail::read(entry);
                self.whole(choice, Part::new(Content::Thinking(sealed)), out);
            }
            (None, None) => {}
        }
    }

    /// Of several finish reasons the first counts; Ollama says `tool_calls`, then `stop`.
    fn ended(&mut self, word: &str) {
        let stop = stop(word);
        match &self.stop {
            Some(known) if known.reason != StopReason::Other => {}
            _ => self.stop = Some(stop),
        }
    }

    const fn take_place(&mut self) -> u32 {
        let place = self.next;
        self.next = self.next.saturating_add(1);
        place
    }
}

/// A piece of a tool call.
struct Called {
    index: u64,
    id: Option<String>,
    name: Option<String>,
    more: Option<Value>,
    custom: bool,
    seal: Option<Signature>,
}

fn text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.swap_remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::hub::{Answer, Collector};

    fn told(chunks: &[Value]) -> (Vec<Event>, Answer) {
        let (mut decoder, mut events, mut collector) = (StreamDecoder::default(), Vec::new(), Collector::default());
        for chunk in chunks {
            decoder.event(chunk.to_string().as_bytes(), &mut events).unwrap();
        }
        decoder.finish(&mut events);
        events.iter().cloned().for_each(|event| collector.push(event));
        (events, collector.into_answer())
    }

    fn chunk(delta: &Value) -> Value {
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    fn calls(answer: &Answer) -> Vec<(Option<&str>, &str, &str)> {
        answer.choices[0]
            .parts
            .iter()
            .filter_map(|part| match &part.content {
                Content::ToolCall(call) => Some((call.id.as_deref(), call.name.as_str(), call.arguments.as_str())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn calls_are_told_apart_by_index_and_by_id() {
        let call = |index: u64, id: &str, name: &str, more: &str| {
            chunk(&json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": more}}]}))
        };
        let more =
            |index: u64, more: &str| chunk(&json!({"tool_calls": [{"index": index, "function": {"arguments": more}}]}));
        let (_, interleaved) = told(&[
            call(0, "a", "f", ""),
            call(1, "b", "g", "{"),
            more(0, "{}"),
            more(1, "}"),
        ]);
        assert_eq!(calls(&interleaved), [(Some("a"), "f", "{}"), (Some("b"), "g", "{}")]);
        // Some servers number all calls 0; some repeat id and name in every chunk.
        let (_, all_zero) = told(&[call(0, "a", "f", "{}"), call(0, "b", "g", "{}")]);
        assert_eq!(calls(&all_zero), [(Some("a"), "f", "{}"), (Some("b"), "g", "{}")]);
        let (_, repeated) = told(&[call(0, "a", "f", "{"), call(0, "a", "f", "}")]);
        assert_eq!(calls(&repeated), [(Some("a"), "f", "{}")]);
        let (_, nameless) = told(&[call(0, "", "f", "{}")]);
        assert_eq!(calls(&nameless), [(None, "f", "{}")]);
    }

    #[test]
    fn what_is_said_under_several_names_is_told_once() {
        let detail = json!([{"type": "reasoning.text", "text": "hm", "index": 0}]);
        let seal = json!([{"type": "reasoning.text", "signature": "s", "index": 0}]);
        let (_, answer) = told(&[
            chunk(&json!({"reasoning": "hm", "reasoning_content": "hm", "reasoning_details": detail})),
            chunk(&json!({"reasoning_details": seal})),
            chunk(&json!({"content": "so"})),
        ]);
        let parts = &answer.choices[0].parts;
        assert!(
            matches!(&parts[0].content, Content::Thinking(thinking) if thinking.text == "hm" && thinking.signature.is_some())
        );
        assert_eq!(parts[1].as_text(), Some("so"));
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn the_first_reason_to_stop_counts() {
        let stop = |word: &str| json!({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]});
        let (_, answer) = told(&[chunk(&json!({"content": "a"})), stop("tool_calls"), stop("stop")]);
        assert_eq!(answer.choices[0].stop.as_ref().unwrap().reason, StopReason::Tool);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec![
            "choices",
            "delta",
            "index",
            "content",
            "tool_calls",
            "function",
            "arguments",
            "id",
            "name",
            "type",
            "thinking",
            "reasoning_details",
            "finish_reason",
            "logprobs",
            "annotations",
            "images",
            "message",
            "text",
            "role",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_is_too_odd(chunks in prop::collection::vec(any_json(), 0..4)) {
            let (mut decoder, mut events) = (StreamDecoder::default(), Vec::new());
            for chunk in &chunks {
                drop(decoder.event(chunk.to_string().as_bytes(), &mut events));
                drop(super::super::answer(chunk.to_string().as_bytes()));
                drop(super::super::request(chunk.to_string().as_bytes()));
            }
            decoder.finish(&mut events);
            // Each part is opened once and closed once.
            let open = events.iter().filter(|event| matches!(event, Event::Open { .. })).count();
            let closed = events.iter().filter(|event| matches!(event, Event::Close { .. })).count();
            prop_assert_eq!(open, closed);
        }
    }
}
