//! What an answer tells of the limits that the next call will meet.
//!
//! Providers say so with every answer, and a gateway that reads only their refusals learns it one refused call too late.
//! All that is wanted is whether something is used up, and how full the allowances of a subscription are; the rest of the
//! figures is nobody's business here. It is read for every answer, so an answer without such headers costs a few look-ups.

use std::time::Duration;

use domain::{Dialect, Timestamp, Window, Windows};
use http::HeaderMap;

use super::retry_after::{self, believed, text};

/// What an answer tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Nothing is left of a limit on this model, until this has passed.
    pub used_up: Option<Duration>,
    /// The allowances of the account.
    pub windows: Windows,
}

impl Allowance {
    /// What the headers of an answer in this format tell.
    pub fn read(dialect: Dialect, headers: &HeaderMap, now: Timestamp) -> Self {
        Self {
            used_up: retry_after::used_up(dialect, headers, now).map(believed),
            windows: windows(dialect, headers),
        }
    }

    /// Whether it tells nothing.
    pub const fn is_empty(&self) -> bool {
        self.used_up.is_none() && self.windows.is_empty()
    }
}

/// The allowances of an Anthropic subscription, which come with each of its answers: `…-utilization` as a fraction,
/// `…-reset` in Unix seconds (as Claude Code reads them; there is no documentation).
fn windows(dialect: Dialect, headers: &HeaderMap) -> Windows {
    if dialect != Dialect::AnthropicMessages || !headers.contains_key("anthropic-ratelimit-unified-status") {
        return Windows::default();
    }
    Windows {
        five_hours: window(
            headers,
            "anthropic-ratelimit-unified-5h-utilization",
            "anthropic-ratelimit-unified-5h-reset",
        ),
        seven_days: window(
            headers,
            "anthropic-ratelimit-unified-7d-utilization",
            "anthropic-ratelimit-unified-7d-reset",
        ),
    }
}

/// Beyond this a figure is none: a window cannot be used ten times over.
const USED_MAX: f64 = 10.0;

fn window(headers: &HeaderMap, utilization: &'static str, reset: &'static str) -> Option<Window> {
    let used: f64 = text(headers, utilization)?.parse().ok()?;
    let reset: i64 = text(headers, reset)?.parse().ok()?;
    (0.0..=USED_MAX).contains(&used).then_some(())?;
    Some(Window {
        // Rounded down: what an operator calls 90 % is not reached at 89.99 %.
        used_permille: (used * 1_000.0 + 1e-6) as u32,
        resets_at: Timestamp(reset.checked_mul(1_000_000)?),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_allowances_of_a_subscription() {
        let told = headers(&[
            ("anthropic-ratelimit-unified-status", "allowed_warning"),
            ("anthropic-ratelimit-unified-5h-utilization", "0.29"),
            ("anthropic-ratelimit-unified-5h-reset", "1800003600"),
            ("anthropic-ratelimit-unified-7d-utilization", "1.02"),
            ("anthropic-ratelimit-unified-7d-reset", "1800600000"),
        ]);
        let allowance = Allowance::read(Dialect::AnthropicMessages, &told, NOW);
        let expected = |used_permille, secs| {
            Some(Window {
                used_permille,
                resets_at: Timestamp::from_secs(secs),
            })
        };
        assert_eq!(allowance.windows.five_hours, expected(290, 1_800_003_600));
        assert_eq!(allowance.windows.seven_days, expected(1_020, 1_800_600_000));
        assert_eq!(allowance.used_up, None);
        assert!(Allowance::read(Dialect::OpenaiChat, &told, NOW).is_empty());
    }

    #[test]
    fn figures_that_cannot_be_are_left_out() {
        for (used, reset) in [
            ("-0.1", "1"),
            ("NaN", "1"),
            ("55", "1"),
            ("0.5", "soon"),
            ("0.5", "9223372036854775807"),
        ] {
            let told = headers(&[
                ("anthropic-ratelimit-unified-status", "allowed"),
                ("anthropic-ratelimit-unified-5h-utilization", used),
                ("anthropic-ratelimit-unified-5h-reset", reset),
            ]);
            let allowance = Allowance::read(Dialect::AnthropicMessages, &told, NOW);
            assert!(allowance.is_empty(), "{used} {reset}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(one in "[ -~]{0,24}", other in "[ -~]{0,24}") {
            let told = headers(&[
                ("anthropic-ratelimit-unified-status", &one),
                ("anthropic-ratelimit-unified-5h-utilization", &one),
                ("anthropic-ratelimit-unified-5h-reset", &other),
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", &other),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", &other),
            ]);
            for dialect in Dialect::ALL {
                let _allowance = Allowance::read(dialect, &told, NOW);
            }
        }
    }
}
