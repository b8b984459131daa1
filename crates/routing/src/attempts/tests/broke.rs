//! Answers that break off: who may take them up, and what that says of the upstream.

use domain::snapshot::{Route, Target};

use super::*;
use crate::{Board, plan};

/// A call whose first try was served, and then broke off like this.
fn broken(route: &Route, board: &Board, class: FailureClass, may_take: impl Fn(&Target) -> bool) -> Attempts {
    let plan = plan(route, CHAT, board, START, &mut rng(1));
    let mut attempts = Attempts::new(plan, &Defaults::default(), at(60_000));
    let Step::Try(choice) = attempts.next(route, board, START) else {
        panic!("there is somebody to try")
    };
    attempts.served(route, choice, board, at(10));
    attempts.broke_off(route, choice, &failure(class), may_take, board, at(20), &mut rng(2));
    attempts
}

fn upstream_of(route: &Route, step: &Step) -> Option<i64> {
    let Step::Try(choice) = step else { return None };
    Some(route.targets[choice.target].upstream.id.0)
}

fn is_second(target: &Target) -> bool {
    target.upstream.id.0 == 2
}

#[test]
fn only_who_may_take_it_up_is_tried() {
    let (route, board) = (with_fallback(), Board::new());
    let mut attempts = broken(&route, &board, FailureClass::Reset, is_second);
    let step = attempts.next(&route, &board, at(20));
    assert_eq!(upstream_of(&route, &step), Some(2), "not the same once more: {step:?}");
    let mut attempts = broken(&route, &board, FailureClass::Reset, |_| false);
    assert!(matches!(attempts.next(&route, &board, at(20)), Step::GiveUp(_)));
}

#[test]
fn the_same_may_go_on_unless_it_fell_silent() {
    let (route, board) = (with_fallback(), Board::new());
    for (class, expected) in [
        (FailureClass::Reset, 1),
        (FailureClass::Silence, 2),
        (FailureClass::Nonsense, 2),
    ] {
        let mut attempts = broken(&route, &board, class, |_| true);
        let step = attempts.next(&route, &board, at(20));
        assert_eq!(upstream_of(&route, &step), Some(expected), "{class:?}: {step:?}");
    }
}

#[test]
fn nobody_is_tried_as_a_last_resort() {
    let (route, board) = (alone(), Board::new());
    let mut attempts = broken(&route, &board, FailureClass::Silence, |_| true);
    assert!(matches!(attempts.next(&route, &board, at(20)), Step::GiveUp(_)));
}

#[test]
fn it_counts_against_the_breaker() {
    let route = route(
        Strategy::RoundRobin,
        &[
            json!({"breaker": {"failures": 1, "window": "60s", "open": "30s"}}),
            json!({"priority": 1}),
        ],
    );
    let board = Board::new();
    drop(broken(&route, &board, FailureClass::Reset, |_| true));
    let upstream = &route.targets[0].upstream;
    assert!(
        matches!(
            board.exclusion_of(upstream, at(21)),
            Some(Exclusion::BreakerOpen { .. })
        ),
        "{:?}",
        board.exclusion_of(upstream, at(21))
    );
}

/// A call, `secs` after the start, whose answer breaks off at the first that is asked; by its upstream.
fn streams_off(route: &Route, board: &Board, now: Timestamp) -> i64 {
    let plan = plan(route, CHAT, board, now, &mut rng(1));
    let mut attempts = Attempts::new(plan, &Defaults::default(), now + Duration::from_mins(1));
    let step = attempts.next(route, board, now);
    let Step::Try(choice) = step else {
        panic!("there is somebody to try")
    };
    attempts.served(route, choice, board, now + Duration::from_millis(10));
    let upstream = upstream_of(route, &step).unwrap_or_default();
    if upstream == 1 {
        attempts.broke(route, choice, board, now + Duration::from_millis(20));
    }
    upstream
}

#[test]
fn an_upstream_that_breaks_off_every_stream_is_left_for_its_spare() {
    for good in [0, 1, 3] {
        let (route, board) = (with_fallback(), Board::new());
        for n in 0..good {
            assert_eq!(
                Call::new(&route, &board)
                    .at(at(n * 1_000))
                    .run(|_, _, _| Ok(()))
                    .status(),
                200
            );
        }
        let asked: Vec<_> = (0..10)
            .map(|n| streams_off(&route, &board, at(5_000 + n * 1_000)))
            .collect();
        assert_eq!(asked, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2], "after {good} good calls");
        // The canary's first words close the breaker, and its break opens it again.
        let asked: Vec<_> = (0..3)
            .map(|n| streams_off(&route, &board, at(40_000 + n * 1_000)))
            .collect();
        assert_eq!(asked, [1, 2, 2], "after {good} good calls");
    }
}

#[test]
fn a_credential_that_breaks_off_every_stream_stands_behind_its_siblings() {
    let (two, board) = (route(Strategy::RoundRobin, &[json!({"keys": 2})]), Board::new());
    let mut broken = 0;
    for now in (0..30).map(|n| at(n * 1_000)) {
        let plan = plan(&two, CHAT, &board, now, &mut rng(1));
        let mut attempts = Attempts::new(plan, &Defaults::default(), at(600_000));
        let Step::Try(choice) = attempts.next(&two, &board, now) else {
            panic!("there is somebody to try")
        };
        attempts.served(&two, choice, &board, now);
        if choice.credential == 0 {
            broken += 1;
            attempts.broke(&two, choice, &board, now);
        }
    }
    assert!(broken <= 7, "{broken} of 30 broke off");
    assert_eq!(board.upstreams(at(30_000))[0].breaker, BreakerState::Closed);
}
