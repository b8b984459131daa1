//! What models cannot do, from outside: who is chosen for it, and what is said when nobody can.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::Tollgate;
use testkit::upstream::Upstream;

struct World {
    gateway: Tollgate,
    upstream: Upstream,
}

impl World {
    /// `mixed` goes to a model that the operator says to be blind, and only where it must to one of which nothing is known;
    /// `blind` to the first alone; `o3-mini` is one that the catalog knows to be blind.
    fn new() -> Self {
        let upstream = Upstream::start();
        let key = format!("credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]");
        let blind = "{upstream: main, model: blind-1, capabilities: {image: false, tools: false, schema: false}}";
        let yaml = format!(
            "upstreams:
  - {{name: main, provider: openai-compatible, dialect: openai_chat, base_url: \"{v1}\", models: [\"*-1\"], {key}}}
  - {{name: openai, provider: openai, dialect: openai_chat, base_url: \"{v1}\", models: [o3-mini], {key}}}
models:
  - {{name: mixed, targets: [{blind}, {{upstream: main, model: other-1, priority: 1}}]}}
  - {{name: blind, context: 1000, targets: [{blind}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            v1 = upstream.v1()
        );
        Self {
            gateway: Tollgate::start(&yaml),
            upstream,
        }
    }

    fn send(&self, request: Request) -> Response {
        request.bearer(CLIENT_KEY).send(&self.gateway.url())
    }

    /// The model that the upstream was asked for.
    fn asked(&self, request: Request) -> Value {
        let response = self.send(request);
        assert_eq!(response.status(), 200, "{}", response.text());
        let asked = self.upstream.take_received().pop().expect("the upstream was asked");
        asked.json()["model"].clone()
    }
}

const PNG: &str = "iVBORw0KGgo=";

/// A request with a picture.
fn picture(format: Format, model: &str) -> Request {
    let body = match format {
        Format::Chat => json!({"model": model, "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}]}]}),
        Format::Responses => json!({"model": model, "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "https://pictures.example/a.png"}]}]}),
        Format::Anthropic => json!({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]}]}),
        Format::Gemini => json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}]}),
    };
    Request::post(&format.path(model), &body)
}

#[test]
fn a_request_goes_to_a_model_that_can() {
    let world = World::new();
    for format in FORMATS {
        assert_eq!(
            world.asked(format.call("mixed")),
            "blind-1",
            "{format:?}: text is for all"
        );
        assert_eq!(world.asked(picture(format, "mixed")), "other-1", "{format:?}");
    }
    let tools = |tools: Value| {
        let body = json!({"model": "mixed", "messages": [{"role": "user", "content": "hi"}], "tools": tools});
        Request::post("/v1/chat/completions", &body)
    };
    assert_eq!(world.asked(tools(json!([]))), "blind-1");
    let function = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    assert_eq!(world.asked(tools(json!([function]))), "other-1");
}

#[test]
fn where_no_model_can_the_caller_is_told_before_anything_is_sent() {
    let world = World::new();
    for format in FORMATS {
        for (model, target) in [("blind", "main/blind-1"), ("o3-mini", "openai/o3-mini")] {
            let response = world.send(picture(format, model));
            format.assert_refusal(&response, 400);
            let text = response.text();
            assert!(text.contains(target) && text.contains("capability `image`"), "{text}");
        }
    }
    let body =
        json!({"model": "blind", "stream": true, "messages": [{"role": "user", "content": "x ".repeat(15_000)}]});
    let response = world.send(Request::post("/v1/chat/completions", &body));
    Format::Chat.assert_refusal(&response, 400);
    assert!(
        response.text().contains("context window of main/blind-1"),
        "{}",
        response.text()
    );
    assert!(world.upstream.received().is_empty(), "nothing is sent");
}

#[test]
fn a_guess_refuses_nobody() {
    let world = World::new();
    let body = json!({"model": "blind", "messages": [{"role": "user", "content": "x ".repeat(5_000)}]});
    assert_eq!(world.asked(Request::post("/v1/chat/completions", &body)), "blind-1");
    let plan = |needs: &[&str]| {
        let arguments = ["explain", "--model", "mixed", "--json"];
        world.gateway.cli_json(&[&arguments, needs].concat())
    };
    let decided = plan(&["--needs", "image"]);
    assert_eq!(decided["order"][0]["model"], "other-1", "{decided}");
    let excluded = &decided["excluded"][0];
    assert_eq!(
        (&excluded["reason"], &excluded["lacks"], &excluded["cannot"]),
        (
            &json!("capability"),
            &json!("image"),
            &json!(["tools", "schema", "image"])
        )
    );
    assert_eq!(plan(&[])["order"].as_array().map(Vec::len), Some(2));
}
