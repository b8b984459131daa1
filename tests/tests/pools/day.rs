//! What is left of a day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blackbox::wait;

use crate::lab::{COMMON, World, pair, secret};

/// A test about a day must not run over its end.
fn away_from_midnight() {
    let today = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
        % 86_400;
    if today > 86_400 - 120 {
        wait::lasts(Duration::from_secs(86_401 - today));
    }
}

#[test]
fn a_limit_of_the_day_is_exact_over_crashes_and_parallel_calls() {
    away_from_midnight();
    let mut world = World::new("openai", &[("k1", ", daily_limit: 12"), ("k2", ", daily_limit: 5")], "");
    let storm = |world: &World, calls: usize| {
        let answered: usize = std::thread::scope(|scope| {
            let call = || scope.spawn(|| usize::from(world.call(COMMON, "m").status() == 200));
            let calls: Vec<_> = (0..calls).map(|_| call()).collect();
            calls.into_iter().map(|call| call.join().expect("a call")).sum()
        });
        let received = world.upstream.take_received();
        assert_eq!(received.len(), answered, "nobody was asked in vain");
        let of = |name: &str| {
            let secret = secret(name);
            received
                .iter()
                .filter(|call| call.credential.as_deref() == Some(&secret))
                .count()
        };
        (of("k1"), of("k2"))
    };
    let (one, two) = storm(&world, 9);
    assert_eq!(one + two, 9);
    // A crash: what was journalled counts, booked or not.
    world.gateway.kill9();
    world.gateway.restart();
    assert_eq!(storm(&world, 20), (12 - one, 5 - two), "what was left, and no more");
    let refused = world.call(COMMON, "m");
    assert_eq!(refused.status(), 503);
    let wait: u64 = refused
        .header("retry-after")
        .expect("until midnight")
        .parse()
        .expect("seconds");
    assert!(wait <= 86_400, "{wait}");
    assert!(
        refused.text().contains("as much as the operator allows"),
        "{}",
        refused.text()
    );
    // An orderly restart changes nothing.
    assert!(world.gateway.stop().success());
    world.gateway.restart();
    assert_eq!(world.served(), "503");
    assert_eq!(world.account("k1")["uses_today"], 12);
    assert_eq!(
        world.excluded("common"),
        [pair("k1", "daily_limit"), pair("k2", "daily_limit")]
    );
    assert_eq!(world.account("k1")["state"], "daily_limit");
    let reached: Vec<_> = world
        .events()
        .into_iter()
        .filter(|(change, _)| change == "daily_limit_reached")
        .collect();
    assert_eq!(reached.len(), 2, "told once each: {reached:?}");
}
