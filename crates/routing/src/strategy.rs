//! How candidates of the same priority are ordered.
//!
//! A strategy is a rank: a number per candidate, smallest first. That keeps each one to a few lines, makes the same
//! sorting serve all, and lets one property suite hold for all. Ranks are worked out twice per call: among the targets
//! of a route by the route's strategy, and among the credentials of an upstream by the upstream's.

mod cheapest;
mod least_connections;
mod least_used;
mod lowest_latency;
mod random;
mod round_robin;
mod sticky;
mod weighted;

use domain::declaration::Strategy;

pub(crate) use cheapest::cost;
pub(crate) use least_used::Uses;
pub(crate) use lowest_latency::{Latency, draw};
pub(crate) use sticky::{BEHIND, Crowd, affinity};

/// What a strategy may look at. Only what the strategy in question looks at is filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// When it was last chosen, as a sequence number; 0: never.
    pub(crate) used: u64,
    /// Calls open now.
    pub(crate) open: u32,
    /// Its share.
    pub(crate) weight: u32,
    /// Uses, those of a while ago counting less.
    pub(crate) uses: f32,
    /// How soon it answered lately, in milliseconds; 0: not known.
    pub(crate) latency: f32,
    /// What the call would cost there, in nano-dollars; `None`: not known.
    pub(crate) cost: Option<f32>,
    /// What the call has in common with the candidate, as evenly distributed bits.
    pub(crate) affinity: Option<u64>,
}

/// The rank of a candidate: smallest first. `draw` gives its lot.
pub(crate) fn rank(strategy: Strategy, load: &Load, draw: impl FnOnce() -> u64) -> u64 {
    match strategy {
        Strategy::RoundRobin => round_robin::rank(load),
        Strategy::Random => random::rank(draw()),
        Strategy::Weighted => weighted::rank(load, draw()),
        Strategy::LeastConnections => least_connections::rank(load),
        Strategy::LeastUsed => least_used::rank(load),
        Strategy::LowestLatency => lowest_latency::rank(load),
        Strategy::Cheapest => cheapest::rank(load),
        Strategy::Sticky => sticky::rank(load, draw),
    }
}

/// A rank in the strategy's own unit, for people; `None` where it is not known.
pub(crate) fn shown(strategy: Strategy, rank: u64) -> Option<f64> {
    let number = match strategy {
        Strategy::RoundRobin => rank as f64,
        Strategy::LeastConnections => least_connections::open(rank) as f64,
        Strategy::LeastUsed | Strategy::LowestLatency => f64::from(number_of(rank)),
        Strategy::Cheapest => f64::from(number_of(rank)) * cheapest::DOLLARS,
        Strategy::Random | Strategy::Weighted | Strategy::Sticky => rank as f64 / u64::MAX as f64,
    };
    number.is_finite().then_some(number)
}

/// A rank by a number that is not negative, the least recently used first among equals. Bits of such floats are in the
/// order of the floats. The sequence number is cut to 32 bits: a thousand choices a second for fifty days, then ties are
/// broken a little less fairly for a moment.
const fn by(number: f32, load: &Load) -> u64 {
    ((number.to_bits() as u64) << u32::BITS) | (load.used & u32::MAX as u64)
}

/// The number that a rank by one began with.
const fn number_of(rank: u64) -> f32 {
    f32::from_bits((rank >> u32::BITS) as u32)
}

#[cfg(test)]
mod tests;
