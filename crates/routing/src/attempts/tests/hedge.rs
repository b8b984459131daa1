//! A second try beside the first: who is chosen, what bounds it, and what is left when both are over.

use domain::snapshot::Route;

use super::*;
use crate::breaker::BreakerState;
use crate::testing::{fail, snapshot_of};
use crate::{Board, plan};

fn percent(share: u8) -> domain::declaration::Percent {
    share.to_string().parse().unwrap()
}

/// The upstream (from 1) and the credential (from 0) of a choice.
fn place(route: &Route, choice: Choice) -> (i64, usize) {
    (route.targets[choice.target].upstream.id.0, choice.credential)
}

/// A call whose first try runs, of a model all of whose calls may be hedged.
fn running(route: &Route, board: &Board) -> (Attempts, Choice) {
    board.may_be_hedged(route, percent(100));
    let plan = plan(route, CHAT, board, START, &mut rng(1));
    let mut attempts = Attempts::new(plan, &Defaults::default(), at(60_000));
    let Step::Try(choice) = attempts.next(route, board, START) else {
        panic!("there is somebody to try")
    };
    (attempts, choice)
}

/// Whom a call that takes long is sent to as well.
fn hedge(route: &Route, board: &Board) -> Result<(i64, usize), Unhedged> {
    let (mut attempts, _) = running(route, board);
    let choice = attempts.hedge(route, board, at(500))?;
    assert_eq!(attempts.tries(), 2);
    Ok(place(route, choice))
}

#[test]
fn another_upstream_is_asked_before_another_credential() {
    let both = route(Strategy::RoundRobin, &[json!({"keys": 2}), json!({"priority": 1})]);
    assert_eq!(hedge(&both, &Board::new()), Ok((2, 0)));
    let one = route(Strategy::RoundRobin, &[json!({"keys": 2})]);
    assert_eq!(hedge(&one, &Board::new()), Ok((1, 1)));
    assert_eq!(hedge(&alone(), &Board::new()), Err(Unhedged::NoCandidate));
}

#[test]
fn the_same_credential_is_not_asked_under_another_name() {
    let targets = json!([{"upstream": "u1", "model": "a"}, {"upstream": "u1", "model": "b"}]);
    let twice = snapshot_of(&[json!({})], &[json!({"name": "m", "targets": targets})]);
    let route = twice.route("m").unwrap();
    assert_eq!(route.targets.len(), 2);
    assert_eq!(hedge(&route, &Board::new()), Err(Unhedged::NoCandidate));
}

#[test]
fn a_fallback_is_not_asked_because_the_model_is_slow() {
    let models = [
        json!({"name": "m", "targets": [{"upstream": "u1"}], "fallbacks": ["other"]}),
        json!({"name": "other", "targets": [{"upstream": "u2"}]}),
    ];
    let route = snapshot_of(&[json!({}), json!({})], &models).route("m").unwrap();
    assert_eq!(route.targets.len(), 2);
    assert_eq!(hedge(&route, &Board::new()), Err(Unhedged::NoCandidate));
}

#[test]
fn nobody_is_asked_against_whom_something_speaks() {
    let route = with_fallback();
    let against = |change: &dyn Fn(&Board)| {
        let board = Board::new();
        let (mut attempts, _) = running(&route, &board);
        change(&board);
        assert_eq!(attempts.hedge(&route, &board, at(500)), Err(Unhedged::NoCandidate));
    };
    against(&|board| fail(&route, board, (1, 0), &after(status(429), 5_000), at(100)));
    against(&|board| board.force(domain::UpstreamId(2), Some(Forced::Open)));
    // What is half-open is for somebody to find out who has nothing else.
    let board = Board::new();
    let minutes_ago = START.0 - 60_000_000;
    for _ in 0..20 {
        fail(&route, &board, (1, 0), &status(500), Timestamp(minutes_ago));
    }
    let (mut attempts, _) = running(&route, &board);
    assert_eq!(attempts.hedge(&route, &board, at(500)), Err(Unhedged::NoCandidate));
    let of_second = board.upstreams(at(500)).into_iter().find(|one| one.upstream.0 == 2);
    assert_eq!(
        of_second.map(|one| one.breaker),
        Some(BreakerState::HalfOpen { probing: false }),
        "it may be probed by others"
    );
}

#[test]
fn a_day_that_is_used_up_is_not_exceeded() {
    let terms = json!([{}, {"daily_limit": 1}]);
    let route = route(Strategy::RoundRobin, &[json!({"keys": 2, "key_terms": terms})]);
    let board = Board::new();
    assert_eq!(hedge(&route, &board), Ok((1, 1)), "it is its one use");
    assert_eq!(hedge(&route, &board), Err(Unhedged::NoCandidate));
}

#[test]
fn there_is_one_hedge_per_call_and_only_beside_a_try() {
    let route = route(Strategy::RoundRobin, &[json!({}), json!({}), json!({})]);
    let board = Board::new();
    let (mut attempts, _) = running(&route, &board);
    assert!(attempts.hedge(&route, &board, at(500)).is_ok());
    board.may_be_hedged(&route, percent(100));
    assert_eq!(attempts.hedge(&route, &board, at(600)), Err(Unhedged::NoCandidate));
    let plan = plan(&route, CHAT, &board, START, &mut rng(1));
    let mut unbegun = Attempts::new(plan, &Defaults::default(), at(60_000));
    assert_eq!(unbegun.hedge(&route, &board, at(500)), Err(Unhedged::NoCandidate));
}

#[test]
fn it_counts_among_the_tries() {
    let (route, board) = (with_fallback(), Board::new());
    board.may_be_hedged(&route, percent(100));
    let plan = plan(&route, CHAT, &board, START, &mut rng(1));
    let defaults = Defaults {
        attempts_max: 1,
        ..Defaults::default()
    };
    let mut attempts = Attempts::new(plan, &defaults, at(60_000));
    attempts.next(&route, &board, START);
    assert_eq!(attempts.hedge(&route, &board, at(500)), Err(Unhedged::NoCandidate));
    let (mut late, _) = running(&route, &board);
    assert_eq!(late.hedge(&route, &board, at(60_000)), Err(Unhedged::NoCandidate));
}

#[test]
fn no_more_than_the_budget_are_sent_twice() {
    let (route, board) = (with_fallback(), Board::new());
    let hedged = (0..100).filter(|_| {
        board.may_be_hedged(&route, percent(5));
        let plan = plan(&route, CHAT, &board, START, &mut rng(1));
        let mut attempts = Attempts::new(plan, &Defaults::default(), at(60_000));
        attempts.next(&route, &board, START);
        match attempts.hedge(&route, &board, at(500)) {
            Err(why) => {
                assert_eq!((why, attempts.tries()), (Unhedged::OverBudget, 1));
                false
            }
            Ok(_) => true,
        }
    });
    assert_eq!(hedged.count(), 5);
    let another = alone();
    assert!(!board.take_hedge(&Route {
        model: "another".to_owned(),
        ..Arc::into_inner(another).unwrap()
    }));
}

#[test]
fn if_one_fails_the_other_goes_on() {
    let (route, board) = (with_fallback(), Board::new());
    for which in [Beside::First, Beside::Hedge] {
        let (mut attempts, first) = running(&route, &board);
        let second = attempts.hedge(&route, &board, at(500)).unwrap();
        attempts.failed_beside(&route, which, &status(500), &board, at(700), &mut rng(2));
        let left = if which == Beside::First { second } else { first };
        assert_eq!(attempts.next(&route, &board, at(700)), Step::Try(left), "{which:?}");
        let doubted = if which == Beside::First { 1 } else { 2 };
        assert!(board.is_doubted(domain::UpstreamId(doubted)));
        attempts.served(&route, left, &board, at(900));
        assert!(
            board.is_doubted(domain::UpstreamId(doubted)),
            "the answer was the other's"
        );
    }
}

#[test]
fn if_both_fail_the_call_goes_on_as_ever() {
    let third = json!({"priority": 1});
    let (route, board) = (
        route(Strategy::RoundRobin, &[json!({}), json!({}), third]),
        Board::new(),
    );
    let (mut attempts, _) = running(&route, &board);
    let second = attempts.hedge(&route, &board, at(500)).unwrap();
    let limited = after(status(429), 2_000);
    attempts.failed_beside(&route, Beside::First, &limited, &board, at(600), &mut rng(2));
    attempts.failed(&route, second, &status(401), &board, at(700), &mut rng(2));
    let Step::Try(choice) = attempts.next(&route, &board, at(700)) else {
        panic!()
    };
    assert_eq!(place(&route, choice), (3, 0));
    attempts.failed(&route, choice, &status(401), &board, at(800), &mut rng(2));
    // The one that was limited is waited for as long as it said.
    assert_eq!(attempts.next(&route, &board, at(800)), Step::Wait { until: at(2_600) });
}

#[test]
fn the_one_that_failed_beside_is_asked_again_after_a_delay() {
    let (route, board) = (with_fallback(), Board::new());
    let (mut attempts, first) = running(&route, &board);
    let second = attempts.hedge(&route, &board, at(500)).unwrap();
    attempts.failed_beside(&route, Beside::First, &status(500), &board, at(600), &mut rng(2));
    attempts.failed(&route, second, &status(401), &board, at(600), &mut rng(2));
    let Step::Wait { until } = attempts.next(&route, &board, at(600)) else {
        panic!("it is given time")
    };
    assert!(until >= at(1_000), "{until:?}");
    assert_eq!(attempts.next(&route, &board, until), Step::Try(first));
}

#[test]
fn a_silent_one_is_not_asked_again() {
    let (route, board) = (with_fallback(), Board::new());
    let (mut attempts, _) = running(&route, &board);
    let second = attempts.hedge(&route, &board, at(500)).unwrap();
    let silence = failure(FailureClass::Silence);
    attempts.failed_beside(&route, Beside::First, &silence, &board, at(600), &mut rng(2));
    attempts.failed(&route, second, &silence, &board, at(700), &mut rng(2));
    assert!(matches!(attempts.next(&route, &board, at(700)), Step::GiveUp(_)));
}

#[test]
fn a_probe_that_is_given_up_lets_another_probe() {
    let route = route(Strategy::RoundRobin, &[json!({}), json!({})]);
    let board = Board::new();
    for _ in 0..20 {
        fail(&route, &board, (0, 0), &status(500), Timestamp(START.0 - 60_000_000));
    }
    let state = |now| board.upstreams(now)[0].breaker;
    let (mut attempts, first) = running(&route, &board);
    assert_eq!(place(&route, first).0, 1, "it probes");
    assert_eq!(state(at(100)), BreakerState::HalfOpen { probing: true });
    attempts.hedge(&route, &board, at(500)).unwrap();
    attempts.given_up(&route, Beside::First, &board, at(600));
    assert_eq!(state(at(600)), BreakerState::HalfOpen { probing: false });
}

#[test]
fn a_slow_one_that_is_given_up_is_known_to_be_slow() {
    let (route, board) = (route(Strategy::LowestLatency, &[json!({}), json!({})]), Board::new());
    let (mut attempts, slow) = running(&route, &board);
    let fast = attempts.hedge(&route, &board, at(2_000)).unwrap();
    attempts.given_up(&route, Beside::First, &board, at(2_050));
    attempts.served(&route, fast, &board, at(2_050));
    for seed in 0..20 {
        let next = crate::testing::preview(&route, &board, at(2_100), &mut rng(seed)).order[0];
        assert_ne!(next.target, slow.target, "seed {seed}");
    }
}

#[derive(Clone, Debug)]
enum Course {
    Alone(Option<Failure>),
    GivenUp(Beside),
    RefusedBeside(Option<Failure>),
    FailedBeside(Beside, Failure, Option<Failure>),
    /// The client goes away.
    Left,
}

fn any_course() -> impl proptest::strategy::Strategy<Value = Course> {
    let end = || proptest::option::of(any_failure());
    let which = || proptest::sample::select(vec![Beside::First, Beside::Hedge]);
    prop_oneof![
        end().prop_map(Course::Alone),
        which().prop_map(Course::GivenUp),
        end().prop_map(Course::RefusedBeside),
        (which(), any_failure(), end()).prop_map(|(which, failure, end)| Course::FailedBeside(which, failure, end)),
        Just(Course::Left),
    ]
}

/// Calls open at an upstream or with a credential.
fn open_calls(board: &Board, now: Timestamp) -> u32 {
    let upstreams = board.upstreams(now).into_iter().map(|status| status.open_calls);
    let credentials = board.credentials(now).into_iter().map(|status| status.open_calls);
    upstreams.chain(credentials).sum()
}

proptest! {
    #[test]
    fn whatever_becomes_of_both_nothing_stays_open(
        upstreams in any_upstreams(),
        courses in proptest::collection::vec(any_course(), 1..30),
    ) {
        let (route, board) = (route(Strategy::RoundRobin, &upstreams), Board::new());
        let rng = &mut rng(3);
        let (mut now, mut begun, mut unsent) = (START, 0_u64, 0_u64);
        let mut count_unsent = |failure: &Failure| unsent += u64::from(failure.class == FailureClass::Connect);
        for course in courses {
            board.may_be_hedged(&route, percent(100));
            let plan = plan(&route, CHAT, &board, now, rng);
            let mut attempts = Attempts::new(plan, &Defaults::default(), now + Duration::from_mins(1));
            let begin = |choice: Choice, now| {
                let upstream = &route.targets[choice.target].upstream;
                board.begin(upstream, &upstream.credentials[choice.credential], now)
            };
            if let Step::Try(first) = attempts.next(&route, &board, now) {
                let first_open = begin(first, now);
                begun += 1;
                now = now + Duration::from_millis(500);
                let second = match course {
                    Course::Alone(_) => None,
                    _ => attempts.hedge(&route, &board, now).ok(),
                };
                let second_open = second.map(|choice| begin(choice, now));
                begun += u64::from(second.is_some());
                prop_assert_eq!(attempts.tries(), 1 + u32::from(second.is_some()));
                if let Some(second) = second {
                    prop_assert_ne!(place(&route, first), place(&route, second));
                }
                now = now + Duration::from_millis(500);
                let end = match course {
                    Course::Alone(end) => Some(end),
                    Course::GivenUp(which) => {
                        attempts.given_up(&route, which, &board, now);
                        Some(None)
                    }
                    Course::RefusedBeside(None) => {
                        attempts.served_beside(&route, &board, now);
                        Some(None)
                    }
                    Course::RefusedBeside(Some(failure)) => {
                        if second.is_some() {
                            count_unsent(&failure);
                            attempts.failed_beside(&route, Beside::First, &failure, &board, now, rng);
                        }
                        Some(None)
                    }
                    Course::FailedBeside(which, failure, end) => {
                        if second.is_some() {
                            count_unsent(&failure);
                            attempts.failed_beside(&route, which, &failure, &board, now, rng);
                        }
                        Some(end)
                    }
                    Course::Left => None,
                };
                // What runs is what the machine says.
                let Step::Try(left) = attempts.next(&route, &board, now) else { panic!("one is left") };
                match end {
                    Some(None) => attempts.served(&route, left, &board, now),
                    Some(Some(failure)) => {
                        count_unsent(&failure);
                        attempts.failed(&route, left, &failure, &board, now, rng);
                    }
                    None => {}
                }
                drop((first_open, second_open));
            }
            drop(attempts);
            prop_assert_eq!(open_calls(&board, now), 0);
            let probing = BreakerState::HalfOpen { probing: true };
            prop_assert!(board.upstreams(now).iter().all(|status| status.breaker != probing));
            now = now + Duration::from_secs(40);
        }
        let used: u64 = board.credentials(now).iter().map(|status| status.uses_today).sum();
        prop_assert_eq!(used, begun - unsent, "each that was sent is one use");
    }
}
