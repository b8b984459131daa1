//! The same candidate for what belongs together, so that the provider's prompt cache is met again.
//!
//! Rendezvous hashing: each candidate draws its bits from the affinity and its own identity instead of from chance, and
//! ranks by weight as under `weighted`. One that is set aside sends each of its sessions to that session's own second
//! choice and gets them back when it returns; no other session moves, whatever is added or taken away, and replicas agree
//! without talking to each other.
//!
//! A popular session must not drown its candidate: one that has more than 1.25 times the mean of open calls goes behind
//! those that have not (Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", 2016).

use super::{Load, weighted};

/// How many open calls are not crowded, whatever the mean is. Without it a second call of the same session, with nobody
/// else there, would be sent away from its cache.
pub(crate) const OPEN_FREE_MAX: u32 = 8;

/// The uppermost bit of a rank, which weighted ranks leave free: one that is crowded goes behind the others.
pub(crate) const BEHIND: u64 = 1 << 63;

/// The rank of one that is not crowded.
pub(super) fn rank(load: &Load, draw: impl FnOnce() -> u64) -> u64 {
    weighted::rank(load, load.affinity.unwrap_or_else(draw))
}

/// What a call has in common with a candidate: bits that are evenly distributed over both.
pub(crate) const fn affinity(call: u64, candidate: u64) -> u64 {
    // The finaliser of SplitMix64, after a golden-ratio step per candidate.
    let mut bits = call ^ candidate.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The open calls at all candidates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crowd {
    open: u32,
    candidates: u32,
    /// The most of any.
    most: u32,
}

impl Crowd {
    /// Counts one that may be chosen.
    pub(crate) const fn add(&mut self, open: u32) {
        self.open = self.open.saturating_add(open);
        self.candidates += 1;
        if open > self.most {
            self.most = open;
        }
    }

    /// Whether any of them may have more than its share.
    pub(crate) const fn is_dense(self) -> bool {
        self.most >= OPEN_FREE_MAX
    }

    /// Whether one with so many open calls has its share, this call included: 1.25 times the mean, rounded up.
    pub(crate) fn is_crowded(self, open: u32) -> bool {
        let share = (u64::from(self.open) + 1) * 5;
        let most = share.div_ceil(u64::from(self.candidates.max(1)) * 4);
        u64::from(open) >= most.max(u64::from(OPEN_FREE_MAX))
    }
}
