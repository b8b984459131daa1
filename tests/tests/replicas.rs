//! Two gateways over one `PostgreSQL`: what one of them had an upstream make, the other finds there too, for the same user and
//! nobody else; and work that both know of is billed once.

use std::process::Command;

use blackbox::{audit, books, wait};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Match, Upstream};

const KEY: &str = "sk-tg-blackbox-alice-0123456789abcdef";
const OTHER_KEY: &str = "sk-tg-blackbox-bob-0123456789abcdef";
/// Replicas share what seals and hashes.
const SEAL: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const OPENING: i64 = 10_000_000_000;
/// 100 tokens in and 50 out at the price below.
const PRICE: i64 = 100 * 1_000 + 50 * 5_000;

struct World {
    first: Tollgate,
    second: Tollgate,
    upstreams: [Upstream; 2],
    server: String,
    database: String,
}

impl World {
    /// `None` where there is no `PostgreSQL`.
    fn new(name: &str) -> Option<Self> {
        let Some(server) = std::env::var("TOLLGATE_TEST_POSTGRES")
            .ok()
            .filter(|value| !value.is_empty())
        else {
            assert!(
                !wait::in_ci(),
                "TOLLGATE_TEST_POSTGRES is not set: use scripts/postgres"
            );
            wait::leave_out("two replicas: run this under scripts/postgres");
            return None;
        };
        let database = format!("tollgate_{name}_{}", std::process::id());
        psql(&server, &format!("CREATE DATABASE {database}"));
        let url = format!(
            "{}/{database}",
            server.rsplit_once('/').expect("the address names a database").0
        );
        let upstreams = [Upstream::start(), Upstream::start()];
        let config = format!(
            "defaults: {{retries: 0}}
upstreams:
  - {{name: one, provider: openai, base_url: \"{}\", models: [gpt-4o], credentials: [{{name: a, key: sk-one-a-0123456789}}, {{name: b, key: sk-one-b-0123456789}}]}}
  - {{name: two, provider: openai, base_url: \"{}\", models: [gpt-4o], credentials: [{{name: a, key: sk-two-a-0123456789}}]}}
models: [{{name: gpt-4o, targets: [{{upstream: one, model: gpt-4o}}, {{upstream: two, model: gpt-4o}}], price: {{input: 1.00, output: 5.00}}}}]
users: [{{name: alice, opening_credit: 10.00, policy: soft}}, {{name: bob}}]
keys: [{{name: alice, user: alice, key: \"{KEY}\", passthrough: true}}, {{name: bob, user: bob, key: \"{OTHER_KEY}\", passthrough: true}}]
",
            upstreams[0].v1(),
            upstreams[1].v1()
        );
        let start = || {
            let setup = Setup::config(&config).env("DATABASE_URL", &url);
            setup.env("ENCRYPTION_KEY", SEAL).start()
        };
        Some(Self {
            first: start(),
            second: start(),
            upstreams,
            server,
            database,
        })
    }

    fn answer(&self, path: &str, body: &Value) {
        for upstream in &self.upstreams {
            upstream.rule(Match::path(path), Behaviour::raw(200, &JSON, body.to_string()));
        }
    }

    /// Who was asked last, and with which credential.
    fn place(&self) -> (usize, String) {
        let asked = self.upstreams.iter().enumerate().flat_map(|(at, upstream)| {
            let calls = upstream.take_received().into_iter();
            calls.filter_map(move |call| Some((at, call.credential?)))
        });
        asked.last().expect("an upstream was asked")
    }

    /// Whether nobody was asked.
    fn nobody(&self) -> bool {
        self.upstreams
            .iter()
            .all(|upstream| upstream.take_received().is_empty())
    }

    fn finish(self) {
        let Self { server, database, .. } = &self;
        let (server, database) = (server.clone(), database.clone());
        drop(self);
        psql(&server, &format!("DROP DATABASE {database} WITH (FORCE)"));
    }
}

fn psql(server: &str, sql: &str) {
    let output = Command::new("psql")
        .args([server, "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output();
    let output = output.expect("psql is there: it comes with PostgreSQL");
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn send(gateway: &Tollgate, method: &str, path: &str, key: &str, body: Option<&Value>) -> Response {
    let request = match body {
        Some(body) => Request::post(path, body),
        None => Request::new(method, path),
    };
    request.bearer(key).send(&gateway.url())
}

fn response(id: &str, status: &str) -> Value {
    let usage = (status == "completed").then(|| {
        json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 150})
    });
    json!({"id": id, "object": "response", "created_at": 1, "status": status, "background": true, "model": "gpt-4o",
        "output": [], "error": null, "usage": usage, "store": true})
}

#[test]
fn what_one_replica_had_made_the_other_finds() {
    let Some(world) = World::new("pins") else { return };
    let create = |gateway: &Tollgate, key: &str, more: &Value| {
        let mut body = json!({"model": "gpt-4o", "input": "hi", "max_output_tokens": 100});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        send(gateway, "POST", "/v1/responses", key, Some(&body))
    };
    for turn in 0..3 {
        let id = format!("resp_{turn}");
        world.answer("/responses", &response(&id, "completed"));
        assert_eq!(create(&world.first, KEY, &json!({})).status(), 200);
        let place = world.place();
        // It is in the database a moment after the answer; until then it is taken for the operator's own.
        world.answer(&format!("/responses/{id}"), &response(&id, "completed"));
        let path = format!("/v1/responses/{id}");
        wait::until("the other replica to find the response", || {
            let asked = send(&world.second, "GET", &path, KEY, None);
            asked.status() == 200 && world.place() == place
        });
        for _ in 0..3 {
            let next = create(&world.second, KEY, &json!({"previous_response_id": id}));
            assert_eq!((next.status(), world.place()), (200, place.clone()));
        }
        assert_eq!(send(&world.second, "GET", &path, OTHER_KEY, None).status(), 404);
        assert_eq!(
            create(&world.second, OTHER_KEY, &json!({"previous_response_id": id})).status(),
            400
        );
        assert!(world.nobody());
    }

    world.answer("/files", &json!({"id": "file-made", "object": "file"}));
    let upload = Request::post("/v1/files", &json!({}))
        .header("x-tollgate-upstream", "two")
        .bearer(KEY);
    assert_eq!(upload.send(&world.first.url()).status(), 200);
    let place = world.place();
    world.answer("/files/file-made", &json!({"id": "file-made"}));
    wait::until("the other replica to find the file", || {
        let asked = send(&world.second, "GET", "/v1/files/file-made", KEY, None);
        asked.status() == 200 && world.place() == place
    });
    let parts = json!([{"type": "file", "file": {"file_id": "file-made"}}]);
    let chat = json!({"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": parts}]});
    for _ in 0..3 {
        assert_eq!(
            send(&world.second, "POST", "/v1/chat/completions", KEY, Some(&chat)).status(),
            200
        );
        assert_eq!(world.place(), place);
    }
    let refused = send(&world.second, "POST", "/v1/chat/completions", OTHER_KEY, Some(&chat));
    assert_eq!((refused.status(), world.nobody()), (404, true));
    world.finish();
}

#[test]
fn work_that_both_know_of_is_billed_once() {
    let Some(mut world) = World::new("jobs") else { return };
    world.answer("/responses", &response("resp_bg", "queued"));
    world.answer("/responses/resp_bg", &response("resp_bg", "in_progress"));
    let body = json!({"model": "gpt-4o", "input": "hi", "background": true, "max_output_tokens": 100});
    assert_eq!(
        send(&world.first, "POST", "/v1/responses", KEY, Some(&body)).status(),
        200
    );
    world.answer(
        "/batches",
        &json!({"id": "batch_1", "object": "batch", "status": "in_progress", "endpoint": "/v1/chat/completions"}),
    );
    let batch = json!({"input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    assert_eq!(
        send(&world.first, "POST", "/v1/batches", KEY, Some(&batch)).status(),
        200
    );
    // Started anew, the other one takes up what is in the database too.
    assert!(world.second.stop().success());
    world.second.restart();
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150});
    let line = json!({"custom_id": "a", "response": {"status_code": 200, "body": {"model": "gpt-4o", "choices": [], "usage": usage}}});
    world.answer("/files/file-out/content", &line);
    world.answer(
        "/batches/batch_1",
        &json!({"id": "batch_1", "object": "batch", "status": "completed",
        "endpoint": "/v1/chat/completions", "output_file_id": "file-out"}),
    );
    world.answer("/responses/resp_bg", &response("resp_bg", "completed"));
    for gateway in [&world.first, &world.second] {
        let billed = || {
            blackbox::receipts(gateway)
                .values()
                .filter(|receipt| receipt["charged"].as_i64() == Some(PRICE))
                .count()
        };
        wait::until("both replicas to have billed", || billed() == 2);
        books::settled(gateway);
    }
    for gateway in [&world.first, &world.second] {
        wait::until("the balance to be told", || {
            books::balance(gateway, "alice") == OPENING - 2 * PRICE
        });
        audit(gateway);
    }
    world.finish();
}
