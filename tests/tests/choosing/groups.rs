//! Families of models' names go to the upstreams of their group.

use blackbox::CLIENT_KEY;
use blackbox::format::Format;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::Upstream;

use super::{people, upstream};

fn answered_by(gateway: &Tollgate, model: &str) -> (u16, Option<String>) {
    let response = Format::Chat.call(model).bearer(CLIENT_KEY).send(&gateway.url());
    (
        response.status(),
        response.header("x-tollgate-upstream").map(str::to_owned),
    )
}

#[test]
fn a_name_goes_to_the_upstreams_of_its_group() {
    let at = Upstream::start();
    let config = format!(
        "groups: {{openai: [\"gpt-*\", \"o?\"], local: [\"gpt-oss-*\"]}}\nupstreams:\n{}{}{}{}",
        upstream("main", &at, ", group: openai"),
        upstream("house", &at, ", group: local"),
        // Serves everything and is first, but those names belong elsewhere.
        upstream("everything", &at, ", models: [\"*\"], priority: -1"),
        people()
    );
    let gateway = Setup::config(&config).start();
    for (model, expected) in [
        ("GPT-4o", "main"),
        ("o3", "main"),
        ("gpt-oss-20b", "house"),
        ("qwen3", "everything"),
        ("everything/gpt-4o", "everything"),
    ] {
        assert_eq!(
            answered_by(&gateway, model),
            (200, Some(expected.to_owned())),
            "{model}"
        );
    }
    let plan = gateway.cli_json(&["explain", "--model", "gpt-4o", "--json"]);
    assert_eq!(plan["group"], "openai");
    assert_eq!(plan["order"].as_array().map(Vec::len), Some(1), "{plan}");
    assert!(
        gateway
            .cli_ok(&["explain", "--model", "gpt-4o"])
            .contains("by the group openai")
    );
}

#[test]
fn an_upstream_that_names_its_models_serves_no_others_of_the_group() {
    let at = Upstream::start();
    let config = format!(
        "groups: {{openai: [\"gpt-*\"]}}\nupstreams:\n{}{}{}",
        upstream("old", &at, ", group: openai, models: [\"gpt-3*\"], priority: -1"),
        upstream("new", &at, ", group: openai"),
        people()
    );
    let gateway = Setup::config(&config).start();
    assert_eq!(answered_by(&gateway, "gpt-3.5-turbo").1.as_deref(), Some("old"));
    assert_eq!(answered_by(&gateway, "gpt-4o").1.as_deref(), Some("new"));
}

#[test]
fn mistakes_are_told_with_their_line() {
    let at = Upstream::start();
    let config = format!(
        "groups:\n  openai: [\"gpt-*\"]\n  other: [\"GPT-*\"]\n  none: []\nupstreams:\n{}{}",
        upstream("main", &at, ", group: opnai"),
        people()
    );
    let gateway = Setup::config(&config).prepare();
    let output = gateway.cli(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        ":3:11: `groups.other[0]`: the name `GPT-*` is taken on line 2",
        ":4:9: `groups.none`: names no model",
        "`upstreams[0].group`: there is no group `opnai` in `groups`; did you mean `openai`?",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
}
