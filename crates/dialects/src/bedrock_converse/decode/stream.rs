//! A stream.
//!
//! Texts and reasoning have no start event: their first delta opens them. A block may change its kind without an end
//! (citations around text do not, reasoning before text at one index does in some models), so places are counted here
//! rather than taken from the index.

use serde_json::{Map, Value, json};

use super::answer::{called, citation, is_hosted, native, sealed, sequence, signature, stop};
use crate::answer::Nonsense;
use crate::hub::{Citation, Cited, Content, Delta, Event, Extra, Part, Stop, Thinking, nested, weight};
use crate::limits::{CARRIED_MAX, PARTS_MAX};
use crate::stream::frames::Message;

/// Reads a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    started: bool,
    open: Vec<Block>,
    /// Steps of Bedrock's own that are not whole.
    steps: Vec<Step>,
    next: u32,
    stop: Option<Stop>,
}

/// A block that is being told.
#[derive(Debug)]
struct Block {
    index: u64,
    place: u32,
    kind: Kind,
    cited: Cited,
}

/// A step of Bedrock's own, told when it is whole: others can say it only then.
#[derive(Debug)]
struct Step {
    index: u64,
    /// `toolUse`, `toolResult`.
    name: &'static str,
    members: Map<String, Value>,
    /// JSON text, of what is asked for.
    input: String,
    /// What came of it.
    content: Vec<Value>,
    bytes: usize,
}

/// The index of a text that has ended: its citations may come in a block of their own behind it.
const ENDED: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Redacted,
    Call,
    /// Of a tool that Bedrock runs.
    Hosted,
}

impl StreamDecoder {
    /// Reads one frame, which the tap has checked.
    pub(crate) fn event(&mut self, frame: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let message = Message::read(frame).ok_or(Nonsense::Lacks("a whole frame"))?;
        let Ok(Value::Object(mut members)) = nested::read(message.payload) else {
            return Err(Nonsense::Lacks("an object"));
        };
        self.start(out);
        let index = members
            .get("contentBlockIndex")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        if message.is("contentBlockStart") {
            self.begin(index, members.remove("start"), out);
        } else if message.is("contentBlockDelta") {
            if let Some(Value::Object(delta)) = members.remove("delta") {
                self.delta(index, delta, out);
            }
        } else if message.is("contentBlockStop") {
            self.end(index, out);
        } else if message.is("messageStop") {
            let sequence = sequence(members.get("additionalModelResponseFields"));
            let word = members.get("stopReason").and_then(Value::as_str).unwrap_or_default();
            self.stop = Some(stop(word, sequence));
        }
        Ok(())
    }

    /// Closes what is open, and says why it ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.start(out);
        for block in std::mem::take(&mut self.open) {
            close(block, out);
        }
        for step in std::mem::take(&mut self.steps) {
            self.tell(step, out);
        }
        out.extend(self.stop.take().map(|stop| Event::Stop { choice: 0, stop }));
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start {
                id: String::new(),
                model: String::new(),
                created: None,
                extra: Extra::default(),
            });
        }
    }

    fn begin(&mut self, index: u64, start: Option<Value>, out: &mut Vec<Event>) {
        let Some(Value::Object(mut start)) = start else { return };
        let (kind, content) = match (start.get("toolUse"), start.get("toolResult")) {
            (Some(Value::Object(call)), _) if is_hosted(call) => {
                let step = Step::of(index, "toolUse", call);
                return self.step(step, out);
            }
            (Some(Value::Object(call)), _) => (Kind::Call, Content::ToolCall(called(call))),
            (None, Some(Value::Object(result))) => {
                let step = Step::of(index, "toolResult", result);
                return self.step(step, out);
            }
            // A picture.
            _ => {
                start.retain(|_, value| !value.is_null());
                (Kind::Hosted, native(Value::Object(start)))
            }
        };
        self.close(index, out);
        self.put(index, kind, content, out);
    }

    fn delta(&mut self, index: u64, mut delta: Map<String, Value>, out: &mut Vec<Event>) {
        if let Some(Value::String(text)) = delta.remove("text") {
            let chars = text.chars().count();
            self.grow(index, Kind::Text, Delta::Text(text), out);
            if let Some(block) = self.open.iter_mut().find(|block| block.index == index) {
                block.cited.grow(chars);
            }
        }
        if let Some(Value::Object(mut reasoning)) = delta.remove("reasoningContent") {
            self.reason(index, &mut reasoning, out);
        }
        if let Some(cited) = delta.remove("citation").filter(Value::is_object) {
            self.cite(index, citation(&cited), out);
        }
        if let Some(Value::Object(mut call)) = delta.remove("toolUse")
            && let Some(Value::String(more)) = call.remove("input")
        {
            if let Some(place) = self.place(index, Kind::Call) {
                out.push(Event::Delta {
                    choice: 0,
                    place,
                    delta: Delta::Arguments(more),
                });
            } else if let Some(step) = self.growing(index, more.len()) {
                step.input.push_str(&more);
            }
        }
        if let Some(Value::Array(came)) = delta.remove("toolResult") {
            let bytes = came.iter().map(weight).sum();
            if let Some(step) = self.growing(index, bytes) {
                for item in came {
                    step.take(item);
                }
            }
        }
    }

    /// The step that goes on, while there is room for it; one without room is told as far as it was taken.
    fn growing(&mut self, index: u64, bytes: usize) -> Option<&mut Step> {
        let step = self.steps.iter_mut().find(|step| step.index == index)?;
        step.bytes = step.bytes.saturating_add(bytes);
        (step.bytes <= CARRIED_MAX).then_some(step)
    }

    fn step(&mut self, step: Step, out: &mut Vec<Event>) {
        self.end(step.index, out);
        if self.steps.len() < PARTS_MAX {
            self.steps.push(step);
        }
    }

    fn tell(&mut self, step: Step, out: &mut Vec<Event>) {
        if let Some(place) = self.put(ENDED, Kind::Hosted, native(step.into_value()), out) {
            self.open.retain(|block| block.place != place);
            out.push(Event::Close { choice: 0, place });
        }
    }

    fn cite(&mut self, index: u64, citation: Citation, out: &mut Vec<Event>) {
        let is_behind = self.place(index, Kind::Text).is_none() && self.place(ENDED, Kind::Text).is_some();
        let index = if is_behind { ENDED } else { index };
        if self.place(index, Kind::Text).is_none() {
            self.grow(index, Kind::Text, Delta::Text(String::new()), out);
        }
        let block = self.open.iter_mut().find(|block| block.index == index);
        if let Some(citation) = block.and_then(|block| block.cited.keep(citation)) {
            self.grow(index, Kind::Text, Delta::Citation(citation), out);
        }
    }

    fn reason(&mut self, index: u64, reasoning: &mut Map<String, Value>, out: &mut Vec<Event>) {
        if let Some(Value::String(text)) = reasoning.remove("text") {
            self.grow(index, Kind::Thinking, Delta::Text(text), out);
        }
        if let Some(Value::String(seal)) = reasoning.remove("signature") {
            self.grow(index, Kind::Thinking, Delta::Signature(signature(&seal)), out);
        }
        if let Some(Value::String(redacted)) = reasoning.remove("redactedContent") {
            self.close(index, out);
            self.put(index, Kind::Redacted, Content::Thinking(sealed(&redacted)), out);
        }
    }

    /// Lets a text or reasoning grow, which begins with that where it has not begun.
    fn grow(&mut self, index: u64, kind: Kind, delta: Delta, out: &mut Vec<Event>) {
        let place = self.place(index, kind).or_else(|| {
            self.close(index, out);
            let content = if kind == Kind::Text {
                Part::text("").content
            } else {
                Content::Thinking(Thinking::default())
            };
            self.put(index, kind, content, out)
        });
        if let Some(place) = place {
            out.push(Event::Delta {
                choice: 0,
                place,
                delta,
            });
        }
    }

    fn place(&self, index: u64, kind: Kind) -> Option<u32> {
        let block = self
            .open
            .iter()
            .find(|block| block.index == index && block.kind == kind)?;
        Some(block.place)
    }

    fn put(&mut self, index: u64, kind: Kind, content: Content, out: &mut Vec<Event>) -> Option<u32> {
        let place = self.next;
        if place as usize >= PARTS_MAX {
            return None;
        }
        self.close(ENDED, out);
        self.next += 1;
        self.open.push(Block {
            index,
            place,
            kind,
            cited: Cited::default(),
        });
        out.push(Event::Open {
            choice: 0,
            place,
            part: Box::new(Part::new(content)),
        });
        Some(place)
    }

    /// A block is whole. A text is closed only when something other than citations comes.
    fn end(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(at) = self.steps.iter().position(|step| step.index == index) {
            let step = self.steps.remove(at);
            self.tell(step, out);
        }
        if self.place(index, Kind::Text).is_none() {
            return self.close(index, out);
        }
        self.close(ENDED, out);
        if let Some(text) = self.open.iter_mut().find(|block| block.index == index) {
            text.index = ENDED;
        }
    }

    fn close(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(at) = self.open.iter().position(|block| block.index == index) {
            close(self.open.swap_remove(at), out);
        }
    }
}

impl Step {
    fn of(index: u64, name: &'static str, members: &Map<String, Value>) -> Self {
        Self {
            index,
            name,
            members: members.clone(),
            input: String::new(),
            content: Vec::new(),
            bytes: 0,
        }
    }

    /// More of what came of it; pieces of a text are one text.
    fn take(&mut self, item: Value) {
        let last = self.content.last_mut().and_then(|last| last.get_mut("text"));
        match (last, item.get("text").and_then(Value::as_str)) {
            (Some(Value::String(text)), Some(more)) => text.push_str(more),
            _ => self.content.push(item),
        }
    }

    /// As it stands in a whole answer.
    fn into_value(self) -> Value {
        let mut members = self.members;
        if self.name == "toolUse" {
            let input = nested::read(self.input.as_bytes()).unwrap_or_else(|_| json!({}));
            members.insert("input".to_owned(), input);
        } else {
            members.insert("content".to_owned(), self.content.into());
        }
        json!({self.name: members})
    }
}

fn close(block: Block, out: &mut Vec<Event>) {
    out.extend(block.cited.finish().map(|citation| Event::Delta {
        choice: 0,
        place: block.place,
        delta: Delta::Citation(citation),
    }));
    out.push(Event::Close {
        choice: 0,
        place: block.place,
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::{Collector, StopReason};
    use crate::stream::frames::event;

    fn told(frames: &[(&str, &str)]) -> (Vec<Event>, crate::hub::Choice) {
        let (mut decoder, mut out) = (StreamDecoder::default(), Vec::new());
        for (name, payload) in frames {
            decoder.event(&event(name, payload), &mut out).unwrap();
        }
        decoder.finish(&mut out);
        let mut collector = Collector::default();
        for event in out.clone() {
            collector.push(event);
        }
        (out, collector.into_answer().choices.remove(0))
    }

    #[test]
    fn a_stream_is_the_answer_that_it_tells() {
        let (_, said) = told(&[
            ("messageStart", r#"{"role":"assistant"}"#),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"h"}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"m"}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s"}}}"#,
            ),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"text":"hi"}}"#),
            (
                "contentBlockStart",
                r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"a\""}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":":1}"}}}"#,
            ),
            ("messageStop", r#"{"stopReason":"tool_use"}"#),
        ]);
        assert!(matches!(&said.parts[0].content, Content::Thinking(thinking)
            if thinking.text == "hm" && thinking.signature.as_ref().is_some_and(|seal| seal.value == "s")));
        assert_eq!(said.parts[1].as_text(), Some("hi"));
        assert!(matches!(&said.parts[2].content, Content::ToolCall(call)
            if call.name == "f" && call.arguments == r#"{"a":1}"#));
        assert_eq!(said.stop.unwrap().reason, StopReason::Tool);
    }

    #[test]
    fn a_block_that_changes_its_kind_becomes_two() {
        let (_, said) = told(&[
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}"#,
            ),
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"citation":{"title":"T"}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"cg=="}}}"#,
            ),
        ]);
        assert!(matches!(&said.parts[0].content, Content::Thinking(_)));
        assert!(matches!(&said.parts[1].content, Content::Text { citations, .. } if citations.len() == 1));
        assert!(matches!(&said.parts[2].content, Content::Thinking(thinking) if thinking.redacted));
    }

    #[test]
    fn a_call_of_bedrocks_own_tool_is_not_the_clients() {
        let (_, said) = told(&[
            (
                "contentBlockStart",
                r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"nova_grounding","type":"server_tool_use"}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{}"}}}"#,
            ),
        ]);
        let step =
            json!({"toolUse": {"toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use", "input": {}}});
        assert!(matches!(&said.parts[..], [part] if part.content == native(step.clone())));
    }

    #[test]
    fn steps_are_whole_and_pages_stand_with_the_text_before_them() {
        let (_, said) = told(&[
            (
                "contentBlockStart",
                r#"{"contentBlockIndex":0,"start":{"toolResult":{"toolUseId":"t","type":"nova_code_interpreter_result","status":"success"}}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"toolResult":[{"text":"{\"stdOut\":"}]}}"#,
            ),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"toolResult":[{"text":"\"1\"}"},{"json":{"a":1}}]}}"#,
            ),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"text":"wet"}}"#),
            ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":2,"delta":{"citation":{"location":{"web":{"url":"https://x"}}}}}"#,
            ),
            ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"text":"."}}"#),
        ]);
        let step = json!({"toolResult": {"toolUseId": "t", "type": "nova_code_interpreter_result", "status": "success",
            "content": [{"text": "{\"stdOut\":\"1\"}"}, {"json": {"a": 1}}]}});
        assert_eq!(said.parts[0].content, native(step));
        let Content::Text { text, citations } = &said.parts[1].content else {
            panic!("{said:?}")
        };
        assert_eq!(
            (text.as_str(), citations.len(), citations[0].span),
            ("wet", 1, Some((0, 3)))
        );
        assert_eq!((said.parts.len(), said.parts[2].as_text()), (3, Some(".")));
    }

    proptest! {
        #[test]
        fn the_grammar_holds_for_any_order(steps in proptest::collection::vec((0..10_usize, 0..3_u64), 0..30)) {
            let frames: Vec<_> = steps.into_iter().map(|(step, index)| match step {
                0 => ("contentBlockStart", format!(r#"{{"contentBlockIndex":{index},"start":{{"toolUse":{{"toolUseId":"t","name":"f"}}}}}}"#)),
                1 => ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{index},"delta":{{"text":"a"}}}}"#)),
                2 => ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{index},"delta":{{"reasoningContent":{{"text":"a"}}}}}}"#)),
                3 => ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{index},"delta":{{"toolUse":{{"input":"a"}}}}}}"#)),
                4 => ("contentBlockStop", format!(r#"{{"contentBlockIndex":{index}}}"#)),
                5 => ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{index},"delta":{{"reasoningContent":{{"redactedContent":"eA=="}}}}}}"#)),
                6 => ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{index},"delta":{{"citation":{{"title":"T"}}}}}}"#)),
                7 => ("contentBlockStart", format!(r#"{{"contentBlockIndex":{index},"start":{{"toolResult":{{"toolUseId":"t","type":"x"}}}}}}"#)),
                8 => ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{index},"delta":{{"toolResult":[{{"text":"a"}}]}}}}"#)),
                _ => ("unknown", "{}".to_owned()),
            }).collect();
            let (mut decoder, mut out) = (StreamDecoder::default(), Vec::new());
            for (name, payload) in &frames {
                decoder.event(&event(name, payload), &mut out).unwrap();
            }
            decoder.finish(&mut out);
            let (mut open, mut opened) = (Vec::new(), 0);
            for event in out {
                match event {
                    Event::Open { place, .. } => {
                        prop_assert_eq!(place, opened);
                        opened += 1;
                        open.push(place);
                    }
                    Event::Delta { place, .. } => prop_assert!(open.contains(&place)),
                    Event::Close { place, .. } => {
                        prop_assert!(open.contains(&place));
                        open.retain(|known| *known != place);
                    }
                    _ => {}
                }
            }
            prop_assert!(open.is_empty());
        }
    }
}
