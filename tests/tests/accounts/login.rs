//! Logging in, from the command line and by API.

use blackbox::{CLIENT_KEY, audit, receipts, wait};
use serde_json::{Value, json};
use testkit::authority::Fault;
use testkit::client::{Request, Response};

use crate::lab::{ADMIN, HAIKU, Lab, assert_done, refusal};

#[test]
fn a_pasted_code_makes_an_account_that_serves_calls() {
    let lab = Lab::start();
    lab.add_ok("me", "max");
    lab.wait_for("me");
    let response = lab.call(HAIKU);
    assert_eq!(response.status(), 200, "{}", response.text());
    let sent = lab.upstream.take_received().pop().expect("the upstream was asked");
    let bearer = format!("Bearer {}", lab.authority.newest_access_token());
    assert_eq!(sent.header("authorization"), Some(bearer.as_str()));
    assert_eq!(sent.header("anthropic-beta"), Some("oauth-2025-04-20"));
    assert_eq!(
        sent.header("user-agent"),
        Some("my-client/1"),
        "the client is who it says it is"
    );
    assert_eq!((sent.header("x-api-key"), sent.header("x-app")), (None, None));
    // The provider's other paths as well.
    let files = Request::get("/v1/files")
        .header("anthropic-version", "2023-06-01")
        .bearer(CLIENT_KEY);
    files.send(&lab.gateway.url());
    let sent = lab.upstream.take_received().pop().expect("the upstream was asked");
    assert_eq!(
        (sent.path(), sent.header("authorization")),
        ("/v1/files", Some(bearer.as_str()))
    );

    let exchange = lab.authority.asked().pop().expect("the code was spent");
    assert_eq!((exchange.grant.as_str(), exchange.status), ("authorization_code", 200));
    assert_eq!(exchange.content_type, "application/json");
    assert_eq!(exchange.fields["client_id"], "app-1");
    let shown = lab.account("me");
    assert_eq!(
        (&shown["plan"], &shown["token"]["valid"], &shown["state"]),
        (&json!("max"), &json!(true), &json!("ready"))
    );
    assert!(
        shown["models"]
            .as_array()
            .is_some_and(|models| models.contains(&json!(HAIKU))),
        "{shown}"
    );
    let listed = lab.listed("me");
    assert_eq!(
        (&listed["status"], &listed["upstream"]),
        (&json!("active"), &json!("claude")),
        "{listed}"
    );
    assert!(lab.gateway.cli_ok(&["account", "show", "me"]).contains("plan"));
}

#[test]
fn the_address_that_a_browser_ends_at_can_be_pasted_too_and_an_account_be_removed() {
    let lab = Lab::start();
    let add = ["account", "add", "me", "--mode", "console", "--code-stdin"];
    assert_done(&lab.log_in(&add, |url| lab.authority.log_in_and_redirect(url)));
    lab.wait_for("me");
    assert!(refusal(&lab.add("me", "console")).contains("account login me"));
    lab.gateway.cli_ok(&["account", "remove", "claude/me"]);
    wait::until("the server to forget it", || lab.account("me").is_null());
    assert!(refusal(&lab.gateway.cli(&["account", "show", "me"])).contains("there is no account `me`"));
}

#[test]
fn an_upstream_that_is_made_with_an_account_levels_out_use() {
    let lab = Lab::prepare();
    let yaml = std::fs::read_to_string(lab.gateway.path("tollgate.yaml")).expect("the configuration");
    let without = yaml.lines().filter(|line| !line.starts_with("upstreams:"));
    let without: Vec<&str> = without.chain(["upstreams: []"]).collect();
    lab.gateway.write_config(&without.join("\n"));
    lab.add_ok("me", "max");
    let made = lab.gateway.cli_json(&["upstream", "show", "anthropic", "--json"]);
    assert!(made.to_string().contains("\"strategy\":\"least_used\""), "{made}");
}

#[test]
fn what_cannot_become_a_login_is_told_with_the_mend() {
    let mut lab = Lab::prepare();
    let early = refusal(&lab.add("me", "max"));
    assert!(early.contains("start `tollgate serve` once"), "{early}");
    lab.gateway.restart();
    lab.gateway.stop();
    let add = ["account", "add", "me", "--mode", "max", "--code-stdin"];
    let pasting = |text: &str| refusal(&lab.log_in(&add, |_| text.to_owned()));
    assert!(pasting("ac-1").contains("paste all of it"));
    assert!(pasting("").contains("paste all of it"));
    assert!(pasting("ac-1#another").contains("is of another login"));
    assert!(pasting("http://x/?error=access_denied&state=s").contains("(access_denied)"));
    let unknown = refusal(&lab.log_in(&add, |url| {
        let pasted = lab.authority.log_in(url);
        pasted.replacen("ac-", "ac-other-", 1)
    }));
    assert!(
        unknown.contains("invalid_grant") && !unknown.contains("planted"),
        "{unknown}"
    );
    lab.authority.fail_next(Fault::status(500));
    assert!(refusal(&lab.add("me", "max")).contains("begin again"));
    lab.authority.fail_next(Fault::refusal("invalid_client"));
    assert!(refusal(&lab.add("me", "max")).contains("check `client_id`"));
    let cli = |arguments: &[&str]| refusal(&lab.gateway.cli(arguments));
    assert!(cli(&["account", "add", "me"]).contains("--code-stdin"));
    assert!(cli(&["account", "add", "--code-stdin"]).contains("name is missing"));
    assert!(cli(&["account", "add", "me", "--code-stdin"]).contains("which mode is not said; there are console, max"));
    assert!(cli(&["account", "add", "me", "--mode", "pro", "--code-stdin"]).contains("no account mode `pro`"));
    assert!(cli(&["account", "login", "me", "--code-stdin"]).contains("there is no account `me`"));
    assert_eq!(
        lab.gateway.cli_json(&["account", "list", "--json"]),
        json!([]),
        "nothing is left behind"
    );
    lab.gateway
        .write_config("accounts: [{name: max, models: [\"claude-*\"]}]");
    let missing = cli(&["account", "add", "me", "--mode", "max", "--code-stdin"]);
    assert!(
        missing.contains("no client id for accounts of mode `max`") && missing.contains("accounts: ["),
        "{missing}"
    );
    lab.gateway.write_config("accounts: [{name: mine, client_id: x}]");
    assert!(cli(&["check"]).contains("has no `provider`; add it"));
}

fn post(lab: &Lab, path: &str, token: &str, body: &Value) -> Response {
    Request::post(path, body).bearer(token).send(&lab.gateway.url())
}

#[test]
fn the_api_logs_in_in_two_halves() {
    let lab = Lab::start();
    let asked = json!({"name": "me", "mode": "max"});
    for (token, status) in [("wrong", 401), (CLIENT_KEY, 401), (ADMIN, 200)] {
        assert_eq!(post(&lab, "/api/admin/accounts/begin", token, &asked).status(), status);
    }
    let begun = post(&lab, "/api/admin/accounts/begin", ADMIN, &asked).json();
    let pasted = lab.authority.log_in(begun["url"].as_str().expect("an address"));
    let code = pasted.split('#').next().expect("a code");
    let complete = |body: &Value| post(&lab, "/api/admin/accounts/complete", ADMIN, body);
    let wrong = complete(&json!({"state": "another", "code": pasted}));
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().contains("another login"), "{}", wrong.text());
    let nobodys = complete(&json!({"state": "nobodys", "code": code}));
    assert!(
        nobodys.status() == 400 && nobodys.text().contains("no login is under way"),
        "{}",
        nobodys.text()
    );
    let done = complete(&json!({"state": begun["state"], "code": code}));
    assert_eq!(done.status(), 200, "{}", done.text());
    assert_eq!(
        (&done.json()["name"], &done.json()["plan"]),
        (&json!("me"), &json!("max"))
    );
    let twice = complete(&json!({"state": begun["state"], "code": code}));
    assert_eq!(twice.status(), 400, "a login is finished once");
    lab.wait_for("me");
    assert_eq!(lab.call(HAIKU).status(), 200);
    for body in ["", "{}", "{\"name\": 1}"] {
        let request = Request::new("POST", "/api/admin/accounts/begin").header("content-type", "application/json");
        let response = request.body(body).bearer(ADMIN).send(&lab.gateway.url());
        assert_eq!(response.status(), 400, "{body}: {}", response.text());
    }
    for (name, problem) in [
        ("x".repeat(129), "longer than 128"),
        (" ".to_owned(), "empty"),
        ("a/b".to_owned(), "`/`"),
        ("a\nb".to_owned(), "control characters"),
    ] {
        let response = post(
            &lab,
            "/api/admin/accounts/begin",
            ADMIN,
            &json!({"name": name, "mode": "max"}),
        );
        let error = response.json()["error"].clone();
        assert_eq!(
            (response.status(), &error["code"]),
            (400, &json!("malformed")),
            "{error}"
        );
        assert!(
            error["message"].as_str().is_some_and(|told| told.contains(problem)),
            "{error}"
        );
    }
    let long = json!({"name": "x".repeat(100_000), "mode": "max", "upstream": "y".repeat(100_000), "again": true});
    let refused = post(&lab, "/api/admin/accounts/begin", ADMIN, &long);
    assert!(refused.text().len() < 2_000, "{}", refused.text());
    let again = json!({"name": "me", "mode": "max"});
    let refused = post(&lab, "/api/admin/accounts/begin", ADMIN, &again);
    assert!(refused.text().contains("exists already"), "{}", refused.text());
    let again = json!({"name": "me", "again": true});
    let begun = post(&lab, "/api/admin/accounts/begin", ADMIN, &again).json();
    let pasted = lab.authority.log_in(begun["url"].as_str().expect("an address"));
    let done = complete(&json!({"code": pasted}));
    assert_eq!(
        (done.status(), &done.json()["plan"]),
        (200, &json!("max")),
        "{}",
        done.text()
    );
    assert_eq!(lab.listed("me")["name"], "me", "one account, logged in anew");
    let nobody = json!({"name": "nobody", "again": true});
    let refused = post(&lab, "/api/admin/accounts/begin", ADMIN, &nobody);
    assert!((400..500).contains(&refused.status()), "{}", refused.text());
    let removed = Request::new("DELETE", "/api/admin/accounts/claude/me")
        .bearer(ADMIN)
        .send(&lab.gateway.url());
    assert_eq!(removed.status(), 200, "{}", removed.text());
}

#[test]
fn use_is_counted_and_forgotten_while_the_books_stay() {
    let lab = Lab::start();
    lab.add_ok("me", "console");
    lab.wait_for("me");
    for _ in 0..3 {
        assert_eq!(lab.call(HAIKU).status(), 200);
    }
    let calls = || lab.listed("me")["use"]["calls"].as_u64();
    wait::until("the calls to be booked", || calls() == Some(3));
    lab.gateway.cli_ok(&["account", "reset-stats", "me"]);
    assert_eq!(calls(), Some(0));
    assert_eq!(lab.call(HAIKU).status(), 200);
    wait::until("the call to be booked", || calls() == Some(1));
    lab.gateway.cli_ok(&["account", "clear-history"]);
    assert_eq!(calls(), Some(0));
    assert_eq!(receipts(&lab.gateway).len(), 4);
    assert_eq!(audit(&lab.gateway)["receipts"], json!(4));
}

#[test]
fn no_token_is_in_a_log_or_in_a_file() {
    let lab = Lab::start();
    lab.add_ok("me", "max");
    lab.wait_for("me");
    lab.upstream.always(testkit::upstream::Behaviour::raw(
        400,
        &[("content-type", "application/json")],
        format!(
            "{{\"error\":{{\"message\":\"bad {}\"}}}}",
            lab.authority.newest_access_token()
        ),
    ));
    let refused = lab.call(HAIKU);
    assert_eq!(refused.status(), 400);
    assert!(!refused.text().contains("planted"), "{}", refused.text());
    lab.authority.fail_next(Fault::refusal("invalid_request"));
    let mut told = lab.gateway.cli_ok(&["account", "list", "--json"]) + &lab.gateway.cli_ok(&["account", "show", "me"]);
    told.push_str(&serde_json::to_string(&lab.accounts()).expect("text"));
    told.push_str(&lab.gateway.cli_ok(&["credential", "list", "--json"]));
    assert!(!told.contains("planted"), "{told}");
    let mut files = 0;
    let mut folders = vec![lab.gateway.dir().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let bytes = std::fs::read(&entry).expect("a file");
            let found = bytes.windows(8).any(|window| window == b"-planted");
            assert!(!found, "a token is in {}", entry.display());
            files += 1;
        }
    }
    assert!(files >= 4, "database, journal and logs were looked at");
}
