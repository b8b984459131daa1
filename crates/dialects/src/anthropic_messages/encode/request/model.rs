//! What a model takes, told by its name.
//!
//! Names carry the version in either order (`claude-opus-4-7`, `claude-4.7-opus`, `anthropic.claude-3-5-haiku-…-v1:0`).
//! The cut-offs are Anthropic's (<https://platform.claude.com/docs/en/build-with-claude/thinking>, migration guides of
//! 4.6, 4.7 and 5): adaptive thinking came with 4.6, budgets and sampling parameters went with 4.7. A Claude without a
//! version in its name counts as new. Models of other makers that speak this format take what Claude 4 took.

/// A model of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    /// Its version, if it is a Claude.
    claude: Option<(u32, u32)>,
    /// It always thinks, and asking it not to is an error.
    always_thinks: bool,
}

/// The version of a Claude whose name has none.
const NEWEST: (u32, u32) = (u32::MAX, 0);

impl Model {
    /// The model of this name.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let Some((_, rest)) = name.split_once("claude") else {
            return Self {
                claude: None,
                always_thinks: false,
            };
        };
        let words: Vec<&str> = rest
            .split(|character: char| !character.is_ascii_alphanumeric())
            .collect();
        // Longer numbers are dates.
        let number = |at: usize| -> Option<u32> {
            let word = words.get(at)?;
            (word.len() <= 2).then(|| word.parse().ok()).flatten()
        };
        let major = (0..words.len()).find(|at| number(*at).is_some());
        let version = major.map_or(NEWEST, |at| {
            (number(at).unwrap_or_default(), number(at + 1).unwrap_or_default())
        });
        let is = |family: &str| words.contains(&family);
        Self {
            claude: Some(version),
            always_thinks: is("fable") || is("mythos") || (is("opus") && version >= (5, 5)),
        }
    }

    fn from(self, version: (u32, u32)) -> bool {
        self.claude.is_some_and(|claude| claude >= version)
    }

    /// It can think; the first to was 3.7.
    pub(super) fn can_think(self) -> bool {
        self.claude.is_none_or(|claude| claude >= (3, 7))
    }

    /// It can be held to a schema of its answer: <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
    pub(super) fn takes_schemas(self) -> bool {
        self.claude.is_none_or(|claude| claude >= (4, 1))
    }

    /// It is told to think as it likes, and how hard in words.
    pub(super) fn is_adaptive(self) -> bool {
        self.from((4, 6))
    }

    /// It can be told to think so many tokens.
    pub(super) fn takes_budget(self) -> bool {
        !self.from((4, 7))
    }

    /// It can be told not to think.
    pub(super) const fn can_rest(self) -> bool {
        !self.always_thinks
    }

    /// It knows the effort `xhigh`.
    pub(super) fn knows_xhigh(self) -> bool {
        self.from((4, 7))
    }

    /// It takes `temperature`, `top_p` and `top_k`.
    pub(super) fn samples(self) -> bool {
        !self.from((4, 7))
    }

    /// It refuses `temperature` and `top_p` together.
    pub(super) fn samples_one_way(self) -> bool {
        self.from((4, 1))
    }

    /// It knows the tools of 2026, which older ones refuse.
    pub(super) fn has_new_tools(self) -> bool {
        self.from((4, 6))
    }

    /// It takes `strict` tools.
    pub(super) fn is_strict(self) -> bool {
        self.from((4, 5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names_of_all_makes() {
        for (name, version) in [
            ("claude-opus-4-7", Some((4, 7))),
            ("anthropic/claude-4.7-opus", Some((4, 7))),
            ("claude-3-5-haiku-20241022", Some((3, 5))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-opus-4-1@20250805", Some((4, 1))),
            ("us.anthropic.claude-opus-4-6-v1:0", Some((4, 6))),
            ("claude-fable-5", Some((5, 0))),
            ("claude-mythos-preview", Some(NEWEST)),
            ("deepseek-chat", None),
        ] {
            assert_eq!(Model::of(name).claude, version, "{name}");
        }
    }

    #[test]
    fn what_they_take_follows_the_version() {
        let old = Model::of("claude-sonnet-4-5");
        assert!(old.takes_budget() && old.samples() && !old.is_adaptive() && old.can_rest());
        let between = Model::of("claude-sonnet-4-6");
        assert!(between.takes_budget() && between.is_adaptive() && between.samples());
        let new = Model::of("claude-opus-4-8");
        assert!(!new.takes_budget() && new.is_adaptive() && !new.samples() && new.can_rest());
        assert!(!Model::of("claude-fable-5-1").can_rest() && !Model::of("claude-opus-5-5").can_rest());
        let older = Model::of("claude-3-5-haiku-20241022");
        assert!(!older.can_think() && !older.takes_schemas() && old.can_think() && old.takes_schemas());
        assert!(!Model::of("claude-3-opus-20240229").can_think() && Model::of("claude-3-7-sonnet").can_think());
        let other = Model::of("kimi-k2");
        assert!(other.can_think() && other.takes_schemas());
        assert!(other.takes_budget() && other.samples() && !other.is_adaptive());
    }
}
