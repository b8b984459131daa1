//! How the model shall speak: `audio`, which OpenAI requires where `modalities` has it ("Required when audio output is
//! requested", openai-python, `types/chat/chat_completion_audio_param.py`).

use serde_json::{Value, json};

use crate::hub::Losses;

/// Of OpenAI's voices the one that its documentation speaks with.
const VOICE_DEFAULT: &str = "alloy";

/// Google's voices, which nobody else has: <https://ai.google.dev/gemini-api/docs/speech-generation#voices>.
const GOOGLES: [&str; 30] = [
    "achernar",
    "achird",
    "algenib",
    "algieba",
    "alnilam",
    "aoede",
    "autonoe",
    "callirrhoe",
    "charon",
    "despina",
    "enceladus",
    "erinome",
    "fenrir",
    "gacrux",
    "iapetus",
    "kore",
    "laomedeia",
    "leda",
    "orus",
    "puck",
    "pulcherrima",
    "rasalgethi",
    "sadachbia",
    "sadaltager",
    "schedar",
    "sulafat",
    "umbriel",
    "vindemiatrix",
    "zephyr",
    "zubenelgenubi",
];

/// The voice and the format: `pcm16` is the only one that streams.
pub(super) fn wanted(voice: Option<String>, stream: bool, losses: &mut Losses) -> Value {
    let is_googles = |voice: &str| GOOGLES.iter().any(|known| known.eq_ignore_ascii_case(voice));
    let voice = voice.filter(|voice| {
        let is_foreign = is_googles(voice);
        losses.note_if(
            is_foreign,
            "voice",
            "only Google has it; the target's usual voice speaks",
        );
        !is_foreign
    });
    let voice = voice.unwrap_or_else(|| VOICE_DEFAULT.to_owned());
    json!({"voice": voice, "format": if stream { "pcm16" } else { "wav" }})
}
