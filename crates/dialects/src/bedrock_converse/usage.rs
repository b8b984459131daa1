//! Usage of Bedrock's format.
//!
//! The input excludes the cache: in recordings the total is the sum of all four figures. How long what was written lives
//! stands in `cacheDetails`, where a model tells.

use domain::Usage;

use crate::json::{Cursor, Figure, Syntax};
use crate::observation::Observation;
use crate::usage::{SPLIT_EXCEEDS_WRITTEN, Tally, judge};

/// Takes a usage object into the observation.
pub(super) fn take(raw: &[u8], seen: &mut Observation) -> Result<(), Syntax> {
    let mut cursor = Cursor::strict(raw);
    let mut tally = Tally::default();
    cursor.object_if(|key, value| {
        match key {
            b"inputTokens" => tally.input = value.figure()?,
            b"outputTokens" => tally.output = value.figure()?,
            b"cacheReadInputTokens" => tally.cached = value.figure()?,
            b"cacheWriteInputTokens" => tally.written = value.figure()?,
            b"cacheDetails" => {
                value.array_if(|element| life(element, &mut tally))?;
            }
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    seen.tally.merge(&tally);
    seen.report.usage = judge(&seen.tally, raw, normal);
    Ok(())
}

/// `{ttl: 5m | 1h, inputTokens}`
fn life(element: &mut Cursor<'_>, tally: &mut Tally) -> Result<(), Syntax> {
    let (mut is_hour, mut tokens) = (false, Figure::default());
    element.object_if(|key, value| {
        match key {
            b"ttl" => is_hour = value.string_if()?.is_some_and(|text| text.is("1h")),
            b"inputTokens" => tokens = value.figure()?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    let slot = if is_hour {
        &mut tally.written_1h
    } else {
        &mut tally.written_5m
    };
    slot.merge(tokens);
    Ok(())
}

fn normal(tally: &Tally) -> Result<Usage, &'static str> {
    let written = tally.written.or_zero();
    let hour = tally.written_1h.or_zero();
    if tally.written_5m.or_zero() + hour > written {
        return Err(SPLIT_EXCEEDS_WRITTEN);
    }
    Ok(Usage {
        input: tally.input.or_zero(),
        cache_read: tally.cached.or_zero(),
        // What no life is given for is billed as the shorter one.
        cache_write_5m: written - hour,
        cache_write_1h: hour,
        output: tally.output.or_zero(),
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UsageReport;

    fn usage(raw: &str) -> UsageReport {
        let mut seen = Observation::default();
        take(raw.as_bytes(), &mut seen).unwrap();
        seen.report.usage
    }

    #[test]
    fn the_input_excludes_the_cache() {
        let raw = r#"{"inputTokens":11,"outputTokens":236,"totalTokens":1282,"cacheReadInputTokens":7,
            "cacheWriteInputTokens":1028,"cacheWriteInputTokenCount":1028,"cacheDetails":[{"ttl":"1h","inputTokens":1000}]}"#;
        let expected = Usage {
            input: 11,
            cache_read: 7,
            cache_write_5m: 28,
            cache_write_1h: 1000,
            output: 236,
            ..Usage::default()
        };
        assert_eq!(usage(raw), UsageReport::Possible(expected));
    }

    #[test]
    fn impossible_figures_are_not_repaired() {
        let raw = r#"{"inputTokens":1,"cacheWriteInputTokens":1,"cacheDetails":[{"ttl":"5m","inputTokens":3}]}"#;
        assert!(matches!(
            usage(raw),
            UsageReport::Impossible {
                why: SPLIT_EXCEEDS_WRITTEN,
                ..
            }
        ));
    }
}
