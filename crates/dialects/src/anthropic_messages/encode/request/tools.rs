//! Tools and the choice among them.

use serde_json::{Value, json};

use super::model::Model;
use super::{mcp, schema};
use crate::anthropic_messages::decode::is_client_tool;
use crate::anthropic_messages::encode::OWN;
use crate::anthropic_messages::encode::blocks::{CUSTOM_INPUT, Members, cache_control, put_back};
use crate::hub::{Hosted, HostedKind, Losses, Request, Tool, ToolChoice};
use crate::schema::enforceable;

/// Tools in this format.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) offered: Vec<Value>,
    pub(super) choice: Option<Value>,
    /// A tool must be used.
    pub(super) forces: bool,
    /// Remote servers whose tools are among those offered.
    pub(super) servers: Vec<Value>,
}

/// Writes the tools of a request.
pub(super) fn encode(request: &mut Request, model: Model, takes_servers: bool, losses: &mut Losses) -> Tools {
    let mut tools = std::mem::take(&mut request.tools);
    let choice = match request.tool_choice.take() {
        Some(ToolChoice::Allowed { names, required }) => Some(narrow(&mut tools, &names, required, losses)),
        other => other,
    };
    let mut servers = Vec::new();
    let tools: Vec<Value> = tools
        .into_iter()
        .filter_map(|tool| match tool {
            Tool::Hosted(Hosted {
                kind: HostedKind::Mcp(server),
                origin,
                native,
            }) => {
                let (server, set) = mcp::declare(&server, origin, native, takes_servers, losses)?;
                servers.push(server);
                set
            }
            tool => write(tool, model, losses),
        })
        .collect();
    if tools.is_empty() && servers.is_empty() {
        let is_lost = matches!(&choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
        losses.note_if(is_lost, "tool_choice", "there is no tool left to choose");
        return Tools::default();
    }
    let forces = matches!(&choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    let choice = choose(choice, request.parallel_tools, losses);
    Tools {
        offered: tools,
        choice,
        forces,
        servers,
    }
}

/// A choice among some: the others are not offered.
fn narrow(tools: &mut Vec<Tool>, names: &[String], required: bool, losses: &mut Losses) -> ToolChoice {
    let all = tools.len();
    tools.retain(|tool| {
        tool.name()
            .is_none_or(|name| names.iter().any(|allowed| allowed == name))
    });
    losses.note_if(
        tools.len() < all,
        "tool_choice.allowed_tools",
        "Anthropic cannot forbid some of the tools; those that are not allowed are not offered",
    );
    match names {
        [only] if required => ToolChoice::Named(only.clone()),
        _ if required => ToolChoice::Required,
        _ => ToolChoice::Auto,
    }
}

fn choose(choice: Option<ToolChoice>, parallel: Option<bool>, losses: &mut Losses) -> Option<Value> {
    let mut choice = match choice {
        Some(ToolChoice::Native { origin: OWN, value }) => return Some(value),
        Some(ToolChoice::None) => return Some(json!({"type": "none"})),
        Some(ToolChoice::Native { .. }) => {
            losses.note("tool_choice", "only the client's format knows it; the model chooses");
            None
        }
        Some(ToolChoice::Required) => Some(json!({"type": "any"})),
        Some(ToolChoice::Named(name)) => Some(json!({"type": "tool", "name": name})),
        Some(ToolChoice::Auto | ToolChoice::Allowed { .. }) => Some(json!({"type": "auto"})),
        None => None,
    };
    if parallel == Some(false) && choice.is_none() {
        choice = Some(json!({"type": "auto"}));
    }
    if let (Some(choice), Some(parallel)) = (&mut choice, parallel) {
        choice["disable_parallel_tool_use"] = (!parallel).into();
    }
    choice
}

fn write(tool: Tool, model: Model, losses: &mut Losses) -> Option<Value> {
    match tool {
        Tool::Function {
            name,
            description,
            schema,
            strict,
            cache,
            extra,
        } => {
            let is_own = extra.origin == Some(OWN);
            let mut written = Members::new();
            written.insert("name".to_owned(), name.into());
            // What Anthropic defines is told by its type alone.
            let is_defined = is_client_tool(&extra);
            let description = description.filter(|_| !is_defined);
            super::insert(&mut written, "description", description.map(Value::from));
            let mut schema = schema::for_input(schema, losses);
            // That arguments need not keep to the schema is what goes without saying.
            let strict = strict.filter(|strict| *strict || is_own);
            if strict == Some(true) && model.is_strict() && !is_own {
                schema = enforceable(schema, losses);
            }
            if !is_defined {
                written.insert("input_schema".to_owned(), schema);
            }
            if strict == Some(true) && !model.is_strict() {
                losses.note("tools[].strict", "the model cannot be held to a schema");
            } else {
                super::insert(&mut written, "strict", strict.map(Value::from));
            }
            let cache = cache.map(|mark| cache_control(&mark, losses));
            super::insert(&mut written, "cache_control", cache);
            put_back(&mut written, extra, losses);
            Some(written.into())
        }
        Tool::Custom {
            name,
            description,
            format,
            extra,
        } => {
            losses.note(
                "custom tool",
                "Anthropic's tools take JSON; told as a tool with one text as argument",
            );
            for member in extra.members.keys() {
                losses.note(format!("tools[].{member}"), "only the client's format has it");
            }
            losses.note_if(format.is_some(), "custom tool format", "Anthropic enforces no grammars");
            let mut written = Members::new();
            written.insert("name".to_owned(), name.into());
            super::insert(&mut written, "description", description.map(Value::from));
            written.insert(
                "input_schema".to_owned(),
                json!({
                    "type": "object",
                    "properties": {CUSTOM_INPUT: {"type": "string"}},
                    "required": [CUSTOM_INPUT],
                }),
            );
            Some(written.into())
        }
        Tool::Hosted(Hosted {
            origin: OWN, native, ..
        }) => Some(native),
        Tool::Hosted(tool) => {
            for name in tool.unsaid(&[]).into_iter().filter(|_| tool.kind != HostedKind::Other) {
                losses.note(format!("tools.{name}"), "Anthropic's tool has no such setting");
            }
            hosted(tool, model, losses)
        }
    }
}

/// A tool of another family that Anthropic has too, in the newest version that the model takes. From 2026 on they may
/// run from within code, which nobody asked for: they are called directly, as the other family's are.
fn hosted(hosted: Hosted, model: Model, losses: &mut Losses) -> Option<Value> {
    let name = hosted.lost_name();
    let is_new = model.has_new_tools();
    let version = |new: &'static str, old: &'static str| if is_new { new } else { old };
    let mut tool = Members::new();
    let mut declare = |kind: &str, name: &str| {
        tool.insert("type".to_owned(), kind.into());
        tool.insert("name".to_owned(), name.into());
        if is_new && name != "code_execution" {
            tool.insert("allowed_callers".to_owned(), json!(["direct"]));
        }
    };
    match hosted.kind {
        HostedKind::WebSearch {
            max_uses,
            allowed_domains,
            blocked_domains,
            user_location,
        } => {
            declare(version("web_search_20260318", "web_search_20250305"), "web_search");
            super::insert(&mut tool, "max_uses", max_uses.map(Value::from));
            if allowed_domains.is_empty() {
                super::insert_list(&mut tool, "blocked_domains", strings(blocked_domains));
            } else {
                losses.note_if(
                    !blocked_domains.is_empty(),
                    "blocked_domains",
                    "Anthropic takes them or allowed_domains, not both",
                );
                super::insert_list(&mut tool, "allowed_domains", strings(allowed_domains));
            }
            super::insert(&mut tool, "user_location", user_location);
        }
        HostedKind::CodeExecution => declare(
            version("code_execution_20260521", "code_execution_20250825"),
            "code_execution",
        ),
        HostedKind::WebFetch => declare(version("web_fetch_20260318", "web_fetch_20250910"), "web_fetch"),
        HostedKind::Mcp(_) | HostedKind::Other => {
            losses.note(name, "Anthropic has no such tool");
            return None;
        }
    }
    Some(tool.into())
}

fn strings(list: Vec<String>) -> Vec<Value> {
    list.into_iter().map(Value::from).collect()
}
