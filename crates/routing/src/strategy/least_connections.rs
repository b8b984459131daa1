//! Fewest open calls first, the least recently used among equals.
//!
//! The second rule matters more than it looks: with little traffic all are at zero, and a tie that is always broken in
//! the same way would send everything to the first.

use super::Load;

/// Bits that the sequence number may have: a million calls a second for twelve days; after that ties are broken a little
/// less fairly for a moment.
const SEQUENCE_BITS: u32 = 40;

/// The open calls in a rank.
pub(super) const fn open(rank: u64) -> u64 {
    rank >> SEQUENCE_BITS
}

pub(super) fn rank(load: &Load) -> u64 {
    let open = u64::from(load.open.min((1 << (u64::BITS - SEQUENCE_BITS)) - 1));
    (open << SEQUENCE_BITS) | (load.used & ((1 << SEQUENCE_BITS) - 1))
}
