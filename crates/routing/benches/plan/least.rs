//! The least of many small batches: what a choice costs when nothing else gets in its way.
//!
//! A mean on a machine that does other things says how busy the machine is. A batch of fifty choices is over before the next
//! interrupt, so that of many batches some are undisturbed, and the least of them hardly changes with the load.

use std::hint::black_box;
use std::time::Instant;

use domain::declaration::{Defaults, Strategy};
use routing::{Attempts, Recording, decide};

use crate::worlds::{DEADLINE, Health, LARGE, NOW, STRATEGIES, World, asked};

const BATCHES: usize = 1_500;
const CHOICES: u32 = 50;

/// Prints the table, in µs: the choice with its record, and all of it up to the first try.
#[expect(clippy::print_stdout, reason = "a table to be read")]
pub(crate) fn print() {
    println!("| strategy | 100 × 1: record | first | 10 × 10: record | first | 1 × 100: record | first |");
    for health in [Health::Well, Health::Ill] {
        println!("|---|---|---|---|---|---|---|  {health:?}");
        for strategy in STRATEGIES {
            let cells = LARGE.map(|(upstreams, credentials)| cells(upstreams, credentials, strategy, health));
            let name = serde_json::json!(strategy);
            println!("| `{}` | {} |", name.as_str().unwrap_or_default(), cells.join(" | "));
        }
    }
    for shape in [(1, 1), (3, 1), (1, 3)] {
        let cells = STRATEGIES.map(|strategy| cells(shape.0, shape.1, strategy, Health::Well));
        println!("{shape:?}: {}", cells.join("; "));
    }
}

fn cells(upstreams: i64, credentials: i64, strategy: Strategy, health: Health) -> String {
    let World { route, board } = World::new(upstreams, credentials, strategy, health);
    let mut seed = 0;
    let mut choose = || {
        seed += 1;
        decide(black_box(&route), asked(seed), None, &board, (NOW, seed), Recording::On)
    };
    let record = least(|| {
        black_box(choose());
    });
    let defaults = Defaults::default();
    let first = least(|| {
        let (plan, trace) = choose();
        let mut attempts = Attempts::new(plan, &defaults, DEADLINE);
        black_box(attempts.next(&route, &board, NOW));
        black_box(trace);
    });
    format!("{record:.2} | {first:.2}")
}

/// Microseconds.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn least(mut choose: impl FnMut()) -> f64 {
    let batches = (0..BATCHES).map(|_| {
        let begun = Instant::now();
        (0..CHOICES).for_each(|_| choose());
        begun.elapsed()
    });
    let least = batches.min().unwrap_or_default();
    least.as_secs_f64() * 1e6 / f64::from(CHOICES)
}
