//! What becomes known while a call waits to try again.

use domain::UpstreamId;

use super::*;

/// A call that failed with this and waits; what then happens at its first upstream; and what it does next.
fn after_waiting(route: &Route, fails: &Failure, meanwhile: impl Fn(&Board, Timestamp)) -> Step {
    let board = Board::new();
    let plan = crate::plan(route, CHAT, &board, START, &mut rng(1));
    let mut call = Attempts::new(plan, &Defaults::default(), at(600_000));
    let Step::Try(choice) = call.next(route, &board, START) else {
        panic!("nothing was tried");
    };
    assert_eq!(choice.target, 0);
    call.failed(route, choice, fails, &board, START, &mut rng(1));
    let Step::Wait { until } = call.next(route, &board, START) else {
        panic!("it does not wait");
    };
    meanwhile(&board, until);
    call.next(route, &board, until)
}

fn force_open(board: &Board, _: Timestamp) {
    board.force(UpstreamId(1), Some(Forced::Open));
}

/// Other calls fail there, until its breaker opens.
fn open(route: &Route, board: &Board, now: Timestamp) {
    for _ in 0..5 {
        testing::fail(route, board, (0, 0), &status(503), now);
    }
    assert!(matches!(board.upstreams(now)[0].breaker, BreakerState::Open { .. }));
}

fn ends_as(step: &Step, kind: FaultKind) -> bool {
    matches!(step, Step::GiveUp(fault) if fault.kind == kind)
}

#[test]
fn what_an_operator_forced_open_is_not_asked_again() {
    let alone = alone();
    assert!(ends_as(
        &after_waiting(&alone, &status(503), force_open),
        FaultKind::Unavailable
    ));
    for limited in [status(429), after(status(429), 2_000)] {
        let step = after_waiting(&alone, &limited, force_open);
        assert!(ends_as(&step, FaultKind::UpstreamLimited), "{step:?}");
    }
    let step = after_waiting(&with_fallback(), &status(503), force_open);
    assert!(matches!(step, Step::Try(choice) if choice.target == 1), "{step:?}");
}

#[test]
fn a_breaker_that_opened_meanwhile_is_heeded() {
    let alone = alone();
    for fails in [status(500), status(429)] {
        let step = after_waiting(&alone, &fails, |board, now| open(&alone, board, now));
        assert!(matches!(step, Step::GiveUp(_)), "{step:?}");
    }
    let both = with_fallback();
    let step = after_waiting(&both, &status(503), |board, now| open(&both, board, now));
    assert!(matches!(step, Step::Try(choice) if choice.target == 1), "{step:?}");
}

#[test]
fn a_rest_that_another_call_met_meanwhile_is_heeded_beside_another() {
    let both = with_fallback();
    let rests = |board: &Board, now| testing::fail(&both, board, (0, 0), &status(429), now);
    let step = after_waiting(&both, &status(503), rests);
    assert!(matches!(step, Step::Try(choice) if choice.target == 1), "{step:?}");
    let alone = alone();
    let rests = |board: &Board, now| testing::fail(&alone, board, (0, 0), &status(429), now);
    let step = after_waiting(&alone, &status(503), rests);
    assert!(matches!(step, Step::Try(_)), "a guess turns nobody away: {step:?}");
}
