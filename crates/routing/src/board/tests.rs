//! The bounds of what is remembered. What the entries mean is tested with the plan and the attempts.

use serde_json::json;

use super::credential::RESTING_MODELS_MAX;
use super::entries::ROUTES_MAX;
use super::*;
use crate::testing::{CHAT, START, rest_model, rng, route};

#[test]
fn names_made_up_by_clients_do_not_pile_up() {
    let route = route(domain::declaration::Strategy::RoundRobin, &[json!({}), json!({})]);
    let board = Board::new();
    for n in 0..ROUTES_MAX + 10 {
        let named = Route {
            model: format!("m-{n}"),
            strategy: route.strategy,
            targets: route.targets.clone(),
            price: None,
            system_prompt: None,
            bounds: route.bounds,
            stamp: domain::snapshot::RouteStamp::default(),
            fallbacks: Vec::new(),
            fallback_on: Vec::new(),
            recovery: false,
            hedge: None,
            group: None,
        };
        crate::plan(&named, CHAT, &board, START, &mut rng(1));
        assert!(board.lock().routes_remembered() <= ROUTES_MAX);
    }
    assert_eq!(board.lock().routes_remembered(), 10, "rotations began anew");
}

#[test]
fn of_too_many_resting_models_the_soonest_goes() {
    let route = route(domain::declaration::Strategy::RoundRobin, &[json!({})]);
    let upstream = &route.targets[0].upstream;
    let board = Board::new();
    for n in 0..=RESTING_MODELS_MAX as u64 {
        rest_model(&route, &board, (0, 0), &format!("m{n}"), 1_000 + n);
    }
    let rests = |model: &str| {
        let target = Target {
            model: model.into(),
            ..route.targets[0].clone()
        };
        board.exclusion(&target, &upstream.credentials[0], START).is_some()
    };
    assert!(!rests("m0") && rests("m1") && rests(&format!("m{RESTING_MODELS_MAX}")));
}

#[test]
fn nothing_secret_is_printed() {
    let route = route(domain::declaration::Strategy::RoundRobin, &[json!({})]);
    let upstream = &route.targets[0].upstream;
    let board = Board::new();
    let in_flight = board.begin(upstream, &upstream.credentials[0], START);
    assert_eq!(
        format!("{in_flight:?}"),
        "InFlight { upstream: UpstreamId(1), credential: CredentialId(1000), .. }"
    );
    assert_eq!(format!("{board:?}"), "Board { .. }");
}
