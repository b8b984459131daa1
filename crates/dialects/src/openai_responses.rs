//! `OpenAI` Responses: an answer is a list of items, a stream a list of named events about them.
//!
//! What both directions of the translation share stands here: how seals of reasoning travel ([`seal`]), how functions in
//! namespaces are named elsewhere ([`names`]), and what an answer repeats of its request ([`echo`]; [`instructions`] where it
//! passes through).

pub(crate) mod answer;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod request;
pub(crate) mod served;

mod echo;
mod instructions;
mod names;
mod seal;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use instructions::{Instructions, Restorer};

use crate::hub::{Extra, Fields};
use domain::Dialect;

/// Whose words these are.
const SELF: Dialect = Dialect::OpenaiResponses;

/// In [`Extra`] of a native part: it stands inside a message's content and is no item of its own.
const WITHIN: &str = "within_message";

/// Whether the provider can open the reasoning that a client sends back: it must have sealed it itself.
pub(crate) fn is_own_reasoning(id: Option<&str>, encrypted: Option<&str>) -> bool {
    encrypted.is_some_and(|encrypted| seal::read(id, encrypted).1.origin == SELF)
}

/// What nobody took; nothing where all was taken.
fn rest(fields: Fields) -> Extra {
    let extra = fields.rest(SELF);
    if extra.members.is_empty() {
        Extra::default()
    } else {
        extra
    }
}

/// A text member of an object.
fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// Its list; anything else has no elements.
fn list_of<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}
