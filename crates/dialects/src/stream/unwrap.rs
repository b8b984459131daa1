//! Events of one format inside of Amazon's frames.
//!
//! Bedrock's `InvokeModelWithResponseStream` sends each event of the model's own format in base64, as a frame of its event
//! stream. Taken out, they are written as the format's own server-sent events, so that everything behind sees the stream
//! that it knows: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde::Deserialize;
use serde_json::json;

use super::array::Edge;
use super::frames::{FrameFramer, Message};

/// Takes frames off.
#[derive(Debug, Default)]
pub struct Unwrapper {
    framer: FrameFramer,
    /// The beginning of a frame that has not ended.
    partial: BytesMut,
    broken: bool,
}

/// Where an [`Unwrapper`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Between two frames.
    Between,
    /// Within one.
    Within,
    /// What came cannot be read.
    Damaged,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: &'a str,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a str>,
}

impl Unwrapper {
    /// Takes a piece of the body and appends the events that are whole now. `false`: what follows them is no event stream,
    /// or damaged, and nothing more will come.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        self.broken = self.broken || !self.take(piece, out);
        !self.broken
    }

    /// Whether the body may go on from here, or end: what came was sound, and no frame is open.
    pub fn state(&self) -> Wrapping {
        match (self.broken, self.partial.is_empty()) {
            (true, _) => Wrapping::Damaged,
            (false, true) => Wrapping::Between,
            (false, false) => Wrapping::Within,
        }
    }

    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        let mut at = 0;
        while let Some((end, edge)) = self.framer.next(piece, at) {
            if matches!(edge, Edge::Nonsense) {
                return false;
            }
            self.partial.extend_from_slice(piece.get(at..end).unwrap_or_default());
            if told(&self.partial, out).is_none() {
                return false;
            }
            self.partial.clear();
            at = end;
        }
        self.partial.extend_from_slice(piece.get(at..).unwrap_or_default());
        true
    }
}

/// Writes what one frame holds; `None`: it cannot be read.
fn told(frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let message = Message::read(frame)?;
    if message.is("chunk") {
        let chunk: Chunk<'_> = serde_json::from_slice(message.payload).ok()?;
        let event = STANDARD.decode(chunk.bytes).ok()?;
        let kind: Kind<'_> = serde_json::from_slice(&event).ok()?;
        write(kind.kind, &event, out);
    } else if message.kind != b"event" {
        // Told by the name that Amazon gives it, which is understood wherever errors are read.
        let name = String::from_utf8_lossy(message.name);
        let said = crate::hub::nested::read(message.payload).ok();
        let said = said.and_then(|said| Some(said.get("message")?.as_str()?.to_owned()));
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(message.words).into_owned());
        let error = json!({"type": "error", "error": {"type": name, "message": said}});
        write(Some("error"), error.to_string().as_bytes(), out);
    }
    Some(())
}

fn write(kind: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    if let Some(kind) = kind {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::frames::write as frame;

    fn chunk(event: &str) -> Vec<u8> {
        let payload = json!({"bytes": STANDARD.encode(event), "p": "abc"}).to_string();
        frame(&[(":message-type", "event"), (":event-type", "chunk")], &payload)
    }

    fn unwrapped(body: &[u8], size: usize) -> Option<String> {
        let (mut unwrapper, mut out) = (Unwrapper::default(), Vec::new());
        body.chunks(size)
            .all(|piece| unwrapper.push(piece, &mut out))
            .then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn events_come_out_as_they_went_in_however_they_are_cut() {
        let body = [
            chunk(r#"{"type":"message_start","message":{}}"#),
            chunk(r#"{"delta":{"text":"ü"},"type":"content_block_delta"}"#),
        ]
        .concat();
        let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: content_block_delta\ndata: {\"delta\":{\"text\":\"ü\"},\"type\":\"content_block_delta\"}\n\n";
        for size in [1, 7, 100, body.len()] {
            assert_eq!(unwrapped(&body, size).as_deref(), Some(events), "{size}");
        }
    }

    #[test]
    fn an_exception_is_an_error_event() {
        let head = [
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ];
        let told = unwrapped(&frame(&head, r#"{"message":"slow down"}"#), 9).unwrap();
        assert!(told.starts_with("event: error\n"), "{told}");
        assert!(
            told.contains("throttlingException") && told.contains("slow down"),
            "{told}"
        );
    }

    #[test]
    fn damage_is_noticed() {
        let mut body = chunk(r#"{"type":"ping"}"#);
        let last = body.len() - 10;
        body[last] ^= 1;
        assert_eq!(unwrapped(&body, 50), None);
        assert_eq!(unwrapped(b"data: {\"type\":\"ping\"}\n\n", 50), None);
        let no_base64 = frame(
            &[(":message-type", "event"), (":event-type", "chunk")],
            r#"{"bytes":"?"}"#,
        );
        assert_eq!(unwrapped(&no_base64, 50), None);
    }
}
