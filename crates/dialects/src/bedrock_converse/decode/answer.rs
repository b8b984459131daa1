//! A whole answer, and what it has in common with a stream.

use domain::Dialect;
use serde_json::{Map, Value};

use crate::answer::Nonsense;
use crate::hub::{
    Answer, Choice, Citation, CitedSource, Content, DocumentPlace, Fields, Media, MediaKind, Part, Signature, Source,
    Stop, StopReason, Thinking, ToolCall, compact,
};
use crate::limits::PARTS_MAX;

/// Reads an answer.
pub(crate) fn answer(body: &[u8]) -> Result<Answer, Nonsense> {
    let mut fields = Fields::parse(body)?;
    let sequence = sequence(fields.take("additionalModelResponseFields").as_ref());
    let mut choice = Choice {
        stop: fields.text("stopReason")?.map(|word| stop(&word, sequence)),
        ..Choice::default()
    };
    let message = fields.object("output")?.and_then(|mut output| output.take("message"));
    if let Some(Value::Object(mut message)) = message
        && let Some(Value::Array(blocks)) = message.remove("content")
    {
        for part in blocks.into_iter().take(PARTS_MAX).filter_map(block) {
            if let Some(part) = cite_last(&mut choice.parts, part) {
                choice.parts.push(part);
            }
        }
    }
    for read in ["usage", "serviceTier", "metrics"] {
        fields.take(read);
    }
    Ok(Answer {
        choices: vec![choice],
        extra: fields.rest(Dialect::BedrockConverse),
        ..Answer::default()
    })
}

/// Reads a block: an object with one member, which says what it is.
fn block(value: Value) -> Option<Part> {
    let Value::Object(mut members) = value else { return None };
    if let Some(Value::String(text)) = members.get_mut("text").map(Value::take) {
        return Some(Part::text(text));
    }
    let kind = ["toolUse", "reasoningContent", "citationsContent", "image"]
        .into_iter()
        .find(|kind| members.contains_key(*kind));
    let content = match (kind, kind.and_then(|kind| members.get(kind).cloned())) {
        (Some("toolUse"), Some(Value::Object(call))) if !is_hosted(&call) => tool_call(call),
        (Some("reasoningContent"), Some(Value::Object(reasoning))) => Content::Thinking(thinking(&reasoning)),
        (Some("citationsContent"), Some(Value::Object(cited))) => {
            let text = joined(cited.get("content"));
            let all = text.chars().count() as u64;
            let citations = items(cited.get("citations")).map(citation);
            Content::Text {
                citations: citations.map(|citation| citation.of_all(all)).collect(),
                text,
            }
        }
        (Some("image"), Some(Value::Object(image))) => image_of(&image)?,
        _ => native(Value::Object(members)),
    };
    Some(Part::new(content))
}

/// Citations without words are about the text before them (Nova); anything else comes back.
fn cite_last(parts: &mut [Part], part: Part) -> Option<Part> {
    match (parts.last_mut().map(|last| &mut last.content), part.content) {
        (
            Some(Content::Text { text, citations }),
            Content::Text {
                text: none,
                citations: more,
            },
        ) if none.is_empty() => {
            let all = text.chars().count() as u64;
            // They were about their own words, of which there are none.
            let bare = more.into_iter().map(|citation| Citation { span: None, ..citation });
            citations.extend(bare.map(|citation| citation.of_all(all)));
            None
        }
        (_, content) => Some(Part { content, ..part }),
    }
}

/// What only Bedrock can say.
pub(super) fn native(value: Value) -> Content {
    Content::Native {
        origin: Dialect::BedrockConverse,
        value,
    }
}

/// Whether a call is of a tool that Bedrock runs itself: no client must answer it.
pub(super) fn is_hosted(call: &Map<String, Value>) -> bool {
    call.get("type").and_then(Value::as_str) == Some("server_tool_use")
}

fn tool_call(mut call: Map<String, Value>) -> Content {
    let arguments = match call.remove("input") {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => "{}".to_owned(),
        Some(input) => compact(&input),
    };
    Content::ToolCall(ToolCall {
        arguments,
        ..called(&call)
    })
}

/// A call without its arguments.
pub(super) fn called(call: &Map<String, Value>) -> ToolCall {
    let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    ToolCall {
        id: Some(text("toolUseId")).filter(|id| !id.is_empty()),
        name: text("name"),
        ..ToolCall::default()
    }
}

fn thinking(reasoning: &Map<String, Value>) -> Thinking {
    if let Some(redacted) = reasoning.get("redactedContent").and_then(Value::as_str) {
        return sealed(redacted);
    }
    let text = |name: &str| reasoning.get("reasoningText")?.get(name)?.as_str();
    Thinking {
        text: text("text").unwrap_or_default().to_owned(),
        signature: text("signature").map(signature),
        ..Thinking::default()
    }
}

/// Reasoning that may not be read.
pub(super) fn sealed(redacted: &str) -> Thinking {
    Thinking {
        signature: Some(signature(redacted)),
        redacted: true,
        ..Thinking::default()
    }
}

pub(super) fn signature(text: &str) -> Signature {
    Signature::read(Dialect::BedrockConverse, text)
}

/// `{title, source, sourceContent: [{text}], location: {web: {url}} | {documentChar: {documentIndex, …}} | …}`
pub(super) fn citation(value: &Value) -> Citation {
    let title = || value.get("title").and_then(Value::as_str).map(str::to_owned);
    let location = value.get("location");
    let url = location.and_then(|place| place.pointer("/web/url")?.as_str());
    let document = location
        .and_then(Value::as_object)
        .and_then(|location| location.iter().next());
    let index = document.and_then(|(_, place)| place.get("documentIndex")?.as_u64());
    let source = match (url, index) {
        (Some(url), _) => CitedSource::Url {
            url: url.to_owned(),
            title: title(),
        },
        (None, Some(index)) => CitedSource::Document {
            index,
            title: title(),
            place: document.and_then(|(kind, place)| within(kind, place)),
        },
        (None, None) => CitedSource::Other,
    };
    Citation {
        span: None,
        quote: Some(joined(value.get("sourceContent"))).filter(|quote| !quote.is_empty()),
        source,
        native: Some((Dialect::BedrockConverse, value.clone())),
    }
}

/// Where in a document: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CitationLocation.html>.
fn within(kind: &str, place: &Value) -> Option<DocumentPlace> {
    let (from, to) = (place.get("start")?.as_u64()?, place.get("end")?.as_u64()?);
    match kind {
        "documentChar" => Some(DocumentPlace::Chars(from, to)),
        "documentPage" => Some(DocumentPlace::Pages(from, to)),
        "documentChunk" => Some(DocumentPlace::Blocks(from, to)),
        _ => None,
    }
}

fn image_of(image: &Map<String, Value>) -> Option<Content> {
    let data = image.get("source")?.get("bytes")?.as_str()?;
    let format = image.get("format").and_then(Value::as_str).unwrap_or("png");
    Some(Content::Media(Media {
        kind: MediaKind::Image,
        source: Source::Base64(data.to_owned()),
        mime: format!("image/{format}"),
        name: None,
        detail: None,
        context: None,
        cite: None,
    }))
}

/// Why it ended.
pub(super) fn stop(word: &str, sequence: Option<String>) -> Stop {
    let reason = match word {
        "end_turn" => StopReason::End,
        "stop_sequence" => StopReason::Sequence,
        "max_tokens" => StopReason::Length,
        "model_context_window_exceeded" => StopReason::Context,
        "tool_use" => StopReason::Tool,
        "guardrail_intervened" | "content_filtered" => StopReason::Filter,
        _ => StopReason::Other,
    };
    Stop {
        reason,
        sequence,
        raw: word.to_owned(),
    }
}

/// The stop sequence that was met, which Claude tells where it is asked to.
pub(super) fn sequence(fields: Option<&Value>) -> Option<String> {
    fields?.get("stop_sequence")?.as_str().map(str::to_owned)
}

fn joined(list: Option<&Value>) -> String {
    items(list).filter_map(|item| item.get("text")?.as_str()).collect()
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(content: &Value) -> Vec<Content> {
        let body = json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"});
        let answer = answer(body.to_string().as_bytes()).unwrap();
        answer.choices[0]
            .parts
            .iter()
            .map(|part| part.content.clone())
            .collect()
    }

    #[test]
    fn every_kind_of_block_is_read() {
        let read = parts(&json!([
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
            {"reasoningContent": {"redactedContent": "cmVk"}},
            {"text": "hi"},
            {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": [
                {"title": "T", "sourceContent": [{"text": "q"}], "location": {"documentChar": {"documentIndex": 2, "start": 0, "end": 1}}},
                {"location": {"web": {"url": "https://x"}}}]}},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
            {"toolUse": {"toolUseId": "t2", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}},
            {"image": {"format": "png", "source": {"bytes": "aGk="}}},
        ]));
        assert!(matches!(&read[0], Content::Thinking(thinking) if thinking.text == "hm"
            && thinking.signature.as_ref().is_some_and(|seal| seal.value == "sig" && seal.origin == Dialect::BedrockConverse)));
        assert!(matches!(&read[1], Content::Thinking(thinking) if thinking.redacted && thinking.text.is_empty()));
        assert!(matches!(&read[2], Content::Text { text, .. } if text == "hi"));
        let Content::Text { text, citations } = &read[3] else {
            panic!()
        };
        assert_eq!((text.as_str(), citations[0].quote.as_deref()), ("ab", Some("q")));
        let place = Some(DocumentPlace::Chars(0, 1));
        assert_eq!(
            (citations[0].source.clone(), citations[0].span),
            (
                CitedSource::Document {
                    index: 2,
                    title: Some("T".to_owned()),
                    place
                },
                Some((0, 2))
            )
        );
        assert!(matches!(&citations[1].source, CitedSource::Url { url, .. } if url == "https://x"));
        assert!(
            matches!(&read[4], Content::ToolCall(call) if call.arguments == r#"{"a":1}"# && call.id.as_deref() == Some("t1"))
        );
        assert!(matches!(&read[5], Content::Native { .. }));
        assert!(matches!(&read[6], Content::Media(media) if media.mime == "image/png"));
    }

    #[test]
    fn pages_behind_a_text_are_its_own() {
        let cited = json!({"citationsContent": {"citations": [{"location": {"web": {"url": "https://x"}}}]}});
        let read = parts(&json!([{"text": "wet"}, cited, {"text": "."}, cited, cited]));
        let spans = |content: &Content| match content {
            Content::Text { citations, .. } => citations.iter().map(|citation| citation.span).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read.len(), 2);
        assert_eq!(spans(&read[0]), [Some((0, 3))]);
        assert_eq!(spans(&read[1]), [Some((0, 1)), Some((0, 1))]);
        assert_eq!(parts(&json!([cited])).len(), 1, "nothing is before it");
    }

    #[test]
    fn the_stop_sequence_is_known_where_claude_tells() {
        let body = json!({"output": {"message": {"content": []}}, "stopReason": "stop_sequence",
            "additionalModelResponseFields": {"stop_sequence": "END"}});
        let stop = answer(body.to_string().as_bytes()).unwrap().choices[0]
            .stop
            .clone()
            .unwrap();
        assert_eq!(
            (stop.reason, stop.sequence.as_deref()),
            (StopReason::Sequence, Some("END"))
        );
    }
}
