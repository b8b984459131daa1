//! Secrets at rest: sealed with AES-256-GCM under a ring of keys from `ENCRYPTION_KEY`.
//!
//! A sealed text is `v1.<key id>.<base64>`: the version leaves room for another cipher, the key id says which key of the
//! ring opens it, so that a rotation can happen row by row. The place where a secret belongs (table and row) is bound to
//! it as associated data: a sealed text that is copied to another row does not open there.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Secret;
use zeroize::{Zeroize as _, Zeroizing};

/// The keys that seal and unseal, newest first. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<[SealingKey]>,
}

struct SealingKey {
    id: String,
    aead: RandomizedNonceKey,
}

/// Why a secret could not be sealed or unsealed, or a key could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// `ENCRYPTION_KEY` is not what it should be.
    #[error("ENCRYPTION_KEY {0}; make one with `openssl rand -base64 32`")]
    BadKey(&'static str),
    /// Sealed under a key that is not in the ring.
    #[error(
        "a secret was sealed under another ENCRYPTION_KEY (key {sealed_by}; this one is {have}): give the old key \
         again, alone or after the new one, separated by a comma"
    )]
    OtherKey {
        /// The key that sealed it.
        sealed_by: String,
        /// The keys given.
        have: String,
    },
    /// The text is damaged, or was moved here from another row.
    #[error("a sealed secret is damaged or does not belong to this place; enter it again")]
    Damaged,
    /// Not a sealed text of a version that we know.
    #[error("a sealed secret has an unknown format; it was written by a newer version")]
    Format,
    /// No randomness.
    #[error("the system gives no randomness")]
    Random,
}

/// The version of the sealed format.
const VERSION: &str = "v1";
const KEY_BYTES: usize = 32;

impl KeyRing {
    /// Reads `ENCRYPTION_KEY`: 32 bytes in base64 (standard or URL-safe), several separated by commas, newest first.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let keys: Arc<[_]> = text
            .split(',')
            .map(str::trim)
            .filter(|key| !key.is_empty())
            .map(|key| {
                let mut bytes = decode_key(key)?;
                let sealing = SealingKey::new(&bytes);
                bytes.zeroize();
                sealing
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            Err(VaultError::BadKey("is empty"))
        } else {
            Ok(Self { keys })
        }
    }

    /// A fresh key as text, for `tollgate init` and a start without configuration.
    pub fn generate() -> Result<Secret, VaultError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| VaultError::Random)?;
        Ok(Secret::new(STANDARD.encode(*bytes)))
    }

    /// Seals under the newest key. `context` names the place, such as `credentials/17`.
    pub fn seal(&self, context: &str, secret: &[u8]) -> Result<String, VaultError> {
        let key = self.keys.first().ok_or(VaultError::BadKey("is empty"))?;
        let mut text = secret.to_vec();
        let nonce = key
            .aead
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| VaultError::Random)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&text);
        Ok(format!("{VERSION}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what [`seal`](Self::seal) made for the same `context`.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (key, body) = self.split(sealed)?;
        let mut bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| VaultError::Damaged)?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(VaultError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Damaged)?;
        let length = key
            .aead
            .open_in_place(nonce, Aad::from(context.as_bytes()), text)
            .map_err(|_| VaultError::Damaged)?
            .len();
        bytes.truncate(NONCE_LEN + length);
        bytes.drain(..NONCE_LEN);
        Ok(Zeroizing::new(bytes))
    }

    /// [`open`](Self::open) for a secret that is text.
    pub fn open_text(&self, context: &str, sealed: &str) -> Result<Secret, VaultError> {
        let bytes = self.open(context, sealed)?;
        std::str::from_utf8(&bytes)
            .map(Secret::new)
            .map_err(|_| VaultError::Damaged)
    }

    /// Whether `sealed` is under the newest key already.
    pub fn is_current(&self, sealed: &str) -> bool {
        let current = self.keys.first().map(|key| key.id.as_str());
        sealed.split('.').nth(1) == current
    }

    fn split<'a>(&self, sealed: &'a str) -> Result<(&SealingKey, &'a str), VaultError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(VERSION), Some(id), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VaultError::Format);
        };
        let key = self.keys.iter().find(|key| key.id == id);
        key.map(|key| (key, body)).ok_or_else(|| VaultError::OtherKey {
            sealed_by: id.to_owned(),
            have: self.ids(),
        })
    }

    fn ids(&self) -> String {
        self.keys
            .iter()
            .map(|key| key.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.ids())
    }
}

impl SealingKey {
    /// The key that was given is only ever used to derive: what seals, and what names it, say nothing about each other.
    fn new(bytes: &[u8]) -> Result<Self, VaultError> {
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tollgate vault").extract(bytes);
        let derive = |purpose: &'static [u8]| {
            let mut out = Zeroizing::new([0; KEY_BYTES]);
            master
                .expand(&[purpose], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut *out))
                .map(|()| out)
                .map_err(|_| VaultError::BadKey("cannot be used"))
        };
        let aead = RandomizedNonceKey::new(&AES_256_GCM, &*derive(b"seal")?)
            .map_err(|_| VaultError::BadKey("cannot be used"))?;
        let id = digest::digest(&digest::SHA256, &*derive(b"name")?);
        let id = crate::hasher::to_hex(id.as_ref().get(..4).unwrap_or_default());
        Ok(Self { id, aead })
    }
}

fn decode_key(text: &str) -> Result<Vec<u8>, VaultError> {
    let text = text.trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(text))
        .map_err(|_| VaultError::BadKey("is not base64"))?;
    if bytes.len() == KEY_BYTES {
        Ok(bytes)
    } else {
        Err(VaultError::BadKey("is not 32 bytes long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "HxscGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIBAAA=";

    fn ring(text: &str) -> KeyRing {
        KeyRing::parse(text).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_only() {
        let ring = ring(OLD);
        let sealed = ring.seal("credentials/1", b"sk-secret").unwrap();
        assert!(sealed.starts_with("v1."));
        assert!(!sealed.contains("secret"));
        assert_eq!(&**ring.open("credentials/1", &sealed).unwrap(), b"sk-secret");
        assert_eq!(ring.open("credentials/2", &sealed), Err(VaultError::Damaged));
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_text() {
        let ring = ring(OLD);
        assert_ne!(ring.seal("a", b"x").unwrap(), ring.seal("a", b"x").unwrap());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let ring = ring(OLD);
        let sealed = ring.seal("a", b"some secret").unwrap();
        let body = sealed.rfind('.').unwrap() + 1;
        for at in body..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(ring.open("a", &String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(ring.open("a", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_wrong_key_is_told_by_name() {
        let sealed = ring(OLD).seal("a", b"x").unwrap();
        let error = ring(NEW).open("a", &sealed).unwrap_err();
        assert!(matches!(error, VaultError::OtherKey { .. }));
        assert!(error.to_string().contains("ENCRYPTION_KEY"));
    }

    #[test]
    fn rotation_opens_old_and_seals_new() {
        let sealed = ring(OLD).seal("a", b"x").unwrap();
        let both = ring(&format!("{NEW}, {OLD}"));
        assert_eq!(&**both.open("a", &sealed).unwrap(), b"x");
        assert!(!both.is_current(&sealed));
        let again = both.seal("a", b"x").unwrap();
        assert!(both.is_current(&again));
        assert_eq!(&**ring(NEW).open("a", &again).unwrap(), b"x");
    }

    #[test]
    fn keys_that_are_no_keys_are_refused() {
        for text in ["", " , ", "short", "AAECAwQFBgc=", "not base64 at all !!"] {
            assert!(matches!(KeyRing::parse(text), Err(VaultError::BadKey(_))), "{text}");
        }
        assert!(KeyRing::parse(KeyRing::generate().unwrap().expose()).is_ok());
        // URL-safe and unpadded are accepted too.
        assert!(KeyRing::parse(&OLD.replace('+', "-").replace('/', "_").replace('=', "")).is_ok());
    }

    #[test]
    fn the_ring_cannot_be_printed() {
        let shown = format!("{:?}", ring(OLD));
        assert!(!shown.contains("AAEC") && shown.len() < 40, "{shown}");
    }
}
