//! What a seed makes of a world before it begins: who has how much money, and what clients will do.

use std::sync::Arc;
use std::time::Duration;

use domain::limits::Limits;
use domain::{Money, Policy, UserId};
use metering::{Bound, KeyLimiter, hold_for};
use rand::Rng as _;
use rand::rngs::SmallRng;

use super::{Event, User, World};
use crate::call::{Call, Script, usage};
use crate::upstreams::{START, STORMY};

/// Calls of one world.
const CALLS: usize = 40;

impl World {
    pub(super) fn draw_users(&mut self) {
        for number in 0..self.rng.random_range(1..=3_i64) {
            let policy = [Policy::Hard, Policy::Hard, Policy::Soft, Policy::Unlimited][self.rng.random_range(0..4)];
            let id = UserId(number + 1);
            let balance = self.rng.random_range(0..60_000_000);
            self.accounts.set_balance(id, Money::from_nanos(balance));
            let some = |rng: &mut SmallRng, most: u32| if rng.random() { rng.random_range(1..most) } else { 0 };
            let limits = Limits {
                rpm: some(&mut self.rng, 40),
                tpm: some(&mut self.rng, 100_000),
                concurrency: some(&mut self.rng, 10),
            };
            let limiter = Arc::new(KeyLimiter::new(START));
            self.users.push(User {
                id,
                policy,
                limiter,
                limits,
                balance,
                credited: balance,
                admitted: Vec::new(),
            });
        }
    }

    pub(super) fn draw_calls(&mut self) {
        // Some worlds are crowds, some are a trickle over the whole storm.
        let span = if self.rng.random() {
            20_000
        } else {
            STORMY.as_millis() as u64
        };
        for number in 0..CALLS {
            let rng = &mut self.rng;
            let at = START + Duration::from_millis(rng.random_range(0..span));
            let body_bytes = rng.random_range(100..4_000);
            let asked = rng.random_range(1..4_000);
            let output_bound = rng.random_range(0..3_u8).gt(&0).then_some(asked);
            let bound = Bound {
                body_bytes,
                output_bound,
                choices: 1,
                generates: true,
                ..Bound::default()
            };
            let script = Script {
                user: rng.random_range(0..self.users.len()),
                at,
                body_bytes,
                output_bound,
                usage: usage(body_bytes, asked, rng),
                stream: rng.random(),
                reports: rng.random_range(0..5) > 0,
                hangs_up: (rng.random_range(0..6) == 0)
                    .then(|| at + Duration::from_millis(rng.random_range(0..20_000))),
                hold_bound: hold_for(&bound, &self.price),
            };
            self.calls.push(Call::new(script, self.natures.len()));
            self.schedule(at, Event::Arrive(number));
        }
        self.schedule(START, Event::Book);
    }
}
