//! A running server from outside: first start, changes while it runs, and its end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};

/// A change must be in force within a second; this allows for a machine that compiles at the same time.
const IN_FORCE_MAX: Duration = Duration::from_secs(10);

const CONFIG: &str = "upstreams: [{name: demo, provider: demo}]\nusers: [{name: alice}]\n\
                      keys: [{name: k, user: alice, key: sk-tg-file-key}]\n";

fn chat(tollgate: &Tollgate, key: &str, model: &str) -> Response {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello!"}]});
    Request::post("/v1/chat/completions", &body)
        .bearer(key)
        .send(&tollgate.url())
}

fn becomes(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < IN_FORCE_MAX, "{what} did not come about");
        std::thread::yield_now();
    }
}

fn printed_key(tollgate: &Tollgate) -> String {
    let said = tollgate.stdout();
    let key = said
        .split("API_KEY=")
        .nth(1)
        .unwrap_or_else(|| panic!("no key in {said}"));
    key.lines().next().unwrap().to_owned()
}

#[test]
fn a_newcomer_has_an_answer_and_the_key_is_printed_once() {
    let mut tollgate = Setup::without_config().start();
    let key = printed_key(&tollgate);
    let answer = chat(&tollgate, &key, "demo");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(
        tollgate
            .stdout()
            .contains(&format!("export OPENAI_BASE_URL={}/v1\n", tollgate.url()))
    );
    tollgate.restart();
    assert_eq!(tollgate.stdout().matches("sk-tg-").count(), 1);
    assert_eq!(chat(&tollgate, &key, "demo").status(), 200, "the key stays");
    assert!(tollgate.cli_ok(&["healthcheck"]).contains("is ready"));
    assert_eq!(tollgate.cli_json(&["user", "list", "--json"])[0]["name"], "me");
    tollgate.cli_ok(&["key", "remove", "first"]);
    tollgate.restart();
    assert_eq!(
        tollgate.stdout().matches("sk-tg-").count(),
        1,
        "who removes the last key gets no other"
    );
}

#[test]
fn providers_are_found_in_the_environment() {
    let mut tollgate = Setup::without_config()
        .env("ANTHROPIC_API_KEY", "sk-ant-planted-0123456789")
        .start();
    assert!(
        tollgate.stdout().contains("export ANTHROPIC_BASE_URL="),
        "{}",
        tollgate.stdout()
    );
    let upstreams = tollgate.cli_json(&["upstream", "list", "--json"]);
    assert_eq!(
        (upstreams.as_array().unwrap().len(), &upstreams[0]["name"]),
        (1, &"anthropic".into())
    );
    // One of that name made by hand goes before the environment's, rather than against it.
    tollgate.set_env("ANTHROPIC_API_KEY", "");
    tollgate.restart();
    assert_eq!(tollgate.cli_json(&["upstream", "list", "--json"])[0]["name"], "demo");
    tollgate.cli_ok(&["upstream", "add", "anthropic", "--provider", "anthropic"]);
    tollgate.set_env("ANTHROPIC_API_KEY", "sk-ant-planted-0123456789");
    tollgate.restart();
    assert_eq!(
        tollgate.cli_json(&["upstream", "show", "anthropic", "--json"])["origin"],
        "cli"
    );
    let said = tollgate.stdout() + &tollgate.stderr();
    assert!(!said.contains("planted"), "{said}");
}

#[test]
fn commands_beside_a_running_server_are_in_force_within_a_second() {
    let tollgate = Tollgate::start(CONFIG);
    let made = tollgate.cli_json(&["key", "add", "second", "--user", "alice", "--model", "demo", "--json"]);
    let key = made["key"].as_str().unwrap();
    becomes("the new key", || chat(&tollgate, key, "demo").status() == 200);
    assert_eq!(chat(&tollgate, key, "demo-other").status(), 403);
    tollgate.cli_ok(&["model", "add", "smart", "--target", "demo/demo"]);
    tollgate.cli_ok(&["key", "edit", "second", "--model", ""]);
    becomes("the new model", || chat(&tollgate, key, "SMART").status() == 200);
    tollgate.cli_ok(&["key", "remove", "second"]);
    becomes("the removal", || chat(&tollgate, key, "demo").status() == 401);
    assert!(
        String::from_utf8_lossy(&tollgate.cli(&["key", "remove", "k"]).stderr)
            .contains("declared in the configuration file")
    );
    assert_eq!(chat(&tollgate, "sk-tg-file-key", "demo").status(), 200);
}

#[test]
fn the_file_is_watched_and_a_wrong_one_refused() {
    let tollgate = Tollgate::start(CONFIG);
    let smart = format!("{CONFIG}models: [{{name: smart, targets: [{{upstream: demo, model: demo}}]}}]\n");
    tollgate.write_config(&smart);
    becomes("the new model", || {
        chat(&tollgate, "sk-tg-file-key", "smart").status() == 200
    });
    tollgate.write_config("upstreams: [{name: demo, provider: dmo}]\n");
    tollgate.wait_for_output(
        "tollgate.yaml:1:36: `upstreams[0].provider`: there is no provider `dmo`; did you mean `demo`?",
    );
    assert_eq!(
        chat(&tollgate, "sk-tg-file-key", "smart").status(),
        200,
        "the old one serves on"
    );
    // A name that is taken by something made elsewhere is found only in the database.
    tollgate.write_config(&smart);
    tollgate.cli_ok(&["user", "add", "bob"]);
    tollgate.write_config(&CONFIG.replace("[{name: alice}]", "[{name: alice}, {name: bob}]"));
    tollgate.wait_for_output("user `bob` exists already");
    assert_eq!(chat(&tollgate, "sk-tg-file-key", "smart").status(), 200);
    tollgate.write_config(&CONFIG.replace("sk-tg-file-key", "sk-tg-other-key"));
    becomes("the other key", || {
        chat(&tollgate, "sk-tg-other-key", "demo").status() == 200
    });
    assert_eq!(chat(&tollgate, "sk-tg-file-key", "demo").status(), 401);
    assert_eq!(chat(&tollgate, "sk-tg-other-key", "smart").status(), 404);
}

#[test]
fn sighup_reads_the_configuration_again() {
    let tollgate = Setup::config("users: [{name: u}]\nkeys: [{name: k, user: u, key: \"${K}\"}]\n")
        .file(".env", "K=sk-tg-one\n")
        .start();
    assert_eq!(chat(&tollgate, "sk-tg-one", "demo").status(), 200);
    std::fs::write(tollgate.path(".env"), "K=sk-tg-two\n").unwrap();
    tollgate.sighup();
    becomes("the key of .env", || {
        chat(&tollgate, "sk-tg-two", "demo").status() == 200
    });
    assert_eq!(chat(&tollgate, "sk-tg-one", "demo").status(), 401);
    let said = tollgate.stdout() + &tollgate.stderr();
    assert!(!said.contains("sk-tg-one") && !said.contains("sk-tg-two"), "{said}");
}

#[test]
fn it_stops_gently_and_a_second_process_is_refused() {
    let mut tollgate = Tollgate::start(CONFIG);
    let second = tollgate.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        complaint.contains(&format!("in use by process {}", tollgate.pid())),
        "{complaint}"
    );
    for _ in 0..5 {
        assert_eq!(chat(&tollgate, "sk-tg-file-key", "demo").status(), 200);
    }
    assert_eq!(tollgate.stop().code(), Some(0));
    let audit = tollgate.cli_json(&["audit", "--json"]);
    assert_eq!((&audit["passes"], &audit["receipts"]), (&true.into(), &5.into()));
    assert_eq!(tollgate.cli_json(&["journal", "status", "--json"])["waiting"], 0);
}

#[test]
fn a_second_signal_stops_at_once() {
    // A stream that goes on for long keeps a gentle stop waiting.
    let upstream = testkit::upstream::Upstream::start();
    upstream.always(testkit::upstream::Behaviour::stall());
    let config = format!(
        "upstreams: [{{name: a, provider: openai, base_url: '{}', credentials: [{{name: k, key: sk-x}}]}}]\n",
        upstream.v1()
    );
    let mut tollgate = Tollgate::start(&format!("{config}{}", CONFIG.split_once('\n').unwrap().1));
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]});
    let call = Request::post("/v1/chat/completions", &body)
        .bearer("sk-tg-file-key")
        .open(&tollgate.url())
        .unwrap();
    upstream.wait_for_calls(1);
    tollgate.sigterm();
    tollgate.wait_for_output("once more to stop now");
    assert!(tollgate.is_running());
    assert_eq!(tollgate.stop().code(), Some(1));
    drop(call);
}

#[test]
fn a_replay_books_what_a_restored_database_lacks() {
    let mut tollgate = Tollgate::start(CONFIG);
    assert_eq!(chat(&tollgate, "sk-tg-file-key", "demo").status(), 200);
    becomes("the first receipt", || {
        tollgate.cli_json(&["audit", "--json"])["receipts"] == 1
    });
    tollgate.cli_ok(&["backup", "copy.db"]);
    assert_eq!(chat(&tollgate, "sk-tg-file-key", "demo").status(), 200);
    assert_eq!(tollgate.stop().code(), Some(0));
    for file in ["tollgate.db-wal", "tollgate.db-shm"] {
        std::fs::remove_file(tollgate.path("data").join(file)).ok();
    }
    std::fs::rename(tollgate.path("copy.db"), tollgate.path("data/tollgate.db")).unwrap();
    assert_eq!(tollgate.cli_json(&["audit", "--json"])["receipts"], 1);
    for (booked, repeated) in [(1, 1), (0, 2)] {
        let replayed = tollgate.cli_json(&["journal", "replay", "--json"]);
        assert_eq!(
            (&replayed["booked"], &replayed["repeated"]),
            (&booked.into(), &repeated.into())
        );
    }
    tollgate.restart();
    let beside = tollgate.cli_json(&["journal", "replay", "--json"]);
    assert_eq!(
        beside["by"],
        tollgate.pid().to_string(),
        "a running server does it itself"
    );
    assert_eq!(tollgate.cli_json(&["audit", "--json"])["receipts"], 2);
}

#[test]
fn views_and_metrics_take_their_tokens() {
    let tollgate = Setup::config(CONFIG).env("ADMIN_TOKEN", "tg-admin-x").start();
    chat(&tollgate, "sk-tg-file-key", "demo");
    let get = |path: &str, token: &str| Request::get(path).bearer(token).send(&tollgate.url());
    for path in ["/api/stats", "/api/accounts", "/api/requests?limit=50", "/metrics"] {
        assert_eq!(
            (get(path, "tg-admin-x").status(), get(path, "sk-tg-file-key").status()),
            (200, 401),
            "{path}"
        );
    }
    for path in [
        "/api/me/balance",
        "/api/me/usage",
        "/api/me/models",
        "/v1/dashboard/billing/subscription",
        "/api/v1/dashboard/billing/subscription",
    ] {
        assert_eq!(
            (get(path, "sk-tg-file-key").status(), get(path, "tg-admin-x").status()),
            (200, 401),
            "{path}"
        );
    }
    // The data plane tells the control plane where a client is.
    for (name, network, status) in [("here", "127.0.0.0/8", 200), ("there", "10.0.0.0/8", 401)] {
        let made = tollgate.cli_json(&["key", "add", name, "--user", "alice", "--address", network, "--json"]);
        let key = made["key"].as_str().unwrap().to_owned();
        becomes("the bound key", || {
            let answer = get("/api/me/balance", &key);
            answer.status() == status && (status == 200 || answer.text().contains("from this address"))
        });
    }
    becomes("the request log", || {
        let requests: Value = get("/api/requests", "tg-admin-x").json();
        requests["requests"][0]["model"] == "demo"
    });
}

#[test]
fn the_demonstration_has_users_prices_and_leaves_nothing() {
    let tollgate = Setup::without_config()
        .command(&["demo"])
        .env("OPENAI_API_KEY", "sk-planted")
        .start();
    let key = printed_key(&tollgate);
    let answer = chat(&tollgate, &key, "smart");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_ne!(answer.header("x-tollgate-cost"), Some("0.00"));
    assert!(!tollgate.path("data").exists());
}

#[test]
fn log_files_are_written_by_the_day() {
    let mut tollgate = Tollgate::start(&format!("{CONFIG}logs: {{dir: data/logs, format: text}}\n"));
    assert_eq!(tollgate.stop().code(), Some(0));
    let mut files: Vec<_> = std::fs::read_dir(tollgate.path("data/logs"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| !file.to_string_lossy().contains("/credentials."))
        .collect();
    files.sort();
    assert_eq!(files.len(), 1, "{files:?}");
    let log = std::fs::read_to_string(&files[0]).unwrap();
    assert!(
        log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{log}"
    );
    assert!(
        log.contains("\"stopped\"") && tollgate.stdout().contains("stopped"),
        "{log}"
    );
}
