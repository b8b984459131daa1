//! Puts the operator's text into a conversation, byte by byte in the client's own format.
//!
//! A splice again, not a parse: what the client wrote stays as it wrote it, in every format, and what the upstream's prompt
//! cache has seen yesterday is the same today, because the text and its place depend on nothing but the request. Where
//! the client marked a prefix of its instructions for caching, the text goes behind that prefix, never in front of it.

use std::ops::Range;

use bytes::Bytes;
use domain::{Dialect, Operation, PromptMode, Surface, SystemPrompt};
use serde::Deserialize;
use serde_json::Value;

use super::edit;
use crate::json::{Cursor, Kind, Syntax};

/// The `instructions` of a Responses request, as its answer repeats them; `null` where there are none.
pub fn own_instructions(body: &[u8]) -> Value {
    #[derive(Deserialize)]
    struct Own {
        #[serde(default)]
        instructions: Value,
    }
    serde_json::from_slice::<Own>(body).map_or(Value::Null, |own| own.instructions)
}

/// What stands between the operator's text and the client's own, where both are one text.
pub const PROMPT_GAP: &str = "\n\n";

/// A part of the body and what takes its place; an empty part is an insertion.
type Splice = (Range<usize>, String);

/// The body with the operator's text in it; the same body where the operation has no instructions, or where the body is
/// not what its format says (the upstream will say so).
pub fn inject_system(surface: Surface, body: &Bytes, prompt: &SystemPrompt) -> Bytes {
    // Gemini's counts wrap the request in another one; the operator's few tokens are not worth taking that apart.
    let counts = surface.operation == Operation::CountTokens && surface.dialect != Dialect::Gemini;
    if surface.operation != Operation::Chat && !counts {
        return body.clone();
    }
    let splices = match surface.dialect {
        Dialect::OpenaiChat => chat(body, prompt),
        Dialect::OpenaiResponses => responses(body, prompt),
        Dialect::AnthropicMessages => anthropic(body, prompt),
        Dialect::Gemini => gemini(body, prompt),
        Dialect::BedrockConverse => Ok(Vec::new()),
    };
    splices.map_or_else(|_| body.clone(), |mut splices| edit::spliced(body, &mut splices))
}

/// A message of its own at the front; the client's instructions stay behind it or go.
fn chat(body: &[u8], prompt: &SystemPrompt) -> Result<Vec<Splice>, Syntax> {
    let message = format!("{{\"role\":\"system\",\"content\":{}}}", quoted(&prompt.text));
    let members = Members::read(body)?;
    let Some(messages) = members.find(&["messages"]) else {
        return Ok(Vec::new());
    };
    put_first(body, messages, &message, prompt.mode)
}

/// `instructions`, which stand before the input.
fn responses(body: &[u8], prompt: &SystemPrompt) -> Result<Vec<Splice>, Syntax> {
    let members = Members::read(body)?;
    let mut splices = vec![members.put_text(body, "instructions", prompt)?];
    if let (PromptMode::Replace, Some(input)) = (prompt.mode, members.find(&["input"])) {
        splices.extend(without_instructions(body, input)?);
    }
    Ok(splices)
}

/// `system`: a text, or blocks.
fn anthropic(body: &[u8], prompt: &SystemPrompt) -> Result<Vec<Splice>, Syntax> {
    let members = Members::read(body)?;
    let Some(system) = members.find(&["system"]).filter(|_| prompt.mode == PromptMode::Prepend) else {
        return Ok(vec![members.put_text(body, "system", prompt)?]);
    };
    let mut cursor = Cursor::lenient(body.get(system.clone()).unwrap_or_default());
    if cursor.kind()? != Kind::Array {
        return Ok(vec![members.put_text(body, "system", prompt)?]);
    }
    let block = format!("{{\"type\":\"text\",\"text\":{}}}", quoted(&prompt.text));
    let blocks = elements(body, &system)?;
    let mut after_marked = None;
    for block in &blocks {
        let marked = Members::read(body.get(block.clone()).unwrap_or_default())?
            .find(&["cache_control"])
            .is_some();
        after_marked = if marked { Some(block.end) } else { after_marked };
    }
    Ok(vec![match after_marked {
        Some(end) => (end..end, format!(",{block}")),
        None => front(&system, &block, blocks.is_empty()),
    }])
}

/// `systemInstruction`: a content with parts.
fn gemini(body: &[u8], prompt: &SystemPrompt) -> Result<Vec<Splice>, Syntax> {
    let part = format!("{{\"text\":{}}}", quoted(&prompt.text));
    let members = Members::read(body)?;
    let whole = format!("{{\"parts\":[{part}]}}");
    let Some(span) = members.find(&["systemInstruction", "system_instruction"]) else {
        return Ok(vec![members.added("systemInstruction", &whole)]);
    };
    let text = body.get(span.clone()).unwrap_or_default();
    if prompt.mode == PromptMode::Replace || Cursor::lenient(text).kind()? != Kind::Object {
        return Ok(vec![(span, whole)]);
    }
    let Some(parts) = Members::read(text)?.find(&["parts"]) else {
        return Ok(vec![(span, whole)]);
    };
    let parts = span.start + parts.start..span.start + parts.end;
    if Cursor::lenient(body.get(parts.clone()).unwrap_or_default()).kind()? != Kind::Array {
        // One part, which protobuf's JSON takes for a list of one.
        let one = String::from_utf8_lossy(body.get(parts.clone()).unwrap_or_default()).into_owned();
        return Ok(vec![(parts, format!("[{part},{one}]"))]);
    }
    let is_empty = elements(body, &parts)?.is_empty();
    Ok(vec![front(&parts, &part, is_empty)])
}

/// The members of an object and where their values stand.
#[derive(Debug)]
struct Members {
    object: Range<usize>,
    values: Vec<(String, Range<usize>)>,
}

impl Members {
    fn read(bytes: &[u8]) -> Result<Self, Syntax> {
        let mut values = Vec::new();
        let object = Cursor::lenient(bytes).object(|key, value| {
            value.kind()?;
            let span = value.skip()?;
            values.push((String::from_utf8_lossy(key).into_owned(), span));
            Ok::<(), Syntax>(())
        })?;
        Ok(Self { object, values })
    }

    fn find(&self, names: &[&str]) -> Option<Range<usize>> {
        let (_, span) = self.values.iter().find(|(name, _)| names.contains(&name.as_str()))?;
        Some(span.clone())
    }

    /// A member at the end of the object.
    fn added(&self, name: &str, value: &str) -> Splice {
        let end = self.object.end - 1;
        let comma = if self.values.is_empty() { "" } else { "," };
        (end..end, format!("{comma}{}:{value}", quoted(name)))
    }

    /// A member that is a text: before what is there, in its place, or as a new one.
    fn put_text(&self, body: &[u8], name: &str, prompt: &SystemPrompt) -> Result<Splice, Syntax> {
        let text = quoted(&prompt.text);
        let Some(span) = self.find(&[name]) else {
            return Ok(self.added(name, &text));
        };
        let is_text = Cursor::lenient(body.get(span.clone()).unwrap_or_default()).kind()? == Kind::String;
        if prompt.mode == PromptMode::Replace || !is_text {
            return Ok((span, text));
        }
        let inside = text.trim_matches('"');
        // An empty text needs no blank line behind the operator's.
        let gap = if span.len() == 2 { "" } else { PROMPT_GAP };
        let at = span.start + 1;
        Ok((at..at, format!("{inside}{}", gap.escape_default())))
    }
}

fn put_first(body: &[u8], list: Range<usize>, element: &str, mode: PromptMode) -> Result<Vec<Splice>, Syntax> {
    let all = elements(body, &list)?;
    match mode {
        PromptMode::Prepend => Ok(vec![front(&list, element, all.is_empty())]),
        PromptMode::Replace => {
            let mut kept = vec![element.to_owned()];
            for span in all {
                let text = body.get(span).unwrap_or_default();
                if !is_instruction(text)? {
                    kept.push(String::from_utf8_lossy(text).into_owned());
                }
            }
            Ok(vec![(list, format!("[{}]", kept.join(",")))])
        }
    }
}

/// An input without its items that are instructions; nothing to do where there are none.
fn without_instructions(body: &[u8], input: Range<usize>) -> Result<Option<Splice>, Syntax> {
    if Cursor::lenient(body.get(input.clone()).unwrap_or_default()).kind()? != Kind::Array {
        return Ok(None);
    }
    let all = elements(body, &input)?;
    let mut kept = Vec::with_capacity(all.len());
    for span in &all {
        let text = body.get(span.clone()).unwrap_or_default();
        if !is_instruction(text)? {
            kept.push(String::from_utf8_lossy(text).into_owned());
        }
    }
    Ok((kept.len() < all.len()).then(|| (input, format!("[{}]", kept.join(",")))))
}

/// Whether a message speaks as the operator of the conversation.
fn is_instruction(message: &[u8]) -> Result<bool, Syntax> {
    if Cursor::lenient(message).kind()? != Kind::Object {
        return Ok(false);
    }
    let Some(role) = Members::read(message)?.find(&["role"]) else {
        return Ok(false);
    };
    let role = Cursor::lenient(message.get(role).unwrap_or_default()).string_if()?;
    Ok(role.is_some_and(|role| role.is("system") || role.is("developer")))
}

fn front(list: &Range<usize>, element: &str, is_empty: bool) -> Splice {
    let at = list.start + 1;
    let comma = if is_empty { "" } else { "," };
    (at..at, format!("{element}{comma}"))
}

/// Where the elements of the list at `span` stand.
fn elements(body: &[u8], span: &Range<usize>) -> Result<Vec<Range<usize>>, Syntax> {
    let mut found = Vec::new();
    Cursor::lenient(body.get(span.clone()).unwrap_or_default()).array(|element| {
        element.kind()?;
        let inner = element.skip()?;
        found.push(span.start + inner.start..span.start + inner.end);
        Ok::<(), Syntax>(())
    })?;
    Ok(found)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected(dialect: Dialect, mode: PromptMode, body: &str) -> String {
        let prompt = SystemPrompt {
            mode,
            text: "Be \"kind\".".into(),
        };
        let surface = Surface::new(Operation::Chat, dialect);
        let out = inject_system(surface, &Bytes::copy_from_slice(body.as_bytes()), &prompt);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn prepended(dialect: Dialect, body: &str) -> String {
        injected(dialect, PromptMode::Prepend, body)
    }

    fn replaced(dialect: Dialect, body: &str) -> String {
        injected(dialect, PromptMode::Replace, body)
    }

    const OURS: &str = r#"{"role":"system","content":"Be \"kind\"."}"#;

    #[test]
    fn chat_has_a_message_of_its_own() {
        let body = r#"{ "messages" : [ {"role":"system","content":"old"}, {"role":"user","content":"x"} ], "a":1}"#;
        assert_eq!(
            prepended(Dialect::OpenaiChat, body),
            format!(
                r#"{{ "messages" : [{OURS}, {{"role":"system","content":"old"}}, {{"role":"user","content":"x"}} ], "a":1}}"#
            )
        );
        assert_eq!(
            replaced(Dialect::OpenaiChat, body),
            format!(r#"{{ "messages" : [{OURS},{{"role":"user","content":"x"}}], "a":1}}"#)
        );
        assert_eq!(
            prepended(Dialect::OpenaiChat, r#"{"messages":[]}"#),
            format!(r#"{{"messages":[{OURS}]}}"#)
        );
    }

    #[test]
    fn responses_has_instructions() {
        let ours = r#""Be \"kind\".""#;
        assert_eq!(
            prepended(Dialect::OpenaiResponses, r#"{"input":"x"}"#),
            format!(r#"{{"input":"x","instructions":{ours}}}"#)
        );
        assert_eq!(
            prepended(Dialect::OpenaiResponses, r#"{"instructions":"old","input":"x"}"#),
            r#"{"instructions":"Be \"kind\".\n\nold","input":"x"}"#
        );
        assert_eq!(
            prepended(Dialect::OpenaiResponses, r#"{"instructions":null}"#),
            format!(r#"{{"instructions":{ours}}}"#)
        );
        assert_eq!(
            replaced(
                Dialect::OpenaiResponses,
                r#"{"instructions":"old","input":[{"role":"developer","content":"d"},{"role":"user","content":"x"}]}"#
            ),
            format!(r#"{{"instructions":{ours},"input":[{{"role":"user","content":"x"}}]}}"#)
        );
    }

    #[test]
    fn anthropic_never_has_it_in_front_of_a_cached_prefix() {
        let ours = r#"{"type":"text","text":"Be \"kind\"."}"#;
        let marked = r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}"#;
        let plain = r#"{"type":"text","text":"b"}"#;
        let anthropic = |system: &str| prepended(Dialect::AnthropicMessages, &format!(r#"{{"system":{system}}}"#));
        assert_eq!(
            anthropic(&format!("[{marked}, {plain}]")),
            format!(r#"{{"system":[{marked},{ours}, {plain}]}}"#)
        );
        assert_eq!(
            anthropic(&format!("[{plain}]")),
            format!(r#"{{"system":[{ours},{plain}]}}"#)
        );
        assert_eq!(anthropic(r#""old""#), r#"{"system":"Be \"kind\".\n\nold"}"#);
        assert_eq!(
            prepended(Dialect::AnthropicMessages, "{}"),
            r#"{"system":"Be \"kind\"."}"#
        );
        assert_eq!(
            replaced(Dialect::AnthropicMessages, &format!(r#"{{"system":[{marked}],"x":1}}"#)),
            r#"{"system":"Be \"kind\".","x":1}"#
        );
    }

    #[test]
    fn gemini_has_parts() {
        let ours = r#"{"text":"Be \"kind\"."}"#;
        for name in ["systemInstruction", "system_instruction"] {
            assert_eq!(
                prepended(
                    Dialect::Gemini,
                    &format!(r#"{{"{name}":{{"parts":[{{"text":"old"}}]}}}}"#)
                ),
                format!(r#"{{"{name}":{{"parts":[{ours},{{"text":"old"}}]}}}}"#)
            );
        }
        assert_eq!(
            prepended(Dialect::Gemini, r#"{"contents":[]}"#),
            format!(r#"{{"contents":[],"systemInstruction":{{"parts":[{ours}]}}}}"#)
        );
        assert_eq!(
            prepended(Dialect::Gemini, r#"{"systemInstruction":{"parts":{"text":"one"}}}"#),
            format!(r#"{{"systemInstruction":{{"parts":[{ours},{{"text":"one"}}]}}}}"#)
        );
        assert_eq!(
            replaced(Dialect::Gemini, r#"{"systemInstruction":{"parts":[{"text":"old"}]}}"#),
            format!(r#"{{"systemInstruction":{{"parts":[{ours}]}}}}"#)
        );
    }

    #[test]
    fn what_is_not_as_it_should_be_is_left_to_the_upstream() {
        for body in ["{", "[]", r#"{"messages":5}"#, r#"{"messages":[5]"#] {
            assert_eq!(prepended(Dialect::OpenaiChat, body), body);
        }
        let prompt = SystemPrompt {
            mode: PromptMode::Prepend,
            text: "x".into(),
        };
        let body = Bytes::from_static(b"{\"input\":\"x\"}");
        let embeddings = Surface::new(Operation::Embeddings, Dialect::OpenaiChat);
        assert_eq!(inject_system(embeddings, &body, &prompt), body);
    }
}
