//! A cursor that walks JSON and skips what nobody asked for.
//!
//! A document model would allocate for every key of a 220 KB conversation to find three of them. The cursor borrows:
//! it validates the grammar as it goes (so a truncated event cannot pass for a whole one), hands out keys and spans,
//! and jumps over strings with `memchr`. It works on bytes whose UTF-8 the caller has checked.
//!
//! Strictness: control characters inside strings are refused when the cursor is strict. Streams are read strictly,
//! because what we release a client must be able to parse; requests are not, because the upstream judges them, and
//! where a string *ends* does not depend on it.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

use crate::limits::{COUNT_MAX, DEPTH_MAX};

/// A violation of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Where, in bytes from the start.
    pub(crate) at: usize,
    /// What was wrong there.
    pub(crate) what: &'static str,
}

/// The kinds of values, told by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// Digits.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
}

/// A position in JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    strict: bool,
}

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The bytes between the quotes.
    pub(crate) raw: &'a [u8],
    /// Where `raw` begins.
    pub(crate) at: usize,
    escaped: bool,
}

/// A count as providers report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// A count.
    Is(u64),
    /// Something that is no count: negative, a fraction, a text, beyond 2^53.
    Bad,
}

impl Figure {
    /// The count, zero if absent or bad.
    pub(crate) const fn or_zero(self) -> u64 {
        match self {
            Self::Is(count) => count,
            Self::Absent | Self::Bad => 0,
        }
    }

    /// Whether something was said.
    pub(crate) const fn is_given(self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Takes `other` if it says something: a later explicit value wins.
    pub(crate) const fn merge(&mut self, other: Self) {
        if other.is_given() {
            *self = other;
        }
    }

    /// This figure, or `other` if this says nothing.
    pub(crate) const fn or(self, other: Self) -> Self {
        if self.is_given() { self } else { other }
    }
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

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, which must be UTF-8. Control characters in strings are let through.
    pub(crate) const fn lenient(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
            strict: false,
        }
    }

    /// At the start of `bytes`, which must be UTF-8. Control characters in strings are errors.
    pub(crate) fn strict(bytes: &'a [u8]) -> Self {
        // One vectorised look over the whole text is cheaper than one look per string: compact JSON has none at all.
        let strict = bytes.iter().any(|byte| *byte < 0x20);
        Self {
            bytes,
            at: 0,
            depth: 0,
            strict,
        }
    }

    /// Where it stands.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// The text of `span`.
    pub(crate) fn slice(&self, span: Range<usize>) -> &'a [u8] {
        self.bytes.get(span).unwrap_or_default()
    }

    /// An error at this place.
    pub(crate) const fn error(&self, what: &'static str) -> Syntax {
        Syntax { at: self.at, what }
    }

    /// Steps over white space and says what comes.
    pub(crate) fn kind(&mut self) -> Result<Kind, Syntax> {
        self.space();
        match self.byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.error("expected a JSON value")),
            None => Err(self.error("the JSON text ends too early")),
        }
    }

    /// Walks an object. `member` is called with each decoded key and must consume the value.
    /// Returns the span from `{` to `}`, both included.
    pub(crate) fn object<E: From<Syntax>>(
        &mut self,
        mut member: impl FnMut(&[u8], &mut Self) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        if self.kind()? != Kind::Object {
            return Err(self.error("expected an object").into());
        }
        let start = self.at;
        self.enter()?;
        self.space();
        if self.byte() == Some(b'}') {
            return Ok(self.leave(start));
        }
        loop {
            self.space();
            if self.byte() != Some(b'"') {
                return Err(self.error("expected a key in quotes").into());
            }
            let key = self.string()?;
            self.space();
            self.expect(b':', "expected `:` after a key")?;
            if key.escaped {
                member(key.decode().as_bytes(), self)?;
            } else {
                member(key.raw, self)?;
            }
            self.space();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => return Ok(self.leave(start)),
                _ => return Err(self.error("expected `,` or `}`").into()),
            }
        }
    }

    /// Walks an array. `element` must consume the value. Returns the span from `[` to `]`, both included.
    pub(crate) fn array<E: From<Syntax>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        if self.kind()? != Kind::Array {
            return Err(self.error("expected an array").into());
        }
        let start = self.at;
        self.enter()?;
        self.space();
        if self.byte() == Some(b']') {
            return Ok(self.leave(start));
        }
        loop {
            element(self)?;
            self.space();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b']') => return Ok(self.leave(start)),
                _ => return Err(self.error("expected `,` or `]`").into()),
            }
        }
    }

    /// Walks an object if there is one, else skips whatever is there. Says whether there was one.
    pub(crate) fn object_if<E: From<Syntax>>(
        &mut self,
        member: impl FnMut(&[u8], &mut Self) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.kind()? == Kind::Object {
            self.object(member).map(|_| true)
        } else {
            Ok(self.skip().map(|_| false)?)
        }
    }

    /// Walks an array if there is one, else skips whatever is there. Says whether there was one.
    pub(crate) fn array_if<E: From<Syntax>>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.kind()? == Kind::Array {
            self.array(element).map(|_| true)
        } else {
            Ok(self.skip().map(|_| false)?)
        }
    }

    /// Skips one value, validating it, and returns its span.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Syntax> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::String => {
                self.string()?;
            }
            Kind::Object => {
                self.object(|_, value| value.skip().map(|_| ()))?;
            }
            Kind::Array => {
                self.array(|value| value.skip().map(|_| ()))?;
            }
            Kind::Number => self.number()?,
            Kind::Bool if self.byte() == Some(b't') => self.literal(b"true")?,
            Kind::Bool => self.literal(b"false")?,
            Kind::Null => self.literal(b"null")?,
        }
        Ok(start..self.at)
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Text<'a>, Syntax> {
        if self.kind()? != Kind::String {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(found) = find_quote_or_backslash(rest) else {
                return Err(self.error("a string does not end"));
            };
            self.at += found;
            if rest.get(found) == Some(&b'"') {
                break;
            }
            escaped = true;
            self.escape()?;
        }
        let raw = self.slice(start..self.at);
        if self.strict && raw.iter().any(|byte| *byte < 0x20) {
            return Err(Syntax {
                at: start,
                what: "a control character inside a string",
            });
        }
        self.at += 1;
        Ok(Text {
            raw,
            at: start,
            escaped,
        })
    }

    /// Reads a string if there is one, else skips whatever is there.
    pub(crate) fn string_if(&mut self) -> Result<Option<Text<'a>>, Syntax> {
        if self.kind()? == Kind::String {
            self.string().map(Some)
        } else {
            self.skip().map(|_| None)
        }
    }

    /// Reads a count, or says that it is none.
    pub(crate) fn figure(&mut self) -> Result<Figure, Syntax> {
        let kind = self.kind()?;
        let span = self.skip()?;
        Ok(match kind {
            Kind::Null => Figure::Absent,
            Kind::Number => count(self.slice(span)).map_or(Figure::Bad, Figure::Is),
            _ => Figure::Bad,
        })
    }

    /// Checks that nothing but white space follows.
    pub(crate) fn end(&mut self) -> Result<(), Syntax> {
        self.space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.error("something follows the JSON value"))
        }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Syntax> {
        if self.byte() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error(what))
        }
    }

    fn enter(&mut self) -> Result<(), Syntax> {
        if self.depth == DEPTH_MAX {
            return Err(self.error("nested too deep"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    const fn leave(&mut self, start: usize) -> Range<usize> {
        self.depth -= 1;
        self.at += 1;
        start..self.at
    }

    /// Steps over an escape sequence; stands on the backslash.
    fn escape(&mut self) -> Result<(), Syntax> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') if is_hex4(self.slice(self.at + 2..self.at + 6)) => {
                self.at += 6;
                Ok(())
            }
            _ => Err(self.error("a broken escape in a string")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Syntax> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.error("expected `true`, `false` or `null`"))
        }
    }

    fn number(&mut self) -> Result<(), Syntax> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.error("a number without digits")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        self.digits();
        if self.at == start {
            Err(self.error("a number without digits"))
        } else {
            Ok(())
        }
    }
}

/// The value of a JSON number that is a count: a whole number from 0 to 2^53, however it is written.
pub(crate) fn count(number: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(number).ok()?;
    let count = match text.parse::<u64>() {
        Ok(count) => count,
        Err(_) => whole(text.parse::<f64>().ok()?)?,
    };
    (count <= COUNT_MAX).then_some(count)
}

/// Checks that `bytes` are UTF-8; the error says where they are not.
pub(crate) fn utf8(bytes: &[u8]) -> Result<(), Syntax> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Syntax {
            at: error.valid_up_to(),
            what: "the text is not UTF-8",
        }),
    }
}

fn whole(value: f64) -> Option<u64> {
    let is_count = value.fract() == 0.0 && (0.0..=COUNT_MAX as f64).contains(&value);
    is_count.then_some(value as u64)
}

fn is_hex4(digits: &[u8]) -> bool {
    digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Where the next `"` or `\` stands.
///
/// Most strings of an event are shorter than what starting a vector search costs, and in code an escape follows every
/// few words: so eight bytes at a time first, in plain arithmetic, then the search that is best for long runs.
fn find_quote_or_backslash(text: &[u8]) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole_value(text: &[u8]) -> Result<(), Syntax> {
        let mut cursor = Cursor::strict(text);
        cursor.skip()?;
        cursor.end()
    }

    #[test]
    fn accepts_and_refuses_what_the_grammar_does() {
        for good in [
            "{}",
            "[]",
            " {\"a\" : [1, -0.5e+3, true, false, null, \"\\u00e9\\n\"]} ",
            "0",
            "\"\"",
            "{\"a\":{\"a\":[[]]}}",
        ] {
            assert_eq!(whole_value(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1,]",
            "[1 2]",
            "01",
            "1.",
            "-",
            "1e",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "{a:1}",
            "{} {}",
            "\"a\nb\"",
            "{\"a\":1 \"b\":2}",
            "[",
            "\"\\",
        ] {
            assert!(whole_value(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_the_depth() {
        let depth = DEPTH_MAX as usize;
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(whole_value(nested(depth).as_bytes()), Ok(()));
        assert_eq!(
            whole_value(nested(depth + 1).as_bytes()).unwrap_err().what,
            "nested too deep"
        );
        assert!(whole_value("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn decodes_escapes() {
        let mut cursor = Cursor::strict(br#""mod\u0065l \ud83d\ude00 \ud83d \"\\\/\b\f\n\r\t""#);
        let text = cursor.string().unwrap();
        assert_eq!(text.decode(), "model \u{1f600} \u{fffd} \"\\/\u{8}\u{c}\n\r\t");
        assert_eq!(text.len(), text.decode().len() as u64);
    }

    #[test]
    fn reads_counts_however_written() {
        let figure = |text: &str| Cursor::strict(text.as_bytes()).figure().unwrap();
        assert_eq!(figure("12"), Figure::Is(12));
        assert_eq!(figure("12.0"), Figure::Is(12));
        assert_eq!(figure("1e3"), Figure::Is(1000));
        assert_eq!(figure("9007199254740992"), Figure::Is(COUNT_MAX));
        assert_eq!(figure("null"), Figure::Absent);
        for bad in [
            "-1",
            "1.5",
            "9007199254740993",
            "18446744073709551616",
            "1e400",
            "\"12\"",
            "true",
            "[]",
            "{}",
        ] {
            assert_eq!(figure(bad), Figure::Bad, "{bad}");
        }
    }

    proptest! {
        /// The same judgement as serde_json, which is the reference for everything but the depth.
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}\",:0-9eE.+\\-truefalsn \\\\u\n\u{e9}]{0,24}") {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            // serde_json refuses lone surrogates and numbers too large for a double in values that it keeps, not here.
            prop_assert_eq!(whole_value(text.as_bytes()).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn decodes_what_serde_json_encodes(text in any::<String>()) {
            let encoded = serde_json::to_string(&text).unwrap();
            let mut cursor = Cursor::strict(encoded.as_bytes());
            let read = cursor.string().unwrap();
            prop_assert_eq!(read.decode(), text.as_str());
            prop_assert!(read.is(&text));
            prop_assert_eq!(cursor.end(), Ok(()));
        }

        #[test]
        fn finds_the_first_quote_or_backslash(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'!'), Just(b']'), Just(0xa2), any::<u8>(), Just(b'a'), Just(b'a')], 0..80)) {
            let plain = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(find_quote_or_backslash(&text), plain);
            let long = [&[b'x'; 60][..], &text].concat();
            prop_assert_eq!(find_quote_or_backslash(&long), plain.map(|found| found + 60));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut cursor = Cursor::lenient(&bytes);
            if let Ok(span) = cursor.skip() {
                prop_assert!(span.end <= bytes.len());
            }
        }
    }
}
