//! Of the two formats that OpenAI speaks, requests of other formats take the one that can say what they say.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::Setup;
use testkit::upstream::Upstream;

#[test]
fn what_only_chat_can_say_goes_to_chat() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "")).start();
    for (model, stop, path) in [
        ("gpt-4o", Some("END"), "/v1/chat/completions"),
        ("gpt-4o", None, "/v1/responses"),
        ("gpt-5", Some("END"), "/v1/responses"),
    ] {
        let mut body = Format::Anthropic.body(model);
        if let Some(stop) = stop {
            body["stop_sequences"] = json!([stop]);
        }
        let response = Request::post(Format::Anthropic.path(model).as_str(), &body)
            .bearer(CLIENT_KEY)
            .send(&gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        let asked = upstream.take_received().pop().expect("the upstream was asked");
        assert_eq!(asked.target, path, "{model} {stop:?}");
        if path.contains("chat") {
            let told: Value = serde_json::from_slice(&asked.body).expect("a JSON body");
            assert_eq!(told["stop"], json!(["END"]));
        }
    }
}
