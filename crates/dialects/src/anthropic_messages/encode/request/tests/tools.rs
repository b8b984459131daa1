//! Tools, the choice among them, and schemas: what Anthropic refuses in them is bent and noted.

use domain::Dialect;
use serde_json::{Value, json};

use super::{NEW, OLD, function, hello};
use crate::anthropic_messages::fixtures::told;
use crate::hub::{Hosted, HostedKind, OutputFormat, Request, Tool, ToolChoice};

#[test]
fn tools_have_object_schemas() {
    let request = Request {
        tools: vec![
            function("get_weather", Some(json!({"properties": {"city": {"type": "string"}}}))),
            function("nothing", None),
            Tool::Custom {
                name: "shell".to_owned(),
                description: Some("Runs.".to_owned()),
                format: None,
                extra: crate::hub::Extra::default(),
            },
        ],
        tool_choice: Some(ToolChoice::Named("get_weather".to_owned())),
        parallel_tools: Some(false),
        ..hello()
    };
    let (value, losses) = told(request, OLD, 0);
    assert_eq!(
        value["tools"],
        json!([
            {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
            {"name": "nothing", "input_schema": {"type": "object", "properties": {}}},
            {"name": "shell", "description": "Runs.", "input_schema": {
                "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"],
            }},
        ])
    );
    assert_eq!(
        value["tool_choice"],
        json!({"type": "tool", "name": "get_weather", "disable_parallel_tool_use": true})
    );
    assert_eq!(losses, ["custom tool"]);
}

#[test]
fn choices_are_told_or_made_by_leaving_tools_out() {
    let ask = |choice, parallel| {
        let request = Request {
            tools: vec![function("a", None), function("b", None)],
            tool_choice: choice,
            parallel_tools: parallel,
            ..hello()
        };
        let (value, losses) = told(request, OLD, 0);
        (
            value["tool_choice"].clone(),
            value["tools"].as_array().unwrap().len(),
            losses.len(),
        )
    };
    assert_eq!(
        ask(None, Some(false)).0,
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
    assert_eq!(ask(Some(ToolChoice::Required), None), (json!({"type": "any"}), 2, 0));
    assert_eq!(
        ask(Some(ToolChoice::None), Some(false)),
        (json!({"type": "none"}), 2, 0)
    );
    let allowed = ToolChoice::Allowed {
        names: vec!["a".to_owned()],
        required: true,
    };
    assert_eq!(ask(Some(allowed), None), (json!({"type": "tool", "name": "a"}), 1, 1));
    let foreign = ToolChoice::Native {
        origin: Dialect::Gemini,
        value: json!({}),
    };
    assert_eq!(ask(Some(foreign), None), (Value::Null, 2, 1));
    let none_left = Request {
        tool_choice: Some(ToolChoice::Required),
        ..hello()
    };
    let (value, losses) = told(none_left, OLD, 0);
    assert!(value.get("tool_choice").is_none());
    assert_eq!(losses, ["tool_choice"]);
}

#[test]
fn hosted_tools_take_the_version_that_the_model_has() {
    let ask = |kind: HostedKind, model: &str| {
        let request = Request {
            tools: vec![Tool::Hosted(Hosted {
                kind,
                origin: Dialect::OpenaiResponses,
                native: json!({}),
            })],
            ..hello()
        };
        let (value, losses) = told(request, model, 0);
        (value["tools"][0].clone(), losses.len())
    };
    let search = HostedKind::WebSearch {
        max_uses: Some(3),
        allowed_domains: vec!["a.example".to_owned()],
        blocked_domains: vec!["b.example".to_owned()],
        user_location: Some(json!({"type": "approximate", "country": "NZ"})),
    };
    assert_eq!(
        ask(search.clone(), OLD),
        (
            json!({
                "type": "web_search_20250305", "name": "web_search", "max_uses": 3,
                "allowed_domains": ["a.example"], "user_location": {"type": "approximate", "country": "NZ"},
            }),
            1
        )
    );
    assert_eq!(ask(search, NEW).0["type"], "web_search_20260318");
    assert_eq!(
        ask(HostedKind::CodeExecution, NEW).0,
        json!({"type": "code_execution_20260521", "name": "code_execution"})
    );
    assert_eq!(
        ask(HostedKind::WebFetch, NEW).0,
        json!({"type": "web_fetch_20260318", "name": "web_fetch", "allowed_callers": ["direct"]})
    );
    assert_eq!(ask(HostedKind::Other, NEW), (Value::Null, 1));
}

#[test]
fn schemas_of_answers_are_made_enforceable() {
    let request = Request {
        format: Some(OutputFormat::Schema {
            name: Some("dog".to_owned()),
            description: None,
            schema: json!({
                "type": "object",
                "properties": {
                    "age": {"type": "integer", "minimum": 0},
                    "minimum": {"type": "string"},
                    "toys": {"type": "array", "minItems": 2, "items": {"type": "object", "properties": {}}},
                },
            }),
            strict: Some(true),
        }),
        ..hello()
    };
    let (value, losses) = told(request, OLD, 0);
    assert_eq!(
        value["output_config"]["format"],
        json!({"type": "json_schema", "schema": {
            "type": "object",
            "properties": {
                "age": {"type": "integer"},
                "minimum": {"type": "string"},
                "toys": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "properties": {}, "additionalProperties": false,
                }},
            },
            "additionalProperties": false,
        }})
    );
    assert_eq!(losses, ["schema constraints", "schema constraints"]);
    let json_only = Request {
        format: Some(OutputFormat::Json),
        ..hello()
    };
    assert_eq!(told(json_only, OLD, 0).1, ["response_format"]);
}
