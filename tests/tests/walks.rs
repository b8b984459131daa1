//! What a call did after its beginning, made again from its record by `tollgate replay`: two tries beside each other, and
//! streams that broke off; and what another configuration would have done.

use std::fs;

use blackbox::wait::PATIENCE;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, books, receipt_of};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, At, Behaviour, Gate, How, Upstream};

struct World {
    gateway: Tollgate,
    all: [Upstream; 3],
}

/// Three upstreams of one model, asked in this order of priorities.
fn config(all: &[Upstream; 3], priorities: [u8; 3], model: &str) -> String {
    let mut upstreams = Vec::new();
    let mut targets = Vec::new();
    for ((upstream, priority), name) in all.iter().zip(priorities).zip(["one", "two", "three"]) {
        upstreams.push(format!(
            "  - {{name: {name}, provider: openai, base_url: \"{}\", models: [m], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n",
            upstream.v1()
        ));
        targets.push(format!(
            "{{upstream: {name}, model: m, priority: {priority}, capabilities: {{prefill: true}}}}"
        ));
    }
    format!(
        "logs: {{decisions: all}}
defaults: {{retries: 0, retry_delay: 100ms, idle_timeout: {}s}}
upstreams:
{}models:
  - {{name: main{model}, targets: [{}], price: {{input: 1.00, output: 1.00}}}}
users: [{{name: alice, opening_credit: 10.00}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
        PATIENCE.as_secs(),
        upstreams.concat(),
        targets.join(", ")
    )
}

impl World {
    fn new(model: &str) -> Self {
        let all = [Upstream::start(), Upstream::start(), Upstream::start()];
        let gateway = Setup::config(&config(&all, [0, 1, 2], model)).start();
        Self { gateway, all }
    }

    /// Makes a call; its id.
    fn call(&self, stream: bool) -> String {
        let hello = json!({"model": "main", "stream": stream, "messages": [{"role": "user", "content": "hello"}]});
        let request = Request::post("/v1/chat/completions", &hello).bearer(CLIENT_KEY);
        let answer = request.send(&self.gateway.url());
        assert_eq!(answer.status(), 200, "{}", answer.text());
        books::settled(&self.gateway);
        let receipt = receipt_of(&self.gateway, &answer);
        receipt["call"].as_str().expect("its id").to_owned()
    }

    /// What is made of the call by its record, and by a configuration with these priorities.
    fn replayed(&self, call: &str, priorities: [u8; 3], model: &str) -> Value {
        let draft = config(&self.all, priorities, model);
        fs::write(self.gateway.path("draft.yaml"), draft).expect("a draft");
        self.gateway.cli_json(&["replay", call, "-c", "draft.yaml", "--json"])
    }
}

/// What is next, where, how that ended, and whether it is what the call did.
fn steps(walk: &Value) -> Vec<String> {
    let all = walk.as_array().unwrap_or_else(|| panic!("a walk: {walk}"));
    let word = |step: &Value, key: &str| step[key].as_str().unwrap_or("-").to_owned();
    all.iter()
        .map(|step| {
            let differs = if step["recorded"].is_null() { "" } else { " (differs)" };
            let (next, upstream, came) = (word(step, "next"), word(step, "upstream"), word(step, "came"));
            format!("{next} {upstream}: {came}{differs}")
        })
        .collect()
}

#[test]
fn a_call_that_was_sent_twice_is_walked_again() {
    const HEDGED: &str = ", hedge: {after: 50ms, budget: 100%}";
    let world = World::new(HEDGED);
    let gate = Gate::closed();
    world.all[0].then(Behaviour::text("from the first").hold_head(&gate));
    world.all[1].always(Behaviour::text("from the second"));
    let call = world.call(false);
    gate.open();

    let told = world.replayed(&call, [0, 1, 2], HEDGED);
    let both = ["first one: given up", "beside two: answered"];
    for made in ["replay", "with"] {
        assert_eq!(steps(&told[made]["walk"]), both, "{told}");
        assert_eq!(told[made]["walk_same"], true, "{told}");
    }
    // Not hedged: nobody knows how long the first would have taken.
    let told = world.replayed(&call, [0, 1, 2], "");
    assert_eq!(steps(&told["with"]["walk"]), ["first one: - (differs)"]);
    assert_eq!(told["with"]["walk_same"], false, "{told}");
    let text = world.gateway.cli_ok(&["replay", &call, "-c", "draft.yaml"]);
    assert!(
        text.contains("beside it") && text.contains("given up") && text.contains("was also sent to two/k1"),
        "{text}"
    );
    // The other one is asked first: that one answered.
    let told = world.replayed(&call, [1, 0, 2], HEDGED);
    assert_eq!(steps(&told["with"]["walk"]), ["first two: answered (differs)"]);
    let told = world.replayed(&call, [0, 2, 1], HEDGED);
    let elsewhere = ["first one: given up", "beside three: - (differs)"];
    assert_eq!(steps(&told["with"]["walk"]), elsewhere);
}

#[test]
fn what_follows_a_stream_that_broke_off_is_walked_again() {
    let world = World::new(", recovery: true");
    let tokens = || Behaviour::answer(Answer::tokens(60).continuing());
    world.all[0].then(tokens().cut(At::Events(40), How::Close));
    world.all[1].then(Behaviour::refuse(testkit::upstream::Refusal::status(503)));
    world.all[2].always(tokens());
    let call = world.call(true);
    assert_eq!(
        world.all.each_ref().map(|upstream| upstream.received().len()),
        [1, 1, 1]
    );

    let told = world.replayed(&call, [0, 1, 2], ", recovery: true");
    for made in ["replay", "with"] {
        let walk = &told[made]["walk"];
        let told = steps(walk);
        assert!(told[0].starts_with("first one: broke off ("), "{told:?}");
        assert_eq!(
            told[1..],
            ["other two: 503 overloaded", "other three: answered"],
            "{walk}"
        );
    }
    assert_eq!(
        (&told["replay"]["walk_same"], &told["with"]["walk_same"]),
        (&json!(true), &json!(true))
    );
    let told = world.replayed(&call, [0, 2, 1], ", recovery: true");
    let walk = steps(&told["with"]["walk"]);
    assert!(walk[0].starts_with("first one: broke off ("), "{walk:?}");
    assert_eq!(walk[1..], ["other three: answered (differs)"], "{told}");
    assert_eq!(told["with"]["walk_same"], false);
}
