//! How candidates of the same priority are ordered.
//!
//! A strategy is a rank: a number per candidate, smallest first. That keeps each one to a few lines, makes the same
//! sorting serve all, and lets one property suite hold for all. Ranks are worked out twice per call: among the targets
//! of a route by the route's strategy, and among the credentials of an upstream by the upstream's.

mod least_connections;
mod random;
mod round_robin;
mod weighted;

use domain::declaration::Strategy;
use rand::Rng;

/// What a strategy may look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// When it was last chosen, as a sequence number; 0: never.
    pub used: u64,
    /// Calls open now.
    pub open: u32,
    /// Its share.
    pub weight: u32,
}

/// The rank of a candidate: smallest first.
pub fn rank(strategy: Strategy, load: &Load, rng: &mut impl Rng) -> u64 {
    match strategy {
        Strategy::RoundRobin => round_robin::rank(load),
        Strategy::Random => random::rank(rng),
        Strategy::Weighted => weighted::rank(load, rng),
        Strategy::LeastConnections => least_connections::rank(load),
    }
}

/// Whether the rank depends on use and open calls, which have to be looked up.
pub(crate) const fn looks_at_use(strategy: Strategy) -> bool {
    match strategy {
        Strategy::RoundRobin | Strategy::LeastConnections => true,
        Strategy::Random | Strategy::Weighted => false,
    }
}
