//! What the model may use, and whether it must.

use domain::{Dialect, Secret};
use serde_json::{Map, Value, json};

use super::{many, message};
use crate::gemini::schema;
use crate::hub::{BadRequest, Fields, Hosted, HostedKind, Mcp, Offer, Request, Tool, ToolChoice};

/// Reads `tools`. One entry may declare functions and switch on several tools of Google's.
pub(super) fn list(fields: &mut Fields) -> Result<Vec<Tool>, BadRequest> {
    let mut tools = Vec::new();
    for mut entry in many(fields, "tools")? {
        for declaration in many(&mut entry, "functionDeclarations")? {
            tools.push(function(declaration)?);
        }
        for server in many(&mut entry, "mcpServers")? {
            tools.push(Tool::Hosted(server_of(server)));
        }
        for (name, value) in entry.into_map() {
            if !value.is_null() {
                tools.push(Tool::Hosted(hosted(name, value)));
            }
        }
    }
    Ok(tools)
}

fn function(mut fields: Fields) -> Result<Tool, BadRequest> {
    let name = fields.required_text("name")?;
    let openapi = fields.take("parameters").map(schema::from_openapi);
    let plain = fields.take("parametersJsonSchema");
    Ok(Tool::Function {
        name,
        description: fields.text("description")?,
        schema: plain.or(openapi),
        strict: None,
        cache: None,
        extra: fields.rest(Dialect::Gemini),
    })
}

fn hosted(name: String, value: Value) -> Hosted {
    let kind = match name.as_str() {
        "googleSearch" | "googleSearchRetrieval" | "enterpriseWebSearch" => HostedKind::WebSearch {
            max_uses: None,
            allowed_domains: Vec::new(),
            blocked_domains: domains(&value),
            user_location: None,
        },
        "codeExecution" => HostedKind::CodeExecution,
        "urlContext" => HostedKind::WebFetch,
        _ => HostedKind::Other,
    };
    Hosted {
        kind,
        origin: Dialect::Gemini,
        native: Value::Object(Map::from_iter([(name, value)])),
    }
}

/// A remote (MCP) server: google-genai 3.6, `types.py` (`McpServer`, `StreamableHttpTransport`). All its tools may be called.
fn server_of(fields: Fields) -> Hosted {
    let native = Value::Object(fields.into_map());
    let transport = native.get("streamableHttpTransport").unwrap_or(&Value::Null);
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let headers = transport.get("headers").and_then(Value::as_object);
    let is_token = |name: &str| name.eq_ignore_ascii_case("authorization");
    let mut headers = headers.into_iter().flatten();
    let token = headers.clone().find_map(|(name, value)| {
        let token = value.as_str()?.strip_prefix("Bearer ")?;
        is_token(name).then(|| Secret::new(token.trim()))
    });
    let has_others = headers.any(|(name, _)| token.is_none() || !is_token(name));
    let settings = transport.as_object().into_iter().flatten();
    let settings = settings.filter(|(name, _)| !matches!(name.as_str(), "url" | "headers"));
    let mut unsaid: Vec<String> = settings.map(|(name, _)| name.clone()).collect();
    unsaid.extend(has_others.then(|| "headers".to_owned()));
    let known = text(&native, "name").zip(text(transport, "url"));
    let kind = known.map_or(HostedKind::Other, |(label, url)| {
        HostedKind::Mcp(Mcp {
            label,
            url,
            token,
            offer: Offer::All,
            unsaid,
        })
    });
    Hosted {
        kind,
        origin: Dialect::Gemini,
        native: json!({"mcpServers": [native]}),
    }
}

fn domains(search: &Value) -> Vec<String> {
    ["excludeDomains", "exclude_domains"]
        .iter()
        .find_map(|name| search.get(name)?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|domain| domain.as_str().map(str::to_owned))
        .collect()
}

/// As it likes, but in the schemas' shape: others say so of each function.
fn hold_to_schemas(tools: &mut [Tool]) {
    for tool in tools {
        if let Tool::Function { strict, .. } = tool {
            *strict = Some(true);
        }
    }
}

/// Reads `toolConfig`; what it says beyond our words is handed back.
pub(super) fn choice(mut fields: Fields, request: &mut Request) -> Result<Map<String, Value>, BadRequest> {
    let Some(mut config) = message(&mut fields, "functionCallingConfig")? else {
        return Ok(fields.into_map());
    };
    let mode = config.text("mode")?.map(|word| word.to_ascii_uppercase());
    let names = config.texts("allowedFunctionNames")?;
    let rest = config.into_map();
    if mode.as_deref() == Some("VALIDATED") {
        hold_to_schemas(&mut request.tools);
    }
    request.tool_choice = match (mode.as_deref(), names.len()) {
        (None, 0) => None,
        (Some("NONE"), _) => Some(ToolChoice::None),
        (Some("ANY"), 0) => Some(ToolChoice::Required),
        (Some("ANY"), 1) => names.into_iter().next().map(ToolChoice::Named),
        (Some("ANY"), _) => Some(ToolChoice::Allowed { names, required: true }),
        (Some("AUTO" | "MODE_UNSPECIFIED" | "VALIDATED"), 0) => Some(ToolChoice::Auto),
        (None | Some("AUTO" | "MODE_UNSPECIFIED" | "VALIDATED"), _) => {
            Some(ToolChoice::Allowed { names, required: false })
        }
        (Some(_), _) => {
            let path = fields.at("functionCallingConfig.mode");
            return Err(BadRequest::new(path, "expected AUTO, ANY, NONE or VALIDATED"));
        }
    };
    let mut members = fields.into_map();
    if !rest.is_empty() {
        members.insert("functionCallingConfig".to_owned(), Value::Object(rest));
    }
    Ok(members)
}
