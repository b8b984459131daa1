//! Characters that a stream tells in halves.
//!
//! Providers cut an answer where tokens end, which may be in the middle of a character. Those that count in UTF-16 then
//! send the two surrogates of one character in two deltas (`"\ud83c"`, `"\udf89"`). That is JSON, but a half is no text:
//! readers of JSON refuse it. So halves are marked in the event before it is read, and put together in what it says: the
//! first one is held until its part goes on. One that stays alone is told as the replacement character.

use std::borrow::Cow;

use memchr::memchr;

use crate::hub::{Delta, Event};
use crate::limits::CHOICES_MAX;

/// Where marks begin: private characters that no provider means. They are taken for marks only in events that had halves.
const MARKS: u32 = 0x0010_F000;

/// The surrogates that begin a pair, and those that end one: each a range of as many.
const HIGH: u16 = 0xD800;
const LOW: u16 = 0xDC00;
const END: u16 = 0xE000;

/// Bytes of an escape like `\ud83c`.
const ESCAPE: usize = 6;

/// The first halves that wait for their second ones.
#[derive(Debug, Default)]
pub(super) struct Halves(Vec<Held>);

#[derive(Debug)]
struct Held {
    choice: u32,
    place: u32,
    half: u16,
}

/// An event's data with marks in place of halves that stand alone; as it was where there are none.
pub(super) fn marked(data: &[u8]) -> Cow<'_, [u8]> {
    let mut written: Option<Vec<u8>> = None;
    let (mut at, mut told) = (0, 0);
    while let Some(found) = memchr(b'\\', data.get(at..).unwrap_or_default()) {
        at += found;
        let Some(half) = surrogate(data, at) else {
            // What is escaped may itself be a backslash.
            at += 2;
            continue;
        };
        let follows = surrogate(data, at + ESCAPE).is_some_and(|next| next >= LOW);
        if half < LOW && follows {
            at += 2 * ESCAPE;
            continue;
        }
        let written = written.get_or_insert_default();
        written.extend_from_slice(data.get(told..at).unwrap_or_default());
        let mark = char::from_u32(MARKS + u32::from(half - HIGH)).unwrap_or(char::REPLACEMENT_CHARACTER);
        written.extend_from_slice(mark.encode_utf8(&mut [0; 4]).as_bytes());
        at += ESCAPE;
        told = at;
    }
    match written {
        None => Cow::Borrowed(data),
        Some(mut written) => {
            written.extend_from_slice(data.get(told..).unwrap_or_default());
            Cow::Owned(written)
        }
    }
}

/// The surrogate whose escape stands here.
fn surrogate(data: &[u8], at: usize) -> Option<u16> {
    let digits = data.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let half = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (HIGH..END).contains(&half).then_some(half)
}

/// The half that a mark stands for.
fn half(mark: char) -> Option<u16> {
    let offset = u32::from(mark).checked_sub(MARKS)?;
    let half = HIGH.checked_add(u16::try_from(offset).ok()?)?;
    (half < END).then_some(half)
}

impl Halves {
    /// Whether none waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts together what the events say from this one on. `has_marks`: whether they are read from marked data.
    pub(super) fn join(&mut self, events: &mut Vec<Event>, from: usize, has_marks: bool) {
        let mut at = from;
        while let Some(event) = events.get_mut(at) {
            at += 1;
            match event {
                Event::Delta {
                    choice,
                    place,
                    delta: Delta::Text(text) | Delta::Arguments(text),
                } => {
                    let before = self.take(*choice, *place);
                    let (joined, open) = joined(text, before, has_marks);
                    *text = joined;
                    if let Some(half) = open {
                        self.hold(*choice, *place, half, text);
                    }
                }
                Event::Close { choice, place } => {
                    let (choice, place) = (*choice, *place);
                    if self.take(choice, place).is_some() {
                        let delta = Delta::Text(char::REPLACEMENT_CHARACTER.into());
                        events.insert(at - 1, Event::Delta { choice, place, delta });
                        at += 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, choice: u32, place: u32) -> Option<u16> {
        let at = self
            .0
            .iter()
            .position(|held| (held.choice, held.place) == (choice, place))?;
        Some(self.0.swap_remove(at).half)
    }

    fn hold(&mut self, choice: u32, place: u32, half: u16, text: &mut String) {
        if self.0.len() < CHOICES_MAX {
            self.0.push(Held { choice, place, half });
        } else {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// A text whose halves are put together, and the one at its end that waits for more. `before` came before it.
fn joined(text: &str, before: Option<u16>, has_marks: bool) -> (String, Option<u16>) {
    let mut told = String::with_capacity(text.len() + 4);
    if text.is_empty() {
        return (told, before);
    }
    let mut open = before;
    for char in text.chars() {
        let half = half(char).filter(|_| has_marks);
        let first = open.take();
        match (first, half) {
            (Some(first), Some(second)) if second >= LOW => {
                told.extend(
                    char::decode_utf16([first, second]).map(|pair| pair.unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
                continue;
            }
            (Some(_), _) => told.push(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match half {
            Some(half) if half < LOW => open = Some(half),
            Some(_) => told.push(char::REPLACEMENT_CHARACTER),
            None => told.push(char),
        }
    }
    (told, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(place: u32, text: &str) -> Event {
        let delta = Delta::Text(text.to_owned());
        Event::Delta {
            choice: 0,
            place,
            delta,
        }
    }

    /// What is told of texts of one part, each as the JSON of a string, and of its end.
    fn told(pieces: &[&str]) -> Vec<String> {
        let (mut halves, mut events) = (Halves::default(), Vec::new());
        for piece in pieces {
            let from = events.len();
            let data = marked(piece.as_bytes());
            events.push(text(0, &serde_json::from_slice::<String>(&data).unwrap()));
            halves.join(&mut events, from, matches!(data, Cow::Owned(_)));
        }
        let from = events.len();
        events.push(Event::Close { choice: 0, place: 0 });
        halves.join(&mut events, from, false);
        assert!(halves.is_empty());
        let texts = events.into_iter().filter_map(|event| match event {
            Event::Delta {
                delta: Delta::Text(text),
                ..
            } => Some(text),
            _ => None,
        });
        texts.collect()
    }

    #[test]
    fn halves_come_together_in_the_next_piece() {
        assert_eq!(told(&[r#""a\ud83c""#, r#""\uDF89b""#]), ["a", "🎉b"]);
        assert_eq!(
            told(&[r#""a\ud83c""#, r#""""#, r#""\udf89\ud83c""#, r#""\udf89""#]),
            ["a", "", "🎉", "🎉"]
        );
    }

    #[test]
    fn a_half_that_stays_alone_is_replaced() {
        assert_eq!(told(&[r#""a\ud83c""#, r#""b""#]), ["a", "\u{fffd}b"]);
        assert_eq!(told(&[r#""a\ud83c""#]), ["a", "\u{fffd}"]);
        assert_eq!(
            told(&[r#""\udf89\ud83cx\ud83c\ud83c""#]),
            ["\u{fffd}\u{fffd}x\u{fffd}", "\u{fffd}"]
        );
    }

    #[test]
    fn what_is_whole_stays() {
        for whole in [
            r#""\ud83c\udf89""#,
            r#""\\ud83c""#,
            r#""\\\\ud83c \u00e4 \n""#,
            r#""\\\ud83c\udf89""#,
        ] {
            assert!(matches!(marked(whole.as_bytes()), Cow::Borrowed(_)), "{whole}");
        }
        let private = "\"\u{10F000}\"";
        assert_eq!(told(&[private, r#""\ud83c""#]), ["\u{10F000}", "", "\u{fffd}"]);
    }

    #[test]
    fn parts_wait_each_for_their_own() {
        let mark = |half: u16| char::from_u32(MARKS + u32::from(half - HIGH)).unwrap().to_string();
        let mut halves = Halves::default();
        let mut events = vec![
            text(0, &mark(0xD83C)),
            text(1, &mark(0xD83D)),
            text(0, &mark(0xDF89)),
            text(1, &mark(0xDE00)),
        ];
        halves.join(&mut events, 0, true);
        assert_eq!(events, [text(0, ""), text(1, ""), text(0, "🎉"), text(1, "😀")]);
    }
}
