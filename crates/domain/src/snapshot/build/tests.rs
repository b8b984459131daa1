//! What a snapshot makes of declarations.

use super::*;
use crate::declaration::{CredentialTerms, KeyTerms};
use crate::snapshot::{CredentialRow, CredentialState, Origin, UpstreamRow};
use crate::{CredentialId, Dialect, KeyId, Secret, UpstreamId, UserId};

fn upstream_row(id: i64, json: serde_json::Value) -> UpstreamRow {
    UpstreamRow {
        id: UpstreamId(id),
        origin: Origin::Operator,
        decl: serde_json::from_value(json).unwrap(),
        credentials: vec![CredentialRow {
            id: CredentialId(id * 10),
            name: "k".to_owned(),
            secret: Secret::new("sk-upstream"),
            weight: 1,
            terms: CredentialTerms::default(),
            state: CredentialState::default(),
            account: None,
        }],
        forced: None,
    }
}

fn model_row(json: serde_json::Value) -> ModelRow {
    ModelRow {
        decl: serde_json::from_value(json).unwrap(),
    }
}

fn snapshot() -> Snapshot {
    Snapshot::build(Resources {
        upstreams: vec![
            upstream_row(1, serde_json::json!({"name": "openai-main", "provider": "openai"})),
            upstream_row(
                2,
                serde_json::json!({"name": "claude", "provider": "anthropic", "priority": 3}),
            ),
            upstream_row(
                3,
                serde_json::json!({"name": "local", "provider": "ollama", "models": ["llama3"]}),
            ),
        ],
        models: vec![
            model_row(
                serde_json::json!({"name": "Smart", "aliases": ["best", "Äpfel"], "strategy": "weighted", "targets": [
                {"upstream": "openai-main", "model": "gpt-4o", "weight": 3}, {"upstream": "claude", "model": "claude-sonnet-4-5"}],
                "price": {"input": "1.00", "output": "2.00"}}),
            ),
            model_row(serde_json::json!({"name": "team-*", "targets": [{"upstream": "local"}]})),
            model_row(serde_json::json!({"name": "lost", "targets": [{"upstream": "nowhere"}]})),
        ],
        ..Resources::default()
    })
}

fn upstream_of(snapshot: &Snapshot, model: &str) -> Vec<(String, String)> {
    let route = snapshot.route(model).unwrap_or_else(|| panic!("{model} goes nowhere"));
    route
        .targets
        .iter()
        .map(|target| (target.upstream.name.clone(), target.model.to_string()))
        .collect()
}

#[test]
fn names_are_found_in_every_way() {
    let snapshot = snapshot();
    let smart = snapshot.route("smart").unwrap();
    assert_eq!(smart.targets.len(), 2);
    assert_eq!(
        smart.targets[1].priority, 3,
        "the upstream's, where the target does not say"
    );
    for other in ["BEST", "äpfel", "ÄPFEL"] {
        assert!(Arc::ptr_eq(&smart, &snapshot.route(other).unwrap()), "{other}");
    }
    assert_eq!(
        upstream_of(&snapshot, "GPT-4o"),
        [("openai-main".to_owned(), "gpt-4o".to_owned())]
    );
    assert_eq!(upstream_of(&snapshot, "gpt-99-of-tomorrow")[0].0, "openai-main");
    assert_eq!(
        upstream_of(&snapshot, "Local/llama3"),
        [("local".to_owned(), "llama3".to_owned())]
    );
    assert_eq!(
        upstream_of(&snapshot, "team-a"),
        [("local".to_owned(), "team-a".to_owned())]
    );
    assert!(snapshot.route("local/other").is_none());
    assert!(snapshot.route("no-such-model").is_none());
}

#[test]
fn what_is_bad_is_set_aside_and_named() {
    let snapshot = snapshot();
    assert!(snapshot.route("lost").is_none());
    assert!(
        snapshot
            .problems
            .iter()
            .any(|problem| problem.resource == "model lost" && problem.message.contains("nowhere"))
    );
}

#[test]
fn prices_come_from_the_declaration_then_the_catalog() {
    let snapshot = snapshot();
    let smart = snapshot.route("smart").unwrap();
    let declared = smart.price_of(&smart.targets[0], Some("gpt-4o-2024-08-06")).unwrap();
    assert_eq!(declared.ordinary.rates.input, "1.00".parse().unwrap());
    let implicit = snapshot.route("gpt-4o").unwrap();
    let catalog = implicit
        .price_of(&implicit.targets[0], Some("gpt-4o-2024-08-06"))
        .unwrap();
    assert!(!catalog.ordinary.rates.output.is_spent());
    let local = snapshot.route("llama3").unwrap();
    assert!(
        local
            .price_of(&local.targets[0], None)
            .unwrap()
            .ordinary
            .rates
            .is_free()
    );
}

#[test]
fn a_key_lists_and_uses_only_its_models() {
    let mut resources = Resources {
        upstreams: vec![upstream_row(
            1,
            serde_json::json!({"name": "a", "provider": "openai", "models": ["m1", "m2"]}),
        )],
        ..Resources::default()
    };
    resources.users.push(UserRow {
        id: UserId(1),
        name: "u".to_owned(),
        policy: None,
    });
    let terms = KeyTerms {
        models: vec![NamePattern::new("m1")],
        ..KeyTerms::default()
    };
    let key = |user| KeyRow {
        id: KeyId(1),
        name: "k".to_owned(),
        user: UserId(user),
        hash: [user as u8; 32],
        terms: terms.clone(),
        expires: None,
    };
    resources.keys = vec![key(1), key(7)];
    let snapshot = Snapshot::build(resources);
    let key = &snapshot.keys[&[1; 32]];
    assert_eq!(snapshot.model_names(key), ["m1"]);
    assert!(key.may_use("M1") && !key.may_use("m2"));
    assert_eq!(snapshot.problems.len(), 1, "the key without a user");
}

#[test]
fn a_dialect_alone_finds_its_profile() {
    let row = upstream_row(
        1,
        serde_json::json!({"name": "a", "dialect": "anthropic_messages", "base_url": "https://x.example/v1/"}),
    );
    let snapshot = Snapshot::build(Resources {
        upstreams: vec![row],
        ..Resources::default()
    });
    let upstream = &snapshot.upstreams[0];
    assert_eq!(
        (upstream.base_url.as_str(), upstream.auth),
        ("https://x.example/v1", crate::provider::AuthScheme::XApiKey)
    );
}

#[test]
fn conversations_are_held_in_the_dialect_that_is_named() {
    let spoken = |decl: serde_json::Value| {
        let snapshot = Snapshot::build(Resources {
            upstreams: vec![upstream_row(1, decl)],
            ..Resources::default()
        });
        let surfaces = snapshot.upstreams[0].surfaces.keys();
        let chat = surfaces.filter(|surface| surface.operation == crate::Operation::Chat);
        chat.map(|surface| surface.dialect).collect::<Vec<_>>()
    };
    let url = "https://x.example/v1";
    for (dialect, name) in [
        (Dialect::OpenaiChat, "openai_chat"),
        (Dialect::OpenaiResponses, "openai_responses"),
    ] {
        let alone = serde_json::json!({"name": "a", "dialect": name, "base_url": url});
        assert_eq!(spoken(alone), [dialect]);
        let named = serde_json::json!({"name": "a", "provider": "openai", "dialect": name});
        assert_eq!(spoken(named), [dialect]);
    }
    assert_eq!(spoken(serde_json::json!({"name": "a", "provider": "openai"})).len(), 2);
}

#[test]
fn a_listed_name_also_leads_to_those_that_only_have_a_glob_for_it() {
    let snapshot = Snapshot::build(Resources {
        upstreams: vec![
            upstream_row(
                1,
                serde_json::json!({"name": "anything", "provider": "openai-compatible", "base_url": "https://x.example/v1", "models": ["*"]}),
            ),
            upstream_row(2, serde_json::json!({"name": "claude", "provider": "anthropic"})),
        ],
        ..Resources::default()
    });
    let names: Vec<_> = upstream_of(&snapshot, "claude-sonnet-4-5")
        .into_iter()
        .map(|(upstream, _)| upstream)
        .collect();
    assert_eq!(names, ["anything", "claude"]);
}
