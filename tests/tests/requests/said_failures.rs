//! An answer that says of itself, under a 200, that it failed: the client gets the status that its error stands for,
//! whether it is whole or a stream.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config, receipt_of};
use serde_json::json;
use testkit::gateway::Setup;
use testkit::upstream::{Behaviour, Upstream};

fn failed(code: &str) -> String {
    format!(
        r#"{{"id":"resp_1","object":"response","created_at":1,"status":"failed","model":"gpt-4o","output":[],"usage":null,
        "error":{{"code":"{code}","message":"Because of reasons."}}}}"#
    )
    .replace('\n', "")
}

#[test]
fn a_failure_under_a_200_has_the_status_that_it_stands_for() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "defaults: {retries: 0}\n")).start();
    for (code, status) in [
        ("rate_limit_exceeded", 429),
        ("server_error", 500),
        ("invalid_prompt", 400),
    ] {
        for client in [Format::Anthropic, Format::Gemini] {
            let whole = failed(code);
            let event =
                format!("event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{whole}}}\n\n");
            let json = Behaviour::raw(200, &[("content-type", "application/json")], whole);
            let stream = Behaviour::raw(200, &[("content-type", "text/event-stream")], event);
            for (behaviour, call) in [(json, client.call("gpt-4o")), (stream, client.stream("gpt-4o"))] {
                upstream.always(behaviour);
                let response = call.bearer(CLIENT_KEY).send(&gateway.url());
                client.assert_refusal(&response, status);
                if status == 400 {
                    let text = response.text();
                    assert!(text.contains("Because of reasons."), "{client:?}: {text}");
                }
            }
        }
    }
}

/// What Gemini has instead of an error.
#[test]
fn a_malformed_call_is_no_answer() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "defaults: {retries: 0}\n")).start();
    let answer = r#"{"candidates":[{"content":{},"finishReason":"MALFORMED_FUNCTION_CALL"}],"usageMetadata":{"promptTokenCount":5}}"#;
    for client in [Format::Chat, Format::Anthropic, Format::Responses] {
        let json = Behaviour::raw(200, &[("content-type", "application/json")], answer);
        let events = Behaviour::raw(
            200,
            &[("content-type", "text/event-stream")],
            format!("data: {answer}\n\n"),
        );
        let model = "gemini-2.5-flash";
        for (behaviour, call) in [(json, client.call(model)), (events, client.stream(model))] {
            upstream.always(behaviour);
            let response = call.bearer(CLIENT_KEY).send(&gateway.url());
            client.assert_refusal(&response, 502);
        }
    }
    upstream.always(Behaviour::raw(200, &[("content-type", "application/json")], answer));
    let own = Format::Gemini
        .call("gemini-2.5-flash")
        .bearer(CLIENT_KEY)
        .send(&gateway.url());
    assert_eq!(own.status(), 200, "in its own format it passes: {}", own.text());
}

/// What `OpenRouter` calls the end of an answer whose provider failed, where it says nothing else of it.
#[test]
fn an_answer_that_ended_in_an_error_is_none() {
    let upstream = Upstream::start();
    let config = config(&upstream, "defaults: {retries: 0}\n").replace("provider: openai,", "provider: openrouter,");
    let gateway = Setup::config(&config).start();
    let url = gateway.url();
    let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}"#;
    let whole = format!(
        r#"{{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{{"index":0,"message":{{"role":"assistant","content":"half"}},"finish_reason":"error"}}],{usage}}}"#
    );
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}],{usage}}}\n\n"
        )
    };
    let failed = chunk("{}", "\"error\"") + "data: [DONE]\n\n";
    let begun = chunk(r#"{"role":"assistant","content":"half"}"#, "null") + &failed;
    for client in [Format::Chat, Format::Anthropic, Format::Responses, Format::Gemini] {
        let json = Behaviour::raw(200, &[("content-type", "application/json")], whole.clone());
        let events = |body: &str| Behaviour::raw(200, &[("content-type", "text/event-stream")], body.to_owned());
        for (behaviour, call) in [
            (json, client.call("gpt-4o")),
            (events(&failed), client.stream("gpt-4o")),
        ] {
            upstream.always(behaviour);
            let response = call.bearer(CLIENT_KEY).send(&url);
            client.assert_refusal(&response, 502);
            assert_eq!(receipt_of(&gateway, &response)["charged"], 0, "{client:?}");
        }
        upstream.always(events(&begun));
        let response = client.stream("gpt-4o").bearer(CLIENT_KEY).send(&url);
        let text = response.text();
        assert!(
            client.ends_in_error(&text) && text.contains("half"),
            "{client:?}: {text}"
        );
        assert!(!client.looks_complete(&text), "{client:?}: {text}");
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(
            (&receipt["ending"], &receipt["charged"]),
            (&json!("upstream_gone"), &json!(0)),
            "{client:?}: {receipt}"
        );
    }
}
