//! Uses of a credential that no call of the process itself counts: other paths of the provider, and other replicas.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blackbox::postgres::Database;
use blackbox::wait;
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Upstream};

const KEY: &str = "sk-tg-passthrough-0123456789abcdef";
const ADMIN: &str = "admin-token-of-the-operator-0123456789";
/// Replicas seal with the same key.
const SEAL: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Limits of a day are looked at within one.
fn away_from_midnight() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let today = now.as_secs() % 86_400;
    if today > 86_400 - 120 {
        wait::lasts(Duration::from_secs(86_401 - today));
    }
}

fn config(upstream: &Upstream, limit: u64) -> String {
    format!(
        "defaults: {{retries: 0}}\nupstreams:\n  - {{name: main, provider: openai, base_url: \"{}\", models: [m], \
         breaker: off, credentials: [{{name: k1, key: sk-secret-of-k1, daily_limit: {limit}}}]}}\n\
         users: [{{name: alice}}]\nkeys: [{{name: open, user: alice, key: {KEY}, passthrough: true}}]\n",
        upstream.v1()
    )
}

fn files(gateway: &Tollgate) -> Response {
    Request::get("/v1/files").bearer(KEY).send(&gateway.url())
}

fn call(gateway: &Tollgate) -> Response {
    let messages = json!([{"role": "user", "content": "hello"}]);
    Request::post("/v1/chat/completions", &json!({"model": "m", "messages": messages}))
        .bearer(KEY)
        .send(&gateway.url())
}

fn account(gateway: &Tollgate) -> Value {
    let answer = Request::get("/api/accounts").bearer(ADMIN).send(&gateway.url()).json();
    answer["accounts"][0].clone()
}

fn list() -> Behaviour {
    Behaviour::raw(200, &[("content-type", "application/json")], "{\"data\": []}")
}

#[test]
fn other_paths_of_a_provider_use_a_credential_too() {
    away_from_midnight();
    let upstream = Upstream::start();
    let mut gateway = Setup::config(&config(&upstream, 4)).env("ADMIN_TOKEN", ADMIN).start();
    upstream.then(list());
    upstream.then(list());
    for _ in 0..2 {
        assert_eq!(files(&gateway).status(), 200);
    }
    assert_eq!(account(&gateway)["uses_today"], 2);
    assert_eq!(call(&gateway).status(), 200);

    // Nothing was written down by the calls themselves; the end of the process writes it.
    gateway.stop();
    gateway.restart();
    assert_eq!(account(&gateway)["uses_today"], 3);
    upstream.then(list());
    assert_eq!(files(&gateway).status(), 200);
    upstream.take_received();
    let refused = files(&gateway);
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(
        refused.text().contains("as much as the operator allows"),
        "{}",
        refused.text()
    );
    assert_eq!(call(&gateway).status(), 503);
    assert_eq!(upstream.take_received().len(), 0, "nobody was asked in vain");
}

#[test]
fn replicas_learn_what_the_others_used() {
    shared("sqlite://shared.db");
}

#[test]
fn so_they_do_with_postgres() {
    if let Some(database) = Database::create("uses") {
        shared(&database.url());
    }
}

fn shared(database: &str) {
    away_from_midnight();
    let upstream = Upstream::start();
    upstream.always(Behaviour::text("hello"));
    let folder = tempfile::tempdir().expect("a folder");
    let database = database.replace("sqlite://", &format!("sqlite://{}/", folder.path().display()));
    let start = || {
        let setup = Setup::config(&config(&upstream, 5)).env("ADMIN_TOKEN", ADMIN);
        setup.env("DATABASE_URL", &database).env("ENCRYPTION_KEY", SEAL).start()
    };
    let (one, other) = (start(), start());
    for _ in 0..3 {
        assert_eq!(call(&one).status(), 200);
    }
    wait::until("the other to learn of it", || account(&other)["uses_today"] == 3);
    for _ in 0..2 {
        assert_eq!(call(&other).status(), 200);
    }
    assert_eq!(call(&other).status(), 503);
    wait::until("the one to learn of that", || account(&one)["state"] == "daily_limit");
    upstream.take_received();
    assert_eq!(call(&one).status(), 503);
    assert_eq!(upstream.take_received().len(), 0);
}
