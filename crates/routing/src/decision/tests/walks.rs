//! What a call did after its failures is done again from its record; and with another configuration what that would do.

use std::time::Duration;

use domain::declaration::{Defaults, RefusalCause};
use domain::{Failure, FailureClass, Scope};

use super::*;
use crate::testing::Call;
use crate::{Attempts, Step};

/// How a try ends: served, refused, or failed in one of these ways.
type End = (u8, u64, bool);

fn failure_of((kind, wait_ms, of_model): End) -> Failure {
    let class = [
        FailureClass::RateLimited,
        FailureClass::Server,
        FailureClass::Overloaded,
        FailureClass::Reset,
        FailureClass::Connect,
        FailureClass::Silence,
        FailureClass::Nonsense,
        FailureClass::Auth,
        FailureClass::OutOfCredit,
        FailureClass::CreditShort,
        FailureClass::Untranslatable,
        FailureClass::Unfit,
    ][usize::from(kind) % 12];
    Failure {
        status: matches!(class, FailureClass::RateLimited | FailureClass::Server).then_some(429 + u16::from(kind)),
        scope: if of_model { Scope::Model } else { Scope::Credential },
        retry_after: (wait_ms > 0).then(|| Duration::from_millis(wait_ms)),
        ..failure(class)
    }
}

/// Makes a call whose tries end so (and the last of these ends all that follow); its record, and how often it was tried.
fn happened(case: &Case, route: &Route, ends: &[End], defaults: &Defaults) -> (Decision, usize) {
    let board = Board::new();
    let asked = asked(case);
    let open = happen(route, &board, &case.before, asked);
    let (plan, trace) = decide(route, asked, None, &board, (NOW, case.seed), Recording::On);
    let mut trace = trace.unwrap();
    let mut attempts = Attempts::new(plan, defaults, NOW + Duration::from_mins(2));
    let (mut now, mut tries) = (NOW, 0);
    loop {
        match attempts.next(route, &board, now) {
            // A timer comes a little late.
            Step::Wait { until } => now = until + Duration::from_micros(317),
            Step::GiveUp(_) => break,
            Step::Try(choice) => {
                let end = ends[tries.min(ends.len() - 1)];
                tries += 1;
                let upstream = &route.targets[choice.target].upstream;
                let in_flight = board.begin(upstream, &upstream.credentials[choice.credential], now);
                now = now + Duration::from_micros(7_000 + end.1);
                drop(in_flight);
                if end.0 >= 14 {
                    attempts.served(route, choice, &board, now);
                    let refuses = end.0 == 14 && attempts.refused(route, choice, RefusalCause::ContentPolicy);
                    if !refuses {
                        break;
                    }
                } else {
                    let dice = &mut attempts.dice();
                    attempts.failed(route, choice, &failure_of(end), &board, now, dice);
                }
                now = now + Duration::from_micros(41);
            }
        }
    }
    drop(open);
    if let Some(walk) = attempts.walk(route) {
        trace.walked(walk);
    }
    (trace.kept(route), tries)
}

fn ends() -> impl proptest::strategy::Strategy<Value = Vec<End>> {
    let waits = proptest::sample::select(vec![0_u64, 0, 0, 300, 5_000, 60_000]);
    proptest::collection::vec((0_u8..16, waits, any::<bool>()), 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn a_record_leads_to_the_same_walk(case in case(), ends in ends(), retries in 0_u32..4, falls_back: bool) {
        let defaults = Defaults { retries, ..Defaults::default() };
        let mut route = Arc::into_inner(build(&case.setup)).unwrap();
        if falls_back {
            route.fallback_on.push(RefusalCause::ContentPolicy);
        }
        let (decision, tries) = happened(&case, &route, &ends, &defaults);
        let kept = read(&serde_json::to_string(&decision).unwrap()).unwrap();
        prop_assert_eq!(&kept.walk, &decision.walk);
        let Some(steps) = kept.walk_again().unwrap() else {
            prop_assert!(tries == 1);
            return Ok(());
        };
        prop_assert!(steps.iter().all(|step| step.recorded.is_none()), "{:#?}", steps);
        let gave_up = usize::from(kept.walk.as_ref().unwrap().gave_up.is_some());
        prop_assert_eq!(steps.len(), tries + gave_up, "{:#?}", steps);
        // The same configuration does what was done.
        prop_assert_eq!(kept.walk_with(&route, &defaults).unwrap(), Some(steps));
    }
}

/// An ordinary call after these things.
fn plain(before: Before) -> Case {
    Case {
        setup: Setup {
            strategy: Strategy::RoundRobin,
            fallback_strategy: Strategy::RoundRobin,
            upstreams: Vec::new(),
            own: Vec::new(),
            prices: Vec::new(),
        },
        before,
        seed: 1,
        profile: None,
        affinity: None,
        needs_image: false,
        tokens: 0,
        pinned: None,
    }
}

#[test]
fn what_failed_before_the_call_counts_in_its_walk() {
    let route = testing::route(Strategy::RoundRobin, &[json!({}), json!({"priority": 1})]);
    let defaults = Defaults {
        retries: 1,
        ..Defaults::default()
    };
    // The first failure of the call is the fifth there, which opens the breaker: so it is not tried again.
    let case = plain(vec![(0, 0, 0, 90_000); 4]);
    let (decision, tries) = happened(&case, &route, &[(1, 0, false), (15, 0, false)], &defaults);
    let steps = decision.walk_again().unwrap().unwrap();
    let next: Vec<Next> = steps.iter().map(|step| step.next).collect();
    assert_eq!((tries, next), (2, vec![Next::First, Next::Other]));
    assert!(steps.iter().all(|step| step.recorded.is_none()), "{steps:#?}");
}

#[test]
fn another_configuration_walks_elsewhere_with_the_ends_that_are_known() {
    let three = |priorities: [i32; 3]| {
        testing::route(
            Strategy::RoundRobin,
            &priorities.map(|priority| json!({"priority": priority})),
        )
    };
    let then = three([0, 1, 2]);
    let case = &plain(Vec::new());
    let defaults = Defaults {
        retries: 0,
        ..Defaults::default()
    };
    // u1 cannot be reached, u2 answers.
    let (decision, tries) = happened(case, &then, &[(4, 0, false), (15, 0, false)], &defaults);
    assert_eq!(tries, 2);
    let words = |route: &Route| -> Vec<(Next, String, Option<String>, bool)> {
        let steps = decision.walk_with(route, &defaults).unwrap().unwrap();
        let told = |step: Again| {
            let at = step.at.map_or_else(String::new, |at| at.upstream);
            (step.next, at, step.came, step.recorded.is_none())
        };
        steps.into_iter().map(told).collect()
    };
    let step =
        |next, at: &str, came: &str, same| (next, at.to_owned(), (!came.is_empty()).then(|| came.to_owned()), same);
    assert_eq!(
        words(&then),
        [
            step(Next::First, "u1", "connect", true),
            step(Next::Other, "u2", "answered", true)
        ]
    );
    assert_eq!(words(&three([1, 0, 2])), [step(Next::First, "u2", "answered", false)]);
    assert_eq!(
        words(&three([0, 2, 1])),
        [
            step(Next::First, "u1", "connect", true),
            step(Next::Other, "u3", "", false)
        ],
        "nobody knows how that would have ended"
    );
    let alone = testing::route(Strategy::RoundRobin, &[json!({})]);
    assert_eq!(
        words(&alone),
        [
            step(Next::First, "u1", "connect", true),
            step(Next::GiveUp, "", "503", false)
        ]
    );
}

#[test]
fn a_call_that_went_straight_to_its_answer_has_no_walk() {
    let route = two(Strategy::RoundRobin, [1, 1]);
    let board = Board::new();
    assert!(Call::new(&route, &board).run(|_, _, _| Ok(())).end.is_ok());
    let decision = record(&route, &board, 1);
    assert_eq!((&decision.walk, decision.walk_again().unwrap()), (&None, None));
}
