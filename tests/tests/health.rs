//! Upstreams that are looked after while nobody calls, and the connection tester.

use std::time::Duration;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, wait};
use serde_json::Value;
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Refusal, Upstream};

const ADMIN: &str = "admin-token-of-the-operator-0123456789";

struct World {
    main: Upstream,
    spare: Upstream,
    gateway: Tollgate,
}

impl World {
    /// Two upstreams of one model, of which the first is probed so.
    fn new(health: &str, key: &str) -> Self {
        let (main, spare) = (Upstream::start(), Upstream::start());
        let breaker = "breaker: {failures: 3, window: 60s, open: 1h}";
        let config = format!(
            "upstreams:
  - {{name: main, provider: openai, base_url: \"{}\", models: [m], priority: 0, {breaker}, {health}, credentials: [{{name: k1, key: \"{key}\"}}]}}
  - {{name: spare, provider: openai, base_url: \"{}\", models: [m], priority: 1, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            main.v1(),
            spare.v1()
        );
        let gateway = Setup::config(&config).env("ADMIN_TOKEN", ADMIN).start();
        Self { main, spare, gateway }
    }

    fn ask(&self) -> Response {
        let response = Format::Chat.call("m").bearer(CLIENT_KEY).send(&self.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        response
    }

    /// How the first upstream's credential stands.
    fn standing(&self) -> Value {
        let accounts = Request::get("/api/accounts")
            .bearer(ADMIN)
            .send(&self.gateway.url())
            .json();
        let mut rows = accounts["accounts"].as_array().cloned().unwrap_or_default();
        rows.retain(|row| row["upstream"] == "main");
        rows.pop().unwrap_or_default()
    }

    fn metrics(&self) -> String {
        Request::get("/metrics").bearer(ADMIN).send(&self.gateway.url()).text()
    }

    fn probes(&self) -> usize {
        self.main
            .received()
            .iter()
            .filter(|received| received.path().ends_with("/models"))
            .count()
    }
}

#[test]
fn an_outage_is_found_before_anybody_calls_and_so_is_its_end() {
    let world = World::new("health: {every: 200ms, probe: models}", UPSTREAM_KEY);
    wait::until("a probe", || world.probes() > 0);
    world.main.always(Behaviour::status(500));
    wait::until("the breaker to open", || world.standing()["breaker"] == "open");
    let standing = world.standing();
    assert_eq!(standing["probe"]["failure"], "server", "{standing}");
    assert!(
        world.metrics().contains("tollgate_upstream_up{upstream=\"main\"} 0"),
        "{}",
        world.metrics()
    );
    let response = world.ask();
    assert_eq!(
        (
            response.header("x-tollgate-upstream"),
            response.header("x-tollgate-attempts")
        ),
        (Some("spare"), Some("1")),
        "no caller pays for the outage with a try"
    );
    world.main.always(Behaviour::default());
    // Its breaker would stay open for an hour.
    wait::until("a call to be let through", || world.standing()["breaker"] != "open");
    assert_eq!(world.ask().header("x-tollgate-upstream"), Some("main"));
    assert_eq!(world.standing()["breaker"], "closed", "a call was answered");
    assert!(world.metrics().contains("tollgate_upstream_up{upstream=\"main\"} 1"));
    assert!(
        world
            .spare
            .received()
            .iter()
            .all(|received| !received.path().ends_with("/models")),
        "the other is not probed"
    );
}

#[test]
fn an_account_without_money_is_used_again_when_a_call_shows_that_it_has_some() {
    let world = World::new("health: {every: 200ms, probe: call}", UPSTREAM_KEY);
    world.main.always(Behaviour::refuse(Refusal::insufficient_quota()));
    wait::until("it to be noticed", || world.standing()["state"] == "out_of_credit");
    assert_eq!(world.ask().header("x-tollgate-upstream"), Some("spare"));
    world.main.always(Behaviour::default());
    wait::until("the credit to be noticed", || world.standing()["state"] == "ready");
    assert_eq!(world.ask().header("x-tollgate-upstream"), Some("main"));
    let receipts = blackbox::receipts(&world.gateway);
    assert_eq!(receipts.len(), 2, "probes are nobody's calls");
}

#[test]
fn nobody_is_probed_who_need_not_be() {
    let world = World::new("health: {probe: off}", UPSTREAM_KEY);
    for _ in 0..3 {
        world.ask();
    }
    assert_eq!(world.main.received().len(), 3);
}

#[test]
fn the_way_is_tried_step_by_step() {
    let world = World::new("health: {probe: off}", UPSTREAM_KEY);
    let steps = |world: &World| -> (bool, Vec<(String, bool)>) {
        let path = "/api/admin/upstreams/MAIN/test";
        let refused = Request::new("POST", path).bearer(CLIENT_KEY).send(&world.gateway.url());
        assert_eq!(refused.status(), 401, "{}", refused.text());
        let response = Request::new("POST", path).bearer(ADMIN).send(&world.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(!response.text().contains(UPSTREAM_KEY));
        let found = response.json();
        let steps = found["steps"].as_array().cloned().unwrap_or_default();
        let steps = steps
            .iter()
            .map(|step| (step["name"].as_str().unwrap_or_default().to_owned(), step["ok"] == true));
        (found["ok"] == true, steps.collect())
    };
    let owned = |steps: &[(&str, bool)]| {
        steps
            .iter()
            .map(|(name, ok)| ((*name).to_owned(), *ok))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        steps(&world),
        (
            true,
            owned(&[("dns", true), ("tcp", true), ("auth", true), ("call", true)])
        )
    );
    // Each step says how long it took: the upstream is slow, the way to it is not.
    world
        .main
        .always(Behaviour::text("hello").head_after(Duration::from_millis(300)));
    let path = "/api/admin/upstreams/main/test";
    let found = Request::new("POST", path)
        .bearer(ADMIN)
        .send(&world.gateway.url())
        .json();
    let took = |name: &str| {
        let mut steps = found["steps"].as_array().expect("steps").iter();
        let step = steps.find(|step| step["name"] == name).expect("a step");
        step["took_us"].as_u64().expect("microseconds")
    };
    assert!(took("call") >= 300_000, "{found}");
    assert!(took("dns") < 300_000 && took("tcp") < 300_000, "{found}");
    world.main.always(Behaviour::status(401));
    assert_eq!(
        steps(&world),
        (false, owned(&[("dns", true), ("tcp", true), ("auth", false)]))
    );
    world.main.refuse_connections();
    assert_eq!(steps(&world), (false, owned(&[("dns", true), ("tcp", false)])));
    let missing = Request::new("POST", "/api/admin/upstreams/nobody/test")
        .bearer(ADMIN)
        .send(&world.gateway.url());
    assert_eq!(missing.status(), 404, "{}", missing.text());
    let told = world.gateway.cli(&["upstream", "test", "nobody"]);
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.contains("says: there is no upstream `nobody`; `tollgate upstream list`"),
        "a sentence and the mend: {told}"
    );
    assert!(!told.contains('{'), "{told}");
}
