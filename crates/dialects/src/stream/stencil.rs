//! Events that are the event before with another text in it.
//!
//! Most events of a stream are: a token's text changes, and with some providers a counter or a padding. What surrounds
//! them was read a moment ago, so it need not be read again: bytes that are equal to bytes that were well-formed, with
//! well-formed strings and numbers in the same holes, are well-formed and mean the same. That is exact, not a guess, and
//! costs a comparison where reading costs a walk over two dozen keys.
//!
//! It holds only from one event to the very next: what an event means may depend on what came before, but an event
//! right after its like changes nothing except how much was said. Whatever does not fit is read as ever.

use smallvec::SmallVec;

use crate::json::{Cursor, utf8};

/// Holes of one event: its text, two counters and a padding.
const HOLES_MAX: usize = 4;

/// Bytes of an event that is kept to compare with. Those with the text of a token stay below 500; each open stream
/// keeps one.
const STENCIL_MAX: usize = 768;

/// What may stand in a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// A string that the model generated: its length counts.
    Said,
    /// A string that means nothing.
    Aside,
    /// A whole number that means nothing.
    Counter,
}

/// A value that may be another in the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    start: usize,
    end: usize,
    filling: Filling,
}

/// What the reader of an event found to be holes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holes {
    /// By address: readers walk over parts of an event and do not know where those stand in it.
    found: SmallVec<[Hole; HOLES_MAX]>,
    too_many: bool,
}

/// The event before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stencil {
    /// Empty: there is none.
    text: Vec<u8>,
    holes: SmallVec<[Hole; HOLES_MAX]>,
}

impl Holes {
    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.found.clear();
        self.too_many = false;
    }

    /// Notes a value. An empty string is none: what comes in its place may be counted by other rules.
    pub(crate) fn note(&mut self, raw: &[u8], filling: Filling) {
        if raw.is_empty() {
            return;
        }
        self.too_many |= self.found.len() == HOLES_MAX;
        if !self.too_many {
            let start = raw.as_ptr().addr();
            let end = start + raw.len();
            self.found.push(Hole { start, end, filling });
        }
    }
}

impl Stencil {
    /// Nothing fits any more.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
    }

    /// Takes an event that was read, with what its reader found in it. `said`: what it counted. If the holes do not
    /// account for that, the rest of the event says something too, and there is no stencil of it.
    pub(crate) fn cut(&mut self, event: &[u8], holes: &Holes, said: u64) {
        self.clear();
        if holes.too_many || event.len() > STENCIL_MAX || said == 0 {
            return;
        }
        let base = event.as_ptr().addr();
        self.holes.clear();
        let mut accounted = 0;
        for hole in &holes.found {
            let (Some(start), Some(end)) = (hole.start.checked_sub(base), hole.end.checked_sub(base)) else {
                return;
            };
            let (hole, raw) = (Hole { start, end, ..*hole }, event.get(start..end).unwrap_or_default());
            match hole.filling {
                Filling::Said => match string_len(event, start) {
                    Some((len, _)) => accounted += len,
                    None => return,
                },
                Filling::Aside => {}
                // Of numbers only those that are digits and nothing else.
                Filling::Counter if digits(raw) == Some(raw.len()) => {}
                Filling::Counter => continue,
            }
            self.holes.push(hole);
        }
        self.holes.sort_unstable_by_key(|hole| hole.start);
        if accounted == said {
            self.text.extend_from_slice(event);
        }
    }

    /// How much `event` says, if it is the event before with something else in the holes.
    pub(crate) fn fit(&self, event: &[u8]) -> Option<u64> {
        if self.text.is_empty() {
            return None;
        }
        let (mut said, mut from, mut at) = (0, 0, 0);
        for hole in &self.holes {
            let before = self.text.get(from..hole.start)?;
            if event.get(at..at + before.len())? != before {
                return None;
            }
            at += before.len();
            match hole.filling {
                Filling::Said | Filling::Aside => {
                    let (len, end) = string_len(event, at)?;
                    if hole.filling == Filling::Said {
                        said += len;
                    }
                    at = end;
                }
                Filling::Counter => at += digits(event.get(at..)?)?,
            }
            from = hole.end;
        }
        let fits = self.text.get(from..)? == event.get(at..)? && utf8(event).is_ok();
        fits.then_some(said)
    }
}

/// The length of the string whose first byte stands at `at`, decoded, and where its closing quote stands.
fn string_len(event: &[u8], at: usize) -> Option<(u64, usize)> {
    let text = event.get(at.checked_sub(1)?..)?;
    let text = Cursor::strict(text).string().ok()?;
    Some((text.len(), at + text.raw.len()))
}

/// How many bytes the whole number at the start of `text` has; JSON allows no zeros in front.
fn digits(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match text.first() {
        Some(b'0') => Some(1),
        Some(b'1'..=b'9') => Some(digits),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
