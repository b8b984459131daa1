//! The table, row by row; then whole scenarios; then what holds whatever happens.

mod broke;
mod fallbacks;
mod hedge;
mod meanwhile;
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

// ===== 429 =====

#[test]
fn a_named_time_is_waited_for() {
    let log = run(&alone(), first(1, &after(status(429), 2_000)));
    assert_eq!((log.status(), log.tries.len()), (200, 2));
    assert!(
        log.tries[1].0 >= 2_010,
        "asked again before the provider said: {:?}",
        times(&log)
    );
    assert!(log.tries[1].0 < 2_100);
}

#[test]
fn a_429_leaves_at_once_for_another() {
    let log = run(&with_fallback(), primary_fails(&after(status(429), 2_000)));
    assert_eq!(log.tries, [(0, 1, 0), (10, 2, 0)]);
    let siblings = route(Strategy::RoundRobin, &[json!({"keys": 2})]);
    let log = run(&siblings, first(1, &status(429)));
    assert_eq!(log.tries, [(0, 1, 0), (10, 1, 1)]);
}

#[test]
fn an_endless_429_is_asked_patiently_and_told() {
    for seed in 0..50 {
        let (route, board) = (alone(), Board::new());
        let log = Call {
            seed,
            ..Call::new(&route, &board)
        }
        .run(always(&status(429)));
        assert_eq!(log.fault().kind, FaultKind::UpstreamLimited);
        let early = times(&log).iter().filter(|ms| **ms < 3_000).count();
        assert!(early <= 4 && log.tries.len() <= 6, "{:?}", times(&log));
        assert!(log.tries.len() >= 3 && log.took < 12_000, "{:?}", times(&log));
        assert!(log.fault().retry_after.is_some_and(|wait| wait > Duration::ZERO));
    }
}

#[test]
fn a_time_that_does_not_fit_is_told_at_once() {
    let log = run(&alone(), always(&after(status(429), 31_000)));
    assert_eq!((log.status(), log.tries.len(), log.took), (429, 1, 10));
    assert_eq!(log.fault().retry_after, Some(Duration::from_secs(31)));

    let (route, board) = (alone(), Board::new());
    let short = Call {
        limit: Duration::from_secs(2),
        ..Call::new(&route, &board)
    };
    let log = short.run(always(&after(status(429), 2_000)));
    assert_eq!(
        (log.status(), log.tries.len(), log.took),
        (429, 1, 10),
        "no wait beyond the deadline"
    );
}

#[test]
fn of_several_the_soonest_is_waited_for() {
    let three = route(Strategy::RoundRobin, &[json!({"keys": 3})]);
    let log = run(&three, |number, _, credential| match (number, credential) {
        (0..3, 1) => Err(after(status(429), 3_000)),
        (0..3, _) => Err(after(status(429), 20_000)),
        _ => Ok(()),
    });
    assert_eq!(log.tries.last().map(|(_, _, credential)| *credential), Some(1));
    assert_eq!(log.tries.len(), 4);
    assert!(log.tries[3].0 >= 3_000 && log.tries[3].0 < 3_100);
}

#[test]
fn nobody_asks_before_a_time_that_another_call_was_told() {
    let (route, board) = (alone(), Board::new());
    let first_call = Call {
        limit: Duration::from_secs(1),
        ..Call::new(&route, &board)
    };
    first_call.run(always(&after(status(429), 5_000)));

    let log = Call::new(&route, &board).at(at(2_000)).run(|_, _, _| Ok(()));
    assert_eq!(log.status(), 200);
    assert_eq!(times(&log), [3_010], "waits for the end of the rest");

    let board = Board::new();
    Call::new(&route, &board).run(always(&after(status(429), 100_000)));
    let log = Call::new(&route, &board).at(at(2_000)).run(|_, _, _| Ok(()));
    assert_eq!((log.status(), log.took), (429, 0), "told at once, without a try");
    assert_eq!(log.fault().retry_after, Some(Duration::from_millis(98_010)));
}

#[test]
fn a_rest_that_grew_meanwhile_is_kept() {
    let (route, board) = (alone(), Board::new());
    let mut attempts = Attempts::new(
        crate::plan(&route, CHAT, &board, START, &mut rng(1)),
        &Defaults::default(),
        at(60_000),
    );
    let Step::Try(choice) = attempts.next(&route, &board, START) else {
        panic!()
    };
    attempts.failed(&route, choice, &after(status(429), 2_000), &board, START, &mut rng(1));
    assert_eq!(attempts.next(&route, &board, START), Step::Wait { until: at(2_000) });
    testing::fail(&route, &board, (0, 0), &after(status(429), 4_000), at(1_000));
    assert_eq!(
        attempts.next(&route, &board, at(2_000)),
        Step::Wait { until: at(5_000) }
    );
    assert_eq!(attempts.next(&route, &board, at(5_000)), Step::Try(choice));
}

// ===== 5xx =====

#[test]
fn a_500_is_tried_again_at_the_same_place() {
    for (name, route) in [("alone", alone()), ("with another", with_fallback())] {
        let log = run(&route, first(1, &status(500)));
        assert_eq!((log.status(), log.upstreams()), (200, vec![1, 1]), "{name}");
        assert!(
            (760..=1_260).contains(&log.tries[1].0),
            "after about a second: {:?}",
            times(&log)
        );
    }
}

#[test]
fn an_endless_5xx_is_tried_four_times_alone() {
    for (code, kind) in [
        (500, FaultKind::UpstreamFailed),
        (502, FaultKind::BadGateway),
        (503, FaultKind::Unavailable),
        (504, FaultKind::UpstreamTimeout),
        (520, FaultKind::BadGateway),
        (529, FaultKind::Overloaded),
    ] {
        let log = run(&alone(), always(&status(code)));
        assert_eq!((log.fault().kind, log.tries.len()), (kind, 4), "{code}");
        assert!(
            (5_000..9_000).contains(&log.took),
            "1 + 2 + 4 seconds: {:?}",
            times(&log)
        );
    }
}

#[test]
fn an_endless_5xx_is_tried_twice_with_another() {
    let log = run(&with_fallback(), primary_fails(&status(503)));
    assert_eq!((log.status(), log.upstreams()), (200, vec![1, 1, 2]));
    let log = run(&with_fallback(), always(&status(503)));
    assert_eq!((log.status(), log.upstreams()), (503, vec![1, 1, 2, 2, 2, 2]));
}

#[test]
fn credentials_of_a_failing_upstream_share_its_retries() {
    let many = route(Strategy::RoundRobin, &[json!({"keys": 5})]);
    let log = run(&many, always(&status(500)));
    assert_eq!(
        log.tries
            .iter()
            .map(|(_, _, credential)| *credential)
            .collect::<Vec<_>>(),
        [0, 0, 1, 1]
    );
}

#[test]
fn a_5xx_that_names_a_time_is_left_or_waited_for() {
    let busy = after(status(503), 5_000);
    assert_eq!(
        run(&with_fallback(), primary_fails(&busy)).tries,
        [(0, 1, 0), (10, 2, 0)]
    );
    let log = run(&alone(), first(1, &busy));
    assert_eq!((log.status(), times(&log)), (200, vec![0, 5_010]));
    let log = run(&alone(), always(&after(status(503), 90_000)));
    assert_eq!((log.status(), log.tries.len()), (503, 1));
    assert_eq!(log.fault().retry_after, Some(Duration::from_secs(90)));
}

#[test]
fn no_retries_means_none() {
    let (route, board) = (alone(), Board::new());
    let defaults = Defaults {
        retries: 0,
        ..Defaults::default()
    };
    for failure in [
        status(500),
        status(429),
        failure(FailureClass::Reset),
        failure(FailureClass::Connect),
    ] {
        let log = Call {
            defaults,
            ..Call::new(&route, &board)
        }
        .run(always(&failure));
        assert_eq!(log.tries.len(), 1, "{failure:?}");
    }
}

// ===== no proper answer =====

#[test]
fn a_reset_is_tried_again_at_once() {
    let reset = failure(FailureClass::Reset);
    assert_eq!(run(&alone(), first(1, &reset)).tries, [(0, 1, 0), (10, 1, 0)]);
    assert_eq!(
        run(&with_fallback(), primary_fails(&reset)).tries,
        [(0, 1, 0), (10, 1, 0), (20, 2, 0)]
    );
    let log = run(&alone(), always(&reset));
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::BadGateway, 4));
    assert!(log.tries[2].0 > 1_000, "only the first is at once: {:?}", times(&log));
}

#[test]
fn no_connection_goes_to_another_upstream_at_once() {
    let connect = failure(FailureClass::Connect);
    let pools = route(Strategy::RoundRobin, &[json!({"keys": 3}), json!({"priority": 1})]);
    assert_eq!(run(&pools, primary_fails(&connect)).tries, [(0, 1, 0), (10, 2, 0)]);
    let log = run(&alone(), always(&connect));
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::Unavailable, 4));
    assert_eq!(run(&alone(), first(2, &connect)).status(), 200);
}

#[test]
fn a_silent_upstream_is_never_asked_again() {
    let silence = failure(FailureClass::Silence);
    let log = run(&alone(), always(&silence));
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::UpstreamTimeout, 1));
    let siblings = route(Strategy::RoundRobin, &[json!({"keys": 3}), json!({"priority": 1})]);
    assert_eq!(run(&siblings, primary_fails(&silence)).tries, [(0, 1, 0), (10, 2, 0)]);
    let log = run(&siblings, always(&silence));
    assert_eq!((log.status(), log.upstreams()), (504, vec![1, 2]));
    // Nor one whose address is barred: it would be again.
    let barred = failure(FailureClass::Barred);
    assert_eq!(run(&siblings, primary_fails(&barred)).tries, [(0, 1, 0), (10, 2, 0)]);
    let log = run(&siblings, always(&barred));
    assert_eq!((log.status(), log.upstreams()), (503, vec![1, 2]));
}

#[test]
fn a_silent_upstream_is_not_asked_again_after_a_rest_either() {
    let two = route(Strategy::RoundRobin, &[json!({"keys": 2})]);
    let log = run(&two, |_, _, credential| {
        Err(if credential == 0 {
            status(429)
        } else {
            failure(FailureClass::Silence)
        })
    });
    assert_eq!((log.status(), log.tries.len()), (504, 2));
}

#[test]
fn nonsense_goes_to_the_next() {
    let nonsense = failure(FailureClass::Nonsense);
    assert_eq!(
        run(&with_fallback(), primary_fails(&nonsense)).tries,
        [(0, 1, 0), (10, 2, 0)]
    );
    let log = run(&alone(), always(&nonsense));
    assert_eq!((log.fault().kind, log.tries.len()), (FaultKind::BadGateway, 1));
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

// ===== breakers =====

#[test]
fn an_open_breaker_is_tried_rather_than_refusing() {
    let (route, board) = (alone(), Board::new());
    for _ in 0..2 {
        Call::new(&route, &board).run(always(&status(500)));
    }
    assert!(matches!(
        board.upstreams(at(9_000))[0].breaker,
        BreakerState::Open { .. }
    ));
    let log = Call::new(&route, &board).at(at(9_000)).run(first(1, &status(500)));
    assert_eq!((log.status(), log.tries.len()), (200, 2), "with one retry");
    assert_eq!(
        board.upstreams(at(12_000))[0].breaker,
        BreakerState::Closed,
        "it answered"
    );
    for _ in 0..2 {
        Call::new(&route, &board).at(at(12_000)).run(always(&status(500)));
    }
    let log = Call::new(&route, &board).at(at(30_000)).run(always(&status(500)));
    assert_eq!(log.tries.len(), 2, "and no more than one");
}

#[test]
fn an_upstream_that_broke_off_counts_against_its_breaker() {
    let (route, board) = (alone(), Board::new());
    for _ in 0..5 {
        let plan = crate::plan(&route, CHAT, &board, START, &mut rng(1));
        let mut attempts = Attempts::new(plan, &Defaults::default(), at(60_000));
        let Step::Try(choice) = attempts.next(&route, &board, START) else {
            panic!()
        };
        attempts.served(&route, choice, &board, START);
        attempts.broke(&route, choice, &board, START);
    }
    assert!(matches!(board.upstreams(START)[0].breaker, BreakerState::Open { .. }));
}

#[test]
fn a_probe_that_fails_moves_on_at_once() {
    let (route, board) = (with_fallback(), Board::new());
    for _ in 0..3 {
        Call::new(&route, &board).run(primary_fails(&status(503)));
    }
    let log = Call::new(&route, &board)
        .at(at(31_500))
        .run(primary_fails(&status(503)));
    assert_eq!(
        log.tries,
        [(0, 1, 0), (10, 2, 0)],
        "no retry of a probe while another is healthy"
    );
    assert!(matches!(
        board.upstreams(at(31_600))[0].breaker,
        BreakerState::Open { .. }
    ));
}

#[test]
fn a_probe_whose_client_left_does_not_block() {
    let (route, board) = (with_fallback(), Board::new());
    for _ in 0..3 {
        Call::new(&route, &board).run(primary_fails(&status(503)));
    }
    let probe = |now: Timestamp| {
        let mut attempts = Attempts::new(
            crate::plan(&route, CHAT, &board, now, &mut rng(1)),
            &Defaults::default(),
            now + Duration::from_mins(1),
        );
        let step = attempts.next(&route, &board, now);
        (attempts, step)
    };
    let on = |target| Step::Try(Choice { target, credential: 0 });
    let (first, step) = probe(at(40_000));
    assert_eq!(step, on(0));
    let (_second, step) = probe(at(40_000));
    assert_eq!(step, on(1), "one at a time");
    drop(first);
    let (_third, step) = probe(at(40_001));
    assert_eq!(step, on(0));
}

#[test]
fn parallel_plans_send_one_probe() {
    let (route, board) = (with_fallback(), Board::new());
    for _ in 0..3 {
        Call::new(&route, &board).run(primary_fails(&status(503)));
    }
    let now = at(40_000);
    // All of them planned before any of them began.
    let plans: Vec<_> = (0..10)
        .map(|seed| crate::plan(&route, CHAT, &board, now, &mut rng(seed)))
        .collect();
    assert!(plans.iter().all(|plan| plan.order[0].target == 0));
    let mut calls: Vec<_> = plans
        .into_iter()
        .map(|plan| Attempts::new(plan, &Defaults::default(), at(60_000)))
        .collect();
    let steps: Vec<_> = calls.iter_mut().map(|call| call.next(&route, &board, now)).collect();
    let probes = steps
        .iter()
        .filter(|step| {
            **step
                == Step::Try(Choice {
                    target: 0,
                    credential: 0,
                })
        })
        .count();
    assert_eq!(probes, 1);
    assert!(steps.iter().all(|step| matches!(step, Step::Try(_))));
}

#[test]
fn a_call_beside_the_probe_is_tried_rather_than_refused() {
    let (route, board) = (alone(), Board::new());
    for _ in 0..2 {
        Call::new(&route, &board).run(always(&status(503)));
    }
    let now = at(60_000);
    let mut calls = [1, 2].map(|seed| {
        let plan = crate::plan(&route, CHAT, &board, now, &mut rng(seed));
        Attempts::new(plan, &Defaults::default(), at(90_000))
    });
    for call in &mut calls {
        assert!(
            matches!(call.next(&route, &board, now), Step::Try(_)),
            "there is no other upstream"
        );
    }
}

/// 503 for a minute, then healthy; a call every four seconds: all are answered, few tries hit the primary while it is
/// down, and it is in use again within half a minute of its recovery.
#[test]
fn an_outage_of_a_minute() {
    for seed in 0..20 {
        let (route, board) = (with_fallback(), Board::new());
        let (mut wasted, mut back) = (0, None);
        for call in 0..60_u64 {
            let start = at(call * 4_000);
            let down = call * 4 < 60;
            let log = Call {
                seed: seed * 100 + call,
                ..Call::new(&route, &board).at(start)
            }
            .run(|_, upstream, _| {
                if upstream == 1 && down {
                    Err(status(503))
                } else {
                    Ok(())
                }
            });
            assert_eq!(log.status(), 200);
            let primary = log.upstreams().iter().filter(|upstream| **upstream == 1).count();
            if down {
                wasted += primary;
            } else if primary > 0 {
                back = back.or(Some(call * 4));
            }
        }
        assert!(wasted <= 8, "{wasted} tries at a failing upstream");
        assert!(back.is_some_and(|secs| secs <= 90), "back at {back:?}");
    }
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
                let troubles = log.tries.iter().zip(&answers).filter(|((_, at, _), answer)| {
                    *at == upstream && answer.as_ref().is_err_and(|failure| !matches!(
                        failure.class, FailureClass::RateLimited | FailureClass::Auth | FailureClass::OutOfCredit))
                });
                prop_assert!(troubles.count() as u32 <= 1 + retries, "upstream {upstream} was hammered: {:?}", log.tries);
            }
            prop_assert!(board.upstreams(start).iter().all(|status| status.open_calls == 0));
            start = start + Duration::from_millis(log.took + gap);
        }
    }
}
