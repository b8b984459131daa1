//! An answer that says of itself, under a 200, that it failed: the client gets the status that its error stands for,
//! whether it is whole or a stream.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, receipt_of};
use serde_json::json;
use testkit::gateway::{Setup, Tollgate};
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

/// What providers call the end of an answer that they failed to give, where they say nothing else of it.
#[test]
fn an_answer_that_ended_in_a_failure_is_none() {
    let upstream = Upstream::start();
    let resting = "models: [\"gpt-*\", \"text-embedding-*\"],";
    let config = config(&upstream, "defaults: {retries: 0}\n")
        .replace("provider: openai,", "provider: openrouter,")
        .replace(resting, &format!("breaker: off, cooldown: off, {resting}"));
    let gateway = Setup::config(&config).start();
    for (word, status) in [
        ("error", 502),
        ("network_error", 502),
        ("insufficient_system_resource", 503),
    ] {
        for client in [Format::Chat, Format::Anthropic, Format::Responses, Format::Gemini] {
            // Anthropic has a status of its own for it.
            let own = status == 503 && matches!(client, Format::Anthropic);
            ends_in_a_failure(&upstream, &gateway, client, word, if own { 529 } else { status });
        }
    }
}

const USAGE: &str = r#""usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}"#;

fn whole(word: &str) -> Behaviour {
    let answer = format!(
        r#"{{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{{"index":0,"message":{{"role":"assistant","content":"half"}},"finish_reason":"{word}"}}],{USAGE}}}"#
    );
    Behaviour::raw(200, &[("content-type", "application/json")], answer)
}

fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}],{USAGE}}}\n\n"
    )
}

/// A stream that ends so, before anything or after half of it was said.
fn stream(word: &str, said: bool) -> Behaviour {
    let begun = chunk(r#"{"role":"assistant","content":"half"}"#, "null");
    let failed = chunk("{}", &format!("\"{word}\"")) + "data: [DONE]\n\n";
    let body = if said { begun + &failed } else { failed };
    Behaviour::raw(200, &[("content-type", "text/event-stream")], body)
}

fn ends_in_a_failure(upstream: &Upstream, gateway: &Tollgate, client: Format, word: &str, status: u16) {
    let url = gateway.url();
    for (behaviour, call) in [
        (whole(word), client.call("gpt-4o")),
        (stream(word, false), client.stream("gpt-4o")),
    ] {
        upstream.always(behaviour);
        let response = call.bearer(CLIENT_KEY).send(&url);
        client.assert_refusal(&response, status);
        assert_eq!(receipt_of(gateway, &response)["charged"], 0, "{client:?} {word}");
    }
    upstream.always(stream(word, true));
    let response = client.stream("gpt-4o").bearer(CLIENT_KEY).send(&url);
    let text = response.text();
    assert!(
        client.ends_in_error(&text) && text.contains("half"),
        "{client:?} {word}: {text}"
    );
    assert!(!client.looks_complete(&text), "{client:?} {word}: {text}");
    let receipt = receipt_of(gateway, &response);
    assert_eq!(
        (&receipt["ending"], &receipt["charged"]),
        (&json!("upstream_gone"), &json!(0)),
        "{client:?} {word}: {receipt}"
    );
}

/// Before anything was said, somebody else may answer.
#[test]
fn who_failed_to_answer_is_stepped_over() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let line = |name: &str, upstream: &Upstream, priority: u32| {
        format!(
            "  - {{name: {name}, provider: deepseek, base_url: \"{}\", priority: {priority}, models: [\"m\"], breaker: off, cooldown: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n",
            upstream.v1()
        )
    };
    let config = format!(
        "defaults: {{retries: 1, retry_delay: 10ms}}\nupstreams:\n{}{}users: [{{name: alice}}]\nkeys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]\n",
        line("first", &first, 0),
        line("second", &second, 1)
    );
    let gateway = Setup::config(&config).start();
    second.always(Behaviour::text("uno dos tres"));
    for word in ["insufficient_system_resource", "network_error", "error", "abort"] {
        for client in [Format::Chat, Format::Anthropic] {
            for (behaviour, call) in [
                (whole(word), client.call("m")),
                (stream(word, false), client.stream("m")),
            ] {
                first.always(behaviour);
                let response = call.bearer(CLIENT_KEY).send(&gateway.url());
                assert_eq!(response.status(), 200, "{client:?} {word}");
                let text = response.text();
                assert!(
                    client.looks_complete(&text) || text.contains("tres"),
                    "{client:?} {word}: {text}"
                );
                assert!(!text.contains("half"), "{client:?} {word}: {text}");
            }
        }
    }
}
