//! Gemini: whole function calls without ids, thoughts counted beside the candidates, usage in every chunk; a stream is
//! SSE with CRLF when `alt=sse` is asked for, else one JSON array. There is no terminator: the last chunk has the finish
//! reason.

use bytes::Bytes;

use super::answer::{Answer, Reporting, Stop};
use super::asked::{Asked, Operation, StreamForm};
use super::json::{Object, Text, object};
use super::openai::vector;
use super::refusal::Refusal;
use super::rendered::Rendered;

pub(crate) fn render(call: u64, asked: &Asked, answer: &Answer) -> Rendered {
    let scribe = Scribe { call, asked, answer };
    match asked.operation {
        Operation::Chat => match asked.stream {
            Some(form) => scribe.stream(form),
            None => json(&scribe.response(&scribe.all_parts(), true, Some(answer.usage.output))),
        },
        Operation::CountTokens => {
            let tokens = answer.usage.prompt();
            let details = object! { "modality": "TEXT", "tokenCount": tokens };
            json(&object! { "totalTokens": tokens, "promptTokensDetails": [details] })
        }
        Operation::Embeddings => json(&object! { "embedding": scribe.embedding(0) }),
        Operation::BatchEmbeddings => {
            let embeddings: Vec<Text> = (0..asked.inputs).map(|index| scribe.embedding(index)).collect();
            json(&object! { "embeddings": embeddings })
        }
        Operation::Models => {
            let models: Vec<Text> = answer.models.iter().map(|id| model(id)).collect();
            json(&object! { "models": models })
        }
        Operation::Model => json(&model(&asked.model)),
        _ => Refusal::no_such_path().render(call, asked),
    }
}

/// The in-band error of a stream.
pub(crate) fn error_event() -> Bytes {
    let error = object! { "code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE" };
    Bytes::from(format!("data: {}\r\n\r\n", object! { "error": error }.get()))
}

fn json(body: &Text) -> Rendered {
    Rendered::whole(200, "application/json; charset=UTF-8", body.get().as_bytes().to_vec())
        .with_headers([("server", "scaffolding on HTTPServer2".to_owned())])
}

fn model(id: &str) -> Text {
    object! {
        "name": format!("models/{id}"), "version": "001", "displayName": id, "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536, "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
}

struct Scribe<'a> {
    call: u64,
    asked: &'a Asked,
    answer: &'a Answer,
}

impl Scribe<'_> {
    fn all_parts(&self) -> Vec<Text> {
        let mut parts = self.thought_parts();
        let text = self.answer.whole_text();
        if !text.is_empty() || self.answer.tool_calls.is_empty() {
            parts.push(object! { "text": text });
        }
        parts.extend(self.call_parts());
        parts
    }

    fn thought_parts(&self) -> Vec<Text> {
        self.answer
            .thinking
            .iter()
            .map(|text| object! { "text": text, "thought": true })
            .collect()
    }

    fn call_parts(&self) -> Vec<Text> {
        let calls = self.answer.tool_calls.iter();
        calls
            .map(|call| object! { "functionCall": object! { "name": call.name, "args": call.arguments } })
            .collect()
    }

    /// One response or chunk. `output` is what has been produced so far; `None` leaves usage out.
    fn response(&self, parts: &[Text], last: bool, output: Option<i64>) -> Text {
        let mut candidate = Object::default();
        candidate.field("content", &object! { "parts": parts, "role": "model" });
        if last {
            candidate.field("finishReason", finish_reason(self.answer));
        }
        candidate.field("index", &0);
        let mut body = Object::default();
        body.field("candidates", &[candidate.finish()]);
        if let Some(output) = output.filter(|_| self.answer.reporting != Reporting::Never) {
            body.field("usageMetadata", &usage(self.answer, output));
        }
        body.field(
            "modelVersion",
            self.answer.model.as_deref().unwrap_or(&self.asked.model),
        );
        body.field("responseId", &format!("tk-{}", self.call));
        body.finish()
    }

    fn stream(&self, form: StreamForm) -> Rendered {
        let mut groups: Vec<Vec<Text>> = self.thought_parts().into_iter().map(|part| vec![part]).collect();
        let pieces = self.answer.pieces.iter().filter(|piece| !piece.is_empty());
        groups.extend(pieces.map(|piece| vec![object! { "text": piece }]));
        let calls = self.call_parts();
        if !calls.is_empty() {
            groups.push(calls);
        }
        groups.push(vec![object! { "text": "" }]);
        let finish = groups.len() - 1;
        let chunks: Vec<Text> = groups
            .iter()
            .enumerate()
            .map(|(at, parts)| self.response(parts, at == finish, self.output_after(at, at == finish)))
            .collect();
        let (events, content_type) = match form {
            StreamForm::Sse => (chunks.iter().map(sse).collect(), "text/event-stream"),
            StreamForm::JsonArray => (array(&chunks), "application/json; charset=UTF-8"),
        };
        Rendered {
            events,
            streamed: true,
            finish,
            terminator: finish,
            error_event: error_event(),
            ..Rendered::whole(200, content_type, Bytes::new())
        }
    }

    fn output_after(&self, at: usize, last: bool) -> Option<i64> {
        match self.answer.reporting {
            _ if last => Some(self.answer.usage.output),
            Reporting::OnFinish => None,
            _ => Some((at as i64 + 1).min(self.answer.usage.output)),
        }
    }

    fn embedding(&self, index: usize) -> Text {
        object! { "values": vector(index, self.answer.dimensions) }
    }
}

fn sse(chunk: &Text) -> Bytes {
    Bytes::from(format!("data: {}\r\n\r\n", chunk.get()))
}

fn array(chunks: &[Text]) -> Vec<Bytes> {
    let last = chunks.len() - 1;
    let piece = |(at, chunk): (usize, &Text)| {
        let open = if at == 0 { "[" } else { ",\r\n" };
        let close = if at == last { "\n]" } else { "\n" };
        Bytes::from(format!("{open}{}{close}", chunk.get()))
    };
    chunks.iter().enumerate().map(piece).collect()
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.ends_as() {
        Stop::End | Stop::ToolCalls => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Filter => "SAFETY",
    }
}

/// The prompt includes what was cached; the candidates exclude thoughts.
fn usage(answer: &Answer, output: i64) -> Text {
    if let Some(raw) = &answer.usage_raw {
        return Object::verbatim(raw);
    }
    let tokens = &answer.usage;
    let thoughts = tokens.reasoning.min(output.max(0));
    let mut usage = Object::default();
    usage.field("promptTokenCount", &tokens.prompt());
    if tokens.cache_read != 0 {
        usage.field("cachedContentTokenCount", &tokens.cache_read);
    }
    usage.field("candidatesTokenCount", &(output - thoughts));
    usage.field("totalTokenCount", &(tokens.prompt() + output));
    let details = object! { "modality": "TEXT", "tokenCount": tokens.prompt() };
    usage.field("promptTokensDetails", &[details]);
    if thoughts != 0 {
        usage.field("thoughtsTokenCount", &thoughts);
    }
    usage.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::answer::Usage;
    use super::super::request::Request;
    use super::*;

    fn rendered(target: &str, answer: &Answer) -> Rendered {
        render(1, &Asked::read(&Request::of("POST", target, &[], "{}")), answer)
    }

    #[test]
    fn array_and_sse_carry_the_same_chunks() {
        let answer = Answer::text("a b")
            .thinking("hm")
            .and_tool_call("f", json!({"x": 1}))
            .usage(Usage {
                cache_read: 3,
                reasoning: 2,
                ..Usage::of(7, 9)
            });
        let array = rendered("/v1beta/models/g:streamGenerateContent", &answer);
        let chunks: Vec<Value> = serde_json::from_slice(&array.events.concat()).unwrap();
        let sse = rendered("/v1beta/models/g:streamGenerateContent?alt=sse", &answer);
        let events: Vec<Value> = crate::sse::events(&sse.events.concat())
            .iter()
            .filter_map(crate::sse::Event::json)
            .collect();
        assert_eq!(chunks, events);
        let last = chunks.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        assert_eq!(last["usageMetadata"]["promptTokenCount"], 10);
        assert_eq!(last["usageMetadata"]["candidatesTokenCount"], 7);
        assert_eq!(last["usageMetadata"]["thoughtsTokenCount"], 2);
        assert_eq!(last["usageMetadata"]["totalTokenCount"], 19);
        assert_eq!(
            chunks[3]["candidates"][0]["content"]["parts"][0]["functionCall"]["args"],
            json!({"x": 1})
        );
    }

    #[test]
    fn counts_and_embeds() {
        let count: Value =
            serde_json::from_slice(&rendered("/v1beta/models/g:countTokens", &Answer::default()).events[0]).unwrap();
        assert_eq!(count["totalTokens"], 12);
        let one: Value =
            serde_json::from_slice(&rendered("/v1beta/models/g:embedContent", &Answer::default()).events[0]).unwrap();
        assert_eq!(one["embedding"]["values"].as_array().unwrap().len(), 8);
    }
}
