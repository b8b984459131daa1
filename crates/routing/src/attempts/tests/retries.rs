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
