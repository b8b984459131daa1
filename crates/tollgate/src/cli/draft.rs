//! A resource being declared on the command line.
//!
//! It is a configuration tree whose values come from flags (and, when editing, from what is stored), read and checked
//! exactly as if it stood in the file. A mistake names the flag.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::mistake::Mistakes;
use crate::config::tree::{Entry, Node, Place, Scalar, Value};
use crate::config::{Listed, read};

/// The value of a flag that takes its key out.
pub(super) const NONE: &str = "none";

/// A resource being declared.
#[derive(Debug)]
pub(crate) struct Draft {
    node: Node,
}

impl Draft {
    /// Nothing but a name.
    pub(crate) fn named(name: &str) -> Self {
        let mut draft = Self { node: Node::empty() };
        draft.set("name", "NAME", Some(name));
        draft
    }

    /// What is stored.
    pub(crate) fn of(stored: &impl serde::Serialize) -> anyhow::Result<Self> {
        Ok(Self {
            node: of_json(&serde_json::to_value(stored)?),
        })
    }

    /// Sets a key, if the flag was given. Dots lead to keys within.
    pub(crate) fn set(&mut self, key: &str, flag: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            let path: Vec<&str> = key.split('.').collect();
            let value = value.to_string();
            // Whatever a name looks like (`true`, nothing at all), it is a text.
            let node = match key {
                "name" => quoted(place(flag), &value),
                _ => Node::of_text(place(flag), value),
            };
            self.node.set(&path, node);
        }
    }

    /// Sets a key, if the flag was given; takes it out where its value is `none`.
    pub(crate) fn set_or_remove(&mut self, key: &str, flag: &str, value: Option<&str>) {
        match value {
            Some(NONE) => self.remove(key),
            value => self.set(key, flag, value),
        }
    }

    /// Sets a key to a list, if the flag was given at all.
    pub(crate) fn set_list(&mut self, key: &str, flag: &str, values: &[String]) {
        if !values.is_empty() {
            // An empty value empties the list: `--model ''`.
            let values = values
                .iter()
                .flat_map(|value| value.split(','))
                .map(str::trim)
                .filter(|value| !value.is_empty());
            let elements = values.map(|value| quoted(place(flag), value)).collect();
            self.node.set(
                &[key],
                Node {
                    at: place(flag),
                    value: Value::List(elements),
                },
            );
        }
    }

    /// Sets keys of a mapping: `NAME=VALUE`, once per flag; an empty value takes the key out.
    pub(crate) fn set_entries(&mut self, key: &str, flag: &str, entries: &[(String, String)]) {
        for (name, value) in entries {
            if value.is_empty() {
                self.remove_within(key, name);
            } else {
                self.node
                    .set(&[key, name.as_str()], Node::of_text(place(flag), value.as_str()));
            }
        }
    }

    /// Puts a ready-made node at a key.
    pub(crate) fn put(&mut self, key: &str, node: Node) {
        self.node.set(&[key], node);
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Value::Map(entries) = &mut self.node.value {
            entries.retain(|entry| entry.key != key);
        }
    }

    fn remove_within(&mut self, outer: &str, key: &str) {
        let Value::Map(entries) = &mut self.node.value else {
            return;
        };
        for entry in entries.iter_mut().filter(|entry| entry.key == outer) {
            if let Value::Map(inner) = &mut entry.value.value {
                inner.retain(|entry| entry.key != key);
            }
        }
    }

    /// Reads and checks it.
    ///
    /// # Errors
    /// What is wrong, with the flag.
    pub(crate) fn finish<T: for<'de> Deserialize<'de>>(
        &self,
        check: impl FnOnce(&[Listed<'_, T>], &mut Mistakes),
    ) -> Result<T, Mistakes> {
        let mut mistakes = Mistakes::default();
        let Some(decl) = read::read::<T>(&self.node, "", &mut mistakes) else {
            return Err(mistakes);
        };
        let listed = [Listed {
            node: &self.node,
            path: String::new(),
            decl,
        }];
        check(&listed, &mut mistakes);
        let [Listed { decl, .. }] = listed;
        mistakes.or(decl)
    }
}

/// The place of a flag.
pub(crate) fn place(flag: &str) -> Place {
    Place::Named(flag.into())
}

/// A text that means itself: a model that is called `true` is no truth.
fn quoted(at: Place, text: &str) -> Node {
    Node {
        at,
        value: Value::Scalar(Scalar {
            text: text.to_owned(),
            written: None,
            plain: false,
        }),
    }
}

fn of_json(json: &Json) -> Node {
    let value = match json {
        Json::Null => return Node::of_text(Place::Nowhere, "null"),
        Json::Bool(value) => return Node::of_text(Place::Nowhere, value.to_string()),
        Json::Number(value) => return Node::of_text(Place::Nowhere, value.to_string()),
        Json::String(text) => return quoted(Place::Nowhere, text),
        Json::Array(elements) => Value::List(elements.iter().map(of_json).collect()),
        Json::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| Entry {
                    key: key.clone(),
                    key_at: Place::Nowhere,
                    value: of_json(value),
                })
                .collect(),
        ),
    };
    Node {
        at: Place::Nowhere,
        value,
    }
}

/// `NAME=VALUE`, for clap.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    if name.is_empty() {
        Err("the name is empty".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use domain::declaration::UpstreamDecl;

    use super::*;
    use crate::config::check;

    fn finish(draft: &Draft) -> Result<UpstreamDecl, String> {
        draft
            .finish(|listed, mistakes| check::upstreams(listed, &[], mistakes))
            .map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn flags_are_checked_like_the_file_and_named() {
        let mut draft = Draft::named("a");
        draft.set("provider", "--provider", Some("opnai"));
        assert_eq!(
            finish(&draft).unwrap_err(),
            "--provider: `provider`: there is no provider `opnai`; did you mean `openai`?"
        );
        draft.set("provider", "--provider", Some("openai"));
        draft.set("timeouts.idle", "--idle-timeout", Some("never"));
        assert!(
            finish(&draft)
                .unwrap_err()
                .starts_with("--idle-timeout: `timeouts.idle`: `never` is not a length of time")
        );
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_name() {
        let mut draft = Draft::named("a");
        draft.set("provider", "--provider", Some("openai"));
        draft.set_list("models", "--model", &["gpt-*,o*".to_owned(), "true".to_owned()]);
        draft.set_entries(
            "headers",
            "--header",
            &[("x-a".to_owned(), "1".to_owned()), ("x-b".to_owned(), "2".to_owned())],
        );
        let first = finish(&draft).unwrap();
        let mut draft = Draft::of(&first).unwrap();
        draft.set("priority", "--priority", Some(3));
        draft.set_entries("headers", "--header", &[("x-a".to_owned(), String::new())]);
        let second = finish(&draft).unwrap();
        assert_eq!(second.models.as_ref().unwrap().len(), 3);
        assert_eq!((second.priority, second.headers.len()), (3, 1));
        assert_eq!(second.models, first.models);
    }
}
