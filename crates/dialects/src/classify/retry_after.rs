//! When the provider says to come back.
//!
//! `retry-after-ms` and `retry-after` are explicit. Without them a window that says `remaining: 0` names its reset:
//! `OpenAI` as a duration (`6m0s`), Anthropic as an RFC 3339 date, its subscriptions as Unix seconds. Of several
//! exhausted windows the last to reset counts, since the call needs all of them.

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
            _ => openai_reset(headers),
        })
}

/// A wait that is not beyond every known window.
pub(crate) fn believed(wait: Duration) -> Duration {
    wait.min(Duration::from_secs(RETRY_AFTER_MAX_SECS))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
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

fn openai_reset(headers: &HeaderMap) -> Option<Duration> {
    ["requests", "tokens"]
        .into_iter()
        .filter(|window| is_exhausted(headers, &format!("x-ratelimit-remaining-{window}")))
        .filter_map(|window| go_duration(text(headers, &format!("x-ratelimit-reset-{window}"))?))
        .max()
}

fn anthropic_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let windows = ["requests", "tokens", "input-tokens", "output-tokens"]
        .into_iter()
        .filter(|window| is_exhausted(headers, &format!("anthropic-ratelimit-{window}-remaining")))
        .filter_map(|window| {
            let date: jiff::Timestamp = text(headers, &format!("anthropic-ratelimit-{window}-reset"))?
                .parse()
                .ok()?;
            Some(Timestamp(date.as_microsecond()).since(now))
        })
        .max();
    windows.or_else(|| unified_reset(headers, now))
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

fn is_exhausted(headers: &HeaderMap, name: &str) -> bool {
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
    fn a_wait_beyond_every_window_is_not_believed() {
        assert_eq!(believed(Duration::from_secs(u64::MAX)).as_secs(), RETRY_AFTER_MAX_SECS);
        assert_eq!(go_duration("1h2m3.5s"), Some(Duration::from_millis(3_723_500)));
        assert_eq!(go_duration("6"), None);
        assert_eq!(go_duration("0s"), None);
    }
}
