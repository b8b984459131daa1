//! In proportion to the weights.
//!
//! Each candidate draws an exponential time with its weight as the rate; the earliest goes first, with a probability of
//! its share, and those behind it are in the same proportion among themselves, so the load of one that fails
//! spreads by weight too. It remembers nothing: a candidate that returns gets its share, not all that it missed, and
//! replicas need not agree on anything.

use super::Load;

/// The rank with these bits drawn.
pub(super) fn rank(load: &Load, drawn: u64) -> u64 {
    // 24 bits for the time, in (0, 1]; others break ties.
    let uniform = ((drawn >> 40) as f32 + 1.0) / (1_u32 << 24) as f32;
    let ties = drawn & u64::from(u32::MAX);
    // Bits of positive floats are in the order of the floats. A weight of zero is an infinite time: after all others.
    let time = halvings(uniform) / load.weight as f32;
    let time = if load.weight == 0 { f32::INFINITY } else { time };
    (u64::from(time.to_bits()) << 32) | ties
}

/// How often 1 must be halved to become `part`, which is in (0, 1]: the logarithm to the base 1/2. The exponent holds the
/// whole ones, a polynomial gives the rest to a thousandth; the library's logarithm would take half of the time that
/// choosing may take.
fn halvings(part: f32) -> f32 {
    const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    let bits = part.to_bits();
    let whole = (1.0_f32.to_bits() >> MANTISSA_BITS) as f32 - (bits >> MANTISSA_BITS) as f32;
    let mantissa = f32::from_bits((bits & ((1 << MANTISSA_BITS) - 1)) | 1.0_f32.to_bits());
    let correction = (0.405_900_95 - 0.081_615_74 * mantissa) * mantissa - 0.765_066;
    let above = (mantissa - 1.0) * (1.0 + (mantissa - 2.0) * correction);
    (whole - above).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_near_enough() {
        let parts = (1..=10_000).map(|n| n as f32 / 10_000.0);
        let worst = parts
            .map(|part| (halvings(part) + part.log2()).abs())
            .fold(0.0, f32::max);
        assert!(worst < 0.001, "{worst}");
    }
}
