//! Being taken out of service and put back.

use std::time::Duration;

use blackbox::wait;
use testkit::upstream::{Behaviour, Match, Refusal};

use crate::lab::{COMMON, World, pair, secret};

#[test]
fn repeated_refusals_take_a_credential_out_and_an_operator_puts_it_back() {
    let mut world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    world
        .upstream
        .rule(Match::credential(&secret("k1")), Behaviour::status(401));
    let revoked = || world.account("k1");
    // K9: nobody notices. The refused one rests, so it is asked again only as others fail.
    for _ in 0..10 {
        assert_eq!(world.served(), "k2");
    }
    assert_eq!(revoked()["refusals"], 1);
    assert_eq!(revoked()["state"], "cooldown");
    // With the other one away too, it is the last resort, and refused each time.
    world.upstream.rule(
        Match::credential(&secret("k2")),
        Behaviour::refuse(Refusal::rate_limited(Some(600))),
    );
    for _ in 0..6 {
        world.call(COMMON, "m");
    }
    wait::until("the snapshot to say so", || !revoked()["deactivated"].is_null());
    assert_eq!(revoked()["state"], "deactivated");
    let reason = revoked()["deactivated"]["reason"].as_str().expect("why").to_owned();
    assert!(reason.starts_with("refused 5 times in a row: 401"), "{reason}");
    world.wait_for_event("deactivated", "k1");
    let asked = world.upstream.take_received();
    let of_k1 = asked
        .iter()
        .filter(|call| call.credential.as_deref() == Some(&secret("k1")))
        .count();
    assert_eq!(of_k1, 4, "and not asked after that");

    // It is mended at the provider, and stays out over a restart until somebody says so.
    world
        .upstream
        .rule(Match::credential(&secret("k1")), Behaviour::text("hello"));
    world.gateway.restart();
    world.call(COMMON, "m");
    let asked = world.upstream.take_received();
    assert!(
        asked
            .iter()
            .all(|call| call.credential.as_deref() == Some(&secret("k2"))),
        "{asked:?}"
    );
    let listed = world.gateway.cli_ok(&["credential", "list"]);
    assert!(listed.contains("deactivated"), "{listed}");
    let shown = world.gateway.cli_ok(&["credential", "show", "main/k1"]);
    assert!(shown.contains(&reason) && shown.contains("--activate"), "{shown}");
    assert_eq!(world.excluded("common")[0], pair("k1", "deactivated"));
    // A credential of the file: what it declares is the file's, what became of it is not.
    let refused = world.gateway.cli(&["credential", "edit", "main/k1", "--weight", "3"]);
    assert!(!refused.status.success());
    let said = world.gateway.cli_ok(&["credential", "edit", "main/k1", "--activate"]);
    assert!(said.contains("is back in service"), "{said}");
    wait::within(Duration::from_secs(5), "the server to see it", || {
        world.served() == "k1"
    });
    world.wait_for_event("activated", "k1");
    assert_eq!(world.account("k1")["refusals"], 0);
}

#[test]
fn what_callers_ask_wrongly_counts_against_nobody() {
    let world = World::new("openai", &[("k1", "")], "");
    for status in [400, 404, 422, 403] {
        world.upstream.rule(Match::model("n"), Behaviour::status(status));
        for _ in 0..8 {
            assert_ne!(world.call(COMMON, "n").status(), 200, "{status}");
        }
        assert_eq!(world.account("k1")["refusals"], 0, "{status}");
        assert_eq!(world.served(), "k1", "{status}");
    }
}

#[test]
fn an_account_without_money_is_left_alone_over_a_restart() {
    let mut world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    world.upstream.rule(
        Match::credential(&secret("k1")),
        Behaviour::refuse(Refusal::insufficient_quota()),
    );
    for _ in 0..4 {
        assert_eq!(world.served(), "k2");
    }
    assert_eq!(world.account("k1")["state"], "out_of_credit");
    world.wait_for_event("out_of_credit", "k1");
    world
        .upstream
        .rule(Match::credential(&secret("k1")), Behaviour::text("hello"));
    wait::until("the database to know", || {
        let shown = world.gateway.cli_json(&["credential", "show", "main/k1", "--json"]);
        shown["out_of_credit_since"].is_string()
    });
    world.gateway.restart();
    assert_eq!(world.account("k1")["state"], "out_of_credit");
    for _ in 0..4 {
        assert_eq!(world.served(), "k2");
    }
    // An operator who has paid says so.
    world.gateway.cli_ok(&["credential", "edit", "main/k1", "--activate"]);
    wait::within(Duration::from_secs(5), "the server to see it", || {
        world.served() == "k1"
    });
}
