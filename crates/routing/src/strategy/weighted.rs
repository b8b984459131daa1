//! In proportion to the weights.
//!
//! Each candidate draws an exponential time with its weight as the rate; the earliest goes first, with a probability of
//! exactly its share, and those behind it are in the same proportion among themselves, so the load of one that fails
//! spreads by weight too. It remembers nothing: a candidate that returns gets its share, not all that it missed, and
//! replicas need not agree on anything.

use rand::Rng;

use super::Load;

pub(super) fn rank(load: &Load, rng: &mut impl Rng) -> u64 {
    let drawn = rng.next_u64();
    // 24 bits for the time, in (0, 1]; others break ties.
    let uniform = ((drawn >> 40) as f32 + 1.0) / (1_u32 << 24) as f32;
    let ties = drawn & u64::from(u32::MAX);
    // Bits of positive floats are in the order of the floats. A weight of zero is an infinite time: after all others.
    let time = -uniform.ln() / load.weight as f32;
    let time = if load.weight == 0 { f32::INFINITY } else { time.abs() };
    (u64::from(time.to_bits()) << 32) | ties
}
