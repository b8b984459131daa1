//! A bound on the bytes of all request bodies together.
//!
//! Each body alone is bounded by `server.body_limit`; a thousand of them at once would still be 32 GiB. Bytes are
//! taken before they are read and given back when the body is dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::KeyId;
use parking_lot::Mutex;

/// Bytes that may be held at once.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    whole: usize,
    left: Arc<AtomicUsize>,
}

/// Bytes taken from a [`Budget`]; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    left: Arc<AtomicUsize>,
    bytes: usize,
}

/// The bytes of bodies that are still arriving, by key: one key may not have all of a [`Budget`] for what it does not send.
#[derive(Debug)]
pub(crate) struct Arriving {
    most: usize,
    by_key: Mutex<HashMap<KeyId, usize>>,
}

/// What is arriving of one body; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    arriving: &'a Arriving,
    key: KeyId,
    bytes: usize,
}

impl Arriving {
    /// At most so many bytes for each key.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            by_key: Mutex::default(),
        }
    }

    /// A body for this key, of which nothing is counted yet.
    pub(crate) fn of(&self, key: KeyId) -> Part<'_> {
        Part {
            arriving: self,
            key,
            bytes: 0,
        }
    }
}

impl Part<'_> {
    /// Counts all `bytes` that have arrived of it; false, and nothing counted, if that is too much for its key.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let mut by_key = self.arriving.by_key.lock();
        let sum = by_key.entry(self.key).or_default();
        if *sum + more > self.arriving.most {
            return false;
        }
        *sum += more;
        self.bytes += more;
        true
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut by_key = self.arriving.by_key.lock();
        if let Some(sum) = by_key.get_mut(&self.key) {
            *sum -= self.bytes;
            if *sum == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            whole: bytes,
            left: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.whole - self.left.load(Ordering::Acquire)
    }

    /// An empty share, to grow.
    pub(crate) fn share(&self) -> Share {
        Share {
            left: Arc::clone(&self.left),
            bytes: 0,
        }
    }
}

impl Share {
    /// Takes `bytes` more; false, and nothing taken, if they are not there.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes))
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Takes over what another share has of the same budget.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives everything back.
    pub(crate) fn shrink(&mut self) {
        self.left.fetch_add(std::mem::take(&mut self.bytes), Ordering::AcqRel);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_bound_and_others_theirs() {
        let arriving = Arriving::new(10);
        let (one, other) = (KeyId(1), KeyId(2));
        let (mut a, mut b, mut c) = (arriving.of(one), arriving.of(one), arriving.of(other));
        assert!(a.grow_to(4) && a.grow_to(6) && b.grow_to(4) && !b.grow_to(5));
        assert!(c.grow_to(10) && !c.grow_to(11));
        drop(a);
        assert!(b.grow_to(10));
        drop((b, c));
        assert!(!arriving.of(one).grow_to(11), "refused, and its entry goes with it");
        assert!(arriving.by_key.lock().is_empty());
    }

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.grow(6) && !b.grow(5) && b.grow(4));
        assert_eq!(budget.held(), 10);
        drop(a);
        assert_eq!(budget.held(), 4);
        assert!(b.grow(6) && !b.grow(1));
        let mut c = budget.share();
        c.absorb(b);
        assert_eq!(budget.held(), 10);
        drop(c);
        assert_eq!(budget.held(), 0);
    }
}
