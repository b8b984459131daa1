//! Strategies as they are seen from outside: whom calls go to, one after the other and beside each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, wait};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Gate, Upstream};

use super::{people, upstream};

struct World {
    gateway: Tollgate,
    upstreams: Vec<Upstream>,
}

impl World {
    /// As many upstreams as there are settings, all of which serve `m`.
    fn new(strategy: &str, settings: &[&str]) -> Self {
        let upstreams: Vec<Upstream> = settings.iter().map(|_| Upstream::start()).collect();
        let lines: String = upstreams
            .iter()
            .zip(settings)
            .enumerate()
            .map(|(n, (at, more))| upstream(&format!("u{n}"), at, &format!(", models: [m]{more}")))
            .collect();
        let config = format!(
            "defaults: {{strategy: {strategy}, retries: 0}}\nupstreams:\n{lines}{}",
            people()
        );
        Self {
            gateway: Setup::config(&config).start(),
            upstreams,
        }
    }

    fn call(&self) -> usize {
        answered_by(&self.gateway)
    }

    /// How many of so many calls went to each.
    fn shares(&self, calls: usize) -> Vec<usize> {
        let mut shares = vec![0; self.upstreams.len()];
        for _ in 0..calls {
            shares[self.call()] += 1;
        }
        shares
    }

    fn asked(&self) -> Vec<usize> {
        self.upstreams.iter().map(|at| at.received().len()).collect()
    }
}

fn answered_by(gateway: &Tollgate) -> usize {
    let response = Format::Chat.call("m").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    let name = response.header("x-tollgate-upstream").expect("a name").to_owned();
    name[1..].parse().expect("a number")
}

#[test]
fn round_robin_takes_turns_and_least_used_levels_out() {
    let world = World::new("round_robin", &["", "", ""]);
    let turns: Vec<usize> = (0..9).map(|_| world.call()).collect();
    assert!(turns.windows(4).all(|four| four[0] == four[3]), "{turns:?}");
    assert_eq!(world.asked(), [3, 3, 3]);

    let world = World::new("least_used", &["", "", ""]);
    assert_eq!(world.shares(9), [3, 3, 3]);
}

#[test]
fn random_asks_all_and_weighted_by_weight() {
    let shares = World::new("random", &["", "", ""]).shares(90);
    assert!(shares.iter().all(|share| (10..=55).contains(share)), "{shares:?}");
    // Five times the deviation that chance has: 8.7 of 400.
    let shares = World::new("weighted", &[", weight: 3", ", weight: 1"]).shares(400);
    assert!((256..=344).contains(&shares[0]), "{shares:?}");
}

#[test]
fn cheapest_asks_the_dearer_one_only_while_it_must() {
    let (cheap, dear) = (Upstream::start(), Upstream::start());
    let line = |name: &str, at: &Upstream| {
        format!(
            "  - {{name: {name}, provider: openai, base_url: \"{}\", breaker: {{failures: 1, window: 60s, open: 1s}}, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n",
            at.v1()
        )
    };
    let config = format!(
        "defaults: {{retries: 0}}\nupstreams:\n{}{}models:\n  - {{name: m, strategy: cheapest, targets: [{{upstream: u1, model: gpt-4o}}, {{upstream: u0, model: gpt-4o-mini}}]}}\n{}",
        line("u0", &cheap),
        line("u1", &dear),
        people()
    );
    let gateway = Setup::config(&config).start();
    let calls = || (0..6).map(|_| answered_by(&gateway)).collect::<Vec<_>>();
    assert_eq!(calls(), [0; 6], "by the catalog's prices");
    cheap.always(Behaviour::status(503));
    assert_eq!(calls(), [1; 6]);
    cheap.always(Behaviour::text("well again"));
    wait::until("the cheaper one to be asked again", || answered_by(&gateway) == 0);
    assert_eq!(calls(), [0; 6]);
}

#[test]
fn lowest_latency_leaves_the_slow_one_alone() {
    let world = World::new("lowest_latency", &["", "", ""]);
    world.upstreams[1].always(Behaviour::text("slow").head_after(Duration::from_millis(400)));
    world.shares(12);
    let shares = world.shares(60);
    assert!(shares[1] <= 6, "a fair share is 20: {shares:?}");
    assert!(shares[0] > 0 && shares[2] > 0, "{shares:?}");
}

/// Calls that are held at their upstream, all at once.
fn held(world: &World, calls: usize, request: impl Fn() -> Request + Sync, look: impl FnOnce(Vec<usize>)) {
    let gate = Gate::closed();
    for at in &world.upstreams {
        at.always(Behaviour::text("held").hold_head(&gate));
    }
    let before: usize = world.asked().iter().sum();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for begun in 1..=calls {
            scope.spawn(|| {
                let response = request().bearer(CLIENT_KEY).send(&world.gateway.url());
                assert_eq!(response.status(), 200, "{}", response.text());
                answered.fetch_add(1, Ordering::Relaxed);
            });
            // One after the other, so that each sees those before.
            wait::until("the call to be there", || {
                world.asked().iter().sum::<usize>() == before + begun
            });
        }
        look(world.asked());
        gate.open();
    });
    assert_eq!(answered.load(Ordering::Relaxed), calls);
}

#[test]
fn least_connections_avoids_who_is_busy() {
    let world = World::new("least_connections", &["", "", ""]);
    let gate = Gate::closed();
    let busy = &world.upstreams[0];
    busy.always(Behaviour::text("held").hold_head(&gate));
    std::thread::scope(|scope| {
        wait::until("a call to be there", || {
            if busy.received().is_empty() {
                scope.spawn(|| world.call());
            }
            !busy.received().is_empty()
        });
        let before = busy.received().len();
        assert!((0..9).all(|_| world.call() != 0));
        assert_eq!(busy.received().len(), before, "it is not its turn while it is busy");
        gate.open();
    });
    wait::until("it to be asked again", || world.call() == 0);
}

#[test]
fn one_session_does_not_crowd_its_upstream() {
    let world = World::new("sticky", &["", "", "", ""]);
    let request = || {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let body = json!({"model": "m", "user": "one", "messages": messages});
        Request::post("/v1/chat/completions", &body)
    };
    held(&world, 32, request, |asked| {
        let most = asked.iter().max().copied().unwrap_or_default();
        assert!((8..32).contains(&most), "home is preferred, up to a bound: {asked:?}");
        assert!(asked.iter().filter(|count| **count > 0).count() >= 2, "{asked:?}");
    });
}

/// Many calls that come while an upstream may be well again: one of them finds out, and the others do not wait for it.
#[test]
fn one_call_looks_whether_an_upstream_is_well_again() {
    let world = World::new(
        "round_robin",
        &[
            ", priority: 0, breaker: {failures: 1, window: 60s, open: 1s}",
            ", priority: 1",
        ],
    );
    let first = &world.upstreams[0];
    first.then(Behaviour::status(503));
    world.call();
    let gate = Gate::closed();
    first.always(Behaviour::text("well again").hold_head(&gate));
    std::thread::scope(|scope| {
        // Until its time has come, the other answers.
        wait::until("somebody to look", || {
            if first.received().len() < 2 {
                scope.spawn(|| world.call());
            }
            first.received().len() >= 2
        });
        let beside: Vec<_> = (0..24).map(|_| scope.spawn(|| world.call())).collect();
        let answered: Vec<usize> = beside.into_iter().map(|call| call.join().unwrap()).collect();
        assert_eq!(answered, [1; 24], "nobody waits for who looks");
        assert_eq!(first.received().len(), 2, "one looks");
        gate.open();
    });
    wait::until("calls to go there again", || world.call() == 0);
}
