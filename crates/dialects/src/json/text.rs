//! Strings as they stand in JSON text: where they end, what they say, how long they are.

use std::borrow::Cow;

use memchr::memchr2;

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The bytes between the quotes.
    pub(crate) raw: &'a [u8],
    /// Where `raw` begins.
    pub(crate) at: usize,
    pub(super) escaped: bool,
}
impl<'a> Text<'a> {
    /// The text itself. Lone surrogates become U+FFFD.
    pub(crate) fn decode(&self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(unescape(self.raw))
        } else {
            String::from_utf8_lossy(self.raw)
        }
    }

    /// Its length in bytes once decoded.
    pub(crate) fn len(&self) -> u64 {
        if self.escaped {
            unescaped_len(self.raw) as u64
        } else {
            self.raw.len() as u64
        }
    }

    /// Whether there is nothing in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether it reads `expected`.
    pub(crate) fn is(&self, expected: &str) -> bool {
        if self.escaped {
            unescape(self.raw) == expected
        } else {
            self.raw == expected.as_bytes()
        }
    }
}
/// Where the next `"` or `\` stands.
///
/// Most strings of an event are shorter than what starting a vector search costs, and in code an escape follows every
/// few words: so eight bytes at a time first, in plain arithmetic, then the search that is best for long runs.
pub(super) fn find_quote_or_backslash(text: &[u8]) -> Option<usize> {
    const WORDS: usize = 6;
    let mut at = 0;
    for word in text.chunks_exact(size_of::<u64>()).take(WORDS) {
        let word = word.try_into().map(u64::from_le_bytes).ok()?;
        let found = bytes_that_are(b'"', word) | bytes_that_are(b'\\', word);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += size_of::<u64>();
    }
    memchr2(b'"', b'\\', text.get(at..)?).map(|found| at + found)
}

/// The high bit of each byte of `word` that is `byte`. Bytes above the first such may be marked wrongly; the lowest
/// mark is always right.
const fn bytes_that_are(byte: u8, word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let differing = word ^ (ONES * byte as u64);
    differing.wrapping_sub(ONES) & !differing & (ONES << 7)
}
fn unescape(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for piece in Pieces(raw) {
        match piece {
            Piece::Plain(text) => out.push_str(&String::from_utf8_lossy(text)),
            Piece::Letter(letter) => out.push(letter),
        }
    }
    out
}

fn unescaped_len(raw: &[u8]) -> usize {
    let length = |piece| match piece {
        Piece::Plain(text) => <[u8]>::len(text),
        Piece::Letter(letter) => letter.len_utf8(),
    };
    Pieces(raw).map(length).sum()
}

/// What a string with escapes is made of.
struct Pieces<'a>(&'a [u8]);

enum Piece<'a> {
    /// As it stands.
    Plain(&'a [u8]),
    /// An escape, decoded.
    Letter(char),
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (piece, used) = match memchr::memchr(b'\\', self.0) {
            Some(0) => {
                let (letter, used) = letter(self.0);
                (Piece::Letter(letter), used)
            }
            found => {
                let plain = found.and_then(|end| self.0.get(..end)).unwrap_or(self.0);
                (Piece::Plain(plain), plain.len())
            }
        };
        self.0 = self.0.get(used..).unwrap_or_default();
        Some(piece)
    }
}

/// Decodes the escape that `text` begins with; also returns how many bytes it takes.
fn letter(text: &[u8]) -> (char, usize) {
    let plain = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (plain, 2)
}

fn unicode(text: &[u8]) -> (char, usize) {
    const PAIR: usize = 12;
    let first = unit(text);
    let second = text.get(6..PAIR).filter(|next| next.starts_with(b"\\u")).and_then(unit);
    let (decoded, used) = match (first, second) {
        (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => (
            char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
            PAIR,
        ),
        (code, _) => (code.and_then(char::from_u32), 6),
    };
    (decoded.unwrap_or(char::REPLACEMENT_CHARACTER), used)
}

/// The code unit of `\uXXXX`.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.get(2..6)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
