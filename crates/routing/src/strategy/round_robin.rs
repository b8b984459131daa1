//! Least recently used first.
//!
//! Not a counter modulo the number of candidates: that one skips and repeats whenever a candidate drops out or comes
//! back. The sequence number is taken in the same critical section that chooses, so parallel calls rotate exactly.

use super::Load;

pub(super) const fn rank(load: &Load) -> u64 {
    load.used
}
