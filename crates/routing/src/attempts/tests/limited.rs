//! Limits that providers name, and those that they do not.

use super::*;

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
