//! Whose voice speaks: `speechConfig` (<https://ai.google.dev/gemini-api/docs/speech-generation>).

use domain::Dialect;
use serde_json::{Value, json};

use crate::hub::{Extra, Losses, Request};

/// OpenAI's voices (openai-python 3.57, `types/chat/chat_completion_audio_param.py`), none of which Google has: it would
/// refuse the whole request for them. What is in neither list is passed on as it is, for Google to judge.
const OPENAIS: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
];

/// How Gemini's sound is written, whatever is asked for.
const FORMAT: &str = "pcm16";

/// What is said of the voice where sound is wanted. What Gemini's own client said of it stands in its `speechConfig`.
pub(super) fn speech(request: &mut Request, losses: &mut Losses) -> Option<Value> {
    let is_spoken = request.modalities.iter().any(|kind| kind == "audio");
    if !is_spoken || request.extra.origin == Some(Dialect::Gemini) {
        return None;
    }
    note_unsaid(&mut request.extra, losses);
    let voice = request.voice.take()?;
    if OPENAIS.iter().any(|known| known.eq_ignore_ascii_case(&voice)) {
        losses.note("voice", "only OpenAI has it; the model's usual voice speaks");
        return None;
    }
    Some(json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}))
}

/// What Chat's `audio` says besides a voice by its name.
fn note_unsaid(extra: &mut Extra, losses: &mut Losses) {
    let Some(Value::Object(audio)) = extra.members.shift_remove("audio") else {
        return;
    };
    for (name, value) in audio {
        match (name.as_str(), value.as_str()) {
            ("voice", Some(_)) | ("format", Some(FORMAT)) => {}
            ("format", _) => losses.note("audio.format", "Gemini speaks in raw samples only (pcm16)"),
            _ => losses.note(format!("audio.{name}"), "only the client's format has it"),
        }
    }
}
