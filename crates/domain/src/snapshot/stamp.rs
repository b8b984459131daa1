//! What tells one route from every other of this process, so that what was read off it can be kept beside it.
//!
//! Its name does not: the next snapshot has another route of the same name. Nor does its address, which is given away again.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no other route of this process has. A copy is another route, for it may be changed.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteStamp(u64);

impl Default for RouteStamp {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl RouteStamp {
    /// The number itself.
    pub const fn number(&self) -> u64 {
        self.0
    }
}
