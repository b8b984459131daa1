//! Searches that providers run and bill by the piece are charged, whatever format the client speaks.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config, receipt_of};
use testkit::gateway::Setup;
use testkit::upstream::{Behaviour, Upstream};

const RESPONSES: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-4o","output":[
    {"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"x"}},
    {"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"a","annotations":[]}]}],
    "usage":{"input_tokens":10,"output_tokens":2,"total_tokens":12}}"#;

const GEMINI: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"a"}]},"finishReason":"STOP",
    "groundingMetadata":{"webSearchQueries":["x","y"]}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2,
    "totalTokenCount":12},"modelVersion":"gemini-3-flash-preview"}"#;

#[test]
fn searches_are_charged_passed_through_and_translated() {
    let upstream = Upstream::start();
    let price = "price: {input: 1.00, output: 1.00, web_searches: 10.00}";
    let models = format!(
        "models:
  - {{name: gpt-4o, {price}, targets: [{{upstream: openai-main, model: gpt-4o}}]}}
  - {{name: gemini-3-flash-preview, {price}, targets: [{{upstream: google, model: gemini-3-flash-preview}}]}}
"
    );
    let gateway = Setup::config(&config(&upstream, &models)).start();
    for (client, model, body, searches) in [
        (Format::Responses, "gpt-4o", RESPONSES, 1),
        (Format::Anthropic, "gpt-4o", RESPONSES, 1),
        (Format::Gemini, "gemini-3-flash-preview", GEMINI, 2),
        (Format::Chat, "gemini-3-flash-preview", GEMINI, 2),
    ] {
        upstream.always(Behaviour::raw(200, &[("content-type", "application/json")], body));
        let response = client.call(model).bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(response.status(), 200, "{client:?}: {}", response.text());
        let receipt = receipt_of(&gateway, &response);
        let charged = 12 * 1_000 + searches * 10_000_000;
        assert_eq!(receipt["charged"], charged, "{client:?} at {model}: {receipt}");
    }
}

/// Anthropic's format has to have figures: where the upstream gave none, they are those that are billed.
#[test]
fn an_estimate_is_told_where_the_format_has_figures() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "")).start();
    let answer = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-4o","output":[
        {"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"some words","annotations":[]}]}]}"#;
    upstream.always(Behaviour::raw(200, &[("content-type", "application/json")], answer));
    let response = Format::Anthropic.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    let receipt = receipt_of(&gateway, &response);
    let told = &response.json()["usage"];
    assert!(told["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{told}");
    assert_eq!(told["input_tokens"], receipt["usage"]["input"], "{receipt}");
    assert_eq!(told["output_tokens"], receipt["usage"]["output"], "{receipt}");
}
