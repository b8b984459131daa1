//! How seals of reasoning travel.
//!
//! A reasoning item is taken back by its id *and* its encrypted content, but foreign formats have one field for a seal.
//! So the value of a seal of this format is always `id.encrypted`: neither Fernet tokens (URL-safe base64) nor ids have a
//! dot. Where the id is not known the dot comes first; `OpenAI` and xAI take encrypted content without an id, too.
//!
//! Seals of others pass through the clients of this format as encrypted content of reasoning items. What the other formats
//! say beside the seal stands before it, ended by a colon, which no seal and no name of a format has:
//! `redacted:` it is a whole redacted block; `next:` it seals the item that follows (Gemini seals texts and calls);
//! `previous:` it seals what came before.

use crate::hub::Signature;

use super::SELF;

/// What a seal is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// The reasoning that it stands in.
    Reasoning,
    /// The reasoning, which is nothing but this.
    Redacted,
    /// The part that follows.
    Next,
    /// The part before.
    Previous,
}

const PREFIXES: [(On, &str); 3] = [
    (On::Redacted, "redacted:"),
    (On::Next, "next:"),
    (On::Previous, "previous:"),
];

/// Reads the encrypted content of the item `id`.
pub(super) fn read(id: Option<&str>, encrypted: &str) -> (On, Signature) {
    let (on, rest) = PREFIXES
        .iter()
        .find_map(|(on, prefix)| Some((*on, encrypted.strip_prefix(prefix)?)))
        .unwrap_or((On::Reasoning, encrypted));
    let seal = Signature::read(SELF, rest);
    if seal.origin != SELF {
        return (on, seal);
    }
    let id = id.filter(|id| !id.contains('.')).unwrap_or_default();
    let value = format!("{id}.{encrypted}");
    (On::Reasoning, Signature { origin: SELF, value })
}

/// The id and the encrypted content in a seal of this format.
pub(super) fn split(value: &str) -> (Option<&str>, &str) {
    match value.split_once('.') {
        Some((id, encrypted)) => (Some(id).filter(|id| !id.is_empty()), encrypted),
        None => (None, value),
    }
}

/// The encrypted content that a client gets.
pub(super) fn for_client(on: On, seal: &Signature) -> String {
    if seal.origin == SELF {
        return split(&seal.value).1.to_owned();
    }
    let prefix = PREFIXES.iter().find(|(known, _)| *known == on);
    let prefix = prefix.map_or("", |(_, prefix)| prefix);
    format!("{prefix}{}", seal.for_client(SELF))
}

#[cfg(test)]
mod tests {
    use domain::Dialect;

    use super::*;

    #[test]
    fn own_seals_carry_the_id() {
        let (on, seal) = read(Some("rs_1"), "gAAA-_=");
        assert_eq!((on, seal.value.as_str()), (On::Reasoning, "rs_1.gAAA-_="));
        assert_eq!(split(&seal.value), (Some("rs_1"), "gAAA-_="));
        assert_eq!(split(&read(None, "gAAA").1.value), (None, "gAAA"));
        assert_eq!(split(&read(Some("a.b"), "gAAA").1.value), (None, "gAAA"));
        assert_eq!(for_client(On::Reasoning, &seal), "gAAA-_=");
    }

    #[test]
    fn foreign_seals_come_home_with_what_they_are_on() {
        for origin in [Dialect::Gemini, Dialect::AnthropicMessages, Dialect::OpenaiChat] {
            for on in [On::Reasoning, On::Redacted, On::Next, On::Previous] {
                let seal = Signature {
                    origin,
                    value: "EqQB.CkY+/=".to_owned(),
                };
                assert_eq!(read(Some("rs_x"), &for_client(on, &seal)), (on, seal));
            }
        }
    }
}
