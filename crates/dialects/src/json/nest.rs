//! What lies around a value that is skipped: objects and arrays, a bit each.
//!
//! A call stack would bound the depth by its size; this costs a bit of memory per level, and nothing is allocated for the
//! first 64, which is deeper than what is usual.

/// Objects and arrays that are open.
#[derive(Debug, Default)]
pub(super) struct Nest {
    /// The innermost up to 64, the last one in the lowest bit; 1: an object.
    inner: u64,
    depth: usize,
    /// Those around them, 64 each.
    outer: Vec<u64>,
}

impl Nest {
    /// Opens one.
    pub(super) fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
            self.inner = 0;
        }
        self.inner = self.inner << 1 | u64::from(is_object);
        self.depth += 1;
    }

    /// Whether the innermost is an object; `None`: nothing is open.
    pub(super) const fn innermost(&self) -> Option<bool> {
        if self.depth == 0 {
            return None;
        }
        Some(self.inner & 1 == 1)
    }

    /// Closes the innermost.
    pub(super) fn pop(&mut self) {
        self.inner >>= 1;
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }
}
