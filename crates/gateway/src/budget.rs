//! A bound on the bytes of all request bodies together.
//!
//! Each body alone is bounded by `server.body_limit`; a thousand of them at once would still be 32 GiB. Bytes are
//! taken before they are read and given back when the body is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
