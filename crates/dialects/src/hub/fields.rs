//! Reading JSON objects member by member, so that what nobody read is known.
//!
//! Decoders *take* the members that they understand; what is left when they are done is what this vocabulary has no word
//! for, and goes into [`Extra`] instead of vanishing. A member of the wrong type is an error that names its path: a
//! request that is silently read as something else would be answered wrongly.

use std::fmt;

use domain::Dialect;
use serde_json::{Map, Value};

use super::{Extra, nested};

/// Why a request cannot be translated: something in it is not what its format says. Shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadRequest {
    /// Where: `messages[3].content[0].type`.
    pub path: String,
    /// What is wrong there, and the mend.
    pub problem: String,
}

impl BadRequest {
    /// At this path.
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// The members of an object that have not been read.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    path: String,
    members: Map<String, Value>,
}

impl Fields {
    /// The members of a whole body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, BadRequest> {
        match nested::read(body) {
            Ok(Value::Object(members)) => Ok(Self {
                path: String::new(),
                members,
            }),
            Ok(other) => Err(BadRequest::new(
                "body",
                format!("expected an object, found {}", kind(&other)),
            )),
            Err(error) => Err(BadRequest::new("body", format!("not JSON: {error}"))),
        }
    }

    /// The members of `value`, which stands at `path`.
    pub(crate) fn of(path: impl Into<String>, value: Value) -> Result<Self, BadRequest> {
        let path = path.into();
        match value {
            Value::Object(members) => Ok(Self { path, members }),
            other => Err(BadRequest::new(
                path,
                format!("expected an object, found {}", kind(&other)),
            )),
        }
    }

    /// An object that is known to be one.
    pub(crate) const fn of_map(path: String, members: Map<String, Value>) -> Self {
        Self { path, members }
    }

    /// The path of a member, for errors.
    pub(crate) fn at(&self, name: impl fmt::Display) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The path of the object itself.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// An error about a member.
    pub(crate) fn error(&self, name: &str, problem: impl Into<String>) -> BadRequest {
        BadRequest::new(self.at(name), problem)
    }

    /// Takes a member; `null` counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        // `swap_remove` would change the order of what is left.
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes the first of several spellings that is there (Gemini reads both cases).
    pub(crate) fn take_any(&mut self, names: &[&str]) -> Option<Value> {
        let mut found = None;
        for name in names {
            let value = self.take(name);
            found = found.or(value);
        }
        found
    }

    /// Looks at a text without taking it.
    pub(crate) fn peek_text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// Whether a member is there and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, BadRequest> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(name, format!("expected a string, found {}", kind(&other)))),
        }
    }

    /// Takes a text that must be there.
    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, BadRequest> {
        self.text(name)?
            .ok_or_else(|| self.error(name, "is missing; a string belongs here"))
    }

    /// Takes a truth value.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, BadRequest> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.error(name, format!("expected true or false, found {}", kind(&other)))),
        }
    }

    /// Takes a number, as it was written.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<Value>, BadRequest> {
        match self.take(name) {
            None => Ok(None),
            Some(number @ Value::Number(_)) => Ok(Some(number)),
            Some(other) => Err(self.error(name, format!("expected a number, found {}", kind(&other)))),
        }
    }

    /// Takes a count: a whole number that is not negative. `8192.0` is one; proto JSON has counts in quotes.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, BadRequest> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let count = match &value {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        count.map(Some).ok_or_else(|| {
            self.error(
                name,
                format!("expected a whole number that is not negative, found {}", kind(&value)),
            )
        })
    }

    /// Takes a list; absent is empty.
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<Value>, BadRequest> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.error(name, format!("expected a list, found {}", kind(&other)))),
        }
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, BadRequest> {
        let path = self.at(name);
        self.take(name).map(|value| Self::of(path, value)).transpose()
    }

    /// Takes a list of objects, each with its path.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, BadRequest> {
        let path = self.at(name);
        let items = self.list(name)?;
        items
            .into_iter()
            .enumerate()
            .map(|(place, value)| Self::of(format!("{path}[{place}]"), value))
            .collect()
    }

    /// Takes a text or a list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, BadRequest> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(self.error(name, format!("expected strings, found {}", kind(&other)))),
                })
                .collect(),
            Some(other) => Err(self.error(
                name,
                format!("expected a string or a list of them, found {}", kind(&other)),
            )),
        }
    }

    /// What nobody took, as the family's own. `null`s go with it: they were written on purpose.
    pub(crate) fn rest(self, origin: Dialect) -> Extra {
        Extra {
            origin: Some(origin),
            members: self.members,
        }
    }

    /// What nobody took.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.members
    }
}

/// JSON as text, without spaces.
pub(crate) fn compact(value: &Value) -> String {
    value.to_string()
}

fn whole(number: f64) -> Option<u64> {
    let fits = (0.0..9_007_199_254_740_992.0).contains(&number);
    (fits && number.fract() == 0.0).then_some(number as u64)
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn errors_say_where_and_what() {
        let mut body = fields(r#"{"a": {"b": [{"c": 1}]}, "n": -1, "s": [1]}"#);
        let mut inner = body.object("a").unwrap().unwrap().objects("b").unwrap().remove(0);
        assert_eq!(
            inner.text("c").unwrap_err().to_string(),
            "a.b[0].c: expected a string, found a number"
        );
        assert!(
            body.count("n")
                .unwrap_err()
                .to_string()
                .starts_with("n: expected a whole number")
        );
        assert!(body.texts("s").is_err());
        assert!(Fields::parse(b"[]").is_err() && Fields::parse(b"{").is_err());
    }

    #[test]
    fn counts_come_in_every_spelling() {
        let mut body = fields(r#"{"a": 5, "b": 5.0, "c": "5", "d": 5.5, "e": null}"#);
        for name in ["a", "b", "c"] {
            assert_eq!(body.count(name).unwrap(), Some(5), "{name}");
        }
        assert!(body.count("d").is_err());
        assert_eq!(body.count("e").unwrap(), None);
    }

    #[test]
    fn what_nobody_took_is_left_in_its_order() {
        let mut body = fields(r#"{"z": 1, "b": 2, "a": 3}"#);
        assert_eq!(body.take_any(&["B", "b"]), Some(Value::from(2)));
        let rest = body.rest(Dialect::Gemini);
        assert_eq!(rest.members.keys().collect::<Vec<_>>(), ["z", "a"]);
    }
}
