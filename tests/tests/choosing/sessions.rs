//! `sticky`: what belongs together meets the same upstream, until that one is gone, and again when it is back.

use std::collections::BTreeSet;

use blackbox::CLIENT_KEY;
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Upstream};

use super::{people, upstream};

struct World {
    gateway: Tollgate,
    upstreams: Vec<Upstream>,
}

impl World {
    fn new() -> Self {
        let upstreams: Vec<Upstream> = (0..4).map(|_| Upstream::start()).collect();
        let lines: String = upstreams
            .iter()
            .enumerate()
            .map(|(n, at)| {
                upstream(
                    &format!("u{n}"),
                    at,
                    ", models: [m], breaker: {failures: 1, window: 60s, open: 1s}",
                )
            })
            .collect();
        let config = format!(
            "defaults: {{strategy: sticky, retries: 0}}\nupstreams:\n{lines}{}",
            people()
        );
        Self {
            gateway: Setup::config(&config).start(),
            upstreams,
        }
    }

    fn home(&self, path: &str, body: &Value, session: Option<&str>) -> usize {
        let mut request = Request::post(path, body).bearer(CLIENT_KEY);
        if let Some(session) = session {
            request = request.header("x-tollgate-session", session);
        }
        let response = request.send(&self.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        let name = response.header("x-tollgate-upstream").expect("a name").to_owned();
        name[1..].parse().expect("a number")
    }

    fn chat(&self, more: &Value) -> usize {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.home("/v1/chat/completions", &body, None)
    }
}

#[test]
fn a_session_meets_the_same_upstream_however_it_is_named() {
    let world = World::new();
    let named = |n: usize| -> [usize; 5] {
        let name = format!("session-{n}");
        let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let claude = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "metadata": {"user_id": name}});
        let responses = json!({"model": "m", "input": "hi", "prompt_cache_key": name});
        [
            world.chat(&json!({"user": name})),
            world.chat(&json!({"prompt_cache_key": name})),
            world.home("/v1/chat/completions", &chat, Some(&name)),
            world.home("/v1/messages", &claude, None),
            world.home("/v1/responses", &responses, None),
        ]
    };
    let homes: Vec<_> = (0..12).map(named).collect();
    assert_eq!((0..12).map(named).collect::<Vec<_>>(), homes);
    for kind in 0..5 {
        let met: BTreeSet<usize> = homes.iter().map(|homes| homes[kind]).collect();
        assert!(met.len() >= 2, "all sessions met the same: {homes:?}");
    }
}

#[test]
fn later_turns_of_a_conversation_meet_the_upstream_of_the_first() {
    let world = World::new();
    for n in 0..8 {
        let system = json!({"role": "system", "content": format!("you are number {n}")});
        let first = json!({"role": "user", "content": "hello"});
        let home = world.chat(&json!({"messages": [system, first]}));
        let more = json!({"messages": [system, first, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go on"}]});
        assert_eq!(world.chat(&more), home);
    }
}

#[test]
fn sessions_move_only_while_they_must() {
    let world = World::new();
    let homes = || -> Vec<usize> {
        (0..24)
            .map(|n| world.chat(&json!({"user": format!("user-{n}")})))
            .collect()
    };
    let before = homes();
    let lost = before[0];
    world.upstreams[lost].always(Behaviour::status(503));
    let meanwhile = homes();
    for (home, then) in before.iter().zip(&meanwhile) {
        assert!(
            if *home == lost { *then != lost } else { then == home },
            "{before:?} became {meanwhile:?}"
        );
    }
    world.upstreams[lost].always(Behaviour::text("well again"));
    blackbox::wait::until("all sessions are at home again", || homes() == before);
}
