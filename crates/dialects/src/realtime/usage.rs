//! What a response and a transcription used.
//!
//! A response's figures are those of `OpenAI`'s other formats, with each kind of token told apart, in the cache too. A
//! transcription is billed at its own model's price, by tokens or by the length of the speech.

use crate::answer::UsageReport;
use crate::json::{Cursor, Syntax};
use crate::openai_chat;
use crate::usage::judge;

/// What it took to write down speech.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcribed {
    /// Tokens, where the model is billed by them.
    pub usage: UsageReport,
    /// Milliseconds of speech, where the model is billed by time.
    pub duration_ms: Option<u64>,
    /// Bytes of the transcript.
    pub text_bytes: u64,
}

/// The longest speech that is believed: a day is far beyond any session.
const SECONDS_MAX: f64 = 86_400.0;

/// `response.usage` of `response.done`.
pub(super) fn of_response(object: &[u8]) -> Result<UsageReport, Syntax> {
    let tally = openai_chat::usage::read(&mut Cursor::lenient(object))?;
    Ok(judge(&tally, object, openai_chat::usage::normal))
}

/// `usage` of a transcription.
pub(super) fn transcribed(object: &[u8], text_bytes: u64) -> Result<Transcribed, Syntax> {
    let duration_ms = duration_ms(object)?;
    let usage = match duration_ms {
        Some(_) => UsageReport::None,
        None => of_response(object)?,
    };
    Ok(Transcribed {
        usage,
        duration_ms,
        text_bytes,
    })
}

fn duration_ms(object: &[u8]) -> Result<Option<u64>, Syntax> {
    let mut seconds = None;
    Cursor::lenient(object).object_if(|key, value| {
        let span = value.skip()?;
        if key == b"seconds" {
            let text = std::str::from_utf8(value.slice(span)).ok();
            seconds = text.and_then(|text| text.parse::<f64>().ok());
        }
        Ok::<(), Syntax>(())
    })?;
    let believed = seconds.filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    Ok(believed.map(|seconds| (seconds * 1_000.0).ceil() as u64))
}
