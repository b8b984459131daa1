//! Pictures and sound of a stream.
//!
//! Pictures are whole: entries of `images`. Sound comes in pieces, as `delta.audio`: the first one names it
//! (`types/chat/chat_completion_audio.py` of openai-python: `id`, `data`, `transcript`, `expires_at`), and what follows is put
//! behind what came before, the data and the transcript each for itself. So all sound of a choice is one.

use serde_json::{Map, Value, json};

use super::super::said;
use super::{StreamEncoder, next};
use crate::hub::{Losses, Media, MediaKind, Source};

impl StreamEncoder {
    /// Tells media, if the format has a place for them. `item`: the provider's id.
    pub(super) fn media(
        &mut self,
        choice: u32,
        media: Media,
        item: Option<String>,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) {
        match (media.kind, media.source) {
            (MediaKind::Audio, Source::Base64(data)) => {
                self.sound(choice, data, media.context.unwrap_or_default(), item, out);
            }
            (MediaKind::Image, Source::Base64(data)) => {
                let mime = if media.mime.is_empty() {
                    "image/png"
                } else {
                    &media.mime
                };
                self.image(choice, &format!("data:{mime};base64,{data}"), out);
            }
            (MediaKind::Image, Source::Url(url)) => self.image(choice, &url, out),
            _ => losses.note("media", "a message of the model has no place for this kind of media"),
        }
    }

    fn image(&mut self, choice: u32, url: &str, out: &mut Vec<u8>) {
        let mut image = said::image(url);
        image["index"] = next(&mut self.told(choice).images).into();
        self.delta(choice, json!({"images": [image]}), out);
    }

    fn sound(&mut self, choice: u32, data: String, transcript: String, item: Option<String>, out: &mut Vec<u8>) {
        let mut audio = Map::new();
        if !std::mem::replace(&mut self.told(choice).has_sound, true) {
            let base = &self.reply.id;
            let made = || {
                if choice == 0 {
                    format!("audio_{base}")
                } else {
                    format!("audio_{base}_{choice}")
                }
            };
            audio.insert("id".to_owned(), item.unwrap_or_else(made).into());
            audio.insert("expires_at".to_owned(), 0.into());
        }
        for (member, piece) in [("data", data), ("transcript", transcript)] {
            if !piece.is_empty() {
                audio.insert(member.to_owned(), piece.into());
            }
        }
        self.delta(choice, json!({"audio": Value::Object(audio)}), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Content, Event, Part};
    use crate::translate::Reply;

    fn told(parts: Vec<Part>) -> Vec<Value> {
        let reply = Reply {
            id: "7".to_owned(),
            ..Reply::default()
        };
        let (mut encoder, mut out, mut losses) = (StreamEncoder::new(reply), Vec::new(), Losses::default());
        for (place, part) in parts.into_iter().enumerate() {
            let (choice, place, part) = (0, place as u32, Box::new(part));
            assert!(encoder.event(Event::Open { choice, place, part }, &mut out, &mut losses));
            assert!(encoder.event(Event::Close { choice, place }, &mut out, &mut losses));
        }
        assert!(losses.as_slice().is_empty());
        let text = String::from_utf8(out).unwrap();
        let chunks = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks = chunks.map(|chunk| serde_json::from_str::<Value>(chunk).unwrap());
        chunks
            .skip(1)
            .map(|chunk| chunk["choices"][0]["delta"].clone())
            .collect()
    }

    fn media(kind: MediaKind, mime: &str, data: &str, transcript: Option<&str>) -> Part {
        Part::new(Content::Media(Media {
            kind,
            source: Source::Base64(data.to_owned()),
            mime: mime.to_owned(),
            name: None,
            detail: None,
            context: transcript.map(str::to_owned),
            cite: None,
        }))
    }

    #[test]
    fn sound_is_one_and_no_picture() {
        let pieces = vec![
            media(MediaKind::Audio, "audio/L16;rate=24000", "AAAA", None),
            media(MediaKind::Audio, "audio/L16;rate=24000", "", Some("Hi")),
            media(MediaKind::Image, "image/webp", "UklG", None),
            media(MediaKind::Audio, "audio/L16;rate=24000", "BBBB", Some(" you")),
        ];
        assert_eq!(
            told(pieces),
            [
                json!({"audio": {"id": "audio_7", "expires_at": 0, "data": "AAAA"}}),
                json!({"audio": {"transcript": "Hi"}}),
                json!({"images": [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,UklG"}, "index": 0}]}),
                json!({"audio": {"data": "BBBB", "transcript": " you"}}),
            ]
        );
    }
}
