//! The operator's text in conversations, as the upstream sees it.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, config, receipt_of};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::Upstream;

const MODELS: &str = "models:
  - {name: own, targets: [{upstream: openai-main, model: gpt-4o}], system_prompt: {mode: replace, text: \"own text\"}}
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

/// A translated answer repeats what its client sent, not what the operator added.
#[test]
fn an_answer_does_not_repeat_it() {
    let world = World::new("{enabled: true, text: \"Be kind.\"}");
    for own in [Value::Null, json!("Be brief.")] {
        let mut body = Format::Responses.body("claude-sonnet-4-5");
        body["instructions"] = own.clone();
        let response = Request::post("/v1/responses", &body)
            .bearer(CLIENT_KEY)
            .send(&world.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        assert_eq!(response.json()["instructions"], own);
        let asked = world.upstream.take_received().pop().expect("the upstream was asked");
        assert!(asked.json()["system"].to_string().contains("Be kind."));
    }
}
