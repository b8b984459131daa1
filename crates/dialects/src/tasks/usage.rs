//! Usage of tasks: in tokens under the names of chat, in seconds, or in searches.

use domain::{Operation, Usage};

use crate::answer::UsageReport;
use crate::json::{Cursor, Figure, Kind, Syntax};
use crate::limits::AUDIO_MS_MAX;
use crate::openai_chat;
use crate::usage::{Tally, judge};

/// Reads a `usage` object.
pub(crate) fn read(raw: &[u8], operation: Operation) -> Result<Tally, Syntax> {
    let mut tally = openai_chat::usage::read(&mut Cursor::strict(raw))?;
    Cursor::strict(raw).object_if(|key, value| {
        match key {
            // `{"type": "duration", "seconds": 12.3}` of `whisper-1`; Mistral's is beside its tokens.
            b"seconds" | b"prompt_audio_seconds" => tally.audio_ms = milliseconds(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    // Where the kinds are not told apart, what comes out is what the task makes, and what is listened to is sound.
    if operation.makes_images() {
        tally.output_image = tally.output_image.or(tally.output);
    }
    if operation == Operation::Speech {
        tally.output_audio = tally.output_audio.or(tally.output);
    }
    if operation.hears() {
        tally.input_audio = tally.input_audio.or(tally.input);
    }
    Ok(tally)
}

/// Reads Cohere's `meta`: `billed_units` are what is billed, `tokens` what was read.
pub(crate) fn read_meta(raw: &[u8]) -> Result<Tally, Syntax> {
    let (mut tally, mut read) = (Tally::default(), Figure::Absent);
    Cursor::strict(raw).object_if(|key, value| {
        match key {
            b"billed_units" => {
                value.object_if(|key, member| {
                    match key {
                        b"search_units" => tally.reranks = member.figure()?,
                        b"input_tokens" => tally.input = member.figure()?,
                        _ => {
                            member.skip()?;
                        }
                    }
                    Ok::<(), Syntax>(())
                })?;
            }
            b"tokens" => {
                value.object_if(|key, member| {
                    if key == b"input_tokens" {
                        read = member.figure()?;
                    } else {
                        member.skip()?;
                    }
                    Ok::<(), Syntax>(())
                })?;
            }
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    if !tally.reranks.is_given() {
        tally.input = tally.input.or(read);
    }
    Ok(tally)
}

/// Reads a length in seconds, with decimals.
pub(crate) fn milliseconds(value: &mut Cursor<'_>) -> Result<Figure, Syntax> {
    if value.kind()? != Kind::Number {
        return value.skip().map(|_| Figure::Absent);
    }
    let span = value.skip()?;
    let seconds = std::str::from_utf8(value.slice(span))
        .ok()
        .and_then(|text| text.parse::<f64>().ok());
    let milliseconds = seconds.map(|seconds| (seconds * 1_000.0).round());
    Ok(match milliseconds {
        Some(length) if (0.0..=AUDIO_MS_MAX as f64).contains(&length) => Figure::Is(length as u64),
        _ => Figure::Bad,
    })
}

/// The verdict on the figures.
pub(crate) fn report(tally: &Tally, raw: &[u8]) -> UsageReport {
    judge(tally, raw, normal)
}

fn normal(tally: &Tally) -> Result<Usage, &'static str> {
    Ok(Usage {
        audio_ms: tally.audio_ms.or_zero(),
        reranks: tally.reranks.or_zero(),
        ..openai_chat::usage::normal(tally)?
    })
}

/// The figures of a further part of the answer beside those of the parts before: a stream of pictures tells each picture's.
pub(crate) fn add(known: &mut UsageReport, more: UsageReport) {
    match (&mut *known, more) {
        (UsageReport::Possible(sum), UsageReport::Possible(more)) => {
            // What is believed of one call is far below what would overflow, and of pictures there are not many.
            *sum += more;
        }
        (UsageReport::Impossible { .. }, _) | (_, UsageReport::None) => {}
        (_, more) => *known = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operation: Operation, text: &str) -> Usage {
        match report(&read(text.as_bytes(), operation).unwrap(), text.as_bytes()) {
            UsageReport::Possible(usage) => usage,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Figures as in the types of the SDK and in what providers document.
    #[test]
    fn every_shape_is_read() {
        let image = r#"{"input_tokens":50,"input_tokens_details":{"image_tokens":40,"text_tokens":10},"output_tokens":4160,"total_tokens":4210}"#;
        assert_eq!(
            of(Operation::ImageEdits, image),
            Usage {
                input: 50,
                input_image: 40,
                output: 4_160,
                output_image: 4_160,
                ..Usage::default()
            }
        );
        let thinking = r#"{"input_tokens":50,"output_tokens":1100,"total_tokens":1150,"output_tokens_details":{"image_tokens":1000,"text_tokens":100}}"#;
        assert_eq!(
            of(Operation::ImageGenerations, thinking),
            Usage {
                input: 50,
                output: 1_100,
                output_image: 1_000,
                ..Usage::default()
            }
        );
        let heard = r#"{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}"#;
        assert_eq!(
            of(Operation::Transcriptions, heard),
            Usage {
                input: 14,
                input_audio: 10,
                output: 45,
                ..Usage::default()
            }
        );
        assert_eq!(
            of(Operation::Transcriptions, r#"{"type":"duration","seconds":12.5}"#),
            Usage {
                audio_ms: 12_500,
                ..Usage::default()
            }
        );
        let voxtral = r#"{"prompt_audio_seconds":203,"prompt_tokens":4,"total_tokens":3264,"completion_tokens":635}"#;
        assert_eq!(of(Operation::Transcriptions, voxtral).audio_ms, 203_000);
        assert_eq!(
            of(
                Operation::Speech,
                r#"{"input_tokens":14,"output_tokens":101,"total_tokens":115}"#
            ),
            Usage {
                input: 14,
                output: 101,
                output_audio: 101,
                ..Usage::default()
            }
        );
        assert_eq!(of(Operation::Rerank, r#"{"total_tokens":26}"#).input, 26);
    }

    #[test]
    fn cohere_bills_searches_or_tokens() {
        let of = |text: &str| report(&read_meta(text.as_bytes()).unwrap(), text.as_bytes());
        let searched =
            r#"{"api_version":{"version":"2"},"billed_units":{"search_units":2},"tokens":{"input_tokens":90}}"#;
        assert_eq!(
            of(searched),
            UsageReport::Possible(Usage {
                reranks: 2,
                ..Usage::default()
            })
        );
        for read in [
            r#"{"billed_units":{"input_tokens":90}}"#,
            r#"{"tokens":{"input_tokens":90}}"#,
        ] {
            assert_eq!(
                of(read),
                UsageReport::Possible(Usage {
                    input: 90,
                    ..Usage::default()
                }),
                "{read}"
            );
        }
        assert_eq!(of(r#"{"billed_units":null}"#), UsageReport::None);
        assert!(matches!(
            of(r#"{"billed_units":{"search_units":-1}}"#),
            UsageReport::Impossible { .. }
        ));
    }

    #[test]
    fn impossible_lengths_are_quarantined() {
        for seconds in ["-1", "1e9", "1e400"] {
            let text = format!(r#"{{"seconds":{seconds}}}"#);
            let tally = read(text.as_bytes(), Operation::Transcriptions).unwrap();
            assert!(
                matches!(report(&tally, text.as_bytes()), UsageReport::Impossible { .. }),
                "{seconds}"
            );
        }
    }
}
