//! What choosing costs: the aim is 2 µs with a hundred candidates, well or not, and next to nothing with one.
//!
//! `cargo bench -p routing --bench plan` measures with criterion; with `-- --least` it prints the table of `bench/README.md`.

#[path = "plan/least.rs"]
mod least;
#[path = "plan/worlds.rs"]
mod worlds;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group};
use domain::declaration::{Defaults, Strategy};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use routing::{Asked, Attempts, Board, Recording, Step, decide, plan};
use worlds::{Health, NOW, STRATEGIES, SURFACE, World};

fn choosing(criterion: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(1);
    let shapes = [(1, 1), (3, 1), (1, 100), (10, 10), (100, 1)].map(|shape| (shape, Health::Well));
    let ill = worlds::LARGE.map(|shape| (shape, Health::Ill));
    for ((upstreams, credentials), health) in shapes.into_iter().chain(ill) {
        for strategy in STRATEGIES {
            let World { route, board } = World::new(upstreams, credentials, strategy, health);
            let asked = Asked {
                affinity: Some(1_000),
                ..Asked::from(SURFACE)
            };
            let case = format!("{strategy:?}/{upstreams}x{credentials}{}", health.suffix());
            criterion.bench_function(&format!("plan/{case}"), |bencher| {
                bencher.iter(|| plan(black_box(&route), asked, &board, NOW, &mut rng));
            });
            let mut seed = 0;
            criterion.bench_function(&format!("record/{case}"), |bencher| {
                bencher.iter(|| {
                    seed += 1;
                    decide(black_box(&route), asked, None, &board, (NOW, seed), Recording::On)
                });
            });
        }
    }
}

fn a_whole_call(criterion: &mut Criterion) {
    let World { route, .. } = World::new(3, 1, Strategy::RoundRobin, Health::Well);
    let (board, defaults, mut rng) = (Board::new(), Defaults::default(), SmallRng::seed_from_u64(1));
    let target = &route.targets[0];
    let deadline = worlds::DEADLINE;
    criterion.bench_function("call/served at once", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let mut attempts = Attempts::new(plan(&route, SURFACE, &board, NOW, &mut rng), &defaults, deadline);
                let Step::Try(choice) = attempts.next(&route, &board, NOW) else {
                    panic!("nothing to try")
                };
                let in_flight = board.begin(&target.upstream, &target.upstream.credentials[0], NOW);
                attempts.served(&route, choice, &board, NOW);
                drop(in_flight);
                attempts
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, choosing, a_whole_call);

#[expect(clippy::disallowed_methods, reason = "a program of its own")]
fn main() {
    if std::env::args().any(|argument| argument == "--least") {
        least::print();
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
