//! What choosing costs: the aim is 2 µs with a hundred candidates, and next to nothing with one.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use domain::declaration::{Defaults, Strategy};
use domain::snapshot::{CredentialRow, ModelRow, Origin, Resources, Route, UpstreamRow};
use domain::{CredentialId, Dialect, Operation, Secret, Snapshot, Surface, Timestamp, UpstreamId};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use routing::{Asked, Attempts, Board, Recording, Step, decide, plan};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const SURFACE: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);

/// A model served by this many upstreams with this many credentials each.
fn route(upstreams: i64, credentials: i64, strategy: Strategy) -> Arc<Route> {
    let upstream_row = |id: i64| UpstreamRow {
        id: UpstreamId(id),
        origin: Origin::Operator,
        decl: serde_json::from_value(serde_json::json!({
            "name": format!("u{id}"), "provider": "openai", "strategy": strategy, "weight": id,
        }))
        .expect("a declaration"),
        credentials: (0..credentials)
            .map(|n| CredentialRow {
                id: CredentialId(id * 1_000 + n),
                name: format!("k{n}"),
                secret: Secret::new("sk"),
                weight: 1 + n as u32,
                terms: domain::declaration::CredentialTerms::default(),
                state: domain::snapshot::CredentialState::default(),
                account: None,
            })
            .collect(),
        forced: None,
    };
    let targets: Vec<_> = (1..=upstreams)
        .map(|id| serde_json::json!({"upstream": format!("u{id}")}))
        .collect();
    let price = serde_json::json!({"input": "1.00", "output": "4.00"});
    let model = serde_json::json!({"name": "m", "strategy": strategy, "targets": targets, "price": price});
    Snapshot::build(Resources {
        upstreams: (1..=upstreams).map(upstream_row).collect(),
        models: vec![ModelRow {
            decl: serde_json::from_value(model).expect("a declaration"),
        }],
        ..Resources::default()
    })
    .route("m")
    .expect("a route")
}

fn choosing(criterion: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(1);
    for (upstreams, credentials) in [(1, 1), (3, 1), (1, 100), (10, 10), (100, 1)] {
        for strategy in [
            Strategy::RoundRobin,
            Strategy::Random,
            Strategy::Weighted,
            Strategy::LeastConnections,
            Strategy::LeastUsed,
            Strategy::LowestLatency,
            Strategy::Cheapest,
            Strategy::Sticky,
        ] {
            let route = route(upstreams, credentials, strategy);
            let board = Board::new();
            let mut asked = Asked {
                affinity: Some(1),
                ..Asked::from(SURFACE)
            };
            // Every entry exists and every candidate has been measured, as after some traffic.
            for session in 0..1_000 {
                asked.affinity = Some(session);
                serve(&route, asked, &board, &mut rng);
            }
            criterion.bench_function(&format!("plan/{strategy:?}/{upstreams}x{credentials}"), |bencher| {
                bencher.iter(|| plan(black_box(&route), asked, &board, NOW, &mut rng));
            });
            let mut seed = 0;
            criterion.bench_function(&format!("record/{strategy:?}/{upstreams}x{credentials}"), |bencher| {
                bencher.iter(|| {
                    seed += 1;
                    decide(black_box(&route), asked, None, &board, (NOW, seed), Recording::On)
                });
            });
        }
    }
}

/// One call that is answered at once.
fn serve(route: &Route, asked: Asked<'_>, board: &Board, rng: &mut SmallRng) {
    let defaults = Defaults::default();
    let deadline = Timestamp::from_secs(1_700_000_600);
    let mut attempts = Attempts::new(plan(route, asked, board, NOW, rng), &defaults, deadline);
    let Step::Try(choice) = attempts.next(route, board, NOW) else {
        panic!("nothing to try")
    };
    attempts.served(route, choice, board, NOW);
}

fn a_whole_call(criterion: &mut Criterion) {
    let route = route(3, 1, Strategy::RoundRobin);
    let (board, defaults, mut rng) = (Board::new(), Defaults::default(), SmallRng::seed_from_u64(1));
    let target = &route.targets[0];
    let deadline = Timestamp::from_secs(1_700_000_600);
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
criterion_main!(benches);
