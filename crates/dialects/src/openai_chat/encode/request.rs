//! A request as an upstream gets it.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::message;
use crate::hub::{
    BadRequest, Effort, HostedKind, Losses, OutputFormat, Reasoning, Request, ThinkingBudget, Tool, ToolChoice,
    Verbosity,
};
use crate::schema;
use crate::translate::Target;

/// Texts that may end an answer: <https://platform.openai.com/docs/api-reference/chat/create#chat-create-stop>.
const STOP_MAX: usize = 4;

/// The name of a schema whose format gave it none: this one requires a name.
const SCHEMA_NAME: &str = "answer";

/// Writes a request.
pub(crate) fn request(mut request: Request, target: &Target<'_>, losses: &mut Losses) -> Result<Value, BadRequest> {
    if request.previous.is_some() {
        let problem = "the target keeps no answers that could be continued; send the whole conversation in `input`";
        return Err(BadRequest::new("previous_response_id", problem));
    }
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    body.insert(
        "messages".to_owned(),
        message::messages(std::mem::take(&mut request.messages), target, losses)?,
    );
    tools(&mut request, &mut body, losses);
    let bound = if target.quirks.max_completion_tokens {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    put(&mut body, bound, request.max_output.map(Value::from));
    sampling(&mut request, &mut body, losses);
    put(
        &mut body,
        "reasoning_effort",
        request
            .reasoning
            .as_ref()
            .and_then(|wish| effort(wish, target.quirks.thinking_switch, losses)),
    );
    put(
        &mut body,
        "response_format",
        request
            .format
            .take()
            .and_then(|format| shape(format, request.extra.origin, losses)),
    );
    put(
        &mut body,
        "verbosity",
        request.verbosity.map(|verbosity| word(verbosity).into()),
    );
    put(
        &mut body,
        "n",
        request.choices.filter(|wanted| *wanted != 1).map(Value::from),
    );
    if let Some(alternatives) = request.logprobs {
        body.insert("logprobs".to_owned(), true.into());
        put(
            &mut body,
            "top_logprobs",
            (alternatives > 0).then(|| alternatives.into()),
        );
    }
    let is_spoken = request.modalities.iter().any(|kind| kind == "audio");
    if is_spoken && request.extra.origin != Some(Dialect::OpenaiChat) {
        let audio = super::sound::wanted(request.voice.take(), request.stream, losses);
        body.insert("audio".to_owned(), audio);
    }
    if !request.modalities.is_empty() {
        let kinds: Vec<Value> = std::iter::once("text".to_owned())
            .chain(request.modalities)
            .map(Value::from)
            .collect();
        body.insert("modalities".to_owned(), kinds.into());
    }
    put(&mut body, "prompt_cache_key", request.cache_key.map(Value::from));
    put(
        &mut body,
        "service_tier",
        request.service_tier.and_then(|tier| service_tier(&tier, losses)),
    );
    put(&mut body, "user", request.user.map(Value::from));
    put(&mut body, "store", request.store.filter(|keep| *keep).map(Value::from));
    if request.store == Some(true) && !request.metadata.is_empty() {
        body.insert("metadata".to_owned(), Value::Object(request.metadata));
    } else {
        losses.note_if(
            !request.metadata.is_empty(),
            "metadata",
            "only stored answers have it in this format",
        );
    }
    put(&mut body, "cache_control", message::mark(request.cache, target, losses));
    if request.stream {
        body.insert("stream".to_owned(), true.into());
        put(
            &mut body,
            "stream_options",
            target.include_usage.then(|| json!({"include_usage": true})),
        );
    }
    extra(request.extra, &mut body, losses);
    Ok(Value::Object(body))
}

/// Sets a member if there is something to set.
pub(super) fn put(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

fn sampling(request: &mut Request, body: &mut Map<String, Value>, losses: &mut Losses) {
    let sampling = std::mem::take(&mut request.sampling);
    put(body, "temperature", sampling.temperature);
    put(body, "top_p", sampling.top_p);
    losses.note_if(sampling.top_k.is_some(), "top_k", "the format has no such setting");
    put(body, "frequency_penalty", sampling.frequency_penalty);
    put(body, "presence_penalty", sampling.presence_penalty);
    put(body, "seed", sampling.seed);
    put(body, "logit_bias", sampling.logit_bias);
    losses.note_if(
        sampling.stop.len() > STOP_MAX,
        "stop",
        "only four are possible; the first four were kept",
    );
    if !sampling.stop.is_empty() {
        body.insert("stop".to_owned(), sampling.stop.into_iter().take(STOP_MAX).collect());
    }
}

/// How much to think, in words: this format has no figures. `has_switch`: all models can be kept from it.
fn effort(wish: &Reasoning, has_switch: bool, losses: &mut Losses) -> Option<Value> {
    losses.note_if(
        wish.summary.is_some(),
        "reasoning.summary",
        "the format cannot ask for summaries",
    );
    let effort = match (wish.effort, wish.budget) {
        (Some(effort), _) => Some(effort),
        (None, Some(ThinkingBudget::Tokens(tokens))) => Some(Effort::of_budget(tokens)),
        (None, Some(ThinkingBudget::Off)) if has_switch => Some(Effort::None),
        (None, Some(ThinkingBudget::Off)) => {
            losses.note(
                "thinking",
                "the format cannot switch it off for every model; the model's default applies",
            );
            None
        }
        (None, Some(ThinkingBudget::Adaptive) | None) => None,
    };
    // All the words are OpenAI's, `max` too (openai 3.57, `types/shared/reasoning_effort.py`).
    effort.map(|effort| effort.name().into())
}

fn shape(format: OutputFormat, origin: Option<Dialect>, losses: &mut Losses) -> Option<Value> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::Json => Some(json!({"type": "json_object"})),
        OutputFormat::Schema {
            name,
            description,
            schema,
            strict,
        } => {
            crate::schema::note_unenforced(strict, origin, losses);
            let mut inner = Map::new();
            inner.insert("name".to_owned(), name.unwrap_or_else(|| SCHEMA_NAME.to_owned()).into());
            put(&mut inner, "description", description.map(Value::from));
            inner.insert("schema".to_owned(), schema);
            put(&mut inner, "strict", strict.map(Value::from));
            Some(json!({"type": "json_schema", "json_schema": inner}))
        }
        OutputFormat::Other => {
            losses.note(
                "format",
                "the shape of the answer can only be said in the client's format",
            );
            None
        }
    }
}

const fn word(verbosity: Verbosity) -> &'static str {
    match verbosity {
        Verbosity::Low => "low",
        Verbosity::Medium => "medium",
        Verbosity::High => "high",
    }
}

/// Tiers in OpenAI's words.
fn service_tier(tier: &str, losses: &mut Losses) -> Option<Value> {
    match tier {
        "auto" | "default" | "flex" | "priority" | "scale" => Some(tier.into()),
        "standard" | "standard_only" => Some("default".into()),
        _ => {
            losses.note("service_tier", "the target has no such tier");
            None
        }
    }
}

fn tools(request: &mut Request, body: &mut Map<String, Value>, losses: &mut Losses) {
    let mut allowed: Option<Vec<String>> = None;
    let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    let choice = match request.tool_choice.take() {
        None => None,
        Some(ToolChoice::Auto) => Some("auto".into()),
        Some(ToolChoice::None) => Some("none".into()),
        Some(ToolChoice::Required) => Some("required".into()),
        Some(ToolChoice::Named(name)) => Some(named(&request.tools, &name)),
        // Only OpenAI has a word for it; offering only these means the same everywhere.
        Some(ToolChoice::Allowed { names, required }) => {
            allowed = Some(names);
            Some(if required { "required" } else { "auto" }.into())
        }
        Some(ToolChoice::Native {
            origin: Dialect::OpenaiChat,
            value,
        }) => Some(value),
        Some(ToolChoice::Native { .. }) => {
            losses.note("tool_choice", "it names something that only the client's format has");
            None
        }
    };
    if let Some(names) = &allowed {
        Tool::retain_allowed(&mut request.tools, names, losses);
    }
    let mut tools: Vec<Value> = Vec::new();
    for tool in std::mem::take(&mut request.tools) {
        match tool {
            // This format's own search is a setting, no tool.
            Tool::Hosted(hosted) if hosted.origin == Dialect::OpenaiChat => {
                body.insert("web_search_options".to_owned(), hosted.native);
            }
            tool => tools.extend(offer(tool, losses)),
        }
    }
    if tools.is_empty() {
        losses.note_if(is_forced, "tool_choice", "there is no tool left to choose");
        return;
    }
    body.insert("tools".to_owned(), tools.into());
    put(body, "tool_choice", choice);
    put(body, "parallel_tool_calls", request.parallel_tools.map(Value::from));
}

fn named(tools: &[Tool], name: &str) -> Value {
    let is_custom = tools
        .iter()
        .any(|tool| matches!(tool, Tool::Custom { name: known, .. } if known == name));
    let kind = if is_custom { "custom" } else { "function" };
    json!({"type": kind, kind: {"name": name}})
}

fn offer(tool: Tool, losses: &mut Losses) -> Option<Value> {
    match tool {
        Tool::Function {
            name,
            description,
            schema,
            strict,
            cache,
            extra,
        } => {
            let strict = schema::held_to(strict, schema.as_ref(), &extra, losses);
            let mut function = Map::new();
            function.insert("name".to_owned(), name.into());
            put(&mut function, "description", description.map(Value::from));
            put(&mut function, "parameters", schema.map(schema::listing_members));
            put(&mut function, "strict", strict.map(Value::from));
            losses.note_if(cache.is_some(), "cache_control", "the target caches prefixes by itself");
            for (member, _) in extra
                .members
                .into_iter()
                .filter(|_| extra.origin != Some(Dialect::OpenaiChat))
            {
                losses.note(format!("tools[].{member}"), "only the client's format has it");
            }
            Some(json!({"type": "function", "function": function}))
        }
        Tool::Custom {
            name,
            description,
            format,
            extra,
        } => {
            for (member, _) in extra
                .members
                .into_iter()
                .filter(|_| extra.origin != Some(Dialect::OpenaiChat))
            {
                losses.note(format!("tools[].{member}"), "only the client's format has it");
            }
            let mut custom = Map::new();
            custom.insert("name".to_owned(), name.into());
            put(&mut custom, "description", description.map(Value::from));
            // Responses has a grammar's members flat.
            put(&mut custom, "format", format.map(nested_grammar));
            Some(json!({"type": "custom", "custom": custom}))
        }
        Tool::Hosted(hosted) => {
            let what = match hosted.kind {
                HostedKind::WebSearch { .. } => "tools: web search".to_owned(),
                HostedKind::CodeExecution => "tools: code execution".to_owned(),
                HostedKind::WebFetch => "tools: web fetch".to_owned(),
                HostedKind::Mcp(_) | HostedKind::Other => hosted.lost_name(),
            };
            losses.note(what, "the format has no tools that the provider runs");
            None
        }
    }
}

fn nested_grammar(format: Value) -> Value {
    match (format.get("type").and_then(Value::as_str), format.get("definition")) {
        (Some("grammar"), Some(definition)) => {
            json!({"type": "grammar", "grammar": {"definition": definition, "syntax": format.get("syntax")}})
        }
        _ => format,
    }
}

/// Members of the two formats of OpenAI that mean the same in both.
const SHARED: [&str; 4] = [
    "prompt_cache_retention",
    "safety_identifier",
    "prompt_cache_options",
    "moderation",
];

fn extra(extra: crate::hub::Extra, body: &mut Map<String, Value>, losses: &mut Losses) {
    let is_family = matches!(extra.origin, Some(Dialect::OpenaiChat | Dialect::OpenaiResponses));
    for (name, value) in extra.members {
        if extra.origin == Some(Dialect::OpenaiChat) || (is_family && SHARED.contains(&name.as_str())) {
            body.entry(name).or_insert(value);
        } else {
            losses.note(name, "only the client's format has it");
        }
    }
}

#[cfg(test)]
mod tests;
