//! Commands beside a running server: what they change is in force within a second.

use std::time::Duration;

use blackbox::books::{balance, nanos};
use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, wait};
use serde_json::Value;
use testkit::client::Response;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Upstream};

/// The promise is a second; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(5);

fn call(gateway: &Tollgate, model: &str, key: &str) -> Response {
    Format::Chat.call(model).bearer(key).send(&gateway.url())
}

fn becomes(gateway: &Tollgate, model: &str, key: &str, status: u16) {
    wait::within(SOON, &format!("{model} to be answered with {status}"), || {
        call(gateway, model, key).status() == status
    });
}

#[test]
fn explain_tells_what_the_running_server_knows() {
    let (broken, sound) = (Upstream::start(), Upstream::start());
    broken.always(Behaviour::raw(500, &[], ""));
    let second = format!(
        "models: [\"claude-*\"], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: second, provider: openai, base_url: \"{}\", priority: 1,",
        sound.v1()
    );
    let yaml = config(&broken, "").replace("models: [\"claude-*\"],", &format!("{second} models: [\"gpt-*\"],"));
    let yaml = format!("defaults: {{retries: 0}}\n{yaml}").replace(
        "models: [\"gpt-*\", \"text-embedding-*\"],",
        "models: [\"gpt-*\"], breaker: {failures: 1, window: 60s, open: 10m},",
    );
    let mut gateway = Setup::config(&yaml)
        .env("ADMIN_TOKEN", "an-admin-token-0123456789")
        .start();
    let explain = |gateway: &Tollgate| gateway.cli_json(&["explain", "--model", "gpt-4o", "--json"]);
    let before = explain(&gateway);
    assert_eq!(before["live"], true, "{before}");
    assert_eq!(before["order"][0]["upstream"], "openai-main", "{before}");

    assert_eq!(
        call(&gateway, "gpt-4o", CLIENT_KEY).status(),
        200,
        "by the second upstream"
    );
    let after = explain(&gateway);
    assert_eq!(after["order"][0]["upstream"], "second", "{after}");
    assert_eq!(after["excluded"][0]["reason"], "breaker_open", "{after}");
    let said = gateway.cli_ok(&["explain", "--model", "gpt-4o"]);
    assert!(said.contains("breaker_open until 20"), "{said}");
    assert!(
        said.contains(&format!("as the server at 127.0.0.1:{} sees it", gateway.port())),
        "{said}"
    );

    gateway.set_env("ADMIN_TOKEN", "");
    let closed = explain(&gateway);
    assert_eq!(
        (&closed["live"], &closed["order"][0]["upstream"]),
        (&false.into(), &"openai-main".into()),
        "{closed}"
    );
    assert!(closed["source"].as_str().unwrap().contains("ADMIN_TOKEN"), "{closed}");
    gateway.set_env("ADMIN_TOKEN", "another-admin-token-0123456789");
    let stranger = explain(&gateway);
    assert!(
        stranger["source"].as_str().unwrap().contains("needs `authorization"),
        "{stranger}"
    );
    assert!(gateway.stop().success());
    let alone = explain(&gateway);
    assert!(alone["source"].as_str().unwrap().contains("no server runs"), "{alone}");
}

/// The key that `key add` printed.
fn add_key(gateway: &Tollgate, name: &str, more: &[&str]) -> String {
    let said = gateway.cli_ok(&[&["key", "add", name], more].concat());
    said.split_whitespace()
        .find(|word| word.starts_with("sk-tg-"))
        .unwrap_or_else(|| panic!("no key in {said}"))
        .to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect()
}

/// A command that must be refused; what it says.
fn refused(gateway: &Tollgate, arguments: &[&str]) -> String {
    let output = gateway.cli(arguments);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn users_and_keys() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    gateway.cli_ok(&["user", "add", "bob", "--policy", "soft", "--opening-credit", "1.00"]);
    assert!(
        refused(&gateway, &["user", "add", "BOB"]).contains("bob"),
        "names differ by more than their case"
    );
    let key = add_key(&gateway, "bobs", &["--user", "bob"]);
    becomes(&gateway, "gpt-4o", &key, 200);
    gateway.cli_ok(&["key", "edit", "bobs", "--model", "claude-*", "--rpm", "1000"]);
    becomes(&gateway, "gpt-4o", &key, 403);
    let shown = gateway.cli_json(&["key", "show", "bobs", "--json"]);
    assert_eq!(
        (shown["models"][0].as_str(), shown["limits"]["rpm"].as_i64()),
        (Some("claude-*"), Some(1000)),
        "{shown}"
    );
    gateway.cli_ok(&["key", "edit", "bobs", "--model", ""]);
    becomes(&gateway, "gpt-4o", &key, 200);
    gateway.cli_ok(&["key", "edit", "bobs", "--expires", "2020-01-01"]);
    becomes(&gateway, "gpt-4o", &key, 401);
    gateway.cli_ok(&["key", "edit", "bobs", "--expires", "never"]);
    becomes(&gateway, "gpt-4o", &key, 200);
    assert_eq!(
        names(&gateway.cli_json(&["key", "list", "--user", "bob", "--json"])),
        ["bobs"]
    );
    gateway.cli_ok(&["key", "remove", "bobs"]);
    becomes(&gateway, "gpt-4o", &key, 401);

    let again = add_key(&gateway, "again", &["--user", "bob"]);
    becomes(&gateway, "gpt-4o", &again, 200);
    gateway.cli_ok(&["user", "edit", "bob", "--name", "robert"]);
    becomes(&gateway, "gpt-4o", &again, 200);
    let mut users = names(&gateway.cli_json(&["user", "list", "--json"])).join(" ");
    assert_eq!(users, "alice robert");
    gateway.cli_ok(&["user", "remove", "robert"]);
    becomes(&gateway, "gpt-4o", &again, 401);
    users = names(&gateway.cli_json(&["user", "list", "--json"])).join(" ");
    assert_eq!(users, "alice");

    // What the file declares is the file's.
    for arguments in [
        &["key", "remove", "laptop"][..],
        &["user", "remove", "alice"],
        &["key", "edit", "laptop", "--rpm", "1"],
    ] {
        let said = refused(&gateway, arguments);
        assert!(said.contains("file"), "{arguments:?}: {said}");
    }
    assert_eq!(call(&gateway, "gpt-4o", CLIENT_KEY).status(), 200);
}

#[test]
fn upstreams_credentials_and_models() {
    let (upstream, second) = (Upstream::start(), Upstream::start());
    let gateway = Tollgate::start(&config(&upstream, ""));
    assert_eq!(call(&gateway, "mine", CLIENT_KEY).status(), 404);
    let base = second.v1();
    let added = gateway.cli_with_input(
        &[
            "upstream",
            "add",
            "own",
            "--provider",
            "openai",
            "--base-url",
            &base,
            "--model",
            "own-*",
            "--header",
            "x-team=blue",
            "--key-stdin",
        ],
        "sk-first-credential-0123456789",
    );
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    becomes(&gateway, "own-1", CLIENT_KEY, 200);
    let received = second.take_received().pop().unwrap();
    assert_eq!(
        (received.credential.as_deref(), received.header("x-team")),
        (Some("sk-first-credential-0123456789"), Some("blue"))
    );

    gateway.cli_ok(&[
        "model",
        "add",
        "mine",
        "--target",
        "own/own-2,weight=3",
        "--alias",
        "ours",
        "--price",
        "input=1.00,output=2.00",
    ]);
    becomes(&gateway, "ours", CLIENT_KEY, 200);
    let response = call(&gateway, "MINE", CLIENT_KEY);
    assert_eq!(
        response.header("x-tollgate-cost").map(|cost| nanos(&Value::from(cost))),
        Some(12 * 1_000 + 7 * 2_000)
    );
    assert_eq!(second.take_received().pop().unwrap().model.as_deref(), Some("own-2"));
    let plan = gateway.cli_json(&["explain", "--model", "ours", "--json"]);
    assert_eq!(
        (
            plan["order"][0]["upstream"].as_str(),
            plan["order"][0]["model"].as_str()
        ),
        (Some("own"), Some("own-2")),
        "{plan}"
    );
    let other = gateway.cli_json(&[
        "explain",
        "--model",
        "ours",
        "--operation",
        "completions",
        "--dialect",
        "gemini",
        "--json",
    ]);
    assert_eq!(other["excluded"][0]["reason"], "dialect", "{other}");
    assert!(
        refused(&gateway, &["explain", "--model", "mime"]).contains("mine"),
        "did you mean …?"
    );

    let rotated = gateway.cli_with_input(
        &["credential", "add", "spare", "--upstream", "own", "--key-stdin"],
        "sk-second-credential-0123456789",
    );
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let list = gateway.cli_json(&["credential", "list", "--upstream", "own", "--json"]);
    assert_eq!(names(&list).len(), 2, "{list}");
    assert!(!list.to_string().contains("credential-0123"), "{list}");
    gateway.cli_ok(&["credential", "remove", "own/default"]);
    wait::within(SOON, "the spare credential", || {
        call(&gateway, "mine", CLIENT_KEY);
        second
            .take_received()
            .pop()
            .is_some_and(|call| call.credential.as_deref() == Some("sk-second-credential-0123456789"))
    });
    gateway.cli_ok(&["model", "edit", "mine", "--price", "input=3.00,output=2.00"]);
    wait::within(SOON, "the new price", || {
        call(&gateway, "mine", CLIENT_KEY)
            .header("x-tollgate-cost")
            .map(|cost| nanos(&Value::from(cost)))
            == Some(12 * 3_000 + 7 * 2_000)
    });
    gateway.cli_ok(&["model", "remove", "mine"]);
    becomes(&gateway, "mine", CLIENT_KEY, 404);
    gateway.cli_ok(&["upstream", "edit", "own", "--model", "other-*"]);
    becomes(&gateway, "own-1", CLIENT_KEY, 404);
    becomes(&gateway, "other-1", CLIENT_KEY, 200);
    gateway.cli_ok(&["upstream", "remove", "own"]);
    becomes(&gateway, "other-1", CLIENT_KEY, 404);
    for arguments in [
        &["upstream", "remove", "openai-main"][..],
        &["credential", "remove", "openai-main/k1"],
    ] {
        assert!(refused(&gateway, arguments).contains("file"), "{arguments:?}");
    }
    assert!(gateway.cli_ok(&["upstream", "list"]).contains("openai-main"));
}

#[test]
fn money() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, "").replace("- {name: alice}", "- {name: alice, policy: hard}"));
    assert_eq!(call(&gateway, "gpt-4o", CLIENT_KEY).status(), 402);
    gateway.cli_ok(&["balance", "add", "alice", "10.50", "--note", "paid by card"]);
    becomes(&gateway, "gpt-4o", CLIENT_KEY, 200);
    blackbox::books::settled(&gateway);
    let spent = 10_500_000_000 - balance(&gateway, "alice");
    assert!(spent > 0);
    gateway.cli_ok(&["balance", "adjust", "alice", "-10.25", "--note", "typed wrong"]);
    assert_eq!(balance(&gateway, "alice"), 250_000_000 - spent);
    let shown = gateway.cli_json(&["balance", "show", "alice", "--json"]);
    let notes: Vec<&str> = shown["movements"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|movement| movement["note"].as_str())
        .collect();
    assert!(
        notes.contains(&"paid by card") && notes.contains(&"typed wrong"),
        "{shown}"
    );
    for (arguments, why) in [
        (&["balance", "add", "alice", "ten"][..], "no number"),
        (&["balance", "add", "alice", "0.0000000001"], "more than nine decimals"),
        (&["balance", "add", "alice", "-5.00"], "adding is adding"),
        (&["balance", "add", "alice", "99999999999999"], "beyond any account"),
    ] {
        let said = refused(&gateway, arguments);
        assert_eq!(said.trim().lines().count(), 1, "{why}: {said}");
    }
    assert_eq!(balance(&gateway, "alice"), 250_000_000 - spent);
    gateway.cli_ok(&["balance", "adjust", "alice", "-1.00", "--note", "all of it"]);
    becomes(&gateway, "gpt-4o", CLIENT_KEY, 402);
    let report = blackbox::audit(&gateway);
    assert_eq!(report["passes"], true, "{report}");
}

#[test]
fn the_small_ones() {
    let upstream = Upstream::start();
    let mut gateway = Tollgate::start(&config(&upstream, ""));
    assert_eq!(call(&gateway, "gpt-4o", CLIENT_KEY).status(), 200);
    blackbox::books::settled(&gateway);
    gateway.cli_ok(&["healthcheck"]);
    gateway.cli_ok(&["migrate"]);
    let status = gateway.cli_json(&["journal", "status", "--json"]);
    assert_eq!(
        (status["records"].as_i64(), status["waiting"].as_i64()),
        (Some(1), Some(0)),
        "{status}"
    );
    assert!(
        status["held_by"].to_string().contains(&gateway.pid().to_string()),
        "{status}"
    );
    // Booked again, and yet only once.
    let before = balance(&gateway, "alice");
    gateway.cli_ok(&["journal", "replay"]);
    blackbox::books::settled(&gateway);
    assert_eq!(call(&gateway, "gpt-4o", CLIENT_KEY).status(), 200);
    assert!(gateway.stop().success());
    assert_eq!(balance(&gateway, "alice"), 2 * before);
    gateway.cli_ok(&["journal", "replay"]);
    assert_eq!(balance(&gateway, "alice"), 2 * before);
    assert_eq!(blackbox::audit(&gateway)["receipts"], 2);
    let output = gateway.cli(&["healthcheck"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("serve"), "{said}");
}

#[test]
fn an_audit_tells_of_receipts_that_wait_in_the_journal() {
    let upstream = Upstream::start();
    let mut gateway = Tollgate::start(&config(&upstream, ""));
    assert_eq!(call(&gateway, "gpt-4o", CLIENT_KEY).status(), 200);
    blackbox::books::settled(&gateway);
    gateway.cli_ok(&["backup", "data/copy.db"]);
    for _ in 0..3 {
        assert_eq!(call(&gateway, "gpt-4o", CLIENT_KEY).status(), 200);
    }
    assert!(gateway.stop().success());
    let all = gateway.cli_json(&["audit", "--json"]);
    assert_eq!(
        (all["receipts"].as_i64(), all["waiting"].as_i64()),
        (Some(4), Some(0)),
        "{all}"
    );
    let said = gateway.cli_ok(&["audit"]);
    assert!(said.trim_end().ends_with("the books agree"), "{said}");
    // The copy does not have the last three: to it they wait.
    let copy = ["--set", "storage.url=sqlite://data/copy.db"];
    let part = gateway.cli_json(&[&["audit", "--json"][..], &copy].concat());
    assert_eq!(
        (part["receipts"].as_i64(), part["waiting"].as_i64()),
        (Some(1), Some(3)),
        "{part}"
    );
    let said = gateway.cli_ok(&[&["audit"][..], &copy].concat());
    assert!(
        said.contains("the books agree; 3 receipts still wait in the journal"),
        "{said}"
    );
}

#[test]
fn what_is_missing_is_named_with_its_mend() {
    let gateway = Setup::without_config().prepare();
    gateway.cli_ok(&["user", "add", "alice"]);
    gateway.cli_ok(&["key", "add", "laptop", "--user", "alice"]);
    let refused = |arguments: &[&str], code: i32, told: &str| {
        let output = gateway.cli(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    };
    refused(&["key", "edit", "laptop"], 2, "there is nothing to change");
    refused(&["user", "add", ""], 1, "is empty; give it a name");
    refused(&["key", "edit", "laptop", "--name", ""], 1, "is empty; give it a name");
    // Nobody listens at port 1.
    let nowhere = "storage.url=postgres://u:hidden@127.0.0.1:1/d";
    refused(&["user", "list", "--set", nowhere], 1, "127.0.0.1:1/d: ");
    refused(&["user", "list", "--set", nowhere], 1, "DATABASE_URL");
}
