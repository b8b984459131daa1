//! A cursor that walks JSON and skips what nobody asked for.
//!
//! A document model would allocate for every key of a 220 KB conversation to find three of them. The cursor borrows:
//! it validates the grammar as it goes (so a truncated event cannot pass for a whole one), hands out keys and spans,
//! and jumps over strings with `memchr`. It works on bytes whose UTF-8 the caller has checked.
//!
//! Strictness: control characters inside strings are refused when the cursor is strict. Streams are read strictly,
//! because what we release a client must be able to parse; requests are not, because the upstream judges them, and
//! where a string *ends* does not depend on it.

use std::ops::Range;

use crate::limits::DEPTH_MAX;

mod figure;
mod nest;
mod text;

pub(crate) use figure::{Figure, count};
pub(crate) use text::Text;

use nest::Nest;
use text::find_quote_or_backslash;

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
        // One look over the whole text is cheaper than one per string: compact JSON has none at all.
        let strict = has_control(bytes);
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
            let key = self.key()?;
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

    /// Skips one value, validating it, and returns its span. Goes through what is nested without recursion, so that it is
    /// no matter how deep that is: models nest the arguments of tools as they like.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Syntax> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Object | Kind::Array => self.skip_nested()?,
            scalar => self.skip_scalar(scalar)?,
        }
        Ok(start..self.at)
    }

    fn skip_nested(&mut self) -> Result<(), Syntax> {
        let mut around = Nest::default();
        loop {
            let kind = self.kind()?;
            match kind {
                Kind::Object | Kind::Array => {
                    let is_object = kind == Kind::Object;
                    self.at += 1;
                    self.space();
                    if self.byte() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                    } else {
                        around.push(is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                scalar => self.skip_scalar(scalar)?,
            }
            if self.leave_nested(&mut around)? {
                return Ok(());
            }
        }
    }

    /// Behind a value: closes what ends with it, and stands before the next value; `true`: there is none.
    fn leave_nested(&mut self, around: &mut Nest) -> Result<bool, Syntax> {
        while let Some(is_object) = around.innermost() {
            self.space();
            match (self.byte(), is_object) {
                (Some(b','), _) => {
                    self.at += 1;
                    if is_object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    around.pop();
                }
                (_, true) => return Err(self.error("expected `,` or `}`")),
                (_, false) => return Err(self.error("expected `,` or `]`")),
            }
        }
        Ok(true)
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<Text<'a>, Syntax> {
        self.space();
        if self.byte() != Some(b'"') {
            return Err(self.error("expected a key in quotes"));
        }
        let key = self.string()?;
        self.space();
        self.expect(b':', "expected `:` after a key")?;
        Ok(key)
    }

    fn skip_scalar(&mut self, kind: Kind) -> Result<(), Syntax> {
        match kind {
            Kind::String => self.string().map(|_| ()),
            Kind::Number => self.number(),
            Kind::Bool if self.byte() == Some(b't') => self.literal(b"true"),
            Kind::Bool => self.literal(b"false"),
            Kind::Null => self.literal(b"null"),
            Kind::Object | Kind::Array => Err(self.error("expected no nested value")),
        }
    }

    /// Whether no more levels can be walked: what is nested here can only be skipped.
    pub(crate) const fn is_deepest(&self) -> bool {
        self.depth == DEPTH_MAX
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
        if self.strict && has_control(raw) {
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
/// Whether there is a control character. Without an early end within a block, so that the compiler makes it vectors.
fn has_control(bytes: &[u8]) -> bool {
    const BLOCK: usize = 128;
    let least = |block: &[u8]| block.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    bytes.chunks(BLOCK).any(|block| least(block) < 0x20)
}
fn is_hex4(digits: &[u8]) -> bool {
    digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit)
}
#[cfg(test)]
mod tests;
