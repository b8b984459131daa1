//! Conversations that are continued by `previous_response_id` over upstreams that know no such thing: kept here, for whom
//! they were made, sealed, and only as long as they may be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use blackbox::{CLIENT_KEY, UPSTREAM_KEY, wait};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Upstream};

const OTHER_KEY: &str = "sk-tg-blackbox-other-0123456789abcdef";
const MODELS: [&str; 3] = ["chat", "anthropic", "gemini"];

struct World {
    gateway: Tollgate,
    upstream: Upstream,
}

impl World {
    /// One scripted upstream behind three formats that are not Responses; two users.
    fn new(more: &str) -> Self {
        let upstream = Upstream::start();
        let (url, v1) = (upstream.url(), upstream.v1());
        let config = format!(
            "providers:
  - {{name: responses-only, base_url: \"{v1}\", models: [native], surfaces: {{chat: {{openai_responses: /responses}}}}}}
  - {{name: chat-only, base_url: \"{v1}\", models: [chat], surfaces: {{chat: {{openai_chat: /chat/completions}}}}}}
upstreams:
  - {{name: b, provider: responses-only, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: a, provider: chat-only, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: c, provider: anthropic, base_url: \"{v1}\", models: [anthropic], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: d, provider: gemini, base_url: \"{url}/v1beta\", models: [gemini], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
users: [{{name: alice}}, {{name: bob}}]
keys:
  - {{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}
  - {{name: other, user: bob, key: \"{OTHER_KEY}\"}}
{more}"
        );
        Self {
            gateway: Setup::config(&config).start(),
            upstream,
        }
    }

    fn create(&self, body: &Value) -> Response {
        Request::post("/v1/responses", body)
            .bearer(CLIENT_KEY)
            .send(&self.gateway.url())
    }

    /// Creates a response and gives the object, whole or from the last event of a stream.
    fn say(&self, mut body: Value, stream: bool) -> Value {
        body["stream"] = stream.into();
        let response = self.create(&body);
        assert_eq!(response.status(), 200, "{}", response.text());
        if !stream {
            return response.json();
        }
        let text = response.text();
        let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let event: Value = serde_json::from_str(last).unwrap();
        assert_eq!(event["type"], "response.completed", "{text}");
        event["response"].clone()
    }

    fn ask(&self, method: &str, path: &str, key: &str) -> Response {
        Request::new(method, &format!("/v1/responses/{path}"))
            .bearer(key)
            .send(&self.gateway.url())
    }

    /// The body that the upstream got last, as text.
    fn asked(&self) -> String {
        let received = self.upstream.take_received().pop().expect("the upstream was asked");
        String::from_utf8(received.body.to_vec()).unwrap()
    }
}

fn text(id: &Value) -> &str {
    id.as_str().expect("a text")
}

fn tools() -> Value {
    json!([{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}])
}

/// Where the words stand, one after the other.
fn assert_in_order(body: &str, words: &[&str]) {
    let mut at = 0;
    for word in words {
        let found = body.get(at..).and_then(|rest| rest.find(word));
        at += found.unwrap_or_else(|| panic!("`{word}` is missing or out of order in {body}"));
    }
}

#[test]
fn a_tool_call_over_three_turns_on_every_format() {
    let world = World::new("");
    for model in MODELS {
        for stream in [false, true] {
            let call = Answer::tool_call("weather", json!({"city": "Oslo"}));
            world.upstream.then(Behaviour::answer(call));
            let first = world.say(
                json!({"model": model, "input": "how is the weather?", "tools": tools(), "instructions": "be-brief-once"}),
                stream,
            );
            assert!(text(&first["id"]).starts_with("resp_"), "{first}");
            assert_eq!(
                (&first["store"], &first["previous_response_id"]),
                (&json!(true), &Value::Null)
            );
            let call = first["output"]
                .as_array()
                .unwrap()
                .iter()
                .find(|item| item["type"] == "function_call")
                .unwrap();
            world.asked();

            world.upstream.then(Behaviour::text("it rains"));
            let second = world.say(
                json!({"model": model, "previous_response_id": first["id"], "tools": tools(), "input": [
                    {"type": "function_call_output", "call_id": call["call_id"], "output": "rain, 4 degrees"}]}),
                stream,
            );
            assert_eq!(second["previous_response_id"], first["id"], "{model}");
            let body = world.asked();
            assert_in_order(&body, &["how is the weather?", "Oslo", "rain, 4 degrees"]);
            assert!(
                !body.contains("be-brief-once"),
                "instructions are of one response: {body}"
            );

            world.upstream.then(Behaviour::text("yes, one"));
            let third = world.say(
                json!({"model": model, "previous_response_id": second["id"], "tools": tools(), "input": "an umbrella?"}),
                stream,
            );
            let body = world.asked();
            assert_in_order(
                &body,
                &[
                    "how is the weather?",
                    "Oslo",
                    "rain, 4 degrees",
                    "it rains",
                    "an umbrella?",
                ],
            );

            let kept = world.ask("GET", text(&third["id"]), CLIENT_KEY);
            assert_eq!((kept.status(), kept.json()), (200, third.clone()), "{model}");
            let items = world
                .ask(
                    "GET",
                    &format!("{}/input_items?order=asc", text(&third["id"])),
                    CLIENT_KEY,
                )
                .json();
            assert_in_order(
                &items.to_string(),
                &[
                    "how is the weather?",
                    "Oslo",
                    "rain, 4 degrees",
                    "it rains",
                    "an umbrella?",
                ],
            );
            assert!(
                items["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|item| item["id"].is_string()),
                "{items}"
            );
        }
    }
}

#[test]
fn a_conversation_may_go_on_at_another_model() {
    let world = World::new("");
    let mut previous = Value::Null;
    for (turn, model) in MODELS.into_iter().enumerate() {
        let input = format!("turn-{turn}-said");
        let said = world.say(
            json!({"model": model, "input": input, "previous_response_id": previous}),
            turn % 2 == 0,
        );
        previous = said["id"].clone();
        let body = world.asked();
        let all: Vec<String> = (0..=turn).map(|turn| format!("turn-{turn}-said")).collect();
        assert_in_order(&body, &all.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// Some upstreams give a whole answer where a stream was wanted; what is kept is the response, not the stream that tells it.
#[test]
fn a_whole_answer_that_is_told_as_a_stream_is_kept() {
    let world = World::new("");
    let whole = json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "the answer"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}});
    let json = [("content-type", "application/json")];
    world.upstream.always(Behaviour::raw(200, &json, whole.to_string()));
    let first = world.say(json!({"model": "chat", "input": "the question"}), true);
    let id = first["id"].as_str().unwrap();
    let kept = world.ask("GET", id, CLIENT_KEY).json();
    assert_eq!(kept["output"], first["output"], "{kept}");
    world.asked();
    world.say(
        json!({"model": "chat", "input": "more", "previous_response_id": id}),
        true,
    );
    assert_in_order(&world.asked(), &["the question", "the answer", "more"]);
}

#[test]
fn an_upstream_that_keeps_conversations_itself_may_take_over() {
    let world = World::new("");
    let thought = Answer::text("said").thinking("thought");
    world.upstream.then(Behaviour::answer(thought));
    let first = world.say(json!({"model": "anthropic", "input": "one"}), true);
    assert!(first.to_string().contains("encrypted_content"), "{first}");
    world.asked();
    let second = world.say(
        json!({"model": "native", "input": "two", "previous_response_id": first["id"]}),
        false,
    );
    let asked: Value = serde_json::from_str(&world.asked()).unwrap();
    assert_eq!(asked["previous_response_id"], Value::Null);
    assert_in_order(&asked["input"].to_string(), &["one", "said", "two"]);
    assert!(
        !asked.to_string().contains("encrypted_content"),
        "others' seals cannot be opened: {asked}"
    );
    world.say(
        json!({"model": "native", "input": "three", "previous_response_id": second["id"]}),
        false,
    );
    let asked: Value = serde_json::from_str(&world.asked()).unwrap();
    assert_eq!(
        (&asked["previous_response_id"], &asked["input"]),
        (&second["id"], &json!("three"))
    );
    // What lives there cannot be told elsewhere.
    let body = json!({"model": "chat", "input": "four", "previous_response_id": second["id"]});
    assert_eq!(world.create(&body).status(), 400);
}

#[test]
fn it_is_nobody_elses_and_gone_when_it_is_deleted() {
    let world = World::new("");
    let first = world.say(json!({"model": "anthropic", "input": "mine"}), false);
    let id = text(&first["id"]);
    let unknown = world.ask("GET", "resp_unknown", CLIENT_KEY);
    assert_eq!(unknown.status(), 404);
    for (method, path) in [
        ("GET", id.to_owned()),
        ("DELETE", id.to_owned()),
        ("POST", format!("{id}/cancel")),
        ("GET", format!("{id}/input_items")),
    ] {
        let refused = world.ask(method, &path, OTHER_KEY);
        assert_eq!(refused.status(), 404, "{method} {path}: {}", refused.text());
        assert_eq!(
            refused.text().replace(id, "resp_unknown"),
            unknown.text(),
            "it is told in the same words that it does not exist"
        );
    }
    let continued = |key: &str| {
        Request::post(
            "/v1/responses",
            &json!({"model": "anthropic", "input": "x", "previous_response_id": id}),
        )
        .bearer(key)
        .send(&world.gateway.url())
    };
    world.upstream.take_received();
    let refused = continued(OTHER_KEY);
    let error = &refused.json()["error"];
    assert_eq!(
        (refused.status(), text(&error["code"]), text(&error["param"])),
        (400, "previous_response_not_found", "previous_response_id")
    );
    assert!(world.upstream.take_received().is_empty());
    assert_eq!(continued(CLIENT_KEY).status(), 200);

    let cancelled = world.ask("POST", &format!("{id}/cancel"), CLIENT_KEY);
    assert_eq!(cancelled.status(), 400, "it was not in the background");
    let deleted = world.ask("DELETE", id, CLIENT_KEY);
    assert_eq!(deleted.json(), json!({"id": id, "object": "response", "deleted": true}));
    assert_eq!(world.ask("GET", id, CLIENT_KEY).status(), 404);
    assert_eq!(continued(CLIENT_KEY).status(), 400);
    assert_eq!(world.ask("DELETE", id, CLIENT_KEY).status(), 404);
}

#[test]
fn what_is_not_to_be_stored_is_not() {
    let world = World::new("");
    for stream in [false, true] {
        let said = world.say(json!({"model": "chat", "input": "forget me", "store": false}), stream);
        assert_eq!(said["store"], json!(false));
        assert_eq!(world.ask("GET", text(&said["id"]), CLIENT_KEY).status(), 404);
    }
    // It may continue one that is, and then is in no conversation.
    let first = world.say(json!({"model": "chat", "input": "one"}), false);
    let loose = json!({"model": "chat", "input": "two", "store": false, "previous_response_id": first["id"]});
    let second = world.say(loose, true);
    assert_eq!(second["previous_response_id"], first["id"]);
    let lost = json!({"model": "chat", "input": "three", "previous_response_id": second["id"]});
    assert_eq!(world.create(&lost).status(), 400);

    let off = World::new("storage: {conversations: {keep: 0s}}\n");
    let said = off.say(json!({"model": "chat", "input": "one"}), false);
    assert_eq!(
        said["store"],
        json!(false),
        "the answer does not promise what is not kept"
    );
    assert_eq!(off.ask("GET", text(&said["id"]), CLIENT_KEY).status(), 404);
}

fn holds(folder: &Path, text: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|window| window == text)
    })
}

#[test]
fn it_survives_a_restart_and_is_sealed() {
    let mut world = World::new("");
    world.upstream.then(Behaviour::text("the planted-answer"));
    let first = world.say(json!({"model": "gemini", "input": "the planted-question"}), true);
    let second = world.say(
        json!({"model": "gemini", "input": "two", "previous_response_id": first["id"]}),
        false,
    );
    assert!(world.gateway.stop().success());
    world.gateway.restart();
    let data = world.gateway.path("data");
    for planted in ["planted-question", "planted-answer"] {
        assert!(!holds(&data, planted.as_bytes()), "{planted} lies open in the data");
    }
    assert_eq!(world.ask("GET", text(&second["id"]), CLIENT_KEY).json(), second);
    world.upstream.take_received();
    world.say(
        json!({"model": "gemini", "input": "three", "previous_response_id": second["id"]}),
        false,
    );
    assert_in_order(&world.asked(), &["planted-question", "planted-answer", "two", "three"]);
}

#[test]
fn it_expires() {
    let world = World::new("storage: {conversations: {keep: 1s}}\n");
    let first = world.say(json!({"model": "chat", "input": "one"}), false);
    let id = text(&first["id"]);
    assert_eq!(world.ask("GET", id, CLIENT_KEY).status(), 200);
    wait::until("the response to expire", || {
        world.ask("GET", id, CLIENT_KEY).status() == 404
    });
    let late = json!({"model": "chat", "input": "two", "previous_response_id": id});
    assert_eq!(world.create(&late).status(), 400);
}

#[test]
fn a_cut_answer_is_not_kept() {
    let world = World::new("defaults: {retries: 0}\n");
    world.upstream.then(Behaviour::answer(Answer::tokens(8)).reset_after(4));
    let body = json!({"model": "anthropic", "input": "one", "stream": true});
    let response = world.create(&body).text();
    let event = response.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let created: Value = serde_json::from_str(event).unwrap();
    let id = text(&created["response"]["id"]).to_owned();
    assert!(!response.contains("response.completed"), "{response}");
    assert_eq!(world.ask("GET", &id, CLIENT_KEY).status(), 404);
}

/// Vercel's `ai` names what was answered in place of sending it, by default.
#[test]
fn items_that_are_named_are_put_back() {
    let world = World::new("");
    for model in MODELS {
        for stream in [false, true] {
            let call = Answer::tool_call("weather", json!({"city": "Oslo"}));
            world.upstream.then(Behaviour::answer(call));
            let first = world.say(json!({"model": model, "input": "how is it?", "tools": tools()}), stream);
            let named = |response: &Value| -> Vec<Value> {
                let items = response["output"].as_array().unwrap();
                items
                    .iter()
                    .map(|item| json!({"id": item["id"], "type": "item_reference"}))
                    .collect()
            };
            let call = first["output"]
                .as_array()
                .unwrap()
                .iter()
                .find(|item| item["type"] == "function_call");
            let mut input = vec![json!({"role": "user", "content": "how is it?"})];
            input.extend(named(&first));
            input.push(
                json!({"type": "function_call_output", "call_id": call.unwrap()["call_id"], "output": "4 degrees"}),
            );
            world.asked();

            world.upstream.then(Behaviour::text("it is cold"));
            let second = world.say(json!({"model": model, "input": input, "tools": tools()}), stream);
            assert_in_order(&world.asked(), &["how is it?", "Oslo", "4 degrees"]);
            input.extend(named(&second));
            input.push(json!({"role": "user", "content": "an umbrella?"}));

            for other in MODELS.iter().chain(&["native"]) {
                world.upstream.then(Behaviour::text("no"));
                let third = world.say(json!({"model": other, "input": input, "tools": tools()}), stream);
                let body = world.asked();
                assert_in_order(
                    &body,
                    &["how is it?", "Oslo", "4 degrees", "it is cold", "an umbrella?"],
                );
                assert!(!body.contains("item_reference"), "{body}");
                if *other == "native" {
                    continue;
                }
                // What was put back is kept with the turn.
                world.upstream.then(Behaviour::text("sure"));
                world.say(
                    json!({"model": model, "previous_response_id": third["id"], "input": "sure?"}),
                    stream,
                );
                assert_in_order(&world.asked(), &["Oslo", "it is cold", "an umbrella?", "no", "sure?"]);
            }
        }
    }
}

#[test]
fn items_that_are_not_kept_are_refused_by_their_names() {
    let world = World::new("");
    world.upstream.then(Behaviour::text("a secret"));
    let first = world.say(json!({"model": "chat", "input": "one"}), false);
    world.upstream.then(Behaviour::text("not kept"));
    let unkept = world.say(json!({"model": "chat", "input": "one", "store": false}), false);
    world.asked();
    world.upstream.take_received();
    let ask = |model: &str, id: &Value, key: &str| {
        let input = json!([{"role": "user", "content": "a"}, {"type": "item_reference", "id": id}]);
        Request::post("/v1/responses", &json!({"model": model, "input": input}))
            .bearer(key)
            .send(&world.gateway.url())
    };
    let refused = |model: &str, id: &Value, key: &str| {
        let response = ask(model, id, key);
        assert_eq!(response.status(), 404, "{model} {id}: {}", response.text());
        assert!(response.text().contains(text(id)), "{}", response.text());
        assert!(world.upstream.take_received().is_empty(), "nobody was asked");
    };
    let item = &first["output"][0]["id"];
    for model in ["chat", "anthropic", "gemini", "native"] {
        refused(model, item, OTHER_KEY);
        refused(model, &unkept["output"][0]["id"], CLIENT_KEY);
        if model != "native" {
            refused(model, &json!("msg_of_nobody"), CLIENT_KEY);
        }
    }
    // Whoever keeps its own may know it.
    world.upstream.then(Behaviour::text("yes"));
    assert_eq!(ask("native", &json!("msg_of_nobody"), CLIENT_KEY).status(), 200);
    assert!(world.asked().contains("msg_of_nobody"));
    world.ask("DELETE", text(&first["id"]), CLIENT_KEY);
    refused("chat", item, CLIENT_KEY);
}
