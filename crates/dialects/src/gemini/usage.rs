//! Usage of Gemini's format.
//!
//! The prompt includes what was cached, but neither what the provider's tools fed back nor, on the other side, do the
//! candidates include thoughts. Chunks are cumulative and early ones incomplete: the last word on each field counts.

use domain::Usage;

use crate::json::{Cursor, Figure, Syntax};
use crate::observation::Observation;
use crate::usage::{CACHE_EXCEEDS_INPUT, Tally, judge};

/// Takes a `usageMetadata` object into the observation.
pub(crate) fn take(raw: &[u8], seen: &mut Observation) -> Result<(), Syntax> {
    let mut tally = Tally::default();
    Cursor::strict(raw).object_if(|key, value| {
        match key {
            b"promptTokenCount" => tally.input = value.figure()?,
            b"cachedContentTokenCount" => tally.cached = value.figure()?,
            b"candidatesTokenCount" | b"responseTokenCount" => tally.output = value.figure()?,
            b"thoughtsTokenCount" => tally.reasoning = value.figure()?,
            b"toolUsePromptTokenCount" => tally.tool_input = value.figure()?,
            b"totalTokenCount" => tally.total = value.figure()?,
            b"promptTokensDetails" => tally.input_audio = audio(value)?,
            b"candidatesTokensDetails" | b"responseTokensDetails" => tally.output_audio = audio(value)?,
            b"serviceTier" => seen.service_tier(value)?,
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

/// The arithmetic.
pub(crate) fn normal(tally: &Tally) -> Result<Usage, &'static str> {
    let cache_read = tally.cached.or_zero();
    let reasoning = tally.reasoning.or_zero();
    let uncached = tally
        .input
        .or_zero()
        .checked_sub(cache_read)
        .ok_or(CACHE_EXCEEDS_INPUT)?;
    Ok(Usage {
        input: uncached + tally.tool_input.or_zero(),
        cache_read,
        output: tally.output.or_zero() + reasoning,
        reasoning,
        input_audio: tally.input_audio.or_zero(),
        output_audio: tally.output_audio.or_zero(),
        ..Usage::default()
    })
}

/// The audio tokens of a list by modality.
fn audio(value: &mut Cursor<'_>) -> Result<Figure, Syntax> {
    let mut found = Figure::Absent;
    value.array_if(|element| {
        let (mut is_audio, mut count) = (false, Figure::Absent);
        element.object_if(|key, member| {
            match key {
                b"modality" => is_audio = member.string_if()?.is_some_and(|text| text.is("AUDIO")),
                b"tokenCount" => count = member.figure()?,
                _ => {
                    member.skip()?;
                }
            }
            Ok::<(), Syntax>(())
        })?;
        if is_audio {
            found = count;
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UsageReport;

    fn after(raws: &[&str]) -> UsageReport {
        let mut seen = Observation::default();
        for raw in raws {
            take(raw.as_bytes(), &mut seen).unwrap();
        }
        seen.report.usage
    }

    #[test]
    fn thoughts_and_tool_results_are_added() {
        let raw = r#"{"promptTokenCount":100,"cachedContentTokenCount":40,"candidatesTokenCount":7,"thoughtsTokenCount":5,"toolUsePromptTokenCount":30,
            "totalTokenCount":142,"promptTokensDetails":[{"modality":"TEXT","tokenCount":90},{"modality":"AUDIO","tokenCount":10}]}"#;
        let expected = Usage {
            input: 90,
            cache_read: 40,
            output: 12,
            reasoning: 5,
            input_audio: 10,
            ..Usage::default()
        };
        assert_eq!(after(&[raw]), UsageReport::Possible(expected));
    }

    #[test]
    fn the_last_word_on_each_field_counts() {
        let report = after(&[
            r#"{"promptTokenCount":9,"thoughtsTokenCount":4}"#,
            r#"{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":6}"#,
            r#"{"candidatesTokenCount":3}"#,
        ]);
        assert_eq!(
            report,
            UsageReport::Possible(Usage {
                input: 9,
                output: 9,
                reasoning: 6,
                ..Usage::default()
            })
        );
    }

    #[test]
    fn impossible_figures_are_quarantined() {
        for raw in [
            r#"{"promptTokenCount":1,"cachedContentTokenCount":2}"#,
            r#"{"promptTokenCount":-1}"#,
            r#"{"candidatesTokenCount":"x"}"#,
        ] {
            assert!(matches!(after(&[raw]), UsageReport::Impossible { .. }), "{raw}");
        }
        assert_eq!(after(&["{}"]), UsageReport::None);
    }
}
