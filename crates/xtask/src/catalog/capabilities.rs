//! What models can do, as far as the source says it.
//!
//! The source leaves out more than it denies: Llama 4 sees pictures, and nothing is said of it. So only an explicit `false`
//! is a no, or a list of modalities that lacks one; where the source says nothing, or two things, we say nothing.

use std::fmt::Write as _;

use super::Entry;

/// Our word, the source's flag, and the word in its list of modalities.
const KNOWN: [(&str, &str, Option<&str>); 8] = [
    ("tools", "supports_function_calling", None),
    ("parallel_tools", "supports_parallel_function_calling", None),
    ("schema", "supports_response_schema", None),
    ("image", "supports_vision", Some("image")),
    ("audio", "supports_audio_input", Some("audio")),
    ("document", "supports_pdf_input", None),
    ("video", "supports_video_input", Some("video")),
    ("prefill", "supports_assistant_prefill", None),
];

/// Providers whose models do it at another address only: DeepSeek wants `https://api.deepseek.com/beta` for it
/// (<https://api-docs.deepseek.com/guides/chat_prefix_completion>), which is not where its preset goes.
const ELSEWHERE: [(&str, &str); 1] = [("deepseek", "prefill")];

/// Writes `can` and `cannot`, where there is something to say.
pub(super) fn write(text: &mut String, provider: &str, entry: &Entry) -> std::fmt::Result {
    let modalities = entry.raw("supported_modalities");
    for (field, wanted) in [("can", true), ("cannot", false)] {
        let all: Vec<String> = KNOWN
            .iter()
            .filter(|(ours, ..)| !ELSEWHERE.contains(&(provider, *ours)))
            .filter(|(_, flag, modality)| is(entry, flag, modalities, *modality) == Some(wanted))
            .map(|(ours, ..)| format!("\"{ours}\""))
            .collect();
        if !all.is_empty() {
            writeln!(text, "{field} = [{}]", all.join(", "))?;
        }
    }
    Ok(())
}

/// What the source says of one; `None`: nothing, or two things.
fn is(entry: &Entry, flag: &str, modalities: Option<&str>, modality: Option<&str>) -> Option<bool> {
    let flagged = entry.raw(flag).and_then(|text| text.parse().ok());
    let listed = modalities
        .zip(modality)
        .map(|(all, one)| all.contains(&format!("\"{one}\"")));
    match (flagged, listed) {
        (Some(flagged), Some(listed)) => (flagged == listed).then_some(flagged),
        (flagged, listed) => flagged.or(listed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(entry: &str) -> String {
        let mut text = String::new();
        write(&mut text, "anthropic", &serde_json::from_str(entry).unwrap()).unwrap();
        text
    }

    #[test]
    fn what_is_not_said_is_neither() {
        assert_eq!(written("{}"), "");
        assert_eq!(
            written(r#"{"supports_vision": true, "supports_function_calling": false, "supports_pdf_input": null}"#),
            "can = [\"image\"]\ncannot = [\"tools\"]\n"
        );
    }

    #[test]
    fn a_list_of_modalities_says_what_is_missing() {
        assert_eq!(
            written(r#"{"supported_modalities": ["text", "image"]}"#),
            "can = [\"image\"]\ncannot = [\"audio\", \"video\"]\n"
        );
        assert_eq!(
            written(r#"{"supported_modalities": ["text", "audio", "video"], "supports_vision": true}"#),
            "can = [\"audio\", \"video\"]\n",
            "two words against each other are none"
        );
    }
}
