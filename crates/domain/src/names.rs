//! Names that clients use: compared without regard to case, and patterned with `*` and `?`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wildmatch::WildMatch;

/// A name, or a glob over names (`gpt-*`), ignoring case.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    /// `None` for a plain name: the common case needs no matcher.
    glob: Option<WildMatch>,
}

impl NamePattern {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let glob = text
            .contains(['*', '?'])
            .then(|| WildMatch::new_case_insensitive(&text));
        Self { text, glob }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can match more than one name.
    pub const fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Whether `name` is one of its names.
    pub fn matches(&self, name: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.matches(name),
            None => same_name(&self.text, name),
        }
    }
}

/// A name as it is compared: in lower case, of any script, as the store compares names.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        Cow::Owned(name.to_lowercase())
    } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether two names mean the same.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        one.eq_ignore_ascii_case(other)
    } else {
        folded(one) == folded(other)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

impl From<&str> for NamePattern {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for NamePattern {
    fn schema_name() -> Cow<'static, str> {
        "NamePattern".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A name or a glob with * and ?, ignoring case" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names_and_globs_in_any_case() {
        assert!(NamePattern::new("GPT-4o").matches("gpt-4O"));
        assert!(!NamePattern::new("gpt-4o").matches("gpt-4o-mini"));
        assert!(NamePattern::new("gpt-*").matches("GPT-4o-mini"));
        assert!(NamePattern::new("o?").matches("O3"));
        assert!(!NamePattern::new("o?").matches("o3-mini"));
        assert!(NamePattern::new("Äpfel").matches("äPFEL") && !NamePattern::new("Äpfel").matches("apfel"));
        assert!(NamePattern::new("Ä*").matches("äPFEL"));
    }
}
