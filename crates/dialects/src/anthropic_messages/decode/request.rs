//! A client's request. One for counting tokens is the same without `max_tokens`.

use serde_json::Value;

use super::blocks::{attach_seals, cache, content, rest};
use super::{OWN, mcp, tools};
use crate::hub::{
    BadRequest, Effort, Fields, Message, OutputFormat, Reasoning, Request, Role, Sampling, ThinkingBudget,
};

/// Reads a request.
pub(crate) fn request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut fields = Fields::parse(body)?;
    let mut request = Request {
        model: fields.text("model")?.unwrap_or_default(),
        messages: messages(&mut fields)?,
        max_output: fields.count("max_tokens")?,
        sampling: Sampling {
            temperature: fields.number("temperature")?,
            top_p: fields.number("top_p")?,
            top_k: fields.number("top_k")?,
            stop: fields.texts("stop_sequences")?,
            ..Sampling::default()
        },
        stream: fields.flag("stream")?.unwrap_or_default(),
        // Streams of this format always say it.
        stream_usage: true,
        cache: cache(&mut fields)?,
        service_tier: fields.text("service_tier")?,
        ..Request::default()
    };
    tools::take(&mut fields, &mut request)?;
    let mut kept = Kept::default();
    if let Some(servers) = fields.take("mcp_servers")
        && !mcp::join(&servers, &mut request.tools)
    {
        kept.0.push(("mcp_servers", servers));
    }
    let mut reasoning = thinking(&mut fields, &mut kept)?;
    output_config(&mut fields, &mut request, &mut reasoning, &mut kept)?;
    request.reasoning = (reasoning != Reasoning::default()).then_some(reasoning);
    if let Some(mut metadata) = fields.object("metadata")? {
        request.user = metadata.text("user_id")?;
        kept.rest("metadata", metadata);
    }
    request.extra = fields.rest(OWN);
    for (name, value) in kept.0 {
        request.extra.members.insert(name.to_owned(), value);
    }
    Ok(request)
}

/// What is left of members of which something was read; put back among the request's own.
#[derive(Debug, Default)]
struct Kept(Vec<(&'static str, Value)>);

impl Kept {
    fn rest(&mut self, name: &'static str, fields: Fields) {
        let members = fields.into_map();
        if !members.is_empty() {
            self.0.push((name, Value::Object(members)));
        }
    }
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, BadRequest> {
    let mut messages = Vec::new();
    let system = content(fields, "system")?;
    if !system.is_empty() {
        messages.push(Message::new(Role::System, system));
    }
    if !fields.has("messages") {
        return Err(fields.error("messages", "is missing; a list belongs here"));
    }
    for message in fields.objects("messages")? {
        messages.push(read_message(message)?);
    }
    Ok(messages)
}

fn read_message(mut fields: Fields) -> Result<Message, BadRequest> {
    let role = match fields.required_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => {
            let problem = format!("`{other}` is not a role; `user` and `assistant` are");
            return Err(fields.error("role", problem));
        }
    };
    if !fields.has("content") {
        return Err(fields.error(
            "content",
            "is missing; a string or a list of content blocks belongs here",
        ));
    }
    let parts = content(&mut fields, "content")?;
    let parts = if role == Role::Assistant {
        attach_seals(parts)
    } else {
        parts
    };
    Ok(Message {
        extra: rest(fields),
        ..Message::new(role, parts)
    })
}

/// Takes `thinking`. A way of thinking that this vocabulary has no word for stays in Anthropic's.
fn thinking(fields: &mut Fields, kept: &mut Kept) -> Result<Reasoning, BadRequest> {
    let mut reasoning = Reasoning::default();
    let Some(mut given) = fields.object("thinking")? else {
        return Ok(reasoning);
    };
    reasoning.budget = match given.peek_text("type") {
        Some("enabled") => given.count("budget_tokens")?.map(ThinkingBudget::Tokens),
        Some("adaptive") => Some(ThinkingBudget::Adaptive),
        Some("disabled") => Some(ThinkingBudget::Off),
        _ => {
            kept.rest("thinking", given);
            return Ok(reasoning);
        }
    };
    if reasoning.budget.is_none() {
        return Err(given.error(
            "budget_tokens",
            "is missing; a whole number of at least 1024 belongs here",
        ));
    }
    given.take("type");
    reasoning.visible = match given.peek_text("display") {
        Some("summarized") => Some(true),
        Some("omitted") => Some(false),
        _ => None,
    };
    if reasoning.visible.is_some() {
        given.take("display");
    }
    kept.rest("thinking", given);
    Ok(reasoning)
}

/// Takes `output_config`, and `output_format`, which is how its `format` was called in the beta.
fn output_config(
    fields: &mut Fields,
    request: &mut Request,
    reasoning: &mut Reasoning,
    kept: &mut Kept,
) -> Result<(), BadRequest> {
    let beta = fields.object("output_format")?;
    let mut config = fields.object("output_config")?;
    let given = match &mut config {
        Some(config) => config.object("format")?.or(beta),
        None => beta,
    };
    if let Some(mut given) = given {
        request.format = Some(match given.required_text("type")?.as_str() {
            "json_schema" => OutputFormat::Schema {
                name: given.text("name")?,
                description: None,
                schema: given
                    .take("schema")
                    .ok_or_else(|| given.error("schema", "is missing; a JSON schema belongs here"))?,
                strict: None,
            },
            other => {
                let problem = format!("`{other}` is not a format; `json_schema` is");
                return Err(given.error("type", problem));
            }
        });
    }
    if let Some(mut config) = config {
        if let Some(word) = config.text("effort")? {
            let effort = Effort::read(&word);
            let problem = || config.error("effort", format!("`{word}` is not an effort; `low` to `max` are"));
            reasoning.effort = Some(effort.ok_or_else(problem)?);
        }
        kept.rest("output_config", config);
    }
    Ok(())
}
