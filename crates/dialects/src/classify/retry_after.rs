//! When the provider says to come back.
//!
//! `retry-after-ms` and `retry-after` are explicit. Without them a window that says `remaining: 0` names its reset:
//! `OpenAI` and Groq as a duration (`6m0s`, `7.66s`), Cerebras and Together in seconds, OpenRouter in Unix milliseconds,
//! Anthropic as an RFC 3339 date, its subscriptions in Unix seconds. Of several exhausted windows the last to reset
//! counts, since the call needs all of them.

use std::time::Duration;

use domain::{Dialect, Timestamp};
use http::HeaderMap;
use jiff::fmt::rfc2822;

use crate::limits::RETRY_AFTER_MAX_SECS;

/// The wait that the headers name.
pub(crate) fn named(dialect: Dialect, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    milliseconds(headers)
        .or_else(|| text(headers, "retry-after").and_then(|value| seconds_or_date(value, now)))
        .or_else(|| match dialect {
            Dialect::AnthropicMessages => anthropic_reset(headers, now),
            _ => openai_reset(headers, now),
        })
}

/// The time until a window that an answer says is used up is whole again: one of those that all providers of the format
/// mean alike, and no more of them than can be looked up for every answer.
pub(crate) fn used_up(dialect: Dialect, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    match dialect {
        Dialect::AnthropicMessages => anthropic_windows(headers, now),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => OPENAI_USUAL
            .iter()
            .filter_map(|window| openai_window(headers, window, now))
            .max(),
        Dialect::Gemini | Dialect::BedrockConverse => None,
    }
}

/// The headers of one window.
struct Window {
    remaining: &'static str,
    reset: &'static str,
}

const ANTHROPIC: [Window; 4] = [
    Window {
        remaining: "anthropic-ratelimit-requests-remaining",
        reset: "anthropic-ratelimit-requests-reset",
    },
    Window {
        remaining: "anthropic-ratelimit-tokens-remaining",
        reset: "anthropic-ratelimit-tokens-reset",
    },
    Window {
        remaining: "anthropic-ratelimit-input-tokens-remaining",
        reset: "anthropic-ratelimit-input-tokens-reset",
    },
    Window {
        remaining: "anthropic-ratelimit-output-tokens-remaining",
        reset: "anthropic-ratelimit-output-tokens-reset",
    },
];

/// OpenAI's own, which most others have too.
const OPENAI_USUAL: [Window; 2] = [
    Window {
        remaining: "x-ratelimit-remaining-requests",
        reset: "x-ratelimit-reset-requests",
    },
    Window {
        remaining: "x-ratelimit-remaining-tokens",
        reset: "x-ratelimit-reset-tokens",
    },
];

/// Those of Cerebras and `SambaNova` (by the minute and by the day), Together and `OpenRouter` (one for all).
const OPENAI_OTHERS: [Window; 5] = [
    Window {
        remaining: "x-ratelimit-remaining-requests-minute",
        reset: "x-ratelimit-reset-requests-minute",
    },
    Window {
        remaining: "x-ratelimit-remaining-tokens-minute",
        reset: "x-ratelimit-reset-tokens-minute",
    },
    Window {
        remaining: "x-ratelimit-remaining-requests-day",
        reset: "x-ratelimit-reset-requests-day",
    },
    Window {
        remaining: "x-ratelimit-remaining-tokens-day",
        reset: "x-ratelimit-reset-tokens-day",
    },
    Window {
        remaining: "x-ratelimit-remaining",
        reset: "x-ratelimit-reset",
    },
];

/// A wait that is not beyond every known window.
pub(crate) fn believed(wait: Duration) -> Duration {
    wait.min(Duration::from_secs(RETRY_AFTER_MAX_SECS))
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Azure sends `retry-after-ms: 0` beside `retry-after: 1`; zero says nothing.
fn milliseconds(headers: &HeaderMap) -> Option<Duration> {
    let value: f64 = text(headers, "retry-after-ms")?.parse().ok()?;
    Duration::try_from_secs_f64(value / 1_000.0)
        .ok()
        .filter(|wait| !wait.is_zero())
}

fn seconds_or_date(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Timestamp(date.as_microsecond()).since(now))
}

fn openai_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    OPENAI_USUAL
        .iter()
        .chain(&OPENAI_OTHERS)
        .filter_map(|window| openai_window(headers, window, now))
        .max()
}

fn openai_window(headers: &HeaderMap, window: &Window, now: Timestamp) -> Option<Duration> {
    is_exhausted(headers, window.remaining)
        .then(|| text(headers, window.reset).and_then(|value| reset(value, now)))
        .flatten()
}

fn anthropic_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    anthropic_windows(headers, now).or_else(|| unified_reset(headers, now))
}

fn anthropic_windows(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    ANTHROPIC
        .iter()
        .filter(|window| is_exhausted(headers, window.remaining))
        .filter_map(|window| text(headers, window.reset).and_then(|value| date(value, now)))
        .max()
}

/// A reset in any of the forms in use. A plain number is a point in time where it is too large for a wait, in seconds or
/// in milliseconds.
pub(crate) fn reset(value: &str, now: Timestamp) -> Option<Duration> {
    let Ok(number) = value.parse::<f64>() else {
        return go_duration(value).or_else(|| date(value, now));
    };
    if !number.is_finite() {
        return None;
    }
    let wait = if number >= EPOCH_MS_MIN {
        Timestamp((number * 1e3) as i64).since(now)
    } else if number >= EPOCH_SECS_MIN {
        Timestamp((number * 1e6) as i64).since(now)
    } else {
        Duration::try_from_secs_f64(number).ok()?
    };
    (!wait.is_zero()).then_some(wait)
}

/// September 2001 in seconds: no wait is that long, and no point in time of today is before.
const EPOCH_SECS_MIN: f64 = 1e9;
/// The same in milliseconds.
const EPOCH_MS_MIN: f64 = 1e12;

fn date(value: &str, now: Timestamp) -> Option<Duration> {
    let date: jiff::Timestamp = value.parse().ok()?;
    let wait = Timestamp(date.as_microsecond()).since(now);
    (!wait.is_zero()).then_some(wait)
}

/// Subscriptions: the window counts only where it is what refused.
fn unified_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let status = text(headers, "anthropic-ratelimit-unified-status")?;
    if !matches!(status, "rate_limited" | "rejected" | "blocked" | "queueing_hard") {
        return None;
    }
    let epoch: i64 = text(headers, "anthropic-ratelimit-unified-reset")?.parse().ok()?;
    let reset = Timestamp(epoch.checked_mul(1_000_000)?);
    (reset > now).then(|| reset.since(now))
}

fn is_exhausted(headers: &HeaderMap, name: &'static str) -> bool {
    text(headers, name) == Some("0")
}

/// `6m0s`, `12ms`, `1h2m3.5s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_445_412_470); // 2015-10-21T07:27:50Z

    fn wait(dialect: Dialect, pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        named(dialect, &headers, NOW)
    }

    #[test]
    fn reads_every_form() {
        let openai = |pairs: &[_]| wait(Dialect::OpenaiChat, pairs);
        assert_eq!(
            openai(&[("retry-after", "1"), ("retry-after-ms", "250.5")]),
            Some(Duration::from_micros(250_500))
        );
        assert_eq!(
            openai(&[("retry-after", "1"), ("retry-after-ms", "0")]),
            Some(Duration::from_secs(1))
        );
        assert_eq!(openai(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(
            openai(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            openai(&[("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")]),
            Some(Duration::ZERO)
        );
        assert_eq!(openai(&[("retry-after", "soon")]), None);
        assert_eq!(openai(&[("retry-after", "-1")]), None);
        assert_eq!(openai(&[]), None);
    }

    #[test]
    fn exhausted_windows_name_their_reset() {
        let openai = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "12ms"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        assert_eq!(wait(Dialect::OpenaiChat, &openai), Some(Duration::from_mins(6)));
        let healthy = [
            ("x-ratelimit-remaining-requests", "5"),
            ("x-ratelimit-reset-requests", "6m0s"),
        ];
        assert_eq!(wait(Dialect::OpenaiChat, &healthy), None);
        let anthropic = [
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            ("anthropic-ratelimit-output-tokens-reset", "2015-10-21T07:29:00Z"),
        ];
        assert_eq!(
            wait(Dialect::AnthropicMessages, &anthropic),
            Some(Duration::from_secs(70))
        );
        let plan = [
            ("anthropic-ratelimit-unified-status", "rejected"),
            ("anthropic-ratelimit-unified-reset", "1445412500"),
        ];
        assert_eq!(wait(Dialect::AnthropicMessages, &plan), Some(Duration::from_secs(30)));
        let allowed = [
            ("anthropic-ratelimit-unified-status", "allowed"),
            ("anthropic-ratelimit-unified-reset", "1445412500"),
        ];
        assert_eq!(wait(Dialect::AnthropicMessages, &allowed), None);
    }

    #[test]
    fn a_reset_comes_in_many_forms() {
        for (value, ms) in [
            ("6m0s", 360_000),
            ("7.66s", 7_660),
            ("45.5", 45_500),
            ("1445412480", 10_000),
            ("1445412480000", 10_000),
            ("2015-10-21T07:28:00Z", 10_000),
        ] {
            assert_eq!(reset(value, NOW), Some(Duration::from_millis(ms)), "{value}");
        }
        for value in [
            "0",
            "0s",
            "-1",
            "NaN",
            "inf",
            "soon",
            "1445412400",
            "2015-10-21T07:27:00Z",
        ] {
            assert_eq!(reset(value, NOW), None, "{value}");
        }
    }

    #[test]
    fn the_windows_of_others_count_when_they_are_used_up() {
        let cerebras = [
            ("x-ratelimit-remaining-requests-day", "10"),
            ("x-ratelimit-reset-requests-day", "33011.38"),
            ("x-ratelimit-remaining-tokens-minute", "0"),
            ("x-ratelimit-reset-tokens-minute", "45.5"),
        ];
        assert_eq!(
            wait(Dialect::OpenaiChat, &cerebras),
            Some(Duration::from_millis(45_500))
        );
        let openrouter = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412530000")];
        assert_eq!(wait(Dialect::OpenaiChat, &openrouter), Some(Duration::from_mins(1)));
    }

    #[test]
    fn an_answer_that_says_nothing_is_left_names_when_there_is_again() {
        let headers: HeaderMap = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "8.64s"),
            ("x-ratelimit-remaining-tokens", "5000"),
            ("x-ratelimit-reset-tokens", "6m0s"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "3600"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
        assert_eq!(
            used_up(Dialect::OpenaiChat, &headers, NOW),
            Some(Duration::from_millis(8_640))
        );
        assert_eq!(used_up(Dialect::AnthropicMessages, &headers, NOW), None);
        assert_eq!(used_up(Dialect::OpenaiChat, &HeaderMap::new(), NOW), None);
    }

    #[test]
    fn a_wait_beyond_every_window_is_not_believed() {
        assert_eq!(believed(Duration::from_secs(u64::MAX)).as_secs(), RETRY_AFTER_MAX_SECS);
        assert_eq!(go_duration("1h2m3.5s"), Some(Duration::from_millis(3_723_500)));
        assert_eq!(go_duration("6"), None);
        assert_eq!(go_duration("0s"), None);
    }
}
