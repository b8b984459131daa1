//! Clients of every format before upstreams of every other: what the client reads, what the upstream was asked, what is
//! billed, and that a cut answer never looks complete.

use std::time::Duration;

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, receipt_of};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Received, Refusal, Upstream, Usage};

mod exact;

const TEXT: &str = "one two three four five six seven eight nine ten eleven twelve";

struct World {
    gateway: Tollgate,
    upstream: Upstream,
}

impl World {
    /// One scripted upstream, declared once for each format that it alone speaks; the model is named after the format.
    fn new() -> Self {
        let upstream = Upstream::start();
        let (url, v1) = (upstream.url(), upstream.v1());
        let config = format!(
            "defaults: {{retries: 1, retry_delay: 50ms, first_byte_timeout: 1500ms, idle_timeout: 1500ms}}
providers:
  - {{name: chat-only, base_url: \"{v1}\", models: [chat], surfaces: {{chat: {{openai_chat: /chat/completions}}}}}}
  - {{name: responses-only, base_url: \"{v1}\", models: [responses], surfaces: {{chat: {{openai_responses: /responses}}}}}}
upstreams:
  - {{name: a, provider: chat-only, breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: b, provider: responses-only, breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: c, provider: anthropic, base_url: \"{v1}\", models: [anthropic], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: d, provider: gemini, base_url: \"{url}/v1beta\", models: [gemini], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
"
        );
        Self {
            gateway: Setup::config(&config).start(),
            upstream,
        }
    }

    fn send(&self, request: &Request) -> Response {
        request.clone().bearer(CLIENT_KEY).send(&self.gateway.url())
    }

    fn asked(&self) -> Received {
        self.upstream.take_received().pop().expect("the upstream was asked")
    }
}

const fn model(upstream: Format) -> &'static str {
    match upstream {
        Format::Chat => "chat",
        Format::Responses => "responses",
        Format::Anthropic => "anthropic",
        Format::Gemini => "gemini",
    }
}

/// Every pair of different formats: client, upstream.
fn pairs() -> impl Iterator<Item = (Format, Format)> {
    FORMATS
        .into_iter()
        .flat_map(|client| FORMATS.into_iter().map(move |upstream| (client, upstream)))
        .filter(|(client, upstream)| client != upstream)
}

/// What a whole answer says: text, calls as (name, arguments), (input, output) tokens.
fn said(client: Format, answer: &Value) -> (String, Vec<(String, Value)>, (u64, u64)) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parsed = |value: &Value| serde_json::from_str(value.as_str().unwrap_or("null")).unwrap_or(Value::Null);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    match client {
        Format::Chat => {
            let message = &answer["choices"][0]["message"];
            let calls = list(&message["tool_calls"]);
            let calls = calls
                .iter()
                .map(|call| (text(&call["function"]["name"]), parsed(&call["function"]["arguments"])));
            let usage = &answer["usage"];
            (
                text(&message["content"]),
                calls.collect(),
                (number(&usage["prompt_tokens"]), number(&usage["completion_tokens"])),
            )
        }
        Format::Responses => {
            let output = list(&answer["output"]);
            let of = |kind: &str| {
                output
                    .iter()
                    .filter(|item| item["type"] == kind)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let words = of("message")
                .iter()
                .flat_map(|item| list(&item["content"]))
                .map(|part| text(&part["text"]))
                .collect();
            let calls = of("function_call")
                .iter()
                .map(|call| (text(&call["name"]), parsed(&call["arguments"])))
                .collect();
            (
                words,
                calls,
                (
                    number(&answer["usage"]["input_tokens"]),
                    number(&answer["usage"]["output_tokens"]),
                ),
            )
        }
        Format::Anthropic => {
            let blocks = list(&answer["content"]);
            let words = blocks.iter().map(|block| text(&block["text"])).collect();
            let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
            let calls = calls
                .map(|block| (text(&block["name"]), block["input"].clone()))
                .collect();
            (
                words,
                calls,
                (
                    number(&answer["usage"]["input_tokens"]),
                    number(&answer["usage"]["output_tokens"]),
                ),
            )
        }
        Format::Gemini => {
            let parts = list(&answer["candidates"][0]["content"]["parts"]);
            let words = parts
                .iter()
                .filter(|part| part["thought"] != true)
                .map(|part| text(&part["text"]))
                .collect();
            let calls = parts.iter().filter(|part| part["functionCall"].is_object());
            let calls = calls
                .map(|part| {
                    (
                        text(&part["functionCall"]["name"]),
                        part["functionCall"]["args"].clone(),
                    )
                })
                .collect();
            let usage = &answer["usageMetadata"];
            (
                words,
                calls,
                (
                    number(&usage["promptTokenCount"]),
                    number(&usage["candidatesTokenCount"]),
                ),
            )
        }
    }
}

/// Whether a stream's bytes look like a finished answer to a client of this format.
fn looks_complete(client: Format, text: &str) -> bool {
    match client {
        Format::Chat => text.contains("data: [DONE]") || text.contains("\"finish_reason\":\"stop\""),
        Format::Responses => text.contains("response.completed"),
        Format::Anthropic => text.contains("message_stop") || text.contains("\"stop_reason\":\"end_turn\""),
        Format::Gemini => text.contains("\"finishReason\":\"STOP\""),
    }
}

fn ends_in_error(client: Format, text: &str) -> bool {
    let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    match client {
        Format::Chat | Format::Gemini => last.contains("\"error\""),
        Format::Responses => last.contains("response.failed") || last.contains("event: error"),
        Format::Anthropic => last.starts_with("event: error"),
    }
}

#[test]
fn answers_arrive_in_the_clients_format_and_are_billed_as_reported() {
    let world = World::new();
    let answer = Answer::text(TEXT)
        .and_tool_call("look", json!({"x": [1, "é"]}))
        .usage(Usage::of(40, 9));
    world.upstream.always(Behaviour::answer(answer));
    for (client, upstream) in pairs() {
        let response = world.send(&client.call(model(upstream)));
        assert_eq!(
            response.status(),
            200,
            "{client:?} before {upstream:?}: {}",
            response.text()
        );
        let (text, calls, usage) = said(client, &response.json());
        assert_eq!(text, TEXT, "{client:?} before {upstream:?}: {}", response.text());
        assert_eq!(
            calls,
            [("look".to_owned(), json!({"x": [1, "é"]}))],
            "{client:?} before {upstream:?}"
        );
        assert_eq!(usage, (40, 9), "{client:?} before {upstream:?}: {}", response.text());
        let asked = world.asked();
        assert!(
            asked.path().ends_with(
                upstream
                    .path(model(upstream))
                    .trim_start_matches("/v1beta")
                    .trim_start_matches("/v1")
            ),
            "{}",
            asked.path()
        );
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(
            (&receipt["usage"]["input"], &receipt["usage"]["output"]),
            (&json!(40), &json!(9)),
            "{receipt}"
        );
        assert_eq!(
            receipt["attempts"][0]["dialect"]
                .as_str()
                .map(|name| name.split('_').next_back().unwrap()),
            Some(model(upstream).replace("anthropic", "messages")).as_deref(),
            "{receipt}"
        );
    }
}

fn speaking_and_calling() -> Answer {
    Answer::text(TEXT)
        .and_tool_call("look", json!({"x": 1}))
        .usage(Usage::of(40, 9))
}

/// A whole stream in the client's grammar, of the text and the call, and its receipt.
fn assert_streamed(world: &World, client: Format, upstream: Format, response: &Response) {
    let text = response.text();
    assert_eq!(response.status(), 200, "{client:?} before {upstream:?}: {text}");
    assert_eq!(
        response.header("content-type"),
        Some("text/event-stream"),
        "{client:?} before {upstream:?}"
    );
    assert!(response.is_complete(), "{client:?} before {upstream:?}: {text}");
    let terminal = match client {
        Format::Chat => "data: [DONE]",
        Format::Responses => "response.completed",
        Format::Anthropic => "event: message_stop",
        Format::Gemini => "\"finishReason\":",
    };
    assert!(text.contains(terminal), "{client:?} before {upstream:?}: {text}");
    for word in TEXT.split(' ') {
        assert!(
            text.contains(word),
            "{client:?} before {upstream:?}: no `{word}` in {text}"
        );
    }
    assert!(text.contains("look"), "{client:?} before {upstream:?}: {text}");
    let receipt = receipt_of(&world.gateway, response);
    assert_eq!(
        (&receipt["usage"]["input"], &receipt["usage"]["output"]),
        (&json!(40), &json!(9)),
        "{receipt}"
    );
    assert_eq!(receipt["ending"], "complete");
}

#[test]
fn streams_arrive_in_the_clients_grammar() {
    let world = World::new();
    world.upstream.always(Behaviour::answer(speaking_and_calling()));
    for (client, upstream) in pairs() {
        let response = world.send(&client.stream(model(upstream)));
        assert_streamed(&world, client, upstream, &response);
        world.asked();
    }
}

#[test]
fn a_whole_answer_to_who_asked_for_a_stream_is_told_as_one() {
    let world = World::new();
    for upstream in FORMATS {
        // What it says to those who ask for no stream it now says to everybody.
        world.upstream.always(Behaviour::answer(speaking_and_calling()));
        let whole = upstream.call(model(upstream)).send(&world.upstream.url());
        let whole = Behaviour::raw(200, &[("content-type", "application/json")], whole.text());
        world.upstream.always(whole);
        for client in FORMATS.into_iter().filter(|client| *client != upstream) {
            let response = world.send(&client.stream(model(upstream)));
            assert_streamed(&world, client, upstream, &response);
        }
        world.upstream.take_received();
    }
}

#[test]
fn a_cut_stream_ends_as_an_error_and_costs_nothing() {
    let world = World::new();
    for behaviour in [
        Behaviour::text(TEXT).reset_after(6),
        Behaviour::text(TEXT).end_after(6),
        Behaviour::text(TEXT).malformed(7),
        Behaviour::text(TEXT).error_after(6),
        Behaviour::text(TEXT).stall_after(6),
    ] {
        world.upstream.always(behaviour.clone());
        for (client, upstream) in pairs() {
            let response = world.send(&client.stream(model(upstream)));
            let text = response.text();
            assert!(
                !looks_complete(client, &text),
                "{client:?} before {upstream:?}, {behaviour:?}: {text}"
            );
            assert!(
                ends_in_error(client, &text),
                "{client:?} before {upstream:?}, {behaviour:?}: {text}"
            );
            let receipt = receipt_of(&world.gateway, &response);
            assert_eq!(receipt["ending"], "upstream_gone", "{receipt}");
            assert_eq!(receipt["charged"].as_i64().unwrap_or_default(), 0, "{receipt}");
        }
    }
}

#[test]
fn refusals_of_the_request_come_in_the_clients_envelope() {
    let world = World::new();
    world.upstream.always(Behaviour::refuse(
        Refusal::status(400).message("temperature: must be below 2"),
    ));
    for (client, upstream) in pairs() {
        let response = world.send(&client.call(model(upstream)));
        assert_eq!(response.status(), 400, "{client:?} before {upstream:?}");
        let body = response.json();
        assert_eq!(
            body["error"]["message"], "temperature: must be below 2",
            "{client:?} before {upstream:?}: {body}"
        );
        if client == Format::Anthropic {
            assert_eq!(
                (&body["type"], &body["error"]["type"]),
                (&json!("error"), &json!("invalid_request_error"))
            );
        }
        assert_eq!(world.upstream.take_received().len(), 1, "one attempt");
    }
}

#[test]
fn a_request_that_its_own_format_does_not_allow_is_refused_before_anybody_is_asked() {
    let world = World::new();
    let broken = Request::post(
        "/v1/chat/completions",
        &json!({"model": "anthropic", "messages": [{"role": "king", "content": "x"}]}),
    );
    let response = world.send(&broken);
    Format::Chat.assert_refusal(&response, 400);
    assert!(response.text().contains("messages[0].role"), "{}", response.text());
    assert!(world.upstream.take_received().is_empty());
    // Where the target speaks the client's format, judging is the provider's business.
    let same = Request::post(
        "/v1/chat/completions",
        &json!({"model": "chat", "messages": [{"role": "king", "content": "x"}]}),
    );
    assert_eq!(world.send(&same).status(), 200);
}

#[test]
fn the_clients_own_headers_stay_behind_and_credentials_are_the_targets() {
    let world = World::new();
    world.upstream.always(Behaviour::text(TEXT));
    let request = Format::Anthropic
        .call("gemini")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "b")
        .header("x-stainless-lang", "python")
        .header("x-trace", "kept");
    assert_eq!(world.send(&request).status(), 200);
    let asked = world.asked();
    for gone in [
        "anthropic-version",
        "anthropic-beta",
        "x-stainless-lang",
        "authorization",
    ] {
        assert_eq!(asked.header(gone), None, "{gone}");
    }
    assert_eq!(
        (asked.header("x-trace"), asked.header("x-goog-api-key")),
        (Some("kept"), Some(UPSTREAM_KEY))
    );
}

#[test]
fn losses_are_kept_with_the_attempt() {
    let world = World::new();
    world.upstream.always(Behaviour::text(TEXT));
    let mut body = Format::Anthropic.body("chat");
    body["top_k"] = json!(5);
    let response = world.send(&Request::post("/v1/messages", &body));
    let receipt = receipt_of(&world.gateway, &response);
    let losses = receipt["attempts"][0]["losses"].to_string();
    assert!(losses.contains("top_k"), "{receipt}");
}

#[test]
fn a_seal_of_another_provider_does_not_reach_the_one_whose_format_it_is_not() {
    let world = World::new();
    let history = |seal: &str| {
        json!({"model": "anthropic", "max_tokens": 50, "top_k": 5, "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": seal}, {"type": "text", "text": "hello"}]},
            {"role": "user", "content": "and?"}]})
    };
    let ask = |body: &Value| {
        let request = Request::post("/v1/messages", body).header("anthropic-beta", "b1");
        let response = world.send(&request);
        assert_eq!(response.status(), 200, "{}", response.text());
        (world.asked(), receipt_of(&world.gateway, &response))
    };
    let own = history("EqoBCkgIARABGAIiQL");
    let (asked, _) = ask(&own);
    assert_eq!(asked.body, own.to_string().into_bytes(), "untouched");
    let (asked, receipt) = ask(&history("tollgate:openai_responses:sealed"));
    let body = asked.json();
    assert!(!body.to_string().contains("sealed"), "{body}");
    assert_eq!(
        body["messages"][1]["content"][0],
        json!({"type": "text", "text": "hello"}),
        "{body}"
    );
    assert_eq!(
        (&body["top_k"], asked.header("anthropic-beta")),
        (&json!(5), Some("b1"))
    );
    let losses = receipt["attempts"][0]["losses"].to_string();
    assert!(losses.contains("thinking"), "{receipt}");
}

#[test]
fn failing_over_goes_from_one_format_to_another() {
    let (first, second) = (Upstream::start(), Upstream::start());
    first.always(Behaviour::status(500));
    second.always(Behaviour::text(TEXT));
    let config = format!(
        "defaults: {{retries: 0, retry_delay: 50ms}}
upstreams:
  - {{name: a, provider: anthropic, base_url: \"{}\", priority: 0, breaker: off, credentials: [{{name: k, key: x}}]}}
  - {{name: b, provider: gemini, base_url: \"{}/v1beta\", priority: 1, breaker: off, credentials: [{{name: k, key: y}}]}}
models: [{{name: m, targets: [{{upstream: a, model: claude-x}}, {{upstream: b, model: gemini-x}}]}}]
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
        first.v1(),
        second.url()
    );
    let gateway = Setup::config(&config).start();
    for client in FORMATS {
        let response = client
            .stream("m")
            .timeout(Duration::from_secs(10))
            .bearer(CLIENT_KEY)
            .send(&gateway.url());
        assert_eq!(response.status(), 200, "{client:?}: {}", response.text());
        assert!(response.text().contains("twelve"), "{client:?}: {}", response.text());
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(receipt["attempts"].as_array().map(Vec::len), Some(2), "{receipt}");
    }
}

#[test]
fn counts_are_asked_of_whoever_counts_and_estimated_where_nobody_does() {
    let world = World::new();
    let body = |format: Format, model: &str| {
        let mut body = format.body(model);
        if let Some(body) = body.as_object_mut() {
            body.remove("max_tokens");
            body.remove("generationConfig");
        }
        body
    };
    let anthropic = |model: &str| Request::post("/v1/messages/count_tokens", &body(Format::Anthropic, model));
    let gemini = |model: &str| {
        Request::post(
            &format!("/v1beta/models/{model}:countTokens"),
            &body(Format::Gemini, model),
        )
    };
    for (request, member, path) in [
        (anthropic("gemini"), "input_tokens", "/v1beta/models/gemini:countTokens"),
        (gemini("anthropic"), "totalTokens", "/v1/messages/count_tokens"),
    ] {
        let response = world.send(&request);
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(
            response.json()[member].as_u64().is_some_and(|count| count > 0),
            "{}",
            response.text()
        );
        assert_eq!(response.header("x-tollgate-estimated"), None);
        assert_eq!(world.asked().path(), path);
    }
    for (request, member) in [(anthropic("chat"), "input_tokens"), (gemini("chat"), "totalTokens")] {
        let response = world.send(&request);
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(
            response.json()[member].as_u64().is_some_and(|count| count > 0),
            "{}",
            response.text()
        );
        assert_eq!(response.header("x-tollgate-estimated"), Some("input_tokens"));
        assert!(world.upstream.take_received().is_empty());
        assert_eq!(
            receipt_of(&world.gateway, &response)["charged"]
                .as_i64()
                .unwrap_or_default(),
            0
        );
    }
}

#[test]
fn embeddings_go_between_openais_format_and_geminis() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&blackbox::config(&upstream, ""));
    let send = |request: Request| request.bearer(CLIENT_KEY).send(&gateway.url());
    let openai = json!({"model": "gemini-embedding-001", "input": ["a", "b"], "encoding_format": "base64"});
    let response = send(Request::post("/v1/embeddings", &openai));
    assert_eq!(response.status(), 200, "{}", response.text());
    let data = response.json()["data"].clone();
    assert_eq!(data.as_array().map(Vec::len), Some(2), "{data}");
    assert!(data[1]["embedding"].is_string(), "{data}");
    let asked = upstream.take_received().pop().expect("the upstream was asked");
    assert_eq!(asked.path(), "/v1beta/models/gemini-embedding-001:batchEmbedContents");
    let gemini = json!({"content": {"parts": [{"text": "a"}]}});
    let response = send(Request::post(
        "/v1beta/models/text-embedding-3-small:embedContent",
        &gemini,
    ));
    assert_eq!(response.status(), 200, "{}", response.text());
    assert!(
        response.json()["embedding"]["values"][0].is_number(),
        "{}",
        response.text()
    );
}
