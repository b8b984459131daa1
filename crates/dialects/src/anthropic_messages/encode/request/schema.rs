//! JSON schemas that Anthropic takes.

use serde_json::{Map, Value, json};

use crate::hub::Losses;

/// Keywords that Anthropic refuses in schemas that it enforces
/// (<https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>).
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

/// Members that hold schemas by name.
const BY_NAME: [&str; 3] = ["properties", "$defs", "definitions"];

/// The schema of a tool's input: an object's, without alternatives at its top.
pub(super) fn for_input(schema: Option<Value>, losses: &mut Losses) -> Value {
    let mut members = match schema {
        None => return json!({"type": "object", "properties": {}}),
        Some(Value::Object(members)) => members,
        Some(_) => {
            losses.note("tool schema", "it is not an object; sent as a tool that takes anything");
            Map::new()
        }
    };
    for name in ["oneOf", "anyOf", "allOf"] {
        losses.note_if(
            members.shift_remove(name).is_some(),
            "tool schema",
            "Anthropic takes no alternatives (oneOf, anyOf, allOf) at its top; they were left out",
        );
    }
    if members.get("type").is_none_or(|kind| kind != "object") {
        let is_known = members.get("type").is_none_or(Value::is_array);
        losses.note_if(!is_known, "tool schema", "Anthropic takes objects only; told as one");
        let mut typed = Map::new();
        typed.insert("type".to_owned(), "object".into());
        members.shift_remove("type");
        typed.extend(members);
        members = typed;
    }
    members.into()
}

/// A schema that is enforced: objects are closed, and what cannot be enforced is left out.
pub(super) fn for_output(mut schema: Value, losses: &mut Losses) -> Value {
    enforceable(&mut schema, losses);
    schema
}

/// Recursion is bounded by the depth that the JSON reader allows.
fn enforceable(schema: &mut Value, losses: &mut Losses) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(|one| enforceable(one, losses)),
        Value::Object(members) => {
            for name in NOT_ENFORCED {
                losses.note_if(
                    members.shift_remove(name).is_some(),
                    "schema constraints",
                    "Anthropic does not enforce lengths, ranges and counts; they were left out",
                );
            }
            if members
                .get("minItems")
                .and_then(Value::as_u64)
                .is_some_and(|least| least > 1)
            {
                members.insert("minItems".to_owned(), 1.into());
                losses.note("schema constraints", "Anthropic enforces a minItems of 0 or 1 only");
            }
            close(members, losses);
            for (name, value) in members.iter_mut() {
                match value {
                    Value::Object(named) if BY_NAME.contains(&name.as_str()) => {
                        named.values_mut().for_each(|one| enforceable(one, losses));
                    }
                    // Values, not schemas.
                    _ if matches!(
                        name.as_str(),
                        "enum" | "const" | "default" | "examples" | "required" | "type"
                    ) => {}
                    other => enforceable(other, losses),
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
            "Anthropic enforces closed objects only",
        );
    }
}
