//! Provider paths beyond the metered operations: for keys that may, on the provider's list, byte for byte.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, receipts};
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::{Behaviour, Upstream};

const OPEN: &str = "sk-tg-passthrough-0123456789abcdef";
const SECOND: &str = "sk-upstream-second-0123456789abcdef";

fn start(upstream: &Upstream, second: &Upstream) -> Tollgate {
    let yaml = config(upstream, &format!("  - {{name: open, user: alice, key: {OPEN}, passthrough: true}}\n")).replace(
        "upstreams:\n",
        &format!("upstreams:\n  - {{name: spare, provider: openai, priority: 5, base_url: \"{}\", credentials: [{{name: k, key: {SECOND}}}]}}\n", second.v1()),
    );
    Tollgate::start(&yaml)
}

#[test]
fn only_keys_that_may_and_only_paths_on_the_list() {
    let (upstream, second) = (Upstream::start(), Upstream::start());
    let gateway = start(&upstream, &second);
    upstream.always(Behaviour::raw(
        200,
        &[("content-type", "application/json")],
        "{\"data\": [ ]}",
    ));
    let get = |path: &str, key: &str| Request::get(path).bearer(key).send(&gateway.url());
    Format::Chat.assert_refusal(&get("/v1/files", CLIENT_KEY), 403);
    for path in [
        "/v1/organization/users",
        "/v1/files/../organization/users",
        "/v1/files/%2e%2e/organization",
        "/v1/files/..%2forganization",
        "/v1/admin",
        "/v1//files",
    ] {
        let response = get(path, OPEN);
        assert!(
            matches!(response.status(), 400 | 404),
            "{path}: {} {}",
            response.status(),
            response.text()
        );
    }
    assert!(
        upstream.received().is_empty() && second.received().is_empty(),
        "{:?}",
        upstream.received()
    );

    let listed = get("/v1/files?limit=2&after=x", OPEN);
    assert_eq!((listed.status(), listed.text().as_str()), (200, "{\"data\": [ ]}"));
    assert_eq!(listed.header("x-tollgate-upstream"), Some("openai-main"));
    let received = upstream.take_received().pop().unwrap();
    assert_eq!(
        (received.method.as_str(), received.target.as_str()),
        ("GET", "/v1/files?limit=2&after=x")
    );
    assert_eq!(received.credential.as_deref(), Some(UPSTREAM_KEY));
    assert!(!format!("{:?}", received.headers).contains(OPEN));
    assert!(receipts(&gateway).is_empty(), "nothing is metered");
}

#[test]
fn methods_bodies_and_refusals_go_through() {
    let (upstream, second) = (Upstream::start(), Upstream::start());
    let gateway = start(&upstream, &second);
    upstream.always(Behaviour::raw(
        201,
        &[("content-type", "application/octet-stream"), ("x-theirs", "1")],
        &b"\x00\xff\x01raw"[..],
    ));
    let body = b"--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n\x00\xff\r\n--b--\r\n".to_vec();
    let post = Request::new("POST", "/v1/files")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body.clone());
    let response = post.bearer(OPEN).send(&gateway.url());
    assert_eq!(
        (response.status(), response.body.as_slice(), response.header("x-theirs")),
        (201, &b"\x00\xff\x01raw"[..], Some("1"))
    );
    let received = upstream.take_received().pop().unwrap();
    assert_eq!(received.body, body);
    assert_eq!(received.header("content-type"), Some("multipart/form-data; boundary=b"));

    upstream.always(Behaviour::status(404));
    let deleted = Request::new("DELETE", "/v1/files/file-1")
        .bearer(OPEN)
        .send(&gateway.url());
    assert_eq!(deleted.status(), 404);
    assert_eq!(upstream.take_received()[0].method, "DELETE");

    // What a provider says about our credential is not for the caller.
    upstream.always(Behaviour::status(401));
    let refused = Request::get("/v1/files").bearer(OPEN).send(&gateway.url());
    assert_eq!(refused.status(), 503);
    assert!(!refused.text().contains("scrip"), "{}", refused.text());
    // Nor where it stands in what passes.
    for status in [302, 402, 429, 500] {
        let echo = format!("http://127.0.0.1:1/?key={UPSTREAM_KEY}");
        upstream.always(Behaviour::raw(
            status,
            &[("location", &echo), ("x-theirs", "1")],
            echo.clone(),
        ));
        let refused = Request::get("/v1/files").bearer(OPEN).send(&gateway.url());
        assert_eq!((refused.status(), refused.header("x-theirs")), (status, Some("1")));
        assert!(refused.header("location").is_none(), "{status}");
        assert_eq!(
            refused.text(),
            echo.replace(UPSTREAM_KEY, &"*".repeat(UPSTREAM_KEY.len())),
            "{status}"
        );
    }
    upstream.refuse_connections();
    assert_eq!(
        Request::get("/v1/files").bearer(OPEN).send(&gateway.url()).status(),
        502
    );
}

#[test]
fn the_keys_limits_hold_here_too() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::raw(200, &[("content-type", "application/json")], "{}"));
    let key = format!("  - {{name: open, user: alice, key: {OPEN}, passthrough: true, limits: {{rpm: 2}}}}\n");
    let gateway = Tollgate::start(&config(&upstream, &key));
    let get = || Request::get("/v1/files").bearer(OPEN).send(&gateway.url());
    assert_eq!([get().status(), get().status()], [200, 200]);
    let limited = get();
    Format::Chat.assert_refusal(&limited, 429);
    assert!(limited.header("retry-after").is_some());
}

#[test]
fn the_caller_may_name_the_upstream_and_the_format_decides_the_family() {
    let (upstream, second) = (Upstream::start(), Upstream::start());
    let gateway = start(&upstream, &second);
    for scripted in [&upstream, &second] {
        scripted.always(Behaviour::raw(200, &[("content-type", "application/json")], "{}"));
    }
    let get = |path: &str, header: (&str, &str)| {
        Request::get(path)
            .bearer(OPEN)
            .header(header.0, header.1)
            .send(&gateway.url())
    };
    let named = get("/v1/files", ("x-tollgate-upstream", "Spare"));
    assert_eq!(
        (named.status(), named.header("x-tollgate-upstream")),
        (200, Some("spare"))
    );
    assert_eq!(second.take_received()[0].credential.as_deref(), Some(SECOND));
    assert_eq!(get("/v1/files", ("x-tollgate-upstream", "no-such")).status(), 404);

    let anthropic = get("/v1/messages/batches", ("anthropic-version", "2023-06-01"));
    assert_eq!(
        (anthropic.status(), anthropic.header("x-tollgate-upstream")),
        (200, Some("claude"))
    );
    assert_eq!(upstream.take_received()[0].header("x-api-key"), Some(UPSTREAM_KEY));
    let gemini = get("/v1beta/cachedContents", ("x-x", "1"));
    assert_eq!(
        (gemini.status(), gemini.header("x-tollgate-upstream")),
        (200, Some("google"))
    );
    let received = upstream.take_received().pop().unwrap();
    assert_eq!(
        (received.target.as_str(), received.header("x-goog-api-key")),
        ("/v1beta/cachedContents", Some(UPSTREAM_KEY))
    );
    for prefix in ["/api", "/api/proxy"] {
        assert_eq!(get(&format!("{prefix}/v1/files"), ("x-x", "1")).status(), 200);
        assert_eq!(upstream.take_received()[0].target, "/v1/files");
    }
}
