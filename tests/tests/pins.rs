//! What an upstream made is asked for where it lives, by whom it was made for; and responses in the background are billed
//! exactly, whoever sees their end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use blackbox::{CLIENT_KEY, audit, books, receipts, wait};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Match, Received, Upstream};

const OTHER_KEY: &str = "sk-tg-blackbox-other-0123456789abcdef";
const OPEN_KEY: &str = "sk-tg-blackbox-open-0123456789abcdef";
const ADMIN: &str = "admin-token-blackbox-0123456789";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// What 100 tokens in and 50 out cost at the price below, in nano-dollars.
const PRICE: i64 = 100 * 1_000 + 50 * 5_000;
/// What 100 tokens of output cost: the least that is held for them.
const HELD: i64 = 100 * 5_000;
const OPENING: i64 = 10_000_000_000;

/// Two upstreams with two credentials each that serve the same model.
struct World {
    gateway: Tollgate,
    first: Upstream,
    second: Upstream,
}

impl World {
    fn new() -> Self {
        let (first, second) = (Upstream::start(), Upstream::start());
        let config = format!(
            "defaults: {{retries: 0}}
security: {{admin_token: {ADMIN}}}
upstreams:
  - {{name: one, provider: openai, base_url: \"{}\", models: [gpt-4o], credentials: [{{name: a, key: sk-one-a-0123456789}}, {{name: b, key: sk-one-b-0123456789}}]}}
  - {{name: two, provider: openai, base_url: \"{}\", models: [gpt-4o], credentials: [{{name: a, key: sk-two-a-0123456789}}, {{name: b, key: sk-two-b-0123456789}}]}}
models: [{{name: gpt-4o, targets: [{{upstream: one, model: gpt-4o}}, {{upstream: two, model: gpt-4o}}], price: {{input: 1.00, output: 5.00}}}}]
users:
  - {{name: alice, opening_credit: 10.00, policy: hard}}
  - {{name: bob, opening_credit: 10.00, policy: hard}}
keys:
  - {{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}
  - {{name: open, user: alice, key: \"{OPEN_KEY}\", passthrough: true}}
  - {{name: other, user: bob, key: \"{OTHER_KEY}\", passthrough: true}}
",
            first.v1(),
            second.v1()
        );
        Self {
            gateway: Setup::config(&config).start(),
            first,
            second,
        }
    }

    fn send(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> Response {
        let request = match body {
            Some(body) => Request::post(path, body),
            None => Request::new(method, path),
        };
        request.bearer(key).send(&self.gateway.url())
    }

    fn create(&self, key: &str, more: &Value) -> Response {
        let mut body = json!({"model": "gpt-4o", "input": "hi", "max_output_tokens": 100});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send("POST", "/v1/responses", key, Some(&body))
    }

    /// The next calls of this path are answered so, by both.
    fn answer(&self, path: &str, body: &Value) {
        for upstream in [&self.first, &self.second] {
            upstream.rule(Match::path(path), Behaviour::raw(200, &JSON, body.to_string()));
        }
    }

    /// Who was asked, and what.
    fn asked(&self) -> Vec<(&'static str, Received)> {
        let one = self.first.take_received().into_iter().map(|call| ("one", call));
        one.chain(self.second.take_received().into_iter().map(|call| ("two", call)))
            .collect()
    }

    /// The one call that was made: upstream and credential.
    fn place(&self) -> (&'static str, String) {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let (name, call) = asked.remove(0);
        (name, call.credential.unwrap())
    }
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
fn a_response_is_continued_and_asked_for_where_it_lives() {
    let world = World::new();
    for turn in 0..4 {
        let id = format!("resp_{turn}");
        world.answer("/responses", &response(&id, "completed"));
        assert_eq!(world.create(CLIENT_KEY, &json!({})).status(), 200);
        let place = world.place();
        for path in [
            format!("/v1/responses/{id}"),
            format!("/v1/responses/{id}/input_items?limit=2"),
        ] {
            world.answer(path.split('?').next().unwrap(), &json!({"id": id, "theirs": 1}));
            let asked = world.send("GET", &path, CLIENT_KEY, None);
            assert_eq!((asked.status(), asked.json()["theirs"].as_u64()), (200, Some(1)));
            assert_eq!(world.place(), place, "{path}");
        }
        for _ in 0..4 {
            world.answer("/responses", &response(&format!("resp_{turn}_next"), "completed"));
            assert_eq!(
                world.create(CLIENT_KEY, &json!({"previous_response_id": id})).status(),
                200
            );
            assert_eq!(world.place(), place);
        }
        for (method, path) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/cancel"),
            ("GET", "/input_items"),
        ] {
            let refused = world.send(method, &format!("/v1/responses/{id}{path}"), OTHER_KEY, None);
            assert_eq!(refused.status(), 404, "{method} {path}");
        }
        let refused = world.create(OTHER_KEY, &json!({"previous_response_id": id}));
        assert_eq!(
            (refused.status(), refused.json()["error"]["code"].as_str().unwrap()),
            (400, "previous_response_not_found")
        );
        assert!(world.asked().is_empty(), "nobody was asked");
        let deleted = world.send("DELETE", &format!("/v1/responses/{id}"), CLIENT_KEY, None);
        assert_eq!((deleted.status(), world.place()), (200, place));
    }
}

#[test]
fn items_that_are_named_are_asked_for_where_they_are() {
    let world = World::new();
    for turn in 0..3 {
        let mut first = response(&format!("resp_{turn}"), "completed");
        let item = format!("msg_{turn}");
        first["output"] = json!([{"type": "reasoning", "id": format!("rs_{turn}"), "summary": []},
            {"type": "message", "id": item, "role": "assistant", "status": "completed", "content": []}]);
        world.answer("/responses", &first);
        assert_eq!(world.create(CLIENT_KEY, &json!({})).status(), 200);
        let place = world.place();
        world.answer("/responses", &response(&format!("resp_{turn}_next"), "completed"));
        let input = json!([{"type": "item_reference", "id": format!("rs_{turn}")}, {"type": "item_reference", "id": item},
            {"role": "user", "content": "go on"}]);
        for _ in 0..4 {
            assert_eq!(world.create(CLIENT_KEY, &json!({"input": input})).status(), 200);
            assert_eq!(world.place(), place);
        }
        // To others it says nothing: the provider judges.
        assert_eq!(world.create(OTHER_KEY, &json!({"input": input})).status(), 200);
        world.asked();
    }
}

/// A name by which our JSON reader knows its own values makes no text of an object: what the owner's check saw is what is sent.
#[test]
fn nobody_reaches_what_is_anothers_by_a_name_of_the_reader() {
    let world = World::new();
    world.answer(
        "/files",
        &json!({"id": "file-A", "object": "file", "purpose": "user_data"}),
    );
    world.answer("/responses", &response("resp_1", "completed"));
    let upload = json!({"purpose": "user_data"});
    assert_eq!(world.send("POST", "/v1/files", OPEN_KEY, Some(&upload)).status(), 200);
    world.asked();
    // A step that another provider took: such requests are written anew.
    let foreign = json!({"type": "web_search_call", "id": "ws_tollgate_x", "status": "completed",
        "action": {"type": "search", "query": "a"}});
    let asked = |file: &Value, carried: &str| {
        let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [],
            "encrypted_content": format!("tollgate:openai_responses:served:{carried}")});
        let input = json!([foreign, thought,
            {"role": "user", "content": [{"type": "input_text", "text": "Read"}, {"type": "input_file", "file_id": file}]}]);
        world.create(OTHER_KEY, &json!({"input": input}))
    };
    assert_eq!(asked(&json!("file-A"), "[]").status(), 404);
    for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
        asked(&json!({name: "\"file-A\""}), "[]");
    }
    // Nor does a thought that the client wrote itself carry it past the check.
    let hidden = r#"[{"type":"item_reference","id":"msg_A"},{"role":"user","content":[{"type":"input_file","file_id":"file-A"}]}]"#;
    asked(&json!("file-B"), hidden);
    for (_, call) in world.asked() {
        let sent = String::from_utf8_lossy(&call.body);
        assert!(
            !sent.contains(r#""file_id":"file-A""#) && !sent.contains(r#""msg_A""#),
            "{sent}"
        );
    }
}

#[test]
fn what_is_not_known_is_the_operators_own() {
    let world = World::new();
    assert_eq!(
        world
            .send("GET", "/v1/responses/resp_of_nobody", CLIENT_KEY, None)
            .status(),
        404
    );
    assert!(world.asked().is_empty());
    assert_eq!(
        world
            .create(OPEN_KEY, &json!({"previous_response_id": "resp_of_nobody"}))
            .status(),
        200
    );
    world.answer("/responses/resp_of_nobody", &json!({"id": "resp_of_nobody"}));
    assert_eq!(
        world
            .send("GET", "/v1/responses/resp_of_nobody", OPEN_KEY, None)
            .status(),
        200
    );
    let shared = json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-shared"}]}]});
    assert_eq!(
        world.create(CLIENT_KEY, &shared).status(),
        200,
        "a file of the operator's may be used"
    );
}

#[test]
fn files_and_batches_are_found_where_they_were_made() {
    let mut world = World::new();
    let named = |name: &'static str| {
        Request::post("/v1/files", &json!({}))
            .header("x-tollgate-upstream", name)
            .bearer(OPEN_KEY)
    };
    world.second.rule(
        Match::path("/files"),
        Behaviour::raw(200, &JSON, json!({"id": "file-two", "object": "file"}).to_string()),
    );
    assert_eq!(named("two").send(&world.gateway.url()).status(), 200);
    let place = world.place();
    assert_eq!(place.0, "two");

    // Without a word about the upstream, and after a restart.
    assert!(world.gateway.stop().success());
    world.gateway.restart();
    world.answer("/files/file-two", &json!({"id": "file-two"}));
    world.answer("/files/file-two/content", &json!("content"));
    for path in ["/v1/files/file-two", "/v1/files/file-two/content"] {
        assert_eq!(world.send("GET", path, OPEN_KEY, None).status(), 200);
        assert_eq!(world.place(), place);
        let refused = world.send("GET", path, OTHER_KEY, None);
        assert_eq!((refused.status(), world.asked().len()), (404, 0), "{}", refused.text());
    }
    let batch = json!({"id": "batch_1", "object": "batch", "output_file_id": "file-out", "usage": null});
    world.answer("/batches", &batch);
    let make = json!({"input_file_id": "file-two", "endpoint": "/v1/responses", "completion_window": "24h"});
    assert_eq!(world.send("POST", "/v1/batches", OTHER_KEY, Some(&make)).status(), 404);
    assert!(world.asked().is_empty());
    // What it asks for is read to know what it may cost.
    world.answer(
        "/files/file-two/content",
        &json!({"custom_id": "a", "method": "POST", "url": "/v1/responses",
            "body": {"model": "gpt-4o", "input": "hi", "max_output_tokens": 10}}),
    );
    assert_eq!(world.send("POST", "/v1/batches", OPEN_KEY, Some(&make)).status(), 200);
    let places: Vec<_> = world
        .asked()
        .into_iter()
        .map(|(name, call)| (name, call.credential.unwrap()))
        .collect();
    assert_eq!(places, [place.clone(), place.clone()]);
    world.answer("/files/file-out/content", &json!("lines"));
    world.answer("/batches/batch_1/cancel", &batch);
    assert_eq!(
        world
            .send("GET", "/v1/files/file-out/content", OTHER_KEY, None)
            .status(),
        404
    );
    for (method, path) in [
        ("GET", "/v1/files/file-out/content"),
        ("POST", "/v1/batches/batch_1/cancel"),
    ] {
        assert_eq!(world.send(method, path, OPEN_KEY, None).status(), 200);
        assert_eq!(world.place(), place, "{path}");
    }

    // What a client can make an upstream repeat gives it nothing: neither content nor ids that are somebody else's.
    let spell = json!({"id": "file-out", "output_file_id": "file-two"});
    world.answer("/files", &json!({"id": "file-bob", "object": "file"}));
    let upload = Request::post("/v1/files", &json!({}))
        .header("x-tollgate-upstream", "two")
        .bearer(OTHER_KEY);
    assert_eq!(upload.send(&world.gateway.url()).status(), 200);
    world.answer("/files/file-bob/content", &spell);
    world.answer(
        "/files/file-bob",
        &json!({"id": "file-bob", "output_file_id": "file-two"}),
    );
    for path in ["/v1/files/file-bob/content", "/v1/files/file-bob"] {
        assert_eq!(world.send("GET", path, OTHER_KEY, None).status(), 200);
    }
    world.asked();
    for path in ["/v1/files/file-two", "/v1/files/file-out"] {
        let refused = world.send("GET", path, OTHER_KEY, None);
        assert_eq!((refused.status(), world.asked().len()), (404, 0), "{path}");
    }

    world.answer("/files/file-bob", &json!({"id": "file-of-the-operator"}));
    assert_eq!(world.send("GET", "/v1/files/file-bob", OTHER_KEY, None).status(), 200);
    world.answer("/files/file-of-the-operator", &json!({"id": "file-of-the-operator"}));
    let shared = world.send("GET", "/v1/files/file-of-the-operator", OPEN_KEY, None);
    assert_eq!(shared.status(), 200, "it did not become bob's: {}", shared.text());
    world.asked();

    // A call that names the file goes to it, and one that names files of two places nowhere.
    let with_files = |ids: &[&str]| {
        let parts: Vec<Value> = ids
            .iter()
            .map(|id| json!({"type": "file", "file": {"file_id": id}}))
            .collect();
        json!({"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": parts}]})
    };
    for _ in 0..4 {
        let chat = with_files(&["file-two"]);
        assert_eq!(
            world
                .send("POST", "/v1/chat/completions", CLIENT_KEY, Some(&chat))
                .status(),
            200
        );
        assert_eq!(world.place(), place);
    }
    let refused = world.send(
        "POST",
        "/v1/chat/completions",
        OTHER_KEY,
        Some(&with_files(&["file-two"])),
    );
    assert_eq!((refused.status(), world.asked().len()), (404, 0));
    world.first.rule(
        Match::path("/files"),
        Behaviour::raw(200, &JSON, json!({"id": "file-one", "object": "file"}).to_string()),
    );
    assert_eq!(named("one").send(&world.gateway.url()).status(), 200);
    world.asked();
    let refused = world.send(
        "POST",
        "/v1/chat/completions",
        CLIENT_KEY,
        Some(&with_files(&["file-two", "file-one"])),
    );
    assert_eq!((refused.status(), world.asked().len()), (400, 0), "{}", refused.text());
}

fn charged(gateway: &Tollgate) -> Vec<i64> {
    receipts(gateway)
        .values()
        .map(|receipt| receipt["charged"].as_i64().unwrap_or_default())
        .collect()
}

/// What is set aside for open calls, in nano-dollars.
fn held(world: &World) -> i64 {
    let metrics = Request::get("/metrics").bearer(ADMIN).send(&world.gateway.url()).text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tollgate_held_nanodollars "));
    line.unwrap_or_else(|| panic!("nothing is said of holds: {metrics}"))
        .parse()
        .unwrap()
}

fn assert_billed(world: &World, expected: i64) {
    wait::until("the response to be billed", || !charged(&world.gateway).is_empty());
    assert_eq!(charged(&world.gateway), [expected]);
    books::settled(&world.gateway);
    assert_eq!(books::balance(&world.gateway, "alice"), OPENING - expected);
    audit(&world.gateway);
}

#[test]
fn work_in_the_background_is_billed_once_when_its_end_is_seen() {
    let world = World::new();
    world.answer("/responses", &response("resp_bg", "queued"));
    world.answer("/responses/resp_bg", &response("resp_bg", "in_progress"));
    let created = world.create(CLIENT_KEY, &json!({"background": true}));
    assert_eq!(created.json()["status"], "queued");
    let get = || world.send("GET", "/v1/responses/resp_bg", CLIENT_KEY, None);
    assert_eq!(get().json()["status"], "in_progress");
    assert!(charged(&world.gateway).is_empty(), "nothing is known yet");
    world.answer("/responses/resp_bg", &response("resp_bg", "completed"));
    assert_eq!(get().json()["status"], "completed");
    assert_eq!(get().json()["status"], "completed");
    assert_billed(&world, PRICE);
}

#[test]
fn who_never_asks_again_pays_too() {
    let world = World::new();
    world.answer("/responses", &response("resp_bg", "queued"));
    world.answer("/responses/resp_bg", &response("resp_bg", "completed"));
    assert_eq!(world.create(CLIENT_KEY, &json!({"background": true})).status(), 200);
    assert_billed(&world, PRICE);
}

#[test]
fn a_crash_forgets_no_debt_and_frees_no_money() {
    let mut world = World::new();
    world.answer("/responses", &response("resp_bg", "queued"));
    world.answer("/responses/resp_bg", &response("resp_bg", "in_progress"));
    assert_eq!(world.create(CLIENT_KEY, &json!({"background": true})).status(), 200);
    assert!(held(&world) >= HELD, "the money is held while the work goes on");
    world.gateway.restart();
    assert!(held(&world) >= HELD, "the money is held again");
    world.answer("/responses/resp_bg", &response("resp_bg", "completed"));
    let seen = world.send("GET", "/v1/responses/resp_bg", CLIENT_KEY, None);
    assert_eq!(seen.json()["status"], "completed");
    assert_billed(&world, PRICE);
    assert!(world.gateway.stop().success());
    world.gateway.restart();
    assert_billed(&world, PRICE);
}

#[test]
fn what_is_cancelled_costs_what_was_done_and_what_failed_nothing() {
    let world = World::new();
    world.answer("/responses", &response("resp_bg", "queued"));
    world.answer("/responses/resp_bg", &response("resp_bg", "in_progress"));
    world.answer("/responses/resp_bg/cancel", &response("resp_bg", "cancelled"));
    assert_eq!(world.create(CLIENT_KEY, &json!({"background": true})).status(), 200);
    let early = world.send("DELETE", "/v1/responses/resp_bg", CLIENT_KEY, None);
    assert_eq!(early.status(), 400, "what is deleted could not be billed");
    let cancelled = world.send("POST", "/v1/responses/resp_bg/cancel", CLIENT_KEY, None);
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_billed(&world, 0);

    world.answer("/responses", &response("resp_bad", "queued"));
    let mut failed = response("resp_bad", "failed");
    failed["error"] = json!({"code": "server_error", "message": "it broke"});
    world.answer("/responses/resp_bad", &failed);
    assert_eq!(world.create(CLIENT_KEY, &json!({"background": true})).status(), 200);
    assert_eq!(
        world.send("GET", "/v1/responses/resp_bad", CLIENT_KEY, None).json()["status"],
        "failed"
    );
    wait::until("the failure to be settled", || charged(&world.gateway).len() == 2);
    assert_eq!(charged(&world.gateway), [0, 0]);
}

#[test]
fn a_hard_charge_stays_within_its_hold() {
    let world = World::new();
    world.answer("/responses", &response("resp_bg", "queued"));
    let mut dear = response("resp_bg", "completed");
    dear["usage"]["output_tokens"] = json!(1_000_000);
    world.answer("/responses/resp_bg", &dear);
    assert_eq!(world.create(CLIENT_KEY, &json!({"background": true})).status(), 200);
    let most = held(&world);
    assert!((HELD..PRICE * 10).contains(&most), "{most}");
    assert_eq!(
        world.send("GET", "/v1/responses/resp_bg", CLIENT_KEY, None).status(),
        200
    );
    assert_billed(&world, most);
    assert_eq!(held(&world), 0);
}

fn event(kind: &str, more: &Value) -> String {
    let mut event = json!({"type": kind, "sequence_number": 0});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("event: {kind}\ndata: {event}\n\n")
}

/// The beginning of a stream, with its first content.
fn begun() -> String {
    event(
        "response.created",
        &json!({"response": response("resp_bg", "in_progress")}),
    ) + &event("response.output_text.delta", &json!({"delta": "hello"}))
}

#[test]
fn work_that_has_begun_is_not_begun_elsewhere_too() {
    let world = World::new();
    let created = event("response.created", &json!({"response": response("resp_bg", "queued")}));
    for upstream in [&world.first, &world.second] {
        // The connection breaks before any content.
        upstream.rule(
            Match::path("/responses"),
            Behaviour::raw(
                200,
                &[("content-type", "text/event-stream")],
                created.clone() + "data: x\n\n",
            )
            .reset_after(1),
        );
    }
    world.answer("/responses/resp_bg", &response("resp_bg", "completed"));
    let answer = world.create(CLIENT_KEY, &json!({"background": true, "stream": true}));
    assert_eq!(answer.status(), 200);
    assert!(
        answer.text().contains("resp_bg") && answer.text().contains("event: error"),
        "{}",
        answer.text()
    );
    let asked = world
        .asked()
        .into_iter()
        .filter(|(_, call)| call.method == "POST")
        .count();
    assert_eq!(asked, 1);
    assert_billed(&world, PRICE);
}

#[test]
fn a_stream_in_the_background_is_billed_though_its_client_left() {
    let world = World::new();
    let stream = begun() + &event("response.output_text.delta", &json!({"delta": "more"}));
    for upstream in [&world.first, &world.second] {
        upstream.rule(
            Match::path("/responses"),
            Behaviour::raw(200, &[("content-type", "text/event-stream")], stream.clone()).stall_after(2),
        );
    }
    world.answer("/responses/resp_bg", &response("resp_bg", "completed"));
    let body = json!({"model": "gpt-4o", "input": "hi", "background": true, "stream": true, "max_output_tokens": 100});
    let mut exchange = Request::post("/v1/responses", &body)
        .bearer(CLIENT_KEY)
        .open(&world.gateway.url())
        .unwrap();
    assert_eq!(exchange.head().map(|head| head.status), Some(200));
    exchange.next_chunk();
    exchange.leave();
    assert_billed(&world, PRICE);
}

#[test]
fn a_conversation_made_shorter_is_metered() {
    let world = World::new();
    world.answer("/responses", &response("resp_1", "completed"));
    assert_eq!(world.create(CLIENT_KEY, &json!({})).status(), 200);
    let place = world.place();
    let mut compacted = response("cmp_1", "completed");
    compacted["object"] = json!("response.compaction");
    compacted.as_object_mut().unwrap().remove("status");
    world.answer("/responses/compact", &compacted);
    let asked = json!({"model": "gpt-4o", "previous_response_id": "resp_1"});
    let answer = world.send("POST", "/v1/responses/compact", CLIENT_KEY, Some(&asked));
    assert_eq!((answer.status(), answer.json()), (200, compacted));
    assert_eq!(world.place(), place, "it lives where the conversation does");
    assert_eq!(charged(&world.gateway), [PRICE, PRICE]);
    let refused = world.send("POST", "/v1/responses/compact", OTHER_KEY, Some(&asked));
    assert_eq!(refused.status(), 400);
}
