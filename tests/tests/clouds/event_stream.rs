//! Amazon's event stream, written by hand: frames with two checksums.

use serde_json::Value;
use testkit::upstream::{Behaviour, Chunking};

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}

/// A frame of Amazon's event stream.
pub(crate) fn frame(kind: &str, name_header: &str, name: &str, payload: &Value) -> Vec<u8> {
    let mut head = Vec::new();
    for (header, value) in [
        (":message-type", kind),
        (name_header, name),
        (":content-type", "application/json"),
    ] {
        head.push(header.len() as u8);
        head.extend(header.as_bytes());
        head.push(7);
        head.extend((value.len() as u16).to_be_bytes());
        head.extend(value.as_bytes());
    }
    let payload = payload.to_string();
    let mut frame = ((16 + head.len() + payload.len()) as u32).to_be_bytes().to_vec();
    frame.extend((head.len() as u32).to_be_bytes());
    frame.extend(crc32(&frame).to_be_bytes());
    frame.extend(head);
    frame.extend(payload.as_bytes());
    frame.extend(crc32(&frame).to_be_bytes());
    frame
}

pub(crate) fn event(name: &str, payload: &Value) -> Vec<u8> {
    frame("event", ":event-type", name, payload)
}

pub(crate) fn stream_of(body: Vec<u8>) -> Behaviour {
    Behaviour {
        chunking: Chunking::Size(50),
        ..Behaviour::raw(200, &[("content-type", "application/vnd.amazon.eventstream")], body)
    }
}
