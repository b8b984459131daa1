//! Slow calls that are sent to a second candidate too: in all four client formats, same-format and translated; which of the
//! two is the answer, what becomes of the other, what is charged, and what is never sent twice.
//!
//! Nothing here waits for time to pass. The first upstream stands before a gate, and what is seen of the second says that a
//! call was sent twice; that one was not is shown by a later call that was.

mod bounds;

use std::thread::{self, JoinHandle};

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, audit, books, receipt_of, receipts, wait};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Gate, Match, Refusal, Upstream, Usage};

const ADMIN: &str = "admin-token-of-the-hedge-tests";
/// What the user has at first, in nano-dollars.
const OPENING: i64 = 10_000_000_000;
/// What an answer costs at a dollar per million tokens.
const ANSWER_NANOS: i64 = 19_000;
const ALL: &str = "{after: 50ms, budget: 100%}";

struct World {
    gateway: Tollgate,
    first: Upstream,
    second: Upstream,
}

fn says(text: &str) -> Behaviour {
    Behaviour::answer(Answer::text(text).usage(Usage {
        input: 12,
        output: 7,
        ..Usage::default()
    }))
}

impl World {
    fn new(upstream: Format, hedge: &str) -> Self {
        Self::with(upstream, hedge, "retries: 0", "10.00")
    }

    /// A model that is asked at `first`, and at `second` if that fails or is slow. Both speak `upstream`.
    fn with(upstream: Format, hedge: &str, defaults: &str, opening: &str) -> Self {
        let (first, second) = (Upstream::start(), Upstream::start());
        first.always(says("from the first"));
        second.always(says("from the second"));
        let line = |name: &str, at: &Upstream, priority: u8| {
            let (provider, base) = upstream.provider(at);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", priority: {priority}, models: [m], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        let config = format!(
            "security: {{admin_token: {ADMIN}}}
defaults: {{{defaults}, retry_delay: 100ms}}
upstreams:
{}{}models:
  - {{name: main, hedge: {hedge}, targets: [{{upstream: first, model: m}}, {{upstream: second, model: m}}], price: {{input: 1.00, output: 1.00, images: 0.01, characters: 1.00}}}}
  - {{name: plain, targets: [{{upstream: first, model: m}}, {{upstream: second, model: m}}], price: {{input: 1.00, output: 1.00}}}}
users: [{{name: alice, policy: hard, opening_credit: {opening}}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            line("first", &first, 0),
            line("second", &second, 1),
        );
        let gateway = Setup::config(&config).start();
        Self { gateway, first, second }
    }

    /// Sends it in the background.
    fn send(&self, request: Request) -> JoinHandle<Response> {
        let url = self.gateway.url();
        thread::spawn(move || request.bearer(CLIENT_KEY).send(&url))
    }

    fn counted(&self, outcome: &str) -> u64 {
        let text = Request::get("/metrics").bearer(ADMIN).send(&self.gateway.url()).text();
        let name = format!("tollgate_hedges_total{{outcome=\"{outcome}\"}} ");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.map_or(0, |count| count.parse().expect("a count"))
    }

    fn wait_for(&self, outcome: &str) {
        wait::until(outcome, || self.counted(outcome) > 0);
    }

    /// Nothing is held or open, what was charged has left the balance, and the books agree.
    fn assert_books(&self) {
        assert_eq!(held(&self.gateway), 0);
        let upstreams = Request::get("/api/accounts")
            .bearer(ADMIN)
            .send(&self.gateway.url())
            .json();
        assert!(!upstreams.to_string().contains("\"open_calls\":1"), "{upstreams}");
        books::settled(&self.gateway);
        let receipts = receipts(&self.gateway);
        let sum = |name: &str| receipts.values().filter_map(|one| one[name].as_i64()).sum::<i64>();
        assert_eq!(books::balance(&self.gateway, "alice"), OPENING - sum("charged"));
        let report = audit(&self.gateway);
        let totals = ["charged", "cost"].map(|name| books::nanos(&report[name]));
        assert_eq!(totals, [sum("charged"), sum("cost")], "{report}");
    }
}

/// What the server says is set aside for open calls, in nano-dollars.
fn held(gateway: &Tollgate) -> i64 {
    let balance = Request::get("/api/me/balance")
        .bearer(CLIENT_KEY)
        .send(&gateway.url())
        .json();
    books::nanos(&balance["held"])
}

/// A call that is not streamed and of which nothing is kept.
fn call(format: Format) -> Request {
    let mut body = format.body("main");
    if format == Format::Responses {
        body["store"] = json!(false);
    }
    Request::post(&format.path("main"), &body)
}

fn attempts(receipt: &Value) -> [Value; 2] {
    let attempts = receipt["attempts"].as_array().cloned().unwrap_or_default();
    attempts
        .try_into()
        .unwrap_or_else(|_| panic!("not two attempts: {receipt}"))
}

/// The answer was this one's, and is paid once; what the other may have cost stands with it.
fn assert_given_up(receipt: &Value, served: &Value, given_up: &Value) {
    assert_eq!(
        (&receipt["ending"], &receipt["status"]),
        (&json!("complete"), &json!(200)),
        "{receipt}"
    );
    assert_eq!(
        (&served["status"], &served["cancelled"]),
        (&json!(200), &Value::Null),
        "{receipt}"
    );
    assert_eq!(
        (&given_up["status"], &given_up["failure"]),
        (&Value::Null, &Value::Null),
        "{receipt}"
    );
    assert_eq!(given_up["cancelled"], true, "{receipt}");
    assert_eq!(given_up["broke"]["usage_source"], "estimated", "{receipt}");
    let lost = given_up["broke"]["cost"].as_i64().unwrap_or_default();
    assert!((1..ANSWER_NANOS * 10).contains(&lost), "about a prompt: {receipt}");
    assert_eq!(receipt["charged"], ANSWER_NANOS, "{receipt}");
    assert_eq!(receipt["cost"], ANSWER_NANOS + lost, "{receipt}");
    assert_eq!(receipt["usage"]["output"], 7, "the answer's alone: {receipt}");
}

/// Each client's format, with upstreams of the same and of another one, all at once.
fn each(test: impl Fn(&World, Format) + Sync) {
    thread::scope(|scope| {
        for (at, format) in FORMATS.into_iter().enumerate() {
            for upstream in [format, FORMATS[(at + 2) % FORMATS.len()]] {
                let test = &test;
                scope.spawn(move || {
                    let world = World::new(upstream, ALL);
                    test(&world, format);
                    world.assert_books();
                });
            }
        }
    });
}

#[test]
fn the_second_answers_before_a_slow_first() {
    each(|world, format| {
        let gate = Gate::closed();
        world.first.then(says("from the first").hold_head(&gate));
        let response = world.send(call(format)).join().expect("a client");
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
        assert!(
            response.text().contains("from the second"),
            "{format:?}: {}",
            response.text()
        );
        assert_eq!(response.header("x-tollgate-upstream"), Some("second"));
        assert_eq!(response.header("x-tollgate-attempts"), Some("2"));
        // Its connection is closed while it still thinks.
        world.first.wait_for_client_gone(1);
        let receipt = receipt_of(&world.gateway, &response);
        let [first, second] = attempts(&receipt);
        assert_given_up(&receipt, &second, &first);
        assert_eq!(
            (&first["hedge"], &second["hedge"]),
            (&Value::Null, &json!(true)),
            "{receipt}"
        );
        assert_eq!(second["upstream_name"], "second", "{receipt}");
        assert_eq!(world.counted("won"), 1);
        assert_eq!(receipts(&world.gateway).len(), 1, "one call, one receipt");
        gate.open();
    });
}

#[test]
fn the_first_answers_before_the_second_does() {
    each(|world, format| {
        let gates = [Gate::closed(), Gate::closed()];
        world.first.then(says("from the first").hold_head(&gates[0]));
        world.second.then(says("from the second").hold_head(&gates[1]));
        let sent = world.send(call(format));
        world.second.wait_for_calls(1);
        gates[0].open();
        let response = sent.join().expect("a client");
        assert!(
            response.text().contains("from the first"),
            "{format:?}: {}",
            response.text()
        );
        assert_eq!(response.header("x-tollgate-upstream"), Some("first"));
        world.second.wait_for_client_gone(1);
        let receipt = receipt_of(&world.gateway, &response);
        let [first, second] = attempts(&receipt);
        assert_given_up(&receipt, &first, &second);
        assert_eq!(second["hedge"], true, "{receipt}");
        assert_eq!(world.counted("lost"), 1);
        gates[1].open();
    });
}

#[test]
fn a_first_that_fails_meanwhile_leaves_it_to_the_second() {
    each(|world, format| {
        let gates = [Gate::closed(), Gate::closed()];
        world.first.then(Behaviour::status(500).hold_head(&gates[0]));
        world.second.then(says("from the second").hold_head(&gates[1]));
        let sent = world.send(call(format));
        world.second.wait_for_calls(1);
        gates[0].open();
        world.gateway.wait_for_output("an attempt failed");
        gates[1].open();
        let response = sent.join().expect("a client");
        assert!(
            response.text().contains("from the second"),
            "{format:?}: {}",
            response.text()
        );
        let receipt = receipt_of(&world.gateway, &response);
        let [first, second] = attempts(&receipt);
        assert_eq!(
            (&first["failure"], &first["cancelled"]),
            (&json!("server"), &Value::Null),
            "{receipt}"
        );
        assert_eq!(
            (&second["status"], &second["hedge"]),
            (&json!(200), &json!(true)),
            "{receipt}"
        );
        assert_eq!(
            (&receipt["charged"], &receipt["cost"]),
            (&json!(ANSWER_NANOS), &json!(ANSWER_NANOS)),
            "{receipt}"
        );
        assert_eq!(world.counted("won"), 1);
    });
}

#[test]
fn a_second_that_fails_leaves_it_to_the_first() {
    each(|world, format| {
        let gate = Gate::closed();
        world.first.then(says("from the first").hold_head(&gate));
        world.second.then(Behaviour::status(503));
        let sent = world.send(call(format));
        world.gateway.wait_for_output("an attempt failed");
        gate.open();
        let response = sent.join().expect("a client");
        assert!(
            response.text().contains("from the first"),
            "{format:?}: {}",
            response.text()
        );
        let receipt = receipt_of(&world.gateway, &response);
        let [first, second] = attempts(&receipt);
        assert_eq!(
            (&first["status"], &first["hedge"]),
            (&json!(200), &Value::Null),
            "{receipt}"
        );
        assert_eq!(
            (&second["status"], &second["hedge"]),
            (&json!(503), &json!(true)),
            "{receipt}"
        );
        assert_eq!(receipt["charged"], ANSWER_NANOS, "{receipt}");
        assert_eq!(world.counted("lost"), 1);
    });
}

#[test]
fn if_both_fail_the_client_is_told_once_and_pays_nothing() {
    each(|world, format| {
        let gate = Gate::closed();
        world.first.then(Behaviour::status(500).hold_head(&gate));
        world.second.then(Behaviour::status(500));
        let sent = world.send(call(format));
        world.gateway.wait_for_output("an attempt failed");
        gate.open();
        let response = sent.join().expect("a client");
        format.assert_refusal(&response, 500);
        let receipt = receipt_of(&world.gateway, &response);
        let failures = attempts(&receipt).map(|attempt| attempt["failure"].clone());
        assert_eq!(failures, [json!("server"), json!("server")], "{receipt}");
        assert_eq!(
            (&receipt["charged"], &receipt["cost"]),
            (&json!(0), &json!(0)),
            "{receipt}"
        );
        assert_eq!(world.counted("failed"), 1);
    });
}

#[test]
fn if_both_fail_the_call_is_tried_on_as_ever() {
    let world = World::with(Format::Chat, ALL, "retries: 2", "10.00");
    let gate = Gate::closed();
    world.first.then(Behaviour::status(500).hold_head(&gate));
    world.second.then(Behaviour::status(401));
    let sent = world.send(call(Format::Chat));
    world.gateway.wait_for_output("an attempt failed");
    gate.open();
    let response = sent.join().expect("a client");
    assert!(response.text().contains("from the first"), "{}", response.text());
    let receipt = receipt_of(&world.gateway, &response);
    let attempts = receipt["attempts"].as_array().expect("attempts");
    let hedges: Vec<bool> = attempts.iter().map(|one| one["hedge"] == true).collect();
    assert_eq!(hedges, [false, true, false], "one hedge per call: {receipt}");
    assert_eq!(response.header("x-tollgate-attempts"), Some("3"));
    assert_eq!(receipt["charged"], ANSWER_NANOS, "{receipt}");
    world.assert_books();
}

/// Without the hedge nobody would have asked the second.
#[test]
fn a_refusal_of_the_second_is_the_answer_only_if_the_first_has_none() {
    for fails in [false, true] {
        let world = World::new(Format::Chat, ALL);
        let gate = Gate::closed();
        let first = if fails {
            Behaviour::status(500)
        } else {
            says("from the first")
        };
        world.first.then(first.hold_head(&gate));
        world.second.then(Behaviour::refuse(Refusal::context_length()));
        let sent = world.send(call(Format::Chat));
        world.second.wait_for_completed(1);
        gate.open();
        let response = sent.join().expect("a client");
        assert_eq!(response.status(), if fails { 400 } else { 200 }, "{}", response.text());
        world.assert_books();
    }
}

#[test]
fn another_credential_of_the_same_upstream_is_a_second_candidate() {
    let upstream = Upstream::start();
    upstream.always(says("quick"));
    let gate = Gate::closed();
    upstream.rule(Match::credential("sk-slow"), says("slow").hold_head(&gate));
    let config = format!(
        "upstreams: [{{name: one, provider: openai, base_url: \"{}\", models: [m], credentials: [{{name: k1, key: sk-slow}}, {{name: k2, key: sk-quick}}]}}]
models: [{{name: main, hedge: {ALL}, targets: [{{upstream: one, model: m}}], free: true}}]
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
        upstream.v1()
    );
    let gateway = Setup::config(&config).start();
    let response = call(Format::Chat).bearer(CLIENT_KEY).send(&gateway.url());
    assert!(response.text().contains("quick"), "{}", response.text());
    let [slow, quick] = attempts(&receipt_of(&gateway, &response));
    assert_eq!([&slow["credential_name"], &quick["credential_name"]], ["k1", "k2"]);
    upstream.wait_for_client_gone(1);
    gate.open();
}

#[test]
fn a_client_that_leaves_closes_both() {
    let world = World::new(Format::Chat, ALL);
    let gate = Gate::closed();
    world.first.then(says("from the first").hold_head(&gate));
    world.second.then(says("from the second").hold_head(&gate));
    let request = call(Format::Chat).bearer(CLIENT_KEY);
    let exchange = request.open(&world.gateway.url()).expect("a connection");
    world.second.wait_for_calls(1);
    exchange.leave();
    world.first.wait_for_client_gone(1);
    world.second.wait_for_client_gone(1);
    wait::until("its receipt", || !receipts(&world.gateway).is_empty());
    let receipt = receipts(&world.gateway).into_values().next().expect("a receipt");
    assert_eq!(
        (&receipt["ending"], &receipt["charged"]),
        (&json!("client_gone"), &json!(0)),
        "{receipt}"
    );
    let names = attempts(&receipt).map(|one| (one["upstream_name"].clone(), one["hedge"] == true));
    assert_eq!(names, [(json!("first"), false), (json!("second"), true)], "{receipt}");
    assert_eq!(world.counted("abandoned"), 1);
    gate.open();
    world.assert_books();
}

#[test]
fn it_is_off_unless_it_is_asked_for_and_explained_where_it_is() {
    let world = World::new(Format::Chat, ALL);
    let told = world.gateway.cli_ok(&["explain", "--model", "main"]);
    assert!(
        told.contains("takes 50ms is sent to the next as well, 100% of them at most"),
        "{told}"
    );
    let off = world.gateway.cli_ok(&["explain", "--model", "plain"]);
    assert!(!off.contains("hedge"), "{off}");
    let gate = Gate::closed();
    world.first.then(says("from the first").hold_head(&gate));
    let plain = world.send(Request::post("/v1/chat/completions", &Format::Chat.body("plain")));
    world.first.wait_for_calls(1);
    world.first.then(says("from the first").hold_head(&gate));
    let hedged = world.send(call(Format::Chat)).join().expect("a client");
    assert!(hedged.text().contains("from the second"), "{}", hedged.text());
    gate.open();
    assert!(plain.join().expect("a client").text().contains("from the first"));
    assert_eq!(world.second.received().len(), 1);
    // The record of the call tells them apart.
    let id = hedged.header("x-request-id").expect("its id");
    books::settled(&world.gateway);
    let told = world.gateway.cli_ok(&["replay", id]);
    assert!(told.contains("given up") && told.contains("(hedge)"), "{told}");
}

#[test]
fn the_command_line_sets_it() {
    let world = World::new(Format::Chat, ALL);
    let model = [
        "model",
        "add",
        "quick",
        "--target",
        "first/m",
        "--hedge",
        "after=2s,budget=3%",
        "--free",
    ];
    world.gateway.cli_ok(&model);
    let shown = || world.gateway.cli_json(&["model", "show", "quick", "--json"]);
    assert!(
        shown()
            .to_string()
            .contains("\"hedge\":{\"after\":\"2s\",\"budget\":\"3%\"}"),
        "{}",
        shown()
    );
    world.gateway.cli_ok(&["model", "edit", "quick", "--hedge", ""]);
    assert!(!shown().to_string().contains("hedge"), "{}", shown());
}
