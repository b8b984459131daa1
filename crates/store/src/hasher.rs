//! How a presented key is looked up: by its HMAC-SHA-256 under a random key of this database.
//!
//! A plain hash of an imported, weak key could be guessed from a stolen database; under a secret key it cannot. The
//! key is random rather than derived from `ENCRYPTION_KEY`, and sealed in the database, so that a rotation of
//! `ENCRYPTION_KEY` leaves all hashes valid.

use std::fmt;

use aws_lc_rs::hmac;
use domain::snapshot::KeyHash;

/// Hashes presented keys. Cheap to clone.
#[derive(Clone)]
pub struct KeyHasher {
    key: hmac::Key,
}

impl KeyHasher {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// The hash by which `presented` is found.
    pub fn hash(&self, presented: &str) -> KeyHash {
        let tag = hmac::sign(&self.key, presented.as_bytes());
        let mut hash = KeyHash::default();
        for (byte, tag) in hash.iter_mut().zip(tag.as_ref()) {
            *byte = *tag;
        }
        hash
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(…)")
    }
}

/// As kept in the database.
pub(crate) fn to_hex(hash: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    hash.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .flatten()
        .collect()
}

/// The reverse of [`to_hex`].
pub(crate) fn from_hex(text: &str) -> Option<KeyHash> {
    let mut hash = KeyHash::default();
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_meet_and_others_do_not() {
        let hasher = KeyHasher::new(&[7; 32]);
        assert_eq!(hasher.hash("sk-tg-a"), hasher.clone().hash("sk-tg-a"));
        assert_ne!(hasher.hash("sk-tg-a"), hasher.hash("sk-tg-b"));
        assert_ne!(hasher.hash("sk-tg-a"), KeyHasher::new(&[8; 32]).hash("sk-tg-a"));
    }

    #[test]
    fn hex_survives_the_round_trip() {
        let hash = KeyHasher::new(&[7; 32]).hash("x");
        assert_eq!(from_hex(&to_hex(&hash)), Some(hash));
        assert_eq!(from_hex("zz"), None);
        assert_eq!(from_hex(&"g".repeat(64)), None);
    }
}
