//! What the retry budget bounds, and what it leaves alone.

use super::*;
use crate::retry_budget::RETRIES_FREE_MAX;
use crate::testing::Log;

/// This many calls at the same moment, each of which the script fails.
fn storm(route: &domain::snapshot::Route, calls: usize, script: impl Fn(usize) -> Result<(), Failure>) -> Vec<Log> {
    let board = Board::new();
    (0..calls)
        .map(|call| {
            let start = at(call as u64 * 2);
            Call::new(route, &board)
                .at(start)
                .run(|_, upstream, _| script(upstream))
        })
        .collect()
}

#[test]
fn an_outage_is_not_amplified() {
    let route = route(Strategy::RoundRobin, &[json!({"breaker": "off"})]);
    let logs = storm(&route, 1_000, |_| Err(status(503)));
    let tries: usize = logs.iter().map(|log| log.tries.len()).sum();
    let most = 1_000 + RETRIES_FREE_MAX as usize + 1_000 / 5;
    assert!(tries <= most, "{tries} tries for 1,000 calls, more than {most}");
    assert!(logs.iter().all(|log| !log.tries.is_empty() && log.status() == 503));
    assert!(
        logs[0].tries.len() == 4,
        "while there is room each call has all its tries"
    );
}

/// The tries of this many calls that begin in the same moment and fail together.
fn tries_at_once(route: &domain::snapshot::Route, calls: u64, fails: &Failure) -> usize {
    let board = Board::new();
    let begun = (0..calls).map(|seed| {
        let plan = crate::plan(route, CHAT, &board, START, &mut rng(seed));
        (
            START,
            Attempts::new(plan, &domain::declaration::Defaults::default(), at(600_000)),
        )
    });
    let mut running: Vec<(Timestamp, Attempts)> = begun.collect();
    let mut tries = 0;
    while let Some(place) = (0..running.len()).min_by_key(|place| running[*place].0) {
        let (now, attempts) = &mut running[place];
        match attempts.next(route, &board, *now) {
            // A try is seen twice: when it begins and when it fails.
            Step::Try(choice) if attempts.began == *now => {
                let upstream = &route.targets[choice.target].upstream;
                drop(board.begin(upstream, &upstream.credentials[choice.credential], *now));
                tries += 1;
                *now = *now + Duration::from_millis(400);
            }
            Step::Try(choice) => attempts.failed(route, choice, fails, &board, *now, &mut rng(place as u64)),
            Step::Wait { until } => *now = until,
            Step::GiveUp(_) => drop(running.swap_remove(place)),
        }
    }
    tries
}

#[test]
fn calls_that_fail_in_the_same_moment_share_the_budget() {
    let alone = route(Strategy::RoundRobin, &[json!({"breaker": "off", "cooldown": "off"})]);
    let most = 400 + RETRIES_FREE_MAX as usize + 400 / 5;
    for fails in [status(503), status(429), failure(FailureClass::Reset)] {
        assert_eq!(tries_at_once(&alone, 400, &fails), most, "{:?}", fails.class);
    }
}

#[test]
fn a_call_that_ends_while_it_waits_gives_its_further_try_back() {
    let alone = route(Strategy::RoundRobin, &[json!({"breaker": "off"})]);
    let board = Board::new();
    for _ in 0..3 * RETRIES_FREE_MAX {
        let plan = crate::plan(&alone, CHAT, &board, START, &mut rng(1));
        let mut call = Attempts::new(plan, &domain::declaration::Defaults::default(), at(600_000));
        let Step::Try(choice) = call.next(&alone, &board, START) else {
            panic!("nothing was tried");
        };
        call.failed(&alone, choice, &status(503), &board, START, &mut rng(1));
        assert!(matches!(call.next(&alone, &board, START), Step::Wait { .. }));
    }
}

#[test]
fn turning_to_another_upstream_is_never_bounded() {
    let decls = [json!({"breaker": "off"}), json!({"priority": 1, "breaker": "off"})];
    let route = route(Strategy::RoundRobin, &decls);
    let logs = storm(
        &route,
        1_000,
        |upstream| if upstream == 1 { Err(status(503)) } else { Ok(()) },
    );
    assert!(logs.iter().all(|log| log.status() == 200));
}

#[test]
fn siblings_of_a_limited_credential_are_no_retries() {
    let decl = json!({"keys": 3, "cooldown": "off"});
    let route = route(Strategy::RoundRobin, &[decl]);
    let board = Board::new();
    for call in 0..500 {
        let log = Call::new(&route, &board).at(at(call * 2)).run(|number, _, _| {
            if number < 2 {
                Err(after(status(429), 60_000))
            } else {
                Ok(())
            }
        });
        assert_eq!((log.status(), log.tries.len()), (200, 3), "call {call}");
    }
}

#[test]
fn a_provider_that_limits_all_its_credentials_does_not_use_up_the_tries() {
    let limited = |_: usize, upstream: usize, _: usize| if upstream == 1 { Err(status(429)) } else { Ok(()) };
    let decls = [json!({"keys": 20}), json!({"keys": 20})];
    let peers = route(Strategy::Weighted, &decls);
    for seed in 0..20 {
        let board = Board::new();
        let log = Call {
            seed,
            ..Call::new(&peers, &board)
        }
        .run(limited);
        assert!(log.status() == 200 && log.tries.len() <= 3, "{:?}", log.upstreams());
    }
    let decls = [json!({"keys": 20}), json!({"priority": 1})];
    let log = run(&route(Strategy::RoundRobin, &decls), limited);
    assert_eq!(log.upstreams(), [1, 1, 1, 1, 2], "of a lower priority a little later");
}

#[test]
fn the_healthy_credential_of_a_large_pool_is_found() {
    for refused in [after(status(429), 30_000), status(429), status(401), status(402)] {
        let large = route(Strategy::RoundRobin, &[json!({"keys": 60})]);
        let board = Board::new();
        let find = |_: usize, _: usize, key: usize| if key == 59 { Ok(()) } else { Err(refused.clone()) };
        let log = Call::new(&large, &board).run(find);
        assert_eq!((log.status(), log.tries.len()), (200, 60), "{:?}", refused.class);
        let log = Call::new(&large, &board).at(at(700)).run(find);
        assert_eq!((log.status(), log.tries.len()), (200, 1), "the next call knows");
    }
    let larger = route(Strategy::RoundRobin, &[json!({"keys": 200})]);
    let log = run(&larger, always(&after(status(429), 30_000)));
    assert_eq!((log.status(), log.tries.len()), (429, 12 + PASSED_MAX as usize));
}

#[test]
fn one_credential_is_not_asked_more_often_for_refusing() {
    let defaults = Defaults {
        attempts_max: 1,
        ..Defaults::default()
    };
    let (alone, board) = (alone(), Board::new());
    let call = Call {
        defaults,
        ..Call::new(&alone, &board)
    };
    assert_eq!(call.run(always(&status(429))).tries.len(), 1);
}

#[test]
fn a_call_probes_one_upstream() {
    let decls = [vec![json!({}); 5], vec![json!({"priority": 1})]].concat();
    let route = route(Strategy::RoundRobin, &decls);
    let board = Board::new();
    for target in 0..5 {
        for _ in 0..5 {
            testing::fail(&route, &board, (target, 0), &status(503), START);
        }
    }
    // Five are half-open, and the sixth, which is well, is for when they are not.
    let log = Call::new(&route, &board)
        .at(at(30_000))
        .run(|_, upstream, _| if upstream == 6 { Ok(()) } else { Err(status(503)) });
    assert_eq!(log.upstreams(), [1, 6]);
    let nobody = Call::new(&route, &board).at(at(61_000)).run(|_, _, _| Err(status(401)));
    assert!(nobody.tries.len() > 2, "where nothing else is left it probes more");
}

#[test]
fn what_other_calls_found_out_is_believed() {
    let route = route(Strategy::Weighted, &vec![json!({}); 30]);
    let board = Board::new();
    // All but the last fail. Each is found out once, and not once by each call.
    let mut failed = 0;
    for call in 0..60 {
        let log = Call {
            seed: call,
            ..Call::new(&route, &board)
        }
        .at(at(call * 20_000))
        .run(|_, upstream, _| {
            if upstream == 30 {
                Ok(())
            } else {
                Err(failure(FailureClass::Connect))
            }
        });
        failed += usize::from(log.status() != 200);
    }
    assert!(failed <= 3, "{failed} of 60 calls failed beside one that is well");
}
