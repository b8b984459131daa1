//! OpenAI's chat, completions, embeddings and models, written as the provider writes them: role in the first chunk,
//! finish reason in its own, then usage (only when asked for), then `[DONE]`.

use base64::Engine;
use bytes::Bytes;

use super::answer::{Answer, Reporting, Stop};
use super::asked::{Asked, Operation};
use super::json::{Object, Text, object};
use super::rendered::Rendered;
use super::{CREATED, refusal::Refusal};

pub(crate) fn render(call: u64, asked: &Asked, answer: &Answer) -> Rendered {
    let scribe = Scribe { call, asked, answer };
    let rendered = match asked.operation {
        Operation::Chat | Operation::Completion if asked.stream.is_some() => scribe.stream(),
        Operation::Chat => Rendered::json(&scribe.chat()),
        Operation::Completion => Rendered::json(&scribe.completion()),
        Operation::Embeddings | Operation::BatchEmbeddings => Rendered::json(&scribe.embeddings()),
        Operation::Models => Rendered::json(&scribe.models()),
        Operation::Model => Rendered::json(&model(&asked.model)),
        Operation::Images | Operation::Speech | Operation::Transcript | Operation::Moderations | Operation::Rerank => {
            super::tasks::render(asked, answer)
        }
        Operation::CountTokens | Operation::Unknown => return Refusal::no_such_path().render(call, asked),
    };
    rendered.with_headers([
        ("openai-processing-ms", "12".to_owned()),
        ("openai-version", "2020-10-01".to_owned()),
        ("x-ratelimit-limit-requests", "10000".to_owned()),
        ("x-ratelimit-remaining-requests", "9999".to_owned()),
        ("x-ratelimit-reset-requests", "6ms".to_owned()),
        ("x-request-id", format!("req_tk_{call}")),
    ])
}

/// The in-band error of a chat stream.
pub(crate) fn error_event() -> Bytes {
    let error = object! {
        "message": "The server had an error while processing your request.",
        "type": "server_error", "param": (), "code": (),
    };
    sse(&object! { "error": error })
}

pub(crate) fn sse(data: &Text) -> Bytes {
    Bytes::from(format!("data: {}\n\n", data.get()))
}

pub(crate) fn models_list(ids: &[String]) -> Text {
    let data: Vec<Text> = ids.iter().map(|id| model(id)).collect();
    object! { "object": "list", "data": data }
}

fn model(id: &str) -> Text {
    object! { "id": id, "object": "model", "created": CREATED, "owned_by": "scripted" }
}

/// The tokens as OpenAI counts them: the prompt includes what was cached, the completion includes reasoning.
pub(crate) fn chat_usage(answer: &Answer) -> Text {
    if let Some(raw) = &answer.usage_raw {
        return super::json::Object::verbatim(raw);
    }
    let usage = &answer.usage;
    let mut prompt = Object::default();
    prompt.field("cached_tokens", &usage.cache_read);
    if usage.cache_write() != 0 {
        prompt.field("cache_write_tokens", &usage.cache_write());
    }
    prompt.field("audio_tokens", &0);
    let completion = object! {
        "reasoning_tokens": usage.reasoning, "audio_tokens": 0,
        "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
    };
    object! {
        "prompt_tokens": usage.prompt(), "completion_tokens": usage.output,
        "total_tokens": usage.prompt() + usage.output,
        "prompt_tokens_details": prompt.finish(), "completion_tokens_details": completion,
    }
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.ends_as() {
        Stop::End => "stop",
        Stop::Length => "length",
        Stop::ToolCalls => "tool_calls",
        Stop::Filter => "content_filter",
    }
}

/// One call's writer.
struct Scribe<'a> {
    call: u64,
    asked: &'a Asked,
    answer: &'a Answer,
}

/// What one streamed chunk says.
enum Delta {
    Role,
    Reasoning(String),
    Text(String),
    ToolStart(usize),
    ToolArguments(usize, String),
}

impl Scribe<'_> {
    fn model(&self) -> &str {
        self.answer.model.as_deref().unwrap_or(&self.asked.model)
    }

    fn chat(&self) -> Text {
        let choices: Vec<Text> = (0..self.asked.choices)
            .map(|index| {
                object! {
                    "index": index, "message": self.message(), "logprobs": (),
                    "finish_reason": finish_reason(self.answer),
                }
            })
            .collect();
        self.envelope("chat.completion", "chatcmpl", &choices)
    }

    fn message(&self) -> Text {
        let answer = self.answer;
        let text = answer.whole_text();
        let mut message = Object::default();
        message.field("role", "assistant");
        message.field(
            "content",
            &(!text.is_empty() || answer.tool_calls.is_empty()).then_some(text),
        );
        if let Some(thinking) = &answer.thinking {
            message.field("reasoning_content", thinking);
        }
        if !answer.tool_calls.is_empty() {
            let calls: Vec<Text> = answer
                .tool_calls
                .iter()
                .map(|call| {
                    let arguments = super::json::text(&call.arguments);
                    let function = object! { "name": call.name, "arguments": arguments };
                    object! { "id": call.id, "type": "function", "function": function }
                })
                .collect();
            message.field("tool_calls", &calls);
        }
        message.field("refusal", &());
        message.field("annotations", &[(); 0]);
        message.finish()
    }

    fn completion(&self) -> Text {
        let text = self.answer.whole_text();
        let choices: Vec<Text> = (0..self.asked.choices)
            .map(|index| {
                object! { "text": text, "index": index, "logprobs": (), "finish_reason": finish_reason(self.answer) }
            })
            .collect();
        self.envelope("text_completion", "cmpl", &choices)
    }

    fn envelope(&self, kind: &str, prefix: &str, choices: &[Text]) -> Text {
        let mut body = Object::default();
        body.field("id", &format!("{prefix}-tk-{}", self.call));
        body.field("object", kind);
        body.field("created", &CREATED);
        body.field("model", self.model());
        body.field("choices", choices);
        if self.answer.reporting != Reporting::Never {
            body.field("usage", &chat_usage(self.answer));
        }
        body.field("service_tier", "default");
        body.field("system_fingerprint", "fp_scripted");
        body.finish()
    }

    fn embeddings(&self) -> Text {
        let dimensions = self.asked.dimensions.unwrap_or(self.answer.dimensions);
        let data: Vec<Text> = (0..self.asked.inputs)
            .map(|index| {
                let vector = vector(index, dimensions);
                let mut item = Object::default();
                item.field("object", "embedding");
                item.field("index", &index);
                if self.asked.base64 {
                    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                    item.field("embedding", &base64::engine::general_purpose::STANDARD.encode(bytes));
                } else {
                    item.field("embedding", &vector);
                }
                item.finish()
            })
            .collect();
        let prompt = self.answer.usage.prompt();
        let usage = self.answer.usage_raw.as_ref().map_or_else(
            || object! { "prompt_tokens": prompt, "total_tokens": prompt },
            Object::verbatim,
        );
        object! { "object": "list", "data": data, "model": self.model(), "usage": usage }
    }

    fn models(&self) -> Text {
        models_list(&self.answer.models)
    }

    fn stream(&self) -> Rendered {
        let mut events: Vec<Bytes> = Vec::new();
        for delta in self.deltas() {
            for choice in 0..self.asked.choices {
                let part = self.choice_delta(choice, &delta);
                let so_far = self.usage_so_far(events.len() as i64 + 1);
                events.push(sse(&self.chunk(&[part], so_far)));
            }
        }
        let finish = events.len();
        for choice in 0..self.asked.choices {
            let part = self.choice_finish(choice);
            events.push(sse(&self.chunk(&[part], self.usage_on_finish(choice))));
        }
        if self.usage_chunk_due() {
            events.push(sse(&self.chunk(&[], UsageField::Full)));
        }
        let terminator = events.len();
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        Rendered {
            events,
            streamed: true,
            finish,
            terminator,
            error_event: error_event(),
            ..Rendered::whole(200, "text/event-stream; charset=utf-8", Bytes::new())
        }
    }

    fn deltas(&self) -> Vec<Delta> {
        let texts = self
            .answer
            .pieces
            .iter()
            .filter(|piece| !piece.is_empty())
            .cloned()
            .map(Delta::Text);
        if self.asked.operation == Operation::Completion {
            return texts.collect();
        }
        let mut deltas = vec![Delta::Role];
        deltas.extend(self.answer.thinking.iter().cloned().map(Delta::Reasoning));
        deltas.extend(texts);
        deltas.extend(self.tool_deltas());
        deltas
    }

    fn tool_deltas(&self) -> Vec<Delta> {
        let calls = self.answer.tool_calls.iter().enumerate();
        let mut rows: Vec<Vec<Delta>> = calls
            .map(|(index, call)| {
                let fragments = call
                    .fragments()
                    .into_iter()
                    .map(|text| Delta::ToolArguments(index, text));
                std::iter::once(Delta::ToolStart(index)).chain(fragments).collect()
            })
            .collect();
        if !self.answer.interleave_tool_calls {
            return rows.into_iter().flatten().collect();
        }
        let mut mixed = Vec::new();
        while rows.iter().any(|row| !row.is_empty()) {
            mixed.extend(rows.iter_mut().filter(|row| !row.is_empty()).map(|row| row.remove(0)));
        }
        mixed
    }

    fn choice_delta(&self, index: usize, delta: &Delta) -> Text {
        if self.asked.operation == Operation::Completion {
            let Delta::Text(text) = delta else { return object! {} };
            return object! { "text": text, "index": index, "logprobs": (), "finish_reason": () };
        }
        let delta = match delta {
            Delta::Role if self.answer.pieces.iter().all(String::is_empty) => {
                object! { "role": "assistant", "content": () }
            }
            Delta::Role => object! { "role": "assistant", "content": "", "refusal": () },
            Delta::Reasoning(text) => object! { "reasoning_content": text },
            Delta::Text(text) => object! { "content": text },
            Delta::ToolStart(at) => {
                let call = &self.answer.tool_calls[*at];
                let function = object! { "name": call.name, "arguments": "" };
                object! { "tool_calls": [object! { "index": at, "id": call.id, "type": "function", "function": function }] }
            }
            Delta::ToolArguments(at, text) => {
                let function = object! { "arguments": text };
                object! { "tool_calls": [object! { "index": at, "function": function }] }
            }
        };
        object! { "index": index, "delta": delta, "logprobs": (), "finish_reason": () }
    }

    fn choice_finish(&self, index: usize) -> Text {
        let reason = finish_reason(self.answer);
        if self.asked.operation == Operation::Completion {
            return object! { "text": "", "index": index, "logprobs": (), "finish_reason": reason };
        }
        object! { "index": index, "delta": object! {}, "logprobs": (), "finish_reason": reason }
    }

    fn chunk(&self, choices: &[Text], usage: UsageField) -> Text {
        let (kind, prefix) = match self.asked.operation {
            Operation::Completion => ("text_completion", "cmpl"),
            _ => ("chat.completion.chunk", "chatcmpl"),
        };
        let mut chunk = Object::default();
        chunk.field("id", &format!("{prefix}-tk-{}", self.call));
        chunk.field("object", kind);
        chunk.field("created", &CREATED);
        chunk.field("model", self.model());
        chunk.field("service_tier", "default");
        chunk.field("system_fingerprint", "fp_scripted");
        chunk.field("choices", choices);
        match usage {
            UsageField::Absent => {}
            UsageField::Null => chunk.field("usage", &()),
            UsageField::Full => chunk.field("usage", &chat_usage(self.answer)),
            UsageField::Partial(output) => {
                let mut partial = self.answer.clone();
                partial.usage.output = output;
                partial.usage.reasoning = partial.usage.reasoning.min(output);
                chunk.field("usage", &chat_usage(&partial));
            }
        }
        chunk.finish()
    }

    /// On chunks before the end: null when usage was asked for, the growing figure where the script says so.
    fn usage_so_far(&self, chunks: i64) -> UsageField {
        match self.answer.reporting {
            Reporting::OnEvery => UsageField::Partial(chunks.min(self.answer.usage.output)),
            Reporting::Honest | Reporting::Unasked if self.usage_chunk_due() => UsageField::Null,
            _ => UsageField::Absent,
        }
    }

    fn usage_on_finish(&self, choice: usize) -> UsageField {
        match self.answer.reporting {
            Reporting::OnFinish if choice + 1 == self.asked.choices => UsageField::Full,
            Reporting::OnEvery => UsageField::Full,
            _ => self.usage_so_far(0),
        }
    }

    fn usage_chunk_due(&self) -> bool {
        match self.answer.reporting {
            Reporting::Honest => self.asked.include_usage,
            Reporting::Unasked => true,
            Reporting::OnFinish | Reporting::OnEvery | Reporting::Never => false,
        }
    }
}

/// What a chunk's `usage` field holds.
#[derive(Clone, Copy)]
enum UsageField {
    Absent,
    Null,
    Partial(i64),
    Full,
}

/// A vector that differs from input to input and is exact in f32.
pub(crate) fn vector(index: usize, dimensions: usize) -> Vec<f32> {
    (0..dimensions)
        .map(|d| (index + 1) as f32 * 0.25 - d as f32 * 0.125)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::answer::Usage;
    use super::super::request::Request;
    use super::*;

    fn stream(body: &str, answer: &Answer) -> Vec<Value> {
        let asked = Asked::read(&Request::of("POST", "/v1/chat/completions", &[], body));
        let rendered = render(1, &asked, answer);
        let events = crate::sse::events(&rendered.events.concat());
        assert_eq!(events.last().unwrap().data, "[DONE]");
        assert_eq!(events.len(), rendered.terminator + 1);
        events.iter().filter_map(crate::sse::Event::json).collect()
    }

    const ASKS: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
    const DOES_NOT: &str = r#"{"model":"m","stream":true}"#;

    #[test]
    fn usage_comes_last_and_only_when_asked_for() {
        let answer = Answer::text("a b").usage(Usage {
            cache_read: 4,
            reasoning: 2,
            ..Usage::of(6, 5)
        });
        let asked = stream(ASKS, &answer);
        assert_eq!(asked.last().unwrap()["choices"], json!([]));
        assert_eq!(asked.last().unwrap()["usage"]["prompt_tokens"], 10);
        assert_eq!(
            asked.last().unwrap()["usage"]["prompt_tokens_details"]["cached_tokens"],
            4
        );
        assert_eq!(asked.last().unwrap()["usage"]["completion_tokens"], 5);
        assert!(
            asked[..asked.len() - 1]
                .iter()
                .all(|chunk| chunk.get("usage") == Some(&Value::Null))
        );
        assert!(
            stream(DOES_NOT, &answer)
                .iter()
                .all(|chunk| chunk.get("usage").is_none())
        );
    }

    #[test]
    fn the_odd_places_of_usage() {
        let with = |reporting| stream(DOES_NOT, &Answer::text("a b").reporting(reporting));
        let unasked = with(Reporting::Unasked);
        assert_eq!(unasked.last().unwrap()["usage"]["total_tokens"], 19);
        let on_finish = with(Reporting::OnFinish);
        assert_eq!(on_finish.last().unwrap()["choices"][0]["finish_reason"], "stop");
        assert_eq!(on_finish.last().unwrap()["usage"]["total_tokens"], 19);
        let every = with(Reporting::OnEvery);
        let outputs: Vec<_> = every
            .iter()
            .map(|c| c["usage"]["completion_tokens"].as_i64().unwrap())
            .collect();
        assert_eq!(outputs, [1, 2, 3, 7]);
        assert!(with(Reporting::Never).iter().all(|c| c.get("usage").is_none()));
    }

    #[test]
    fn parallel_tool_calls_keep_their_index_even_mixed() {
        let mut answer = Answer::tool_call("f", json!({"a": 1})).and_tool_call("g", json!({"b": [2, 3]}));
        answer.interleave_tool_calls = true;
        let chunks = stream(DOES_NOT, &answer);
        let mut arguments = [String::new(), String::new()];
        let mut order = Vec::new();
        for call in chunks
            .iter()
            .filter_map(|c| c["choices"][0]["delta"]["tool_calls"].get(0))
        {
            let index = call["index"].as_u64().unwrap() as usize;
            order.push(index);
            arguments[index].push_str(call["function"]["arguments"].as_str().unwrap());
        }
        assert_eq!(arguments, [r#"{"a":1}"#, r#"{"b":[2,3]}"#]);
        assert_eq!(order[..4], [0, 1, 0, 1]);
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    }

    #[test]
    fn several_choices_each_finish() {
        let chunks = stream(r#"{"model":"m","stream":true,"n":2}"#, &Answer::text("a b"));
        let finished: Vec<_> = chunks
            .iter()
            .filter(|c| c["choices"][0]["finish_reason"] == "stop")
            .map(|c| c["choices"][0]["index"].as_u64().unwrap())
            .collect();
        assert_eq!(finished, [0, 1]);
    }

    #[test]
    fn embeddings_in_both_encodings() {
        let of = |body: &str| -> Value {
            let asked = Asked::read(&Request::of("POST", "/v1/embeddings", &[], body));
            serde_json::from_slice(&render(1, &asked, &Answer::default()).events[0]).unwrap()
        };
        let floats = of(r#"{"model":"e","input":["a","b"]}"#);
        assert_eq!(floats["data"][1]["embedding"][0], 0.5);
        assert_eq!(floats["usage"], json!({"prompt_tokens": 12, "total_tokens": 12}));
        let coded = of(r#"{"model":"e","input":"a","encoding_format":"base64","dimensions":2}"#);
        let bytes = base64::engine::general_purpose::STANDARD.decode(coded["data"][0]["embedding"].as_str().unwrap());
        assert_eq!(bytes.unwrap(), [0.25f32.to_le_bytes(), 0.125f32.to_le_bytes()].concat());
    }
}
