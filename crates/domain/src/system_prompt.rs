//! Text that the operator puts into conversations.
//!
//! Four steps decide, from general to particular: the master switch of the process, a model's own "not here", the
//! model's own text, the text of the process.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Characters of a prompt that are used; what is beyond is cut, and the operator is told.
pub const SYSTEM_PROMPT_CHARS_MAX: usize = 10_000;

/// How it meets instructions of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptMode {
    /// It stands before them.
    #[default]
    Prepend,
    /// It stands in their place.
    Replace,
}

/// `system_prompt`: of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SystemPromptDecl {
    /// The master switch, for the prompts of models too.
    pub enabled: bool,
    /// How it meets instructions of the client.
    pub mode: PromptMode,
    /// The text for models that have none of their own; 10,000 characters at most.
    pub text: String,
}

/// `models[].system_prompt`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelPromptDecl {
    /// No prompt for this model, whatever the process says.
    pub disabled: bool,
    /// How it meets instructions of the client.
    pub mode: PromptMode,
    /// The text for this model; empty: that of the process.
    pub text: String,
}

/// A prompt that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemPrompt {
    /// How it meets instructions of the client.
    pub mode: PromptMode,
    /// The text, cut where it was too long; never empty.
    pub text: Arc<str>,
}

impl SystemPrompt {
    /// The prompt of a model, by the four steps.
    pub fn in_force(process: &SystemPromptDecl, model: Option<&ModelPromptDecl>) -> Option<Self> {
        if !process.enabled || model.is_some_and(|model| model.disabled) {
            return None;
        }
        let own = model
            .filter(|model| !model.text.is_empty())
            .map(|model| (model.mode, &model.text));
        let (mode, text) = own.unwrap_or((process.mode, &process.text));
        (!text.is_empty()).then(|| Self {
            mode,
            text: cut(text).into(),
        })
    }
}

/// How many characters `text` has beyond the bound; `None`: it is within.
pub fn excess(text: &str) -> Option<usize> {
    // As many bytes as characters at most, so most texts need no counting.
    if text.len() <= SYSTEM_PROMPT_CHARS_MAX {
        return None;
    }
    text.chars()
        .count()
        .checked_sub(SYSTEM_PROMPT_CHARS_MAX)
        .filter(|excess| *excess > 0)
}

fn cut(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(SYSTEM_PROMPT_CHARS_MAX)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(enabled: bool, text: &str) -> SystemPromptDecl {
        SystemPromptDecl {
            enabled,
            mode: PromptMode::Replace,
            text: text.to_owned(),
        }
    }

    fn model(disabled: bool, text: &str) -> ModelPromptDecl {
        ModelPromptDecl {
            disabled,
            mode: PromptMode::Prepend,
            text: text.to_owned(),
        }
    }

    fn text(process: &SystemPromptDecl, model: Option<&ModelPromptDecl>) -> Option<(String, PromptMode)> {
        SystemPrompt::in_force(process, model).map(|prompt| (prompt.text.to_string(), prompt.mode))
    }

    #[test]
    fn four_steps_decide() {
        assert_eq!(text(&process(false, "p"), Some(&model(false, "m"))), None);
        assert_eq!(text(&process(true, "p"), Some(&model(true, "m"))), None);
        let own = Some(("m".to_owned(), PromptMode::Prepend));
        assert_eq!(text(&process(true, "p"), Some(&model(false, "m"))), own);
        let general = Some(("p".to_owned(), PromptMode::Replace));
        assert_eq!(text(&process(true, "p"), Some(&model(false, ""))), general);
        assert_eq!(text(&process(true, "p"), None), general);
        assert_eq!(text(&process(true, ""), None), None);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "é".repeat(SYSTEM_PROMPT_CHARS_MAX + 3);
        assert_eq!(excess(&long), Some(3));
        let (kept, _) = text(&process(true, &long), None).unwrap();
        assert_eq!(kept.chars().count(), SYSTEM_PROMPT_CHARS_MAX);
        assert_eq!(excess(&kept), None);
    }
}
