//! JSON schemas, cut to what a kind of target takes.
//!
//! A schema that its target cannot keep to is answered with an error, although the client meant something that could be
//! answered: what is left out is noted instead. Gemini's dialect of schemas is in its own folder.

use domain::Dialect;
use serde_json::{Map, Value, json};

use crate::hub::{Extra, Losses};

/// Keywords that are refused in schemas that Claude is held to, by Anthropic
/// (<https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>) and by Bedrock
/// (<https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>).
const NOT_ENFORCED: [&str; 15] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "patternProperties",
];

/// Notes what a schema of an answer loses at OpenAI, where one without `strict` is a wish: Anthropic and Gemini hold the
/// model to it. It is not made strict by us, since `strict` takes a narrower kind of schema (all members required, objects
/// closed: <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>) and would refuse the rest.
pub(crate) fn note_unenforced(strict: Option<bool>, origin: Option<Dialect>, losses: &mut Losses) {
    let was_enforced = matches!(origin, Some(Dialect::AnthropicMessages | Dialect::Gemini));
    losses.note_if(
        was_enforced && strict != Some(true),
        "output schema",
        "the target follows it without being held to it: that wants `strict` and a narrower schema",
    );
}

/// Whether OpenAI takes a function's schema as strict: all objects closed, and all their members required (the same page). Google's
/// clients, whose format holds the model to wider ones, are not refused for it.
pub(crate) fn held_to(
    strict: Option<bool>,
    schema: Option<&Value>,
    extra: &Extra,
    losses: &mut Losses,
) -> Option<bool> {
    let is_narrow = schema.is_none_or(is_narrow) || extra.origin != Some(Dialect::Gemini);
    losses.note_if(
        strict == Some(true) && !is_narrow,
        "tools.strict",
        "OpenAI's models are held to schemas only of which all objects are closed and all members required",
    );
    strict.filter(|_| is_narrow)
}

fn is_narrow(schema: &Value) -> bool {
    match schema {
        Value::Array(schemas) => schemas.iter().all(is_narrow),
        Value::Object(members) => {
            let named = members.get("properties").and_then(Value::as_object);
            let required = members.get("required").and_then(Value::as_array);
            let is_required = |name: &String| required.is_some_and(|list| list.iter().any(|known| known == name));
            let is_closed = members.get("additionalProperties") == Some(&Value::Bool(false));
            let is_object = named.is_some() || members.get("type").is_some_and(|kind| kind == "object");
            let is_fine = !is_object || (is_closed && named.is_none_or(|named| named.keys().all(is_required)));
            is_fine
                && members.iter().all(|(name, value)| match value {
                    Value::Object(named) if BY_NAME.contains(&name.as_str()) => named.values().all(is_narrow),
                    other => name == "enum" || name == "const" || is_narrow(other),
                })
        }
        _ => true,
    }
}

/// Members that hold schemas by name.
const BY_NAME: [&str; 3] = ["properties", "$defs", "definitions"];

/// A schema that Claude can be held to: objects are closed, and what cannot be enforced is left out.
pub(crate) fn enforceable(mut schema: Value, losses: &mut Losses) -> Value {
    narrow(&mut schema, losses);
    schema
}

/// Recursion is bounded by the depth that the JSON reader allows.
fn narrow(schema: &mut Value, losses: &mut Losses) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(|one| narrow(one, losses)),
        Value::Object(members) => {
            for name in NOT_ENFORCED {
                losses.note_if(
                    members.shift_remove(name).is_some(),
                    "schema constraints",
                    "the target does not enforce lengths, ranges and counts; they were left out",
                );
            }
            if members
                .get("minItems")
                .and_then(Value::as_u64)
                .is_some_and(|least| least > 1)
            {
                members.insert("minItems".to_owned(), 1.into());
                losses.note("schema constraints", "the target enforces a minItems of 0 or 1 only");
            }
            close(members, losses);
            for (name, value) in members.iter_mut() {
                match value {
                    Value::Object(named) if BY_NAME.contains(&name.as_str()) => {
                        named.values_mut().for_each(|one| narrow(one, losses));
                    }
                    // Values, not schemas.
                    _ if matches!(
                        name.as_str(),
                        "enum" | "const" | "default" | "examples" | "required" | "type"
                    ) => {}
                    other => narrow(other, losses),
                }
            }
        }
        _ => {}
    }
}

/// Objects must say that they have no other members.
fn close(members: &mut Map<String, Value>, losses: &mut Losses) {
    let is_object = match members.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => members.contains_key("properties"),
    };
    if is_object && members.get("additionalProperties") != Some(&Value::Bool(false)) {
        let was_open = members.insert("additionalProperties".to_owned(), false.into());
        losses.note_if(
            was_open.is_some(),
            "schema additionalProperties",
            "the target enforces closed objects only",
        );
    }
}

/// The schema of a function's arguments as OpenAI takes it: an object that lists its members, even where it has none
/// ("object schema missing properties": <https://github.com/containers/kubernetes-mcp-server/issues/340>).
pub(crate) fn listing_members(schema: Value) -> Value {
    let Value::Object(mut members) = schema else {
        return schema;
    };
    let is_object = members.get("type").is_none_or(|kind| kind == "object");
    let has_members = ["properties", "$ref", "anyOf", "oneOf", "allOf"]
        .iter()
        .any(|name| members.contains_key(*name));
    if is_object && !has_members {
        members.entry("type").or_insert_with(|| "object".into());
        members.insert("properties".to_owned(), json!({}));
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_functions_are_strict_at_openai_only_with_narrow_schemas() {
        let held = |origin, schema: Value| {
            let extra = Extra {
                origin: Some(origin),
                ..Extra::default()
            };
            let mut losses = Losses::default();
            let strict = held_to(Some(true), Some(&schema), &extra, &mut losses);
            (strict, losses.into_vec().len())
        };
        let closed = |required: Value| {
            json!({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}, "required": required,
                "additionalProperties": false})
        };
        let google = Dialect::Gemini;
        assert_eq!(held(google, closed(json!(["a"]))), (Some(true), 0));
        assert_eq!(held(google, closed(json!([]))), (None, 1));
        let inside = json!({"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"],
            "additionalProperties": false});
        assert_eq!(held(google, inside), (None, 1));
        assert_eq!(held(Dialect::OpenaiChat, json!({"type": "object"})), (Some(true), 0));
    }

    #[test]
    fn an_object_without_members_says_so() {
        let listed = |schema| listing_members(schema);
        let empty = json!({"type": "object", "properties": {}});
        assert_eq!(listed(json!({"type": "object"})), empty);
        assert_eq!(listed(json!({})), empty);
        let open = json!({"type": "object", "additionalProperties": true});
        assert_eq!(listed(open)["properties"], json!({}));
        for other in [
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}),
            json!({"type": "object", "properties": {"a": {}}}),
            json!(true),
        ] {
            assert_eq!(listed(other.clone()), other);
        }
    }

    #[test]
    fn what_cannot_be_enforced_is_left_out_at_any_depth() {
        let mut losses = Losses::default();
        let schema = json!({"type": "object", "properties": {
            "minLength": {"type": "string", "minLength": 2},
            "list": {"type": "array", "minItems": 3, "items": {"type": "object", "properties": {}}},
        }});
        let expected = json!({"type": "object", "properties": {
            "minLength": {"type": "string"},
            "list": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {}, "additionalProperties": false}},
        }, "additionalProperties": false});
        assert_eq!(enforceable(schema, &mut losses), expected);
        assert_eq!(losses.as_slice().len(), 2);
    }
}
