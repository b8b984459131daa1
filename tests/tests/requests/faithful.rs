//! What reaches the upstream is what the client sent, and what reaches the client is what the upstream said, but for
//! the few things that must differ.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, receipt_of};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Received, Upstream, Usage};

struct World {
    upstream: Upstream,
    gateway: Tollgate,
}

const MODELS: &str = "models:
  - {name: Smart, aliases: [best], targets: [{upstream: openai-main, model: gpt-4o}]}
  - {name: \"fast-*\", targets: [{upstream: openai-main, model: gpt-4o-mini}]}
";

impl World {
    fn new(more: &str) -> Self {
        let upstream = Upstream::start();
        let gateway = Tollgate::start(&config(&upstream, more));
        Self { upstream, gateway }
    }

    fn send(&self, request: &Request) -> (Response, Received) {
        let response = request.clone().bearer(CLIENT_KEY).send(&self.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        let received = self.upstream.take_received().pop().expect("the upstream was asked");
        (response, received)
    }

    fn chat(&self, body: &str) -> (Response, Received) {
        self.send(
            &Request::new("POST", "/v1/chat/completions")
                .header("content-type", "application/json")
                .body(body),
        )
    }
}

#[test]
fn only_the_models_name_changes_and_only_in_place() {
    let world = World::new(MODELS);
    // Odd on purpose: white space, escapes, numbers that a parser would write differently, a decoy inside the content,
    // unknown fields, repeated keys further in.
    let around = |model: &str| {
        format!(
            "\r\n {{ \"messages\" :\t[{{\"role\":\"user\",\"content\":\"say \\\"model\\\": \\u00e9 \\/ {{}}\"}}],\n\"temperature\":1.0e-0, \"x_big\":12345678901234567890123,\
             \"model\"  : \n{model} ,\"x_unknown\":{{\"model\":\"decoy\",\"deep\":[1,2,{{\"model\":\"decoy\"}}]}},\"seed\":-0.0}} \n"
        )
    };
    for (asked, there) in [
        ("\"Smart\"", "gpt-4o"),
        ("\"SMART\"", "gpt-4o"),
        ("\"best\"", "gpt-4o"),
        ("\"\\u0062est\"", "gpt-4o"),
        ("\"openai-main/gpt-4o\"", "gpt-4o"),
        ("\"OpenAI-Main/gpt-4o\"", "gpt-4o"),
        ("\"fast-anything\"", "gpt-4o-mini"),
        ("\"FAST-x\"", "gpt-4o-mini"),
    ] {
        let (_, received) = world.chat(&around(asked));
        let expected = around(&format!("\"{there}\""));
        assert_eq!(String::from_utf8_lossy(&received.body), expected, "{asked}");
    }
    let same = around("\"gpt-4o\"");
    assert_eq!(
        world.chat(&same).1.body,
        same.as_bytes(),
        "nothing to change: nothing is changed"
    );
    let (_, any_case) = world.chat(&around("\"GPT-4o\""));
    assert!(any_case.model.is_some_and(|model| model.eq_ignore_ascii_case("gpt-4o")));
}

#[test]
fn the_answer_comes_as_it_was_sent() {
    let world = World::new("");
    let body = "{ \"id\" : \"x\",\n\t\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"\\u00e9\"}}],\n\"odd\":1.0e0,\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}} ";
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("X-Provider-Fancy", "yes"),
        ("openai-processing-ms", "17"),
        ("x-request-id", "req_theirs"),
        ("Set-Cookie", "__cf_bm=secret"),
        ("openai-organization", "org-operator"),
        ("x-ratelimit-remaining-requests", "9"),
    ];
    world.upstream.always(Behaviour::raw(200, &headers, body));
    let (response, _) = world.send(&Format::Chat.call("gpt-4o"));
    assert_eq!(response.text(), body);
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(
        (
            response.header("x-provider-fancy"),
            response.header("openai-processing-ms")
        ),
        (Some("yes"), Some("17"))
    );
    assert_ne!(
        response.header("x-request-id"),
        Some("req_theirs"),
        "the id is that of our receipt"
    );
    for gone in ["set-cookie", "openai-organization", "x-ratelimit-remaining-requests"] {
        assert_eq!(response.header(gone), None, "{gone} tells of the operator's account");
    }
    let receipt = receipt_of(&world.gateway, &response);
    assert_eq!(
        (receipt["usage"]["input"].as_u64(), receipt["usage"]["output"].as_u64()),
        (Some(3), Some(4)),
        "{receipt}"
    );
}

#[test]
fn an_upstreams_own_refusal_comes_as_it_was_sent() {
    let world = World::new("");
    for status in [400, 404, 409, 413, 422] {
        let body = format!("{{\"error\" : {{\"message\":\"no {status}\", \"type\":\"x\",\"odd\":[ ]}}}}\n");
        world.upstream.always(Behaviour::raw(
            status,
            &[("content-type", "application/json"), ("x-theirs", "1")],
            body.clone(),
        ));
        let response = Format::Chat
            .call("gpt-4o")
            .bearer(CLIENT_KEY)
            .send(&world.gateway.url());
        assert_eq!((response.status(), response.text()), (status, body));
        assert_eq!(response.header("x-theirs"), Some("1"));
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(
            (receipt["charged"].as_i64(), receipt["ending"].as_str()),
            (Some(0), Some("failed")),
            "{receipt}"
        );
    }
    assert_eq!(
        world.upstream.received().len(),
        5,
        "a caller's own mistake is not retried"
    );
}

#[test]
fn usage_is_asked_for_and_hidden_from_who_did_not_ask() {
    let world = World::new("");
    world
        .upstream
        .always(Behaviour::answer(Answer::text("one two three").usage(Usage::of(21, 5))));
    let stream = |options: &str| format!("{{\"model\":\"gpt-4o\",\"stream\":true{options},\"messages\":[]}}");
    let shows_usage = |response: &Response| {
        response
            .events()
            .iter()
            .any(|event| event.json().is_some_and(|json| json["usage"].is_object()))
    };

    for (options, asked) in [
        ("", false),
        (",\"stream_options\":{}", false),
        (",\"stream_options\":{\"include_usage\":false}", false),
        (
            ",\"stream_options\":{\"include_usage\":false,\"include_obfuscation\":false}",
            false,
        ),
        (",\"stream_options\":null", false),
        (",\"stream_options\":{\"include_usage\":true}", true),
    ] {
        let body = stream(options);
        let (response, received) = world.chat(&body);
        assert_eq!(received.json()["stream_options"]["include_usage"], true, "{options}");
        assert_eq!(shows_usage(&response), asked, "{options}: {}", response.text());
        assert!(
            response.text().trim_end().ends_with("data: [DONE]"),
            "{options}: {}",
            response.text()
        );
        if asked {
            assert_eq!(received.body, body.as_bytes());
        } else if options.contains("obfuscation") {
            assert_eq!(received.json()["stream_options"]["include_obfuscation"], false);
        }
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["usage_source"], "reported", "{options}: {receipt}");
        assert_eq!(
            (receipt["usage"]["input"].as_u64(), receipt["usage"]["output"].as_u64()),
            (Some(21), Some(5))
        );
    }
    // Without streaming there is nothing to add.
    let plain = "{\"model\":\"gpt-4o\",\"messages\":[]}";
    assert_eq!(world.chat(plain).1.body, plain.as_bytes());
}

#[test]
fn unknown_headers_go_on_and_secret_ones_end_here() {
    let world = World::new("");
    let request = Format::Anthropic
        .call("claude-sonnet-4-5")
        .header("anthropic-version", "2023-01-01")
        .header("Anthropic-Beta", "tools-2024,cache-2024")
        .header("x-unknown", "kept")
        .header("x-unknown", "twice")
        .header("traceparent", "00-1-2-01")
        .header("user-agent", "my-client/1")
        .header("cookie", "session=secret")
        .header("x-api-key", "sk-client-own-0123456789")
        .header("x-goog-api-key", "goog-client-own-0123456789")
        .header("proxy-authorization", "Basic c2VjcmV0")
        .header("x-forwarded-for", "10.1.2.3")
        .header("forwarded", "for=10.1.2.3")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("connection", "x-second-hop")
        .header("x-second-hop", "1")
        .header("te", "trailers")
        .header("accept-encoding", "gzip, br")
        .header("openai-organization", "org-foreign")
        .header("x-tollgate-anything", "1");
    let (_, received) = world.send(&request);
    for (name, value) in [
        ("anthropic-version", "2023-01-01"),
        ("anthropic-beta", "tools-2024,cache-2024"),
        ("traceparent", "00-1-2-01"),
        ("user-agent", "my-client/1"),
        ("x-api-key", UPSTREAM_KEY),
        ("accept-encoding", "identity"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    let twice: Vec<_> = received
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-unknown"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(twice, ["kept", "twice"]);
    for gone in [
        "authorization",
        "cookie",
        "x-goog-api-key",
        "proxy-authorization",
        "x-forwarded-for",
        "forwarded",
        "x-hop",
        "x-second-hop",
        "te",
        "openai-organization",
        "x-tollgate-anything",
    ] {
        assert_eq!(received.header(gone), None, "{gone}");
    }
    assert_eq!(
        received.header("host"),
        Some(world.upstream.address().to_string().as_str())
    );
}

#[test]
fn an_upstreams_headers_and_parameters_are_added() {
    let upstream = Upstream::start();
    let yaml = config(&upstream, "").replace(
        "models: [\"gpt-*\", \"text-embedding-*\"],",
        "models: [\"gpt-*\"], headers: {x-team: blue, user-agent: tollgate-fleet}, params: {service_tier: flex, metadata: {team: blue}, seed: 7},",
    );
    let world = World {
        gateway: Tollgate::start(&yaml),
        upstream,
    };
    let body = "{\"model\":\"gpt-4o\", \"messages\":[],\"seed\":1}";
    let (_, received) = world.send(
        &Request::new("POST", "/v1/chat/completions")
            .header("x-team", "mine")
            .header("user-agent", "my-client/1")
            .body(body),
    );
    assert_eq!(
        (received.header("x-team"), received.header("user-agent")),
        (Some("blue"), Some("tollgate-fleet"))
    );
    let json = received.json();
    assert_eq!(
        (json["service_tier"].as_str(), json["metadata"]["team"].as_str()),
        (Some("flex"), Some("blue"))
    );
    assert_eq!(json["seed"], 1, "what the client said goes before");
    let text = String::from_utf8_lossy(&received.body).into_owned();
    assert!(
        text.starts_with(body.trim_end_matches('}')),
        "the client's own bytes are untouched: {text}"
    );
}

#[test]
fn the_query_goes_on_without_the_key() {
    let world = World::new("");
    let request = Request::post(
        &format!("/v1/messages?beta=true&key={CLIENT_KEY}&x=%20y"),
        &Format::Anthropic.body("claude-sonnet-4-5"),
    );
    let response = request.send(&world.gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(world.upstream.received()[0].target, "/v1/messages?beta=true&x=%20y");
}

/// Providers know a model in one spelling only.
#[test]
fn a_model_is_asked_for_in_its_own_spelling() {
    let upstream = Upstream::start();
    let config = config(&upstream, "").replace("models: [\"gpt-*\"", "models: [\"Real-X\", \"gpt-*\", \"own-*\"");
    let gateway = Setup::config(&config).start();
    for (asked, told) in [
        ("real-x", "Real-X"),
        ("openai-main/real-x", "Real-X"),
        ("OpenAI-Main/REAL-X", "Real-X"),
        ("GPT-4o-Mini", "gpt-4o-mini"),
        ("openai-main/GPT-4o-Mini", "gpt-4o-mini"),
        // Nobody but the provider knows these, so they are told as they came.
        ("openai-main/own-Q", "own-Q"),
        ("openai-main/gpt-9-Q", "gpt-9-Q"),
    ] {
        upstream.take_received();
        let response = Format::Chat.call(asked).bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(response.status(), 200, "{asked}: {}", response.text());
        assert_eq!(upstream.take_received()[0].model.as_deref(), Some(told), "{asked}");
    }
}
