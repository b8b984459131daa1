//! Pools of credentials: turns, limits of the day, profiles, allowances, and being taken out of service and put back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use domain::declaration::{Defaults, Strategy};
use domain::snapshot::{Credential, CredentialState, Deactivation, Pool, Upstream};
use domain::{FailureClass, Window};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::asked::Asked;
use crate::plan::Exclusion;
use crate::testing::{CHAT, Call, START, after, at, fail, failure, rest_model, rng, route, status, tried};
use crate::{Attempts, Step, plan};

/// One upstream whose credentials have these terms.
fn pool(terms: &[Value]) -> Arc<Route> {
    route(
        Strategy::RoundRobin,
        &[json!({"keys": terms.len(), "key_terms": terms})],
    )
}

/// The route with the credentials of its one upstream changed.
fn changed(route: &Route, change: impl FnOnce(&mut Vec<Credential>)) -> Route {
    let upstream = &route.targets[0].upstream;
    let mut credentials: Vec<Credential> = upstream.credentials.iter().map(|known| (**known).clone()).collect();
    change(&mut credentials);
    let upstream = Upstream {
        credentials: credentials.into_iter().map(Arc::new).collect(),
        ..(**upstream).clone()
    };
    let target = Target {
        upstream: Arc::new(upstream),
        ..route.targets[0].clone()
    };
    Route {
        model: route.model.clone(),
        strategy: route.strategy,
        bounds: route.bounds,
        stamp: domain::snapshot::RouteStamp::default(),
        targets: vec![target],
        price: None,
        system_prompt: None,
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
    }
}

/// A snapshot of this route's one upstream.
fn snapshot(route: &Route) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.upstreams.push(Arc::clone(&route.targets[0].upstream));
    snapshot
}

/// Another snapshot was published.
fn adopt(board: &Board, route: &Route, now: Timestamp) {
    board.adopt(&snapshot(route), now);
}

/// A board at the start of a process, whose first credential was used so often on a day.
fn restored(route: &Route, day: i64, uses: u64) -> Board {
    let board = Board::new();
    let first = route.targets[0].upstream.credentials[0].id;
    board.restore(&snapshot(route), day, [(first, uses)], START);
    board
}

/// Which credential serves each of this many calls, a second apart.
fn served(route: &Route, board: &Board, start: u64, calls: u64) -> Vec<Option<usize>> {
    (0..calls)
        .map(|n| {
            let log = Call::new(route, board).at(at(start + n * 1_000)).run(|_, _, _| Ok(()));
            log.end.ok().map(|choice| choice.credential)
        })
        .collect()
}

fn reasons(route: &Route, board: &Board, now: Timestamp) -> Vec<Exclusion> {
    let plan = crate::testing::preview(route, board, now, &mut rng(1));
    plan.excluded.iter().map(|excluded| excluded.reason).collect()
}

fn changes(board: &Board, now: Timestamp) -> Vec<&'static str> {
    board.events(now).iter().map(|event| event.change.name()).collect()
}

// ===== turns =====

#[test]
fn a_credential_keeps_its_turn_for_as_many_uses_as_it_says() {
    let route = pool(&[json!({"rotate_after": 3}), json!({}), json!({"rotate_after": 2})]);
    let turns = served(&route, &Board::new(), 0, 12);
    let turns: Vec<usize> = turns.into_iter().flatten().collect();
    assert_eq!(turns, [0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 2, 2]);
}

#[test]
fn a_turn_that_is_cut_short_is_over() {
    let route = pool(&[json!({"rotate_after": 5}), json!({"rotate_after": 5})]);
    let board = Board::new();
    assert_eq!(served(&route, &board, 0, 2), [Some(0), Some(0)]);
    fail(&route, &board, (0, 0), &after(status(429), 4_500), at(2_000));
    assert_eq!(served(&route, &board, 3_000, 2), [Some(1), Some(1)]);
    // The first may again, but it is the second's turn now, to its end.
    let rest = served(&route, &board, 7_000, 8);
    let rest: Vec<usize> = rest.into_iter().flatten().collect();
    assert_eq!(rest, [1, 1, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn turns_are_exact_under_parallel_calls() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 3_000;
    let route = pool(&vec![json!({"rotate_after": 50}); 3]);
    let board = Board::new();
    let counts: [AtomicU64; 3] = Default::default();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (route, board, counts) = (&route, &board, &counts);
            scope.spawn(move || {
                let mut rng = rng(seed);
                for _ in 0..CALLS {
                    let first = plan(route, CHAT, board, START, &mut rng).order[0];
                    counts[first.credential].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    // 24,000 calls are 480 turns, 160 for each: not one more, not one less.
    let counts = counts.map(AtomicU64::into_inner);
    assert_eq!(counts, [THREADS * CALLS / 3; 3]);
}

// ===== limits of the day =====

#[test]
fn a_limit_of_the_day_ends_at_midnight_utc() {
    let route = pool(&[json!({"daily_limit": 2}), json!({"daily_limit": 1})]);
    let board = Board::new();
    assert_eq!(served(&route, &board, 0, 4), [Some(0), Some(1), Some(0), None]);
    let midnight = START.next_midnight();
    assert_eq!(
        reasons(&route, &board, at(5_000)),
        [Exclusion::DailyLimit { until: midnight }; 2]
    );
    assert_eq!(changes(&board, at(5_000)), ["daily_limit_reached"; 2]);
    let log = Call::new(&route, &board).at(at(5_000)).run(|_, _, _| Ok(()));
    assert_eq!(
        (log.status(), log.fault().retry_after),
        (503, Some(midnight.since(at(5_000))))
    );
    let ms = midnight.since(START).as_millis() as u64;
    assert_eq!(served(&route, &board, ms - 1, 1), [None], "a moment before");
    assert_eq!(served(&route, &board, ms, 4), [Some(1), Some(0), Some(0), None]);
}

#[test]
fn what_was_used_before_a_restart_counts_and_yesterdays_does_not() {
    let route = pool(&[json!({"daily_limit": 5})]);
    let today = START.day();
    assert_eq!(
        served(&route, &restored(&route, today, 3), 0, 3),
        [Some(0), Some(0), None]
    );
    assert_eq!(
        reasons(&route, &restored(&route, today, 5), START).len(),
        1,
        "known before anybody asks"
    );
    assert_eq!(
        served(&route, &restored(&route, today - 1, 5), 0, 1),
        [Some(0)],
        "down at midnight"
    );
    // A limit that another call reached between the choice and the try.
    let board = Board::new();
    let mut planned = Attempts::new(
        plan(&route, CHAT, &board, START, &mut rng(1)),
        &Defaults::default(),
        at(60_000),
    );
    served(&route, &board, 0, 5);
    let Step::GiveUp(fault) = planned.next(&route, &board, at(6_000)) else {
        panic!("there is none left")
    };
    assert_eq!(fault.kind.status(), 503);
    assert!(planned.plan().order.is_empty() && planned.plan().excluded.len() == 1);
    // Counted before the limit was set: it is exact at once.
    let free = pool(&[json!({})]);
    let board = Board::new();
    served(&free, &board, 0, 4);
    assert_eq!(board.credentials(START)[0].uses_today, 4);
    assert_eq!(served(&route, &board, 4_000, 2), [Some(0), None]);
    // And so is one that is below what was used already.
    let board = Board::new();
    served(&free, &board, 0, 9);
    adopt(&board, &route, at(9_000));
    assert_eq!(reasons(&route, &board, at(9_000)).len(), 1);
}

#[test]
fn what_was_not_sent_is_not_counted() {
    let route = pool(&[json!({"daily_limit": 10})]);
    let board = Board::new();
    for class in [
        FailureClass::Untranslatable,
        FailureClass::Connect,
        FailureClass::Barred,
        FailureClass::RateLimited,
        FailureClass::Unfit,
    ] {
        Call::new(&route, &board).run(|try_, _, _| if try_ == 0 { Err(failure(class)) } else { Ok(()) });
    }
    // The call that could not be said was not tried again; the next two were answered in the end, one of them after a
    // refusal that its provider counted; and so it did what did not fit.
    assert_eq!(board.credentials(START)[0].uses_today, 4);
}

#[test]
fn a_limit_of_the_day_is_exact_under_parallel_calls() {
    const THREADS: u64 = 8;
    const LIMITS: [u64; 3] = [1_000, 37, 2_500];
    let terms: Vec<_> = LIMITS.iter().map(|limit| json!({"daily_limit": limit})).collect();
    let route = pool(&terms);
    let board = Board::new();
    let (counts, refused): ([AtomicU64; 3], AtomicU64) = Default::default();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (route, board, counts, refused) = (&route, &board, &counts, &refused);
            scope.spawn(move || {
                let mut rng = rng(seed);
                for _ in 0..1_000 {
                    let plan = plan(route, CHAT, board, START, &mut rng);
                    let mut attempts = Attempts::new(plan, &Defaults::default(), at(60_000));
                    match attempts.next(route, board, START) {
                        Step::Try(choice) => {
                            counts[choice.credential].fetch_add(1, Ordering::Relaxed);
                            attempts.served(route, choice, board, START);
                        }
                        Step::GiveUp(_) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Step::Wait { .. } => panic!("nothing to wait for"),
                    }
                }
            });
        }
    });
    assert_eq!(
        counts.map(AtomicU64::into_inner),
        LIMITS,
        "to the last one, and none beyond"
    );
    assert_eq!(refused.into_inner(), THREADS * 1_000 - LIMITS.iter().sum::<u64>());
}

#[test]
fn nobody_is_refused_while_a_credential_has_uses_left() {
    let route = pool(&[json!({"daily_limit": 3}), json!({})]);
    let board = Board::new();
    let all = served(&route, &board, 0, 50);
    assert!(all.iter().all(Option::is_some));
    assert_eq!(all.iter().filter(|one| **one == Some(0)).count(), 3);
}

// ===== profiles =====

#[test]
fn a_profile_has_its_own_credentials_and_no_others() {
    let route = pool(&[json!({"profile": "Team-A"}), json!({}), json!({"profile": "team-b"})]);
    let board = Board::new();
    let choices = |profile: Option<&str>| {
        let asked = Asked { profile, ..CHAT.into() };
        let plan = plan(&route, asked, &board, START, &mut rng(1));
        assert!(
            plan.excluded
                .iter()
                .all(|excluded| excluded.reason == Exclusion::Profile)
        );
        plan.order.iter().map(|choice| choice.credential).collect::<Vec<_>>()
    };
    assert_eq!(choices(None), [1]);
    assert_eq!(choices(Some("team-a")), [0]);
    assert_eq!(choices(Some("team-b")), [2]);
    assert_eq!(choices(Some("team-c")), [0; 0]);
    // Where no secret is needed, there is nothing to keep apart.
    let open = changed(&route, |credentials| {
        for credential in credentials {
            credential.pool = Pool::Everyone;
        }
    });
    let asked = Asked {
        profile: Some("team-c"),
        ..CHAT.into()
    };
    assert_eq!(plan(&open, asked, &board, START, &mut rng(1)).order.len(), 3);
}

proptest! {
    /// Whatever is wrong with its own, a profile never gets another's, not even as the last resort.
    #[test]
    fn nothing_drives_a_profile_to_anothers(
        troubles in proptest::collection::vec((0_usize..3, 0_u8..6), 0..40),
        profile in proptest::sample::select(vec![None, Some("a"), Some("b")]),
    ) {
        let route = pool(&[json!({"profile": "a"}), json!({}), json!({"profile": "b"})]);
        let board = Board::new();
        for (credential, kind) in troubles {
            let failure = [status(429), after(status(429), 60_000), status(401), status(500), status(402), status(529)][usize::from(kind)].clone();
            fail(&route, &board, (0, credential), &failure, START);
        }
        let asked = Asked { profile, ..CHAT.into() };
        let plan = plan(&route, asked, &board, START, &mut rng(1));
        let own = match profile { None => 1, Some("a") => 0, _ => 2 };
        prop_assert!(plan.order.iter().all(|choice| choice.credential == own));
        prop_assert_eq!(plan.order.len() + plan.excluded.len(), 3);
    }
}

// ===== out of service, and back =====

#[test]
fn refusals_in_a_row_take_a_credential_out_of_service() {
    let route = pool(&[json!({}), json!({})]);
    let board = Board::new();
    for n in 0..u64::from(REFUSALS_MAX) - 1 {
        fail(&route, &board, (0, 0), &status(401), at(n * 1_000));
    }
    // A success clears the count.
    board.succeeded(tried(&route, (0, 0), at(10_000)), at(10_000));
    for n in 0..u64::from(REFUSALS_MAX) - 1 {
        fail(&route, &board, (0, 0), &status(401), at(20_000 + n * 1_000));
        assert!(!reasons(&route, &board, at(20_000)).contains(&Exclusion::Deactivated));
    }
    fail(&route, &board, (0, 0), &status(401), at(30_000));
    assert_eq!(reasons(&route, &board, at(600_000)), [Exclusion::Deactivated]);
    let events = board.events(at(600_000));
    let out: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.change {
            Change::Deactivated { reason } if event.activation == 0 => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(out, ["refused 5 times in a row: 401 as scripted"], "told once");
}

#[test]
fn refusals_at_the_same_time_are_one_and_those_of_a_model_none() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    let tried = tried(&route, (0, 0), START);
    for n in 0..100 {
        board.failed(tried, &status(401), None, at(1 + n), &mut rng(1));
    }
    assert_eq!(board.credentials(START)[0].refusals, 1);
    // 403: the key has no access to this model. Callers who ask for it again and again harm nobody.
    let of_model = Failure {
        scope: Scope::Model,
        ..status(403)
    };
    for n in 0..100 {
        fail(&route, &board, (0, 0), &of_model, at(1_000 + n));
    }
    assert_eq!(board.credentials(START)[0].refusals, 1);
    let other = Route {
        model: "other".to_owned(),
        strategy: route.strategy,
        bounds: route.bounds,
        stamp: domain::snapshot::RouteStamp::default(),
        targets: vec![Target {
            model: "other".into(),
            ..route.targets[0].clone()
        }],
        price: None,
        system_prompt: None,
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
    };
    let later = at(60_000);
    assert_eq!(reasons(&other, &board, later), []);
    assert_eq!(
        reasons(&route, &board, later).len(),
        0,
        "the last resort is tried all the same"
    );
}

#[test]
fn an_operator_puts_it_back_whatever_is_known() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    for n in 0..u64::from(REFUSALS_MAX) {
        fail(&route, &board, (0, 0), &status(401), at(n));
    }
    fail(&route, &board, (0, 0), &status(402), at(10));
    assert_eq!(served(&route, &board, 1_000, 1), [None]);
    // The snapshot follows: out of service there too.
    let out = changed(&route, |credentials| {
        credentials[0].state.deactivated = Some(Deactivation {
            at: START,
            reason: "r".to_owned(),
        });
    });
    adopt(&board, &out, at(1_000));
    assert_eq!(served(&out, &board, 1_000, 1), [None]);
    // Put back, it is as if new.
    let back = changed(&route, |credentials| credentials[0].state.activation = 1);
    adopt(&board, &back, at(2_000));
    assert_eq!(served(&back, &board, 2_000, 1), [Some(0)]);
    let told: Vec<_> = changes(&board, at(3_000))
        .into_iter()
        .filter(|change| !change.starts_with("cooldown"))
        .collect();
    assert_eq!(told, ["deactivated", "out_of_credit", "activated"]);
    // What was found out before does not count against it.
    for n in 0..u64::from(REFUSALS_MAX) - 1 {
        fail(&back, &board, (0, 0), &status(401), at(5_000 + n));
    }
    assert_eq!(served(&back, &board, 6_000, 1), [Some(0)]);
}

#[test]
fn what_the_database_says_counts_from_the_start() {
    let route = pool(&[json!({}), json!({}), json!({})]);
    let route = changed(&route, |credentials| {
        credentials[0].state.deactivated = Some(Deactivation {
            at: START,
            reason: "r".to_owned(),
        });
        credentials[1].state.out_of_credit = Some(START);
        credentials[2].state.activation = 7;
    });
    let board = restored(&route, START.day(), 1);
    assert_eq!(
        reasons(&route, &board, at(1_000)),
        [Exclusion::Deactivated, Exclusion::OutOfCredit { until: at(3_600_000) }]
    );
    assert_eq!(changes(&board, START), [""; 0]);
    // What was out before this process began is back as well when an operator says so.
    let back = changed(&route, |credentials| {
        for credential in credentials.iter_mut().take(2) {
            credential.state = CredentialState {
                activation: 1,
                ..CredentialState::default()
            };
        }
    });
    adopt(&board, &back, at(2_000));
    assert_eq!(reasons(&back, &board, at(2_000)), []);
    assert_eq!(changes(&board, at(2_000)), ["activated"; 2]);
}

// ===== restarts =====

/// What is to be kept, as it comes back to the board of the next process.
fn restarted(route: &Route, board: &Board, now: Timestamp) -> Board {
    let text = serde_json::to_string(&board.take_named(now)).unwrap();
    let next = Board::new();
    next.restore_named(&snapshot(route), serde_json::from_str::<Vec<_>>(&text).unwrap(), now);
    next
}

#[test]
fn what_a_provider_named_outlives_a_restart_and_a_guess_does_not() {
    let route = pool(&[json!({}), json!({}), json!({"pause_at": "90%"}), json!({})]);
    let (board, upstream) = (Board::new(), &route.targets[0].upstream);
    fail(&route, &board, (0, 0), &after(status(429), 600_000), START);
    rest_model(&route, &board, (0, 1), &route.targets[0].model, 300_000);
    let windows = Windows {
        five_hours: Some(Window {
            used_permille: 950,
            resets_at: at(7_200_000),
        }),
        seven_days: None,
    };
    board.tell_windows(upstream, &upstream.credentials[2], windows, START);
    fail(&route, &board, (0, 3), &status(401), START);
    let next = restarted(&route, &board, at(1_000));
    let named = |ms| Exclusion::Cooldown {
        until: at(ms),
        named_by_provider: true,
    };
    let paused = Exclusion::Paused { until: at(7_200_000) };
    assert_eq!(
        reasons(&route, &next, at(1_000)),
        [named(600_000), named(300_000), paused]
    );
    assert_eq!(reasons(&route, &next, at(300_000)), [named(600_000), paused]);
    assert_eq!(reasons(&route, &next, at(600_000)), [paused]);
    assert_eq!(board.take_named(at(2_000)), [], "told once");
    board.tell_windows(upstream, &upstream.credentials[2], windows, at(2_000));
    fail(&route, &board, (0, 0), &after(status(429), 1_000), at(2_000));
    assert_eq!(board.take_named(at(2_000)), [], "and again only if it is news");
}

#[test]
fn what_was_named_before_an_operator_put_a_credential_back_is_void() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &after(status(429), 600_000), START);
    let back = changed(&route, |credentials| credentials[0].state.activation = 1);
    assert_eq!(reasons(&back, &restarted(&back, &board, START), START), []);
}

#[test]
fn a_rest_that_was_named_is_no_longer_than_the_maximum_of_now() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    let id = route.targets[0].upstream.credentials[0].id;
    let rests = domain::NamedRests {
        until: at(10_000_000),
        ..Default::default()
    };
    board.restore_named(&snapshot(&route), [(id, 0, rests)], START);
    let until = at(3_600_000);
    let named_by_provider = true;
    assert_eq!(
        reasons(&route, &board, START),
        [Exclusion::Cooldown {
            until,
            named_by_provider
        }]
    );
}

// ===== credit =====

#[test]
fn one_call_looks_whether_there_is_money_again() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &status(402), START);
    assert_eq!(served(&route, &board, 3_599_000, 1), [None]);
    // After an hour one may look; while it does, nobody else.
    let upstream = &route.targets[0].upstream;
    let looking = at(3_600_000);
    assert_eq!(reasons(&route, &board, looking), []);
    let open = board.begin(upstream, &upstream.credentials[0], looking);
    assert_eq!(reasons(&route, &board, at(3_601_000)).len(), 1);
    fail(&route, &board, (0, 0), &status(402), at(3_602_000));
    drop(open);
    assert_eq!(served(&route, &board, 3_700_000, 1), [None], "still none");
    assert_eq!(served(&route, &board, 7_300_000, 2), [Some(0), Some(0)], "there is");
    assert_eq!(
        changes(&board, at(8_000_000)),
        ["out_of_credit", "credit_back"],
        "told once each"
    );
}

// ===== what answers say =====

#[test]
fn an_account_is_spared_from_the_share_on_that_its_operator_says() {
    let route = pool(&[json!({"pause_at": "80%"}), json!({})]);
    let board = Board::new();
    let (upstream, now) = (&route.targets[0].upstream, START);
    let tell = |used_permille, ms| {
        let five_hours = Some(Window {
            used_permille,
            resets_at: at(ms),
        });
        let windows = Windows {
            five_hours,
            seven_days: None,
        };
        board.tell_windows(upstream, &upstream.credentials[0], windows, now);
    };
    tell(799, 9_000);
    assert_eq!(reasons(&route, &board, now), []);
    tell(800, 9_000);
    tell(810, 9_000);
    assert_eq!(reasons(&route, &board, now), [Exclusion::Paused { until: at(9_000) }]);
    assert_eq!(reasons(&route, &board, at(9_000)), []);
    assert_eq!(changes(&board, now), ["paused"]);
    assert_eq!(
        board.credentials(now)[0]
            .windows
            .five_hours
            .map(|window| window.used_permille),
        Some(810)
    );
}

#[test]
fn a_window_that_is_used_up_makes_another_better_and_turns_nobody_away() {
    let route = pool(&[json!({}), json!({})]);
    let board = Board::new();
    let target = &route.targets[0];
    let spare = |place: usize, secs| {
        board.spare(
            target,
            &target.upstream.credentials[place],
            Duration::from_secs(secs),
            START,
        );
    };
    spare(0, 30);
    assert_eq!(served(&route, &board, 1_000, 3), [Some(1); 3]);
    spare(1, 50_000);
    let plan = plan(&route, CHAT, &board, at(5_000), &mut rng(1));
    assert!(plan.last_resort, "a guess is broken");
    assert_eq!(plan.order[0].credential, 0, "the one that is whole again first");
    assert_eq!(reasons(&route, &board, at(60_000)), [], "no such guess holds longer");
    // Nor when it was set aside for another that then fails.
    let board = Board::new();
    board.spare(target, &target.upstream.credentials[0], Duration::from_secs(30), START);
    let log = Call::new(&route, &board)
        .at(at(1_000))
        .run(|_, _, credential| match credential {
            0 => Ok(()),
            _ => Err(after(status(429), 60_000)),
        });
    assert_eq!((log.status(), log.tries.len()), (200, 2), "{log:?}");
    // One that fails as well is tried once, and the client learns when the first may be asked again.
    let board = Board::new();
    board.spare(target, &target.upstream.credentials[0], Duration::from_secs(30), START);
    let log = Call::new(&route, &board)
        .at(at(1_000))
        .run(|_, _, _| Err(after(status(429), 60_000)));
    assert_eq!((log.status(), log.tries.len()), (429, 2), "{log:?}");
}

#[test]
fn an_upstream_that_names_its_recovery_is_spared_until_then() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &after(status(503), 20_000), START);
    let until = at(20_000);
    assert_eq!(
        reasons(&route, &board, at(19_000)),
        [Exclusion::UpstreamCooldown { until }; 2]
    );
    assert_eq!(reasons(&route, &board, until), []);
    // Well before it said so: it was asked as the last resort, and answered.
    board.succeeded(tried(&route, (0, 0), at(5_000)), at(5_100));
    assert_eq!(reasons(&route, &board, at(5_100)), []);
}

#[test]
fn a_change_of_state_is_told_once() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    for n in 0..50 {
        fail(&route, &board, (0, 0), &after(status(429), 10_000), at(n));
        rest_model(&route, &board, (0, 0), "m", 5_000 + n);
    }
    assert_eq!(changes(&board, at(100)), ["cooldown_began"; 2]);
    assert_eq!(changes(&board, at(1_000)), [""; 0]);
    assert_eq!(changes(&board, at(6_000)), ["cooldown_ended"], "the model's");
    assert_eq!(changes(&board, at(60_000)), ["cooldown_ended"]);
    assert_eq!(changes(&board, at(90_000)), [""; 0]);
}

#[test]
fn what_nobody_collects_does_not_pile_up() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    for n in 0..10_000 {
        fail(&route, &board, (0, 0), &after(status(429), 1), at(n * 1_000));
        rest_model(&route, &board, (0, 0), &format!("m{n}"), 1);
    }
    // As many as are kept, and the ends of as many rests.
    assert!(board.events(at(20_000_000)).len() <= 2 * 4_096 + 1);
}

// ===== probes =====

/// A probe of the pool's first credential.
fn probe(board: &Board, route: &Route, outcome: Result<Probe, &Failure>, at: Timestamp) {
    let upstream = &route.targets[0].upstream;
    board.probed(upstream, &upstream.credentials[0], outcome, at, at, &mut rng(1));
}

#[test]
fn only_a_probe_that_is_a_whole_call_shows_that_there_is_money() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    fail(&route, &board, (0, 0), &status(402), START);
    probe(&board, &route, Ok(Probe::Models), at(10));
    assert!(matches!(board.credentials(at(10))[0].rest, Some(Rest::OutOfCredit(_))));
    probe(&board, &route, Ok(Probe::Call), at(20));
    assert_eq!(board.credentials(at(20))[0].rest, None);
    assert_eq!(
        changes(&board, at(20)),
        ["out_of_credit", "credit_back"],
        "so the database is told too"
    );
}

#[test]
fn a_probe_is_no_callers_use_and_its_refusals_count() {
    let route = pool(&[json!({"daily_limit": 2})]);
    let board = Board::new();
    let upstream = &route.targets[0].upstream;
    assert!(board.take(upstream, &upstream.credentials[0], START));
    probe(&board, &route, Err(&failure(FailureClass::Connect)), at(10));
    assert_eq!(board.credentials(at(10))[0].uses_today, 1, "it gives nothing back");
    let of_a_model = Failure {
        scope: Scope::Model,
        ..status(403)
    };
    probe(&board, &route, Err(&of_a_model), at(20));
    assert_eq!(board.credentials(at(20))[0].rest, None, "nobody knows which model");
    for n in 0..u64::from(REFUSALS_MAX) {
        probe(&board, &route, Err(&status(401)), at(30 + n));
    }
    assert_eq!(board.credentials(at(60))[0].refusals, REFUSALS_MAX);
    assert_eq!(reasons(&route, &board, at(60)), [Exclusion::Deactivated]);
}

#[test]
fn a_list_of_models_lets_one_call_try_and_a_whole_call_closes_the_breaker() {
    let route = pool(&[json!({})]);
    let board = Board::new();
    for _ in 0..5 {
        fail(&route, &board, (0, 0), &status(503), START);
    }
    let breaker = |now| board.upstreams(now)[0].breaker;
    probe(&board, &route, Ok(Probe::Models), at(1_000));
    assert_eq!(breaker(at(1_000)), BreakerState::HalfOpen { probing: false });
    probe(&board, &route, Ok(Probe::Call), at(2_000));
    assert_eq!(breaker(at(2_000)), BreakerState::Closed);
    for _ in 0..5 {
        probe(&board, &route, Ok(Probe::Models), at(3_000));
        fail(&route, &board, (0, 0), &status(503), at(3_000));
    }
    assert_ne!(breaker(at(3_000)), BreakerState::Closed, "lists are no calls");
}
