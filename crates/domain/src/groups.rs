//! Groups of upstreams by the names of their models: `gpt-*` goes to the group `openai`, `claude-*` to `anthropic`.
//!
//! A list of models per upstream says what one upstream serves; a group says where a *family* of names belongs, whatever
//! else would serve it too. So an aggregator that serves everything can stand beside the provider itself and not get
//! its calls.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NamePattern;
use crate::names::same_name;

/// Groups by name, each with the names of the models that belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Groups(pub BTreeMap<String, Vec<NamePattern>>);

impl Groups {
    /// The group that a model's name belongs to: that of the longest pattern which matches, as with declared models.
    pub fn of(&self, model: &str) -> Option<&str> {
        self.patterns()
            .filter(|(_, pattern)| pattern.matches(model))
            .max_by_key(|(_, pattern)| (!pattern.is_glob(), pattern.as_str().len()))
            .map(|(group, _)| group)
    }

    /// The names that belong to a group; none where there is no such group.
    pub fn models(&self, group: &str) -> &[NamePattern] {
        let found = self.0.iter().find(|(name, _)| same_name(name, group));
        found.map_or(&[], |(_, patterns)| patterns)
    }

    fn patterns(&self) -> impl Iterator<Item = (&str, &NamePattern)> {
        self.0
            .iter()
            .flat_map(|(name, patterns)| patterns.iter().map(move |pattern| (name.as_str(), pattern)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_decides() {
        let groups: Groups = serde_json::from_str(
            r#"{"openai": ["gpt-*", "o?"], "local": ["gpt-oss-*"], "odd": ["gpt-oss-x"], "any": ["*"]}"#,
        )
        .unwrap();
        for (model, group) in [
            ("GPT-4o", "openai"),
            ("o3", "openai"),
            ("gpt-oss-20b", "local"),
            ("gpt-oss-x", "odd"),
            ("qwen", "any"),
        ] {
            assert_eq!(groups.of(model), Some(group), "{model}");
        }
        assert_eq!(groups.models("OpenAI").len(), 2);
        assert!(groups.models("other").is_empty());
        assert_eq!(Groups::default().of("gpt-4o"), None);
    }
}
