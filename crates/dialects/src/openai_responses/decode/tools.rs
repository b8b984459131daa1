//! What the model may use, and whether it must.

use serde_json::{Map, Value};

use super::super::names::{self, Names};
use super::super::{SELF, list_of, rest, text_of};
use super::mcp;
use crate::hub::{BadRequest, Extra, Fields, Hosted, HostedKind, Tool, ToolChoice};

/// Reads a declaration; a namespace is several tools.
pub(super) fn tool(value: Value, path: String) -> Result<Vec<Tool>, BadRequest> {
    match text_of(&value, "type") {
        Some("function") => Ok(vec![function(Fields::of(path, value)?, None)?]),
        Some("custom") => Ok(vec![custom(Fields::of(path, value)?, None)?]),
        Some("namespace") => namespace(Fields::of(path, value)?),
        Some(_) => Ok(vec![hosted(value)]),
        None => Err(BadRequest::new(
            format!("{path}.type"),
            "is missing; a string belongs here",
        )),
    }
}

fn namespace(mut fields: Fields) -> Result<Vec<Tool>, BadRequest> {
    fields.take("type");
    let name = fields.required_text("name")?;
    let inner = fields.objects("tools")?;
    let mut about = fields.into_map();
    about.insert("name".to_owned(), name.into());
    inner
        .into_iter()
        .map(|fields| match fields.peek_text("type") {
            Some("custom") => custom(fields, Some(&about)),
            _ => function(fields, Some(&about)),
        })
        .collect()
}

fn function(mut fields: Fields, namespace: Option<&Map<String, Value>>) -> Result<Tool, BadRequest> {
    fields.take("type");
    Ok(Tool::Function {
        name: name(&mut fields, namespace)?,
        description: fields.text("description")?,
        schema: fields.take("parameters"),
        strict: fields.flag("strict")?,
        cache: None,
        extra: extra(fields, namespace),
    })
}

fn custom(mut fields: Fields, namespace: Option<&Map<String, Value>>) -> Result<Tool, BadRequest> {
    fields.take("type");
    Ok(Tool::Custom {
        name: name(&mut fields, namespace)?,
        description: fields.text("description")?,
        format: fields.take("format"),
        extra: extra(fields, namespace),
    })
}

fn name(fields: &mut Fields, namespace: Option<&Map<String, Value>>) -> Result<String, BadRequest> {
    let name = fields.required_text("name")?;
    let namespace = namespace.and_then(|about| about.get("name")).and_then(Value::as_str);
    Ok(names::flat(namespace.unwrap_or_default(), &name))
}

/// What is left, and the namespace that the tool stands in.
fn extra(fields: Fields, namespace: Option<&Map<String, Value>>) -> Extra {
    let mut extra = rest(fields);
    if let Some(about) = namespace {
        extra.origin = Some(SELF);
        extra
            .members
            .insert("namespace".to_owned(), Value::Object(about.clone()));
    }
    extra
}

fn hosted(native: Value) -> Tool {
    let kind = match text_of(&native, "type").unwrap_or_default() {
        "code_interpreter" => HostedKind::CodeExecution,
        kind if kind.starts_with("web_search") => web_search(&native),
        "mcp" => mcp::server(&native).map_or(HostedKind::Other, HostedKind::Mcp),
        _ => HostedKind::Other,
    };
    Tool::Hosted(Hosted {
        kind,
        origin: SELF,
        native,
    })
}

fn web_search(native: &Value) -> HostedKind {
    let domains = |name: &str| {
        let filters = native.get("filters").unwrap_or(&Value::Null);
        let listed = list_of(filters, name).iter().filter_map(Value::as_str);
        listed.map(str::to_owned).collect()
    };
    HostedKind::WebSearch {
        max_uses: None,
        allowed_domains: domains("allowed_domains"),
        blocked_domains: domains("blocked_domains"),
        user_location: native.get("user_location").filter(|place| place.is_object()).cloned(),
    }
}

/// Reads the choice.
pub(super) fn choice(value: Value, names: &Names) -> ToolChoice {
    let called = |value: &Value| Some(names.unqualified(text_of(value, "name")?));
    let by_client = |value: &Value| matches!(text_of(value, "type"), Some("function" | "custom"));
    let understood = match &value {
        Value::String(word) => match word.as_str() {
            "auto" => Some(ToolChoice::Auto),
            "none" => Some(ToolChoice::None),
            "required" => Some(ToolChoice::Required),
            _ => None,
        },
        object if by_client(object) => called(object).map(ToolChoice::Named),
        object if text_of(object, "type") == Some("allowed_tools") => {
            let tools = list_of(object, "tools");
            let names: Option<Vec<String>> = tools
                .iter()
                .map(|tool| called(tool).filter(|_| by_client(tool)))
                .collect();
            names.map(|names| ToolChoice::Allowed {
                names,
                required: text_of(object, "mode") == Some("required"),
            })
        }
        _ => None,
    };
    understood.unwrap_or(ToolChoice::Native { origin: SELF, value })
}
