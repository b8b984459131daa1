//! The operator's text in conversations, as the upstream sees it.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, config, receipt_of};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::{Behaviour, Match, Upstream};

const MODELS: &str = "models:
  - {name: own, targets: [{upstream: openai-main, model: gpt-4o}], system_prompt: {mode: replace, text: \"own text\"}}
  - {name: kept-on, recovery: true, targets: [{upstream: openai-main, model: gpt-4o}]}
  - {name: bare, targets: [{upstream: openai-main, model: gpt-4o}], system_prompt: {disabled: true}}
";

struct World {
    upstream: Upstream,
    gateway: Tollgate,
}

impl World {
    fn new(prompt: &str) -> Self {
        let upstream = Upstream::start();
        let gateway = Tollgate::start(&config(&upstream, &format!("{MODELS}system_prompt: {prompt}\n")));
        Self { upstream, gateway }
    }

    /// What the upstream got.
    fn asked(&self, request: &Request) -> Value {
        let response = request.clone().bearer(CLIENT_KEY).send(&self.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        self.upstream
            .take_received()
            .pop()
            .expect("the upstream was asked")
            .json()
    }
}

fn instructions(format: Format, body: &Value) -> &Value {
    match format {
        Format::Chat => &body["messages"][0],
        Format::Responses => &body["instructions"],
        Format::Anthropic => &body["system"],
        Format::Gemini => &body["systemInstruction"],
    }
}

#[test]
fn it_is_said_in_every_format() {
    let world = World::new("{enabled: true, text: \"Be kind.\"}");
    for format in FORMATS {
        let asked = world.asked(&format.call(format.model()));
        let expected = match format {
            Format::Chat => json!({"role": "system", "content": "Be kind."}),
            Format::Responses | Format::Anthropic => json!("Be kind."),
            Format::Gemini => json!({"parts": [{"text": "Be kind."}]}),
        };
        assert_eq!(instructions(format, &asked), &expected, "{format:?}");
    }
}

#[test]
fn a_model_may_have_its_own_or_none() {
    let world = World::new("{enabled: true, text: \"Be kind.\"}");
    let body = |model: &str| json!({"model": model, "messages": [{"role": "system", "content": "client's"}, {"role": "user", "content": "hi"}]});
    let asked = |model: &str| world.asked(&Request::post("/v1/chat/completions", &body(model)))["messages"].clone();
    assert_eq!(
        asked("own"),
        json!([{"role": "system", "content": "own text"}, {"role": "user", "content": "hi"}])
    );
    assert_eq!(asked("bare"), body("bare")["messages"]);
    assert_eq!(asked("gpt-4o")[0]["content"], "Be kind.");
    assert_eq!(asked("gpt-4o")[1]["content"], "client's");
}

#[test]
fn the_master_switch_turns_all_off_and_a_reload_turns_it_on() {
    let world = World::new("{enabled: false, text: \"Be kind.\"}");
    let call = Format::Chat.call("own");
    assert_eq!(world.asked(&call)["messages"][0]["role"], "user");
    let on = config(&world.upstream, &format!("{MODELS}system_prompt: {{enabled: true}}\n"));
    world.gateway.write_config(&on);
    world.gateway.sighup();
    world.gateway.wait_for_output("changes are in force");
    assert_eq!(world.asked(&call)["messages"][0]["content"], "own text");
}

#[test]
fn translated_calls_carry_it_and_it_is_paid_like_the_clients_words() {
    let world = World::new("{enabled: true, text: \"Be kind.\"}");
    let response = Format::Anthropic
        .call("gemini-2.5-flash")
        .bearer(CLIENT_KEY)
        .send(&world.gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    let asked = world
        .upstream
        .take_received()
        .pop()
        .expect("the upstream was asked")
        .json();
    assert_eq!(asked["systemInstruction"]["parts"][0]["text"], "Be kind.");
    assert_eq!(receipt_of(&world.gateway, &response)["status"], 200);
}

#[test]
fn a_text_that_is_too_long_is_cut_and_the_operator_is_told() {
    let long = "x".repeat(10_005);
    let world = World::new(&format!("{{enabled: true, text: \"{long}\"}}"));
    let asked = world.asked(&Format::Chat.call("gpt-4o"));
    assert_eq!(asked["messages"][0]["content"].as_str().map(str::len), Some(10_000));
    let told = world.gateway.cli_ok(&["check"]);
    assert!(
        told.contains("`system_prompt` is cut at 10000 characters: it has 5 too many"),
        "{told}"
    );
}

/// An answer repeats what its client sent, not what the operator added: whole and streamed, passed through, told anew and gone
/// on with.
#[test]
fn an_answer_does_not_repeat_it() {
    let world = World::new("{enabled: true, text: \"Be \\\"kind\\\".\"}");
    for model in ["gpt-4o", "claude-sonnet-4-5", "own", "kept-on"] {
        for own in [Value::Null, json!("Be brief."), json!("")] {
            for stream in [false, true] {
                let mut body = Format::Responses.body(model);
                (body["instructions"], body["stream"]) = (own.clone(), json!(stream));
                let response = Request::post("/v1/responses", &body)
                    .bearer(CLIENT_KEY)
                    .send(&world.gateway.url());
                let text = response.text();
                assert_eq!(response.status(), 200, "{text}");
                let asked = world
                    .upstream
                    .take_received()
                    .pop()
                    .expect("the upstream was asked")
                    .json()
                    .to_string();
                assert!(asked.contains("kind") || asked.contains("own text"), "{asked}");
                assert!(!text.contains("kind") && !text.contains("own text"), "{model}: {text}");
                let told: Vec<Value> = if stream {
                    let events = response.events();
                    let data = events
                        .iter()
                        .filter_map(|event| serde_json::from_str::<Value>(&event.data).ok());
                    data.filter_map(|event| event.get("response").map(|response| response["instructions"].clone()))
                        .collect()
                } else {
                    vec![response.json()["instructions"].clone()]
                };
                assert_eq!(told, vec![own.clone(); if stream { 3 } else { 1 }], "{model}: {text}");
            }
        }
    }
}

#[test]
fn only_that_is_replaced_and_nothing_where_nothing_was_added() {
    let world = World::new("{enabled: true, text: \"Be kind.\"}");
    let answer = |instructions: &str| {
        format!(
            r#"{{ "id":"resp_1","object" :"response", "status":"completed","instructions":  {instructions},"output":[{{"type":"message","id":"m","role":"assistant","status":"completed","content":[{{"type":"output_text","text":"\u0041","annotations":[]}}]}}],"model":"gpt-4o","usage":{{"input_tokens":1,"output_tokens":1,"total_tokens":2}},"store":true}}"#
        )
    };
    let json = [("content-type", "application/json")];
    let upstream = |text: String| world.upstream.always(Behaviour::raw(200, &json, text));
    let ask = |model: &str, own: &str| {
        let body = format!(r#"{{"model":"{model}","input":"hi","instructions":{own}}}"#);
        let request = Request::new("POST", "/v1/responses").header("content-type", "application/json");
        request.body(body).bearer(CLIENT_KEY).send(&world.gateway.url())
    };
    upstream(answer(r#""Be kind.\n\nBe br\u0069ef.""#));
    assert_eq!(ask("gpt-4o", r#""Be brief.""#).text(), answer(r#""Be brief.""#));
    // Nobody added anything: byte for byte.
    assert_eq!(
        ask("bare", r#""Be brief.""#).text(),
        answer(r#""Be kind.\n\nBe br\u0069ef.""#)
    );
}

/// Asked for again, a response repeats what stood behind the operator's text; where nothing stood there, nothing.
#[test]
fn a_response_that_is_asked_for_again_does_not_repeat_it() {
    let mut world = World::new("{enabled: true, text: \"Be kind.\"}");
    for (at, (model, own, told)) in [
        ("gpt-4o", json!("Be brief."), json!("Be brief.")),
        ("gpt-4o", Value::Null, Value::Null),
        ("gpt-4o", json!(""), Value::Null),
        ("own", json!("Be brief."), Value::Null),
        ("bare", json!("Be brief."), json!("Be brief.")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = Format::Responses.body(model);
        body["instructions"] = own;
        let made = Request::post("/v1/responses", &body)
            .bearer(CLIENT_KEY)
            .send(&world.gateway.url());
        assert_eq!(made.status(), 200, "{}", made.text());
        let id = made.json()["id"].as_str().expect("a name").to_owned();
        let asked = world
            .upstream
            .take_received()
            .pop()
            .expect("the upstream was asked")
            .json();
        let path = format!("/responses/{id}");
        let kept = json!({"id": id, "object": "response", "status": "completed", "instructions": asked["instructions"], "output": []});
        let json = [("content-type", "application/json")];
        world
            .upstream
            .rule(Match::path(&path), Behaviour::raw(200, &json, kept.to_string()));
        let get = |world: &World, query: &str| {
            let request = Request::get(&format!("/v1{path}{query}"));
            request.bearer(CLIENT_KEY).send(&world.gateway.url())
        };
        let again = get(&world, "");
        assert_eq!(
            (again.status(), &again.json()["instructions"]),
            (200, &told),
            "{}",
            again.text()
        );
        let event = json!({"type": "response.created", "sequence_number": 0, "response": kept});
        let stream = format!("event: response.created\ndata: {event}\n\n");
        let sse = [("content-type", "text/event-stream")];
        world
            .upstream
            .rule(Match::path(&path), Behaviour::raw(200, &sse, stream));
        let streamed = get(&world, "?stream=true");
        let event: Value = serde_json::from_str(&streamed.events()[0].data).expect("an event");
        assert_eq!(event["response"]["instructions"], told, "{}", streamed.text());
        if at == 0 {
            // Whatever remembers it.
            assert!(world.gateway.stop().success());
            world.gateway.restart();
            assert_eq!(
                serde_json::from_str::<Value>(&get(&world, "?stream=true").events()[0].data).expect("an event"),
                event
            );
        }
        world.upstream.take_received();
    }
}
