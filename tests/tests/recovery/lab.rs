//! A model that recovers, two that may go on with its answers, and what has to hold of every such call.

use std::time::{Duration, Instant};

use blackbox::format::{FORMATS, Format};
use blackbox::wait::PATIENCE;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, audit, books, receipt_of, receipts};
use serde_json::{Value, json};
use testkit::client::Response;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Upstream};

use crate::answers::{assert_grammar, said};

/// The limit on silence within an answer, where a test is about it; elsewhere no busy machine reaches it.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);
/// How many tokens a whole answer has.
pub(crate) const TOKENS: usize = 60;
/// What the user has at first, in nano-dollars.
const OPENING: i64 = 10_000_000_000;
/// What the spare model's answer costs at a dollar per million tokens: the scripted upstream reports 12 and 7.
const SPARE_NANOS: i64 = 19_000;

pub(crate) const ADMIN: &str = "admin-token-of-the-recovery-tests";

/// What a target says of itself.
pub(crate) const TAKES: &str = ", capabilities: {prefill: true}";

pub(crate) const REFUSES: &str = ", capabilities: {prefill: false}";

pub(crate) struct World {
    pub(crate) format: Format,
    /// What its upstreams speak.
    pub(crate) upstream: Format,
    pub(crate) gateway: Tollgate,
    pub(crate) main: Upstream,
    pub(crate) spare: Upstream,
    pub(crate) third: Upstream,
}

impl World {
    /// A model whose upstream speaks `upstream`, and its fallbacks, which say of themselves what these say.
    pub(crate) fn new(format: Format, upstream: Format, main: &str, spares: [&str; 2]) -> Self {
        Self::with_limit(PATIENCE, format, upstream, main, spares)
    }

    pub(crate) fn with_limit(idle: Duration, format: Format, upstream: Format, main: &str, spares: [&str; 2]) -> Self {
        let idle = idle.as_secs();
        let all = [Upstream::start(), Upstream::start(), Upstream::start()];
        let line = |name: &str, at: &Upstream, model: &str| {
            let (provider, base) = upstream.provider(at);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", models: [{model}], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        for at in &all {
            at.always(whole());
        }
        let [first, second, third] = all;
        let config = format!(
            "security: {{admin_token: {ADMIN}}}
defaults: {{retries: 3, retry_delay: 100ms, first_byte_timeout: 30s, idle_timeout: {idle}s}}
upstreams:
{}{}{}models:
  - {{name: main, recovery: true, targets: [{{upstream: main, model: big{main}}}], fallbacks: [spare, third], price: {{input: 10.00, output: 10.00}}}}
  - {{name: plain, targets: [{{upstream: main, model: big}}], price: {{input: 10.00, output: 10.00}}}}
  - {{name: spare, targets: [{{upstream: spare, model: small{}}}], price: {{input: 1.00, output: 1.00}}}}
  - {{name: third, targets: [{{upstream: third, model: other{}}}], price: {{input: 1.00, output: 1.00}}}}
users: [{{name: alice, policy: hard, opening_credit: 10.00}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            line("main", &first, "big"),
            line("spare", &second, "small"),
            line("third", &third, "other"),
            spares[0],
            spares[1],
        );
        Self {
            format,
            upstream,
            gateway: Setup::config(&config).start(),
            main: first,
            spare: second,
            third,
        }
    }

    pub(crate) fn ask(&self) -> (Response, Duration) {
        let began = Instant::now();
        let request = self.format.stream("main").bearer(CLIENT_KEY);
        (request.send(&self.gateway.url()), began.elapsed())
    }

    pub(crate) fn asked(&self) -> [usize; 3] {
        [&self.main, &self.spare, &self.third].map(|upstream| upstream.received().len())
    }

    /// Every token, once and in order, in one well-formed answer.
    pub(crate) fn assert_all_tokens(&self, response: &Response) {
        let all = Answer::tokens(TOKENS).whole_text();
        self.assert_whole(response, &all);
    }

    pub(crate) fn assert_whole(&self, response: &Response, expected: &str) {
        let (format, text) = (self.format, response.text());
        assert_eq!(response.status(), 200, "{format:?}: {text}");
        assert!(
            response.is_complete() && format.looks_complete(&text),
            "{format:?}: {text}"
        );
        assert!(!format.ends_in_error(&text), "{format:?}: {text}");
        assert_eq!(said(format, response), expected, "{format:?}: {text}");
        assert_grammar(format, response);
    }

    pub(crate) fn assert_broken(&self, response: &Response) {
        let (format, text) = (self.format, response.text());
        assert_eq!(response.status(), 200, "{format:?}: {text}");
        assert!(format.ends_in_error(&text), "{format:?}: {text}");
        assert!(!format.looks_complete(&text), "{format:?}: {text}");
        assert!(
            !text.contains("prefill") && !text.contains("whitespace"),
            "{format:?}: {text}"
        );
        let receipt = receipt_of(&self.gateway, response);
        assert_eq!(
            (&receipt["ending"], &receipt["charged"]),
            (&json!("upstream_gone"), &json!(0)),
            "{format:?}: {receipt}"
        );
        assert!(
            attempts(&receipt).iter().all(|attempt| attempt["broke"].is_null()),
            "what the call used is told once: {receipt}"
        );
    }

    /// One call, two attempts: the first recorded with what it cost, the second billed.
    pub(crate) fn assert_billed(&self, response: &Response, how: &str) -> Value {
        let receipt = receipt_of(&self.gateway, response);
        let attempts = attempts(&receipt);
        let [broken, .., last] = attempts.as_slice() else {
            panic!("{:?}: {receipt}", self.format)
        };
        assert_eq!(
            (&receipt["ending"], &receipt["status"]),
            (&json!("complete"), &json!(200)),
            "{receipt}"
        );
        assert_eq!(broken["status"], 200, "{receipt}");
        assert!(broken["failure"].is_string(), "{receipt}");
        assert_eq!(last["recovered"], how, "{receipt}");
        assert_eq!(receipt["answered_model"], "small", "{receipt}");
        assert_eq!(receipt["charged"], SPARE_NANOS, "{:?}: {receipt}", self.format);
        let used = &broken["broke"];
        assert!(
            used["cost"].as_i64().is_some_and(|cost| cost > 0),
            "{:?}: {receipt}",
            self.format
        );
        assert_eq!(
            receipt["cost"].as_i64(),
            used["cost"].as_i64().map(|cost| cost + SPARE_NANOS),
            "{:?}: {receipt}",
            self.format
        );
        receipt
    }

    /// A healthy call, and books that agree.
    pub(crate) fn assert_healthy(&self) {
        self.main.always(whole());
        let (response, _) = self.ask();
        self.assert_all_tokens(&response);
        let receipt = receipt_of(&self.gateway, &response);
        assert_eq!(attempts(&receipt).len(), 1, "{receipt}");
        // What was charged has left the balance, and nothing else has.
        books::settled(&self.gateway);
        let receipts = receipts(&self.gateway);
        let sum = |name: &str| {
            receipts
                .values()
                .filter_map(|receipt| receipt[name].as_i64())
                .sum::<i64>()
        };
        assert_eq!(
            books::balance(&self.gateway, "alice"),
            OPENING - sum("charged"),
            "{:?}",
            self.format
        );
        let report = audit(&self.gateway);
        let totals = ["charged", "cost"].map(|name| books::nanos(&report[name]));
        assert_eq!(totals, [sum("charged"), sum("cost")], "{report}");
    }
}

pub(crate) fn attempts(receipt: &Value) -> Vec<Value> {
    receipt["attempts"].as_array().cloned().unwrap_or_default()
}

pub(crate) fn whole() -> Behaviour {
    Behaviour::answer(Answer::tokens(TOKENS).continuing())
}

/// Runs a test for each client's format, with upstreams of the same and of another one, all at once: most of it is waiting.
pub(crate) fn each(main: &str, spares: [&str; 2], test: impl Fn(&World) + Sync) {
    each_with_limit(PATIENCE, main, spares, test);
}

pub(crate) fn each_with_limit(idle: Duration, main: &str, spares: [&str; 2], test: impl Fn(&World) + Sync) {
    std::thread::scope(|scope| {
        for (at, format) in FORMATS.into_iter().enumerate() {
            // What OpenAI's preset offers a client of its formats is never translated; the others are two steps away.
            for upstream in [format, FORMATS[(at + 2) % FORMATS.len()]] {
                let test = &test;
                scope.spawn(move || {
                    let world = World::with_limit(idle, format, upstream, main, spares);
                    test(&world);
                    world.assert_healthy();
                });
            }
        }
    });
}
