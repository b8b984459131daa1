//! What generations of Gemini want differently. A name that says no generation (`gemini-flash-latest`) is of the newest.

/// How a model is told how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Before 2.5, and Gemma: it cannot think, and refuses to be told.
    Early,
    /// 2.5: in tokens.
    Budget,
    /// 3 and later: in words. It refuses function calls without a seal.
    Level,
}

/// A model as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) generation: Generation,
    is_pro: bool,
    is_lite: bool,
}

impl Model {
    /// What the name says.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let version = name
            .split_once("gemini-")
            .map_or("", |(_, rest)| rest)
            .trim_start_matches("live-");
        let generation = if name.contains("gemma") || ["1.", "2.0"].iter().any(|old| version.starts_with(old)) {
            Generation::Early
        } else if version.starts_with("2.") {
            Generation::Budget
        } else {
            Generation::Level
        };
        Self {
            generation,
            is_pro: name.contains("-pro"),
            is_lite: name.contains("-lite"),
        }
    }

    /// Tokens of thinking that a 2.5 model takes (<https://ai.google.dev/gemini-api/docs/thinking#set-budget>).
    pub(super) const fn budgets(self) -> (u64, u64) {
        match (self.is_pro, self.is_lite) {
            (true, _) => (128, 32_768),
            (false, true) => (512, 24_576),
            (false, false) => (1, 24_576),
        }
    }

    /// Whether it can be kept from thinking.
    pub(super) fn can_be_quiet(self) -> bool {
        self.generation == Generation::Budget && !self.is_pro
    }

    /// Whether it knows the least level; Pro models do not.
    pub(super) const fn knows_minimal(self) -> bool {
        !self.is_pro
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_generation() {
        for (name, generation) in [
            ("gemini-1.5-pro-002", Generation::Early),
            ("models/gemini-2.0-flash", Generation::Early),
            ("gemma-3-27b-it", Generation::Early),
            ("google/gemini-2.5-flash-lite", Generation::Budget),
            ("gemini-3-pro-preview", Generation::Level),
            ("gemini-3.6-flash", Generation::Level),
            ("gemini-flash-latest", Generation::Level),
            ("something", Generation::Level),
        ] {
            assert_eq!(Model::of(name).generation, generation, "{name}");
        }
        assert_eq!(Model::of("gemini-2.5-pro").budgets(), (128, 32_768));
        assert!(!Model::of("gemini-2.5-pro").can_be_quiet() && Model::of("gemini-2.5-flash").can_be_quiet());
    }
}
