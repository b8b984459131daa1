//! What holds for every strategy, then each of them, then what is set aside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use domain::declaration::Strategy;
use domain::{Dialect, FailureClass, Forced, Operation, Surface};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, CHAT, Call, START, after, at, failure, rng, route, snapshot, status};

const STRATEGIES: [Strategy; 8] = [
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::LeastUsed,
    Strategy::LowestLatency,
    Strategy::Cheapest,
    Strategy::Sticky,
];

fn planned(route: &Route, board: &Board, seed: u64) -> Plan {
    plan(route, CHAT, board, START, &mut rng(seed))
}

/// How often each candidate is first, over this many calls.
fn firsts(route: &Route, board: &Board, calls: u64) -> BTreeMap<(usize, usize), u64> {
    let mut rng = rng(7);
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        let first = plan(route, CHAT, board, START, &mut rng).order[0];
        *counts.entry((first.target, first.credential)).or_default() += 1;
    }
    counts
}

fn fail(route: &Route, board: &Board, choice: (usize, usize), failure: &domain::Failure, times: usize) {
    for _ in 0..times {
        testing::fail(route, board, choice, failure, START);
    }
}

// ===== what holds for every strategy =====

#[derive(Clone, Debug)]
struct World {
    strategy: Strategy,
    upstreams: Vec<Value>,
    /// (target, credential, failure) that happened before.
    before: Vec<(usize, usize, u8)>,
}

fn world() -> impl proptest::strategy::Strategy<Value = World> {
    let strategy = || proptest::sample::select(&STRATEGIES[..]);
    let upstream = (1_u8..5, -1_i32..2, 0_u32..4, strategy(), any::<bool>(), any::<bool>()).prop_map(
        |(keys, priority, weight, strategy, chat, breaker)| {
            let mut decl = json!({"keys": keys, "priority": priority, "weight": weight, "strategy": strategy});
            decl["provider"] = json!(if chat { "openai" } else { "anthropic" });
            if !breaker {
                decl["breaker"] = json!("off");
            }
            decl
        },
    );
    let before = proptest::collection::vec((0_usize..6, 0_usize..4, 0_u8..5), 0..30);
    (strategy(), proptest::collection::vec(upstream, 1..6), before).prop_map(|(strategy, upstreams, before)| World {
        strategy,
        upstreams,
        before,
    })
}

fn build(world: &World) -> (std::sync::Arc<Route>, Board) {
    let (route, board) = (route(world.strategy, &world.upstreams), Board::new());
    for (target, credential, kind) in &world.before {
        let target = target % route.targets.len();
        let credential = credential % route.targets[target].upstream.credentials.len();
        let failure = match kind {
            0 => failure(FailureClass::Connect),
            1 => status(429),
            2 => after(status(429), 5_000),
            3 => status(401),
            _ => status(402),
        };
        fail(
            &route,
            &board,
            (target, credential),
            &failure,
            if *kind == 0 { 5 } else { 1 },
        );
    }
    (route, board)
}

proptest! {
    #[test]
    fn order_and_exclusions_are_all_candidates_once(world in world(), seed in any::<u64>()) {
        let (route, board) = build(&world);
        let plan = planned(&route, &board, seed);
        let mut seen: Vec<Choice> = plan.order.iter().copied().chain(plan.excluded.iter().map(|e| e.choice)).collect();
        seen.sort_unstable();
        let all: Vec<Choice> = (0..route.targets.len())
            .flat_map(|target| {
                (0..route.targets[target].upstream.credentials.len()).map(move |credential| Choice { target, credential })
            })
            .collect();
        prop_assert_eq!(seen, all);
    }

    #[test]
    fn priorities_go_before_strategies(world in world(), seed in any::<u64>()) {
        let (route, board) = build(&world);
        let plan = planned(&route, &board, seed);
        prop_assert!(plan.order.is_sorted_by_key(|choice| route.targets[choice.target].priority));
    }

    #[test]
    fn only_healthy_candidates_are_ordered_while_there_is_one(world in world(), seed in any::<u64>()) {
        let (route, board) = build(&world);
        let plan = planned(&route, &board, seed);
        let against = |choice: &Choice| {
            let target = &route.targets[choice.target];
            board.exclusion(target, &target.upstream.credentials[choice.credential], START)
        };
        for choice in &plan.order {
            prop_assert!(offers(&route.targets[choice.target], CHAT));
            match against(choice) {
                None => prop_assert!(!plan.last_resort),
                Some(reason) => prop_assert!(plan.last_resort && reason.is_guess(), "{reason:?} was ordered"),
            }
        }
        prop_assert!(!plan.last_resort || plan.order.len() == 1);
        if plan.order.is_empty() {
            prop_assert!(plan.excluded.iter().all(|excluded| !excluded.reason.is_guess()), "refused by a guess");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan(world in world(), seed in any::<u64>()) {
        let plans: Vec<Plan> = (0..2).map(|_| { let (route, board) = build(&world); planned(&route, &board, seed) }).collect();
        prop_assert_eq!(&plans[0], &plans[1]);
    }

    #[test]
    fn nobody_starves(strategy in proptest::sample::select(&STRATEGIES[..]), upstreams in 1_usize..5, keys in 1_usize..4) {
        let decls = vec![json!({"keys": keys, "strategy": strategy}); upstreams];
        let counts = firsts(&route(strategy, &decls), &Board::new(), 60 * (upstreams * keys) as u64);
        prop_assert_eq!(counts.len(), upstreams * keys, "{:?}", counts);
    }
}

// ===== each strategy =====

#[test]
fn round_robin_takes_turns_exactly() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({}), json!({})]);
    let board = Board::new();
    let turns: Vec<_> = (0..6).map(|seed| planned(&route, &board, seed).order[0]).collect();
    let of = |target, credential| Choice { target, credential };
    assert_eq!(turns, [of(0, 0), of(1, 0), of(2, 0), of(0, 1), of(1, 0), of(2, 0)]);
}

#[test]
fn a_look_says_whose_turn_it_is_and_changes_no_turn() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({})]);
    let board = Board::new();
    for seed in 0..6 {
        let looked = [0, 1, 2].map(|look| testing::preview(&route, &board, START, &mut rng(look)).order);
        let turn = planned(&route, &board, seed).order;
        assert!(looked.iter().all(|order| *order == turn), "{looked:?} but {turn:?}");
    }
}

#[test]
fn round_robin_turns_between_models_of_one_upstream() {
    let snapshot = domain::Snapshot::build(domain::snapshot::Resources {
        models: vec![domain::snapshot::ModelRow {
            decl: serde_json::from_value(json!({"name": "both", "targets": [
                {"upstream": "u1", "model": "a"}, {"upstream": "u1", "model": "b"}]}))
            .unwrap(),
        }],
        upstreams: vec![domain::snapshot::UpstreamRow {
            id: domain::UpstreamId(1),
            origin: domain::snapshot::Origin::Operator,
            decl: serde_json::from_value(json!({"name": "u1", "provider": "ollama"})).unwrap(),
            credentials: Vec::new(),
            forced: None,
        }],
        ..domain::snapshot::Resources::default()
    });
    let counts = firsts(&snapshot.route("both").unwrap(), &Board::new(), 100);
    assert_eq!(counts, BTreeMap::from([((0, 0), 50), ((1, 0), 50)]));
}

#[test]
fn who_returns_to_round_robin_gets_its_turn_and_no_more() {
    let route = route(Strategy::RoundRobin, &[json!({}), json!({}), json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &after(status(429), 1_000), 1);
    let away: Vec<_> = (0..4)
        .map(|seed| planned(&route, &board, seed).order[0].target)
        .collect();
    assert_eq!(away, [1, 2, 1, 2]);
    let back: Vec<_> = (0..6)
        .map(|seed| plan(&route, CHAT, &board, at(1_000), &mut rng(seed)).order[0].target)
        .collect();
    assert_eq!(back, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn weights_are_kept_in_the_long_run() {
    let decls = [
        json!({"weight": 5}),
        json!({"weight": 3}),
        json!({"weight": 2}),
        json!({"weight": 0}),
    ];
    let counts = firsts(&route(Strategy::Weighted, &decls), &Board::new(), 20_000);
    for (target, share) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
        let got = counts[&(target, 0)] as f64 / 20_000.0;
        assert!(
            (got / share - 1.0).abs() < 0.05,
            "target {target} got {got} instead of {share}"
        );
    }
    assert!(
        !counts.contains_key(&(3, 0)),
        "no weight, no calls while there are others"
    );
}

#[test]
fn the_load_of_a_failed_one_spreads_by_weight() {
    let decls = [json!({"weight": 5}), json!({"weight": 3}), json!({"weight": 1})];
    let route = route(Strategy::Weighted, &decls);
    let (board, mut rng) = (Board::new(), rng(3));
    let mut seconds = [0_u32; 3];
    while seconds.iter().sum::<u32>() < 20_000 {
        let order = plan(&route, CHAT, &board, START, &mut rng).order;
        if order[0].target == 0 {
            seconds[order[1].target] += 1;
        }
    }
    let share = f64::from(seconds[1]) / 20_000.0;
    assert!((share / 0.75 - 1.0).abs() < 0.05, "{share} instead of three quarters");
}

#[test]
fn credentials_are_ordered_by_the_upstreams_own_strategy() {
    let decl = json!({"keys": 2, "key_weights": [9, 1], "strategy": "weighted"});
    let counts = firsts(&route(Strategy::RoundRobin, &[decl]), &Board::new(), 10_000);
    let share = counts[&(0, 0)] as f64 / 10_000.0;
    assert!((share / 0.9 - 1.0).abs() < 0.05, "{share}");
}

#[test]
fn all_weights_zero_is_all_the_same() {
    let decls = [json!({"weight": 0}), json!({"weight": 0})];
    let counts = firsts(&route(Strategy::Weighted, &decls), &Board::new(), 2_000);
    assert!(counts.values().all(|count| *count > 900), "{counts:?}");
}

#[test]
fn random_is_even() {
    let decls = vec![json!({}); 4];
    let counts = firsts(&route(Strategy::Random, &decls), &Board::new(), 20_000);
    assert!(counts.values().all(|count| count.abs_diff(5_000) < 250), "{counts:?}");
}

#[test]
fn least_connections_fills_the_emptiest() {
    let route = route(Strategy::LeastConnections, &[json!({}), json!({}), json!({})]);
    let board = Board::new();
    let begin = |target: usize| {
        let upstream = &route.targets[target].upstream;
        board.begin(upstream, &upstream.credentials[0], START)
    };
    let mut open: Vec<_> = [0, 0, 1, 1, 1].map(begin).into();
    assert_eq!(
        planned(&route, &board, 1)
            .order
            .iter()
            .map(|c| c.target)
            .collect::<Vec<_>>(),
        [2, 0, 1]
    );
    open.truncate(2);
    assert_eq!(
        planned(&route, &board, 1).order[2].target,
        0,
        "ended calls no longer count"
    );
    drop(open);
    let counts = firsts(&route, &board, 300);
    assert!(
        counts.values().all(|count| *count == 100),
        "ties are broken fairly: {counts:?}"
    );
}

#[test]
fn parallel_calls_rotate_exactly() {
    let route = route(
        Strategy::RoundRobin,
        &[json!({"keys": 3}), json!({"keys": 2}), json!({})],
    );
    let (board, counts) = (Board::new(), [const { AtomicU64::new(0) }; 6]);
    let slot = |choice: Choice| [0, 3, 5][choice.target] + choice.credential;
    thread::scope(|scope| {
        for thread in 0..8 {
            let (route, board, counts) = (&route, &board, &counts);
            scope.spawn(move || {
                let mut rng = rng(thread);
                for _ in 0..3_000 {
                    let first = plan(route, CHAT, board, START, &mut rng).order[0];
                    counts[slot(first)].fetch_add(1, Ordering::Relaxed);
                    let upstream = &route.targets[first.target].upstream;
                    drop(board.begin(upstream, &upstream.credentials[first.credential], START));
                }
            });
        }
    });
    let counts: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    // 24,000 calls: 8,000 per target, and among its credentials evenly to one call.
    assert_eq!(counts[0] + counts[1] + counts[2], 8_000);
    assert!(counts[..3].iter().all(|count| count.abs_diff(2_667) <= 1), "{counts:?}");
    assert_eq!(counts[3..], [4_000, 4_000, 8_000]);
    assert!(board.upstreams(START).iter().all(|status| status.open_calls == 0));
}

// ===== what is set aside =====

#[test]
fn what_is_not_translated_is_set_aside() {
    let route = route(
        Strategy::RoundRobin,
        &[json!({"provider": "anthropic", "keys": 2}), json!({})],
    );
    let completions = Surface::new(Operation::Completions, Dialect::OpenaiChat);
    let plan = plan(&route, completions, &Board::new(), START, &mut rng(1));
    assert_eq!(
        plan.order.as_slice(),
        [Choice {
            target: 1,
            credential: 0
        }]
    );
    assert_eq!(plan.excluded.len(), 2);
    assert!(
        plan.excluded
            .iter()
            .all(|excluded| excluded.reason == Exclusion::Dialect)
    );
    assert!(!plan.last_resort);
}

#[test]
fn passing_through_goes_to_those_who_allow_it() {
    let route = route(
        Strategy::RoundRobin,
        &[json!({"provider": "minimax"}), json!({"provider": "openai"})],
    );
    let surface = Surface::new(Operation::Passthrough, Dialect::OpenaiChat);
    let plan = plan(&route, surface, &Board::new(), START, &mut rng(1));
    assert_eq!(
        plan.order.as_slice(),
        [Choice {
            target: 1,
            credential: 0
        }]
    );
}

#[test]
fn an_open_breaker_takes_the_whole_upstream_away() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 1), &status(500), 5);
    let plan = planned(&route, &board, 1);
    assert_eq!(
        plan.order.as_slice(),
        [Choice {
            target: 1,
            credential: 0
        }]
    );
    let reason = Exclusion::BreakerOpen { until: at(30_000) };
    assert_eq!(
        plan.excluded,
        [0, 1].map(|credential| Excluded {
            choice: Choice { target: 0, credential },
            reason
        })
    );
}

#[test]
fn a_half_open_upstream_is_probed_by_one() {
    let route = route(Strategy::RoundRobin, &[json!({}), json!({"priority": 1})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &status(500), 5);
    let later = |seed| plan(&route, CHAT, &board, at(30_000), &mut rng(seed));
    assert_eq!(later(1).order[0].target, 0, "somebody has to find out");
    let canary = board.leave(&route.targets[0].upstream, at(30_000));
    assert!(matches!(canary, crate::board::Leave::Canary(_)));
    let meanwhile = later(2);
    assert_eq!(
        meanwhile.order.as_slice(),
        [Choice {
            target: 1,
            credential: 0
        }]
    );
    assert_eq!(meanwhile.excluded[0].reason, Exclusion::Probing);
    drop(canary);
    assert_eq!(later(3).order[0].target, 0, "the canary vanished");
}

#[test]
fn a_rest_takes_one_credential_away() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 3})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &after(status(429), 2_000), 1);
    fail(&route, &board, (0, 1), &status(429), 1);
    let plan = planned(&route, &board, 1);
    assert_eq!(
        plan.order.as_slice(),
        [Choice {
            target: 0,
            credential: 2
        }]
    );
    let names: Vec<_> = plan.excluded.iter().map(|excluded| excluded.reason).collect();
    assert_eq!(
        names[0],
        Exclusion::Cooldown {
            until: at(2_000),
            named_by_provider: true
        }
    );
    assert!(matches!(
        names[1],
        Exclusion::Cooldown {
            named_by_provider: false,
            ..
        }
    ));
}

#[test]
fn one_model_may_rest_by_itself() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2})]);
    let board = Board::new();
    let rest = |model: &str, ms| testing::rest_model(&route, &board, (0, 0), model, ms);
    rest("other", 9_000);
    assert_eq!(planned(&route, &board, 1).order.len(), 2);
    rest("m", 5_000);
    rest("m", 1_000);
    let plan = planned(&route, &board, 1);
    assert_eq!(
        plan.order.as_slice(),
        [Choice {
            target: 0,
            credential: 1
        }]
    );
    assert_eq!(
        plan.excluded[0].reason,
        Exclusion::Cooldown {
            until: at(5_000),
            named_by_provider: true
        }
    );
}

#[test]
fn a_guess_never_turns_a_call_away() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({"priority": -1})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &status(401), 1);
    fail(&route, &board, (0, 1), &status(429), 1);
    fail(&route, &board, (1, 0), &status(500), 5);
    let plan = planned(&route, &board, 1);
    assert!(plan.last_resort);
    assert_eq!(
        plan.order.as_slice(),
        [Choice {
            target: 0,
            credential: 1
        }],
        "the one that should recover first"
    );
    assert_eq!(plan.excluded.len(), 2);
}

#[test]
fn a_guess_does_not_hide_a_reason_that_must_be_kept() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &after(status(429), 60_000), 1);
    fail(&route, &board, (0, 1), &status(402), 1);
    fail(&route, &board, (0, 0), &status(500), 5);
    let plan = planned(&route, &board, 1);
    assert!(
        plan.order.is_empty(),
        "the open breaker is only a guess, the rests are not"
    );
    let named = Exclusion::Cooldown {
        until: at(60_000),
        named_by_provider: true,
    };
    assert_eq!(plan.excluded[0].reason, named);
    assert!(matches!(plan.excluded[1].reason, Exclusion::OutOfCredit { .. }));
}

#[test]
fn some_reasons_must_be_kept() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &status(402), 1);
    fail(&route, &board, (0, 1), &after(status(429), 60_000), 1);
    board.force(route.targets[1].upstream.id, Some(Forced::Open));
    let plan = planned(&route, &board, 1);
    assert!(plan.order.is_empty() && !plan.last_resort);
    let reasons: BTreeSet<_> = plan.excluded.iter().map(|excluded| excluded.reason.name()).collect();
    assert_eq!(reasons, BTreeSet::from(["cooldown", "forced_open", "out_of_credit"]));
}

#[test]
fn what_is_switched_off_sets_nothing_aside() {
    let route = route(Strategy::RoundRobin, &[json!({"breaker": "off", "cooldown": "off"})]);
    let board = Board::new();
    for failure in [status(500), after(status(429), 60_000), status(402), status(401)] {
        fail(&route, &board, (0, 0), &failure, 4);
    }
    assert!(planned(&route, &board, 1).excluded.is_empty());
    board.force(route.targets[0].upstream.id, Some(Forced::Open));
    assert!(
        planned(&route, &board, 1).order.is_empty(),
        "an operator's word counts all the same"
    );
}

#[test]
fn an_operator_may_hold_a_breaker_closed() {
    let route = route(Strategy::RoundRobin, &[json!({}), json!({})]);
    let board = Board::new();
    board.force(route.targets[0].upstream.id, Some(Forced::Closed));
    fail(&route, &board, (0, 0), &status(500), 50);
    assert_eq!(planned(&route, &board, 1).order.len(), 2);
}

#[test]
fn what_is_gone_is_forgotten() {
    let decls = [json!({}), json!({})];
    let (both, board) = (route(Strategy::RoundRobin, &decls), Board::new());
    let begin = |target: usize| {
        let upstream = &both.targets[target].upstream;
        board.begin(upstream, &upstream.credentials[0], at(1_000))
    };
    let open = begin(1);
    drop(begin(0));
    board.follow(&snapshot(Strategy::RoundRobin, &decls[..1]));
    assert_eq!(board.upstreams(START).len(), 2, "calls are still open at the second");
    drop(open);
    board.follow(&snapshot(Strategy::RoundRobin, &decls[..1]));
    let left = board.upstreams(START);
    assert_eq!((left.len(), left[0].upstream.0, left[0].last_used), (1, 1, at(1_000)));
    assert_eq!(board.credentials(START).len(), 1);
}

#[test]
fn long_orders_are_whole() {
    // More candidates than the buffers inside hold.
    let decls = vec![json!({"keys": 20, "strategy": "random"}); 10];
    let plan = planned(&route(Strategy::Random, &decls), &Board::new(), 1);
    assert_eq!(plan.order.iter().collect::<BTreeSet<_>>().len(), 200);
}

// ===== what lives at one place =====

fn pinned_to(route: &Route, choice: Choice) -> Pinned {
    let upstream = &route.targets[choice.target].upstream;
    Pinned {
        upstream: upstream.id,
        credential: Some(upstream.credentials[choice.credential].id),
    }
}

#[test]
fn what_lives_at_one_place_goes_nowhere_else() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({"keys": 2})]);
    let board = Board::new();
    let place = Choice {
        target: 1,
        credential: 1,
    };
    let pinned = pinned_to(&route, place);
    let asked = |board: &Board| testing::preview_pinned(&route, pinned, board);
    let plan = asked(&board);
    assert_eq!((plan.order.as_slice(), plan.last_resort), (&[place][..], false));
    assert_eq!(plan.excluded.len(), 3);
    assert!(
        plan.excluded
            .iter()
            .all(|excluded| excluded.reason == Exclusion::Pinned)
    );

    fail(&route, &board, (1, 1), &status(429), 1);
    let plan = asked(&board);
    assert_eq!(
        (plan.order.as_slice(), plan.last_resort),
        (&[place][..], true),
        "our own guess turns nobody away, and nobody elsewhere"
    );

    let elsewhere = Pinned {
        credential: Some(CredentialId(999)),
        ..pinned
    };
    let plan = testing::preview_pinned(&route, elsewhere, &Board::new());
    assert_eq!((plan.order.len(), plan.excluded.len()), (0, 4));
    let any = Pinned {
        credential: None,
        ..pinned
    };
    let plan = testing::preview_pinned(&route, any, &Board::new());
    assert_eq!((plan.order.len(), plan.excluded.len()), (2, 2), "any of the upstream");
}
mod capabilities;

// ===== no credential =====

#[test]
fn an_upstream_whose_last_credential_is_gone_is_not_asked_without_one() {
    let none = route(Strategy::RoundRobin, &[json!({"keys": 0})]);
    for profile in [None, Some("team-a")] {
        let asked = Asked { profile, ..CHAT.into() };
        let plan = plan(&none, asked, &Board::new(), START, &mut rng(1));
        let reasons: Vec<_> = plan.excluded.iter().map(|excluded| excluded.reason).collect();
        assert_eq!((plan.order.len(), reasons), (0, vec![Exclusion::NoCredential]));
    }
    let log = Call::new(&none, &Board::new()).run(|_, _, _| Ok(()));
    assert_eq!((log.status(), log.tries.len()), (503, 0));
    let at_its_own = json!({"keys": 0, "base_url": "http://127.0.0.1:8000/v1"});
    let beside = route(
        Strategy::RoundRobin,
        &[json!({"keys": 0}), at_its_own, json!({"keys": 0, "provider": "ollama"})],
    );
    let board = Board::new();
    let served: Vec<_> = (0..4)
        .flat_map(|_| Call::new(&beside, &board).run(|_, _, _| Ok(())).upstreams())
        .collect();
    assert_eq!(served, [2, 3, 2, 3], "a server of one's own needs none");
}
