//! An answer that says of itself, under a 200, that it failed: the client gets the status that its error stands for,
//! whether it is whole or a stream.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config};
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
