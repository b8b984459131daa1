//! JSON schemas of tools that Anthropic takes.

use serde_json::{Map, Value, json};

use crate::hub::Losses;

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
