//! Cuts one JSON array of objects into its elements, at whatever bytes the chunks end.

use memchr::memchr2;

/// Follows the array's structure; the grammar inside an element is checked when it is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ArrayFramer {
    place: Place,
    depth: u32,
    bare: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before `[`.
    #[default]
    Before,
    /// After `[`.
    First,
    /// After an element.
    After,
    /// After a comma.
    Next,
    /// Inside an element, outside its strings.
    Element,
    /// Inside a string.
    Text,
    /// After a backslash in a string.
    Escape,
    /// After `]`.
    Closed,
}

/// What ends at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// An event, or an element with whatever stands before it.
    Piece,
    /// The array.
    Close,
    /// What can be understood: here is something that no such array has.
    Nonsense,
}

impl ArrayFramer {
    /// The next edge in `bytes` at or after `from`.
    pub(super) fn next(&mut self, bytes: &[u8], from: usize) -> Option<(usize, Edge)> {
        let mut at = from;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match (self.place, byte) {
                (Place::Text, _) => {
                    at -= 1;
                    at += memchr2(b'"', b'\\', bytes.get(at..)?)? + 1;
                    self.place = if bytes.get(at - 1) == Some(&b'"') {
                        Place::Element
                    } else {
                        Place::Escape
                    };
                }
                (Place::Escape, _) | (Place::Element, b'"') => self.place = Place::Text,
                (Place::Element, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (Place::Element, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.place = Place::After;
                        return Some((at, Edge::Piece));
                    }
                }
                (Place::Element, _) | (_, b' ' | b'\n' | b'\r' | b'\t') => {}
                (Place::Before, b'[') => self.place = Place::First,
                (Place::Before | Place::First | Place::Next, b'{') => {
                    // An object where the array should be: an error that was not put into one.
                    self.bare |= self.place == Place::Before;
                    self.place = Place::Element;
                    self.depth = 1;
                }
                (Place::After, b',') if !self.bare => self.place = Place::Next,
                (Place::First | Place::After, b']') if !self.bare => {
                    self.place = Place::Closed;
                    return Some((at, Edge::Close));
                }
                _ => return Some((at, Edge::Nonsense)),
            }
        }
        None
    }

    /// Whether the object stood alone, outside any array.
    pub(super) const fn is_bare(self) -> bool {
        self.bare
    }

    /// Whether an end here leaves nothing half said.
    pub(super) const fn is_after_element(self) -> bool {
        matches!(self.place, Place::After)
    }
}

/// The element in a piece: what is left without separators and white space.
pub(crate) fn element(piece: &[u8]) -> &[u8] {
    let start = piece.iter().position(|byte| *byte == b'{').unwrap_or(piece.len());
    piece.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> Vec<(usize, Edge)> {
        let mut framer = ArrayFramer::default();
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some((end, edge)) = framer.next(text.as_bytes(), at) {
            found.push((end, edge));
            at = end;
            if edge == Edge::Nonsense {
                break;
            }
        }
        found
    }

    #[test]
    fn finds_elements_and_the_close() {
        assert_eq!(
            edges("[{\"a\":\"}]\\\"\"}\n,\r\n{\"b\":[{}]}\n]\n"),
            [(13, Edge::Piece), (27, Edge::Piece), (29, Edge::Close)]
        );
        assert_eq!(edges("[]"), [(2, Edge::Close)]);
        assert_eq!(element(b"\n,\r\n{\"b\":1}"), b"{\"b\":1}");
    }

    #[test]
    fn refuses_what_is_no_array_of_objects() {
        for (text, at) in [
            ("x", 1),
            ("[1", 2),
            ("[{},]", 5),
            ("[{} {", 5),
            ("[,", 2),
            ("{}]", 3),
            ("[]]", 3),
        ] {
            assert_eq!(edges(text).last(), Some(&(at, Edge::Nonsense)), "{text}");
        }
    }
}
