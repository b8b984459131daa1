//! Where server-sent events begin and end, and what is in one.
//!
//! Framing and reading are apart on purpose: the framer only looks for line ends and keeps its state across chunks, so
//! a chunk that ends in the middle of a `\r\n` costs nothing; reading happens once, on a whole event.
//!
//! A blank line ends an event. Lines end in `\n`, `\r\n` or `\r`. Whether a `\n` after a blank line's `\r` belongs to
//! it cannot be known before it comes; it is awaited only where the line before ended in `\r\n`, so the answer does not
//! depend on how the bytes were cut into chunks, and a stream of lone `\r` is not late by an event.

use std::borrow::Cow;

use memchr::memchr2;

/// Finds the ends of events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Framer {
    line: Line,
}

/// Where in a line the framer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// Nothing of the line was seen.
    #[default]
    Start,
    /// The same, after a line that ended in `\r\n`.
    StartCrLf,
    /// Something was seen.
    Inside,
    /// A line with something in it ended in `\r`; a `\n` may belong to that.
    AfterCr,
    /// A blank line ended in `\r` where the line before ended in `\r\n`: a `\n` is expected.
    BlankCr,
}

/// A whole event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Its name, where it has one.
    pub(crate) name: &'a [u8],
    /// Its data; `None` if it has no data line.
    pub(crate) data: Option<Cow<'a, [u8]>>,
}

impl Framer {
    /// The end of the current event in `bytes`, of which everything before `from` was looked at already.
    /// `None`: it does not end in `bytes`.
    pub(crate) fn end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(byte) = bytes.get(at) {
            match (self.line, byte) {
                (Line::Inside, _) => {
                    at += memchr2(b'\n', b'\r', bytes.get(at..)?)?;
                    self.line = if bytes.get(at) == Some(&b'\n') {
                        Line::Start
                    } else {
                        Line::AfterCr
                    };
                }
                (Line::AfterCr, b'\n') => self.line = Line::StartCrLf,
                (Line::StartCrLf, b'\r') => self.line = Line::BlankCr,
                (Line::Start | Line::StartCrLf, b'\n' | b'\r') | (Line::AfterCr, b'\r') | (Line::BlankCr, b'\n') => {
                    return Some(self.ended(at + 1));
                }
                (Line::BlankCr, _) => return Some(self.ended(at)),
                (Line::Start | Line::StartCrLf | Line::AfterCr, _) => self.line = Line::Inside,
            }
            at += 1;
        }
        None
    }

    /// What is missing for the event to be whole.
    pub(crate) const fn missing(self) -> &'static [u8] {
        match self.line {
            // After a `\r` the first `\n` would only complete that line end.
            Line::Inside | Line::AfterCr => b"\n\n",
            Line::Start | Line::StartCrLf => b"\n",
            Line::BlankCr => b"",
        }
    }

    const fn ended(&mut self, end: usize) -> usize {
        self.line = Line::Start;
        end
    }
}

/// The events of `bytes`, which hold whole ones only.
pub(crate) fn events(bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    let (mut framer, mut from) = (Framer::default(), 0);
    std::iter::from_fn(move || {
        let rest = bytes.get(from..).filter(|rest| !rest.is_empty())?;
        let end = framer.end(bytes, from).unwrap_or(bytes.len());
        let event = Event::read(rest.get(..end - from).unwrap_or(rest));
        from = end;
        Some(event)
    })
}

/// Appends an event without a name.
pub(crate) fn write(out: &mut Vec<u8>, data: &impl serde::Serialize) {
    out.extend_from_slice(b"data: ");
    json(out, data);
    out.extend_from_slice(b"\n\n");
}

/// Appends an event with its name.
pub(crate) fn write_named(out: &mut Vec<u8>, name: &str, data: &impl serde::Serialize) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    write(out, data);
}

/// Appends JSON. Everything that is written here has texts as keys, so it cannot fail; if it did all the same, the event
/// would be empty, which readers skip.
fn json(out: &mut Vec<u8>, data: &impl serde::Serialize) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, data).is_err() {
        out.truncate(before);
    }
}

impl<'a> Event<'a> {
    /// Reads the lines of an event.
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        let mut event = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            event.line(line);
            rest = after;
        }
        event
    }

    fn line(&mut self, line: &'a [u8]) {
        if let Some(value) = field(line, b"data") {
            self.data = Some(match self.data.take() {
                None => Cow::Borrowed(value),
                Some(earlier) => {
                    let mut joined = earlier.into_owned();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                    Cow::Owned(joined)
                }
            });
        } else if let Some(value) = field(line, b"event") {
            self.name = value;
        }
    }
}

/// The value of the field `name`, if the line is one.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr2(b'\n', b'\r', bytes) else {
        return (bytes, b"");
    };
    let (line, rest) = bytes.split_at(end);
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
    (line, rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The ends found when `bytes` come in the given pieces.
    fn ends(pieces: &[&[u8]]) -> Vec<usize> {
        let mut framer = Framer::default();
        let mut all = Vec::new();
        let (mut found, mut seen) = (Vec::new(), 0);
        for piece in pieces {
            all.extend_from_slice(piece);
            while let Some(end) = framer.end(&all, seen) {
                found.push(end);
                seen = end;
            }
            seen = all.len();
        }
        if framer.missing().is_empty() {
            found.push(all.len());
        }
        found
    }

    #[test]
    fn knows_every_line_end() {
        assert_eq!(ends(&[b"data: 1\n\ndata: 2\n\n"]), [9, 18]);
        assert_eq!(ends(&[b"data: 1\r\n\r\ndata: 2\r\n\r\n"]), [11, 22]);
        assert_eq!(ends(&[b"data: 1\r\rdata: 2\r\r"]), [9, 18]);
        assert_eq!(ends(&[b"event: a\r\ndata: 1\n\n"]), [19]);
        assert_eq!(ends(&[b"data: 1\n"]), [0; 0]);
        // A further blank line is an event of its own, with nothing in it.
        assert_eq!(ends(&[b"data: 1\n\n\n"]), [9, 10]);
    }

    #[test]
    fn reads_names_data_and_comments() {
        let read = |bytes: &'static [u8]| {
            let event = Event::read(bytes);
            (event.name, event.data.map(Cow::into_owned))
        };
        assert_eq!(read(b": keepalive\n\n"), (&b""[..], None));
        assert_eq!(read(b"event: ping\ndata: {}\n\n"), (&b"ping"[..], Some(b"{}".to_vec())));
        assert_eq!(read(b"data:{}\nid: 7\nevent:x\n\n"), (&b"x"[..], Some(b"{}".to_vec())));
        assert_eq!(
            read(b"data: {\r\ndata:  1}\r\n\r\n"),
            (&b""[..], Some(b"{\n 1}".to_vec()))
        );
        assert_eq!(read(b"data\n\n"), (&b""[..], Some(Vec::new())));
        assert_eq!(read(b"database: 1\n\n"), (&b""[..], None));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(bytes in "[ab\n\r]{0,24}", cuts in proptest::collection::vec(0..24_usize, 0..6)) {
            let bytes = bytes.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(ends(&pieces), ends(&[bytes]));
        }
    }
}
