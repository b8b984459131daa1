//! How long to wait before asking again.
//!
//! Exponential with jitter: a fixed delay makes all clients of a failing upstream come back in the same instant. The
//! jitter is a quarter up or down, not the popular "anything from zero", because the first delay is also a promise: a
//! provider that just answered 429 is not asked again at once.

use std::time::Duration;

use domain::declaration::Defaults;
use rand::Rng;

/// The longest delay, before jitter. Longer ones would outlive the client's patience; who has to wait longer is told so.
pub const DELAY_MAX: Duration = Duration::from_mins(1);

/// Delays that grow with each try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first further try.
    pub first: Duration,
    /// How much longer each delay is than the one before.
    pub factor: u32,
}

impl Backoff {
    /// As the defaults say.
    pub const fn of(defaults: &Defaults) -> Self {
        Self {
            first: defaults.retry_delay.0,
            factor: defaults.retry_factor,
        }
    }

    /// The delay after `failures` failures (at least one), a quarter more or less.
    pub fn delay(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let grown = self.factor.max(1).saturating_pow(failures.saturating_sub(1));
        self.first
            .saturating_mul(grown)
            .min(DELAY_MAX)
            .mul_f64(rng.random_range(0.75..=1.25))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn delays_double_and_jitter_by_a_quarter() {
        let backoff = Backoff::of(&Defaults::default());
        let mut rng = SmallRng::seed_from_u64(1);
        for (failures, base) in [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (7, 60.0), (u32::MAX, 60.0)] {
            let delays: Vec<f64> = (0..1_000)
                .map(|_| backoff.delay(failures, &mut rng).as_secs_f64() / base)
                .collect();
            let (least, most) = delays
                .iter()
                .fold((2.0_f64, 0.0_f64), |(a, b), d| (a.min(*d), b.max(*d)));
            assert!(
                (0.75..0.77).contains(&least) && (1.23..=1.25).contains(&most),
                "{failures}: {least} to {most}"
            );
        }
    }
}
