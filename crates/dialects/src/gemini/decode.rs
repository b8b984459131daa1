//! From Gemini's JSON to the hub.
//!
//! It is the JSON of protocol buffers: every field is read in `camelCase` and in `snake_case`, a list of one may be written
//! without its brackets, whole numbers may stand in quotes. Only fields of messages are renamed; arguments of functions,
//! what functions said and schemas are the client's own.

use serde_json::{Map, Value};

use crate::hub::{BadRequest, Fields};

mod answer;
mod config;
mod grounding;
mod part;
mod partial;
mod request;
mod stream;
mod tools;

pub(crate) use answer::answer;
pub(crate) use request::request;
pub(crate) use stream::StreamDecoder;

/// A field's name in `camelCase`.
pub(crate) fn camel(name: &str) -> String {
    let mut upper = false;
    name.chars()
        .filter_map(|letter| {
            if letter == '_' {
                upper = true;
                return None;
            }
            let letter = if upper { letter.to_ascii_uppercase() } else { letter };
            upper = false;
            Some(letter)
        })
        .collect()
}

/// The fields of a message, under their names in `camelCase`.
fn proto(fields: Fields) -> Fields {
    let path = fields.path().to_owned();
    Fields::of_map(path, camel_members(fields.into_map()))
}

fn camel_members(members: Map<String, Value>) -> Map<String, Value> {
    if members.keys().all(|name| !name.contains('_')) {
        return members;
    }
    let mut renamed = Map::with_capacity(members.len());
    for (name, value) in members {
        // Of a field that is there under both names the first one counts.
        renamed.entry(camel(&name)).or_insert(value);
    }
    renamed
}

/// Takes a repeated message; one alone is a list of one.
fn many(fields: &mut Fields, name: &str) -> Result<Vec<Fields>, BadRequest> {
    let path = fields.at(name);
    let items = match fields.take(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(one @ Value::Object(_)) => vec![one],
        Some(_) => return Err(fields.error(name, "expected a list of objects")),
    };
    items
        .into_iter()
        .enumerate()
        .map(|(place, value)| Ok(proto(Fields::of(format!("{path}[{place}]"), value)?)))
        .collect()
}

/// Takes a message.
fn message(fields: &mut Fields, name: &str) -> Result<Option<Fields>, BadRequest> {
    Ok(fields.object(name)?.map(proto))
}
