//! Text that must not be seen.
//!
//! A secret can be compared, used and erased, but not printed, logged or serialised: there is no `Display`, no
//! `Serialize`, and `Debug` says only that something is there. Showing one on purpose takes a call to
//! [`Secret::expose`], which is easy to search for.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

/// A secret text, erased from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself: for a header that is about to be sent, or a hash.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Enough to recognise it by, and no more: `sk-…f3c9`. Short secrets show nothing.
    pub fn masked(&self) -> String {
        let text = self.expose();
        if text.trim_start().starts_with('{') {
            // A key file: it begins and ends like all of them.
            return "{…}".to_owned();
        }
        let tail: String = text
            .chars()
            .rev()
            .take(4)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        if text.chars().count() < 16 {
            "…".to_owned()
        } else {
            format!("{}…{tail}", text.chars().take(3).collect::<String>())
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    /// Used to tell whether a declaration changed, never to authenticate (that compares HMACs).
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A secret; write ${NAME} to take it from the environment" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cannot_be_printed() {
        let secret = Secret::new("sk-verysecretindeed");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.masked(), "sk-…deed");
        assert_eq!(Secret::new("short").masked(), "…");
        assert_eq!(Secret::new("{\n \"private_key\": \"x\"\n}").masked(), "{…}");
    }
}
