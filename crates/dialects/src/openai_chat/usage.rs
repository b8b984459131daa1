//! Usage of `OpenAI`'s formats: chat, completions, embeddings and Responses, which differ only in names.
//!
//! The prompt includes what was cached, the completion includes reasoning. Two departures are told by arithmetic: xAI
//! counts reasoning beside the completion (only the total shows it), embeddings of some providers give the total alone.

use domain::Usage;

use crate::json::{Cursor, Figure, Syntax};
use crate::usage::{CACHE_EXCEEDS_INPUT, Tally};

/// Reads a usage object (anything else reads as nothing).
pub(crate) fn read(value: &mut Cursor<'_>) -> Result<Tally, Syntax> {
    let mut tally = Tally::default();
    let mut cached_elsewhere = Figure::Absent;
    value.object_if(|key, member| {
        match key {
            b"prompt_tokens" | b"input_tokens" => tally.input = member.figure()?,
            b"completion_tokens" | b"output_tokens" => tally.output = member.figure()?,
            b"total_tokens" => tally.total = member.figure()?,
            b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => {
                prompt_details(member, &mut tally)?;
            }
            b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                completion_details(member, &mut tally)?;
            }
            // DeepSeek and Moonshot said it at the top before they had details. Mistral's `num_cached_tokens` is left
            // aside: whether it lowers the price is not known, and the details say it where it does.
            b"prompt_cache_hit_tokens" | b"cached_tokens" => {
                cached_elsewhere.merge(member.figure()?);
            }
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    tally.cached = tally.cached.or(cached_elsewhere);
    Ok(tally)
}

/// The arithmetic.
pub(crate) fn normal(tally: &Tally) -> Result<Usage, &'static str> {
    let total = tally.total.or_zero();
    let reasoning = tally.reasoning.or_zero();
    let completion = tally.output.or_zero();
    let prompt = match (tally.input, tally.total) {
        (Figure::Absent, Figure::Is(total)) => total.saturating_sub(completion),
        (given, _) => given.or_zero(),
    };
    let output = match tally.output {
        Figure::Absent => total.saturating_sub(prompt),
        _ if reasoning > 0 && total == prompt + completion + reasoning => completion + reasoning,
        _ => completion,
    };
    let (cache_read, cache_write) = (tally.cached.or_zero(), tally.written.or_zero());
    let input = prompt
        .checked_sub(cache_read + cache_write)
        .ok_or(CACHE_EXCEEDS_INPUT)?;
    Ok(Usage {
        input,
        cache_read,
        cache_write_5m: cache_write,
        output,
        reasoning,
        // The kinds are those of the whole prompt; what of them was cached has a bucket of its own.
        input_audio: tally.input_audio.or_zero().saturating_sub(tally.cached_audio.or_zero()),
        input_image: tally.input_image.or_zero().saturating_sub(tally.cached_image.or_zero()),
        output_audio: tally.output_audio.or_zero(),
        output_image: tally.output_image.or_zero(),
        cache_read_audio: tally.cached_audio.or_zero(),
        cache_read_image: tally.cached_image.or_zero(),
        ..Usage::default()
    })
}

fn prompt_details(value: &mut Cursor<'_>, tally: &mut Tally) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        match key {
            b"cached_tokens" => tally.cached = member.figure()?,
            b"cache_write_tokens" => tally.written = member.figure()?,
            b"audio_tokens" => tally.input_audio = member.figure()?,
            b"image_tokens" => tally.input_image = member.figure()?,
            b"cached_tokens_details" => cached_details(member, tally)?,
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

/// What the cache held, by kind: Realtime and the image models say it.
fn cached_details(value: &mut Cursor<'_>, tally: &mut Tally) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        match key {
            b"audio_tokens" => tally.cached_audio = member.figure()?,
            b"image_tokens" => tally.cached_image = member.figure()?,
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

fn completion_details(value: &mut Cursor<'_>, tally: &mut Tally) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        match key {
            b"reasoning_tokens" => tally.reasoning = member.figure()?,
            b"audio_tokens" => tally.output_audio = member.figure()?,
            b"image_tokens" => tally.output_image = member.figure()?,
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::UsageReport;
    use crate::usage::judge;

    fn report(text: &str) -> UsageReport {
        let tally = read(&mut Cursor::strict(text.as_bytes())).unwrap();
        judge(&tally, text.as_bytes(), normal)
    }

    fn usage(text: &str) -> Usage {
        match report(text) {
            UsageReport::Possible(usage) => usage,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_prompt_includes_the_cache_and_the_completion_the_reasoning() {
        let text = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
            "prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10,"audio_tokens":5},
            "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":3}}"#;
        let expected = Usage {
            input: 30,
            cache_read: 60,
            cache_write_5m: 10,
            output: 50,
            reasoning: 20,
            input_audio: 5,
            output_audio: 3,
            ..Usage::default()
        };
        assert_eq!(usage(text), expected);
    }

    #[test]
    fn kinds_of_tokens_are_told_apart_and_those_from_the_cache_too() {
        let text = r#"{"input_tokens":1000,"output_tokens":50,"total_tokens":1050,
            "input_tokens_details":{"cached_tokens":600,"text_tokens":100,"audio_tokens":500,"image_tokens":400,
                "cached_tokens_details":{"text_tokens":50,"audio_tokens":350,"image_tokens":200}},
            "output_tokens_details":{"text_tokens":10,"audio_tokens":30,"image_tokens":10}}"#;
        let expected = Usage {
            input: 400,
            input_audio: 150,
            input_image: 200,
            cache_read: 600,
            cache_read_audio: 350,
            cache_read_image: 200,
            output: 50,
            output_audio: 30,
            output_image: 10,
            ..Usage::default()
        };
        assert_eq!(usage(text), expected);
    }

    #[test]
    fn reasoning_beside_the_completion_shows_in_the_total() {
        let text = r#"{"prompt_tokens":12,"completion_tokens":1,"total_tokens":303,"completion_tokens_details":{"reasoning_tokens":290}}"#;
        assert_eq!((usage(text).output, usage(text).reasoning), (291, 290));
    }

    #[test]
    fn a_total_alone_is_the_prompt() {
        assert_eq!(usage(r#"{"total_tokens":3}"#).input, 3);
        assert_eq!(usage(r#"{"prompt_tokens":3,"total_tokens":8}"#).output, 5);
    }

    #[test]
    fn caches_named_at_the_top_count_where_there_are_no_details() {
        assert_eq!(
            usage(r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":4}"#).cache_read,
            4
        );
        let both = r#"{"prompt_tokens":9,"completion_tokens":1,"cached_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}"#;
        assert_eq!(usage(both).cache_read, 2);
        assert_eq!(
            usage(r#"{"prompt_tokens":64,"completion_tokens":6,"num_cached_tokens":32}"#).cache_read,
            0
        );
    }

    #[test]
    fn nothing_said_is_nothing() {
        for text in ["null", "{}", r#"{"prompt_tokens":null}"#, "[]", "1"] {
            assert_eq!(report(text), UsageReport::None, "{text}");
        }
    }

    #[test]
    fn impossible_figures_are_quarantined() {
        for text in [
            r#"{"prompt_tokens":293,"completion_tokens":58,"total_tokens":351,"prompt_tokens_details":{"cached_tokens":387}}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1.5,"completion_tokens":1}"#,
            r#"{"prompt_tokens":"7","completion_tokens":1}"#,
            r#"{"prompt_tokens":9007199254740993,"completion_tokens":1}"#,
            r#"{"prompt_tokens":9007199254740992,"completion_tokens":1}"#,
            r#"{"prompt_tokens":10,"completion_tokens":10000000000000}"#,
            r#"{"prompt_tokens":999999999,"completion_tokens":2}"#,
            r#"{"prompt_tokens":1,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":6}}"#,
        ] {
            match report(text) {
                UsageReport::Impossible { raw, .. } => assert_eq!(raw, text),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn impossible_figures_are_told_as_far_as_they_can_be_true() {
        let text = r#"{"prompt_tokens":293,"completion_tokens":58,"prompt_tokens_details":{"cached_tokens":387}}"#;
        let UsageReport::Impossible { nearest, .. } = report(text) else {
            panic!("{text} is possible");
        };
        let nearest = nearest.unwrap();
        assert_eq!((nearest.prompt(), nearest.cache_read, nearest.output), (293, 293, 58));
    }
}
