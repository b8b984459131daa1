//! What the model may use, and whether it must.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::super::{SELF, text_of};
use super::super::item::{object, put_back, set};
use super::mcp;
use crate::hub::{Extra, Hosted, HostedKind, Losses, Tool, ToolChoice};
use crate::schema::listing_members;

/// What the tools of a request are called here.
#[derive(Debug, Default)]
pub(super) struct Declared {
    places: HashMap<String, Place>,
}

/// Where a tool stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    custom: bool,
}

impl Declared {
    pub(super) fn of(tools: &[Tool]) -> Self {
        let mut places = HashMap::new();
        for tool in tools {
            let (name, extra, custom) = match tool {
                Tool::Function { name, extra, .. } => (name, extra, false),
                Tool::Custom { name, extra, .. } => (name, extra, true),
                Tool::Hosted(_) => continue,
            };
            let namespace = namespace(extra).and_then(|about| text_of(about, "name"));
            let place = Place {
                name: unflattened(name, namespace),
                namespace: namespace.map(str::to_owned),
                custom,
            };
            places.insert(name.clone(), place);
        }
        Self { places }
    }

    /// Where the tool stands that is called so elsewhere.
    pub(super) fn place(&self, name: &str) -> Place {
        self.places.get(name).cloned().unwrap_or_else(|| Place {
            name: name.to_owned(),
            ..Place::default()
        })
    }

    fn named(&self, name: &str) -> Value {
        let place = self.place(name);
        let kind = if place.custom { "custom" } else { "function" };
        json!({"type": kind, "name": place.name})
    }
}

/// The namespace that a tool was declared in, with its description.
fn namespace(extra: &Extra) -> Option<&Value> {
    let is_own = extra.origin == Some(SELF);
    extra
        .members
        .get("namespace")
        .filter(|about| is_own && about.is_object())
}

fn unflattened(name: &str, namespace: Option<&str>) -> String {
    let inner = namespace.and_then(|namespace| name.strip_prefix(namespace));
    inner
        .map_or(name, |inner| inner.strip_prefix("__").unwrap_or(inner))
        .to_owned()
}

/// Declarations; tools of one namespace that follow each other are declared together.
pub(super) fn tools(tools: Vec<Tool>, is_own: bool, losses: &mut Losses) -> Vec<Value> {
    let mut declared: Vec<Value> = Vec::new();
    // The namespace of the last declaration.
    let mut open: Option<Value> = None;
    for tool in tools {
        let namespace = match &tool {
            Tool::Function { extra, .. } | Tool::Custom { extra, .. } => namespace(extra).cloned(),
            Tool::Hosted(_) => None,
        };
        let Some(told) = self::tool(tool, namespace.as_ref(), is_own, losses) else {
            continue;
        };
        let Some(about) = namespace else {
            open = None;
            declared.push(told);
            continue;
        };
        if open.as_ref() != Some(&about) {
            declared.push(begun(&about));
            open = Some(about);
        }
        let list = declared.last_mut().and_then(|last| last.get_mut("tools"));
        if let Some(Value::Array(list)) = list {
            list.push(told);
        }
    }
    declared
}

fn begun(about: &Value) -> Value {
    let mut members = Map::new();
    members.insert("type".to_owned(), "namespace".into());
    members.extend(object(about.clone()));
    members.insert("tools".to_owned(), json!([]));
    Value::Object(members)
}

fn tool(tool: Tool, namespace: Option<&Value>, is_own: bool, losses: &mut Losses) -> Option<Value> {
    let inside = namespace.and_then(|about| text_of(about, "name"));
    let mut members = Map::new();
    let mut extra = match tool {
        Tool::Function {
            name,
            description,
            schema,
            strict,
            cache,
            extra,
        } => {
            losses.note_if(
                cache.is_some() && !is_own,
                "tools.cache_control",
                "OpenAI caches by itself",
            );
            members.insert("type".to_owned(), "function".into());
            members.insert("name".to_owned(), unflattened(&name, inside).into());
            set(&mut members, "description", description);
            let strict = crate::schema::held_to(strict, schema.as_ref(), &extra, losses);
            let schema = schema.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
            let schema = if is_own { schema } else { listing_members(schema) };
            members.insert("parameters".to_owned(), schema);
            set(&mut members, "strict", strict.or((!is_own).then_some(false)));
            extra
        }
        Tool::Custom {
            name,
            description,
            format,
            extra,
        } => {
            members.insert("type".to_owned(), "custom".into());
            members.insert("name".to_owned(), unflattened(&name, inside).into());
            set(&mut members, "description", description);
            set(&mut members, "format", format.map(flat_grammar));
            extra
        }
        Tool::Hosted(hosted) => return self::hosted(hosted, losses),
    };
    if extra.origin == Some(SELF) {
        extra.members.shift_remove("namespace");
    }
    put_back(&mut members, "tools", extra, losses);
    Some(Value::Object(members))
}

/// Chat has a grammar in an object of its own, Responses beside the type.
fn flat_grammar(format: Value) -> Value {
    match format.get("grammar") {
        Some(Value::Object(grammar)) => {
            let mut members = Map::new();
            members.insert("type".to_owned(), "grammar".into());
            members.extend(grammar.clone());
            Value::Object(members)
        }
        _ => format,
    }
}

fn hosted(hosted: Hosted, losses: &mut Losses) -> Option<Value> {
    if hosted.origin == SELF {
        return Some(hosted.native);
    }
    if let HostedKind::Mcp(server) = &hosted.kind {
        return mcp::declare(server, losses);
    }
    let name = hosted.lost_name();
    if !matches!(hosted.kind, HostedKind::Other | HostedKind::WebFetch) {
        for name in hosted.unsaid(&["search_context_size"]) {
            losses.note(format!("tools.{name}"), "OpenAI's tool has no such setting");
        }
    }
    match hosted.kind {
        HostedKind::WebSearch {
            max_uses,
            allowed_domains,
            blocked_domains,
            user_location,
        } => {
            let lacking = "the search of Responses has no such member";
            losses.note_if(max_uses.is_some(), "web_search.max_uses", lacking);
            losses.note_if(!blocked_domains.is_empty(), "web_search.blocked_domains", lacking);
            let mut members = Map::new();
            members.insert("type".to_owned(), "web_search".into());
            if !allowed_domains.is_empty() {
                members.insert("filters".to_owned(), json!({"allowed_domains": allowed_domains}));
            }
            set(&mut members, "user_location", user_location);
            let size = text_of(&hosted.native, "search_context_size");
            set(&mut members, "search_context_size", size);
            Some(Value::Object(members))
        }
        HostedKind::CodeExecution => Some(json!({"type": "code_interpreter", "container": {"type": "auto"}})),
        HostedKind::WebFetch => {
            losses.note("web_fetch", "Responses has no tool that reads addresses");
            None
        }
        HostedKind::Mcp(_) | HostedKind::Other => {
            losses.note(name, "only its own provider runs it");
            None
        }
    }
}

/// The choice.
pub(super) fn choice(choice: Option<ToolChoice>, declared: &Declared, losses: &mut Losses) -> Option<Value> {
    Some(match choice? {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => declared.named(&name),
        ToolChoice::Allowed { names, required } => {
            let tools: Vec<Value> = names.iter().map(|name| declared.named(name)).collect();
            let mode = if required { "required" } else { "auto" };
            json!({"type": "allowed_tools", "mode": mode, "tools": tools})
        }
        ToolChoice::Native { origin: SELF, value } => value,
        ToolChoice::Native { .. } => {
            losses.note("tool_choice", "only the format that it is of can say it");
            return None;
        }
    })
}
