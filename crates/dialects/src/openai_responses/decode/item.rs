//! Items of a request's input or of an answer's output.

use serde_json::Value;

use super::super::names::Names;
use super::super::{SELF, list_of, rest, seal, text_of};
use super::{content, media};
use crate::hub::{BadRequest, Content, Extra, Fields, Message, Part, Role, Signature, ToolCall, compact};

/// What an item is.
#[derive(Debug)]
pub(super) enum Item {
    /// What somebody said.
    Message {
        role: Role,
        parts: Vec<Part>,
        id: Option<String>,
        extra: Extra,
    },
    /// Something else that the model did.
    Model(Vec<Part>),
    /// A seal that stands for itself and is on what comes next or came before.
    Seal(seal::On, Signature),
    /// Something else that the client did.
    Client(Part),
    /// Tools that are declared here.
    Tools(Vec<Value>),
}

/// Reads an item.
pub(super) fn item(value: Value, path: String, names: &Names) -> Result<Item, BadRequest> {
    let kind = text_of(&value, "type").unwrap_or_default();
    match kind {
        "message" => message(Fields::of(path, value)?),
        // Easy messages need not say that they are messages.
        "" if value.get("role").is_some() || !value.is_object() => message(Fields::of(path, value)?),
        "reasoning" => reasoning(Fields::of(path, value)?),
        "function_call" => Ok(Item::Model(vec![call(Fields::of(path, value)?, false, names)?])),
        "custom_tool_call" => Ok(Item::Model(vec![call(Fields::of(path, value)?, true, names)?])),
        "function_call_output" => Ok(Item::Client(content::result(Fields::of(path, value)?, false)?)),
        "custom_tool_call_output" => Ok(Item::Client(content::result(Fields::of(path, value)?, true)?)),
        // To a model that made it the picture goes back as its own.
        "image_generation_call" => Ok(Item::Model(vec![media::made(value)])),
        "additional_tools" => Ok(Item::Tools(list_of(&value, "tools").to_vec())),
        kind => {
            let is_clients = is_clients(kind);
            let part = Part::new(Content::Native { origin: SELF, value });
            Ok(if is_clients {
                Item::Client(part)
            } else {
                Item::Model(vec![part])
            })
        }
    }
}

/// Whether an item that only this format has is the client's word. Outputs of tools that the provider ran are not.
fn is_clients(kind: &str) -> bool {
    let by_provider = ["tool_search_output", "program_output"];
    let others = ["mcp_approval_response", "compaction_trigger"];
    kind.ends_with("_output") && !by_provider.contains(&kind) || others.contains(&kind)
}

fn message(mut fields: Fields) -> Result<Item, BadRequest> {
    fields.take("type");
    let role = match fields.required_text("role")?.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(fields.error("role", "expected `user`, `assistant`, `system` or `developer`")),
    };
    let id = fields.text("id")?;
    let mut parts = content::parts(&mut fields, "content")?;
    for part in &mut parts {
        part.item.clone_from(&id);
    }
    content::drop_completed(&mut fields);
    Ok(Item::Message {
        role,
        parts,
        id,
        extra: rest(fields),
    })
}

fn reasoning(mut fields: Fields) -> Result<Item, BadRequest> {
    fields.take("type");
    let (mut parts, on) = content::thinking(fields)?;
    if matches!(on, seal::On::Next | seal::On::Previous)
        && let Some(Content::Thinking(thinking)) = parts.pop().map(|part| part.content)
        && let Some(seal) = thinking.signature
    {
        return Ok(Item::Seal(on, seal));
    }
    Ok(Item::Model(parts))
}

/// A call of a tool of the client's.
pub(super) fn call(mut fields: Fields, custom: bool, names: &Names) -> Result<Part, BadRequest> {
    fields.take("type");
    let item = fields.text("id")?;
    let id = fields.text("call_id")?.or_else(|| item.clone());
    let name = fields.required_text("name")?;
    let input = if custom { "input" } else { "arguments" };
    let arguments = match fields.take(input) {
        Some(Value::String(text)) => text,
        Some(other) => compact(&other),
        None => String::new(),
    };
    content::drop_completed(&mut fields);
    let declared = fields
        .peek_text("namespace")
        .and_then(|namespace| names.flat(namespace, &name));
    if declared.is_some() {
        // The name says it, and the declaration leads back.
        fields.take("namespace");
    }
    let mut part = Part::new(Content::ToolCall(ToolCall {
        id,
        name: declared.unwrap_or(name),
        arguments,
        custom,
    }));
    part.item = item;
    part.extra = rest(fields);
    Ok(part)
}

/// A message of the assistant.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    id: Option<String>,
}

/// Puts items together to turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    messages: Vec<Message>,
    /// The last item, if it is a message of the assistant.
    after_message: Option<Said>,
    /// Whether the last message has a message item of the assistant.
    has_message: bool,
    /// On the part that comes next.
    seal: Option<Signature>,
}

impl Turns {
    /// Begins with instructions.
    pub(super) fn instructed(instructions: Option<String>) -> Self {
        let instructions = instructions.map(|text| Message::new(Role::System, vec![Part::text(text)]));
        Self {
            messages: instructions.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes an item. Declarations of tools are given back.
    pub(super) fn push(&mut self, item: Item) -> Vec<Value> {
        match item {
            Item::Message {
                role: Role::Assistant,
                parts,
                id,
                extra,
            } => self.said(parts, id, extra),
            Item::Message { role, parts, extra, .. } => {
                let mut message = Message::new(role, parts);
                message.extra = extra;
                self.begin(message);
            }
            Item::Model(parts) => {
                self.turn(Role::Assistant, parts);
                self.after_message = None;
            }
            Item::Client(part) => self.turn(Role::User, vec![part]),
            Item::Seal(seal::On::Previous, seal) => {
                let last = self.messages.last_mut().filter(|last| last.role == Role::Assistant);
                if let Some(part) = last.and_then(|last| last.parts.last_mut()) {
                    part.signature = Some(seal);
                }
            }
            Item::Seal(_, seal) => self.seal = Some(seal),
            Item::Tools(tools) => return tools,
        }
        Vec::new()
    }

    pub(super) fn into_messages(self) -> Vec<Message> {
        self.messages
    }

    /// A message of the assistant joins its turn, unless the border between two messages would be lost, or whose members
    /// are whose.
    fn said(&mut self, parts: Vec<Part>, id: Option<String>, extra: Extra) {
        let now = Some(Said { id });
        let last = self.messages.last().filter(|last| last.role == Role::Assistant);
        let is_alone = last.is_some_and(|last| {
            let has_extras = !extra.members.is_empty() || !last.extra.members.is_empty();
            self.has_message && has_extras || self.after_message == now
        });
        if is_alone {
            self.begin(Message::new(Role::Assistant, Vec::new()));
        }
        self.turn(Role::Assistant, parts);
        if let Some(last) = self.messages.last_mut().filter(|_| !extra.members.is_empty()) {
            last.extra = extra;
        }
        (self.after_message, self.has_message) = (now, true);
    }

    /// Adds to the last message if it is of this kind: what tools said is not mixed with what the user said.
    fn turn(&mut self, role: Role, mut parts: Vec<Part>) {
        if role == Role::Assistant
            && let (Some(seal), Some(first)) = (self.seal.take(), parts.first_mut())
        {
            first.signature = Some(seal);
        }
        let fits = self.messages.last().is_some_and(|last| {
            let is_tools = |part: &Part| matches!(part.content, Content::ToolResult(_) | Content::Native { .. });
            last.role == role && (role == Role::Assistant || last.parts.iter().all(is_tools))
        });
        if !fits {
            self.begin(Message::new(role, Vec::new()));
        }
        if let Some(last) = self.messages.last_mut() {
            last.parts.append(&mut parts);
        }
    }

    fn begin(&mut self, message: Message) {
        self.messages.push(message);
        (self.after_message, self.has_message) = (None, false);
    }
}
