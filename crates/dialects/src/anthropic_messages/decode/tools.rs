//! Tools and the choice among them.

use serde_json::Value;

use super::OWN;
use super::blocks::{cache, rest};
use super::client_tools;
use crate::hub::{BadRequest, Fields, Hosted, HostedKind, Request, Tool, ToolChoice};

/// Takes `tools` and `tool_choice`.
pub(super) fn take(fields: &mut Fields, request: &mut Request) -> Result<(), BadRequest> {
    let path = fields.at("tools");
    for (place, value) in fields.list("tools")?.into_iter().enumerate() {
        request.tools.push(tool(format!("{path}[{place}]"), value)?);
    }
    if let Some(choice) = fields.take("tool_choice") {
        read_choice(fields.at("tool_choice"), choice, request)?;
    }
    Ok(())
}

fn tool(path: String, value: Value) -> Result<Tool, BadRequest> {
    if let Some(kind) = value["type"].as_str().filter(|kind| *kind != "custom") {
        let known = value
            .as_object()
            .and_then(|members| client_tools::published(kind, members));
        if let Some((about, schema)) = known {
            return run_by_client(Fields::of(path, value)?, about, schema);
        }
        let kind = hosted(kind, &value);
        return Ok(Tool::Hosted(Hosted {
            kind,
            origin: OWN,
            native: value,
        }));
    }
    let mut fields = Fields::of(path, value)?;
    fields.take("type");
    Ok(Tool::Function {
        name: fields.required_text("name")?,
        description: fields.text("description")?,
        schema: fields.take("input_schema"),
        strict: fields.flag("strict")?,
        cache: cache(&mut fields)?,
        extra: rest(fields),
    })
}

/// A tool that Anthropic defines and the client runs. Its type stays with it: for Anthropic it says all the rest.
fn run_by_client(mut fields: Fields, about: String, schema: Value) -> Result<Tool, BadRequest> {
    Ok(Tool::Function {
        name: fields.required_text("name")?,
        description: Some(about),
        schema: Some(schema),
        strict: fields.flag("strict")?,
        cache: cache(&mut fields)?,
        extra: rest(fields),
    })
}

/// What a tool does that Anthropic runs.
fn hosted(kind: &str, value: &Value) -> HostedKind {
    let domains = |name: &str| {
        let listed = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        listed.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if kind.starts_with("web_search_") {
        HostedKind::WebSearch {
            max_uses: value["max_uses"].as_u64(),
            allowed_domains: domains("allowed_domains"),
            blocked_domains: domains("blocked_domains"),
            user_location: value.get("user_location").filter(|place| place.is_object()).cloned(),
        }
    } else if kind.starts_with("code_execution_") {
        HostedKind::CodeExecution
    } else if kind.starts_with("web_fetch_") {
        HostedKind::WebFetch
    } else {
        HostedKind::Other
    }
}

fn read_choice(path: String, value: Value, request: &mut Request) -> Result<(), BadRequest> {
    let mut fields = Fields::of(path, value.clone())?;
    let choice = match fields.required_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(fields.required_text("name")?),
        _ => ToolChoice::Native { origin: OWN, value },
    };
    if !matches!(choice, ToolChoice::Native { .. }) {
        request.parallel_tools = fields.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    }
    request.tool_choice = Some(choice);
    Ok(())
}
