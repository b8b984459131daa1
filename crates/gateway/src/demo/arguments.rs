//! Makes up a value that conforms to a JSON Schema, for the arguments of a tool call and for structured output.
//!
//! A newcomer's tool validates what it is called with, so "some JSON" would not do: required members must be there, with
//! the right type, within their bounds. Optional ones are left out. It is no validator and no solver: `pattern`, `not`
//! and conditions are not understood. Schemas come from callers, hence the limits on depth and size.

use serde_json::{Map, Value, json};

/// Levels of the value: a schema may refer to itself, and every level takes stack.
const DEPTH_MAX: u32 = 32;

/// Bytes made up for one schema, roughly: `minItems` within `minItems`, or a long `const` in every item, would otherwise
/// decide how much we hold.
const BYTES_MAX: usize = 32 * 1024;

/// What a value costs beside its text.
const VALUE_BYTES: usize = 16;

/// Characters that `minLength` can ask for.
const LENGTH_MAX: u64 = 256;

/// A text that says where it comes from.
const WORD: &str = "demo";

/// Arguments for a tool: always an object.
pub(crate) fn for_schema(schema: Option<&Value>) -> Value {
    schema
        .map(example)
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({}))
}

/// A value that conforms to `schema`.
pub(crate) fn example(schema: &Value) -> Value {
    Maker {
        root: schema,
        left: BYTES_MAX,
    }
    .make(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    /// Bytes that may still be made up.
    left: usize,
}

impl<'a> Maker<'a> {
    fn make(&mut self, schema: &'a Value, depth: u32) -> Value {
        if depth > DEPTH_MAX || !self.spend(VALUE_BYTES) {
            return Value::Null;
        }
        if let Some(fixed) = fixed(schema) {
            return if self.spend(fixed.to_string().len()) {
                fixed.clone()
            } else {
                Value::Null
            };
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return self
                .referred(target)
                .map_or(Value::Null, |schema| self.make(schema, depth + 1));
        }
        if let Some(variant) = variant(schema) {
            return self.make(variant, depth + 1);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "integer" => integer(schema),
            "number" => number(schema),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => string(schema),
        }
    }

    /// Takes `bytes` from what is left. Whoever asks for too much ends it for all, so that nothing is tried twice.
    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn referred(&self, target: &str) -> Option<&'a Value> {
        self.root.pointer(target.strip_prefix('#')?)
    }

    /// The required members; those of every part of an `allOf` together.
    fn object(&mut self, schema: &'a Value, depth: u32) -> Value {
        let mut made = Map::new();
        for part in array_of(schema, "allOf") {
            if let Value::Object(members) = self.make(part, depth + 1) {
                made.extend(members);
            }
        }
        for name in array_of(schema, "required").iter().filter_map(Value::as_str) {
            if !self.spend(name.len()) {
                break;
            }
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            if property.is_none() && made.contains_key(name) {
                continue;
            }
            let value = self.maybe(property, depth);
            made.insert(name.to_owned(), value);
        }
        Value::Object(made)
    }

    /// One item, or as many as there must be.
    fn array(&mut self, schema: &'a Value, depth: u32) -> Value {
        let first = array_of(schema, "prefixItems");
        let least = whole(schema, "minItems").unwrap_or(1).max(first.len() as u64);
        let most = whole(schema, "maxItems").unwrap_or(u64::MAX);
        let mut made = Vec::new();
        while (made.len() as u64) < least.min(most) && self.left > 0 {
            let item = first.get(made.len()).or_else(|| schema.get("items"));
            made.push(self.maybe(item, depth));
        }
        Value::Array(made)
    }

    /// A value for what may have no schema.
    fn maybe(&mut self, schema: Option<&'a Value>, depth: u32) -> Value {
        match schema {
            Some(schema) => self.make(schema, depth + 1),
            None if self.spend(VALUE_BYTES) => json!(WORD),
            None => Value::Null,
        }
    }
}

/// A value that the schema itself names.
fn fixed(schema: &Value) -> Option<&Value> {
    let first = |name| array_of(schema, name).first();
    let named = schema
        .get("const")
        .or_else(|| first("enum"))
        .or_else(|| schema.get("default"));
    named.or_else(|| first("examples")).or_else(|| schema.get("example"))
}

/// The schema that stands for this one: the only part of an `allOf`, or the first alternative that is not `null`.
fn variant(schema: &Value) -> Option<&Value> {
    if let ([only], None) = (array_of(schema, "allOf"), schema.get("properties")) {
        return Some(only);
    }
    let any_of = array_of(schema, "anyOf");
    let variants = if any_of.is_empty() {
        array_of(schema, "oneOf")
    } else {
        any_of
    };
    variants
        .iter()
        .find(|variant| kind(variant) != "null")
        .or_else(|| variants.first())
}

/// The type, in lower case (Gemini writes `STRING`); guessed from what else is there if it is not said.
fn kind(schema: &Value) -> &'static str {
    let named = match schema.get("type") {
        Some(Value::Array(types)) => types
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .or(Some("null")),
        Some(Value::String(name)) => Some(name.as_str()),
        _ => None,
    };
    let known = ["object", "array", "integer", "number", "boolean", "null", "string"];
    if let Some(name) = named {
        return known
            .into_iter()
            .find(|kind| name.eq_ignore_ascii_case(kind))
            .unwrap_or("string");
    }
    let has = |name: &str| schema.get(name).is_some();
    match schema {
        _ if has("properties") || has("required") || has("allOf") => "object",
        _ if has("items") || has("prefixItems") => "array",
        _ if has("minimum") || has("maximum") => "number",
        _ => "string",
    }
}

fn string(schema: &Value) -> Value {
    let text = match schema.get("format").and_then(Value::as_str).unwrap_or_default() {
        "date-time" => "2026-01-02T03:04:05Z",
        "date" => "2026-01-02",
        "time" => "03:04:05Z",
        "duration" => "PT1H",
        "email" => "demo@example.com",
        "hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" | "url" => "https://example.com/",
        "uuid" => "01890000-0000-7000-8000-000000000000",
        _ => return Value::String(sized_word(schema)),
    };
    json!(text)
}

fn sized_word(schema: &Value) -> String {
    let least = whole(schema, "minLength").unwrap_or(0).min(LENGTH_MAX);
    let most = whole(schema, "maxLength").unwrap_or(u64::MAX);
    let length = (WORD.len() as u64).max(least).min(most) as usize;
    WORD.chars().cycle().take(length).collect()
}

fn integer(schema: &Value) -> Value {
    json!(within(schema, 1.0).ceil() as i64)
}

fn number(schema: &Value) -> Value {
    json!(within(schema, 0.5))
}

/// A number near 1 that is within the schema's bounds and, if it says so, a multiple of something. `step` is how far
/// an exclusive bound is kept away from.
fn within(schema: &Value, step: f64) -> f64 {
    let (low, high) = (lower(schema, step), upper(schema, step));
    let wanted = 1.0_f64.max(low).min(high);
    match real(schema, "multipleOf") {
        Some(unit) if unit > 0.0 => {
            let above = (wanted / unit).ceil() * unit;
            if above <= high {
                above
            } else {
                (wanted / unit).floor() * unit
            }
        }
        _ => wanted,
    }
}

fn lower(schema: &Value, step: f64) -> f64 {
    let bound = real(schema, "minimum").unwrap_or(f64::NEG_INFINITY);
    match schema.get("exclusiveMinimum") {
        // Draft 4 has a flag beside `minimum`, later drafts a number.
        Some(Value::Bool(true)) => bound + step,
        _ => real(schema, "exclusiveMinimum").map_or(bound, |exclusive| bound.max(exclusive + step)),
    }
}

fn upper(schema: &Value, step: f64) -> f64 {
    let bound = real(schema, "maximum").unwrap_or(f64::INFINITY);
    match schema.get("exclusiveMaximum") {
        Some(Value::Bool(true)) => bound - step,
        _ => real(schema, "exclusiveMaximum").map_or(bound, |exclusive| bound.min(exclusive - step)),
    }
}

fn real(schema: &Value, name: &str) -> Option<f64> {
    schema.get(name)?.as_f64()
}

/// A whole number; Gemini writes 64-bit ones as strings.
fn whole(schema: &Value, name: &str) -> Option<u64> {
    let value = schema.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn array_of<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn makes(schema: &Value, expected: &Value) {
        assert_eq!(example(schema), *expected, "{schema}");
    }

    #[test]
    fn required_members_only_with_their_types() {
        makes(
            &json!({
                "type": "object",
                "properties": {
                    "city": {"type": "string"}, "days": {"type": "integer"}, "ratio": {"type": "number"},
                    "exact": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
                    "unit": {"enum": ["celsius", "kelvin"]}, "left_out": {"type": "string"},
                    "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]},
                },
                "required": ["city", "days", "ratio", "exact", "tags", "unit", "where", "undescribed"],
            }),
            &json!({
                "city": "demo", "days": 1, "ratio": 1.0, "exact": true, "tags": ["demo"], "unit": "celsius",
                "where": {"lat": 1.0}, "undescribed": "demo",
            }),
        );
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        makes(&json!({"type": "integer", "minimum": 5}), &json!(5));
        makes(&json!({"type": "integer", "exclusiveMinimum": 5}), &json!(6));
        makes(
            &json!({"type": "integer", "minimum": 5, "exclusiveMinimum": true}),
            &json!(6),
        );
        makes(&json!({"type": "integer", "maximum": -3}), &json!(-3));
        makes(&json!({"type": "integer", "exclusiveMaximum": 0}), &json!(-1));
        makes(&json!({"type": "integer", "minimum": 11, "multipleOf": 5}), &json!(15));
        makes(&json!({"type": "integer", "maximum": 0, "multipleOf": 5}), &json!(0));
        makes(&json!({"type": "number", "minimum": 0, "maximum": 0.5}), &json!(0.5));
        makes(&json!({"type": "number", "exclusiveMinimum": 1}), &json!(1.5));
    }

    #[test]
    fn texts_keep_their_length_and_format() {
        makes(&json!({"type": "string", "minLength": 6}), &json!("demode"));
        makes(&json!({"type": "string", "maxLength": 2}), &json!("de"));
        makes(&json!({"type": "string", "format": "date"}), &json!("2026-01-02"));
        let email = example(&json!({"type": "string", "format": "email"}));
        assert!(email.as_str().unwrap().contains('@'));
    }

    #[test]
    fn references_alternatives_and_parts_are_followed() {
        makes(
            &json!({
                "$defs": {"place": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
                "type": "object", "required": ["at"], "properties": {"at": {"$ref": "#/$defs/place"}},
            }),
            &json!({"at": {"name": "demo"}}),
        );
        makes(&json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]}), &json!(true));
        makes(&json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}), &json!(1));
        makes(&json!({"type": ["null", "string"]}), &json!("demo"));
        makes(
            &json!({"allOf": [{"enum": ["red"]}], "description": "As older pydantic writes it."}),
            &json!("red"),
        );
        makes(
            &json!({"allOf": [
                {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"const": 7}}, "required": ["b"]},
            ]}),
            &json!({"a": 1, "b": 7}),
        );
    }

    #[test]
    fn the_schemas_of_gemini_are_understood() {
        makes(
            &json!({
                "type": "OBJECT",
                "properties": {"n": {"type": "INTEGER"}, "l": {"type": "ARRAY", "minItems": "2", "items": {"type": "STRING"}}},
                "required": ["n", "l"],
            }),
            &json!({"n": 1, "l": ["demo", "demo"]}),
        );
    }

    #[test]
    fn hostile_schemas_end() {
        let itself = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert_eq!(
            example(&itself).to_string().matches("next").count(),
            DEPTH_MAX as usize / 2 + 1
        );
        let long = "x".repeat(BYTES_MAX / 4);
        let word = json!({"type": "string", "minLength": u64::MAX});
        let names: Vec<String> = (0..10_000).map(|name| name.to_string()).collect();
        for item in [
            word,
            json!({"const": long}),
            json!({"required": [long]}),
            json!({"required": names}),
            json!({}),
        ] {
            let mut wide = item;
            for _ in 0..20 {
                wide = json!({"type": "array", "minItems": u64::MAX, "items": wide});
            }
            assert!(example(&wide).to_string().len() < BYTES_MAX * 20);
        }
        makes(&json!({"$ref": "#/nowhere"}), &Value::Null);
        makes(&json!({"type": "array", "maxItems": 0, "items": {}}), &json!([]));
    }

    #[test]
    fn arguments_are_always_an_object() {
        assert_eq!(for_schema(None), json!({}));
        assert_eq!(for_schema(Some(&json!({"type": "string"}))), json!({}));
        assert_eq!(for_schema(Some(&Value::Null)), json!({}));
        assert_eq!(
            for_schema(Some(&json!({"type": "object", "properties": {}}))),
            json!({})
        );
    }
}
