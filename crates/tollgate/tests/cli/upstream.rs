//! `tollgate upstream`, `credential`, `model` and `explain`: from a provider's key to where a name leads.

use crate::place::{Place, text};

#[test]
fn secrets_come_in_without_the_shells_history() {
    let place = Place::new();
    let environment = [("MY_KEY", "sk-from-the-environment-a1b2")];
    let output = place.run_with(
        &environment,
        &["upstream", "add", "o", "--provider", "openai", "--key-env", "MY_KEY"],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = place.run_with(
        &[],
        &["credential", "add", "second", "--upstream", "o", "--key-stdin"],
        "sk-from-standard-input-c3d4\n",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        place.refused(&["credential", "add", "o/third"]).contains("--key-stdin"),
        "no terminal to ask at"
    );
    assert!(
        place
            .refused(&["credential", "add", "o/third", "--key-env", "NOT_THERE"])
            .contains("NOT_THERE is not set")
    );
    let said = place.ok(&["credential", "list"])
        + &place.ok(&["upstream", "show", "o"])
        + &place.ok(&["upstream", "list", "--json"]);
    assert!(said.contains("sk-…a1b2") && said.contains("sk-…c3d4"), "{said}");
    assert!(!said.contains("from"), "{said}");
    assert_eq!(
        place
            .run(&["credential", "add", "o/x", "--key", "a", "--key-stdin"])
            .status
            .code(),
        Some(2)
    );
    place.ok(&["credential", "edit", "o/second", "--weight", "3"]);
    assert_eq!(place.json(&["credential", "show", "o/second", "--json"])["weight"], 3);
    place.ok(&["credential", "remove", "o/second"]);
    assert_eq!(
        place
            .json(&["credential", "list", "--upstream", "o", "--json"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_a_preset_leaves_open_is_given_by_flags() {
    let place = Place::new();
    let refused = place.refused(&["upstream", "add", "aws", "--provider", "bedrock"]);
    assert!(refused.contains("wants `variables: {region: …}`"), "{refused}");
    place.ok(&[
        "upstream",
        "add",
        "aws",
        "--provider",
        "bedrock",
        "--variable",
        "region=eu-west-1",
    ]);
    let shown = place.json(&["upstream", "show", "aws", "--json"]);
    assert_eq!(shown["variables"]["region"], "eu-west-1");
}

#[test]
fn upstreams_and_models_are_declared_edited_and_explained() {
    let place = Place::new();
    assert!(
        place
            .refused(&["upstream", "add", "o", "--provider", "opnai"])
            .contains("did you mean `openai`?")
    );
    assert!(
        place
            .refused(&["upstream", "add", "a/b", "--provider", "openai"])
            .contains("must not contain /")
    );
    place.ok(&[
        "upstream",
        "add",
        "o",
        "--provider",
        "openai",
        "--key",
        "sk-verysecretindeed0123",
        "--header",
        "x-team=blue",
        "--breaker",
        "off",
    ]);
    place.ok(&[
        "upstream",
        "add",
        "c",
        "--provider",
        "anthropic",
        "--key",
        "sk-ant-verysecretindeed0123",
        "--priority",
        "-1",
    ]);
    place.ok(&[
        "upstream",
        "edit",
        "o",
        "--priority",
        "2",
        "--idle-timeout",
        "30s",
        "--name",
        "openai-main",
    ]);
    let shown = place.json(&["upstream", "show", "openai-main", "--json"]);
    assert_eq!(
        (
            &shown["priority"],
            &shown["timeouts"]["idle"],
            &shown["breaker"],
            &shown["headers"][0]
        ),
        (&2.into(), &"30s".into(), &"off".into(), &"x-team".into())
    );
    assert!(
        place
            .refused(&["model", "add", "m", "--target", "nobody"])
            .contains("there is no upstream `nobody`")
    );
    assert!(place.refused(&["model", "add", "m"]).contains("`targets` is missing"));
    place.ok(&[
        "model",
        "add",
        "smart",
        "--target",
        "openai-main/gpt-4o,weight=3",
        "--target",
        "c/claude-sonnet-4-5",
        "--alias",
        "best",
        "--price",
        "input=2.50,output=10.00",
    ]);
    place.ok(&["model", "edit", "smart", "--strategy", "weighted"]);
    place.ok(&["model", "edit", "smart", "--capabilities", "video=false,image=true"]);
    assert!(
        place
            .refused(&["model", "edit", "smart", "--capabilities", "sight=true"])
            .contains("sight")
    );
    let model = place.json(&["model", "show", "Smart", "--json"]);
    assert_eq!(
        (
            &model["strategy"],
            &model["targets"][0]["weight"],
            &model["price"]["input"]
        ),
        (&"weighted".into(), &3.into(), &"2.50".into())
    );
    let chat = place.json(&["explain", "--model", "BEST", "--json"]);
    assert_eq!(chat["order"].as_array().unwrap().len(), 2, "{chat}");
    let plan = place.json(&["explain", "--model", "BEST", "--operation", "completions", "--json"]);
    assert_eq!(
        (plan["order"].as_array().unwrap().len(), &plan["order"][0]["upstream"]),
        (1, &"openai-main".into())
    );
    assert_eq!(
        (&plan["excluded"][0]["upstream"], &plan["excluded"][0]["reason"]),
        (&"c".into(), &"dialect".into())
    );
    let seeing = place.json(&["explain", "--model", "smart", "--needs", "video,image", "--json"]);
    let reasons: Vec<_> = seeing["excluded"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["reason"].as_str(), one["lacks"].as_str()))
        .collect();
    assert_eq!(reasons, [(Some("capability"), Some("video")); 2], "{seeing}");
    let said = place.ok(&["explain", "--model", "smart", "--tokens", "9000000"]);
    assert!(said.contains("capability: context"), "{said}");
    assert!(
        place
            .refused(&["explain", "--model", "smart", "--needs", "sight"])
            .contains("there is no capability `sight`")
    );
    let said = place.ok(&["explain", "--model", "smart", "--dialect", "anthropic_messages"]);
    // By weight, either may come first.
    assert!(said.contains("claude-sonnet-4-5") && said.contains("gpt-4o"), "{said}");
    assert!(
        place
            .refused(&["explain", "--model", "frobnicate-9"])
            .contains("no upstream serves `frobnicate-9`")
    );
    place.ok(&["user", "add", "u"]);
    place.ok(&["key", "add", "k", "--user", "u", "--model", "gpt-*"]);
    assert!(
        place
            .refused(&["explain", "--model", "smart", "--key", "k"])
            .contains("may not use `smart`")
    );
    place.ok(&["model", "remove", "smart"]);
    place.ok(&["upstream", "remove", "c"]);
    assert_eq!(place.json(&["upstream", "list", "--json"]).as_array().unwrap().len(), 1);
}
