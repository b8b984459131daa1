//! Any order, each as likely.

use rand::Rng;

pub(super) fn rank(rng: &mut impl Rng) -> u64 {
    rng.next_u64()
}
