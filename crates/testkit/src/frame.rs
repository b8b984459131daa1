//! Frames of a WebSocket (RFC 6455, section 5), by hand: fragments, masks and bad closes are what tests ask about.

use base64::Engine as _;
use bytes::{Buf, BytesMut};

/// What is hashed with the key of a handshake.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Text.
pub const TEXT: u8 = 1;
/// Bytes.
pub const BINARY: u8 = 2;
/// The rest of a message.
pub const CONTINUATION: u8 = 0;
/// Goodbye.
pub const CLOSE: u8 = 8;
/// Are you there?
pub const PING: u8 = 9;
/// Yes.
pub const PONG: u8 = 10;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub last: bool,
    /// What it is.
    pub opcode: u8,
    /// Whether an extension is in use.
    pub reserved: bool,
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message.
    pub fn whole(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            last: true,
            opcode,
            reserved: false,
            payload: payload.into(),
        }
    }

    /// A goodbye with its code.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::whole(CLOSE, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
    }

    /// The code and reason of a goodbye.
    pub fn close_code(&self) -> Option<(u16, String)> {
        let (code, reason) = self.payload.split_at_checked(2)?;
        let code = u16::from_be_bytes([code[0], code[1]]);
        Some((code, String::from_utf8_lossy(reason).into_owned()))
    }

    /// Its bytes; a client masks them.
    #[expect(
        clippy::decimal_bitwise_operands,
        reason = "126 and 127 are how the standard writes them"
    )]
    pub fn bytes(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut out = vec![u8::from(self.last) << 7 | self.opcode];
        let masked = u8::from(mask.is_some()) << 7;
        match self.payload.len() {
            length @ 0..=125 => out.push(masked | length as u8),
            length @ 126..=0xffff => {
                out.push(masked | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(masked | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        match mask {
            None => out.extend_from_slice(&self.payload),
            Some(mask) => {
                out.extend_from_slice(&mask);
                out.extend(
                    self.payload
                        .iter()
                        .zip(mask.iter().cycle())
                        .map(|(byte, mask)| byte ^ mask),
                );
            }
        }
        out
    }

    /// The first frame in `buffer`, if it is there whole.
    pub fn take(buffer: &mut BytesMut) -> Option<Self> {
        let (&[first, second], _) = buffer.split_first_chunk::<2>()?;
        let (length, mut at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(*buffer.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*buffer.get(2..)?.first_chunk()?) as usize, 10),
            length => (usize::from(length), 2),
        };
        let mask = if second & 0x80 != 0 {
            at += 4;
            Some(*buffer.get(at - 4..)?.first_chunk::<4>()?)
        } else {
            None
        };
        let mut payload = buffer.get(at..at + length)?.to_vec();
        if let Some(mask) = mask {
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        buffer.advance(at + length);
        Some(Self {
            last: first & 0x80 != 0,
            opcode: first & 0x0f,
            reserved: first & 0x70 != 0,
            payload,
        })
    }
}

/// The answer to a handshake's key.
pub fn accept(key: &str) -> String {
    use aws_lc_rs::digest;
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(GUID);
    base64::engine::general_purpose::STANDARD.encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_at_every_length_and_cut() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let frame = Frame::whole(TEXT, vec![b'x'; length]);
                let bytes = frame.bytes(mask);
                let mut short = BytesMut::from(&bytes[..bytes.len() - 1]);
                assert_eq!(Frame::take(&mut short), None);
                let mut whole = BytesMut::from(&bytes[..]);
                assert_eq!(Frame::take(&mut whole), Some(frame));
                assert!(whole.is_empty());
            }
        }
    }

    #[test]
    fn the_handshake_is_that_of_the_standards_example() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
