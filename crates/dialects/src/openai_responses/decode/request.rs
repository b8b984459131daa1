//! A client's request. The body of a request for a token count has the same shape.

use serde_json::{Map, Value};

use super::super::names::Names;
use super::super::{SELF, echo};
use super::item::{self, Turns};
use super::tools;
use crate::hub::{BadRequest, Effort, Fields, OutputFormat, Reasoning, Request, Sampling, Tool, Verbosity};

/// Asks for log probabilities.
const LOGPROBS: &str = "message.output_text.logprobs";

/// Asks for seals of reasoning. They always travel where a request is translated, so it is no member of its own.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Reads a request.
pub(crate) fn request(body: &[u8]) -> Result<Request, BadRequest> {
    let members = Fields::parse(body)?.into_map();
    let mut echo = echo::of(&members);
    let mut fields = Fields::of_map(String::new(), members);
    let mut declared = fields.list("tools")?;
    let mut tools = Vec::new();
    let mut names = Names::default();
    declare(&declared, "tools", &mut tools, &mut names)?;

    let mut turns = Turns::instructed(fields.text("instructions")?);
    for (place, value) in input(&mut fields)?.into_iter().enumerate() {
        let path = format!("input[{place}]");
        let more = turns.push(item::item(value, path.clone(), &names)?);
        declare(&more, &format!("{path}.tools"), &mut tools, &mut names)?;
        declared.extend(more);
    }
    // An answer repeats also those that are declared in the input.
    echo.insert("tools".to_owned(), Value::Array(declared));

    let mut extra = Map::new();
    let tool_choice = fields.take("tool_choice").map(|value| tools::choice(value, &names));
    let reasoning = reasoning(&mut fields, &mut extra)?;
    let (format, verbosity) = text(&mut fields, &mut extra)?;
    let logprobs = logprobs(&mut fields, &mut extra)?;
    let user = match fields.text("user")? {
        Some(user) => Some(user),
        None => fields.text("safety_identifier")?,
    };
    let mut request = Request {
        model: fields.text("model")?.unwrap_or_default(),
        messages: turns.into_messages(),
        tools,
        tool_choice,
        parallel_tools: fields.flag("parallel_tool_calls")?,
        max_output: fields.count("max_output_tokens")?,
        sampling: Sampling {
            temperature: fields.number("temperature")?,
            top_p: fields.number("top_p")?,
            ..Sampling::default()
        },
        reasoning,
        format,
        verbosity,
        logprobs,
        stream: fields.flag("stream")?.unwrap_or_default(),
        // Usage is always told.
        stream_usage: true,
        cache_key: fields.text("prompt_cache_key")?,
        service_tier: fields.text("service_tier")?,
        user,
        metadata: fields.object("metadata")?.map(Fields::into_map).unwrap_or_default(),
        store: fields.flag("store")?,
        previous: fields.text("previous_response_id")?,
        echo,
        ..Request::default()
    };
    request.extra = fields.rest(SELF);
    request.extra.members.retain(|_, value| !value.is_null());
    request.extra.members.extend(extra);
    Ok(request)
}

/// The items; a text is a message of the user's.
fn input(fields: &mut Fields) -> Result<Vec<Value>, BadRequest> {
    match fields.take("input") {
        None => Ok(Vec::new()),
        Some(text @ Value::String(_)) => Ok(vec![serde_json::json!({"role": "user", "content": text})]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(fields.error("input", "expected a string or a list of items")),
    }
}

fn declare(declared: &[Value], path: &str, tools: &mut Vec<Tool>, names: &mut Names) -> Result<(), BadRequest> {
    for (place, tool) in declared.iter().enumerate() {
        names.declare(tool);
        tools.extend(tools::tool(tool.clone(), format!("{path}[{place}]"))?);
    }
    Ok(())
}

/// What is left of an object goes into the extra members under the object's name.
fn keep(fields: Fields, name: &str, extra: &mut Map<String, Value>) {
    let mut left = fields.into_map();
    left.retain(|_, value| !value.is_null());
    if !left.is_empty() {
        extra.insert(name.to_owned(), Value::Object(left));
    }
}

fn reasoning(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<Option<Reasoning>, BadRequest> {
    let Some(mut inner) = fields.object("reasoning")? else {
        return Ok(None);
    };
    // A word that is newer than this code stays where it is.
    let effort = inner.peek_text("effort").and_then(Effort::read);
    if effort.is_some() {
        inner.take("effort");
    }
    let (summary, older) = (inner.text("summary")?, inner.text("generate_summary")?);
    let summary = summary.or(older);
    keep(inner, "reasoning", extra);
    Ok(Some(Reasoning {
        effort,
        budget: None,
        visible: summary.is_some().then_some(true),
        summary,
    }))
}

type Text = (Option<OutputFormat>, Option<Verbosity>);

fn text(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<Text, BadRequest> {
    let Some(mut inner) = fields.object("text")? else {
        return Ok((None, None));
    };
    let verbosity = match inner.peek_text("verbosity") {
        Some("low") => Some(Verbosity::Low),
        Some("medium") => Some(Verbosity::Medium),
        Some("high") => Some(Verbosity::High),
        _ => None,
    };
    if verbosity.is_some() {
        inner.take("verbosity");
    }
    let format = format(&mut inner)?;
    keep(inner, "text", extra);
    Ok((format, verbosity))
}

fn format(text: &mut Fields) -> Result<Option<OutputFormat>, BadRequest> {
    let path = text.at("format");
    let Some(value) = text.take("format") else {
        return Ok(None);
    };
    let mut fields = Fields::of(path, value)?;
    Ok(Some(match fields.required_text("type")?.as_str() {
        "text" => OutputFormat::Text,
        "json_object" => OutputFormat::Json,
        "json_schema" => OutputFormat::Schema {
            name: fields.text("name")?,
            description: fields.text("description")?,
            schema: fields
                .take("schema")
                .ok_or_else(|| fields.error("schema", "is missing; a JSON schema belongs here"))?,
            strict: fields.flag("strict")?,
        },
        _ => return Err(fields.error("type", "expected `text`, `json_object` or `json_schema`")),
    }))
}

/// `include` asks for log probabilities, and for much that only this format has.
fn logprobs(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<Option<u64>, BadRequest> {
    let mut include = fields.texts("include")?;
    let is_wanted = include.iter().any(|wish| wish == LOGPROBS);
    include.retain(|wish| wish != LOGPROBS && wish != ENCRYPTED);
    if !include.is_empty() {
        extra.insert("include".to_owned(), include.into());
    }
    if !is_wanted {
        return Ok(None);
    }
    Ok(Some(fields.count("top_logprobs")?.unwrap_or_default()))
}
