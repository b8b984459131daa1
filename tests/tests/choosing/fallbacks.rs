//! Another model answers in a model's place: who is asked how often, who answers, who is billed at which price.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, audit, receipt_of};
use serde_json::Value;
use testkit::client::Response;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Refusal, Upstream};

use super::{people, upstream};

const TEXT: &str = "one two three four";
const OTHER: &str = "uno dos tres";

struct World {
    gateway: Tollgate,
    first: Upstream,
    second: Upstream,
}

impl World {
    /// `smart` at one upstream, `cheap` at another; `more` is what `smart` says besides.
    fn new(more: &str, policy: &str) -> Self {
        let (first, second) = (Upstream::start(), Upstream::start());
        first.always(Behaviour::text(TEXT));
        second.always(Behaviour::text(OTHER));
        let config = format!(
            "defaults: {{retries: 3, retry_delay: 100ms, first_byte_timeout: 1500ms, idle_timeout: 1500ms}}
upstreams:
{}{}models:
  - {{name: smart, targets: [{{upstream: first, model: large}}], price: {{input: 10.00, output: 20.00}}, context: 8000{more}}}
  - {{name: cheap, targets: [{{upstream: second, model: small}}], price: {{input: 1.00, output: 3.00}}, context: 100000, max_output: 100}}
users: [{{name: alice{policy}}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\", models: [smart]}}]
",
            upstream("first", &first, ", breaker: off"),
            upstream("second", &second, ", breaker: off"),
        );
        Self {
            gateway: Setup::config(&config).start(),
            first,
            second,
        }
    }

    fn send(&self, format: Format, streamed: bool) -> Response {
        let request = if streamed {
            format.stream("smart")
        } else {
            format.call("smart")
        };
        request.bearer(CLIENT_KEY).send(&self.gateway.url())
    }

    /// How often each upstream was asked since the last time.
    fn asked(&self) -> (usize, usize) {
        (self.first.take_received().len(), self.second.take_received().len())
    }

    fn receipt(&self, response: &Response) -> Value {
        receipt_of(&self.gateway, response)
    }
}

fn everywhere(world: &World, test: impl Fn(Format, bool)) {
    for format in FORMATS {
        for streamed in [false, true] {
            test(format, streamed);
            world.first.always(Behaviour::text(TEXT));
            assert_eq!(
                world.send(format, streamed).status(),
                200,
                "{format:?}: healthy afterwards"
            );
            world.asked();
        }
    }
}

fn said(response: &Response, text: &str) -> bool {
    let body = response.text();
    text.split(' ').all(|word| body.contains(word))
}

#[test]
fn a_failing_model_is_answered_by_its_fallback_at_its_price() {
    let world = World::new(", fallbacks: [cheap]", "");
    everywhere(&world, |format, streamed| {
        world.first.always(Behaviour::status(503));
        let response = world.send(format, streamed);
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
        assert!(said(&response, OTHER), "{format:?}: {}", response.text());
        assert_eq!(world.asked(), (2, 1), "one more try, then the other model");
        assert_eq!(response.header("x-tollgate-model"), Some("cheap"));
        assert_eq!(response.header("x-tollgate-upstream"), Some("second"));
        let receipt = world.receipt(&response);
        let tokens = |kind: &str| receipt["usage"][kind].as_i64().expect("tokens");
        assert_eq!(receipt["model"], "smart");
        assert_eq!(
            receipt["charged"],
            tokens("input") * 1_000 + tokens("output") * 3_000,
            "{receipt}"
        );
        let tried: Vec<_> = receipt["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|try_| (&try_["model"], &try_["failure"]))
            .collect();
        assert_eq!(tried.len(), 3, "{receipt}");
        assert!(
            tried[0].0 == "large" && *tried[0].1 != Value::Null && tried[2] == (&"small".into(), &Value::Null),
            "{tried:?}"
        );
    });
    let healthy = world.send(Format::Chat, false);
    assert_eq!(healthy.header("x-tollgate-model"), None, "the model itself");
    let receipt = world.receipt(&healthy);
    let tokens = |kind: &str| receipt["usage"][kind].as_i64().expect("tokens");
    assert_eq!(receipt["charged"], tokens("input") * 10_000 + tokens("output") * 20_000);
    audit(&world.gateway);
}

#[test]
fn a_limited_or_silent_model_is_left_at_once() {
    for fault in [
        Behaviour::refuse(Refusal::rate_limited(Some(20))),
        Behaviour::stall(),
        Behaviour::refuse(Refusal::insufficient_quota()),
    ] {
        let world = World::new(", fallbacks: [cheap]", "");
        world.first.always(fault);
        let response = world.send(Format::Chat, false);
        assert_eq!(response.status(), 200, "{}", response.text());
        assert_eq!(world.asked(), (1, 1));
    }
}

#[test]
fn too_long_a_request_goes_to_a_larger_model() {
    let world = World::new(", fallbacks: [cheap]", "");
    everywhere(&world, |format, streamed| {
        world.first.always(Behaviour::refuse(Refusal::context_length()));
        let response = world.send(format, streamed);
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
        assert!(said(&response, OTHER));
        assert_eq!(world.asked(), (1, 1), "the same model is not asked again");
        assert_eq!(response.header("x-tollgate-attempts"), Some("2"));
    });
}

#[test]
fn the_refusal_stays_the_answer_where_nothing_does_better() {
    let world = World::new(", fallbacks: [cheap]", "");
    everywhere(&world, |format, streamed| {
        for there in [Behaviour::status(401), Behaviour::refuse(Refusal::context_length())] {
            world.first.always(Behaviour::refuse(Refusal::context_length()));
            world.second.always(there);
            let response = world.send(format, streamed);
            assert_eq!(response.status(), 400, "{format:?}: {}", response.text());
            assert_eq!(response.header("x-tollgate-upstream"), Some("first"));
            assert_eq!(world.receipt(&response)["charged"], 0);
        }
        world.second.always(Behaviour::text(OTHER));
    });
}

#[test]
fn what_is_not_larger_or_not_asked_for_is_not_tried() {
    let unasked = [
        ("", Refusal::context_length()),
        (
            ", fallbacks: [cheap], fallback_on: [content_policy]",
            Refusal::context_length(),
        ),
        (", fallbacks: [cheap]", Refusal::content_filter()),
        (", fallbacks: [cheap]", Refusal::status(400)),
    ];
    for (more, refusal) in unasked {
        let world = World::new(more, "");
        everywhere(&world, |format, streamed| {
            world.first.always(Behaviour::refuse(refusal.clone()));
            let response = world.send(format, streamed);
            assert_eq!(response.status(), 400, "{more} {format:?}: {}", response.text());
            assert_eq!(world.asked(), (1, 0), "{more} {format:?}: one attempt");
        });
    }
    let world = World::new(", fallbacks: [cheap], fallback_on: [content_policy]", "");
    world.first.always(Behaviour::refuse(Refusal::content_filter()));
    let response = world.send(Format::Chat, false);
    assert_eq!((response.status(), world.asked()), (200, (1, 1)), "{}", response.text());
}

#[test]
fn a_fallback_may_be_used_by_who_may_use_the_model_and_only_so() {
    let world = World::new(", fallbacks: [cheap]", "");
    let direct = Format::Chat.call("cheap").bearer(CLIENT_KEY).send(&world.gateway.url());
    assert_eq!(direct.status(), 403, "{}", direct.text());
    world.first.always(Behaviour::status(500));
    assert_eq!(world.send(Format::Chat, false).status(), 200);
}

#[test]
fn the_hold_bounds_the_dearest_of_all() {
    // Enough for `cheap`, which may say a hundred tokens, and not for `smart` at ten and twenty dollars.
    let dear = World::new(
        ", fallbacks: [cheap], max_output: 100",
        ", policy: hard, opening_credit: 0.0005",
    );
    let refused = dear.send(Format::Chat, false);
    assert_eq!((refused.status(), dear.asked()), (402, (0, 0)), "{}", refused.text());
    // The other way round: `smart` itself would be paid for, its fallback not.
    let (first, second) = (Upstream::start(), Upstream::start());
    let config = format!(
        "upstreams:\n{}{}models:
  - {{name: smart, targets: [{{upstream: first, model: x}}], free: true, fallbacks: [dear]}}
  - {{name: dear, targets: [{{upstream: second, model: x}}], price: {{input: 10.00, output: 20.00}}, max_output: 100}}
users: [{{name: alice, policy: hard, opening_credit: 0.0001}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
        upstream("first", &first, ""),
        upstream("second", &second, ""),
    );
    let gateway = Setup::config(&config).start();
    let response = Format::Chat.call("smart").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 402, "{}", response.text());
}

#[test]
fn circles_are_refused_with_their_line() {
    let at = Upstream::start();
    let gateway = Setup::config(&format!(
        "upstreams:\n{}models:
  - {{name: a, targets: [{{upstream: u}}], fallbacks: [b]}}
  - {{name: b, targets: [{{upstream: u}}], fallbacks: [c]}}
  - {{name: c, targets: [{{upstream: u}}], fallbacks: [A]}}
{}",
        upstream("u", &at, ""),
        people()
    ))
    .prepare();
    let output = gateway.cli(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(":4:") && said.contains("leads back to the model itself (a → b → c → A)"),
        "{said}"
    );
}

/// A family of names can be in a circle as one model can.
#[test]
fn circles_through_families_are_refused_with_their_line() {
    let at = Upstream::start();
    let gateway = Setup::config(&format!(
        "upstreams:\n{}models:
  - {{name: a, targets: [{{upstream: u}}], fallbacks: [gpt-9]}}
  - {{name: \"gpt-*\", targets: [{{upstream: u}}], fallbacks: [a]}}
{}",
        upstream("u", &at, ""),
        people()
    ))
    .prepare();
    for command in [&["check"][..], &["serve"]] {
        let output = gateway.cli(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains(":4:") && said.contains("leads back to the model itself (a → gpt-9 → a)"),
            "{command:?}: {said}"
        );
    }
}

/// Families may stand behind each other: no name comes again where somebody waits for it.
#[test]
fn families_behind_each_other_are_no_circle() {
    let (first, second) = (Upstream::start(), Upstream::start());
    first.always(Behaviour::status(503));
    second.always(Behaviour::text(OTHER));
    let gateway = Setup::config(&format!(
        "upstreams:\n{}{}models:
  - {{name: \"gpt-*\", targets: [{{upstream: first, model: \"gpt-*\"}}], fallbacks: [claude-x]}}
  - {{name: \"claude-*\", targets: [{{upstream: second, model: \"claude-*\"}}], fallbacks: [gpt-y]}}
{}",
        upstream("first", &first, ""),
        upstream("second", &second, ""),
        people()
    ))
    .start();
    let told = gateway.cli_ok(&["check"]);
    assert!(!told.contains("note"), "{told}");
    let response = Format::Chat.call("gpt-z").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.header("x-tollgate-model"), Some("claude-x"));
}

/// The file and the database make a circle together, whoever speaks last: `check` says it as `model edit` does. A server that
/// runs goes on.
#[test]
fn a_circle_through_the_database_is_told_with_its_line() {
    let at = Upstream::start();
    at.always(Behaviour::text(TEXT));
    let config = |fallbacks: &str| {
        format!(
            "upstreams:\n{}models:
  - {{name: a, targets: [{{upstream: u}}]{fallbacks}}}
{}",
            upstream("u", &at, ""),
            people()
        )
    };
    let gateway = Setup::config(&config("")).start();
    gateway.cli_ok(&["model", "add", "made", "--target", "u/x", "--fallback", "a"]);
    gateway.write_config(&config(", fallbacks: [made]"));
    let output = gateway.cli(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(":4:") && said.contains("leads back to the model itself (a → made → a)"),
        "{said}"
    );
    gateway.wait_for_output("its fallbacks lead back to it");
    let response = Format::Chat.call("a").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
}

/// Nobody knows before the database is there whether somebody will make the model; then it is known.
#[test]
fn a_fallback_that_nobody_serves_is_told_with_its_line() {
    let at = Upstream::start();
    let config = format!(
        "upstreams:\n{}models:
  - {{name: smart, targets: [{{upstream: u}}], fallbacks: [x, cheep, u/x, made]}}
  - {{name: cheap, targets: [{{upstream: u}}]}}
{}",
        upstream("u", &at, ", models: [x]"),
        people()
    );
    let mut gateway = Setup::config(&config).prepare();
    let told = gateway.cli_ok(&["check"]);
    let place = |column: &str| format!(":4:{column}: `models[0].fallbacks[");
    assert!(told.contains(&place("60")) && told.contains(&place("72")), "{told}");
    assert!(
        told.contains("did you mean `cheap`?") && told.contains("nobody serves `made`"),
        "{told}"
    );
    assert!(!told.contains("nobody serves `x`") && !told.contains("`u/x`"), "{told}");
    gateway.restart();
    gateway.cli_ok(&["model", "add", "made", "--target", "u/x"]);
    let output = gateway.cli(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nobody serves `cheep`") && !said.contains("`made`"),
        "{said}"
    );
    // The server goes on without, and says so.
    gateway.wait_for_output("its fallback `cheep` is not served by any upstream");
}
