//! Names of functions in namespaces.
//!
//! This format can declare functions in a namespace, and a call names both. No other format can. Elsewhere such a function
//! is called `namespace__name`, always and not only where two would clash: a name that depended on what else is declared
//! would change in the middle of a conversation. On the way back the declared tools, which an answer repeats, say which
//! function of which namespace is meant.

use std::collections::HashMap;

use serde_json::Value;

use super::{list_of, text_of};

/// A tool's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its namespace; empty: none.
    pub(super) namespace: String,
    /// Its name there.
    pub(super) name: String,
    /// Whether it takes free text.
    pub(super) custom: bool,
}

/// What the declared tools are called in other formats.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    places: HashMap<String, Place>,
}

impl Names {
    /// Of declarations of tools.
    pub(super) fn of(tools: &[Value]) -> Self {
        let mut names = Self::default();
        for tool in tools {
            names.declare(tool);
        }
        names
    }

    /// Adds a declaration.
    pub(super) fn declare(&mut self, tool: &Value) {
        let name = text_of(tool, "name").unwrap_or_default();
        if text_of(tool, "type") == Some("namespace") {
            for inner in list_of(tool, "tools") {
                self.add(name, inner);
            }
        } else if !name.is_empty() {
            self.add("", tool);
        }
    }

    fn add(&mut self, namespace: &str, tool: &Value) {
        let name = text_of(tool, "name").unwrap_or_default();
        let place = Place {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            custom: text_of(tool, "type") == Some("custom"),
        };
        self.places.insert(flat(namespace, name), place);
    }

    /// Where the tool stands that other formats call `flat`.
    pub(super) fn place(&self, flat: &str) -> Option<&Place> {
        self.places.get(flat)
    }

    /// What other formats call this function, if it was declared.
    pub(super) fn flat(&self, namespace: &str, name: &str) -> Option<String> {
        let flat = flat(namespace, name);
        self.places.contains_key(&flat).then_some(flat)
    }

    /// What other formats call a function of which only the name is known: that of the one namespace that has it.
    pub(super) fn unqualified(&self, name: &str) -> String {
        if self.places.contains_key(name) {
            return name.to_owned();
        }
        let mut known = self.places.iter().filter(|(_, place)| place.name == name);
        match (known.next(), known.next()) {
            (Some((flat, _)), None) => flat.clone(),
            _ => name.to_owned(),
        }
    }
}

/// The name outside of namespaces. A target that it is too long for gets another one ([`crate::translate`]).
pub(super) fn flat(namespace: &str, name: &str) -> String {
    let joint = if namespace.is_empty() || namespace.ends_with("__") {
        ""
    } else {
        "__"
    };
    format!("{namespace}{joint}{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_of_namespaces_are_found_again() {
        let tools = json!([
            {"type": "function", "name": "plain"},
            {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}, {"type": "custom", "name": "raw"}]},
            {"type": "namespace", "name": "mcp__files__", "tools": [{"type": "function", "name": "find"}]},
            {"type": "web_search"},
        ]);
        let names = Names::of(tools.as_array().unwrap());
        assert_eq!(names.flat("crm", "find").as_deref(), Some("crm__find"));
        assert_eq!(names.flat("mcp__files__", "find").as_deref(), Some("mcp__files__find"));
        assert_eq!(names.flat("other", "find"), None);
        assert_eq!(names.place("crm__find").unwrap().namespace, "crm");
        assert!(names.place("crm__raw").unwrap().custom && !names.place("plain").unwrap().custom);
        assert_eq!(names.unqualified("raw"), "crm__raw");
        assert_eq!(names.unqualified("find"), "find");
    }
}
