//! From the hub to Gemini's JSON.
//!
//! What another family alone can say is noted as lost; what Gemini's own decoder had no word for is put back where it
//! stood. Field names are in `camelCase`, as Google writes them.

use domain::Dialect;
use serde_json::{Map, Value};

use crate::hub::{Extra, Losses};

mod answer;
mod config;
mod content;
mod grounding;
mod model;
mod part;
mod request;
mod stream;
mod tools;
mod usage;
mod voice;

pub(crate) use answer::answer;
pub(crate) use request::request;
pub(crate) use stream::StreamEncoder;

/// Puts back what Gemini's decoder left over.
fn restore(members: &mut Map<String, Value>, extra: Extra, losses: &mut Losses) {
    if extra.origin == Some(Dialect::Gemini) {
        merge(members, extra.members);
        return;
    }
    for name in extra.unsaid() {
        if extra.members.get(name).is_some_and(|value| !value.is_null()) {
            losses.note(name.to_owned(), "Gemini has no such member");
        }
    }
}

/// Objects are joined member by member; of anything else what was left over counts, since it was left on purpose.
fn merge(members: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (members.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            (_, value) => {
                members.insert(name, value);
            }
        }
    }
}

/// Inserts what is there.
fn put(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}
