//! Usage of Gemini's format.
//!
//! The prompt includes what was cached, but neither what the provider's tools fed back nor, on the other side, do the
//! candidates include thoughts. Chunks are cumulative, so the last one counts, also where it says less: after a tool the
//! provider counts anew. One without the prompt is incomplete and only adds to what was said; as long as the prompt is
//! unknown there is no usage, since half of it would pass for all.

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
    if tally.input.is_given() {
        seen.tally = tally;
    } else {
        seen.tally.merge(&tally);
    }
    if !seen.tally.input.is_given() && !seen.tally.has_bad() {
        return Ok(());
    }
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
    fn the_last_chunk_counts_and_incomplete_ones_add_to_it() {
        let possible = |input, output, reasoning| {
            UsageReport::Possible(Usage {
                input,
                output,
                reasoning,
                ..Usage::default()
            })
        };
        let early = r#"{"candidatesTokenCount":2,"thoughtsTokenCount":4}"#;
        assert_eq!(after(&[early]), UsageReport::None);
        let counted = r#"{"promptTokenCount":9,"candidatesTokenCount":21,"thoughtsTokenCount":35}"#;
        assert_eq!(after(&[early, counted]), possible(9, 56, 35));
        assert_eq!(
            after(&[counted, r#"{"promptTokenCount":87,"thoughtsTokenCount":78}"#]),
            possible(87, 78, 78)
        );
        assert_eq!(after(&[counted, r#"{"candidatesTokenCount":22}"#]), possible(9, 57, 35));
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
