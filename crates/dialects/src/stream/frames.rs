//! Amazon's event stream: binary frames, each with its length, headers, payload and two checksums.
//!
//! The framer follows lengths only and believes one after the checksum of its prelude; the message is checked whole,
//! when it is there, by [`Message::read`]. So a flipped bit is found before anything is read from it, and a wrong length
//! cannot make us wait for gigabytes.
//!
//! Layout, in network order: total length (4), length of the headers (4), CRC-32 of these eight bytes (4), headers,
//! payload, CRC-32 of everything before (4):
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html>.

use crate::limits::EVENT_MAX;
use crate::stream::array::Edge;

/// The lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const TRAILER: usize = 4;

/// Finds the ends of frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameFramer {
    prelude: [u8; PRELUDE],
    /// Bytes of the prelude that are there.
    known: usize,
    /// Bytes after the prelude that are not; 0: the prelude is not whole.
    left: usize,
}

impl FrameFramer {
    /// The next edge in `bytes` at or after `from`.
    pub(super) fn next(&mut self, bytes: &[u8], from: usize) -> Option<(usize, Edge)> {
        let mut at = from;
        while self.known < PRELUDE {
            *self.prelude.get_mut(self.known)? = *bytes.get(at)?;
            (self.known, at) = (self.known + 1, at + 1);
            if self.known == PRELUDE {
                match total(&self.prelude) {
                    Some(total) => self.left = total - PRELUDE,
                    None => return Some((at, Edge::Nonsense)),
                }
            }
        }
        let here = bytes.len().saturating_sub(at);
        if here < self.left {
            self.left -= here;
            return None;
        }
        at += self.left;
        *self = Self::default();
        Some((at, Edge::Piece))
    }
}

/// The length of the frame that begins with this prelude, if it is one.
fn total(prelude: &[u8]) -> Option<usize> {
    let total = number(prelude, 0)? as usize;
    let headers = number(prelude, 4)? as usize;
    let sum = crc32fast::hash(prelude.get(..8)?);
    let fits = (PRELUDE + TRAILER + headers..=EVENT_MAX).contains(&total);
    (fits && sum == number(prelude, 8)?).then_some(total)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*four))
}

/// The frames of `bytes`, which hold whole ones only.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = total(rest.get(..PRELUDE)?)?;
        let (frame, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(frame)
    })
}

/// What a frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `event`, `exception` or `error`.
    pub(crate) kind: &'a [u8],
    /// Which event or exception, or the code of the error.
    pub(crate) name: &'a [u8],
    /// The words of an `error`, which has no payload.
    pub(crate) words: &'a [u8],
    /// JSON.
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads one whole frame; `None`: it is not what was sent.
    pub(crate) fn read(frame: &'a [u8]) -> Option<Self> {
        let length = total(frame.get(..PRELUDE)?)?;
        let end = length.checked_sub(TRAILER).filter(|_| length == frame.len())?;
        if crc32fast::hash(frame.get(..end)?) != number(frame, end)? {
            return None;
        }
        let payload_at = PRELUDE + number(frame, 4)? as usize;
        let mut message = Self {
            payload: frame.get(payload_at..end)?,
            ..Self::default()
        };
        let mut headers = frame.get(PRELUDE..payload_at)?;
        while !headers.is_empty() {
            let (name, value, rest) = header(headers)?;
            match name {
                b":message-type" => message.kind = value,
                b":event-type" | b":exception-type" | b":error-code" => message.name = value,
                b":error-message" => message.words = value,
                _ => {}
            }
            headers = rest;
        }
        Some(message)
    }

    /// Whether it is the event of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.kind == b"event" && self.name == name.as_bytes()
    }
}

/// The first header: its name, its value where that is a text, and what follows it.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (is_text, length, rest) = match kind {
        // True and false.
        0 | 1 => (false, 0, rest),
        2 => (false, 1, rest),
        3 => (false, 2, rest),
        4 => (false, 4, rest),
        // A long, and a time.
        5 | 8 => (false, 8, rest),
        // Bytes, and text.
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk()?;
            (*kind == 7, usize::from(u16::from_be_bytes(*length)), rest)
        }
        // A UUID.
        9 => (false, 16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, if is_text { value } else { b"" }, rest))
}

/// Writes a frame, for tests.
#[cfg(test)]
pub(crate) fn write(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(name.len() as u8);
        head.extend_from_slice(name.as_bytes());
        head.push(7);
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let length = PRELUDE + head.len() + payload.len() + TRAILER;
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame.extend_from_slice(&(head.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload.as_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// Writes an event as Bedrock does, for tests.
#[cfg(test)]
pub(crate) fn event(name: &str, payload: &str) -> Vec<u8> {
    write(
        &[
            (":event-type", name),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        payload,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(pieces: &[&[u8]]) -> Vec<(usize, Edge)> {
        let (mut framer, mut found, mut before) = (FrameFramer::default(), Vec::new(), 0);
        for piece in pieces {
            let mut at = 0;
            while let Some((end, edge)) = framer.next(piece, at) {
                found.push((before + end, edge));
                at = end;
                if edge == Edge::Nonsense {
                    return found;
                }
            }
            before += piece.len();
        }
        found
    }

    #[test]
    fn a_frame_made_by_others_is_read() {
        // The "all headers" kind of frame of Amazon's own test vectors is binary; this one was made by hand: no headers,
        // no payload, so that it is nothing but its lengths and checksums.
        let empty = [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(Message::read(&empty), Some(Message::default()));
        assert_eq!(edges(&[&empty, &empty]), [(16, Edge::Piece), (32, Edge::Piece)]);
    }

    #[test]
    fn headers_of_every_type_are_stepped_over() {
        let mut head = vec![
            1, b'a', 0, 1, b'b', 1, 1, b'c', 2, 7, 1, b'd', 3, 1, 2, 1, b'e', 4, 1, 2, 3, 4,
        ];
        head.extend_from_slice(&[1, b'f', 5, 1, 2, 3, 4, 5, 6, 7, 8, 1, b'g', 6, 0, 2, 9, 9]);
        head.extend_from_slice(&[1, b'h', 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, b'i', 9]);
        head.extend_from_slice(&[0; 16]);
        head.extend_from_slice(b"\x0d:message-type\x07\x00\x05event");
        let mut rest = head.as_slice();
        let mut names = Vec::new();
        while let Some((name, value, after)) = header(rest) {
            names.push((name, value));
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(names.len(), 10);
        assert_eq!(names[9], (&b":message-type"[..], &b"event"[..]));
        assert_eq!(header(&[1, b'a', 10, 0]), None);
    }

    #[test]
    fn what_a_frame_says_is_read() {
        let frame = event("messageStop", "{}");
        let message = Message::read(&frame).unwrap();
        assert!(message.is("messageStop"));
        assert_eq!(message.payload, b"{}");
        let error = write(
            &[
                (":message-type", "error"),
                (":error-code", "X"),
                (":error-message", "y"),
            ],
            "",
        );
        let message = Message::read(&error).unwrap();
        assert_eq!(
            (message.kind, message.name, message.words),
            (&b"error"[..], &b"X"[..], &b"y"[..])
        );
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(payloads in proptest::collection::vec("[a-z]{0,40}", 1..5), cuts in proptest::collection::vec(0..400_usize, 0..8)) {
            let all: Vec<u8> = payloads.iter().flat_map(|payload| event("x", payload)).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&all[from..cut]);
                from = cut;
            }
            pieces.push(&all[from..]);
            let found = edges(&pieces);
            prop_assert_eq!(&found, &edges(&[&all]));
            prop_assert_eq!(found.len(), payloads.len());
            let read: Vec<_> = frames(&all).map(|frame| Message::read(frame).unwrap().payload.to_vec()).collect();
            prop_assert_eq!(read, payloads.into_iter().map(String::into_bytes).collect::<Vec<_>>());
        }

        #[test]
        fn a_flipped_bit_never_passes(payload in "[a-z]{0,40}", bit in 0..800_usize) {
            let mut frame = event("contentBlockDelta", &payload);
            let bit = bit % (frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Message::read(&frame), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _read = Message::read(&bytes);
            let _edges = edges(&[&bytes]);
            let _frames = frames(&bytes).count();
        }
    }
}
