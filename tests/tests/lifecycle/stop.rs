//! Stopping without dropping anybody, and stopping at once.

use std::time::{Duration, Instant};

use blackbox::books::{balance, nanos};
use blackbox::format::Format;
use blackbox::{CLIENT_KEY, audit, config, receipts, wait};
use testkit::client::{Connection, Exchange, Request};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, At, Behaviour, Gate, Upstream, Usage};

/// Nano-dollars of one call: 50 input tokens at $1, 3 output tokens at $5 per million.
const CALL: i64 = 50 * 1_000 + 3 * 5_000;
const OPENING: i64 = 1_000_000_000;

struct World {
    upstream: Upstream,
    gateway: Tollgate,
    gate: Gate,
}

impl World {
    /// A gateway whose upstream stops in the middle of its answers until the gate is opened.
    fn new() -> Self {
        let upstream = Upstream::start();
        let gate = Gate::closed();
        upstream.always(
            Behaviour::answer(Answer::text("one two three").usage(Usage::of(50, 3))).hold(At::Events(3), &gate),
        );
        let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
        let yaml =
            config(&upstream, models).replace("- {name: alice}", "- {name: alice, opening_credit: 1.00, policy: hard}");
        Self {
            gateway: Setup::config(&yaml).start(),
            upstream,
            gate,
        }
    }

    /// A stream of which the beginning has come and the end has not.
    fn begun(&self) -> Exchange {
        let mut exchange = Format::Chat
            .stream("gpt-4o")
            .bearer(CLIENT_KEY)
            .open(&self.gateway.url())
            .expect("connected");
        assert!(
            exchange.read_until("one"),
            "{}",
            String::from_utf8_lossy(exchange.body())
        );
        exchange
    }
}

#[test]
fn a_stop_finishes_what_is_under_way_and_books_it() {
    let mut world = World::new();
    let streams: Vec<Exchange> = (0..4).map(|_| world.begun()).collect();
    // Connections that only stand there hold nothing up: one that was used, one that never was.
    let used = Connection::open(&world.gateway.url()).unwrap();
    let (_, used) = used.send(&Request::get("/health")).unwrap();
    let unused = Connection::open(&world.gateway.url()).unwrap();
    wait::until("the connections to be accepted", || used.is_some());

    world.gateway.sigterm();
    let refused = || {
        Request::get("/health")
            .timeout(Duration::from_secs(2))
            .open(&world.gateway.url())
            .is_err()
    };
    wait::until("new connections to be refused", refused);
    assert!(world.gateway.is_running(), "four streams are under way");
    world.gate.open();
    for stream in streams {
        let response = stream.finish();
        assert!(
            response.is_complete() && response.text().trim_end().ends_with("data: [DONE]"),
            "{}",
            response.text()
        );
    }
    let begun = Instant::now();
    assert_eq!(
        world.gateway.wait_for_exit().code(),
        Some(0),
        "{}",
        world.gateway.stderr()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "idle connections held the stop up for {:?}",
        begun.elapsed()
    );
    drop((used, unused));

    let receipts = receipts(&world.gateway);
    assert_eq!(receipts.len(), 4);
    let report = audit(&world.gateway);
    assert_eq!(
        (report["receipts"].as_i64(), nanos(&report["charged"])),
        (Some(4), 4 * CALL),
        "all is booked: {report}"
    );
    assert_eq!(balance(&world.gateway, "alice"), OPENING - 4 * CALL);
}

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing() {
    let mut world = World::new();
    world.gate.open();
    let whole = Format::Chat
        .call("gpt-4o")
        .bearer(CLIENT_KEY)
        .send(&world.gateway.url());
    assert_eq!(whole.status(), 200, "{}", whole.text());
    let shut = Gate::closed();
    world
        .upstream
        .always(Behaviour::text("one two three").hold(At::Events(3), &shut));
    let mut stream = world.begun();
    world.gateway.sigterm();
    world.gateway.wait_for_output("stopping");
    assert!(world.gateway.is_running());
    let begun = Instant::now();
    world.gateway.sigterm();
    let exit = world.gateway.wait_for_exit();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!exit.success(), "what was cut off is no success: {exit}");
    assert!(!stream.read_until("[DONE]"));
    world.gateway.restart();
    blackbox::books::settled(&world.gateway);
    assert_eq!(
        balance(&world.gateway, "alice"),
        OPENING - CALL,
        "{:?}",
        receipts(&world.gateway)
    );
    audit(&world.gateway);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let world = World::new();
    world.gate.open();
    let second = wait::cli(&world.gateway, &["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&world.gateway.pid().to_string()),
        "it names the process: {said}"
    );
    assert_eq!(said.trim().lines().count(), 1, "one line and the mend: {said}");
    let third = wait::cli(
        &world.gateway,
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            "sqlite://other.db",
        ],
    );
    assert_eq!(
        third.status.code(),
        Some(1),
        "another database and the same journal: {}",
        String::from_utf8_lossy(&third.stderr)
    );
    assert_eq!(
        Format::Chat
            .call("gpt-4o")
            .bearer(CLIENT_KEY)
            .send(&world.gateway.url())
            .status(),
        200
    );
}

#[test]
fn after_a_crash_the_lock_is_nobodys() {
    let mut world = World::new();
    world.gate.open();
    for _ in 0..3 {
        world.gateway.kill9();
        world.gateway.restart();
        assert_eq!(
            Format::Chat
                .call("gpt-4o")
                .bearer(CLIENT_KEY)
                .send(&world.gateway.url())
                .status(),
            200
        );
    }
}
