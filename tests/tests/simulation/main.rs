//! Routing and metering together, in ten thousand small worlds.
//!
//! Each seed is a world of its own: upstreams that fail and recover, users with little money, clients that hang up, and
//! a settler that books in batches. Time is virtual, so hours of outages take milliseconds. The two crates do not know
//! each other and are put together here as the gateway puts them together, without any IO, and after every event the
//! promises are checked that hold whatever happens: nobody spends what they don't have, nothing is charged twice or for
//! a failure, what was held comes back, a time that a provider named is kept, a failing upstream is not hammered, and
//! who can be answered is.
//!
//! A failing seed is printed. `TOLLGATE_SIMULATION_SEED=n cargo test -p blackbox --test simulation` runs it alone;
//! `TOLLGATE_SIMULATION_SEEDS=n` runs more of them.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a failing seed is told to whoever runs it"
)]

mod call;
mod tally;
mod upstreams;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tally::Tally;
use world::World;

/// Seeds of an ordinary run.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn ten_thousand_worlds_keep_the_promises() {
    if let Some(seed) = number("TOLLGATE_SIMULATION_SEED") {
        println!("{:#?}", World::new(seed).run());
        return;
    }
    let seeds = number("TOLLGATE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
    let tally = thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| run_seeds(&next, seeds))).collect();
        handles.into_iter().fold(Tally::default(), |sum, handle| {
            sum.plus(handle.join().expect("a seed failed"))
        })
    });
    println!("{seeds} seeds: {tally:#?}");
    tally.assert_everything_happened();
}

fn run_seeds(next: &AtomicU64, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return tally;
        }
        match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
            Ok(world) => tally = tally.plus(world),
            Err(panic) => {
                eprintln!("seed {seed} failed; again with TOLLGATE_SIMULATION_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
