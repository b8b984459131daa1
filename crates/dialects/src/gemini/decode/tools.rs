//! What the model may use, and whether it must.

use domain::Dialect;
use serde_json::{Map, Value};

use super::{many, message};
use crate::gemini::schema;
use crate::hub::{BadRequest, Fields, Hosted, HostedKind, Request, Tool, ToolChoice};

/// Reads `tools`. One entry may declare functions and switch on several tools of Google's.
pub(super) fn list(fields: &mut Fields) -> Result<Vec<Tool>, BadRequest> {
    let mut tools = Vec::new();
    for mut entry in many(fields, "tools")? {
        for declaration in many(&mut entry, "functionDeclarations")? {
            tools.push(function(declaration)?);
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

fn domains(search: &Value) -> Vec<String> {
    ["excludeDomains", "exclude_domains"]
        .iter()
        .find_map(|name| search.get(name)?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|domain| domain.as_str().map(str::to_owned))
        .collect()
}

/// Reads `toolConfig`; what it says beyond our words is handed back.
pub(super) fn choice(mut fields: Fields, request: &mut Request) -> Result<Map<String, Value>, BadRequest> {
    let Some(mut config) = message(&mut fields, "functionCallingConfig")? else {
        return Ok(fields.into_map());
    };
    let mode = config.text("mode")?.map(|word| word.to_ascii_uppercase());
    let names = config.texts("allowedFunctionNames")?;
    let mut rest = config.into_map();
    request.tool_choice = match (mode.as_deref(), names.len()) {
        (None, 0) => None,
        (Some("NONE"), _) => Some(ToolChoice::None),
        (Some("ANY"), 0) => Some(ToolChoice::Required),
        (Some("ANY"), 1) => names.into_iter().next().map(ToolChoice::Named),
        (Some("ANY"), _) => Some(ToolChoice::Allowed { names, required: true }),
        (Some("VALIDATED"), 0) => {
            // As it likes, but in the schemas' shape: a wish that only Google knows.
            rest.insert("mode".to_owned(), "VALIDATED".into());
            Some(ToolChoice::Auto)
        }
        (Some("AUTO" | "MODE_UNSPECIFIED"), 0) => Some(ToolChoice::Auto),
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
