//! `toolConfig`: what the model may use, and whether it must. There is no word for "none of them", and a conversation that
//! has calls in it is refused without declarations.

use serde_json::{Map, Value, json};

use super::super::super::family::{CALLS_ONE, Family};
use super::message::cache_point;
use super::put;
use crate::hub::{CacheMark, HostedKind, Losses, Request, Tool, ToolChoice};
use crate::schema::enforceable;

/// That there be one call at a time has no word of Converse's; Claude is told in its own, where nothing else is chosen: it is
/// refused beside a `toolChoice` (<https://github.com/BerriAI/litellm/issues/36536>) and without tools (34420 there).
pub(super) fn one_at_a_time(
    parallel: Option<bool>,
    config: Option<&mut Value>,
    additional: &mut Map<String, Value>,
    family: Family,
    losses: &mut Losses,
) {
    let (Some(false), Some(Value::Object(config))) = (parallel, config) else {
        return;
    };
    let is_free = config
        .get("toolChoice")
        .is_none_or(|choice| choice.get("auto").is_some());
    if is_free && matches!(family, Family::Claude(generation) if generation >= CALLS_ONE) {
        config.shift_remove("toolChoice");
        let choice = json!({"type": "auto", "disable_parallel_tool_use": true});
        additional.insert("tool_choice".to_owned(), choice);
    } else {
        losses.note("parallel_tool_calls", "the target cannot forbid several calls at once");
    }
}

/// Writes `toolConfig`; `called` are the tools that the conversation names.
pub(super) fn config(request: &mut Request, called: &[String], family: Family, losses: &mut Losses) -> Option<Value> {
    let (choice, allowed) = choice(request.tool_choice.take(), losses);
    if let Some(names) = &allowed {
        Tool::retain_allowed(&mut request.tools, names, losses);
    }
    let offered = std::mem::take(&mut request.tools).into_iter();
    let mut tools: Vec<Value> = Vec::new();
    if !matches!(choice, Choice::Forbidden) {
        offered.for_each(|tool| offer(tool, family, &mut tools, losses));
    }
    if tools.is_empty() && !called.is_empty() {
        // A conversation with calls in it is refused without declarations, also where none may be called any more.
        losses.note_if(
            matches!(choice, Choice::Forbidden),
            "tool_choice",
            "the format cannot forbid tools that the conversation has used",
        );
        tools.extend(called.iter().map(|name| specified(name.clone(), None, None, None)));
        return Some(json!({"tools": tools}));
    }
    if tools.is_empty() {
        return None;
    }
    let mut config = Map::new();
    config.insert("tools".to_owned(), tools.into());
    if let Choice::Said(choice) = choice {
        config.insert("toolChoice".to_owned(), choice);
    }
    Some(Value::Object(config))
}

enum Choice {
    Unsaid,
    Said(Value),
    /// There is no word for it; offering none means the same.
    Forbidden,
}

/// The choice, and the only tools that may be offered.
fn choice(choice: Option<ToolChoice>, losses: &mut Losses) -> (Choice, Option<Vec<String>>) {
    let any = || json!({"any": {}});
    match choice {
        None => (Choice::Unsaid, None),
        Some(ToolChoice::Auto) => (Choice::Said(json!({"auto": {}})), None),
        Some(ToolChoice::None) => (Choice::Forbidden, None),
        Some(ToolChoice::Required) => (Choice::Said(any()), None),
        Some(ToolChoice::Named(name)) => (Choice::Said(json!({"tool": {"name": name}})), None),
        Some(ToolChoice::Allowed { names, required }) => {
            let choice = if required { any() } else { json!({"auto": {}}) };
            (Choice::Said(choice), Some(names))
        }
        Some(ToolChoice::Native { .. }) => {
            losses.note("tool_choice", "it names something that only the client's format has");
            (Choice::Unsaid, None)
        }
    }
}

fn offer(tool: Tool, family: Family, tools: &mut Vec<Value>, losses: &mut Losses) {
    match tool {
        Tool::Function {
            name,
            description,
            schema,
            strict,
            cache,
            extra,
        } => {
            for member in extra.members.keys() {
                losses.note(format!("tools[].{member}"), "only the client's format has it");
            }
            let strict = strict.filter(|strict| *strict);
            let is_claude = matches!(family, Family::Claude(_));
            losses.note_if(
                strict.is_some() && !is_claude,
                "tools[].strict",
                "the model is not known to keep to schemas",
            );
            let strict = strict.filter(|_| is_claude);
            let schema = if strict.is_some() {
                schema.map(|schema| enforceable(schema, losses))
            } else {
                schema
            };
            tools.push(specified(name, description, schema, strict));
            tools.extend(tool_cache(cache.as_ref(), family, losses));
        }
        Tool::Custom { name, description, .. } => {
            losses.note(
                "tools: custom",
                "the format has no free text as input; it is asked for as `input` in JSON",
            );
            let schema = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
            tools.push(specified(name, description, Some(schema), None));
        }
        Tool::Hosted(hosted) => {
            let what = match hosted.kind {
                HostedKind::WebSearch { .. } => "tools: web search".to_owned(),
                HostedKind::CodeExecution => "tools: code execution".to_owned(),
                HostedKind::WebFetch => "tools: web fetch".to_owned(),
                HostedKind::Mcp(_) | HostedKind::Other => hosted.lost_name(),
            };
            losses.note(what, "the target does not run it");
        }
    }
}

/// Nova takes no cache points among tools:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>.
fn tool_cache(mark: Option<&CacheMark>, family: Family, losses: &mut Losses) -> Option<Value> {
    if matches!(family, Family::Nova(_)) {
        losses.note_if(mark.is_some(), "tools[].cache_control", "the model caches no tools");
        return None;
    }
    cache_point(mark, family, losses)
}

fn specified(name: String, description: Option<String>, schema: Option<Value>, strict: Option<bool>) -> Value {
    let mut spec = Map::new();
    spec.insert("name".to_owned(), name.into());
    // An empty one is refused.
    put(
        &mut spec,
        "description",
        description.filter(|text| !text.is_empty()).map(Value::from),
    );
    let schema = schema.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    spec.insert("inputSchema".to_owned(), json!({"json": schema}));
    put(&mut spec, "strict", strict.map(Value::from));
    json!({"toolSpec": spec})
}
