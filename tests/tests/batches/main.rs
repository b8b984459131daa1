//! Batches are paid for by whoever had them made: each request once, at the price of batches, whoever looks and however
//! often, and under policy `hard` never more than is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod gemini;

use blackbox::{audit, books, receipts, wait};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Match, Upstream};

const HARD_KEY: &str = "sk-tg-blackbox-hard-0123456789abcdef";
const SOFT_KEY: &str = "sk-tg-blackbox-soft-0123456789abcdef";
const NARROW_KEY: &str = "sk-tg-blackbox-narrow-0123456789abcdef";
const ADMIN: &str = "admin-token-blackbox-0123456789";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const LINES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];
const OPENING: i64 = 10_000_000_000;
/// A request of gpt-4o-mini with 1,000 tokens in and 100 out, and of claude-haiku-4-5 as much: half of the list price.
const MINI: i64 = 1_000 * 75 + 100 * 300;
const HAIKU: i64 = 1_000 * 500 + 100 * 2_500;
/// A request of the model whose price is declared, which has no other one for batches.
const DECLARED: i64 = 1_000 * 2_000 + 100 * 4_000;

struct World {
    gateway: Tollgate,
    upstream: Upstream,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::start();
        let (url, v1) = (upstream.url(), upstream.v1());
        let config = format!(
            "defaults: {{retries: 0}}
security: {{admin_token: {ADMIN}}}
upstreams:
  - {{name: o, provider: openai, base_url: \"{v1}\", models: [gpt-4o-mini, gpt-own], credentials: [{{name: a, key: sk-o-0123456789}}]}}
  - {{name: g, provider: gemini, base_url: \"{url}/v1beta\", models: [gemini-2.5-flash, gemini-embedding-001], credentials: [{{name: a, key: sk-g-0123456789}}]}}
  - {{name: a, provider: anthropic, base_url: \"{v1}\", models: [claude-haiku-4-5], credentials: [{{name: a, key: sk-a-0123456789}}]}}
models: [{{name: own, targets: [{{upstream: o, model: gpt-own}}], price: {{input: 2.00, output: 4.00}}}}]
users:
  - {{name: hard, opening_credit: 10.00, policy: hard}}
  - {{name: soft, opening_credit: 10.00, policy: soft}}
keys:
  - {{name: hard, user: hard, key: \"{HARD_KEY}\", passthrough: true}}
  - {{name: soft, user: soft, key: \"{SOFT_KEY}\", passthrough: true}}
  - {{name: narrow, user: soft, key: \"{NARROW_KEY}\", passthrough: true, models: [own]}}
"
        );
        Self {
            gateway: Setup::config(&config).start(),
            upstream,
        }
    }

    fn rule(&self, path: &str, headers: &[(&str, &str)], body: String) {
        self.upstream
            .rule(Match::path(path), Behaviour::raw(200, headers, body));
    }

    /// What the upstream says of the batch from now on.
    fn openai(&self, status: &str, more: &Value) {
        let mut batch = json!({"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions",
            "input_file_id": "file-in", "completion_window": "24h", "status": status, "created_at": 1});
        batch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.rule("/batches", &JSON, batch.to_string());
        self.rule("/batches/batch_1", &JSON, batch.to_string());
    }

    fn requests(&self, lines: &[Value]) {
        let line =
            |body: &Value| json!({"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": body});
        self.rule("/files/file-in/content", &LINES, joined(lines.iter().map(line)));
    }

    fn send(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> Response {
        let request = match body {
            Some(body) => Request::post(path, body),
            None => Request::new(method, path),
        };
        request.bearer(key).send(&self.gateway.url())
    }

    fn create(&self, key: &str) -> Response {
        let body = json!({"input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        self.send("POST", "/v1/batches", key, Some(&body))
    }

    fn held(&self) -> i64 {
        let metrics = Request::get("/metrics").bearer(ADMIN).send(&self.gateway.url()).text();
        let mut lines = metrics.lines();
        let held = lines.find_map(|line| line.strip_prefix("tollgate_held_nanodollars "));
        held.unwrap().parse().unwrap()
    }

    /// The charges of the batch's requests by custom ids' order of price, once all receipts are there.
    fn billed(&self, requests: usize) -> Vec<i64> {
        wait::until("the batch to be billed", || {
            receipts(&self.gateway).len() == requests + 1
        });
        let all = receipts(&self.gateway);
        let batch = all
            .values()
            .find(|receipt| receipt["operation"] == "passthrough")
            .unwrap();
        assert_eq!(batch["charged"].as_i64().unwrap_or_default(), 0);
        let mut charged: Vec<i64> = all
            .values()
            .filter(|receipt| receipt["session"] == batch["call"])
            .map(|receipt| receipt["charged"].as_i64().unwrap_or_default())
            .collect();
        assert_eq!(charged.len(), requests, "{all:?}");
        charged.sort_unstable();
        charged
    }
}

fn joined(lines: impl Iterator<Item = Value>) -> String {
    lines.fold(String::new(), |all, line| all + &line.to_string() + "\n")
}

fn answered(id: &str, model: &str) -> Value {
    let usage = json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100});
    let body = json!({"id": id, "object": "chat.completion", "model": model, "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}], "usage": usage, "service_tier": "default"});
    json!({"id": id, "custom_id": id, "response": {"status_code": 200, "request_id": id, "body": body}, "error": null})
}

fn asked(model: &str) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn each_answered_request_of_a_batch_is_billed_at_the_price_of_batches() {
    let world = World::new();
    world.requests(&[asked("gpt-4o-mini"), asked("gpt-own")]);
    world.openai("in_progress", &json!({}));
    assert_eq!(world.create(HARD_KEY).status(), 200);
    assert!(world.held() > 0, "what it may cost is held");
    assert!(receipts(&world.gateway).is_empty(), "nothing is known yet");
    let failed = json!({"custom_id": "no", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": null});
    let lines = [
        answered("a", "gpt-4o-mini-2024-07-18"),
        failed,
        answered("b", "gpt-own"),
    ];
    world.rule("/files/file-out/content", &LINES, joined(lines.into_iter()));
    world.openai("completed", &json!({"output_file_id": "file-out"}));
    assert_eq!(
        world.send("GET", "/v1/batches/batch_1", HARD_KEY, None).json()["status"],
        "completed"
    );
    // gpt-own may cost 100 tokens of output and its prompt's bytes, which is less than what it says it used.
    let charged = world.billed(2);
    assert_eq!(charged[0], MINI);
    assert!(charged[1] <= DECLARED);
    let names: Vec<_> = receipts(&world.gateway)
        .into_values()
        .map(|receipt| receipt["model"].clone())
        .collect();
    assert!(
        names.contains(&json!("own")) && names.contains(&json!("gpt-4o-mini")),
        "{names:?}"
    );
    assert_eq!(world.held(), 0);
    books::settled(&world.gateway);
    assert_eq!(
        books::balance(&world.gateway, "hard"),
        OPENING - charged.iter().sum::<i64>()
    );
    audit(&world.gateway);
}

#[test]
fn a_crash_bills_each_request_once() {
    let mut world = World::new();
    world.openai("in_progress", &json!({}));
    assert_eq!(world.create(SOFT_KEY).status(), 200);
    world.gateway.restart();
    let lines = [answered("a", "gpt-4o-mini"), answered("b", "gpt-own")];
    world.rule("/files/file-out/content", &LINES, joined(lines.into_iter()));
    world.openai("completed", &json!({"output_file_id": "file-out"}));
    assert_eq!(world.billed(2), [MINI, DECLARED]);
    books::settled(&world.gateway);
    assert!(world.gateway.stop().success());
    world.gateway.restart();
    assert_eq!(world.billed(2), [MINI, DECLARED]);
    assert_eq!(books::balance(&world.gateway, "soft"), OPENING - MINI - DECLARED);
    audit(&world.gateway);
}

#[test]
fn anthropics_batches_are_billed_too() {
    let world = World::new();
    let batch =
        |status: &str| json!({"id": "msgbatch_1", "type": "message_batch", "processing_status": status}).to_string();
    world.rule("/messages/batches", &JSON, batch("in_progress"));
    world.rule("/messages/batches/msgbatch_1", &JSON, batch("in_progress"));
    let body = json!({"requests": [{"custom_id": "a", "params": {"model": "claude-haiku-4-5", "max_tokens": 2_000,
        "messages": [{"role": "user", "content": "x".repeat(4_000)}]}}]});
    let made = Request::post("/v1/messages/batches", &body).bearer(HARD_KEY);
    assert_eq!(made.send(&world.gateway.url()).status(), 200);
    let held = world.held();
    assert!(held >= 2_000 * 2_500, "{held}");
    // What is deleted could not be billed.
    let delete = || {
        let request = Request::new("DELETE", "/v1/messages/batches/msgbatch_1").bearer(HARD_KEY);
        request
            .header("anthropic-version", "2023-06-01")
            .send(&world.gateway.url())
    };
    assert_eq!(delete().status(), 400);
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 1_000, "output_tokens": 100, "service_tier": "batch"}});
    let lines = [
        json!({"custom_id": "a", "result": {"type": "succeeded", "message": message}}),
        json!({"custom_id": "b", "result": {"type": "expired"}}),
    ];
    world.rule(
        "/messages/batches/msgbatch_1/results",
        &LINES,
        joined(lines.into_iter()),
    );
    world.rule("/messages/batches/msgbatch_1", &JSON, batch("ended"));
    assert_eq!(delete().status(), 200, "it is billed before it is deleted");
    assert_eq!(world.billed(1), [HAIKU]);
    books::settled(&world.gateway);
    assert_eq!(books::balance(&world.gateway, "hard"), OPENING - HAIKU);
    audit(&world.gateway);
}

#[test]
fn results_that_are_gone_are_billed_by_their_sum() {
    let world = World::new();
    world.openai("in_progress", &json!({}));
    assert_eq!(world.create(SOFT_KEY).status(), 200);
    let gone = Behaviour::raw(404, &JSON, json!({"error": {"message": "gone"}}).to_string());
    world.upstream.rule(Match::path("/files/file-out/content"), gone);
    let usage = json!({"input_tokens": 1_000, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 100,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 1_100});
    world.openai(
        "completed",
        &json!({"output_file_id": "file-out", "model": "gpt-4o-mini-2024-07-18", "usage": usage}),
    );
    assert_eq!(world.billed(1), [MINI]);
}

#[test]
fn a_batch_is_made_only_of_what_may_be_asked_and_can_be_paid() {
    let world = World::new();
    world.openai("in_progress", &json!({}));
    let made = || {
        world
            .upstream
            .take_received()
            .iter()
            .filter(|call| call.method == "POST")
            .count()
    };
    let mut dear = asked("gpt-own");
    dear["max_tokens"] = json!(2_600_000);
    world.requests(&[dear]);
    assert_eq!(
        (world.create(HARD_KEY).status(), made()),
        (402, 0),
        "it could cost 10.40 dollars"
    );
    world.requests(&[asked("gpt-nobody-knows")]);
    assert_ne!(world.create(HARD_KEY).status(), 200);
    assert_eq!(made(), 0, "it has no price");
    world.requests(&[asked("gpt-own"), asked("gpt-4o-mini")]);
    assert_eq!((world.create(NARROW_KEY).status(), made()), (403, 0));
    world.requests(&[asked("gpt-own")]);
    assert_eq!((world.create(NARROW_KEY).status(), made()), (200, 1));
    world.rule("/files/file-in/content", &LINES, "nonsense".to_owned());
    assert_eq!((world.create(NARROW_KEY).status(), made()), (400, 0));
    let videos = json!({"input_file_id": "file-in", "endpoint": "/v1/videos", "completion_window": "24h"});
    assert_eq!(world.send("POST", "/v1/batches", SOFT_KEY, Some(&videos)).status(), 400);
    assert_eq!((world.held() > 0, made()), (true, 0));
}
