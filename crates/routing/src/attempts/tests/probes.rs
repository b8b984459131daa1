//! Breakers that open, and who finds out whether they may close.

use super::*;

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
