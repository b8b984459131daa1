//! What an upstream was told in confidence does not come back to a client, however the upstream puts it: errors without an
//! envelope in the middle of a stream, events that are only called errors, headers of answers that are well.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, receipt_of};
use serde_json::json;
use testkit::gateway::Setup;
use testkit::upstream::{Answer, Behaviour, Upstream};

const HEADER_SECRET: &str = "tenant-secret-0123456789abcdef";

/// What providers, proxies and frameworks put into a stream that they cannot go on with.
fn errors() -> Vec<String> {
    [
        "event: error\ndata: {\"message\":\"x KEY\"}",
        "event: error\ndata: {\"error\":{\"message\":\"x KEY\"}}",
        "event: error\ndata: {\"id\":7,\"text\":\"x KEY\"}",
        "event: error\ndata: x KEY",
        "data: {\"code\":500,\"message\":\"x KEY\"}",
        "data: {\"detail\":\"x KEY\"}",
        "data: {\"detail\":[{\"msg\":\"x KEY\"}]}",
        "data: {\"code\":40303,\"msg\":\"x KEY\"}",
        "data: {\"error_code\":336,\"error_msg\":\"x KEY\"}",
        "data: {\"object\":\"error\",\"message\":\"x KEY\",\"code\":40303}",
        "data: {\"error\":\"x KEY\"}",
    ]
    .map(|event| event.replace("KEY", UPSTREAM_KEY) + "\n\n")
    .to_vec()
}

/// The beginning of a stream in a format.
fn beginning(format: Format) -> &'static str {
    match format {
        Format::Chat => {
            "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"half\"},\"finish_reason\":null}]}\n\n"
        }
        Format::Anthropic => {
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"half\"}}\n\n"
        }
        Format::Gemini => {
            "data: {\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"half\"}]}}]}\n\n"
        }
        Format::Responses => {
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"half\"}\n\n"
        }
    }
}

const fn model(format: Format) -> &'static str {
    match format {
        Format::Chat | Format::Responses => "gpt-4o",
        Format::Anthropic => "claude-sonnet-4-5",
        Format::Gemini => "gemini-2.5-flash",
    }
}

#[test]
fn an_error_in_a_stream_is_one_without_an_envelope_too() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "defaults: {retries: 0}\n")).start();
    for client in [Format::Chat, Format::Anthropic, Format::Gemini, Format::Responses] {
        for error in errors() {
            let body = beginning(client).to_owned() + &error;
            upstream.always(Behaviour::raw(200, &[("content-type", "text/event-stream")], body));
            let response = client.stream(model(client)).bearer(CLIENT_KEY).send(&gateway.url());
            let text = response.text();
            assert!(text.contains("half"), "{client:?} {error}: {text}");
            assert!(!text.contains(UPSTREAM_KEY), "{client:?} {error}: {text}");
            assert!(client.ends_in_error(&text), "{client:?} {error}: {text}");
            let receipt = receipt_of(&gateway, &response);
            assert_eq!(receipt["ending"], "upstream_gone", "{client:?} {error}");
        }
    }
}

/// OpenAI's own error events pass as they came, but for what they may not tell.
#[test]
fn an_error_event_that_passes_tells_no_secret() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "defaults: {retries: 0}\n")).start();
    let error = format!(
        "event: error\ndata: {{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"of {UPSTREAM_KEY}\",\"param\":null,\"sequence_number\":3}}\n\n"
    );
    let body = beginning(Format::Responses).to_owned() + &error;
    upstream.always(Behaviour::raw(200, &[("content-type", "text/event-stream")], body));
    let response = Format::Responses
        .stream("gpt-4o")
        .bearer(CLIENT_KEY)
        .send(&gateway.url());
    let text = response.text();
    assert!(text.contains("server_error") && text.contains("of ****"), "{text}");
    assert!(!text.contains(UPSTREAM_KEY), "{text}");
}

/// Events that are odd and no errors.
#[test]
fn what_is_only_odd_passes() {
    let upstream = Upstream::start();
    let gateway = Setup::config(&config(&upstream, "")).start();
    let chunk = "\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\"";
    let events = [
        ": OPENROUTER PROCESSING\n\n".to_owned(),
        format!(
            "data: {{{chunk},\"choices\":[],\"prompt_filter_results\":[{{\"prompt_index\":0,\"content_filter_results\":{{}}}}]}}\n\n"
        ),
        "data: {}\n\n".to_owned(),
        "data: {\"type\":\"ping\"}\n\n".to_owned(),
        "event: ping\ndata: {\"cost\":\"0\"}\n\n".to_owned(),
        beginning(Format::Chat).to_owned(),
        format!("data: {{{chunk},\"choices\":[],\"x_groq\":{{\"id\":\"r\"}},\"message\":\"\",\"detail\":null}}\n\n"),
        format!(
            "data: {{{chunk},\"message\":\"served by b\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
        ),
        format!(
            "data: {{{chunk},\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}},\"message\":\"done\"}}\n\n"
        ),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    upstream.always(Behaviour::raw(
        200,
        &[("content-type", "text/event-stream")],
        events.clone(),
    ));
    let mut body = Format::Chat.body("gpt-4o");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let response = testkit::client::Request::post("/v1/chat/completions", &body)
        .bearer(CLIENT_KEY)
        .send(&gateway.url());
    assert_eq!(response.text(), events);
    assert_eq!(receipt_of(&gateway, &response)["ending"], "complete");
}

#[test]
fn no_header_of_an_answer_repeats_a_secret() {
    let upstream = Upstream::start();
    let config = config(&upstream, "").replace(
        "models: [\"gpt-*\"",
        &format!("headers: {{x-tenant: \"{HEADER_SECRET}\"}}, models: [\"gpt-*\""),
    );
    let gateway = Setup::config(&config).start();
    let answer = Answer::text("hello")
        .header("x-echo", &format!("Bearer {UPSTREAM_KEY}"))
        .header("x-echo-tenant", HEADER_SECRET)
        .header("x-harmless", &"long and harmless ".repeat(9));
    upstream.always(Behaviour::answer(answer));
    for call in [Format::Chat.call("gpt-4o"), Format::Chat.stream("gpt-4o")] {
        let response = call.bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(response.status(), 200);
        let told = [response.header("x-echo"), response.header("x-echo-tenant")];
        assert_eq!(told, [None, None]);
        assert!(response.header("x-harmless").is_some());
    }
}
