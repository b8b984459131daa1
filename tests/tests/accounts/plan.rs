//! Which accounts a call may use, and what is said when none will do.

use serde_json::json;
use testkit::upstream::{Behaviour, Match};

use crate::lab::{HAIKU, Lab, OPUS, assert_done};

#[test]
fn only_accounts_whose_plan_has_the_model_are_asked_in_turn() {
    let lab = Lab::start();
    for (name, mode) in [("a", "console"), ("b", "max"), ("c", "console")] {
        lab.add_ok(name, mode);
        lab.wait_for(name);
    }
    let used = |model: &str, calls: usize| {
        for _ in 0..calls {
            assert_eq!(lab.call(model).status(), 200);
        }
        let received = lab.upstream.take_received();
        let mut used: Vec<_> = received.into_iter().filter_map(|call| call.credential).collect();
        used.sort();
        used.dedup_by(|a, b| a == b);
        used.len()
    };
    assert_eq!(used(OPUS, 3), 1, "one plan has it");
    assert_eq!(used(HAIKU, 3), 3, "all have it, and take turns");
    let explained = lab
        .gateway
        .cli_json(&["explain", "--model", OPUS, "--dialect", "anthropic_messages", "--json"]);
    let why: Vec<_> = explained["excluded"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(why, [&json!("plan"), &json!("plan")], "{explained}");
}

#[test]
fn a_model_of_no_plan_is_403_and_none_that_works_is_503() {
    let lab = Lab::start();
    lab.add_ok("a", "console");
    lab.wait_for("a");
    for model in [OPUS, "claude-2.1"] {
        let refused = lab.call(model);
        assert_eq!(refused.status(), 403, "{}", refused.text());
        assert_eq!(refused.json()["error"]["type"], "permission_error");
    }
    assert!(lab.upstream.take_received().is_empty());
    assert_eq!(lab.call("no-such-model").status(), 404);

    lab.add_ok("b", "max");
    lab.wait_for("b");
    // The first account fails, the next one answers.
    let tokens = lab.authority.secrets();
    let first = tokens.iter().find(|token| token.starts_with("at-")).expect("a token");
    lab.upstream.rule(Match::credential(first), Behaviour::status(500));
    for _ in 0..2 {
        assert_eq!(lab.call(HAIKU).status(), 200);
    }
    lab.upstream.follow(testkit::upstream::Script::default());
    for status in [500, 529, 429] {
        lab.upstream.always(Behaviour::status(status));
        let refused = lab.call(HAIKU);
        assert_eq!(refused.status(), 503, "{status}: {}", refused.text());
    }
}

#[test]
fn the_callers_own_mistake_goes_through_unchanged() {
    let lab = Lab::start();
    lab.add_ok("a", "console");
    lab.add_ok("b", "console");
    lab.wait_for("b");
    lab.upstream.always(Behaviour::status(400));
    let refused = lab.call(HAIKU);
    assert_eq!(refused.status(), 400);
    assert_eq!(lab.upstream.take_received().len(), 1, "and nobody else is asked");
}

/// No file can declare an account, so what its use depends on is set beside the file, also where its upstream is in there.
#[test]
fn the_terms_of_an_account_are_changed_although_its_upstream_is_in_the_file() {
    let lab = Lab::start();
    lab.add_ok("a", "console");
    let edited = lab
        .gateway
        .cli(&["credential", "edit", "claude/a", "--pause-at", "90%"]);
    assert_done(&edited);
    let shown = lab.gateway.cli_json(&["credential", "show", "claude/a", "--json"]);
    assert_eq!(shown["pause_at"], "90%", "{shown}");
}
