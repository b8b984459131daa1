//! The same call under every path that clients know it by.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config, receipt_of};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::Upstream;

/// Path, body, path at the upstream, and what the answer must contain.
fn calls() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let gemini = Format::Gemini.body("");
    let embed = json!({"content": {"parts": [{"text": "hi"}]}});
    let batch = json!({"requests": [{"model": "models/gemini-2.5-flash", "content": {"parts": [{"text": "hi"}]}}]});
    vec![
        (
            "/v1/chat/completions",
            Format::Chat.body("gpt-4o"),
            "/v1/chat/completions",
            "\"choices\"",
        ),
        (
            "/v1/completions",
            json!({"model": "gpt-4o", "prompt": "hi"}),
            "/v1/completions",
            "\"text_completion\"",
        ),
        (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": "hi"}),
            "/v1/embeddings",
            "\"embedding\"",
        ),
        (
            "/v1/responses",
            Format::Responses.body("gpt-4o"),
            "/v1/responses",
            "\"output\"",
        ),
        (
            "/v1/messages",
            Format::Anthropic.body("claude-sonnet-4-5"),
            "/v1/messages",
            "\"content\"",
        ),
        (
            "/v1/messages/count_tokens",
            Format::Anthropic.body("claude-sonnet-4-5"),
            "/v1/messages/count_tokens",
            "\"input_tokens\"",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            gemini.clone(),
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "\"candidates\"",
        ),
        (
            "/v1/models/gemini-2.5-flash:generateContent",
            gemini.clone(),
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "\"candidates\"",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            gemini.clone(),
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            "data: {",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            gemini.clone(),
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            "[",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:countTokens",
            gemini,
            "/v1beta/models/gemini-2.5-flash:countTokens",
            "\"totalTokens\"",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:embedContent",
            embed,
            "/v1beta/models/gemini-2.5-flash:embedContent",
            "\"embedding\"",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:batchEmbedContents",
            batch,
            "/v1beta/models/gemini-2.5-flash:batchEmbedContents",
            "\"embeddings\"",
        ),
    ]
}

#[test]
fn every_operation_under_every_prefix() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    for (path, body, there, contains) in calls() {
        for prefix in ["", "/api", "/api/proxy"] {
            let target = format!("{prefix}{path}");
            let response = Request::post(&target, &body).bearer(CLIENT_KEY).send(&gateway.url());
            let text = response.text();
            assert_eq!(response.status(), 200, "{target}: {text}");
            assert!(response.is_complete() && text.contains(contains), "{target}: {text}");
            let received = upstream.take_received();
            assert_eq!(received.len(), 1, "{target}");
            assert_eq!(received[0].target, there, "{target}");
            assert_eq!(received[0].body, body.to_string().as_bytes(), "{target}");
            let receipt = receipt_of(&gateway, &response);
            assert_eq!(receipt["ending"], "complete", "{target}: {receipt}");
            let counts = path.ends_with("count_tokens") || path.ends_with("countTokens");
            assert_eq!(counts, receipt["charged"] == 0, "{target}: {receipt}");
        }
    }
}

#[test]
fn a_gemini_stream_without_sse_is_a_json_array() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    let request = Request::post(
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        &Format::Gemini.body(""),
    );
    let response = request.bearer(CLIENT_KEY).send(&gateway.url());
    let parts = response.json();
    assert!(parts.as_array().is_some_and(|parts| parts.len() > 1), "{parts}");
    assert!(
        response
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/json"))
    );
}

#[test]
fn the_answer_says_where_it_comes_from() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    let plain = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(plain.header("x-tollgate-upstream"), Some("openai-main"));
    assert_eq!(plain.header("x-tollgate-attempts"), Some("1"));
    let receipt = receipt_of(&gateway, &plain);
    let cost = plain
        .header("x-tollgate-cost")
        .expect("an answer says its cost")
        .to_owned();
    assert_eq!(
        blackbox::books::nanos(&json!(cost)),
        receipt["charged"].as_i64().unwrap(),
        "{receipt}"
    );
    assert!(
        receipt["charged"].as_i64().unwrap() > 0,
        "the catalog knows a price: {receipt}"
    );
    let stream = Format::Chat.stream("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(stream.header("x-tollgate-upstream"), Some("openai-main"));
    assert_eq!(stream.header("x-tollgate-cost"), None, "nobody knows it before the end");
}

#[test]
fn health_and_readiness_need_no_key() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    for path in ["/health", "/livez", "/readyz"] {
        let response = Request::get(path).send(&gateway.url());
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        assert_eq!(response.json()["status"], "ok", "{path}");
    }
    let health = Request::get("/health").send(&gateway.url()).json();
    assert_eq!(
        (health["upstreams"].as_u64(), health["credentials"].as_u64()),
        (Some(3), Some(3)),
        "{health}"
    );
}

#[test]
fn browsers_of_listed_origins_may_call() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(
        &upstream,
        "server: {cors_origins: [\"https://app.example.com\"]}\n",
    ));
    let preflight = |origin: &str| {
        Request::new("OPTIONS", "/v1/chat/completions")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization, content-type, x-stainless-os",
            )
            .send(&gateway.url())
    };
    let allowed = preflight("https://app.example.com");
    assert!(matches!(allowed.status(), 200 | 204), "{}", allowed.status());
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert!(
        allowed
            .header("access-control-allow-methods")
            .is_some_and(|methods| methods.contains("POST"))
    );
    assert!(
        allowed
            .header("access-control-allow-headers")
            .is_some_and(|headers| headers.contains("x-stainless-os"))
    );
    let stranger = preflight("https://evil.example.com");
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    for (key, status) in [(CLIENT_KEY, 200), ("sk-tg-wrong-0123456789", 401)] {
        let call = |origin: &str| {
            Format::Chat
                .call("gpt-4o")
                .bearer(key)
                .header("origin", origin)
                .send(&gateway.url())
        };
        let answered = call("https://app.example.com");
        assert_eq!(answered.status(), status, "{}", answered.text());
        assert_eq!(
            answered.header("access-control-allow-origin"),
            Some("https://app.example.com"),
            "{status}"
        );
        assert_eq!(
            call("https://evil.example.com").header("access-control-allow-origin"),
            None
        );
    }
    assert!(
        upstream.received().iter().all(|call| call.header("origin").is_none()),
        "the origin is not the provider's business"
    );
}
