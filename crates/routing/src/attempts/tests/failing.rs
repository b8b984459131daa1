//! Upstreams that fail, and those that give no proper answer.

use super::*;

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
fn credentials_of_a_failing_upstream_are_asked_once_each() {
    let many = route(Strategy::RoundRobin, &[json!({"keys": 5})]);
    let log = run(&many, always(&status(500)));
    assert_eq!(
        log.tries
            .iter()
            .map(|(_, _, credential)| *credential)
            .collect::<Vec<_>>(),
        [0, 0, 1, 2, 3],
        "until the breaker opens"
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

/// Whether each of `calls` calls, a second apart, is answered where only the last of `keys` credentials works.
fn answered_with_one_of(keys: usize, calls: u64) -> Vec<bool> {
    let many = route(Strategy::RoundRobin, &[json!({ "keys": keys })]);
    let board = Board::new();
    let works = |_, _, credential: usize| {
        if credential + 1 == keys {
            Ok(())
        } else {
            Err(status(500))
        }
    };
    (0..calls)
        .map(|n| {
            Call::new(&many, &board)
                .at(at(n * 40_000 / calls.max(1)))
                .run(works)
                .status()
                == 200
        })
        .collect()
}

#[test]
fn the_one_credential_that_works_is_found_among_those_that_fail() {
    for keys in [2, 3, 4] {
        assert_eq!(answered_with_one_of(keys, 30), [true; 30], "{keys} keys");
    }
    let answered = answered_with_one_of(20, 40);
    let first = answered.iter().position(|answered| *answered);
    assert!(first.is_some_and(|first| first <= 5), "{answered:?}");
    let found = &answered[first.unwrap()..];
    assert!(found.iter().all(|answered| *answered), "{answered:?}");
}

#[test]
fn one_failing_credential_does_not_open_the_breaker_beside_one_that_answers() {
    let (two, board) = (route(Strategy::RoundRobin, &[json!({"keys": 2})]), Board::new());
    let mut asked = 0;
    for n in 0..60 {
        let call = Call::new(&two, &board).at(at(n * 1_000));
        let log = call.run(|_, _, credential| if credential == 1 { Ok(()) } else { Err(status(500)) });
        assert_eq!(log.status(), 200);
        asked += log.tries.iter().filter(|(_, _, credential)| *credential == 0).count();
    }
    assert!(asked <= 8, "the one that fails was asked {asked} times");
    let now = at(60_000);
    assert_eq!(board.upstreams(now)[0].breaker, BreakerState::Closed);
    assert!(board.events(now).is_empty(), "its log is of what providers say");
    // Mended, it is used again soon; failing together, they are left alone.
    let log = Call::new(&two, &board).at(at(95_000)).run(|_, _, _| Ok(()));
    assert_eq!(log.tries[0].2, 0);
    for n in 0..3 {
        Call::new(&two, &board)
            .at(at(100_000 + n * 5_000))
            .run(always(&status(500)));
    }
    assert!(matches!(
        board.upstreams(at(116_000))[0].breaker,
        BreakerState::Open { .. }
    ));
}
