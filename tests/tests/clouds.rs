//! Clouds from outside: what goes to Bedrock, Vertex AI and Azure, by which secret, and what clients of every format get.
//!
//! Signatures and claims are checked here by a second hand: with the crypto library, but none of the product's code.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, receipt_of};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::recordings::Recordings;
use testkit::upstream::{Behaviour, Chunking, Match, Received, Upstream};

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AWS_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE==";

struct World {
    gateway: Tollgate,
    upstream: Upstream,
}

impl World {
    fn new(config: impl Fn(&Upstream) -> String) -> Self {
        let upstream = Upstream::start();
        let yaml = format!(
            "defaults: {{retries: 1, retry_delay: 50ms}}
{}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            config(&upstream)
        );
        Self {
            gateway: Setup::config(&yaml).start(),
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

// --- Bedrock

/// Anthropic's own format at Bedrock.
fn invoking(key: &str) -> World {
    World::new(|upstream| {
        format!(
            "upstreams:
  - {{name: aws, provider: bedrock-anthropic, base_url: \"{}\", variables: {{region: eu-west-1}}, breaker: off, credentials: [{{name: k1, key: \"{key}\"}}]}}
models: [{{name: claude, targets: [{{upstream: aws, model: \"{MODEL}\"}}]}}]",
            upstream.url()
        )
    })
}

fn bedrock(key: &str) -> World {
    World::new(|upstream| {
        format!(
            "upstreams:
  - {{name: aws, provider: bedrock, base_url: \"{}\", variables: {{region: eu-west-1}}, breaker: off, credentials: [{{name: k1, key: \"{key}\"}}]}}
models: [{{name: claude, targets: [{{upstream: aws, model: \"{MODEL}\"}}]}}]",
            upstream.url()
        )
    })
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}

/// A frame of Amazon's event stream.
fn frame(kind: &str, name_header: &str, name: &str, payload: &Value) -> Vec<u8> {
    let mut head = Vec::new();
    for (header, value) in [
        (":message-type", kind),
        (name_header, name),
        (":content-type", "application/json"),
    ] {
        head.push(header.len() as u8);
        head.extend(header.as_bytes());
        head.push(7);
        head.extend((value.len() as u16).to_be_bytes());
        head.extend(value.as_bytes());
    }
    let payload = payload.to_string();
    let mut frame = ((16 + head.len() + payload.len()) as u32).to_be_bytes().to_vec();
    frame.extend((head.len() as u32).to_be_bytes());
    frame.extend(crc32(&frame).to_be_bytes());
    frame.extend(head);
    frame.extend(payload.as_bytes());
    frame.extend(crc32(&frame).to_be_bytes());
    frame
}

fn event(name: &str, payload: &Value) -> Vec<u8> {
    frame("event", ":event-type", name, payload)
}

/// A stream that says `one two`, calls a tool and ends.
fn streamed() -> Vec<Vec<u8>> {
    vec![
        event("messageStart", &json!({"role": "assistant"})),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 0, "delta": {"text": "one "}}),
        ),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 0, "delta": {"text": "two"}}),
        ),
        event("contentBlockStop", &json!({"contentBlockIndex": 0})),
        event(
            "contentBlockStart",
            &json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "look"}}}),
        ),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{\"x\":"}}}),
        ),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": "1}"}}}),
        ),
        event("contentBlockStop", &json!({"contentBlockIndex": 1})),
        event("messageStop", &json!({"stopReason": "tool_use"})),
        event(
            "metadata",
            &json!({"usage": {"inputTokens": 40, "outputTokens": 9, "totalTokens": 49}}),
        ),
    ]
}

fn stream_of(body: Vec<u8>) -> Behaviour {
    Behaviour {
        chunking: Chunking::Size(50),
        ..Behaviour::raw(200, &[("content-type", "application/vnd.amazon.eventstream")], body)
    }
}

fn whole() -> Behaviour {
    let body = json!({"output": {"message": {"role": "assistant", "content": [{"text": "one two"},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"x": 1}}}]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 40, "outputTokens": 9, "totalTokens": 49}});
    Behaviour::raw(200, &[("content-type", "application/json")], body.to_string())
}

/// Amazon's signature, as its documentation describes it, of what came.
fn assert_signed(asked: &Received, region: &str) {
    let authorization = asked.header("authorization").expect("a signature");
    let part = |name: &str| {
        let rest = authorization.split_once(&format!("{name}=")).expect(name).1;
        rest.split(", ").next().unwrap_or_default().to_owned()
    };
    let time = asked.header("x-amz-date").expect("a time");
    let day = &time[..8];
    assert_eq!(
        part("Credential"),
        format!("AKIDEXAMPLE/{day}/{region}/bedrock/aws4_request")
    );
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    let hash = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let path: String = asked
        .path()
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let signed = part("SignedHeaders");
    let headers = signed.split(';').fold(String::new(), |lines, name| {
        let value = asked.header(name).unwrap_or_else(|| panic!("{name} is not there"));
        lines + name + ":" + value + "\n"
    });
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", hash(&asked.body));
    let scope = format!("{day}/{region}/bedrock/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
            .as_ref()
            .to_vec()
    };
    let key = [day, region, "bedrock", "aws4_request"]
        .iter()
        .fold(format!("AWS4{AWS_SECRET}").into_bytes(), |key, part| sign(&key, part));
    assert_eq!(part("Signature"), hex(&sign(&key, &text)), "{canonical}");
    for needed in ["host", "x-amz-date", "x-amz-security-token"] {
        assert!(signed.split(';').any(|name| name == needed), "{needed} is not signed");
    }
    assert_eq!(asked.header("x-amz-security-token"), Some(AWS_TOKEN));
}

#[test]
fn bedrock_serves_clients_of_every_format_by_a_signed_request() {
    let world = bedrock(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    world.upstream.rule(Match::path("/converse"), whole());
    world
        .upstream
        .rule(Match::path("/converse-stream"), stream_of(streamed().concat()));
    for client in FORMATS {
        for (request, end) in [
            (client.call("claude"), "converse"),
            (client.stream("claude"), "converse-stream"),
        ] {
            let response = world.send(&request);
            let text = response.text();
            assert_eq!(response.status(), 200, "{client:?} {end}: {text}");
            assert!(response.is_complete(), "{client:?} {end}");
            for word in ["one", "two", "look"] {
                assert!(text.contains(word), "{client:?} {end}: no `{word}` in {text}");
            }
            let asked = world.asked();
            assert_eq!(asked.path(), format!("/model/{}/{end}", MODEL.replace(':', "%3A")));
            assert_signed(&asked, "eu-west-1");
            let body = asked.json();
            assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
            assert_eq!(
                body["messages"][0],
                json!({"role": "user", "content": [{"text": "hi"}]})
            );
            let receipt = receipt_of(&world.gateway, &response);
            assert_eq!(
                (&receipt["usage"]["input"], &receipt["usage"]["output"]),
                (&json!(40), &json!(9)),
                "{receipt}"
            );
            assert_eq!(receipt["attempts"][0]["dialect"], "bedrock_converse", "{receipt}");
        }
    }
    let logs = world.gateway.stdout() + &world.gateway.stderr();
    assert!(
        !logs.contains(AWS_SECRET) && !logs.contains(AWS_TOKEN),
        "a secret is in the log"
    );
}

/// Events of Anthropic's format, as Bedrock wraps them.
fn wrapped(events: &[Value]) -> Vec<u8> {
    let frames = events.iter().map(|event| {
        let payload = json!({"bytes": STANDARD.encode(event.to_string()), "p": "abcdef"});
        self::event("chunk", &payload)
    });
    frames.collect::<Vec<_>>().concat()
}

fn anthropic_events() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [], "stop_reason": null, "usage": {"input_tokens": 40, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 40}}),
    ]
}

#[test]
fn anthropics_own_format_at_bedrock_passes_through_but_for_what_amazon_wants_elsewhere() {
    let world = invoking(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    let whole = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "one two"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 40, "output_tokens": 9}});
    let json = [("content-type", "application/json")];
    world
        .upstream
        .rule(Match::path("/invoke"), Behaviour::raw(200, &json, whole.to_string()));
    let stream = stream_of(wrapped(&anthropic_events()));
    world.upstream.rule(Match::path("/invoke-with-response-stream"), stream);
    let ask = |stream: &str| {
        let body = format!(
            r#"{{"model": "claude", "max_tokens": 9,{stream} "metadata": {{"x": 1}}, "messages": [{{"role": "user", "content": "hi"}}]}}"#
        );
        let request = Request::new("POST", "/v1/messages").body(body);
        let request = request.header("content-type", "application/json");
        request.header(
            "anthropic-beta",
            "claude-code-20250219,context-1m-2025-08-07, effort-2025-11-24",
        )
    };
    for (stream, end) in [("", "invoke"), (" \"stream\": true,", "invoke-with-response-stream")] {
        let response = world.send(&ask(stream));
        let text = response.text();
        assert_eq!(response.status(), 200, "{end}: {text}");
        let asked = world.asked();
        assert_eq!(asked.path(), format!("/model/{}/{end}", MODEL.replace(':', "%3A")));
        assert_signed(&asked, "eu-west-1");
        assert_eq!(asked.header("anthropic-beta"), None);
        assert_eq!(
            String::from_utf8_lossy(&asked.body),
            r#"{ "max_tokens": 9, "metadata": {"x": 1}, "messages": [{"role": "user", "content": "hi"}],"anthropic_beta":["context-1m-2025-08-07","effort-2025-11-24"],"anthropic_version":"bedrock-2023-05-31"}"#
        );
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(
            (&receipt["usage"]["input"], &receipt["usage"]["output"]),
            (&json!(40), &json!(9)),
            "{receipt}"
        );
        if stream.is_empty() {
            assert_eq!(response.json(), whole);
            continue;
        }
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert!(response.is_complete());
        let told: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert_eq!(told, anthropic_events(), "each event as it came");
    }
}

#[test]
fn clients_of_other_formats_are_served_in_anthropics_at_bedrock() {
    let world = invoking("bedrock-api-key");
    let stream = stream_of(wrapped(&anthropic_events()));
    world.upstream.rule(Match::path("/invoke-with-response-stream"), stream);
    for client in [Format::Chat, Format::Responses, Format::Gemini] {
        let response = world.send(&client.stream("claude"));
        assert_eq!(response.status(), 200, "{client:?}: {}", response.text());
        assert!(
            response.is_complete() && response.text().contains("one two"),
            "{client:?}"
        );
        let body = world.asked().json();
        assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
        assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["attempts"][0]["dialect"], "anthropic_messages", "{receipt}");
    }
}

#[test]
fn what_goes_wrong_inside_of_frames_is_an_error_and_never_an_end() {
    let world = invoking("bedrock-api-key");
    let exception = frame(
        "exception",
        ":exception-type",
        "throttlingException",
        &json!({"message": "slow down"}),
    );
    let begun = wrapped(&anthropic_events()[..3]);
    let mut damaged = wrapped(&anthropic_events());
    let near_its_end = damaged.len() - 60;
    damaged[near_its_end] ^= 0xff;
    for (what, body, status) in [
        ("an exception before anything", exception.clone(), 429),
        ("an exception in between", [begun.clone(), exception].concat(), 200),
        ("an end in between", begun, 200),
        ("damage", damaged, 200),
    ] {
        world
            .upstream
            .rule(Match::path("/invoke-with-response-stream"), stream_of(body));
        let response = world.send(&Format::Anthropic.stream("claude"));
        let text = response.text();
        assert_eq!(response.status(), status, "{what}: {text}");
        assert!(!text.contains("message_stop"), "{what}: {text}");
        assert!(text.contains("\"error\""), "{what}: {text}");
    }
}

#[test]
fn bedrock_counts_tokens() {
    for world in [bedrock("bedrock-api-key"), invoking("bedrock-api-key")] {
        let json = [("content-type", "application/json")];
        let answer = Behaviour::raw(200, &json, r#"{"inputTokens": 18}"#);
        world.upstream.rule(Match::path("/count-tokens"), answer);
        let body = json!({"model": "claude", "system": "s", "messages": [{"role": "user", "content": "hi"}]});
        let response = world.send(&Request::post("/v1/messages/count_tokens", &body));
        assert_eq!(response.json(), json!({"input_tokens": 18}), "{}", response.text());
        let asked = world.asked();
        assert_eq!(
            asked.path(),
            format!("/model/{}/count-tokens", MODEL.replace(':', "%3A"))
        );
        let converse = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "s"}]});
        assert_eq!(asked.json(), json!({"input": {"converse": converse}}));
    }
}

#[test]
fn a_bedrock_api_key_is_a_bearer() {
    let world = bedrock("ABSKQmVkcm9ja0FQSUtleQ==");
    world.upstream.rule(Match::path("/converse"), whole());
    assert_eq!(world.send(&Format::Chat.call("claude")).status(), 200);
    let asked = world.asked();
    assert_eq!(asked.header("authorization"), Some("Bearer ABSKQmVkcm9ja0FQSUtleQ=="));
    assert_eq!(asked.header("x-amz-date"), None);
}

#[test]
fn a_bedrock_stream_that_is_cut_damaged_or_fails_ends_as_an_error() {
    let world = bedrock(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    let frames = streamed();
    let mut damaged = frames.concat();
    let at = frames[..3].concat().len() - 8;
    damaged[at] ^= 1;
    let failing = [
        frames[..3].concat(),
        frame(
            "exception",
            ":exception-type",
            "throttlingException",
            &json!({"message": "slow down"}),
        ),
    ];
    for body in [damaged, frames[..4].concat(), frames[..9].concat(), failing.concat()] {
        world.upstream.rule(Match::path("/converse-stream"), stream_of(body));
        let response = world.send(&Format::Chat.stream("claude"));
        let text = response.text();
        assert!(!text.contains("[DONE]") && text.contains("\"error\""), "{text}");
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["ending"], "upstream_gone", "{receipt}");
    }
}

#[test]
fn recorded_bedrock_streams_reach_the_client() {
    let Some(recordings) = Recordings::find() else { return };
    let world = bedrock(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    let mut seen = 0;
    for recording in recordings.load("bedrock-converse") {
        if !recording
            .request
            .as_ref()
            .is_some_and(|request| request.path.ends_with("converse-stream"))
        {
            continue;
        }
        world
            .upstream
            .rule(Match::path("/converse-stream"), recording.replay(Chunking::Size(97)));
        let response = world.send(&Format::Chat.stream("claude"));
        let text: String = response
            .events()
            .iter()
            .filter_map(|event| {
                event.json()?["choices"][0]["delta"]["content"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect();
        assert!(response.is_complete(), "{}", recording.id);
        if let Some(expected) = recording
            .expected
            .as_ref()
            .and_then(|expected| expected.text.as_deref())
        {
            assert_eq!(text, expected, "{}", recording.id);
        }
        seen += 1;
    }
    assert!(seen > 5, "only {seen} recorded streams");
}

// --- Azure

fn azure(key: &str) -> World {
    World::new(|upstream| {
        format!(
            "upstreams:
  - {{name: v1, provider: azure, base_url: \"{}/openai/v1\", models: [new], breaker: off, credentials: [{{name: k1, key: \"{key}\"}}],
     variables: {{resource: contoso, authority: \"{}/login\"}}}}
  - {{name: dated, provider: azure-deployments, base_url: \"{}/openai/deployments\", models: [old], breaker: off,
     credentials: [{{name: k1, key: \"{key}\"}}], variables: {{resource: contoso, authority: \"{}/login\"}}}}",
            upstream.url(),
            upstream.url(),
            upstream.url(),
            upstream.url()
        )
    })
}

fn token(name: &str) -> Behaviour {
    let body = json!({"access_token": name, "expires_in": 3600, "token_type": "Bearer"});
    Behaviour::raw(200, &[("content-type", "application/json")], body.to_string())
}

#[test]
fn azure_is_asked_by_deployment_and_version_with_its_own_header() {
    let world = azure("0123456789abcdef");
    assert_eq!(world.send(&Format::Chat.call("new")).status(), 200);
    let asked = world.asked();
    assert_eq!(asked.target, "/openai/v1/chat/completions");
    assert_eq!(
        (asked.header("api-key"), asked.header("authorization")),
        (Some("0123456789abcdef"), None)
    );
    assert_eq!(asked.json()["model"], "new");
    assert_eq!(world.send(&Format::Chat.call("old")).status(), 200);
    let asked = world.asked();
    assert_eq!(
        asked.target,
        "/openai/deployments/old/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(asked.header("api-key"), Some("0123456789abcdef"));
    assert!(asked.json().get("model").is_none(), "the path says it");
}

#[test]
fn an_entra_application_gets_one_token_for_many_calls() {
    let world = azure("contoso.com:app-1:s3cr:et~value");
    world.upstream.rule(Match::path("/token"), token("tok-1"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(world.send(&Format::Chat.call("new")).status(), 200));
        }
    });
    let received = world.upstream.take_received();
    let (tokens, calls): (Vec<_>, Vec<_>) = received.iter().partition(|asked| asked.path().ends_with("/token"));
    assert_eq!((tokens.len(), calls.len()), (1, 8), "the token is fetched once");
    assert_eq!(tokens[0].path(), "/login/contoso.com/oauth2/v2.0/token");
    let form = String::from_utf8_lossy(&tokens[0].body).into_owned();
    assert!(
        form.contains("grant_type=client_credentials") && form.contains("client_secret=s3cr%3Aet~value"),
        "{form}"
    );
    for call in calls {
        assert_eq!(
            (call.header("authorization"), call.header("api-key")),
            (Some("Bearer tok-1"), None)
        );
    }
    let logs = world.gateway.stdout() + &world.gateway.stderr();
    assert!(
        !logs.contains("s3cr:et") && !logs.contains("tok-1"),
        "a secret is in the log"
    );
}

// --- Vertex AI

fn service_account(key: &KeyPair, token_uri: &str) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().expect("a key can be written");
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    json!({"type": "service_account", "project_id": "p1", "private_key_id": "k1", "private_key": pem,
        "client_email": "robot@p1.iam.gserviceaccount.com", "token_uri": token_uri})
    .to_string()
}

fn vertex(key: &KeyPair) -> World {
    World::new(|upstream| {
        let url = upstream.url();
        let good = service_account(key, &format!("{url}/good/token"));
        let revoked = service_account(key, &format!("{url}/revoked/token"));
        let base = format!("{url}/v1/projects/{{project}}/locations/{{location}}");
        format!(
            "upstreams:
  - {{name: google, provider: vertex, base_url: \"{base}\", variables: {{project: p1}}, breaker: off, credentials: [{{name: k1, key: '{good}'}}]}}
  - {{name: partner, provider: vertex-anthropic, base_url: \"{base}\", variables: {{project: p1, location: us-east5}}, breaker: off,
     credentials: [{{name: k1, key: '{good}'}}]}}
  - {{name: gone, provider: vertex, base_url: \"{base}\", variables: {{project: p1}}, models: [revoked], breaker: off,
     credentials: [{{name: k1, key: '{revoked}'}}]}}"
        )
    })
}

#[test]
fn vertex_is_asked_with_a_service_accounts_token() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let world = vertex(&key);
    world.upstream.rule(Match::path("/good/token"), token("ya29.good"));
    assert_eq!(world.send(&Format::Gemini.call("gemini-2.5-flash")).status(), 200);
    let received = world.upstream.take_received();
    let [claim, asked] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_eq!(
        asked.path(),
        "/v1/projects/p1/locations/global/publishers/google/models/gemini-2.5-flash:generateContent"
    );
    assert_eq!(
        (asked.header("authorization"), asked.header("x-goog-api-key")),
        (Some("Bearer ya29.good"), None)
    );
    let form = String::from_utf8_lossy(&claim.body).into_owned();
    let assertion = form.split_once("assertion=").expect("an assertion").1;
    let parts: Vec<&str> = assertion.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(claims["iss"], "robot@p1.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    let signed = format!("{}.{}", parts[0], parts[1]);
    public
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap())
        .expect("the claim is signed");
    // The second call finds the token.
    assert_eq!(world.send(&Format::Gemini.call("gemini-2.5-flash")).status(), 200);
    assert_eq!(world.upstream.take_received().len(), 1);
}

#[test]
fn claude_on_vertex_has_its_model_in_the_path_and_its_version_in_the_body() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let world = vertex(&key);
    world.upstream.rule(Match::path("/good/token"), token("ya29.good"));
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 2}});
    let answer = Behaviour::raw(200, &[("content-type", "application/json")], answer.to_string());
    world.upstream.rule(Match::path(":rawPredict"), answer);
    for client in FORMATS {
        let response = world.send(&client.call("claude-sonnet-4-5"));
        assert_eq!(response.status(), 200, "{client:?}: {}", response.text());
        assert!(response.text().contains("hello"), "{client:?}: {}", response.text());
        let asked = world.asked();
        let path = "/v1/projects/p1/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5:rawPredict";
        assert_eq!(asked.path(), path, "{client:?}");
        let body = asked.json();
        assert_eq!(body["anthropic_version"], "vertex-2023-10-16", "{client:?}");
        assert!(body.get("model").is_none(), "{client:?}: {body}");
    }
}

#[test]
fn a_refused_service_account_is_the_credentials_failure_and_stays_out_of_the_log() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let world = vertex(&key);
    let refusal = json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."});
    let refusal = Behaviour::raw(400, &[("content-type", "application/json")], refusal.to_string());
    world.upstream.rule(Match::path("/revoked/token"), refusal);
    let response = world.send(&Format::Gemini.call("revoked"));
    assert!(response.status() >= 500, "{}", response.text());
    let receipt = receipt_of(&world.gateway, &response);
    assert_eq!(receipt["attempts"][0]["failure"], "auth", "{receipt}");
    world.gateway.wait_for_output("invalid_grant");
    let logs = world.gateway.stdout() + &world.gateway.stderr();
    assert!(
        logs.contains("invalid_grant") && !logs.contains("PRIVATE KEY") && !logs.contains("assertion"),
        "{logs}"
    );
}

#[test]
fn what_is_missing_is_said_before_the_start() {
    let config = "upstreams:
  - {name: a, provider: bedrock, credentials: [{name: k, key: \"AKID EXAMPLE:x\"}]}
  - {name: b, provider: vertex, variables: {project: p, zone: x}}
";
    let checked = Setup::config(config).prepare().cli(&["check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(said.contains("wants `variables: {region: …}`"), "{said}");
    assert!(said.contains("there is no variable `zone`"), "{said}");
    assert!(said.contains("access_key_id:secret_access_key"), "{said}");
    assert!(!said.contains("AKID"), "{said}");
}
