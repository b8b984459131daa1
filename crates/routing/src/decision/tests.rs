//! A record leads to the same choice, whatever was recorded; and with another configuration to what that says.

mod walks;

use std::sync::Arc;

use domain::declaration::Strategy;
use domain::{Capability, CapabilitySet, CredentialId, Forced, Needs, Timestamp, UpstreamId, Window, Windows};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, CHAT, START, after, at, failure, rest_model, snapshot_of, status};
use crate::{Asked, Board, Choice, Dice, InFlight, Pinned, Plan, decide};
use domain::snapshot::Route;

const STRATEGIES: [Strategy; 8] = [
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::LeastUsed,
    Strategy::LowestLatency,
    Strategy::Cheapest,
    Strategy::Sticky,
];
/// What the credentials of these worlds hold.
const SECRET: &str = "\"sk\"";

/// A random configuration.
#[derive(Clone, Debug)]
struct Setup {
    strategy: Strategy,
    fallback_strategy: Strategy,
    upstreams: Vec<Value>,
    /// Whether each upstream serves the model itself (else only the fallback does).
    own: Vec<bool>,
    prices: Vec<Option<(u8, u8)>>,
}

/// Something that happened before: what, where, and when.
type Before = Vec<(u8, usize, usize, u64)>;

/// The call.
#[derive(Clone, Debug)]
struct Case {
    setup: Setup,
    before: Before,
    seed: u64,
    profile: Option<&'static str>,
    affinity: Option<u64>,
    needs_image: bool,
    tokens: u64,
    pinned: Option<(usize, usize)>,
}

fn any_strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
    proptest::sample::select(&STRATEGIES[..])
}

fn upstream() -> impl proptest::strategy::Strategy<Value = Value> {
    let terms = proptest::sample::select(vec![
        json!({}),
        json!({"profile": "team"}),
        json!({"daily_limit": 2}),
        json!({"rotate_after": 3}),
        json!({"pause_at": "80%"}),
    ]);
    let numbers = (-1_i32..2, 0_u32..4, 0_u32..4);
    let flags = any::<[bool; 3]>();
    (proptest::collection::vec(terms, 1..4), numbers, any_strategy(), flags).prop_map(
        |(terms, (priority, weight, key_weight), strategy, [chat, breaker, cooldown])| {
            let mut decl = json!({
                "keys": terms.len(), "key_terms": terms, "key_weights": [key_weight, 1, 2],
                "priority": priority, "weight": weight, "strategy": strategy,
                "provider": if chat { "openai" } else { "anthropic" },
            });
            if !breaker {
                decl["breaker"] = json!("off");
            }
            if !cooldown {
                decl["cooldown"] = json!("off");
            }
            decl
        },
    )
}

fn setup() -> impl proptest::strategy::Strategy<Value = Setup> {
    let price = proptest::option::of((0_u8..3, 0_u8..3));
    let one = (upstream(), proptest::bool::weighted(0.7), price);
    (any_strategy(), any_strategy(), proptest::collection::vec(one, 1..6)).prop_map(
        |(strategy, fallback_strategy, all)| Setup {
            strategy,
            fallback_strategy,
            upstreams: all.iter().map(|(upstream, ..)| upstream.clone()).collect(),
            own: all.iter().map(|(_, own, _)| *own).collect(),
            prices: all.iter().map(|(.., price)| *price).collect(),
        },
    )
}

fn case() -> impl proptest::strategy::Strategy<Value = Case> {
    let before = proptest::collection::vec((0_u8..13, 0_usize..6, 0_usize..3, 0_u64..90_000), 0..40);
    let asked = (
        proptest::option::of(Just("team")),
        any::<Option<u64>>(),
        any::<bool>(),
        proptest::sample::select(vec![0_u64, 500, 5_000]),
        proptest::option::weighted(0.2, (0_usize..6, 0_usize..3)),
    );
    (setup(), before, any::<u64>(), asked).prop_map(
        |(setup, before, seed, (profile, affinity, needs_image, tokens, pinned))| Case {
            setup,
            before,
            seed,
            profile,
            affinity,
            needs_image,
            tokens,
            pinned,
        },
    )
}

/// The model `m`, whose fallback `f` is served by every upstream.
fn build(setup: &Setup) -> Arc<Route> {
    let target = |id: usize, price: Option<(u8, u8)>| {
        let mut model = format!("x{}", id % 2);
        if price.is_some() {
            model.push('p');
        }
        json!({"upstream": format!("u{id}"), "model": model})
    };
    let ids = 1..=setup.upstreams.len();
    let targets = |own: bool| -> Vec<Value> {
        let both = ids.clone().zip(&setup.prices).zip(&setup.own);
        both.filter(|(_, is_own)| !own || **is_own)
            .map(|((id, price), _)| target(id, *price))
            .collect()
    };
    let known = json!({"image": false});
    let mut models = vec![json!({
        "name": "f", "strategy": setup.fallback_strategy, "targets": targets(false),
        "price": {"input": "2.00", "output": "8.00"},
    })];
    if setup.own.contains(&true) {
        models.push(json!({
            "name": "m", "strategy": setup.strategy, "targets": targets(true), "fallbacks": ["f"],
            "capabilities": known, "context": 1_000,
        }));
    }
    let snapshot = snapshot_of(&setup.upstreams, &models);
    let name = if setup.own.contains(&true) { "m" } else { "f" };
    snapshot.route(name).unwrap()
}

/// Makes these things happen; what is returned is still going on.
fn happen(route: &Route, board: &Board, before: &Before, asked: Asked<'_>) -> Vec<InFlight> {
    let mut open = Vec::new();
    for (what, target, credential, ms) in before {
        let target = target % route.targets.len();
        let known = &route.targets[target];
        let credential = credential % known.upstream.credentials.len();
        let (choice, now) = ((target, credential), at(*ms));
        let fail = |failure: &domain::Failure| testing::fail(route, board, choice, failure, now);
        let (upstream, key) = (&known.upstream, &known.upstream.credentials[credential]);
        match what {
            0 => fail(&failure(domain::FailureClass::Connect)),
            1 => (0..5).for_each(|_| fail(&status(500))),
            2 => fail(&after(status(429), 60_000)),
            3 => fail(&status(429)),
            4 => fail(&status(401)),
            5 => fail(&failure(domain::FailureClass::OutOfCredit)),
            6 => rest_model(route, board, choice, &known.model, 200_000),
            7 => fail(&after(status(503), 100_000)),
            8 => open.push(board.begin(upstream, key, now)),
            9 => {
                let choice = Choice { target, credential };
                board.answered(route, choice, std::time::Duration::from_millis(ms % 977), now);
            }
            10 => {
                let forced = if ms % 2 == 0 { Forced::Open } else { Forced::Closed };
                board.force(upstream.id, Some(forced));
            }
            11 => {
                let full = Window {
                    used_permille: (ms % 1_000) as u32,
                    resets_at: at(500_000),
                };
                let windows = Windows {
                    five_hours: Some(full),
                    seven_days: None,
                };
                board.tell_windows(upstream, key, windows, now);
            }
            _ => {
                let (plan, _) = decide(route, asked, None, board, (now, *ms), Recording::Off);
                for choice in plan.order.iter().take(1) {
                    let upstream = &route.targets[choice.target].upstream;
                    board.take(upstream, &upstream.credentials[choice.credential], now);
                    drop(board.begin(upstream, &upstream.credentials[choice.credential], now));
                }
            }
        }
    }
    open
}

fn asked(case: &Case) -> Asked<'static> {
    let mut capabilities = CapabilitySet::EMPTY;
    if case.needs_image {
        capabilities.insert(Capability::Image);
    }
    Asked {
        needs: Needs {
            capabilities,
            tokens: case.tokens,
            least_tokens: case.tokens / 10,
        },
        profile: case.profile,
        affinity: case.affinity,
        ..Asked::from(CHAT)
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_700_000_095);

/// Decides a case; the plan, and its record as it is kept.
fn decided(case: &Case) -> (Arc<Route>, Plan, Decision) {
    let route = build(&case.setup);
    let board = Board::new();
    let asked = asked(case);
    let _open = happen(&route, &board, &case.before, asked);
    let pinned = case.pinned.map(|(target, credential)| {
        let upstream = &route.targets[target % route.targets.len()].upstream;
        Pinned {
            upstream: upstream.id,
            credential: upstream.credentials.get(credential).map(|known| known.id),
        }
    });
    let dice = &mut Dice::new(case.seed);
    let expected = {
        let mut entries = board.lock();
        let linked = entries.link(&route, asked.surface);
        Plan::made(&route, &asked, pinned, (&entries, linked), NOW, dice)
    };
    let (plan, trace) = decide(&route, asked, pinned, &board, (NOW, case.seed), Recording::On);
    assert_eq!(plan, expected, "recording changes nothing");
    let decision = trace.unwrap().kept(&route);
    (route, plan, decision)
}

fn places(decision: &Decision) -> Vec<[usize; 2]> {
    decision.order.iter().map(|one| one.terms.place).collect()
}

/// All that a decision says of each candidate but its price, which a replay does not know whole.
fn told(decision: &Decision) -> (bool, Vec<Candidate>) {
    let all = decision.order.iter().chain(&decision.excluded).cloned();
    let told = all.map(|one| Candidate { price: None, ..one });
    (decision.last_resort, told.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_record_leads_to_the_same_choice(case in case()) {
        let (route, plan, decision) = decided(&case);
        let planned: Vec<[usize; 2]> = plan.order.iter().map(|choice| [choice.target, choice.credential]).collect();
        prop_assert_eq!(places(&decision), planned);
        let candidates: usize = route.targets.iter().map(|target| target.upstream.credentials.len()).sum();
        prop_assert_eq!(decision.order.len() + decision.excluded.len(), candidates);

        let text = serde_json::to_string(&decision).unwrap();
        let kept = read(&text).unwrap();
        let again = kept.replay().unwrap();
        prop_assert_eq!(decision.differences(&again), vec![]);
        prop_assert_eq!(places(&decision), places(&again));

        // Without the way through a text every number is the same too: scores, states, moments.
        prop_assert_eq!(told(&decision.replay().unwrap()), told(&decision));
        prop_assert!(!text.contains(SECRET));
    }

    #[test]
    fn the_same_configuration_makes_the_same_choice(case in case()) {
        let (route, _, decision) = decided(&case);
        let kept = read(&serde_json::to_string(&decision).unwrap()).unwrap();
        prop_assert_eq!(kept.differences(&kept.with(&route).unwrap()), vec![]);
    }
}

fn two(strategy: Strategy, weights: [u32; 2]) -> Arc<Route> {
    testing::route(
        strategy,
        &[json!({"weight": weights[0]}), json!({"weight": weights[1]})],
    )
}

fn record(route: &Route, board: &Board, seed: u64) -> Decision {
    let (_, trace) = decide(route, CHAT, None, board, (NOW, seed), Recording::On);
    trace.unwrap().kept(route)
}

#[test]
fn another_configuration_chooses_in_the_state_of_then() {
    let (now, then) = (two(Strategy::RoundRobin, [1, 1]), Board::new());
    let busy = &now.targets[0].upstream;
    let _open = [1, 2, 3].map(|_| then.begin(busy, &busy.credentials[0], START));
    let decision = record(&now, &then, 1);
    assert_eq!(decision.order[0].upstream, "u1", "nobody was chosen before");

    let other = two(Strategy::LeastConnections, [1, 1]);
    let what_if = decision.with(&other).unwrap();
    assert_eq!(what_if.order[0].upstream, "u2", "u1 had three calls open");
    assert_eq!(what_if.order[1].score.target, Some(3.0));
    let difference = |upstream: &str, before, after| Difference {
        upstream: upstream.to_owned(),
        credential: "k0".to_owned(),
        model: "m".to_owned(),
        before: Fate::Tried(before),
        after: Fate::Tried(after),
    };
    assert_eq!(
        decision.differences(&what_if),
        [difference("u1", 1, 2), difference("u2", 2, 1)]
    );
}

#[test]
fn what_is_new_and_what_is_gone_is_told() {
    let decision = record(&two(Strategy::RoundRobin, [1, 1]), &Board::new(), 1);
    let more = testing::route(Strategy::RoundRobin, &[json!({}), json!({}), json!({"priority": -1})]);
    let told = decision.differences(&decision.with(&more).unwrap());
    let of = |upstream: &str| told.iter().find(|one| one.upstream == upstream).unwrap();
    assert_eq!((&of("u3").before, &of("u3").after), (&Fate::Absent, &Fate::Tried(1)));
    let fewer = testing::route(Strategy::RoundRobin, &[json!({})]);
    let told = decision.differences(&decision.with(&fewer).unwrap());
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].before, &told[0].after), (&Fate::Tried(2), &Fate::Absent));
}

#[test]
fn what_the_moment_decided_is_out_of_the_ordinary() {
    let route = testing::route(Strategy::RoundRobin, &[json!({}), json!({"provider": "anthropic"})]);
    let traced = |board: &Board| {
        let (_, trace) = decide(&route, CHAT, None, board, (START, 1), Recording::On);
        trace.unwrap().is_out_of_the_ordinary()
    };
    let board = Board::new();
    assert!(!traced(&board), "that one does not speak the format is declared");
    testing::fail(&route, &board, (0, 0), &after(status(429), 60_000), START);
    assert!(traced(&board));
}

#[test]
fn records_that_cannot_be_replayed_say_why() {
    let many = testing::route(Strategy::Random, &vec![json!({"keys": 43}); 3]);
    let (plan, trace) = decide(&many, CHAT, None, &Board::new(), (START, 1), Recording::On);
    assert_eq!(plan.order.len(), 129);
    let decision = trace.unwrap().kept(&many);
    assert_eq!((decision.unrecorded, decision.order.len()), (129, 0));
    assert_eq!(decision.replay(), Err(Unreplayable::TooMany { candidates: 129 }));
    assert_eq!(testing_dry(&many).order.len(), 129, "who only asks is told all of them");

    assert_eq!(read(r#"{"version":0}"#), Err(Unreplayable::Version { found: 0 }));
    assert!(matches!(read("{}"), Err(Unreplayable::Damaged(_))));
    let mut gap = record(&two(Strategy::Random, [1, 1]), &Board::new(), 1);
    gap.order.retain(|one| one.terms.place != [0, 0]);
    assert!(matches!(gap.replay(), Err(Unreplayable::Damaged(_))));
}

fn testing_dry(route: &Route) -> Decision {
    dry_run(route, CHAT, &Board::new(), START, 1)
}

/// If this fails, records of earlier versions of the program would be replayed wrongly: raise [`VERSION`] and take a new
/// record.
#[test]
fn a_record_of_this_version_is_still_replayed_alike() {
    let kept = read(include_str!("tests/record.json")).unwrap();
    assert_eq!(kept.differences(&kept.replay().unwrap()), []);
    let lots: Vec<Option<f64>> = kept.order.iter().map(|one| one.score.target).collect();
    let again = kept.replay().unwrap();
    let again: Vec<Option<f64>> = again.order.iter().map(|one| one.score.target).collect();
    assert!(lots.iter().zip(&again).all(|(one, other)| match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-12,
        (one, other) => one == other,
    }));
}

/// The form of records, in full. If this fails by intention, the text is the new file, and [`VERSION`] is to be raised unless
/// older records can still be read.
#[test]
fn a_record_has_the_form_that_is_kept() {
    let route = testing::route(
        Strategy::Weighted,
        &[
            json!({"weight": 3, "keys": 2, "strategy": "lowest_latency"}),
            json!({"weight": 2, "keys": 3, "strategy": "random"}),
            json!({"weight": 1, "priority": 1}),
            json!({"provider": "anthropic", "weight": 5}),
        ],
    );
    let board = Board::new();
    testing::fail(&route, &board, (1, 1), &after(status(429), 600_000), START);
    let decision = record(&route, &board, 0x5eed_0000_0000_0001);
    let text = serde_json::to_string_pretty(&decision).unwrap();
    assert_eq!(text.trim(), include_str!("tests/record.json").trim(), "{text}");
}

#[test]
fn ids_that_nobody_has_pin_nothing() {
    let route = two(Strategy::RoundRobin, [1, 1]);
    let nowhere = Pinned {
        upstream: UpstreamId(77),
        credential: Some(CredentialId(1)),
    };
    let (plan, trace) = decide(&route, CHAT, Some(nowhere), &Board::new(), (START, 1), Recording::On);
    assert!(plan.order.is_empty());
    let decision = trace.unwrap().kept(&route);
    assert_eq!(decision.excluded[0].reason.as_deref(), Some("pinned"));
    assert_eq!(decision.differences(&decision.replay().unwrap()), []);
}
