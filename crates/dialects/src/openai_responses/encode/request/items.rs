//! The conversation as items.

use serde_json::{Map, Value, json};

use super::super::super::decode::is_made;
use super::super::super::{SELF, WITHIN, seal};
use super::super::item::{picture, put_back, set};
use super::content::{self, FOREIGN, Unsayable, Whose};
use super::tools::Declared;
use crate::hub::{
    BadRequest, Content, Extra, Losses, Message, Part, Role, Thinking, ToolCall, ToolResult, native_name,
};

/// What was said so far.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) instructions: Option<String>,
    pub(super) input: Vec<Value>,
}

/// Tells the conversation.
pub(super) fn conversation(
    messages: Vec<Message>,
    declared: &Declared,
    is_family: bool,
    losses: &mut Losses,
) -> Result<Conversation, BadRequest> {
    let mut messages = messages.into_iter().peekable();
    let instructions = messages.next_if(is_instructions).map(|message| {
        let marked = message.parts.iter().any(|part| part.cache.is_some());
        losses.note_if(
            marked,
            "cache_control",
            "instructions are one text, which OpenAI caches by itself",
        );
        let texts: Vec<&str> = message.parts.iter().filter_map(Part::as_text).collect();
        texts.join("\n\n")
    });
    let mut items = Items {
        input: Vec::new(),
        declared,
        is_family,
        losses,
    };
    for message in messages {
        items.message(message)?;
    }
    Ok(Conversation {
        instructions,
        input: items.input,
    })
}

/// Whether a message can be the `instructions`: texts of the system, and nothing besides.
fn is_instructions(message: &Message) -> bool {
    let is_plain = |part: &Part| part.as_text().is_some() && part.item.is_none();
    let has_extras = message.name.is_some() || !message.extra.members.is_empty();
    message.role == Role::System && !has_extras && !message.parts.is_empty() && message.parts.iter().all(is_plain)
}

struct Items<'a> {
    input: Vec<Value>,
    declared: &'a Declared,
    is_family: bool,
    losses: &'a mut Losses,
}

/// A message item that grows.
#[derive(Debug, Default)]
struct Growing {
    id: Option<String>,
    content: Vec<Value>,
}

impl Items<'_> {
    fn message(&mut self, message: Message) -> Result<(), BadRequest> {
        self.losses.note_if(
            message.name.is_some(),
            "name",
            "Responses knows no names of participants",
        );
        let whose = if message.role == Role::Assistant {
            Whose::Model
        } else {
            Whose::Others
        };
        let mut about = message.extra;
        let mut growing = Growing::default();
        // The reasoning item that goes on while its parts come one after the other.
        let mut reasoning = None;
        for part in message.parts {
            let is_inside = match &part.content {
                Content::Media(_) if is_made(&part) => false,
                Content::Text { .. } | Content::Refusal(_) | Content::Media(_) => true,
                Content::Native { .. } => part.extra.members.contains_key(WITHIN),
                Content::Thinking(_) | Content::ToolCall(_) | Content::ToolResult(_) | Content::Deed(_) => false,
            };
            if is_inside {
                if part.item != growing.id {
                    self.end_message(message.role, &mut growing, &mut about);
                }
                growing.id.clone_from(&part.item);
                // The question would be another one without.
                let parts =
                    content::part(part, whose, self.is_family, self.losses).map_err(|Unsayable { what, why }| {
                        BadRequest::new(
                            "input",
                            format!("{what}: {why}; the request would mean something else without"),
                        )
                    })?;
                growing.content.extend(parts);
                reasoning = None;
                continue;
            }
            self.end_message(message.role, &mut growing, &mut about);
            reasoning = self.item(part, reasoning.as_deref());
        }
        self.end_message(message.role, &mut growing, &mut about);
        Ok(())
    }

    /// A message item is whole. A single text stands without a list, which every compatible server reads.
    fn end_message(&mut self, role: Role, growing: &mut Growing, about: &mut Extra) {
        let Growing { id, content } = std::mem::take(growing);
        if content.is_empty() {
            return;
        }
        let mut members = Map::new();
        if id.is_some() {
            members.insert("type".to_owned(), "message".into());
        }
        let is_output = id.is_some() && role == Role::Assistant;
        set(&mut members, "id", id);
        let role = match role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        members.insert("role".to_owned(), role.into());
        let alone = match content.as_slice() {
            [only] if !is_output => plain_text(only),
            _ => None,
        };
        let content = alone.map_or_else(|| Value::Array(content), Value::String);
        members.insert("content".to_owned(), content);
        put_back(&mut members, "message", std::mem::take(about), self.losses);
        if is_output {
            members.entry("status").or_insert_with(|| "completed".into());
            members["content"]
                .as_array_mut()
                .into_iter()
                .flatten()
                .for_each(annotated);
        }
        self.input.push(Value::Object(members));
    }

    /// A part that is an item of its own. `reasoning`: the id of the reasoning item that came just before.
    fn item(&mut self, mut part: Part, reasoning: Option<&str>) -> Option<String> {
        let is_lost = part.signature.take().is_some();
        self.losses.note_if(
            is_lost,
            "signature",
            "the seal is another provider's, which is the only one to take it",
        );
        match part.content {
            Content::Thinking(thinking) => {
                return self.thinking(&thinking, part.item, part.extra, reasoning);
            }
            Content::ToolCall(call) => self.call(call, part.item, part.extra),
            Content::ToolResult(result) => self.result(result, part.item, part.extra),
            Content::Native { origin: SELF, value } => self.input.push(value),
            Content::Media(media) => {
                if let Some(item) = picture(media, part.item, part.extra, self.losses) {
                    self.input.push(item);
                }
            }
            Content::Native { value, .. } => self.losses.note(native_name(&value), FOREIGN),
            _ => self.losses.note("native content", FOREIGN),
        }
        None
    }

    /// Reasoning is taken back where it is sealed by this format, or where it is named and kept at the provider.
    fn thinking(
        &mut self,
        thinking: &Thinking,
        item: Option<String>,
        extra: Extra,
        before: Option<&str>,
    ) -> Option<String> {
        let seal = thinking.signature.as_ref().map(|seal| seal.for_upstream(SELF));
        let (sealed_id, encrypted) = match seal {
            Some(Some(value)) => {
                let (id, encrypted) = seal::split(value);
                (id.map(str::to_owned), Some(encrypted.to_owned()))
            }
            None if item.is_some() => (None, None),
            Some(None) | None => {
                self.losses
                    .note("thinking", "only reasoning that this provider has sealed is taken back");
                return None;
            }
        };
        // Formats that cannot say what kind of text it is bring summaries only: nothing else comes with a seal.
        let is_summary = thinking.is_summary || item.is_none();
        let id = item.or(sealed_id);
        let goes_on = before.is_some() && before == id.as_deref();
        if !goes_on {
            let mut members = Map::new();
            members.insert("type".to_owned(), "reasoning".into());
            set(&mut members, "id", id.clone());
            members.insert("summary".to_owned(), json!([]));
            self.input.push(Value::Object(members));
        }
        let Some(Value::Object(members)) = self.input.last_mut() else {
            return id;
        };
        if !thinking.text.is_empty() {
            let (name, kind) = if is_summary {
                ("summary", "summary_text")
            } else {
                ("content", "reasoning_text")
            };
            let text = json!({"type": kind, "text": thinking.text});
            let list = members.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(text.clone()));
        }
        set(members, "encrypted_content", encrypted);
        if extra.origin == Some(SELF) && extra.members.contains_key("summary") {
            members.shift_remove("summary");
        }
        put_back(members, "thinking", extra, self.losses);
        id
    }

    fn call(&mut self, call: ToolCall, item: Option<String>, extra: Extra) {
        let place = self.declared.place(&call.name);
        let mut members = Map::new();
        let (kind, input) = if call.custom {
            ("custom_tool_call", "input")
        } else {
            ("function_call", "arguments")
        };
        members.insert("type".to_owned(), kind.into());
        set(&mut members, "id", item);
        set(&mut members, "call_id", call.id);
        members.insert("name".to_owned(), place.name.into());
        set(&mut members, "namespace", place.namespace);
        let is_empty = call.arguments.is_empty() && !call.custom;
        let arguments = if is_empty { "{}".to_owned() } else { call.arguments };
        members.insert(input.to_owned(), arguments.into());
        put_back(&mut members, "tool_call", extra, self.losses);
        self.input.push(Value::Object(members));
    }

    fn result(&mut self, result: ToolResult, item: Option<String>, extra: Extra) {
        self.losses.note_if(
            result.is_error == Some(true),
            "tool_result.is_error",
            "Responses does not say whether a tool failed; its words do",
        );
        let kind = if result.custom {
            "custom_tool_call_output"
        } else {
            "function_call_output"
        };
        let mut output = Vec::new();
        for mut part in result.parts {
            // What the client's tool said in words of its own format (`tool_reference`) is said all the same.
            if let Content::Native { origin, value } = &part.content
                && *origin != SELF
            {
                part.content = Part::text(value.to_string()).content;
            }
            match content::part(part, Whose::Others, self.is_family, self.losses) {
                Ok(parts) => output.extend(parts),
                Err(Unsayable { what, why }) => self.losses.note(what, why),
            }
        }
        let output = match output.as_slice() {
            [] => Value::String(String::new()),
            [only] => plain_text(only).map_or_else(|| Value::Array(output.clone()), Value::String),
            _ => Value::Array(output),
        };
        let mut members = Map::new();
        members.insert("type".to_owned(), kind.into());
        set(&mut members, "id", item);
        members.insert("call_id".to_owned(), result.call.into());
        members.insert("output".to_owned(), output);
        put_back(&mut members, "tool_result", extra, self.losses);
        self.input.push(Value::Object(members));
    }
}

/// The text of a part that is nothing else.
fn plain_text(part: &Value) -> Option<String> {
    let members = part.as_object().filter(|members| members.len() == 2)?;
    let is_text = matches!(members.get("type")?.as_str(), Some("input_text" | "output_text"));
    members.get("text")?.as_str().filter(|_| is_text).map(str::to_owned)
}

/// A text of an output item must have annotations.
fn annotated(part: &mut Value) {
    if let Some(members) = part.as_object_mut()
        && members.get("type").and_then(Value::as_str) == Some("output_text")
    {
        members.entry("annotations").or_insert_with(|| json!([]));
    }
}
