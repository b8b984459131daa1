//! Every fault of the scripted upstream, with and without a healthy second target, in every format: who answers, what
//! the client sees, how often the upstream was asked, and that nothing is charged for what was not delivered.

use std::time::Duration;

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, receipt_of, receipts, wait};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Refusal, Upstream};

const TEXT: &str = "one two three four five six seven eight nine ten eleven twelve";
/// What the other upstream says, so that a test sees who answered.
const OTHER: &str = "uno dos tres cuatro cinco seis";

fn request(format: Format, stream: bool) -> Request {
    let request = if stream { format.stream("m") } else { format.call("m") };
    request.bearer(CLIENT_KEY)
}

struct World {
    gateway: Tollgate,
    first: Upstream,
    second: Upstream,
}

impl World {
    /// Two upstreams, the second only if asked for, and no shared memory of trouble between tests.
    fn new(format: Format, with_second: bool) -> Self {
        Self::with_first_byte_timeout(format, with_second, "1500ms")
    }

    fn with_first_byte_timeout(format: Format, with_second: bool, limit: &str) -> Self {
        let (first, second) = (Upstream::start(), Upstream::start());
        first.always(Behaviour::text(TEXT));
        second.always(Behaviour::text(OTHER));
        let line = |name: &str, upstream: &Upstream, priority: u32| {
            let (provider, base) = format.provider(upstream);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", priority: {priority}, models: [\"m\"], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        let mut upstreams = line("first", &first, 0);
        if with_second {
            upstreams.push_str(&line("second", &second, 1));
        }
        let config = format!(
            "defaults: {{retries: 3, retry_delay: 100ms, first_byte_timeout: {limit}, idle_timeout: 1500ms}}
upstreams:
{upstreams}users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
"
        );
        Self {
            gateway: Setup::config(&config).start(),
            first,
            second,
        }
    }

    fn send(&self, request: &Request) -> Response {
        request.send(&self.gateway.url())
    }

    fn receipt(&self, response: &Response) -> Value {
        receipt_of(&self.gateway, response)
    }
}

fn said(response: &Response, text: &str) -> bool {
    // Streams carry the words in pieces; the first and the last must both be there.
    let body = response.text();
    text.split(' ').all(|word| body.contains(word))
}

/// Both ways of asking, in every format, in one world each.
fn everywhere(with_second: bool, test: impl Fn(Format, bool, &World)) {
    for format in FORMATS {
        let world = World::new(format, with_second);
        for stream in [false, true] {
            test(format, stream, &world);
            let healthy = world.send(&request(format, stream));
            assert_eq!(
                healthy.status(),
                200,
                "{format:?}: a healthy call afterwards: {}",
                healthy.text()
            );
            world.first.take_received();
            world.second.take_received();
        }
    }
}

#[test]
fn one_server_error_is_retried() {
    everywhere(false, |format, stream, world| {
        world.first.then(Behaviour::status(500));
        let response = world.send(&request(format, stream));
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
        assert!(said(&response, TEXT), "{format:?}: {}", response.text());
        assert_eq!(world.first.received().len(), 2);
        assert_eq!(response.header("x-tollgate-attempts"), Some("2"));
    });
}

#[test]
fn a_reset_before_the_answer_is_retried() {
    everywhere(false, |format, stream, world| {
        world.first.then(Behaviour::reset());
        let response = world.send(&request(format, stream));
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
        assert!(said(&response, TEXT));
    });
}

#[test]
fn constant_trouble_goes_to_the_second_target() {
    for fault in [
        Behaviour::status(500),
        Behaviour::status(503),
        Behaviour::status(429),
        Behaviour::status(401),
        Behaviour::status(403),
        Behaviour::status(408),
        Behaviour::refuse(Refusal::overloaded()),
        Behaviour::refuse(Refusal::insufficient_quota()),
        Behaviour::reset(),
        Behaviour::stall(),
        Behaviour::raw(200, &[("content-type", "application/json")], "this is not JSON"),
        Behaviour::raw(302, &[("location", "http://127.0.0.1:1/")], ""),
        Behaviour::text(TEXT).malformed(0),
    ] {
        for format in FORMATS {
            // A new world for each fault: credentials stay benched after some of them.
            let world = World::new(format, true);
            world.first.always(fault.clone());
            let response = world.send(&request(format, true));
            assert_eq!(response.status(), 200, "{format:?}, {fault:?}: {}", response.text());
            assert!(said(&response, OTHER), "{format:?}, {fault:?}: {}", response.text());
            assert_eq!(response.header("x-tollgate-upstream"), Some("second"));
            let asked = world.first.received().len();
            assert!(
                (1..=4).contains(&asked),
                "{format:?}, {fault:?}: the first was asked {asked} times"
            );
            let receipt = world.receipt(&response);
            assert_eq!(receipt["ending"], "complete", "{receipt}");
            assert_eq!(
                receipt["attempts"].as_array().map(Vec::len),
                Some(asked + 1),
                "{receipt}"
            );
        }
    }
}

#[test]
fn constant_trouble_without_a_second_target_gives_the_status_of_the_table() {
    for (fault, allowed, asked_max) in [
        (Behaviour::status(500), &[500][..], 6),
        (Behaviour::status(503), &[503], 6),
        (Behaviour::status(429), &[429], 6),
        (Behaviour::status(401), &[503], 1),
        (Behaviour::refuse(Refusal::insufficient_quota()), &[503, 429], 6),
        (Behaviour::reset(), &[502], 6),
        (Behaviour::stall(), &[504], 1),
        (
            Behaviour::raw(200, &[("content-type", "application/json")], "this is not JSON"),
            &[502],
            6,
        ),
    ] {
        for format in FORMATS {
            let world = World::new(format, false);
            world.first.always(fault.clone());
            let response = world.send(&request(format, false));
            assert!(
                allowed.contains(&response.status()),
                "{format:?}, {fault:?}: {} {}",
                response.status(),
                response.text()
            );
            assert!(response.json()["error"].is_object(), "{format:?}: {}", response.text());
            let asked = world.first.received().len();
            assert!(asked <= asked_max, "{format:?}, {fault:?}: asked {asked} times");
            assert!(!response.text().contains(UPSTREAM_KEY), "{}", response.text());
            let receipt = world.receipt(&response);
            assert_eq!(
                (&receipt["ending"], &receipt["charged"]),
                (&json!("failed"), &json!(0)),
                "{receipt}"
            );
        }
    }
}

#[test]
fn an_overloaded_upstream_is_529_for_anthropic_and_503_for_others() {
    for format in FORMATS {
        let world = World::new(format, false);
        world.first.always(Behaviour::refuse(Refusal::overloaded()));
        let status = world.send(&request(format, false)).status();
        assert_eq!(
            status,
            if format == Format::Anthropic { 529 } else { 503 },
            "{format:?}"
        );
    }
}

#[test]
fn the_wait_that_a_provider_names_is_kept() {
    let world = World::new(Format::Chat, false);
    world.first.then(Behaviour::refuse(Refusal::rate_limited(Some(2))));
    let begun = std::time::Instant::now();
    let response = world.send(&request(Format::Chat, true));
    assert_eq!(response.status(), 200, "{}", response.text());
    assert!(
        begun.elapsed() >= Duration::from_millis(1_800),
        "answered after {:?}",
        begun.elapsed()
    );
    assert_eq!(world.first.received().len(), 2);
}

#[test]
fn a_callers_own_mistake_passes_unchanged_and_is_not_retried() {
    everywhere(true, |format, stream, world| {
        world.first.then(Behaviour::refuse(Refusal::context_length()));
        let response = world.send(&request(format, stream));
        assert_eq!(response.status(), 400, "{format:?}: {}", response.text());
        assert_eq!(world.first.received().len(), 1);
        assert_eq!(world.second.received().len(), 0);
    });
}

#[test]
fn a_stream_that_breaks_never_looks_complete() {
    for fault in [
        Behaviour::text(TEXT).reset_after(6),
        Behaviour::text(TEXT).close_after(6),
        Behaviour::text(TEXT).end_after(6),
        Behaviour::text(TEXT).stall_after(6),
        Behaviour::text(TEXT).malformed(6),
        Behaviour::text(TEXT).error_after(6),
    ] {
        for format in FORMATS {
            let world = World::new(format, true);
            world.first.always(fault.clone());
            let response = world.send(&request(format, true));
            let text = response.text();
            assert_eq!(response.status(), 200);
            assert!(
                text.contains("one"),
                "{format:?}, {fault:?}: nothing was relayed before the break: {text}"
            );
            assert!(format.ends_in_error(&text), "{format:?}, {fault:?}: {text}");
            assert!(!format.looks_complete(&text), "{format:?}, {fault:?}: {text}");
            assert_eq!(world.second.received().len(), 0, "content had gone out");
            let receipt = world.receipt(&response);
            assert_eq!(
                (&receipt["ending"], &receipt["charged"]),
                (&json!("upstream_gone"), &json!(0)),
                "{receipt}"
            );
        }
    }
}

#[test]
fn a_missing_terminator_is_added() {
    for format in [Format::Chat, Format::Anthropic] {
        let world = World::new(format, false);
        world.first.always(Behaviour::text(TEXT).without_terminator());
        let response = world.send(&request(format, true));
        let text = response.text();
        assert!(response.is_complete() && said(&response, TEXT), "{text}");
        assert!(format.looks_complete(&text) && !format.ends_in_error(&text), "{text}");
        assert_eq!(world.receipt(&response)["ending"], "complete");
    }
}

#[test]
fn slow_but_living_upstreams_are_waited_for() {
    for format in FORMATS {
        for stream in [false, true] {
            // A head of some hundred bytes, each for itself, takes a busy machine its time.
            let world = World::with_first_byte_timeout(format, false, "20s");
            let late = Behaviour::text(TEXT).head_after(Duration::from_millis(700));
            let slow = Behaviour::text(TEXT).slow_head(Duration::from_millis(2));
            for behaviour in [late, slow] {
                world.first.then(behaviour);
                let response = world.send(&request(format, stream));
                let text = response.text();
                assert!(response.status() == 200 && said(&response, TEXT), "{format:?}: {text}");
            }
            assert_eq!(world.first.received().len(), 2, "neither was tried twice");
        }
    }
}

#[test]
fn a_refused_connection_goes_to_the_second_target() {
    for format in FORMATS {
        let world = World::new(format, true);
        world.first.refuse_connections();
        let response = world.send(&request(format, true));
        assert!(
            response.status() == 200 && said(&response, OTHER),
            "{format:?}: {}",
            response.text()
        );
        let alone = World::new(format, false);
        alone.first.refuse_connections();
        let status = alone.send(&request(format, false)).status();
        assert!(matches!(status, 502 | 503), "{format:?}: {status}");
    }
}

#[test]
fn a_client_that_leaves_cancels_the_upstream_and_pays_for_what_it_got() {
    let world = World::new(Format::Chat, false);
    world
        .first
        .always(Behaviour::text(TEXT).paced(Duration::from_millis(100)));
    let mut exchange = request(Format::Chat, true)
        .open(&world.gateway.url())
        .expect("connected");
    let id = exchange
        .head()
        .and_then(|head| head.header("x-request-id").map(str::to_owned))
        .expect("an id");
    assert!(exchange.read_until("two"));
    exchange.leave();
    world.first.wait_for_client_gone(1);
    let patience = std::time::Instant::now() + Duration::from_secs(10);
    let receipt = loop {
        if let Some(receipt) = blackbox::receipts(&world.gateway).remove(&id) {
            break receipt;
        }
        assert!(std::time::Instant::now() < patience, "no receipt of an abandoned call");
        std::thread::yield_now();
    };
    assert_eq!(
        (&receipt["ending"], &receipt["usage_source"]),
        (&json!("client_gone"), &json!("estimated")),
        "{receipt}"
    );
    assert!(
        receipt["usage"]["output"].as_u64().is_some_and(|output| output > 0),
        "{receipt}"
    );
}

#[test]
fn a_silent_stream_gets_signs_of_life_and_can_still_fail_over() {
    for format in FORMATS {
        let (first, second) = (Upstream::start(), Upstream::start());
        first.always(Behaviour::stall());
        second.always(Behaviour::text(OTHER));
        let line = |name: &str, upstream: &Upstream, priority: u32| {
            let (provider, base) = format.provider(upstream);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", priority: {priority}, models: [m], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        let config = format!(
            "defaults: {{heartbeat: 300ms, first_byte_timeout: 1s}}\nupstreams:\n{}{}users: [{{name: alice}}]\nkeys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]\n",
            line("first", &first, 0),
            line("second", &second, 1)
        );
        let gateway = Setup::config(&config).start();
        let response = request(format, true).send(&gateway.url());
        let text = response.text();
        let beat = match format {
            Format::Anthropic => "event: ping",
            Format::Gemini => "\n",
            Format::Chat | Format::Responses => ": keepalive",
        };
        assert!(text.starts_with(beat), "{format:?}: {text}");
        assert!(said(&response, OTHER) && response.is_complete(), "{format:?}: {text}");
        assert!(format.looks_complete(&text), "{format:?}: {text}");
    }
}

/// The attempt was made: its credential was used, and who looks for where the time went finds it.
#[test]
fn a_call_whose_client_leaves_tells_what_was_tried() {
    for stream in [false, true] {
        let world = World::new(Format::Chat, true);
        world.first.then(Behaviour::status(500));
        world.first.always(Behaviour::stall());
        let exchange = request(Format::Chat, stream).open(&world.gateway.url()).unwrap();
        world.first.wait_for_calls(2);
        exchange.leave();
        wait::until("the receipt", || !receipts(&world.gateway).is_empty());
        let receipt = receipts(&world.gateway).into_values().next().unwrap();
        assert_eq!(
            (&receipt["ending"], &receipt["status"]),
            (&json!("client_gone"), &json!(499))
        );
        let attempts = receipt["attempts"].as_array().unwrap();
        let tried: Vec<_> = attempts
            .iter()
            .map(|attempt| (&attempt["upstream_name"], &attempt["status"], &attempt["failure"]))
            .collect();
        let first = json!("first");
        assert_eq!(
            tried,
            [
                (&first, &json!(500), &json!("server")),
                (&first, &Value::Null, &Value::Null)
            ],
            "{receipt}"
        );
    }
}
