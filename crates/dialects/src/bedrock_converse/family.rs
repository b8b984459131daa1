//! What Converse does not make alike.
//!
//! One API over many makers' models, and what it has no word for goes into `additionalModelRequestFields` in the words of
//! the maker: so the maker must be known. It is told by the model's id, which begins with it (after the region of an
//! inference profile). Of an ARN that hides it nothing is known, and only what Converse itself can say is said.

/// The makers whose words are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Anthropic's, and of which generation: 3.7, 4.0, …
    Claude(Generation),
    /// Amazon's, and of which generation.
    Nova(u32),
    /// OpenAI's open models.
    GptOss,
    /// Another's, or not known.
    Other,
}

/// A version, as major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(pub(super) u32, pub(super) u32);

/// The first that thinks.
pub(super) const THINKS: Generation = Generation(3, 7);
/// The first that refuses `temperature` and `topP` together:
/// <https://github.com/aws-samples/bedrock-access-gateway/issues/191>.
pub(super) const SAMPLES_ONE_WAY: Generation = Generation(4, 1);
/// The first that decides by itself how much to think, and can be told an effort.
pub(super) const ADAPTS: Generation = Generation(4, 6);
/// The first that can be told to call one tool at a time
/// (<https://github.com/BerriAI/litellm/pull/34347>, <https://github.com/BerriAI/litellm/pull/29668>).
pub(super) const CALLS_ONE: Generation = Generation(4, 5);
/// The first that does not take a budget any more:
/// <https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>.
pub(super) const TAKES_NO_BUDGET: Generation = Generation(4, 7);

impl Family {
    /// The family of a model or inference profile.
    pub(super) fn of(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        if let Some((_, name)) = model.split_once("claude-") {
            Self::Claude(generation(name))
        } else if let Some((_, name)) = model.split_once("amazon.nova-") {
            Self::Nova(name.split('-').next().and_then(|word| word.parse().ok()).unwrap_or(1))
        } else if model.contains("openai.gpt-oss") {
            Self::GptOss
        } else {
            Self::Other
        }
    }

    /// Whether it knows cache points.
    pub(super) const fn caches(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Nova(_))
    }

    /// Whether it is told that a tool failed:
    /// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolResultBlock.html>.
    pub(super) const fn knows_failed_tools(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Nova(_))
    }
}

/// `sonnet-4-5-20250929-v1:0` is 4.5, `3-7-sonnet` is 3.7; what is longer than two digits is a date.
fn generation(name: &str) -> Generation {
    let mut numbers = name
        .split('-')
        .skip_while(|word| word.parse::<u32>().is_err())
        .map_while(|word| word.parse::<u32>().ok().filter(|number| *number < 100));
    Generation(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_by_their_ids() {
        for (model, family) in [
            (
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                Family::Claude(Generation(4, 5)),
            ),
            (
                "anthropic.claude-3-7-sonnet-20250219-v1:0",
                Family::Claude(Generation(3, 7)),
            ),
            (
                "global.anthropic.claude-sonnet-4-20250514-v1:0",
                Family::Claude(Generation(4, 0)),
            ),
            ("us.anthropic.claude-opus-5", Family::Claude(Generation(5, 0))),
            ("anthropic.claude-v2", Family::Claude(Generation(0, 0))),
            ("us.amazon.nova-2-lite-v1:0", Family::Nova(2)),
            ("amazon.nova-micro-v1:0", Family::Nova(1)),
            ("openai.gpt-oss-120b-1:0", Family::GptOss),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
                Family::Other,
            ),
        ] {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }
}
