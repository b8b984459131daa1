//! A document as a tree in which everything knows where it was written.
//!
//! Values stay text until a type asks for something else. That is what keeps `0.1` exact, what lets `${VAR}` stand for
//! a number, and what makes an environment variable and a flag just one more place that a value can come from.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the file. Both counted from one; columns in characters.
    File {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Somewhere with a name: `environment variable PORT`, `flag --listen`.
    Named(Arc<str>),
    /// Nowhere: a default.
    #[default]
    Nowhere,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; no key twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_at: Place,
    /// Its value.
    pub value: Node,
}

/// The text of a single value. Not printed by `Debug`: it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, variables expanded.
    pub text: String,
    /// What may be shown in its place, where variables were expanded: the text as written.
    pub written: Option<String>,
    /// Whether it stands without quotes, so that `true`, `null` and numbers may be meant.
    pub plain: bool,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(…)")
    }
}

impl Scalar {
    /// Whether it stands for "nothing".
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// An empty mapping.
    pub fn empty() -> Self {
        Self {
            at: Place::Nowhere,
            value: Value::Map(Vec::new()),
        }
    }

    /// A single value that was not written in the file.
    pub fn of_text(at: Place, text: impl Into<String>) -> Self {
        Self {
            at,
            value: Value::Scalar(Scalar {
                text: text.into(),
                written: None,
                plain: true,
            }),
        }
    }

    /// The value of a key; `None` where this is not a mapping or has no such key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its value.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a mapping; none where this is something else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a sequence; none where this is something else.
    pub fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The text of a single value.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether nothing was given: `null`, `[]`, `{}` or an empty value.
    pub fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.is_null(),
            Value::List(elements) => elements.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }

    /// Where the value of `key` stands; where this stands, if it has no such key.
    pub fn place_of(&self, key: &str) -> Place {
        self.get(key).map_or_else(|| self.at.clone(), |node| node.at.clone())
    }

    /// Puts `value` at a path of keys, over whatever is there. Mappings on the way are made.
    pub fn set(&mut self, path: &[&str], value: Node) {
        let [key, rest @ ..] = path else {
            *self = value;
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else { return };
        let index = entries.iter().position(|entry| entry.key == *key).unwrap_or_else(|| {
            let value = Node {
                at: value.at.clone(),
                value: Value::Map(Vec::new()),
            };
            entries.push(Entry {
                key: (*key).to_owned(),
                key_at: value.at.clone(),
                value,
            });
            entries.len() - 1
        });
        if let Some(entry) = entries.get_mut(index) {
            entry.value.set(rest, value);
        }
    }
}
