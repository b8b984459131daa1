//! The table, row by row; then whole scenarios; then what holds whatever happens.

mod broke;
mod failing;
mod fallbacks;
mod hedge;
mod limited;
mod meanwhile;
mod probes;
mod retries;

use std::sync::Arc;

use domain::declaration::{Period, Strategy};
use domain::{Dialect, FaultKind, Forced, Operation, Surface};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use serde_json::{Value, json};

use super::*;
use crate::breaker::BreakerState;
use crate::testing::{self, CHAT, Call, Log, START, after, at, failure, rng, route, status};

/// One upstream with one credential.
fn alone() -> Arc<Route> {
    route(Strategy::RoundRobin, &[json!({})])
}

/// A primary and a fallback of lower priority.
fn with_fallback() -> Arc<Route> {
    route(Strategy::RoundRobin, &[json!({}), json!({"priority": 1})])
}

fn run(route: &Route, script: impl FnMut(usize, usize, usize) -> Result<(), Failure>) -> Log {
    Call::new(route, &Board::new()).run(script)
}

/// Fails while `times` lasts, then answers.
fn first(times: usize, failure: &Failure) -> impl FnMut(usize, usize, usize) -> Result<(), Failure> {
    move |number, _, _| if number < times { Err(failure.clone()) } else { Ok(()) }
}

/// The primary always fails, the fallback answers.
fn primary_fails(failure: &Failure) -> impl FnMut(usize, usize, usize) -> Result<(), Failure> {
    move |_, upstream, _| if upstream == 1 { Err(failure.clone()) } else { Ok(()) }
}

fn always(failure: &Failure) -> impl FnMut(usize, usize, usize) -> Result<(), Failure> {
    move |_, _, _| Err(failure.clone())
}

fn times(log: &Log) -> Vec<u64> {
    log.tries.iter().map(|(ms, _, _)| *ms).collect()
}

// ===== credentials =====

#[test]
fn a_refused_key_is_left_for_the_next() {
    let two = route(Strategy::RoundRobin, &[json!({"keys": 2})]);
    for refused in [status(401), status(403), status(402)] {
        assert_eq!(run(&two, first(1, &refused)).tries, [(0, 1, 0), (10, 1, 1)]);
        let log = run(&two, always(&refused));
        assert_eq!(
            (log.fault().kind, log.tries.len(), log.took),
            (FaultKind::Unavailable, 2, 20)
        );
        assert!(
            !log.fault().message.contains("scripted"),
            "the provider's words: {}",
            log.fault().message
        );
    }
}

#[test]
fn an_empty_account_rests_long_and_is_no_last_resort() {
    let (route, board) = (alone(), Board::new());
    Call::new(&route, &board).run(always(&status(402)));
    let log = Call::new(&route, &board).at(at(3_500_000)).run(|_, _, _| Ok(()));
    assert_eq!((log.status(), log.tries.len()), (503, 0));
    let log = Call::new(&route, &board).at(at(3_700_000)).run(|_, _, _| Ok(()));
    assert_eq!(log.status(), 200, "an hour later it is looked at again");
}

#[test]
fn a_refused_key_is_the_last_resort() {
    let (route, board) = (alone(), Board::new());
    Call::new(&route, &board).run(always(&status(401)));
    assert_eq!(
        Call::new(&route, &board).at(at(100)).run(|_, _, _| Ok(())).status(),
        200
    );
}

#[test]
fn the_more_telling_failure_is_told() {
    for (first, second, told) in [
        (status(500), status(401), FaultKind::UpstreamFailed),
        (status(401), status(500), FaultKind::UpstreamFailed),
        (
            failure(FailureClass::Nonsense),
            failure(FailureClass::Connect),
            FaultKind::BadGateway,
        ),
        (failure(FailureClass::Silence), status(529), FaultKind::Overloaded),
    ] {
        let log = run(&with_fallback(), |_, upstream, _| {
            Err(if upstream == 1 { first.clone() } else { second.clone() })
        });
        assert_eq!(log.fault().kind, told, "{first:?} then {second:?}");
    }
}

// ===== bounds =====

#[test]
fn attempts_are_bounded() {
    let many = route(Strategy::RoundRobin, &vec![json!({"keys": 3}); 10]);
    let log = run(&many, always(&failure(FailureClass::Connect)));
    assert_eq!((log.status(), log.tries.len()), (503, 12));
    let log = run(&many, always(&status(429)));
    assert_eq!((log.status(), log.tries.len()), (429, 30), "each credential once");
    let board = Board::new();
    let defaults = Defaults {
        attempts_max: 2,
        ..Defaults::default()
    };
    let log = Call {
        defaults,
        ..Call::new(&many, &board)
    }
    .run(always(&status(503)));
    assert_eq!((log.status(), log.tries.len()), (503, 2));
}

#[test]
fn the_deadline_ends_everything() {
    let (route, board) = (alone(), Board::new());
    let call = Call {
        limit: Duration::from_millis(1_500),
        ..Call::new(&route, &board)
    };
    let log = call.run(always(&status(503)));
    assert!(
        log.took <= 1_500 && log.status() == 503 && log.tries.len() == 2,
        "{log:?}"
    );

    let call = Call {
        limit: Duration::ZERO,
        ..Call::new(&route, &board)
    };
    let log = call.run(|_, _, _| Ok(()));
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::UpstreamTimeout, 0));
}

#[test]
fn what_is_waited_is_bounded() {
    let (route, board) = (alone(), Board::new());
    let defaults = Defaults {
        retries: 50,
        attempts_max: 50,
        ..Defaults::default()
    };
    let log = Call {
        defaults,
        ..Call::new(&route, &board)
    }
    .run(always(&status(503)));
    assert!(log.took < 31_000, "{:?}", times(&log));
    let defaults = Defaults {
        retry_delay: Period::from_secs(40),
        ..Defaults::default()
    };
    let log = Call {
        defaults,
        ..Call::new(&route, &board)
    }
    .run(always(&status(429)));
    assert_eq!(log.tries.len(), 1);
}

#[test]
fn nothing_is_waited_for_after_the_last_attempt() {
    let (route, board) = (alone(), Board::new());
    let defaults = Defaults {
        attempts_max: 1,
        ..Defaults::default()
    };
    for failure in [status(500), status(429)] {
        let log = Call {
            defaults,
            ..Call::new(&route, &board)
        }
        .run(always(&failure));
        assert_eq!((log.tries.len(), log.took), (1, 10));
    }
}

#[test]
fn who_came_back_from_a_rest_is_not_asked_again_without_one() {
    let log = run(&alone(), |number, _, _| {
        Err(if number == 0 { status(429) } else { status(401) })
    });
    assert_eq!((log.status(), log.tries.len()), (429, 2));
}

#[test]
fn who_stepped_in_has_had_its_turn() {
    let three = route(Strategy::RoundRobin, &[json!({}), json!({}), json!({})]);
    let board = Board::new();
    let log = Call::new(&three, &board).run(first(1, &failure(FailureClass::Nonsense)));
    assert_eq!(log.upstreams(), [1, 2]);
    assert_eq!(Call::new(&three, &board).run(|_, _, _| Ok(())).upstreams(), [3]);
}

// ===== nothing to try =====

#[test]
fn what_is_not_translated_is_explained() {
    let claude = route(
        Strategy::RoundRobin,
        &[json!({"provider": "anthropic"}), json!({"provider": "gemini"})],
    );
    let explained = |surface: Surface| {
        let board = Board::new();
        let plan = crate::plan(&claude, surface, &board, START, &mut rng(1));
        match Attempts::new(plan, &Defaults::default(), at(60_000)).next(&claude, &board, START) {
            Step::GiveUp(fault) => (fault.kind, fault.message.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let (kind, message) = explained(Surface::new(Operation::Completions, Dialect::OpenaiChat));
    assert_eq!(kind, FaultKind::Malformed);
    assert_eq!(
        message,
        "model `m` is not offered for completions by any upstream; use another model"
    );
}

#[test]
fn a_target_that_cannot_be_told_the_request_is_passed_over_and_blamed_for_nothing() {
    let mixed = route(Strategy::RoundRobin, &[json!({"provider": "anthropic"}), json!({})]);
    let board = Board::new();
    let untold = |_, upstream: usize, _| match upstream {
        1 => Err(failure(FailureClass::Untranslatable)),
        _ => Ok(()),
    };
    for _ in 0..20 {
        let log = Call::new(&mixed, &board).run(untold);
        assert_eq!(log.upstreams().last(), Some(&2));
    }
    assert!(matches!(board.upstreams(START)[0].breaker, BreakerState::Closed));
    let alone = route(Strategy::RoundRobin, &[json!({"provider": "anthropic"})]);
    let log = Call::new(&alone, &board).run(untold);
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::Malformed, 1));
}

#[test]
fn forced_open_is_unavailable() {
    let (route, board) = (alone(), Board::new());
    board.force(route.targets[0].upstream.id, Some(Forced::Open));
    let log = Call::new(&route, &board).run(|_, _, _| Ok(()));
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::Unavailable, 0));
}

// ===== whatever happens =====

fn any_failure() -> impl proptest::strategy::Strategy<Value = Failure> {
    (0_usize..11, proptest::option::of(0_u64..40_000)).prop_map(|(kind, wait)| {
        let kinds = [
            status(429),
            status(401),
            status(402),
            status(500),
            status(503),
            status(529),
            failure(FailureClass::Connect),
            failure(FailureClass::Reset),
            failure(FailureClass::Silence),
            failure(FailureClass::Nonsense),
            status(504),
        ];
        Failure {
            retry_after: wait.map(Duration::from_millis),
            ..kinds[kind].clone()
        }
    })
}

fn any_upstreams() -> impl proptest::strategy::Strategy<Value = Vec<Value>> {
    let upstream = (1_u8..4, 0_i32..2, any::<bool>()).prop_map(|(keys, priority, rests)| {
        let mut decl = json!({"keys": keys, "priority": priority});
        if !rests {
            decl["cooldown"] = json!("off");
        }
        decl
    });
    proptest::collection::vec(upstream, 1..5)
}

proptest! {
    #[test]
    fn whatever_fails_the_rules_hold(
        upstreams in any_upstreams(),
        calls in proptest::collection::vec((proptest::collection::vec(proptest::option::of(any_failure()), 1..14), 0_u64..20_000), 1..6),
        seed in any::<u64>(), retries in 0_u32..5, limit in 1_u64..100,
    ) {
        let (route, board) = (route(Strategy::RoundRobin, &upstreams), Board::new());
        let mut start = START;
        for (script, gap) in calls {
            let defaults = Defaults { retries, ..Defaults::default() };
            let mut silent = Vec::new();
            let mut named: Vec<(usize, usize, u64)> = Vec::new();
            let mut violations = Vec::new();
            let mut answers = Vec::new();
            let call = Call { limit: Duration::from_secs(limit), defaults, seed, ..Call::new(&route, &board).at(start) };
            let log = call.run(|number, upstream, credential| {
                let answer = script[number % script.len()].clone().map_or(Ok(()), Err);
                if silent.contains(&upstream) {
                    violations.push(format!("try {number} at the silent upstream {upstream}"));
                }
                if let Err(failure) = &answer {
                    if failure.class == FailureClass::Silence {
                        silent.push(upstream);
                    }
                    if failure.class == FailureClass::RateLimited && let Some(wait) = failure.retry_after {
                        named.push((number, upstream * 1_000 + credential, wait.as_millis() as u64));
                    }
                }
                answers.push(answer.clone());
                answer
            });
            prop_assert!(violations.is_empty(), "{violations:?}");
            // A credential that refuses does not count the first time.
            let refused = log.tries.iter().zip(&answers).filter(|(_, answer)| answer.as_ref().is_err_and(|failure| matches!(
                failure.class, FailureClass::RateLimited | FailureClass::Auth | FailureClass::OutOfCredit)));
            let mut refused: Vec<_> = refused.map(|((_, upstream, credential), _)| (upstream, credential)).collect();
            refused.sort_unstable();
            refused.dedup();
            prop_assert!(log.tries.len() <= 12 + refused.len());
            prop_assert!(log.took <= limit * 1_000 + 10, "{} ms of {limit} s", log.took);
            for (number, candidate, wait) in named {
                let told = log.tries[number].0 + 10;
                for (ms, upstream, credential) in &log.tries[number + 1..] {
                    prop_assert!(
                        upstream * 1_000 + credential != candidate || *ms >= told + wait,
                        "candidate {candidate} was told at {told} to wait {wait} ms, and asked at {ms}"
                    );
                }
            }
            for upstream in 1..=upstreams.len() {
                let keys = upstreams[upstream - 1]["keys"].as_u64().unwrap_or(1);
                // Further credentials are tried that did not fail by themselves.
                let most = if keys > 1 { (1 + retries).max(6) } else { 1 + retries };
                let troubles = log.tries.iter().zip(&answers).filter(|((_, at, _), answer)| {
                    *at == upstream && answer.as_ref().is_err_and(|failure| !matches!(
                        failure.class, FailureClass::RateLimited | FailureClass::Auth | FailureClass::OutOfCredit))
                });
                prop_assert!(troubles.count() as u32 <= most, "upstream {upstream} was hammered: {:?}", log.tries);
            }
            prop_assert!(board.upstreams(start).iter().all(|status| status.open_calls == 0));
            start = start + Duration::from_millis(log.took + gap);
        }
    }
}
