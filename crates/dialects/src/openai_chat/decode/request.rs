//! A client's request: settings and tools here, the conversation in `message`.

use domain::Dialect;
use serde_json::{Map, Value};

use super::message;
use crate::hub::{
    BadRequest, CacheMark, Effort, Extra, Fields, Hosted, HostedKind, OutputFormat, Reasoning, Request, Sampling,
    ThinkingBudget, Tool, ToolChoice, Verbosity,
};

/// In [`Request::echo`]: the client speaks of `functions`, the older word, and is answered in it.
pub(crate) const LEGACY_FUNCTIONS: &str = "functions";

/// Where a request notes its custom tools for the answer, which calls them so also where the target has functions only.
pub(crate) const CUSTOM_TOOLS: &str = "custom";

/// Reads a request.
pub(crate) fn request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut fields = Fields::parse(body)?;
    if !fields.has("messages") {
        return Err(fields.error("messages", "is missing; a list of messages belongs here"));
    }
    let mut request = Request {
        model: fields.text("model")?.unwrap_or_default(),
        messages: message::messages(&mut fields)?,
        max_output: max_output(&mut fields)?,
        sampling: sampling(&mut fields)?,
        reasoning: reasoning(&mut fields)?,
        format: format(&mut fields)?,
        verbosity: verbosity(&mut fields)?,
        choices: fields.count("n")?,
        logprobs: logprobs(&mut fields)?,
        modalities: modalities(&mut fields)?,
        stream: fields.flag("stream")?.unwrap_or_default(),
        cache: fields.take("cache_control").map(|mark| cache_mark(&mark)),
        cache_key: fields.text("prompt_cache_key")?,
        service_tier: fields.text("service_tier")?,
        store: fields.flag("store")?,
        parallel_tools: fields.flag("parallel_tool_calls")?,
        ..Request::default()
    };
    let safety = fields.text("safety_identifier")?;
    request.user = fields.text("user")?.or(safety);
    if let Some(metadata) = fields.object("metadata")? {
        request.metadata = metadata.into_map();
    }
    if let Some(mut options) = fields.object("stream_options")? {
        request.stream_usage = options.flag("include_usage")?.unwrap_or_default();
    }
    tools(&mut fields, &mut request)?;
    request.extra = fields.rest(Dialect::OpenaiChat);
    // It stays where it is too, beside the format of the sound.
    let voice = request.extra.members.get("audio").and_then(|audio| audio.get("voice"));
    request.voice = voice.and_then(Value::as_str).map(str::to_owned);
    Ok(request)
}

/// `max_completion_tokens` is today's name; of both it is the one that counts.
fn max_output(fields: &mut Fields) -> Result<Option<u64>, BadRequest> {
    let older = fields.count("max_tokens")?;
    Ok(fields.count("max_completion_tokens")?.or(older))
}

fn sampling(fields: &mut Fields) -> Result<Sampling, BadRequest> {
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.number("top_k")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        seed: fields.number("seed")?,
        stop: fields.texts("stop")?,
        logit_bias: fields.take("logit_bias"),
    })
}

/// `reasoning_effort`, OpenRouter's `reasoning: {effort, max_tokens, exclude, enabled}`, and `thinking: {type}` of Z.ai,
/// Moonshot and DeepSeek.
fn reasoning(fields: &mut Fields) -> Result<Option<Reasoning>, BadRequest> {
    let mut found = Reasoning::default();
    if let Some(word) = fields.text("reasoning_effort")? {
        let effort = Effort::read(&word);
        found.effort = Some(effort.ok_or_else(|| fields.error("reasoning_effort", format!("`{word}` is no effort")))?);
    }
    if let Some(mut inner) = fields.object("reasoning")? {
        if let Some(word) = inner.text("effort")? {
            found.effort = Effort::read(&word);
        }
        if let Some(tokens) = inner.count("max_tokens")? {
            found.budget = Some(ThinkingBudget::Tokens(tokens));
        }
        found.visible = inner.flag("exclude")?.map(|excluded| !excluded);
        if inner.flag("enabled")? == Some(true) && found == Reasoning::default() {
            found.budget = Some(ThinkingBudget::Adaptive);
        }
    }
    if let Some(mut inner) = fields.object("thinking")?
        && found == Reasoning::default()
    {
        found.budget = match inner.text("type")?.as_deref() {
            Some("enabled") => Some(ThinkingBudget::Adaptive),
            Some("disabled") => Some(ThinkingBudget::Off),
            _ => None,
        };
    }
    Ok((found != Reasoning::default()).then_some(found))
}

fn format(fields: &mut Fields) -> Result<Option<OutputFormat>, BadRequest> {
    let Some(mut format) = fields.object("response_format")? else {
        return Ok(None);
    };
    let kind = format.required_text("type")?;
    Ok(Some(match kind.as_str() {
        "text" => OutputFormat::Text,
        "json_object" => OutputFormat::Json,
        "json_schema" => {
            let path = format.at("json_schema");
            let mut inner = format
                .object("json_schema")?
                .ok_or_else(|| BadRequest::new(path, "is missing"))?;
            OutputFormat::Schema {
                name: inner.text("name")?,
                description: inner.text("description")?,
                schema: inner.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
                strict: inner.flag("strict")?,
            }
        }
        other => return Err(format.error("type", format!("`{other}` is none of text, json_object, json_schema"))),
    }))
}

fn verbosity(fields: &mut Fields) -> Result<Option<Verbosity>, BadRequest> {
    let Some(word) = fields.text("verbosity")? else {
        return Ok(None);
    };
    match word.as_str() {
        "low" => Ok(Some(Verbosity::Low)),
        "medium" => Ok(Some(Verbosity::Medium)),
        "high" => Ok(Some(Verbosity::High)),
        other => Err(fields.error("verbosity", format!("`{other}` is none of low, medium, high"))),
    }
}

fn logprobs(fields: &mut Fields) -> Result<Option<u64>, BadRequest> {
    let alternatives = fields.count("top_logprobs")?;
    Ok((fields.flag("logprobs")? == Some(true)).then(|| alternatives.unwrap_or_default()))
}

/// Kinds of output besides text.
fn modalities(fields: &mut Fields) -> Result<Vec<String>, BadRequest> {
    let mut kinds = fields.texts("modalities")?;
    kinds.retain(|kind| kind != "text");
    Ok(kinds)
}

/// A cache marker, as OpenRouter and others let chat requests carry Anthropic's.
pub(super) fn cache_mark(value: &Value) -> CacheMark {
    CacheMark {
        ttl: value.get("ttl").and_then(Value::as_str).map(str::to_owned),
    }
}

fn tools(fields: &mut Fields, request: &mut Request) -> Result<(), BadRequest> {
    for tool in fields.objects("tools")? {
        request.tools.push(read_tool(tool)?);
    }
    let customs = request.tools.iter().filter(|tool| matches!(tool, Tool::Custom { .. }));
    let customs: Vec<Value> = customs.filter_map(|tool| tool.name().map(Value::from)).collect();
    if !customs.is_empty() {
        request.echo.insert(CUSTOM_TOOLS.to_owned(), customs.into());
    }
    if let Some(native) = fields.take("web_search_options") {
        let user_location = native.get("user_location").filter(|value| !value.is_null()).cloned();
        let kind = HostedKind::WebSearch {
            max_uses: None,
            allowed_domains: Vec::new(),
            blocked_domains: Vec::new(),
            // Chat nests what Responses and Anthropic have flat.
            user_location: user_location.map(|mut location| {
                if let Some(Value::Object(inner)) = location.get_mut("approximate").map(Value::take) {
                    location = Value::Object(inner);
                    location["type"] = Value::from("approximate");
                }
                location
            }),
        };
        request.tools.push(Tool::Hosted(Hosted {
            kind,
            origin: Dialect::OpenaiChat,
            native,
        }));
    }
    request.tool_choice = fields
        .take("tool_choice")
        .map(|value| tool_choice(fields, value))
        .transpose()?;
    let legacy = fields.objects("functions")?;
    if !legacy.is_empty() {
        request.echo.insert(LEGACY_FUNCTIONS.to_owned(), Value::Bool(true));
    }
    for function in legacy {
        request.tools.push(read_function(function, None)?);
    }
    match fields.take("function_call") {
        Some(Value::String(word)) => request.tool_choice = Some(choice_word(fields, "function_call", &word)?),
        Some(Value::Object(named)) => {
            request.tool_choice = named
                .get("name")
                .and_then(Value::as_str)
                .map(|name| ToolChoice::Named(name.to_owned()));
        }
        _ => {}
    }
    Ok(())
}

fn read_tool(mut tool: Fields) -> Result<Tool, BadRequest> {
    let cache = tool.take("cache_control").map(|mark| cache_mark(&mark));
    let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
    match kind.as_str() {
        "function" => {
            let path = tool.at("function");
            let inner = tool
                .object("function")?
                .ok_or_else(|| BadRequest::new(path, "is missing; an object belongs here"))?;
            read_function(inner, cache)
        }
        "custom" => {
            let path = tool.at("custom");
            let mut inner = tool
                .object("custom")?
                .ok_or_else(|| BadRequest::new(path, "is missing; an object belongs here"))?;
            Ok(Tool::Custom {
                name: inner.required_text("name")?,
                description: inner.text("description")?,
                format: inner.take("format"),
                extra: inner.rest(Dialect::OpenaiChat),
            })
        }
        _ => {
            let mut native = tool.into_map();
            native.insert("type".to_owned(), Value::from(kind));
            let native = Value::Object(native);
            Ok(Tool::Hosted(Hosted {
                kind: HostedKind::Other,
                origin: Dialect::OpenaiChat,
                native,
            }))
        }
    }
}

fn read_function(mut function: Fields, cache: Option<CacheMark>) -> Result<Tool, BadRequest> {
    Ok(Tool::Function {
        name: function.required_text("name")?,
        description: function.text("description")?,
        schema: function.take("parameters"),
        strict: function.flag("strict")?,
        cache,
        extra: function.rest(Dialect::OpenaiChat),
    })
}

fn choice_word(fields: &Fields, member: &str, word: &str) -> Result<ToolChoice, BadRequest> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // Mistral's word for it.
        "required" | "any" => Ok(ToolChoice::Required),
        other => Err(fields.error(member, format!("`{other}` is none of auto, none, required"))),
    }
}

fn tool_choice(fields: &Fields, value: Value) -> Result<ToolChoice, BadRequest> {
    if let Value::String(word) = &value {
        return choice_word(fields, "tool_choice", word);
    }
    let named = ["function", "custom"]
        .iter()
        .find_map(|kind| value.get(kind)?.get("name")?.as_str());
    if let Some(name) = named {
        return Ok(ToolChoice::Named(name.to_owned()));
    }
    let Some(allowed) = value.get("allowed_tools") else {
        return Ok(ToolChoice::Native {
            origin: Dialect::OpenaiChat,
            value,
        });
    };
    let tools = allowed
        .get("tools")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let name = |tool: &Value| {
        ["function", "custom"]
            .iter()
            .find_map(|kind| tool.get(kind)?.get("name")?.as_str().map(str::to_owned))
    };
    Ok(ToolChoice::Allowed {
        names: tools.iter().filter_map(name).collect(),
        required: allowed.get("mode").and_then(Value::as_str) == Some("required"),
    })
}

/// What is left of an object, if anything is.
pub(super) fn rest(fields: Fields) -> Extra {
    fields.rest(Dialect::OpenaiChat)
}

#[cfg(test)]
mod tests;
