//! What a model cannot do: who is passed over for it, and what is said when nobody is left.

use domain::{Capability, Lack, Needs};

use super::*;

/// Two targets of the same priority, the first of which does not see and takes 1,000 tokens.
fn blind_and_seeing() -> Route {
    let snapshot = snapshot(Strategy::RoundRobin, &[json!({"priority": -1}), json!({})]);
    let route = snapshot.route("m").unwrap();
    let mut targets = route.targets.clone();
    targets[0].capabilities.set(Capability::Image, false);
    (targets[0].context, targets[1].context) = (1_000, 2_000);
    Route {
        model: "m".to_owned(),
        strategy: route.strategy,
        bounds: domain::snapshot::RouteBounds::of(&targets),
        stamp: domain::snapshot::RouteStamp::default(),
        targets,
        price: None,
        system_prompt: None,
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
    }
}

fn needing(capabilities: &[Capability], tokens: u64, least_tokens: u64) -> Asked<'static> {
    Asked {
        needs: Needs {
            capabilities: capabilities.iter().copied().collect(),
            tokens,
            least_tokens,
        },
        ..CHAT.into()
    }
}

fn targets(plan: &Plan) -> Vec<usize> {
    plan.order.iter().map(|choice| choice.target).collect()
}

#[test]
fn a_target_that_cannot_is_passed_over() {
    let (route, board) = (blind_and_seeing(), Board::new());
    assert!(route.bounds.lacking.contains(Capability::Image) && route.bounds.context == 1_000);
    for (asked, order, lack) in [
        (needing(&[Capability::Tools], 10, 10), vec![0, 1], None),
        (
            needing(&[Capability::Image], 10, 10),
            vec![1],
            Some(Lack::Capability(Capability::Image)),
        ),
        (
            needing(&[], 1_500, 300),
            vec![1],
            Some(Lack::Context { certain: false }),
        ),
    ] {
        let plan = plan(&route, asked, &board, START, &mut rng(1));
        assert_eq!(targets(&plan), order, "{asked:?}");
        let reasons: Vec<_> = plan.excluded.iter().map(|excluded| excluded.reason).collect();
        assert_eq!(reasons, Vec::from_iter(lack.map(Exclusion::Capability)));
        assert!(!plan.last_resort);
    }
}

#[test]
fn a_guess_of_the_length_turns_nobody_away_but_a_certainty_does() {
    let (route, board) = (blind_and_seeing(), Board::new());
    let guessed = plan(&route, needing(&[], 3_000, 900), &board, START, &mut rng(1));
    assert_eq!(targets(&guessed), [0, 1], "both, so that there is failover");
    let half = plan(&route, needing(&[], 3_000, 1_100), &board, START, &mut rng(1));
    assert_eq!(targets(&half), [1]);
    let certain = plan(&route, needing(&[], 30_000, 9_000), &board, START, &mut rng(1));
    assert!(certain.order.is_empty() && !certain.last_resort);
    assert_eq!(certain.excluded.len(), 2);
}

#[test]
fn who_must_look_elsewhere_is_told_why() {
    let (route, board) = (blind_and_seeing(), Board::new());
    let refused = |route: &Route, asked: Asked| {
        let plan = plan(route, asked, &board, START, &mut rng(1));
        let mut attempts = crate::Attempts::new(plan, &domain::declaration::Defaults::default(), at(60_000));
        match attempts.next(route, &board, START) {
            crate::Step::GiveUp(fault) => (fault.kind, fault.message.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let (kind, message) = refused(&route, needing(&[], 30_000, 9_000));
    assert_eq!(kind, domain::FaultKind::Malformed);
    assert!(message.contains("longer than the context window of u1/m"), "{message}");
    let mut blind = blind_and_seeing();
    blind.targets.truncate(1);
    let (kind, message) = refused(&blind, needing(&[Capability::Image], 1, 1));
    assert_eq!(kind, domain::FaultKind::Malformed);
    assert_eq!(
        message,
        "model `m` cannot do what the request needs: u1/m takes no images (capability `image`); use another model, or leave it out"
    );
}

#[test]
fn one_that_could_and_is_away_is_not_the_callers_mistake() {
    let (route, board) = (blind_and_seeing(), Board::new());
    board.force(route.targets[1].upstream.id, Some(Forced::Open));
    let plan = plan(&route, needing(&[Capability::Image], 1, 1), &board, START, &mut rng(1));
    let mut attempts = crate::Attempts::new(plan, &domain::declaration::Defaults::default(), at(60_000));
    match attempts.next(&route, &board, START) {
        crate::Step::GiveUp(fault) => assert_eq!(fault.kind, domain::FaultKind::Unavailable),
        other => panic!("{other:?}"),
    }
}
