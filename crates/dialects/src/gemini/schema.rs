//! Gemini's two ways of writing a schema, and JSON Schema as everybody else writes it.
//!
//! `parameters` and `responseSchema` are `OpenAPI` 3.0 in upper case, a closed message: one unknown member and the whole
//! request is refused. `parametersJsonSchema` and `responseJsonSchema` are free JSON; there Google reads `$id`, `$defs`,
//! `$ref`, `$anchor`, `type`, `format`, `title`, `description`, `enum` (of texts and numbers), `items`, `prefixItems`,
//! `minItems`, `maxItems`, `minimum`, `maximum`, `anyOf`, `oneOf` (as `anyOf`), `properties`, `additionalProperties`,
//! `required`, and passes over the rest (documentation of `GenerationConfig.responseJsonSchema`). So requests are always
//! written in the second form, and only what it reads differently is converted; what it passes over stays, since newer
//! models may read it. Beside a `$ref` it allows nothing that does not begin with `$`.

use serde_json::{Map, Value, json};

use crate::hub::Losses;

/// Members whose value is a schema.
const SCHEMAS: [&str; 7] = [
    "items",
    "additionalProperties",
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
];
/// Members whose value is a list of schemas.
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Members whose value has schemas by name.
const MAPS: [&str; 4] = ["properties", "$defs", "definitions", "patternProperties"];
/// Counts, which proto JSON may write in quotes.
const COUNTS: [&str; 6] = [
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
];

/// Lets `convert` change every schema directly inside `schema`.
fn inside(schema: &mut Map<String, Value>, mut convert: impl FnMut(&mut Value)) {
    for (name, value) in schema.iter_mut() {
        match value {
            Value::Object(members) if MAPS.contains(&name.as_str()) => members.values_mut().for_each(&mut convert),
            Value::Array(items) if LISTS.contains(&name.as_str()) => items.iter_mut().for_each(&mut convert),
            Value::Object(_) if SCHEMAS.contains(&name.as_str()) => convert(value),
            _ => {}
        }
    }
}

/// JSON Schema of what stands in `parameters` or `responseSchema`.
pub(crate) fn from_openapi(mut schema: Value) -> Value {
    read(&mut schema);
    schema
}

fn read(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    *members = std::mem::take(members)
        .into_iter()
        .map(|(name, value)| (json_schema_name(&name), value))
        .collect();
    inside(members, read);
    lower_types(members);
    for name in COUNTS {
        if let Some(count) = members.get_mut(name)
            && let Some(number) = count.as_str().and_then(|text| text.parse::<u64>().ok())
        {
            *count = number.into();
        }
    }
    if let Some(Value::String(target)) = members.get_mut("$ref") {
        *target = target.replacen("#/defs/", "#/$defs/", 1);
    }
    if let Some(example) = members.shift_remove("example") {
        members.insert("examples".to_owned(), json!([example]));
    }
    if let Some(Value::Array(order)) = members.shift_remove("propertyOrdering") {
        reorder(members, &order);
    }
    if members.shift_remove("nullable") == Some(Value::Bool(true)) {
        allow_null(schema);
    }
}

/// The name in JSON Schema, whose own names have no underscores.
fn json_schema_name(name: &str) -> String {
    match name {
        "ref" => "$ref".to_owned(),
        "defs" => "$defs".to_owned(),
        _ => super::decode::camel(name),
    }
}

fn lower_types(members: &mut Map<String, Value>) {
    match members.get_mut("type") {
        Some(Value::String(name)) if name == "TYPE_UNSPECIFIED" => {
            members.shift_remove("type");
        }
        Some(Value::String(name)) => name.make_ascii_lowercase(),
        Some(Value::Array(names)) => {
            for name in names {
                if let Value::String(name) = name {
                    name.make_ascii_lowercase();
                }
            }
        }
        _ => {}
    }
}

/// The order of properties is the order in which they stand.
fn reorder(members: &mut Map<String, Value>, order: &[Value]) {
    let Some(Value::Object(properties)) = members.get_mut("properties") else {
        return;
    };
    let mut rest = std::mem::take(properties);
    for name in order.iter().filter_map(Value::as_str) {
        if let Some((name, property)) = rest.shift_remove_entry(name) {
            properties.insert(name, property);
        }
    }
    properties.extend(rest);
}

fn allow_null(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::Array(values)) = members.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    match members.get_mut("type") {
        Some(kind @ Value::String(_)) => *kind = json!([kind.take(), "null"]),
        Some(_) => {}
        None => {
            let value = std::mem::take(members);
            members.insert("anyOf".to_owned(), json!([value, {"type": "null"}]));
        }
    }
}

/// What stands in `parametersJsonSchema` or `responseJsonSchema` for a JSON Schema.
pub(crate) fn to_gemini(mut schema: Value, losses: &mut Losses) -> Value {
    if let Value::Object(members) = &mut schema {
        members.shift_remove("$schema");
    }
    write(&mut schema, losses);
    schema
}

fn write(schema: &mut Value, losses: &mut Losses) {
    let Value::Object(members) = schema else { return };
    inside(members, |inner| write(inner, losses));
    if let Some(definitions) = members.shift_remove("definitions") {
        members.entry("$defs").or_insert(definitions);
    }
    if let Some(Value::String(target)) = members.get_mut("$ref") {
        *target = target.replacen("#/definitions/", "#/$defs/", 1);
    }
    if let Some(constant) = members.shift_remove("const") {
        members.insert("enum".to_owned(), json!([constant]));
    }
    inclusive(members, "exclusiveMinimum", "minimum", 1);
    inclusive(members, "exclusiveMaximum", "maximum", -1);
    merge_all(members, losses);
    only_plain_values(members, losses);
    if members.contains_key("$ref") && members.keys().any(|name| !name.starts_with('$')) {
        let target = members.shift_remove("$ref").unwrap_or_default();
        let any = members.entry("anyOf").or_insert_with(|| json!([]));
        // With alternatives of its own beside the reference, both would have to hold, which has no word here.
        if any.as_array().is_some_and(Vec::is_empty) {
            *any = json!([{"$ref": target}]);
        } else {
            losses.note("schema.$ref", "Gemini allows no alternatives beside a reference");
        }
    }
}

/// For whole numbers an exclusive bound is an inclusive one, one further in.
fn inclusive(members: &mut Map<String, Value>, exclusive: &str, name: &str, step: i64) {
    if members.get("type").and_then(Value::as_str) == Some("integer")
        && !members.contains_key(name)
        && let Some(bound) = members
            .get(exclusive)
            .and_then(Value::as_i64)
            .and_then(|bound| bound.checked_add(step))
    {
        members.shift_remove(exclusive);
        members.insert(name.to_owned(), bound.into());
    }
}

/// `allOf` is not read; of one schema it means just that schema.
fn merge_all(members: &mut Map<String, Value>, losses: &mut Losses) {
    match members.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        None => {}
        Some([Value::Object(only)]) if only.keys().all(|name| !members.contains_key(name)) => {
            let only = only.clone();
            members.shift_remove("allOf");
            members.extend(only);
        }
        Some(_) => losses.note("schema.allOf", "Gemini does not read it; it is sent as it is"),
    }
}

/// Of the values of an `enum` Gemini reads texts and numbers; null is a type of its own, and a truth value may be either.
fn only_plain_values(members: &mut Map<String, Value>, losses: &mut Losses) {
    let Some(Value::Array(values)) = members.get_mut("enum") else {
        return;
    };
    if values.iter().all(|value| value.is_string() || value.is_number()) {
        return;
    }
    let before = values.len();
    values.retain(|value| !value.is_null());
    let had_null = values.len() < before;
    if values.iter().any(|value| !value.is_string() && !value.is_number()) {
        losses.note(
            "schema.enum",
            "Gemini reads only texts and numbers as values; it is left out",
        );
        members.shift_remove("enum");
        return;
    }
    if values.is_empty() {
        members.shift_remove("enum");
        members.insert("type".to_owned(), "null".into());
    } else if had_null && !members.contains_key("anyOf") {
        let mut value = Map::new();
        for name in ["type", "format", "enum"] {
            value.extend(members.shift_remove_entry(name));
        }
        if let Some(Value::Array(names)) = value.get_mut("type") {
            names.retain(|name| name != "null");
        }
        members.insert("anyOf".to_owned(), json!([value, {"type": "null"}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_becomes_json_schema() {
        let openapi = json!({"type": "OBJECT", "property_ordering": ["b", "a"], "properties": {
            "a": {"type": "ARRAY", "min_items": "2", "items": {"type": "INTEGER", "format": "int32"}},
            "b": {"any_of": [{"type": "STRING", "enum": ["x"]}, {"type": "NULL"}]},
            "nullable_thing": {"type": "STRING", "nullable": true, "enum": ["u", "v"], "example": "u"},
            "anything": {"nullable": true},
        }, "required": ["a"]});
        let expected = json!({"type": "object", "properties": {
            "b": {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "null"}]},
            "a": {"type": "array", "minItems": 2, "items": {"type": "integer", "format": "int32"}},
            "nullable_thing": {"type": ["string", "null"], "enum": ["u", "v", null], "examples": ["u"]},
            "anything": {"anyOf": [{}, {"type": "null"}]},
        }, "required": ["a"]});
        let read = from_openapi(openapi);
        assert_eq!(read, expected);
        assert_eq!(
            read["properties"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["b", "a", "nullable_thing", "anything"]
        );
    }

    #[test]
    fn only_schemas_are_converted() {
        let openapi = json!({"type": ["STRING", "NULL"], "default": {"type": "STRING", "max_items": "1"}});
        let expected = json!({"type": ["string", "null"], "default": {"type": "STRING", "max_items": "1"}});
        assert_eq!(from_openapi(openapi), expected);
    }

    #[test]
    fn names_of_properties_are_not_keywords() {
        let schema =
            json!({"type": "object", "properties": {"const": {"type": "string"}, "any_of": {"type": "string"}}});
        let mut losses = Losses::default();
        assert_eq!(to_gemini(schema.clone(), &mut losses), schema);
        assert_eq!(from_openapi(schema.clone()), schema);
        assert!(losses.as_slice().is_empty());
    }

    #[test]
    fn what_gemini_reads_differently_is_converted() {
        let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "definitions": {"D": {"type": "string"}}, "properties": {
            "kind": {"const": "cat"},
            "count": {"type": "integer", "exclusiveMinimum": 0},
            "ratio": {"type": "number", "exclusiveMinimum": 0},
            "d": {"$ref": "#/definitions/D", "description": "which"},
            "e": {"$ref": "#/definitions/D"},
            "one": {"allOf": [{"$ref": "#/definitions/D"}], "description": "x"},
            "maybe": {"type": ["string", "null"], "enum": ["a", null], "description": "y"},
            "flag": {"type": "boolean", "const": true},
        }});
        let expected = json!({"type": "object", "properties": {
            "kind": {"enum": ["cat"]},
            "count": {"type": "integer", "minimum": 1},
            "ratio": {"type": "number", "exclusiveMinimum": 0},
            "d": {"description": "which", "anyOf": [{"$ref": "#/$defs/D"}]},
            "e": {"$ref": "#/$defs/D"},
            "one": {"description": "x", "anyOf": [{"$ref": "#/$defs/D"}]},
            "maybe": {"description": "y", "anyOf": [{"type": ["string"], "enum": ["a"]}, {"type": "null"}]},
            "flag": {"type": "boolean"},
        }, "$defs": {"D": {"type": "string"}}});
        let mut losses = Losses::default();
        assert_eq!(to_gemini(schema, &mut losses), expected);
        assert_eq!(losses.as_slice().len(), 1, "{losses:?}");
    }
}
