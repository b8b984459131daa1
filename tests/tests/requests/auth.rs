//! Who may ask: a key wherever SDKs put it, and nobody else.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, receipt_of};
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::Upstream;

const WRONG: &str = "sk-tg-nobody-knows-this-one-0123456789";
const MASTER: &str = "master-key-of-the-operator-0123456789";

/// Each place that a key may stand in.
const PLACES: [&str; 6] = [
    "authorization",
    "AUTHORIZATION",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "?key=",
];

fn with_key(request: impl Fn(&str) -> Request, place: &str, key: &str) -> Request {
    match place {
        "?key=" => request(&format!("key={key}")),
        "authorization" => request("").bearer(key),
        "AUTHORIZATION" => request("").header(place, &format!("bearer {key}")),
        name => request("").header(name, key),
    }
}

/// A call whose path takes further query.
fn call(format: Format, query: &str) -> Request {
    let path = format.path(format.model());
    let target = if query.is_empty() {
        path
    } else {
        format!("{path}?{query}")
    };
    Request::post(&target, &format.body(format.model()))
}

#[test]
fn a_key_is_taken_from_wherever_it_stands_and_ends_here() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    for format in FORMATS {
        for place in PLACES {
            let response = with_key(|query| call(format, query), place, CLIENT_KEY).send(&gateway.url());
            assert_eq!(response.status(), 200, "{format:?}, {place}: {}", response.text());
            let received = upstream.take_received().pop().expect("the upstream was asked");
            assert_eq!(
                received.credential.as_deref(),
                Some(UPSTREAM_KEY),
                "{format:?}, {place}"
            );
            let whole = format!(
                "{} {:?} {}",
                received.target,
                received.headers,
                String::from_utf8_lossy(&received.body)
            );
            assert!(
                !whole.contains(CLIENT_KEY),
                "{format:?}, {place}: the client's key went upstream: {whole}"
            );
        }
    }
}

#[test]
fn a_wrong_key_is_refused_in_the_callers_format_wherever_it_stands() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    for format in FORMATS {
        // `x-goog-api-key` below has a test of its own.
        for place in PLACES
            .into_iter()
            .filter(|place| format == Format::Gemini || *place != "x-goog-api-key")
        {
            let response = with_key(|query| call(format, query), place, WRONG).send(&gateway.url());
            format.assert_refusal(&response, 401);
            assert!(!response.text().contains(WRONG), "{}", response.text());
        }
        format.assert_refusal(&call(format, "").send(&gateway.url()), 401);
        format.assert_refusal(&call(format, "").bearer("").send(&gateway.url()), 401);
        // Its upper-case twin is another key.
        format.assert_refusal(
            &call(format, "").bearer(&CLIENT_KEY.to_uppercase()).send(&gateway.url()),
            401,
        );
    }
    assert!(upstream.received().is_empty(), "a stranger's call went upstream");
}

/// The path says which format a call is in; headers decide only where several formats share a path.
#[test]
fn a_header_of_another_sdk_does_not_change_the_format_of_a_call() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    for format in [Format::Chat, Format::Responses] {
        for (header, value) in [("x-goog-api-key", WRONG), ("anthropic-version", "2023-06-01")] {
            let response = call(format, "").header(header, value).send(&gateway.url());
            format.assert_refusal(&response, 401);
        }
    }
    let response = call(Format::Anthropic, "")
        .header("x-goog-api-key", WRONG)
        .send(&gateway.url());
    Format::Anthropic.assert_refusal(&response, 401);
}

#[test]
fn an_expired_key_and_one_from_elsewhere_are_refused() {
    let upstream = Upstream::start();
    let keys = "  - {name: old, user: alice, key: sk-tg-expired-0123456789abcdef, expires: 2020-01-01}
  - {name: young, user: alice, key: sk-tg-not-expired-0123456789abc, expires: 2199-01-01}
  - {name: bound, user: alice, key: sk-tg-bound-0123456789abcdef, addresses: [203.0.113.0/24]}
  - {name: home, user: alice, key: sk-tg-home-0123456789abcdef, addresses: [127.0.0.0/8, 203.0.113.0/24]}
server: {trusted_proxies: [127.0.0.1/32]}
";
    let gateway = Tollgate::start(&config(&upstream, keys));
    let call = |key: &str, forwarded: &str| {
        let request = Format::Chat.call("gpt-4o").bearer(key);
        let request = if forwarded.is_empty() {
            request
        } else {
            request.header("x-forwarded-for", forwarded)
        };
        request.send(&gateway.url())
    };
    Format::Chat.assert_refusal(&call("sk-tg-expired-0123456789abcdef", ""), 401);
    Format::Chat.assert_refusal(&call("sk-tg-bound-0123456789abcdef", ""), 401);
    // A trusted proxy says who called; what a client claimed further left does not count.
    Format::Chat.assert_refusal(&call("sk-tg-bound-0123456789abcdef", "203.0.113.9, 198.51.100.7"), 401);
    Format::Chat.assert_refusal(&call("sk-tg-home-0123456789abcdef", "198.51.100.7"), 401);
    for (key, forwarded) in [
        ("sk-tg-not-expired-0123456789abc", ""),
        ("sk-tg-home-0123456789abcdef", ""),
        ("sk-tg-bound-0123456789abcdef", "198.51.100.7, 203.0.113.9"),
    ] {
        let response = call(key, forwarded);
        assert_eq!(response.status(), 200, "{key}: {}", response.text());
        let view = Request::get("/api/me/balance").bearer(key);
        let view = if forwarded.is_empty() {
            view
        } else {
            view.header("x-forwarded-for", forwarded)
        };
        assert_eq!(view.send(&gateway.url()).status(), 200, "{key}: the views know it too");
    }
    let view = Request::get("/api/me/balance")
        .bearer("sk-tg-bound-0123456789abcdef")
        .send(&gateway.url());
    assert_eq!(view.status(), 401, "{}", view.text());
}

#[test]
fn the_master_key_may_do_everything() {
    let upstream = Upstream::start();
    let more = format!("security: {{master_key: {MASTER}}}\ndefaults: {{policy: hard}}\n");
    let gateway = Tollgate::start(&config(&upstream, &more));
    for format in FORMATS {
        let response = format.call(format.model()).bearer(MASTER).send(&gateway.url());
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(receipt["usage"]["output"], 7, "metered all the same: {receipt}");
        // The others have no money, and policy `hard` means it.
        format.assert_refusal(
            &format.call(format.model()).bearer(CLIENT_KEY).send(&gateway.url()),
            402,
        );
    }
    let models = Request::get("/v1/models").bearer(MASTER).send(&gateway.url());
    assert_eq!(models.status(), 200, "{}", models.text());
    assert_eq!(
        Request::get("/api/stats").bearer(MASTER).send(&gateway.url()).status(),
        401,
        "it is no admin token"
    );
}
