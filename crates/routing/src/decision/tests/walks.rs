//! What a call did after its failures is done again from its record; and with another configuration what that would do.

use std::time::Duration;

use domain::declaration::{Defaults, RefusalCause};
use domain::{Failure, FailureClass, Scope};

use super::*;
use crate::testing::Call;
use crate::{Attempts, Beside, Step};

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

/// A hedged call: when the second try is begun, which of the two ends first, and how.
#[derive(Clone, Copy, Debug)]
struct Hedged {
    after_ms: u64,
    hedge_first: bool,
    /// The other is given up where this is an answer.
    earlier: End,
    later: End,
}

/// A stream that breaks off: of which of its tries, how, and which targets may go on with it.
#[derive(Clone, Copy, Debug)]
struct Broken {
    how: End,
    takers: u8,
}

fn hedged() -> impl proptest::strategy::Strategy<Value = Hedged> {
    let end = || {
        (
            0_u8..16,
            proptest::sample::select(vec![0_u64, 300, 5_000]),
            any::<bool>(),
        )
    };
    (1_u64..900, any::<bool>(), end(), end()).prop_map(|(after_ms, hedge_first, earlier, later)| Hedged {
        after_ms,
        hedge_first,
        earlier,
        later,
    })
}

fn broken() -> impl proptest::strategy::Strategy<Value = Vec<Broken>> {
    let how = (1_u8..7, proptest::sample::select(vec![0_u64, 300]), Just(false));
    let one = (how, any::<u8>()).prop_map(|(how, takers)| Broken { how, takers });
    proptest::collection::vec(one, 1..4)
}

/// The same as [`happened`], of a call that is hedged, or a stream whose answers break off one after another.
fn happened_so(
    case: &Case,
    route: &Route,
    ends: &[End],
    hedged: Option<Hedged>,
    mut broken: &[Broken],
    defaults: &Defaults,
) -> (Decision, Vec<Choice>) {
    let board = Board::new();
    let asked = asked(case);
    let open = happen(route, &board, &case.before, asked);
    let (plan, trace) = decide(route, asked, None, &board, (NOW, case.seed), Recording::On);
    let mut trace = trace.unwrap();
    let mut attempts = Attempts::new(plan, defaults, NOW + Duration::from_mins(2));
    let (mut now, mut tried) = (NOW, Vec::new());
    let begin = |choice: Choice, now| {
        let upstream = &route.targets[choice.target].upstream;
        board.begin(upstream, &upstream.credentials[choice.credential], now)
    };
    loop {
        let choice = match attempts.next(route, &board, now) {
            Step::Wait { until } => {
                now = until + Duration::from_micros(317);
                continue;
            }
            Step::GiveUp(_) => break,
            Step::Try(choice) => choice,
        };
        let mut end = ends[tried.len().min(ends.len() - 1)];
        tried.push(choice);
        let in_flight = begin(choice, now);
        let mut running = choice;
        if let Some(hedged) = hedged.filter(|_| tried.len() == 1) {
            now = now + Duration::from_millis(hedged.after_ms);
            board.may_be_hedged(route, "100%".parse().unwrap());
            if let Ok(second) = attempts.hedge(route, &board, now) {
                let beside = begin(second, now);
                tried.push(second);
                now = now + Duration::from_millis(3);
                let (earlier, other) = if hedged.hedge_first {
                    (Beside::Hedge, Beside::First)
                } else {
                    (Beside::First, Beside::Hedge)
                };
                end = hedged.later;
                if hedged.earlier.0 == 14 && hedged.hedge_first {
                    // A refusal, and the first may do better.
                    attempts.served_beside(route, &board, now);
                } else if hedged.earlier.0 >= 14 {
                    attempts.given_up(route, other, &board, now);
                    end = (15, 0, false);
                } else {
                    let dice = &mut attempts.dice();
                    attempts.failed_beside(route, earlier, &failure_of(hedged.earlier), &board, now, dice);
                }
                let other_goes_on = hedged.earlier.0 < 14 || (hedged.earlier.0 == 14 && hedged.hedge_first);
                // Who goes on, or was answered.
                let left = if other_goes_on { other } else { earlier };
                running = if left == Beside::First { choice } else { second };
                drop(beside);
            }
        }
        now = now + Duration::from_micros(7_000 + end.1);
        drop(in_flight);
        if end.0 < 14 {
            let dice = &mut attempts.dice();
            attempts.failed(route, running, &failure_of(end), &board, now, dice);
            now = now + Duration::from_micros(41);
            continue;
        }
        attempts.served(route, running, &board, now);
        let Some((broke, rest)) = broken.split_first() else {
            break;
        };
        broken = rest;
        now = now + Duration::from_millis(1_500);
        let places: Vec<&str> = route.targets.iter().map(|target| &*target.model).collect();
        let takes = |target: &domain::snapshot::Target| {
            broke.takers & (1 << (target.upstream.id.0 % 8)) != 0 && places.contains(&&*target.model)
        };
        let dice = &mut attempts.dice();
        attempts.broke_off(route, running, &failure_of(broke.how), takes, &board, now, dice);
        now = now + Duration::from_micros(41);
    }
    drop(open);
    if let Some(walk) = attempts.walk(route) {
        trace.walked(walk);
    }
    (trace.kept(route), tried)
}

/// The record of a call leads to the same steps, in the order in which its tries were begun.
fn leads_to_the_same(
    route: &Route,
    defaults: &Defaults,
    (decision, tried): &(Decision, Vec<Choice>),
) -> Result<(), TestCaseError> {
    let kept = read(&serde_json::to_string(decision).unwrap()).unwrap();
    let Some(steps) = kept.walk_again().unwrap() else {
        prop_assert!(tried.len() == 1);
        return Ok(());
    };
    prop_assert!(steps.iter().all(|step| step.recorded.is_none()), "{:#?}", steps);
    let upstreams: Vec<&str> = steps
        .iter()
        .filter_map(|step| Some(&*step.at.as_ref()?.upstream))
        .collect();
    let expected: Vec<&str> = tried
        .iter()
        .map(|choice| &*route.targets[choice.target].upstream.name)
        .collect();
    prop_assert_eq!(upstreams, expected);
    prop_assert_eq!(kept.walk_with(route, defaults).unwrap(), Some(steps));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn a_record_of_two_beside_each_other_leads_to_the_same(case in case(), ends in ends(), hedged in hedged(), retries in 0_u32..4) {
        let defaults = Defaults { retries, ..Defaults::default() };
        let mut route = Arc::into_inner(build(&case.setup)).unwrap();
        route.hedge = Some(domain::declaration::HedgeDecl {
            after: format!("{}ms", hedged.after_ms).parse().unwrap(),
            budget: "100%".parse().unwrap(),
        });
        let happened = happened_so(&case, &route, &ends, Some(hedged), &[], &defaults);
        leads_to_the_same(&route, &defaults, &happened)?;
    }

    #[test]
    fn a_record_of_a_stream_that_broke_off_leads_to_the_same(case in case(), ends in ends(), broken in broken(), retries in 0_u32..4) {
        let defaults = Defaults { retries, ..Defaults::default() };
        let route = build(&case.setup);
        let happened = happened_so(&case, &route, &ends, None, &broken, &defaults);
        leads_to_the_same(&route, &defaults, &happened)?;
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

#[test]
fn a_configuration_that_hedges_otherwise_walks_otherwise() {
    let then = |after: Option<&str>, priorities: [i32; 3]| {
        let decls = priorities.map(|priority| json!({"priority": priority}));
        let mut route = Arc::into_inner(testing::route(Strategy::RoundRobin, &decls)).unwrap();
        route.hedge = after.map(|after| domain::declaration::HedgeDecl {
            after: after.parse().unwrap(),
            budget: "100%".parse().unwrap(),
        });
        route
    };
    let hedged = Hedged {
        after_ms: 50,
        hedge_first: true,
        earlier: (15, 0, false),
        later: (15, 0, false),
    };
    let (case, defaults) = (plain(Vec::new()), Defaults::default());
    let route = then(Some("50ms"), [0, 1, 2]);
    let (decision, _) = happened_so(&case, &route, &[(15, 0, false)], Some(hedged), &[], &defaults);
    let words = |route: &Route| -> Vec<(Next, String, Option<String>, bool)> {
        let steps = decision.walk_with(route, &defaults).unwrap().unwrap();
        let told = |step: Again| (step.next, step.at.unwrap().upstream, step.came, step.recorded.is_none());
        steps.into_iter().map(told).collect()
    };
    let step = |next, at: &str, came: Option<&str>, same| (next, at.to_owned(), came.map(str::to_owned), same);
    let both = [
        step(Next::First, "u1", Some("given up"), true),
        step(Next::Beside, "u2", Some("answered"), true),
    ];
    assert_eq!(words(&route), both);
    let alone = [step(Next::First, "u1", None, false)];
    assert_eq!(
        words(&then(None, [0, 1, 2])),
        alone,
        "nobody knows how u1 would have ended"
    );
    assert_eq!(words(&then(Some("10s"), [0, 1, 2])), alone, "given up before that");
    let elsewhere = [
        step(Next::First, "u1", Some("given up"), true),
        step(Next::Beside, "u3", None, false),
    ];
    assert_eq!(words(&then(Some("50ms"), [0, 2, 1])), elsewhere);
}

#[test]
fn what_broke_off_is_taken_up_by_who_could_in_another_order_too() {
    let three = |priorities: [i32; 3]| {
        let decls = priorities.map(|priority| json!({"priority": priority}));
        testing::route(Strategy::RoundRobin, &decls)
    };
    // u1 and u2 break off; u3 may take it up, u2 may too, u1 not.
    let broken = Broken {
        how: (3, 0, false),
        takers: 0b1100,
    };
    let (case, defaults) = (plain(Vec::new()), Defaults::default());
    let (decision, _) = happened_so(
        &case,
        &three([0, 1, 2]),
        &[(15, 0, false)],
        None,
        &[broken, broken],
        &defaults,
    );
    let words = |route: &Route| -> Vec<(String, String, bool)> {
        let steps = decision.walk_with(route, &defaults).unwrap().unwrap();
        let told = |step: Again| {
            (
                step.at.unwrap().upstream,
                step.came.unwrap_or_else(|| "nobody knows".to_owned()),
                step.recorded.is_none(),
            )
        };
        steps.into_iter().map(told).collect()
    };
    let step = |at: &str, came: &str, same| (at.to_owned(), came.to_owned(), same);
    assert_eq!(
        words(&three([0, 1, 2])),
        [
            step("u1", "broke off (reset)", true),
            step("u2", "broke off (reset)", true),
            step("u2", "answered", true),
        ]
    );
    assert_eq!(
        words(&three([0, 2, 1])),
        [step("u1", "broke off (reset)", true), step("u3", "nobody knows", false)]
    );
}
