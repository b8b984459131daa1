//! Limits over virtual time, and under threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;

/// A time that is not on a whole second, so that slices are cut.
const START: Timestamp = Timestamp(1_700_000_000_400_000);

fn at(ms: u64) -> Timestamp {
    START + Duration::from_millis(ms)
}

fn limiter() -> Arc<KeyLimiter> {
    Arc::new(KeyLimiter::new(START))
}

const fn rpm(rpm: u32) -> Limits {
    Limits {
        rpm,
        tpm: 0,
        concurrency: 0,
    }
}

const fn tpm(tpm: u32) -> Limits {
    Limits {
        rpm: 0,
        tpm,
        concurrency: 0,
    }
}

fn refused(result: Result<Permit, Limited>) -> Limited {
    result.map(drop).unwrap_err()
}

#[test]
fn no_limits_no_refusals() {
    let limiter = limiter();
    let open: Vec<_> = (0..1_000)
        .map(|_| limiter.admit(&Limits::default(), u64::MAX, START).unwrap())
        .collect();
    assert_eq!(limiter.state(&Limits::default(), START), LimitState::default());
    for permit in &open {
        permit.correct(5, START);
    }
    let state = limiter.state(
        &Limits {
            concurrency: 2_000,
            ..Limits::default()
        },
        START,
    );
    assert_eq!(
        state.concurrency.unwrap().remaining,
        1_000,
        "open calls count also before there is a limit"
    );
}

#[test]
fn the_sixty_first_request_of_a_minute_waits() {
    let limiter = limiter();
    for n in 0..60 {
        drop(limiter.admit(&rpm(60), 0, at(n * 500)).unwrap());
    }
    let now = at(30_000);
    let refusal = refused(limiter.admit(&rpm(60), 0, now));
    assert_eq!((refusal.dimension, refusal.limit), (Dimension::Requests, 60));
    assert_eq!(refusal.to_string(), "over the limit of 60 requests per minute");
    let then = now + refusal.retry_after;
    assert!(
        limiter.admit(&rpm(60), 0, then - Duration::from_micros(1)).is_err(),
        "not a moment earlier"
    );
    assert!(limiter.admit(&rpm(60), 0, then).is_ok(), "and then it is");
    assert!(then.since(START) >= Duration::from_mins(1) && then.since(START) <= Duration::from_secs(61));
}

#[test]
fn headers_tell_what_remains_and_when_it_resets() {
    let limiter = limiter();
    assert_eq!(
        limiter.state(&rpm(10), START).requests,
        Some(DimensionState {
            limit: 10,
            remaining: 10,
            reset: Duration::ZERO
        })
    );
    drop(limiter.admit(&rpm(10), 0, START).unwrap());
    drop(limiter.admit(&rpm(10), 0, at(5_000)).unwrap());
    let state = limiter.state(&rpm(10), at(5_000)).requests.unwrap();
    assert_eq!(state.remaining, 8);
    let full = at(5_000) + state.reset;
    assert_eq!(
        limiter
            .state(&rpm(10), full - Duration::from_micros(1))
            .requests
            .unwrap()
            .remaining,
        9
    );
    assert_eq!(limiter.state(&rpm(10), full).requests.unwrap().remaining, 10);
}

#[test]
fn an_estimate_is_corrected_downwards() {
    let limiter = limiter();
    let permit = limiter.admit(&tpm(1_000), 900, START).unwrap();
    assert!(limiter.admit(&tpm(1_000), 200, at(10)).is_err());
    permit.correct(300, at(2_000));
    assert_eq!(limiter.state(&tpm(1_000), at(2_000)).tokens.unwrap().remaining, 700);
    permit.correct(100, at(2_000));
    assert_eq!(
        limiter.state(&tpm(1_000), at(2_000)).tokens.unwrap().remaining,
        900,
        "and again"
    );
    assert!(limiter.admit(&tpm(1_000), 900, at(2_000)).is_ok());
    let late = limiter.admit(&tpm(1_000), 0, at(2_000)).unwrap();
    permit.correct(0, at(90_000));
    late.correct(0, at(90_000));
    assert_eq!(
        limiter.state(&tpm(1_000), at(90_000)).tokens.unwrap().remaining,
        1_000,
        "never more than the limit"
    );
}

#[test]
fn what_left_the_window_is_not_given_back() {
    let limiter = limiter();
    let long = limiter.admit(&tpm(1_000), 900, START).unwrap();
    // The same place in the window, a round later.
    let _other = limiter.admit(&tpm(1_000), 900, at(61_000)).unwrap();
    long.correct(0, at(61_000));
    assert_eq!(limiter.state(&tpm(1_000), at(61_000)).tokens.unwrap().remaining, 100);
}

#[test]
fn what_was_overshot_is_made_up_for() {
    let limiter = limiter();
    let permit = limiter.admit(&tpm(1_000), 100, START).unwrap();
    permit.correct(5_100, at(1_000));
    let state = limiter.state(&tpm(1_000), at(1_000)).tokens.unwrap();
    assert_eq!(state.remaining, 0);
    assert!(
        limiter.admit(&tpm(1_000), 0, at(1_000)).is_err(),
        "in debt not even a call of nothing"
    );
    let refusal = refused(limiter.admit(&tpm(1_000), 1, at(1_000)));
    // Five limits' worth and a hundred tokens: five windows until the last of it enters the sixth.
    let windows = refusal.retry_after.as_secs_f64() / 61.0;
    assert!(windows > 4.9 && windows < 5.1, "waits {:?}", refusal.retry_after);
    let then = at(1_000) + refusal.retry_after;
    assert!(limiter.admit(&tpm(1_000), 1, then - Duration::from_micros(1)).is_err());
    assert!(limiter.admit(&tpm(1_000), 1, then).is_ok());
}

#[test]
fn retry_after_is_the_same_without_looking_in_between() {
    for count in [1, 999, 1_000, 1_001, 61_000, 1_000_000] {
        let limiter = limiter();
        drop(limiter.admit(&tpm(1_000), 500, START).unwrap());
        limiter.admit(&tpm(1_000), 0, START).unwrap().correct(count, at(700));
        let refusal = limiter.admit(&tpm(1_000), 800, at(700)).map(drop);
        let Err(refusal) = refusal else { continue };
        let then = at(700) + refusal.retry_after;
        assert!(
            limiter
                .admit(&tpm(1_000), 800, then - Duration::from_micros(1))
                .is_err(),
            "{count}"
        );
        assert!(limiter.admit(&tpm(1_000), 800, then).is_ok(), "{count}");
    }
}

#[test]
fn reset_is_when_everything_is_back() {
    for count in [1, 999, 1_000, 1_001, 2_500, 61_000] {
        let limiter = limiter();
        limiter.admit(&tpm(1_000), 0, START).unwrap().correct(count, at(700));
        let reset = at(700) + limiter.state(&tpm(1_000), at(700)).tokens.unwrap().reset;
        let just_before = reset - Duration::from_micros(1);
        assert!(
            limiter.state(&tpm(1_000), just_before).tokens.unwrap().remaining < 1_000,
            "{count}"
        );
        assert_eq!(
            limiter.state(&tpm(1_000), reset).tokens.unwrap().remaining,
            1_000,
            "{count}"
        );
    }
}

#[test]
fn a_call_larger_than_the_limit_waits_for_an_empty_window() {
    let limiter = limiter();
    drop(limiter.admit(&tpm(1_000), 1, START).unwrap());
    let refusal = refused(limiter.admit(&tpm(1_000), 3_000, at(1)));
    let then = at(1) + refusal.retry_after;
    drop(limiter.admit(&tpm(1_000), 3_000, then).unwrap());
    let next = refused(limiter.admit(&tpm(1_000), 1, then + Duration::from_secs(61)));
    assert!(
        next.retry_after > Duration::from_secs(61),
        "it used three minutes' worth"
    );
}

#[test]
fn an_absurd_figure_is_forgotten_after_a_day() {
    let limiter = limiter();
    limiter
        .admit(&tpm(u32::MAX), 0, START)
        .unwrap()
        .correct(u64::MAX, START);
    assert!(limiter.state(&tpm(u32::MAX), START).tokens.unwrap().reset < Duration::from_hours(25));
    let refusal = refused(limiter.admit(&tpm(1), 1, START));
    assert!(
        refusal.retry_after < Duration::from_hours(25),
        "also when the limit is lowered afterwards"
    );
    assert!(limiter.admit(&tpm(1), 1, START + refusal.retry_after).is_ok());
}

#[test]
fn concurrency_ends_with_the_permit() {
    let limits = Limits {
        concurrency: 2,
        ..Limits::default()
    };
    let limiter = limiter();
    let first = limiter.admit(&limits, 0, START).unwrap();
    let _second = limiter.admit(&limits, 0, START).unwrap();
    let refusal = refused(limiter.admit(&limits, 0, START));
    assert_eq!((refusal.dimension, refusal.limit), (Dimension::Concurrency, 2));
    drop(first);
    assert!(limiter.admit(&limits, 0, START).is_ok());
}

#[test]
fn a_refusal_leaves_no_trace() {
    let limits = Limits {
        rpm: 10,
        tpm: 100,
        concurrency: 1,
    };
    let limiter = limiter();
    let running = limiter.admit(&limits, 60, START).unwrap();
    let before = limiter.state(&limits, at(1));
    let refusal = refused(limiter.admit(&limits, 60, at(1)));
    assert_eq!(refusal.dimension, Dimension::Tokens, "the longest wait is told");
    assert_eq!(
        refused(limiter.admit(&limits, 40, at(1))).dimension,
        Dimension::Concurrency
    );
    assert_eq!(limiter.state(&limits, at(1)), before);
    drop(running);
    assert!(limiter.admit(&limits, 40, at(1)).is_ok());
}

#[test]
fn a_limit_may_change_while_calls_run() {
    let limiter = limiter();
    let permit = limiter.admit(&tpm(1_000), 900, START).unwrap();
    assert_eq!(limiter.state(&tpm(100), at(1)).tokens.unwrap().remaining, 0);
    assert!(limiter.admit(&tpm(100), 1, at(1)).is_err());
    permit.correct(2_000, at(2));
    assert!(limiter.admit(&tpm(10_000), 8_000, at(3)).is_ok());
    assert!(limiter.admit(&tpm(10_000), 1, at(3)).is_err());
}

#[test]
fn threads_get_exactly_the_limit() {
    let (limiter, admitted) = (limiter(), AtomicUsize::new(0));
    let limits = Limits {
        rpm: 777,
        tpm: 1_000_000,
        concurrency: 0,
    };
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for n in 0..200 {
                    if let Ok(permit) = limiter.admit(&limits, 10, at(n)) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                        permit.correct(7, at(n));
                    }
                }
            });
        }
    });
    assert_eq!(admitted.load(Ordering::Relaxed), 777);
    let state = limiter.state(&limits, at(200));
    assert_eq!(state.requests.unwrap().remaining, 0);
    assert_eq!(state.tokens.unwrap().remaining, 1_000_000 - 777 * 7);
}

proptest! {
    #[test]
    fn no_sixty_seconds_see_more_than_the_limit(limit in 1_u32..20, gaps in proptest::collection::vec(0_u64..9_000, 1..200)) {
        let limiter = limiter();
        let mut admitted: Vec<Timestamp> = Vec::new();
        let mut now = START;
        for gap in gaps {
            now = now + Duration::from_millis(gap);
            if limiter.admit(&rpm(limit), 0, now).is_ok() {
                admitted.push(now);
            }
        }
        for (n, first) in admitted.iter().enumerate() {
            let within = admitted[n..].iter().filter(|then| then.since(*first) < Duration::from_mins(1)).count();
            prop_assert!(within <= limit as usize, "{within} within a minute");
        }
    }

    #[test]
    fn who_waits_as_told_is_admitted(limit in 1_u32..50, counts in proptest::collection::vec((0_u64..80, 0_u64..200, 0_u64..4_000), 1..60)) {
        let limiter = limiter();
        let (mut now, mut used) = (START, 0);
        for (estimate, real, gap) in counts {
            now = now + Duration::from_millis(gap);
            let permit = match limiter.admit(&tpm(limit), estimate, now) {
                Ok(permit) => permit,
                Err(refusal) => {
                    let early = now + refusal.retry_after - Duration::from_micros(1);
                    prop_assert!(limiter.admit(&tpm(limit), estimate, early).is_err());
                    now = now + refusal.retry_after;
                    limiter.admit(&tpm(limit), estimate, now).unwrap()
                }
            };
            permit.correct(real, now);
            used += real;
        }
        // In the long run the limit holds whatever the estimates were: all but the last window's worth and the last
        // call (at most 200) has been waited for.
        let windows = now.since(START).as_secs() / 60 + 1;
        prop_assert!(used <= windows * u64::from(limit) + 200, "{used} tokens in {windows} windows of {limit}");
    }
}

#[test]
fn what_is_admitted_within_a_call_takes_no_place_of_its_own() {
    let limiter = limiter();
    let limits = Limits {
        rpm: 3,
        tpm: 0,
        concurrency: 1,
    };
    let session = limiter.admit(&limits, 0, START).unwrap();
    let responses = [
        limiter.admit_within(&limits, 0, START).unwrap(),
        limiter.admit_within(&limits, 0, START).unwrap(),
    ];
    assert_eq!(
        refused(limiter.admit_within(&limits, 0, START)).dimension,
        Dimension::Requests
    );
    drop(responses);
    assert_eq!(
        refused(limiter.admit(&limits, 0, at(120_001))).dimension,
        Dimension::Concurrency
    );
    drop(session);
    assert!(limiter.admit(&limits, 0, at(120_001)).is_ok());
}
