//! What the model may use, and whether it must: `tools` and `toolConfig`.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::model::{Generation, Model};
use super::{put, restore};
use crate::gemini::schema;
use crate::hub::{Hosted, HostedKind, Losses, Request, Tool, ToolChoice};

/// The one argument of a function that stands for a tool with free text as input.
pub(super) const FREE_TEXT: &str = "input";

/// Writes both. All functions stand in one entry, where the first of them stood.
pub(super) fn write(body: &mut Map<String, Value>, request: &mut Request, model: Model, losses: &mut Losses) {
    let tools = std::mem::take(&mut request.tools);
    let has_functions = tools.iter().any(|tool| tool.name().is_some());
    let mut foreign_hosted = false;
    let mut entries: Vec<Value> = Vec::new();
    let mut functions: Option<usize> = None;
    let is_strict = |tool: &Tool| matches!(tool, Tool::Function { strict: Some(true), .. });
    let strict = tools.iter().any(is_strict);
    for tool in tools {
        match declaration(tool, losses) {
            Declaration::Function(function) => {
                let at = *functions.get_or_insert_with(|| {
                    entries.push(json!({"functionDeclarations": []}));
                    entries.len() - 1
                });
                if let Some(Value::Array(list)) = entries
                    .get_mut(at)
                    .and_then(|entry| entry.get_mut("functionDeclarations"))
                {
                    list.push(function);
                }
            }
            Declaration::Hosted(hosted) if hosted.origin == Dialect::Gemini => entries.push(hosted.native),
            Declaration::Hosted(_) if has_functions && model.generation != Generation::Level => {
                losses.note(
                    "tools",
                    "Gemini before 3 has no tools of its own beside functions; they are left out",
                );
            }
            Declaration::Hosted(hosted) => {
                let known = own(&hosted, losses);
                for name in hosted.unsaid(&[]).into_iter().filter(|_| known.is_some()) {
                    losses.note(format!("tools.{name}"), "Google's tool has no such setting");
                }
                foreign_hosted |= known.is_some();
                entries.extend(known);
            }
        }
    }
    let mut config = Map::new();
    if functions.is_some() {
        put(
            &mut config,
            "functionCallingConfig",
            choice(request.tool_choice.take(), strict, losses),
        );
    } else {
        let wants = matches!(
            request.tool_choice,
            Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { .. })
        );
        losses.note_if(
            wants,
            "tool_choice",
            "Gemini takes it for functions only, and there are none",
        );
    }
    // Google refuses its own tools beside functions unless their calls may show in the answer.
    let show = foreign_hosted && functions.is_some();
    put(&mut config, "includeServerSideToolInvocations", show.then_some(true));
    put(body, "tools", (!entries.is_empty()).then_some(entries));
    put(body, "toolConfig", (!config.is_empty()).then_some(config));
}

enum Declaration {
    Function(Value),
    Hosted(Hosted),
}

fn declaration(tool: Tool, losses: &mut Losses) -> Declaration {
    let mut members = Map::new();
    match tool {
        Tool::Hosted(hosted) => return Declaration::Hosted(hosted),
        Tool::Function {
            name,
            description,
            schema,
            cache,
            extra,
            ..
        } => {
            put(&mut members, "name", Some(name));
            put(&mut members, "description", description);
            let schema = schema.map(|schema| schema::to_gemini(schema, losses));
            put(&mut members, "parametersJsonSchema", schema);
            losses.note_if(cache.is_some(), "tools.cache_control", "Gemini caches by itself");
            restore(&mut members, extra, losses);
        }
        Tool::Custom {
            name,
            description,
            format,
            extra,
        } => {
            losses.note(
                "tools.custom",
                "Gemini calls functions only; it is a function with one text, `input`",
            );
            for member in extra.members.keys() {
                losses.note(format!("tools.{member}"), "only the client's format has it");
            }
            losses.note_if(format.is_some(), "tools.custom.format", "Gemini has no grammars");
            put(&mut members, "name", Some(name));
            put(&mut members, "description", description);
            let schema =
                json!({"type": "object", "properties": {FREE_TEXT: {"type": "string"}}, "required": [FREE_TEXT]});
            put(&mut members, "parametersJsonSchema", Some(schema));
        }
    }
    Declaration::Function(Value::Object(members))
}

/// Google's tool that does the same.
fn own(hosted: &Hosted, losses: &mut Losses) -> Option<Value> {
    match &hosted.kind {
        HostedKind::WebSearch {
            max_uses,
            allowed_domains,
            blocked_domains,
            user_location,
        } => {
            losses.note_if(
                max_uses.is_some(),
                "web_search.max_uses",
                "Gemini searches as often as it likes",
            );
            losses.note_if(
                !allowed_domains.is_empty() || !blocked_domains.is_empty(),
                "web_search.domains",
                "Gemini searches the whole web",
            );
            losses.note_if(
                user_location.is_some(),
                "web_search.user_location",
                "Gemini does not take it",
            );
            Some(json!({"googleSearch": {}}))
        }
        HostedKind::CodeExecution => Some(json!({"codeExecution": {}})),
        HostedKind::WebFetch => Some(json!({"urlContext": {}})),
        // Google's `mcpServers` (google-genai 3.6, `types.py`) cannot say which tools may be called, and calls by it are not
        // among what its answers show (`ToolType` has no such word), so nobody would know what was done.
        HostedKind::Mcp(_) => {
            losses.note(
                hosted.lost_name(),
                "Google does not show what it calls on remote servers",
            );
            None
        }
        HostedKind::Other => {
            losses.note(hosted.lost_name(), "Google has no such tool");
            None
        }
    }
}

/// Gemini is held to schemas by the mode, for all functions: where it must call one, and in VALIDATED, which leaves it free
/// (google-genai 3.6, `FunctionCallingConfigMode`: "will validate function calls with constrained decoding").
fn choice(choice: Option<ToolChoice>, strict: bool, losses: &mut Losses) -> Option<Value> {
    Some(match choice {
        None | Some(ToolChoice::Auto) if strict => json!({"mode": "VALIDATED"}),
        None => return None,
        Some(choice) => said(choice, losses)?,
    })
}

fn said(choice: ToolChoice, losses: &mut Losses) -> Option<Value> {
    Some(match choice {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
        ToolChoice::Allowed { names, required } => {
            // Names go with ANY and VALIDATED only; the latter leaves the model free to call none.
            let mode = if required { "ANY" } else { "VALIDATED" };
            json!({"mode": mode, "allowedFunctionNames": names})
        }
        ToolChoice::Native {
            origin: Dialect::Gemini,
            value,
        } => value,
        ToolChoice::Native { .. } => {
            losses.note(
                "tool_choice",
                "only the client's own format can say it; the model chooses",
            );
            return None;
        }
    })
}
