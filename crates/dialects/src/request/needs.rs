//! What a request needs of a model, beyond what every model can do.
//!
//! Read only where a target of the call is known not to be able to do something that the request might need: a second
//! scan then costs less than a refused attempt. Like the first it skips rather than parses. What is not understood needs
//! nothing: the provider knows better.

use domain::{Capability, CapabilitySet, Dialect, Surface};

use crate::anthropic_messages::decode::is_run_by_client;
use crate::json::{Cursor, Kind, Syntax};

/// What a request of this surface needs. A body that is no JSON needs nothing.
pub fn needs(surface: Surface, body: &[u8]) -> CapabilitySet {
    let mut found = CapabilitySet::EMPTY;
    let read = match surface.dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => openai(&mut found, body),
        Dialect::AnthropicMessages => anthropic(&mut found, body),
        Dialect::Gemini => gemini(&mut found, body),
        Dialect::BedrockConverse => Ok(()),
    };
    // What was found before the mistake is there all the same.
    read.map_or(found, |()| found)
}

/// What `look` finds in the members of the body.
fn members(body: &[u8], mut look: impl FnMut(&[u8], &mut Cursor<'_>) -> Result<(), Syntax>) -> Result<(), Syntax> {
    Cursor::lenient(body).object(|key, value| look(key, value)).map(|_| ())
}

fn skip(value: &mut Cursor<'_>) -> Result<(), Syntax> {
    value.skip().map(|_| ())
}

/// Whether a member of an object is this string; the others are skipped.
fn says(value: &mut Cursor<'_>, member: &[u8], is: impl Fn(&str) -> bool) -> Result<bool, Syntax> {
    let mut found = false;
    value.object_if(|key, value| {
        if key == member {
            found |= value.string_if()?.is_some_and(|text| is(&text.decode()));
            Ok(())
        } else {
            skip(value)
        }
    })?;
    Ok(found)
}

/// The same in each object of a list.
fn one_says(value: &mut Cursor<'_>, member: &[u8], is: impl Fn(&str) -> bool + Copy) -> Result<bool, Syntax> {
    let mut found = false;
    value.array_if(|element| {
        found |= says(element, member, is)?;
        Ok::<(), Syntax>(())
    })?;
    Ok(found)
}

fn note(found: &mut CapabilitySet, is_there: bool, what: Capability) {
    if is_there {
        found.insert(what);
    }
}

/// What a MIME type is to a model.
fn of_mime(mime: &str) -> Option<Capability> {
    match mime.split('/').next()? {
        "image" => Some(Capability::Image),
        "audio" => Some(Capability::Audio),
        "video" => Some(Capability::Video),
        _ => mime.starts_with("application/pdf").then_some(Capability::Document),
    }
}

// --- OpenAI

fn openai(found: &mut CapabilitySet, body: &[u8]) -> Result<(), Syntax> {
    members(body, |key, value| match key {
        b"messages" | b"input" => openai_parts(found, value),
        b"tools" => {
            let is_called = one_says(value, b"type", |kind| matches!(kind, "function" | "custom"))?;
            note(found, is_called, Capability::Tools);
            Ok(())
        }
        b"functions" => {
            let is_there = crate::observation::is_filled(value)?;
            note(found, is_there, Capability::Tools);
            Ok(())
        }
        b"response_format" => format(found, value),
        // Responses
        b"text" => format_within(found, value),
        _ => skip(value),
    })
}

/// The form that the answer shall have.
fn format(found: &mut CapabilitySet, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    let by_schema = says(value, b"type", |kind| kind == "json_schema")?;
    note(found, by_schema, Capability::Schema);
    Ok(())
}

/// The same, where it is a member `format`.
fn format_within(found: &mut CapabilitySet, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    value
        .object_if(|key, member| match key {
            b"format" => format(found, member),
            _ => skip(member),
        })
        .map(|_| ())
}

/// Parts at any depth, by their `type`; their media are skipped.
fn openai_parts(found: &mut CapabilitySet, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    match value.kind()? {
        Kind::Array => value.array(|element| openai_parts(found, element)).map(|_| ()),
        Kind::Object => value
            .object(|key, member| match key {
                b"type" if member.kind()? == Kind::String => {
                    let kind = member.string()?;
                    let what = match &*kind.decode() {
                        "image_url" | "input_image" => Capability::Image,
                        "input_audio" => Capability::Audio,
                        "video_url" => Capability::Video,
                        "file" | "input_file" => Capability::Document,
                        _ => return Ok(()),
                    };
                    found.insert(what);
                    Ok(())
                }
                b"content" | b"output" => openai_parts(found, member),
                _ => skip(member),
            })
            .map(|_| ()),
        _ => skip(value),
    }
}

// --- Anthropic

fn anthropic(found: &mut CapabilitySet, body: &[u8]) -> Result<(), Syntax> {
    members(body, |key, value| match key {
        b"messages" | b"system" => blocks(found, value),
        b"tools" => {
            // The client's own have no type, or this one, or one of those that it runs; those that the provider runs are its
            // models' own affair.
            value
                .array_if(|tool| {
                    let is_typed = says(&mut tool.clone(), b"type", |kind| {
                        kind != "custom" && !is_run_by_client(kind)
                    })?;
                    note(found, !is_typed, Capability::Tools);
                    skip(tool)
                })
                .map(|_| ())
        }
        b"output_format" => format(found, value),
        b"output_config" => format_within(found, value),
        _ => skip(value),
    })
}

/// Blocks at any depth. A document may be text, which every model reads.
fn blocks(found: &mut CapabilitySet, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    match value.kind()? {
        Kind::Array => value.array(|element| blocks(found, element)).map(|_| ()),
        Kind::Object => {
            let (mut is_image, mut is_document, mut is_text) = (false, false, false);
            value.object(|key, member| match key {
                b"type" if member.kind()? == Kind::String => {
                    let kind = member.string()?;
                    is_image = kind.is("image");
                    is_document = kind.is("document");
                    Ok::<(), Syntax>(())
                }
                b"source" => {
                    is_text = says(&mut member.clone(), b"type", |kind| matches!(kind, "text" | "content"))?;
                    skip(member)
                }
                b"content" => blocks(found, member),
                _ => skip(member),
            })?;
            note(found, is_image, Capability::Image);
            note(found, is_document && !is_text, Capability::Document);
            Ok(())
        }
        _ => skip(value),
    }
}

// --- Gemini

fn gemini(found: &mut CapabilitySet, body: &[u8]) -> Result<(), Syntax> {
    members(body, |key, value| match key {
        b"contents" => gemini_parts(found, value),
        b"tools" => value
            .array_if(|tool| {
                tool.object_if(|key, member| {
                    let is_declared = matches!(key, b"functionDeclarations" | b"function_declarations")
                        && crate::observation::is_filled(&mut member.clone())?;
                    note(found, is_declared, Capability::Tools);
                    skip(member)
                })
                .map(|_| ())
            })
            .map(|_| ()),
        b"generationConfig" | b"generation_config" => value
            .object_if(|key, member| {
                let by_schema = matches!(
                    key,
                    b"responseSchema" | b"response_schema" | b"responseJsonSchema" | b"response_json_schema"
                ) && crate::observation::is_filled(&mut member.clone())?;
                note(found, by_schema, Capability::Schema);
                skip(member)
            })
            .map(|_| ()),
        _ => skip(value),
    })
}

/// Parts at any depth; arguments and results of functions are text to the model.
fn gemini_parts(found: &mut CapabilitySet, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    match value.kind()? {
        Kind::Array => value.array(|element| gemini_parts(found, element)).map(|_| ()),
        Kind::Object => value
            .object(|key, member| match key {
                b"inlineData" | b"inline_data" | b"fileData" | b"file_data" => member
                    .object_if(|key, inner| {
                        if matches!(key, b"mimeType" | b"mime_type") {
                            let what = inner.string_if()?.and_then(|text| of_mime(&text.decode()));
                            if let Some(what) = what {
                                found.insert(what);
                            }
                            Ok(())
                        } else {
                            skip(inner)
                        }
                    })
                    .map(|_| ()),
                b"args" | b"response" => skip(member),
                _ => gemini_parts(found, member),
            })
            .map(|_| ()),
        _ => skip(value),
    }
}

#[cfg(test)]
mod tests {
    use domain::Operation;
    use serde_json::{Value, json};

    use super::*;

    fn names(dialect: Dialect, body: &Value) -> Vec<&'static str> {
        let found = needs(Surface::new(Operation::Chat, dialect), body.to_string().as_bytes());
        found.iter().map(Capability::name).collect()
    }

    #[test]
    fn chat_tells_its_needs_by_the_types_of_its_parts() {
        let body = |parts: Value| json!({"model": "m", "messages": [{"role": "user", "content": parts}]});
        for (part, needed) in [
            (json!("image_url"), vec![]),
            (json!([{"type": "text", "text": "{\"type\":\"image_url\"}"}]), vec![]),
            (
                json!([{"type": "image_url", "image_url": {"url": "data:"}}]),
                vec!["image"],
            ),
            (
                json!([{"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}]),
                vec!["audio", "document"],
            ),
            (json!([{"type": "video_url", "video_url": {}}]), vec!["video"]),
        ] {
            assert_eq!(names(Dialect::OpenaiChat, &body(part.clone())), needed, "{part}");
        }
        let body = json!({"tools": [{"type": "function", "function": {}}], "response_format": {"type": "json_schema"},
            "messages": [{"role": "assistant", "tool_calls": [{"type": "image_url"}]}]});
        assert_eq!(names(Dialect::OpenaiChat, &body), ["tools", "schema"]);
        let plain = json!({"tools": [], "functions": [], "response_format": {"type": "json_object"}});
        assert!(names(Dialect::OpenaiChat, &plain).is_empty());
    }

    #[test]
    fn responses_counts_only_functions_as_tools() {
        let body = json!({"tools": [{"type": "web_search"}], "text": {"format": {"type": "json_schema"}},
            "input": [{"type": "message", "content": [{"type": "input_image"}]},
                {"type": "function_call_output", "output": [{"type": "input_file"}]},
                {"type": "function_call", "arguments": "{\"type\": \"input_audio\"}"}]});
        assert_eq!(names(Dialect::OpenaiResponses, &body), ["schema", "image", "document"]);
        let custom = json!({"tools": [{"type": "web_search"}, {"type": "custom", "name": "x"}], "input": "x"});
        assert_eq!(names(Dialect::OpenaiResponses, &custom), ["tools"]);
    }

    #[test]
    fn anthropics_documents_of_text_need_nothing() {
        let body = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
        for (block, needed) in [
            (
                json!({"type": "document", "source": {"type": "text", "data": "x"}}),
                vec![],
            ),
            (
                json!({"type": "document", "source": {"type": "base64", "data": "x"}}),
                vec!["document"],
            ),
            (
                json!({"source": {"type": "url", "url": "x"}, "type": "document"}),
                vec!["document"],
            ),
            (
                json!({"type": "tool_result", "content": [{"type": "image", "source": {}}]}),
                vec!["image"],
            ),
            (
                json!({"type": "tool_use", "input": {"content": {"type": "image"}}}),
                vec![],
            ),
        ] {
            assert_eq!(
                names(Dialect::AnthropicMessages, &body(block.clone())),
                needed,
                "{block}"
            );
        }
        for (tool, needed) in [
            (json!({"name": "f", "input_schema": {}}), vec!["tools"]),
            (json!({"type": "custom", "name": "f"}), vec!["tools"]),
            (json!({"type": "bash_20250124", "name": "bash"}), vec!["tools"]),
            (json!({"type": "web_search_20250305", "name": "web_search"}), vec![]),
        ] {
            assert_eq!(
                names(Dialect::AnthropicMessages, &json!({"tools": [tool]})),
                needed,
                "{tool}"
            );
        }
        let body = json!({"output_config": {"effort": "low", "format": {"type": "json_schema"}}});
        assert_eq!(names(Dialect::AnthropicMessages, &body), ["schema"]);
    }

    #[test]
    fn gemini_tells_its_needs_by_mime_types() {
        let body = json!({"contents": [{"parts": [
            {"inlineData": {"data": "x", "mimeType": "image/png"}},
            {"file_data": {"file_uri": "u", "mime_type": "application/pdf"}},
            {"inlineData": {"mimeType": "text/plain", "data": ""}},
            {"functionResponse": {"name": "f", "response": {"inlineData": {"mimeType": "audio/wav"}}}}]}],
            "generationConfig": {"responseSchema": {"type": "OBJECT"}}, "tools": [{"googleSearch": {}}]});
        assert_eq!(names(Dialect::Gemini, &body), ["schema", "image", "document"]);
        let body = json!({"tools": [{"functionDeclarations": [{"name": "f"}]}]});
        assert_eq!(names(Dialect::Gemini, &body), ["tools"]);
    }

    #[test]
    fn what_is_no_request_needs_nothing() {
        for body in [
            "",
            "[]",
            "{\"messages\": 1, \"tools\": {}}",
            "{\"messages\": [{\"type\"",
        ] {
            for dialect in Dialect::ALL {
                let found = needs(Surface::new(Operation::Chat, dialect), body.as_bytes());
                assert!(found.is_empty(), "{body}");
            }
        }
    }
}
