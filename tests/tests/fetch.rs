//! Files that clients name by their addresses, from outside: fetched for upstreams whose format takes only bytes, from
//! where a stranger's address may lead, within bounds, and told plainly where they cannot be had.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, receipt_of};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::Tollgate;
use testkit::upstream::{At, Behaviour, Cut, How, Match, Received, Upstream};

const PDF: &[u8] = b"%PDF-1.7 the document";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe picture";
const ALLOWED: &str = "security: {allow_upstream_cidrs: [\"127.0.0.0/8\"]}";

struct World {
    gateway: Tollgate,
    /// Speaks Chat Completions, Anthropic's format and Bedrock's, by the model.
    upstream: Upstream,
    files: Upstream,
}

impl World {
    fn new(more: &str) -> Self {
        let (upstream, files) = (Upstream::start(), Upstream::start());
        upstream.rule(Match::path("/converse"), converse());
        let (url, v1) = (upstream.url(), upstream.v1());
        let key = format!("credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]");
        let yaml = format!(
            "defaults: {{retries: 1, retry_delay: 50ms}}
upstreams:
  - {{name: chat, provider: openai-compatible, dialect: openai_chat, base_url: \"{v1}\", models: [chat-*], {key}}}
  - {{name: claude, provider: anthropic, base_url: \"{v1}\", models: [claude-*], {key}}}
  - {{name: aws, provider: bedrock, base_url: \"{url}\", variables: {{region: eu-west-1}}, models: [nova-*], {key}}}
models:
  - {{name: both, targets: [{{upstream: aws, model: nova-1}}, {{upstream: chat, model: chat-1, priority: 1}}]}}
  - {{name: either, targets: [{{upstream: chat, model: chat-1}}, {{upstream: claude, model: claude-sonnet-4-5, priority: 1}}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
{more}
"
        );
        Self {
            gateway: Tollgate::start(&yaml),
            upstream,
            files,
        }
    }

    fn serve(&self, path: &str, content_type: &str, bytes: &[u8]) -> String {
        let file = Behaviour::raw(200, &[("content-type", content_type)], bytes.to_vec());
        self.serve_as(path, file)
    }

    fn serve_as(&self, path: &str, behaviour: Behaviour) -> String {
        self.files.rule(Match::path(path), behaviour);
        format!("{}{path}", self.files.url())
    }

    fn send(&self, request: Request) -> Response {
        request.bearer(CLIENT_KEY).send(&self.gateway.url())
    }

    /// What the upstream was asked last.
    fn asked(&self) -> Received {
        self.upstream.take_received().pop().expect("the upstream was asked")
    }

    /// A refusal that names the file, reached nobody upstream and tells nothing of our network.
    fn assert_refused(&self, format: Format, response: &Response, why: &str) {
        format.assert_refusal(response, 400);
        let text = response.text();
        assert!(text.contains(why), "no `{why}` in {text}");
        assert!(self.upstream.received().is_empty(), "{why}: nothing is sent");
    }
}

fn converse() -> Behaviour {
    let body = json!({"output": {"message": {"role": "assistant", "content": [{"text": "seen"}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 40, "outputTokens": 9, "totalTokens": 49}});
    Behaviour::raw(200, &[("content-type", "application/json")], body.to_string())
}

fn anthropic(model: &str, blocks: &[Value]) -> Request {
    let body = json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": blocks}]});
    Request::post("/v1/messages", &body)
}

fn by_url(kind: &str, url: &str) -> Value {
    json!({"type": kind, "source": {"type": "url", "url": url}})
}

fn chat(model: &str, images: &[&str]) -> Request {
    let parts: Vec<Value> = images
        .iter()
        .map(|url| json!({"type": "image_url", "image_url": {"url": url}}))
        .collect();
    let body = json!({"model": model, "messages": [{"role": "user", "content": parts}]});
    Request::post("/v1/chat/completions", &body)
}

fn data(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[test]
fn a_document_arrives_as_data_where_the_format_has_no_addresses() {
    let world = World::new(ALLOWED);
    let url = world.serve("/reports/q3.pdf", "application/octet-stream", PDF);
    let response = world.send(anthropic("chat-1", &[by_url("document", &format!("{url}?sig=s3cret"))]));
    assert_eq!(response.status(), 200, "{}", response.text());
    let file = &world.asked().json()["messages"][0]["content"][0]["file"];
    assert_eq!(file["file_data"], format!("data:application/pdf;base64,{}", data(PDF)));
    assert_eq!(file["filename"], "q3.pdf");
    let fetched = world.files.take_received();
    assert_eq!(fetched.len(), 1);
    for secret in ["authorization", "x-api-key", "cookie", "x-request-id"] {
        assert_eq!(fetched[0].header(secret), None, "{secret} is nobody's business");
    }
    assert!(
        !world.gateway.stdout().contains("s3cret"),
        "addresses may hold secrets, and are not logged"
    );
}

#[test]
fn bedrock_gets_bytes_and_files_named_twice_are_fetched_once() {
    let world = World::new(ALLOWED);
    let (a, b) = (
        world.serve("/a.png", "image/png", PNG),
        world.serve("/b.jpg", "image/jpeg", b"\xff\xd8\xff\xe0 another"),
    );
    let response = world.send(chat("nova-1", &[&a, &b, &a]));
    assert_eq!(response.status(), 200, "{}", response.text());
    let body = world.asked().json();
    let images = &body["messages"][0]["content"];
    let expected = [
        ("png", PNG),
        ("jpeg", b"\xff\xd8\xff\xe0 another".as_slice()),
        ("png", PNG),
    ];
    for (place, (format, bytes)) in expected.into_iter().enumerate() {
        assert_eq!(
            images[place]["image"],
            json!({"format": format, "source": {"bytes": data(bytes)}}),
            "{place}"
        );
    }
    assert_eq!(world.files.received().len(), 2);
}

#[test]
fn the_next_target_does_not_fetch_again() {
    let world = World::new(ALLOWED);
    let url = world.serve("/d.pdf", "application/pdf", PDF);
    world
        .upstream
        .rule(Match::path("/converse"), Behaviour::raw(500, &[], "{}"));
    let response = world.send(anthropic("both", &[by_url("document", &url)]));
    assert_eq!(response.status(), 200, "{}", response.text());
    let attempts = receipt_of(&world.gateway, &response)["attempts"].clone();
    assert!(attempts.as_array().unwrap().len() > 1, "{attempts}");
    assert!(world.asked().json().to_string().contains(&data(PDF)));
    assert_eq!(world.files.received().len(), 1, "fetched once for all attempts");
}

#[test]
fn who_reads_addresses_gets_them_as_they_are() {
    let world = World::new(ALLOWED);
    let url = world.serve("/a.png", "image/png", PNG);
    let response = world.send(anthropic("chat-1", &[by_url("image", &url)]));
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(
        world.asked().json()["messages"][0]["content"][0]["image_url"]["url"],
        url
    );
    let response = world.send(anthropic("claude-sonnet-4-5", &[by_url("document", &url)]));
    assert_eq!(response.status(), 200, "the same format passes through");
    assert!(world.files.received().is_empty(), "nobody wanted the bytes");
}

#[test]
fn a_target_that_reads_addresses_serves_what_cannot_be_fetched() {
    let world = World::new("");
    let url = world.serve("/d.pdf", "application/pdf", PDF);
    let body = json!({"model": "either", "input": [{"role": "user", "content": [
        {"type": "input_file", "file_url": url.replace("http://", "https://")}]}]});
    let response = world.send(Request::post("/v1/responses", &body));
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.header("x-tollgate-upstream"), Some("claude"));
}

#[test]
fn private_addresses_are_refused_without_a_word_of_them() {
    let world = World::new("");
    let port = world.files.address().port();
    let url = world.serve("/d.pdf", "application/pdf", PDF);
    for url in [
        url,
        format!("http://localhost:{port}/d.pdf"),
        format!("http://[::ffff:127.0.0.1]:{port}/d.pdf"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://nobody.invalid/d.pdf".to_owned(),
    ] {
        let response = world.send(anthropic("chat-1", &[by_url("document", &url)]));
        world.assert_refused(
            Format::Anthropic,
            &response,
            "its host cannot be reached, or may not be",
        );
        let text = response.text();
        assert!(text.contains("file 1 of 1"), "{text}");
        assert!(!text.contains("private") && !text.contains("metadata"), "{text}");
        let named = url.contains("localhost") && (text.contains("127.0.0.1") || text.contains("::1"));
        assert!(!named, "what a name resolves to is not told: {text}");
    }
    assert!(world.files.received().is_empty());
}

#[test]
fn what_cannot_be_had_is_named() {
    let world = World::new(ALLOWED);
    let file = |path: &str, behaviour| world.serve_as(path, behaviour);
    let typed = |content_type: &str, body: &[u8]| Behaviour::raw(200, &[("content-type", content_type)], body.to_vec());
    let huge = Behaviour::raw(
        200,
        &[("content-type", "application/pdf")],
        vec![b'x'; 24 * 1024 * 1024 + 1],
    );
    let redirecting = Behaviour::raw(302, &[("location", "http://127.0.0.1/")], "");
    let compressed = Behaviour::raw(200, &[("content-encoding", "gzip")], "x");
    let cut = Behaviour {
        cut: Some(Cut {
            at: At::Bytes(5),
            how: How::Close,
        }),
        ..typed("application/pdf", PDF)
    };
    for (url, why) in [
        (
            file("/gone", Behaviour::raw(404, &[], "secret page")),
            "answered with status 404",
        ),
        (file("/moved", redirecting), "it redirects"),
        (
            file("/login", typed("text/html", b"<html>")),
            "what lies there is `text/html`, and a document is wanted",
        ),
        (
            file("/empty", typed("application/pdf", b"")),
            "what lies there is nothing",
        ),
        (file("/huge", huge), "it has more than 25165824 bytes"),
        (file("/gzip", compressed), "compressed"),
        (file("/cut", cut), "it broke off"),
        ("http://user:pw@127.0.0.1/x".to_owned(), "no address of the web"),
    ] {
        let response = world.send(anthropic("chat-1", &[by_url("document", &url)]));
        world.assert_refused(Format::Anthropic, &response, why);
        assert!(!response.text().contains("secret page"));
    }
    // Of several files the one that fails is named.
    let good = world.serve("/good.png", "image/png", PNG);
    let bad = format!("{}/gone", world.files.url());
    let response = world.send(chat("nova-1", &[&good, &bad]));
    world.assert_refused(Format::Chat, &response, "file 2 of 2");
    let many: Vec<String> = (0..26).map(|each| format!("{good}?{each}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let response = world.send(chat("nova-1", &many));
    world.assert_refused(Format::Chat, &response, "there are more than 25 files to fetch");
}

#[test]
fn a_slow_server_is_not_waited_for() {
    let world = World::new(&format!("{ALLOWED}\nserver: {{request_timeout: 2s}}"));
    let slow = Behaviour {
        cut: Some(Cut {
            at: At::Bytes(5),
            how: How::Stall,
        }),
        ..Behaviour::raw(200, &[("content-type", "application/pdf")], PDF)
    };
    let url = world.serve_as("/slow.pdf", slow);
    let response = world.send(anthropic("chat-1", &[by_url("document", &url)]));
    world.assert_refused(Format::Anthropic, &response, "it did not arrive within");
}

#[test]
fn fetching_can_be_switched_off() {
    let world = World::new(&format!("{ALLOWED}\nserver: {{fetch_urls: false}}"));
    let url = world.serve("/d.pdf", "application/pdf", PDF);
    let response = world.send(anthropic("chat-1", &[by_url("document", &url)]));
    world.assert_refused(Format::Anthropic, &response, "server.fetch_urls");
    assert!(world.files.received().is_empty());
}

#[test]
fn what_is_fetched_counts_against_the_budget_of_bodies() {
    let world = World::new(&format!(
        "{ALLOWED}\nserver: {{body_limit: 64KiB, body_budget: 128KiB}}"
    ));
    let large = [PDF, &vec![b'x'; 100 * 1024]].concat();
    let url = world.serve("/d.pdf", "application/pdf", &large);
    let response = world.send(anthropic("chat-1", &[by_url("document", &url)]));
    world.assert_refused(Format::Anthropic, &response, "too many large requests");
    let small = world.serve("/s.pdf", "application/pdf", PDF);
    for _ in 0..3 {
        let response = world.send(anthropic("chat-1", &[by_url("document", &small)]));
        assert_eq!(response.status(), 200, "what was held is given back");
        world.upstream.take_received();
    }
}
