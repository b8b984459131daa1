//! What a call ends with where only accounts could have served it.
//!
//! Accounts have a plan, and clients are told two things about it: that no plan has the model (403, a change of the
//! request helps), or that all accounts whose plan has it failed (503, waiting helps). With keys the last answer is told
//! instead; an account's limit is not the client's.

use domain::snapshot::Route;
use domain::{Fault, FaultKind};

use crate::plan::{Choice, Exclusion, Plan};

/// Whether every candidate that could have served the call is an account.
pub(super) fn are_all(plan: &Plan, route: &Route) -> bool {
    let compatible = |reason| !is_for_others(reason) && reason != Exclusion::Plan;
    let excluded = plan.excluded.iter().filter(|excluded| compatible(excluded.reason));
    let mut candidates = plan
        .order
        .iter()
        .copied()
        .chain(excluded.map(|excluded| excluded.choice));
    candidates.all(|choice| is_one(route, choice))
}

/// Whether a candidate could not have served the call, whatever account or key it is.
const fn is_for_others(reason: Exclusion) -> bool {
    matches!(
        reason,
        Exclusion::Dialect | Exclusion::Capability(_) | Exclusion::Profile | Exclusion::Pinned
    )
}

/// Whether a candidate is an account.
pub(super) fn is_one(route: &Route, choice: Choice) -> bool {
    let target = route.targets.get(choice.target);
    let credential = target.and_then(|target| target.upstream.credentials.get(choice.credential));
    credential.is_some_and(|credential| credential.account.is_some())
}

/// The refusal where nothing is left because no plan has the model.
pub(super) fn no_plan(plan: &Plan, route: &Route) -> Option<Fault> {
    let mut reasons = plan
        .excluded
        .iter()
        .map(|excluded| excluded.reason)
        .filter(|reason| !is_for_others(*reason))
        .peekable();
    reasons.peek()?;
    reasons.all(|reason| reason == Exclusion::Plan).then(|| {
        let message = format!(
            "no account's plan allows model `{}`; use another model, or tell the operator",
            route.model
        );
        Fault::new(FaultKind::Forbidden, message)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::account::{AccountDecl, AccountMode, AccountState};
    use domain::snapshot::{CredentialRow, Origin, Resources, UpstreamRow};
    use domain::{CredentialId, FailureClass, Secret, Snapshot, Timestamp, UpstreamId};
    use serde_json::json;

    use super::*;
    use crate::testing::preview;
    use crate::testing::{CHAT, Call, START, after, rng, status};
    use crate::{Board, plan};

    /// The kind of each credential of the one upstream.
    #[derive(Clone, Copy, PartialEq)]
    enum Is {
        Key,
        Allowed,
        Other,
        LoggedOut,
    }

    /// Model `m` at one upstream; the plan of some of its accounts has it.
    fn route(credentials: &[Is]) -> Arc<Route> {
        let mode = |name: &str, model: &str| {
            let url = || Some("https://login.example/x".to_owned());
            let decl = AccountDecl {
                name: name.to_owned(),
                provider: Some("openai".to_owned()),
                authorize_url: url(),
                token_url: url(),
                redirect_uri: url(),
                models: Some(vec![model.into()]),
                ..AccountDecl::default()
            };
            Arc::new(AccountMode::of(decl).unwrap())
        };
        let state = |mode: &str, needs_login: bool| AccountState {
            mode: mode.to_owned(),
            generation: 1,
            issued_at: Timestamp(0),
            expires_at: Timestamp(0),
            needs_login: needs_login.then(|| "invalid_grant".to_owned()),
        };
        let rows = credentials.iter().zip(0..).map(|(is, id)| CredentialRow {
            id: CredentialId(id),
            name: format!("k{id}"),
            secret: Secret::new("sk"),
            weight: 1,
            terms: domain::declaration::CredentialTerms::default(),
            state: domain::snapshot::CredentialState::default(),
            account: match is {
                Is::Key => None,
                Is::Allowed => Some(state("large", false)),
                Is::Other => Some(state("small", false)),
                Is::LoggedOut => Some(state("large", true)),
            },
        });
        let decl = json!({"name": "u", "provider": "openai", "models": ["m"], "breaker": "off"});
        let upstream = UpstreamRow {
            id: UpstreamId(1),
            origin: Origin::Operator,
            decl: serde_json::from_value(decl).unwrap(),
            credentials: rows.collect(),
            forced: None,
        };
        let resources = Resources {
            upstreams: vec![upstream],
            account_modes: vec![mode("large", "m*"), mode("small", "x")],
            ..Resources::default()
        };
        Snapshot::build(resources).route("m").unwrap()
    }

    #[test]
    fn only_accounts_whose_plan_has_the_model_are_tried() {
        let route = route(&[Is::Other, Is::Allowed, Is::LoggedOut, Is::Allowed]);
        let plan = preview(&route, &Board::new(), START, &mut rng(1));
        let tried: Vec<usize> = plan.order.iter().map(|choice| choice.credential).collect();
        assert_eq!(tried, [1, 3]);
        let why: Vec<_> = plan
            .excluded
            .iter()
            .map(|one| (one.choice.credential, one.reason.name()))
            .collect();
        assert_eq!(why, [(0, "plan"), (2, "needs_login")]);
        let log = Call::new(&route, &Board::new()).run(|_, _, key| if key == 1 { Err(status(401)) } else { Ok(()) });
        assert_eq!(log.tries.iter().map(|(_, _, key)| *key).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn each_of_them_is_asked_before_the_call_is_given_up() {
        let accounts = route(&[Is::Allowed, Is::Other, Is::Allowed, Is::Allowed, Is::Allowed]);
        let log = Call::new(&accounts, &Board::new()).run(|_, _, _| Err(status(500)));
        let mut tried: Vec<usize> = log.tries.iter().map(|(_, _, key)| *key).collect();
        assert!(tried.len() <= 6, "{tried:?}");
        tried.dedup();
        assert_eq!((log.status(), tried), (503, vec![0, 2, 3, 4]));
        let log = Call::new(&accounts, &Board::new()).run(|_, _, key| if key == 4 { Ok(()) } else { Err(status(500)) });
        assert_eq!(log.status(), 200);
    }

    #[test]
    fn the_least_recently_used_of_them_is_next() {
        let route = route(&[Is::Allowed, Is::Other, Is::Allowed]);
        let board = Board::new();
        let turns: Vec<usize> = (0..4)
            .map(|seed| plan(&route, CHAT, &board, START, &mut rng(seed)).order[0].credential)
            .collect();
        assert_eq!(turns, [0, 2, 0, 2]);
    }

    #[test]
    fn a_model_that_no_plan_has_is_forbidden() {
        for credentials in [&[Is::Other][..], &[Is::Other, Is::Other]] {
            let route = route(credentials);
            let board = Board::new();
            let log = Call::new(&route, &board).run(|_, _, _| Ok(()));
            assert_eq!((log.status(), log.tries.len()), (403, 0));
            // A breaker of ours is no reason to say otherwise, nor to try what no plan has.
            board.force(UpstreamId(1), Some(domain::Forced::Open));
            let plan = preview(&route, &board, START, &mut rng(1));
            assert!(plan.order.is_empty() && !plan.last_resort);
            assert_eq!(Call::new(&route, &board).run(|_, _, _| Ok(())).status(), 403);
        }
    }

    #[test]
    fn when_all_that_may_serve_it_failed_the_service_is_not_available() {
        let failures = [
            status(500),
            status(529),
            after(status(429), 2_000),
            status(401),
            domain::Failure::new(FailureClass::Silence, "scripted"),
            domain::Failure::new(FailureClass::Reset, "scripted"),
        ];
        for failure in failures {
            let accounts = route(&[Is::Allowed, Is::Other]);
            let log = Call::new(&accounts, &Board::new()).run(|_, _, _| Err(failure.clone()));
            assert_eq!(log.status(), 503, "{failure:?}");
            // With a key among them, the last answer is told.
            let mixed = route(&[Is::Allowed, Is::Key]);
            let log = Call::new(&mixed, &Board::new()).run(|_, _, _| Err(failure.clone()));
            assert_eq!(
                log.status() == 503,
                failure.status == Some(401) || failure.status == Some(529),
                "{failure:?}"
            );
        }
        let log = Call::new(&route(&[Is::LoggedOut, Is::Other]), &Board::new()).run(|_, _, _| Ok(()));
        assert_eq!((log.status(), log.tries.len()), (503, 0));
    }
}
