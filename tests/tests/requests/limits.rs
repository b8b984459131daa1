//! Rate limits of a key: enforced, announced in the usual headers, and none of another key's business.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, config, wait};
use testkit::client::Response;
use testkit::gateway::Tollgate;
use testkit::upstream::{Answer, At, Behaviour, Gate, Upstream, Usage};

const LIMITED: &str = "sk-tg-limited-0123456789abcdef";

fn start(upstream: &Upstream, limits: &str) -> Tollgate {
    Tollgate::start(&config(
        upstream,
        &format!("  - {{name: limited, user: alice, key: {LIMITED}, limits: {limits}}}\n"),
    ))
}

fn number(response: &Response, header: &str) -> u64 {
    let value = response
        .header(header)
        .unwrap_or_else(|| panic!("no {header}: {:?}", response.head));
    value.parse().unwrap_or_else(|_| panic!("{header} is {value}"))
}

/// What a refusal by a limit must say besides its status.
fn assert_limited(format: Format, response: &Response) {
    format.assert_refusal(response, 429);
    let wait = number(response, "retry-after");
    // A minute, and the second that has begun.
    assert!((1..=61).contains(&wait), "come back in {wait} s");
    assert!(!response.text().contains(LIMITED));
}

#[test]
fn requests_per_minute() {
    for format in FORMATS {
        let upstream = Upstream::start();
        let gateway = start(&upstream, "{rpm: 3}");
        let call = |key: &str| format.call(format.model()).bearer(key).send(&gateway.url());
        let mut left = 3;
        for _ in 0..3 {
            let response = call(LIMITED);
            assert_eq!(response.status(), 200, "{}", response.text());
            assert_eq!(number(&response, "x-ratelimit-limit-requests"), 3);
            let remaining = number(&response, "x-ratelimit-remaining-requests");
            assert!(remaining < left, "{remaining} remain of {left}");
            left = remaining;
            assert!(response.header("x-ratelimit-reset-requests").is_some());
        }
        let refused = call(LIMITED);
        assert_limited(format, &refused);
        assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
        let other = call(CLIENT_KEY);
        assert_eq!(other.status(), 200, "another key has limits of its own");
        assert!(
            other.header("x-ratelimit-limit-requests").is_none(),
            "a key without limits announces none"
        );
        assert_eq!(upstream.received().len(), 4);
    }
}

#[test]
fn tokens_per_minute_count_what_was_really_used() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::answer(Answer::text("hi").usage(Usage::of(400, 500))));
    let gateway = start(&upstream, "{tpm: 1000}");
    for stream in [false, true] {
        let call = || {
            if stream {
                Format::Chat.stream("gpt-4o")
            } else {
                Format::Chat.call("gpt-4o")
            }
            .bearer(LIMITED)
            .send(&gateway.url())
        };
        if !stream {
            let first = call();
            assert_eq!(first.status(), 200, "{}", first.text());
            assert_eq!(number(&first, "x-ratelimit-limit-tokens"), 1000);
            assert!(
                number(&first, "x-ratelimit-remaining-tokens") < 200,
                "900 of 1000 were used: {:?}",
                first.head
            );
        }
        // The estimate of a small prompt may still fit into what is left; then that call's real use closes the door.
        wait::until("the tokens to be used up", || call().status() == 429);
        assert_limited(Format::Chat, &call());
    }
    assert!(
        upstream.received().len() < 5,
        "{} calls of 900 tokens in a minute of 1000",
        upstream.received().len()
    );
}

#[test]
fn calls_at_the_same_time() {
    let upstream = Upstream::start();
    let gate = Gate::closed();
    upstream.always(Behaviour::text("one two three").hold(At::Events(3), &gate));
    let gateway = start(&upstream, "{concurrency: 2}");
    let open = || {
        let mut exchange = Format::Chat
            .stream("gpt-4o")
            .bearer(LIMITED)
            .open(&gateway.url())
            .unwrap();
        assert_eq!(exchange.head().map(|head| head.status), Some(200));
        assert!(exchange.read_until("one"));
        exchange
    };
    let (first, second) = (open(), open());
    assert_limited(
        Format::Chat,
        &Format::Chat.stream("gpt-4o").bearer(LIMITED).send(&gateway.url()),
    );
    // A client that leaves gives its place back, and so does one that is served.
    first.leave();
    let mut third = None;
    wait::until("the place of the client that left", || {
        let mut exchange = Format::Chat
            .stream("gpt-4o")
            .bearer(LIMITED)
            .open(&gateway.url())
            .unwrap();
        let admitted = exchange.head().is_some_and(|head| head.status == 200);
        third = admitted.then_some(exchange);
        admitted
    });
    gate.open();
    assert!(second.finish().is_complete() && third.is_some_and(|third| third.finish().is_complete()));
    for _ in 0..4 {
        assert_eq!(
            Format::Chat
                .stream("gpt-4o")
                .bearer(LIMITED)
                .send(&gateway.url())
                .status(),
            200
        );
    }
}

#[test]
fn the_defaults_hold_for_keys_that_say_nothing() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, "defaults: {limits: {rpm: 1}}\n"));
    let call = || {
        Format::Anthropic
            .call("claude-sonnet-4-5")
            .bearer(CLIENT_KEY)
            .send(&gateway.url())
    };
    assert_eq!(call().status(), 200);
    assert_limited(Format::Anthropic, &call());
}
