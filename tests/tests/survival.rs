//! The sixteen faults of the public failover benchmark, our own version: each streamed in all four client formats, with a
//! healthy fallback model configured and without, the attempts that the upstream saw counted, and a healthy call
//! afterwards. Times are a tenth of the benchmark's, except where a provider names seconds.

use std::time::{Duration, Instant};

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, receipt_of};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, At, Behaviour, How, Refusal, Upstream};

/// The limit on the first content, and on silence within an answer.
const LIMIT: Duration = Duration::from_secs(1);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1_500);
/// How many tokens a whole answer has.
const TOKENS: usize = 60;
/// What the fallback says, so that a test sees who answered.
const SPARE: &str = "uno dos tres cuatro cinco seis";

/// Whether a healthy fallback model is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    With,
    Without,
}

use Spare::{With, Without};

struct World {
    format: Format,
    gateway: Tollgate,
    main: Upstream,
    spare: Upstream,
}

impl World {
    fn new(format: Format, spare: Spare) -> Self {
        Self::with(format, spare, "breaker: off, ")
    }

    fn with(format: Format, configured: Spare, breaker: &str) -> Self {
        let (main, spare) = (Upstream::start(), Upstream::start());
        main.always(whole());
        spare.always(Behaviour::text(SPARE));
        let line = |name: &str, upstream: &Upstream, model: &str| {
            let (provider, base) = format.provider(upstream);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", models: [{model}], {breaker}credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        let fallbacks = if configured == With { ", fallbacks: [spare]" } else { "" };
        let config = format!(
            "defaults: {{retries: 3, retry_delay: 100ms, first_byte_timeout: 1s, idle_timeout: 1s}}
upstreams:
{}{}models:
  - {{name: main, targets: [{{upstream: main, model: big}}]{fallbacks}, context: 8000, price: {{input: 10.00, output: 10.00}}}}
  - {{name: spare, targets: [{{upstream: spare, model: small}}], context: 200000, price: {{input: 1.00, output: 1.00}}}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            line("main", &main, "big"),
            line("spare", &spare, "small"),
        );
        Self {
            format,
            gateway: Setup::config(&config).start(),
            main,
            spare,
        }
    }

    fn ask(&self) -> (Response, Duration) {
        let began = Instant::now();
        let request: Request = self.format.stream("main").bearer(CLIENT_KEY);
        let response = request.send(&self.gateway.url());
        (response, began.elapsed())
    }

    fn receipt(&self, response: &Response) -> Value {
        receipt_of(&self.gateway, response)
    }

    /// How often the main upstream was asked.
    fn asked(&self) -> usize {
        self.main.received().len()
    }

    fn assert_whole(&self, response: &Response) {
        let text = response.text();
        assert_eq!(response.status(), 200, "{:?}: {text}", self.format);
        assert!(
            response.is_complete() && self.format.looks_complete(&text),
            "{:?}: {text}",
            self.format
        );
        assert!(!self.format.ends_in_error(&text), "{:?}: {text}", self.format);
    }

    /// The main model answered, with every token once.
    fn assert_main(&self, response: &Response) {
        self.assert_whole(response);
        let text = response.text();
        for token in 0..TOKENS {
            // The Responses format says the whole text again at its end.
            let said = match self.format {
                Format::Responses => format!("\"delta\":\"t{token} \""),
                _ => format!("t{token} "),
            };
            assert_eq!(text.matches(&said).count(), 1, "{:?}: t{token} in {text}", self.format);
        }
    }

    fn assert_spare(&self, response: &Response) {
        self.assert_whole(response);
        let text = response.text();
        assert!(
            SPARE.split(' ').all(|word| text.contains(word)),
            "{:?}: {text}",
            self.format
        );
        assert_eq!(
            ["x-tollgate-upstream", "x-tollgate-model"].map(|name| response.header(name)),
            [Some("spare"); 2],
            "{:?}",
            self.format
        );
    }

    /// A stream that began, broke, and says so.
    fn assert_broken(&self, response: &Response) {
        let text = response.text();
        assert_eq!(response.status(), 200, "{:?}: {text}", self.format);
        assert!(self.format.ends_in_error(&text), "{:?}: {text}", self.format);
        assert!(!self.format.looks_complete(&text), "{:?}: {text}", self.format);
        assert_eq!(self.receipt(response)["charged"], json!(0), "{:?}", self.format);
    }

    fn assert_healthy(&self) {
        self.main.always(whole());
        let (response, _) = self.ask();
        assert_eq!(
            response.status(),
            200,
            "{:?}: a healthy call afterwards: {}",
            self.format,
            response.text()
        );
    }
}

fn whole() -> Behaviour {
    Behaviour::answer(Answer::tokens(TOKENS))
}

/// Runs a row of the table in every format, all at once: most of it is waiting.
fn row(spare: Spare, test: impl Fn(&World) + Sync) {
    std::thread::scope(|scope| {
        for format in FORMATS {
            let test = &test;
            scope.spawn(move || {
                let world = World::new(format, spare);
                test(&world);
                world.assert_healthy();
            });
        }
    });
}

#[test]
fn r01_limited_once_with_a_named_wait() {
    let fault = || Behaviour::refuse(Refusal::rate_limited(Some(2)));
    row(Without, |world| {
        world.main.then(fault());
        let (response, took) = world.ask();
        world.assert_main(&response);
        assert!(
            took >= Duration::from_millis(1_800),
            "{:?}: after {took:?}",
            world.format
        );
        assert_eq!(world.asked(), 2, "{:?}", world.format);
    });
    row(With, |world| {
        world.main.then(fault());
        let (response, took) = world.ask();
        world.assert_whole(&response);
        assert!(took < LIMIT + SLACK, "{:?}: nobody need wait: {took:?}", world.format);
        assert_eq!(world.asked(), 1, "{:?}", world.format);
    });
}

#[test]
fn r02_limited_always_without_a_named_wait() {
    row(Without, |world| {
        world.main.always(Behaviour::status(429));
        let (response, took) = world.ask();
        world.format.assert_refusal(&response, 429);
        assert!(
            (1..=6).contains(&world.asked()),
            "{:?}: {} times",
            world.format,
            world.asked()
        );
        assert!(
            took > Duration::from_secs(3) || world.asked() <= 4,
            "{:?}: {} times in {took:?}",
            world.format,
            world.asked()
        );
    });
    row(With, |world| {
        world.main.always(Behaviour::status(429));
        let (response, _) = world.ask();
        world.assert_spare(&response);
        assert_eq!(world.asked(), 1, "{:?}", world.format);
    });
}

#[test]
fn r03_server_error_once() {
    for spare in [Without, With] {
        row(spare, |world| {
            world.main.then(Behaviour::status(500));
            let (response, _) = world.ask();
            world.assert_main(&response);
            assert_eq!(world.asked(), 2, "{:?}: the same upstream is asked again", world.format);
        });
    }
}

#[test]
fn r04_unavailable_always() {
    row(Without, |world| {
        world.main.always(Behaviour::status(503));
        let (response, _) = world.ask();
        world.format.assert_refusal(&response, 503);
        assert!(
            (1..=6).contains(&world.asked()),
            "{:?}: {} times",
            world.format,
            world.asked()
        );
    });
    row(With, |world| {
        world.main.always(Behaviour::status(503));
        let (response, _) = world.ask();
        world.assert_spare(&response);
        assert!(
            (1..=6).contains(&world.asked()),
            "{:?}: {} times",
            world.format,
            world.asked()
        );
    });
}

#[test]
fn r05_reset_before_headers_once() {
    for spare in [Without, With] {
        row(spare, |world| {
            world.main.then(Behaviour::reset());
            let (response, _) = world.ask();
            world.assert_main(&response);
        });
    }
}

#[test]
fn r06_no_response_at_all() {
    row(Without, |world| {
        world.main.then(Behaviour::stall());
        let (response, took) = world.ask();
        world.format.assert_refusal(&response, 504);
        assert!(took < LIMIT + SLACK, "{:?}: after {took:?}", world.format);
        assert_eq!(world.asked(), 1, "{:?}: who is silent is not asked again", world.format);
    });
    row(With, |world| {
        world.main.then(Behaviour::stall());
        let (response, took) = world.ask();
        world.assert_spare(&response);
        assert!(took < LIMIT + SLACK, "{:?}: after {took:?}", world.format);
        assert_eq!(world.asked(), 1, "{:?}", world.format);
    });
}

#[test]
fn r07_first_token_after_twice_the_limit() {
    let late = || whole().body_after(LIMIT * 2);
    row(Without, |world| {
        world.main.then(late());
        let (response, took) = world.ask();
        world.format.assert_refusal(&response, 504);
        assert!(took < LIMIT + SLACK, "{:?}: after {took:?}", world.format);
    });
    row(With, |world| {
        world.main.then(late());
        let (response, took) = world.ask();
        world.assert_spare(&response);
        assert!(took < LIMIT + SLACK, "{:?}: after {took:?}", world.format);
    });
}

#[test]
fn r08_cut_after_forty_tokens() {
    for spare in [Without, With] {
        row(spare, |world| {
            world.main.then(whole().cut(At::Events(40), How::Reset));
            let (response, _) = world.ask();
            world.assert_broken(&response);
        });
    }
}

#[test]
fn r09_stalls_after_twenty_tokens() {
    for spare in [Without, With] {
        row(spare, |world| {
            world.main.then(whole().cut(At::Events(20), How::Stall));
            let (response, took) = world.ask();
            world.assert_broken(&response);
            assert!(took < LIMIT + SLACK, "{:?}: after {took:?}", world.format);
        });
    }
}

#[test]
fn r10_tenth_event_malformed() {
    for spare in [Without, With] {
        row(spare, |world| {
            world.main.then(whole().malformed(10));
            let (response, _) = world.ask();
            world.assert_broken(&response);
            let parsed = response.events().iter().all(|event| {
                event.data == "[DONE]" || event.data.is_empty() || serde_json::from_str::<Value>(&event.data).is_ok()
            });
            assert!(
                parsed,
                "{:?}: garbage reached the client: {}",
                world.format,
                response.text()
            );
        });
    }
}

#[test]
fn r11_complete_without_a_terminator() {
    for how in [How::End, How::Stall] {
        for spare in [Without, With] {
            row(spare, |world| {
                // The end of a Responses stream is the answer itself: without it nothing is complete.
                if world.format == Format::Responses {
                    return;
                }
                let at = if world.format == Format::Gemini {
                    At::Events(usize::MAX)
                } else {
                    At::Terminator
                };
                world.main.then(whole().cut(at, how));
                let (response, took) = world.ask();
                world.assert_main(&response);
                assert!(took < LIMIT + SLACK, "{:?}: after {took:?}", world.format);
                let receipt = world.receipt(&response);
                assert_eq!(receipt["usage_source"], "reported", "{:?}: {receipt}", world.format);
            });
        }
    }
}

#[test]
fn r12_context_length_exceeded() {
    row(Without, |world| {
        world.main.then(Behaviour::refuse(Refusal::context_length()));
        let (response, _) = world.ask();
        assert_eq!(response.status(), 400, "{:?}: {}", world.format, response.text());
        assert_eq!(world.asked(), 1, "{:?}", world.format);
    });
    row(With, |world| {
        world.main.then(Behaviour::refuse(Refusal::context_length()));
        let (response, _) = world.ask();
        world.assert_spare(&response);
        assert_eq!(
            world.asked(),
            1,
            "{:?}: the same model is not asked again",
            world.format
        );
    });
}

#[test]
fn r13_content_filter() {
    for spare in [Without, With] {
        row(spare, |world| {
            world.main.then(Behaviour::refuse(Refusal::content_filter()));
            let (response, _) = world.ask();
            assert_eq!(response.status(), 400, "{:?}: {}", world.format, response.text());
            assert_eq!(
                (world.asked(), world.spare.received().len()),
                (1, 0),
                "{:?}",
                world.format
            );
        });
    }
}

/// Unavailable for six seconds, then healthy, while somebody calls every 400 ms.
#[test]
fn r15_an_outage_and_the_way_back() {
    std::thread::scope(|scope| {
        for format in FORMATS {
            scope.spawn(move || {
                let world = World::with(format, With, "breaker: {failures: 3, window: 10s, open: 1s}, ");
                world.main.always(Behaviour::status(503));
                let began = Instant::now();
                let mut recovered = None;
                let mut by_main = None;
                while by_main.is_none() {
                    if recovered.is_none() && began.elapsed() >= Duration::from_secs(6) {
                        world.main.always(whole());
                        recovered = Some(Instant::now());
                    }
                    let (response, _) = world.ask();
                    world.assert_whole(&response);
                    if response.header("x-tollgate-upstream") == Some("main") {
                        by_main = Some(Instant::now());
                    }
                    assert!(began.elapsed() < Duration::from_secs(20), "{format:?}: never back");
                    blackbox::wait::lasts(Duration::from_millis(400));
                }
                let back = by_main.zip(recovered).map(|(back, then)| back - then);
                assert!(
                    back.is_some_and(|took| took <= Duration::from_secs(3) + SLACK),
                    "{format:?}: back after {back:?}"
                );
                // Three failures open it; after that one probe at a time, one second apart at least.
                let asked = world.asked();
                assert!(asked <= 4 + 8, "{format:?}: asked {asked} times while it was away");
            });
        }
    });
}

#[test]
fn r16_the_fallback_is_named_and_billed() {
    row(With, |world| {
        world.main.always(Behaviour::status(503));
        let (response, _) = world.ask();
        world.assert_spare(&response);
        let receipt = world.receipt(&response);
        let attempts = receipt["attempts"].as_array().cloned().unwrap_or_default();
        assert_eq!(attempts.len(), world.asked() + 1, "{:?}: {receipt}", world.format);
        assert_eq!(
            attempts.last().map(|last| &last["model"]),
            Some(&json!("small")),
            "{receipt}"
        );
        // A dollar per million tokens, not ten.
        let tokens = ["input", "output"].map(|kind| receipt["usage"][kind].as_i64().unwrap_or_default());
        assert_eq!(
            receipt["charged"],
            json!(tokens.iter().sum::<i64>() * 1_000),
            "{:?}: {receipt}",
            world.format
        );
    });
}
