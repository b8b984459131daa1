//! Every refusal of ours, in each caller's format.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, config, wait};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::Upstream;

const ADMIN: &str = "admin-token-of-the-operator-0123456789";
const POOR: &str = "sk-tg-has-no-money-0123456789abcdef";
const SOFT: &str = "sk-tg-soft-no-money-0123456789abcdef";
const BOUND: &str = "sk-tg-may-use-little-0123456789abcdef";
const SECOND_KEY: &str = "sk-tg-another-of-alices-0123456789ab";
const FREE: &str = "sk-tg-passthrough-0123456789abcdef";

struct World {
    upstream: Upstream,
    gateway: Tollgate,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::start();
        let more = format!(
            "  - {{name: poor, user: poor, key: {POOR}}}
  - {{name: soft, user: soft, key: {SOFT}}}
  - {{name: bound, user: alice, key: {BOUND}, models: [\"nothing-of-this\"]}}
  - {{name: free, user: alice, key: {FREE}, passthrough: true}}
server: {{body_limit: 64KiB}}
"
        );
        let users = "- {name: alice}\n  - {name: poor, policy: hard}\n  - {name: soft, policy: soft}";
        let gateway = Tollgate::start(&config(&upstream, &more).replace("- {name: alice}", users));
        Self { upstream, gateway }
    }

    fn send(&self, request: &Request, key: &str) -> Response {
        request.clone().bearer(key).send(&self.gateway.url())
    }
}

/// The same request with another body.
fn with_body(format: Format, body: &str) -> Request {
    Request::new("POST", &format.path(format.model()))
        .header("content-type", "application/json")
        .body(body)
}

#[test]
fn what_cannot_be_understood_is_400() {
    let world = World::new();
    for format in FORMATS {
        for body in [
            "",
            "{",
            "[]",
            "not json",
            "{\"model\": 7}",
            "{\"model\": \"gpt-4o\", \"messages\": [",
        ] {
            // Gemini names its model in the path, so a body that says nothing of it is none of our business.
            if format == Format::Gemini && body == "{\"model\": 7}" {
                continue;
            }
            let response = world.send(&with_body(format, body), CLIENT_KEY);
            assert_eq!(response.status(), 400, "{format:?}, {body:?}: {}", response.text());
            format.assert_refusal(&response, 400);
        }
    }
    assert!(world.upstream.received().is_empty(), "{:?}", world.upstream.received());
}

/// A glob takes any name in, and a name ends in the receipt, in an index of the ledger and in the upstream's path.
#[test]
fn a_name_that_no_model_can_have_is_404() {
    let upstream = Upstream::start();
    let models = "models: [{name: \"smart-*\", targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    let gateway = Tollgate::start(&config(&upstream, models));
    let call = |format: Format, model: &str| format.call(model).bearer(CLIENT_KEY).send(&gateway.url());
    for length in [600, 100_000] {
        let name = format!("smart-{}", "x".repeat(length));
        let response = call(Format::Chat, &name);
        Format::Chat.assert_refusal(&response, 404);
        assert!(response.text().len() < 1_000, "a refusal repeats little of the name");
    }
    for name in [
        "gemini-2.0-flash/../gemini-2.5-pro",
        "gemini-2.0-flash%2F..%2Fgemini-2.5-pro",
        "google/..",
    ] {
        Format::Gemini.assert_refusal(&call(Format::Gemini, name), 404);
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    assert_eq!(call(Format::Chat, &format!("smart-{}", "x".repeat(500))).status(), 200);
}

#[test]
fn money_models_and_paths() {
    let world = World::new();
    for format in FORMATS {
        format.assert_refusal(&world.send(&format.call(format.model()), POOR), 402);
        format.assert_refusal(&world.send(&format.stream(format.model()), POOR), 402);
        format.assert_refusal(&world.send(&format.call(format.model()), BOUND), 403);
        format.assert_refusal(&world.send(&format.call("no-such-model"), CLIENT_KEY), 404);
        let get = Request::get(&format.path(format.model()));
        if format != Format::Gemini {
            let refused = world.send(&get, CLIENT_KEY);
            format.assert_refusal(&refused, 405);
            assert_eq!(refused.header("allow"), Some("POST"));
        }
    }
    for (path, format) in [
        ("/v1/no/such/path", Format::Chat),
        ("/v1/messages/no-such", Format::Anthropic),
        ("/v1beta/no-such", Format::Gemini),
    ] {
        format.assert_refusal(&world.send(&Request::get(path), CLIENT_KEY), 403);
        format.assert_refusal(&world.send(&Request::get(path), FREE), 404);
        format.assert_refusal(&Request::get(path).send(&world.gateway.url()), 401);
    }
    for path in ["/no-such", "/api/no-such", "/v2/chat/completions"] {
        let response = world.send(&Request::get(path), CLIENT_KEY);
        assert_eq!(response.status(), 404, "{path}: {}", response.text());
        assert!(response.json()["error"].is_object(), "{path}: {}", response.text());
    }
    assert!(world.upstream.received().is_empty(), "{:?}", world.upstream.received());
}

#[test]
fn policy_soft_without_money() {
    let world = World::new();
    for format in FORMATS {
        format.assert_refusal(&world.send(&format.call(format.model()), SOFT), 402);
    }
    assert!(world.upstream.received().is_empty());
}

#[test]
fn a_refusal_names_no_model_that_the_key_may_not_see() {
    let world = World::new();
    let text = world.send(&Format::Chat.call("gpt-4"), BOUND).text();
    assert!(!text.contains("claude") && !text.contains("openai-main"), "{text}");
}

#[test]
fn a_body_that_is_too_large_or_encoded_is_refused() {
    let world = World::new();
    for format in FORMATS {
        let padded = format!(
            "{{\"model\": \"{}\", \"pad\": \"{}\"}}",
            format.model(),
            "x".repeat(80_000)
        );
        format.assert_refusal(&world.send(&with_body(format, &padded), CLIENT_KEY), 413);
        // Without a length it is only found out on the way.
        let chunked = format!("{:x}\r\n{padded}\r\n0\r\n\r\n", padded.len());
        let request = with_body(format, &chunked).header("transfer-encoding", "chunked");
        format.assert_refusal(&world.send(&request, CLIENT_KEY), 413);
        let encoded = with_body(format, "anything").header("content-encoding", "gzip");
        format.assert_refusal(&world.send(&encoded, CLIENT_KEY), 415);
    }
    let fits = format!(
        "{{\"model\": \"gpt-4o\", \"messages\": [], \"pad\": \"{}\"}}",
        "x".repeat(60_000)
    );
    assert_eq!(world.send(&with_body(Format::Chat, &fits), CLIENT_KEY).status(), 200);
    let chunked = format!("{:x}\r\n{fits}\r\n0\r\n\r\n", fits.len());
    let request = with_body(Format::Chat, &chunked).header("transfer-encoding", "chunked");
    assert_eq!(world.send(&request, CLIENT_KEY).status(), 200);
    assert_eq!(world.upstream.received()[1].body, fits.as_bytes());
}

#[test]
fn a_large_body_is_refused_before_it_is_sent() {
    let world = World::new();
    let mut client = TcpStream::connect(("127.0.0.1", world.gateway.port())).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\nexpect: 100-continue\r\n";
    write!(client, "{head}authorization: Bearer {CLIENT_KEY}\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // And a stranger is not even asked for the body.
    let mut client = TcpStream::connect(("127.0.0.1", world.gateway.port())).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    write!(client, "{}\r\n", head.replace("10000000", "100")).unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

/// The product's patience is a minute, so this runs only where there is time.
#[test]
fn a_client_that_never_sends_its_body_is_408() {
    if !std::env::var("TOLLGATE_TEST_LONG").is_ok_and(|long| long == "1") {
        wait::leave_out("408, which takes a minute: set TOLLGATE_TEST_LONG=1");
        return;
    }
    let world = World::new();
    let begun = Instant::now();
    let request = with_body(Format::Chat, "{")
        .header("content-length", "100")
        .timeout(Duration::from_mins(2));
    Format::Chat.assert_refusal(&world.send(&request, CLIENT_KEY), 408);
    assert!(begun.elapsed() > Duration::from_secs(10));
}

#[test]
fn what_is_no_http_does_no_harm() {
    let world = World::new();
    for nonsense in [
        "\x16\x03\x01\x02\x00hello",
        "GET\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", world.gateway.port())).unwrap();
        client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        client.write_all(nonsense.as_bytes()).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).ok();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let unknown = Request::new("BREW", "/v1/chat/completions")
        .bearer(CLIENT_KEY)
        .send(&world.gateway.url());
    Format::Chat.assert_refusal(&unknown, 405);
    let listing = Request::post("/v1/models", &serde_json::json!({})).bearer(CLIENT_KEY);
    assert_eq!(listing.send(&world.gateway.url()).header("allow"), Some("GET"));
    let nonsense = Request::new("POST", "/v1/chat/completions").bearer(CLIENT_KEY);
    let said = nonsense.body("[1").send(&world.gateway.url()).text();
    assert_eq!(said.matches("the request body").count(), 1, "{said}");
    assert!(said.contains("the request body: not a valid JSON object"), "{said}");
    assert_eq!(world.send(&Format::Chat.call("gpt-4o"), CLIENT_KEY).status(), 200);
}

/// A connection whose request has a head and, so far, nothing of the 64 KiB that it announces.
fn begin_body(host: &str, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host).expect("connected");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 65536\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream
}

/// Who sends large bodies and never ends them keeps out nobody but itself, and not for longer than a call may take.
#[test]
fn bodies_that_do_not_end_are_their_keys_trouble_only_and_for_a_time() {
    let upstream = Upstream::start();
    let second = format!("  - {{name: second, user: alice, key: \"{SECOND_KEY}\"}}\n");
    let server = "server: {body_limit: 64KiB, body_budget: 128KiB, request_timeout: 3s}\n";
    let gateway = Setup::config(&config(&upstream, &format!("{second}{server}")))
        .env("ADMIN_TOKEN", ADMIN)
        .start();
    let host = gateway.url().replace("http://", "");
    let mut slow: Vec<TcpStream> = (0..3).map(|_| begin_body(&host, CLIENT_KEY)).collect();
    for stream in &mut slow {
        // Two pieces, so that it is seen that more is coming.
        stream.write_all(" ".repeat(16).as_bytes()).expect("sent");
    }
    for stream in &mut slow {
        stream.write_all(" ".repeat(40_000).as_bytes()).expect("sent");
    }
    let answers: Vec<String> = slow
        .into_iter()
        .map(|mut stream| {
            let mut answer = Vec::new();
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
            let mut piece = [0; 4_096];
            while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
                let read = stream.read(&mut piece).expect("an answer in time");
                assert!(read > 0, "closed without an answer");
                answer.extend_from_slice(&piece[..read]);
            }
            String::from_utf8_lossy(&answer)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let count = |status: &str| answers.iter().filter(|line| line.contains(status)).count();
    assert_eq!((count(" 408 "), count(" 503 ")), (1, 2), "{answers:?}");
    let body = format!(
        "{{\"model\": \"gpt-4o\", \"messages\": [], \"user\": \"{}\"}}",
        "x".repeat(60_000)
    );
    let other = with_body(Format::Chat, &body).bearer(SECOND_KEY).send(&gateway.url());
    assert_eq!(other.status(), 200, "{}", other.text());
}

/// What counts against the memory for bodies is what has come, not what somebody says is coming.
#[test]
fn bodies_together_are_bounded_by_what_was_sent() {
    let upstream = Upstream::start();
    let second = format!("  - {{name: second, user: alice, key: \"{SECOND_KEY}\"}}\n");
    let yaml = config(
        &upstream,
        &format!("{second}server: {{body_limit: 64KiB, body_budget: 128KiB}}\n"),
    );
    let gateway = Setup::config(&yaml).env("ADMIN_TOKEN", ADMIN).start();
    let host = gateway.url().replace("http://", "");
    let call = |pad: usize| {
        let body = format!(
            "{{\"model\": \"gpt-4o\", \"messages\": [], \"user\": \"{}\"}}",
            "x".repeat(pad)
        );
        with_body(Format::Chat, &body).bearer(CLIENT_KEY).send(&gateway.url())
    };
    // Half of the room is for what arrives for one key.
    let mut connections: Vec<TcpStream> = [CLIENT_KEY, SECOND_KEY, CLIENT_KEY, SECOND_KEY]
        .map(|key| begin_body(&host, key))
        .into();
    assert_eq!(call(20_000).status(), 200, "nothing has been sent yet");
    for stream in connections.iter_mut().take(2) {
        stream.write_all(" ".repeat(60_000).as_bytes()).expect("sent");
    }
    // Asked of the gauge, not by calls: one of those could take the room of a body that is still coming.
    wait::until("two bodies to have arrived", || {
        let metrics = Request::get("/metrics").bearer(ADMIN).send(&gateway.url());
        metrics.text().contains("\ntollgate_request_body_bytes 120000\n")
    });
    assert_eq!(call(20_000).status(), 503, "there is no room for another large one");
    assert_eq!(call(10).status(), 200, "there is room for a small one");
    drop(connections);
    wait::until("their memory to be free again", || call(20_000).status() == 200);
}
