//! Chance that can be had again.
//!
//! A choice that drew lots can be explained only if the same lots can be drawn a month later, by another version of the
//! program on another machine. The generators of `rand` do not promise that (`SmallRng` says it may change at any time),
//! so this one is our own: `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), which
//! passes the tests of `BigCrush` and is five instructions. Each call begins anew from a seed that nobody can guess.

use rand::RngCore;

/// From one state of the generator to the next: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The lot with this number: what [`Dice`] that begin at `lots` draw then. So each candidate has its own, in whatever order
/// they are looked at, and whichever of them are.
pub(crate) const fn lot(lots: u64, number: u64) -> u64 {
    mixed(lots.wrapping_add(number.wrapping_add(1).wrapping_mul(STEP)))
}

/// Bits that look like any, of each state of the generator others.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A generator that one number determines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// Begins at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_what_the_paper_draws() {
        // The first outputs for the seed 1234567, as in https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64.
        let mut dice = Dice::new(1_234_567);
        let drawn = [dice.next_u64(), dice.next_u64(), dice.next_u64()];
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
        assert_eq!([0, 1, 2].map(|number| lot(1_234_567, number)), drawn);
    }
}
