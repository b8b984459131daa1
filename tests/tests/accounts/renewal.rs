//! Renewing: before the end, once, by one of many, over a kill, and what is told when it cannot be.

use std::time::{Duration, Instant};

use blackbox::wait;
use serde_json::json;
use testkit::authority::Fault;
use testkit::gateway::Tollgate;

use crate::lab::{HAIKU, Lab, assert_done, call};

/// A token that is worth nothing by the time that a server starts.
fn with_a_spent_token() -> Lab {
    let mut lab = Lab::start();
    lab.gateway.stop();
    lab.authority.tokens_live(Duration::from_secs(1));
    lab.add_ok("me", "max");
    let issued = Instant::now();
    wait::until("the token to end", || issued.elapsed() > Duration::from_secs(1));
    lab.authority.tokens_live(Duration::from_hours(1));
    lab
}

/// Calls all at once; none may fail.
fn storm(gateways: &[&Tollgate], calls: usize) {
    std::thread::scope(|scope| {
        let one = |number: usize| {
            let gateway = gateways[number % gateways.len()];
            scope.spawn(move || call(gateway, HAIKU))
        };
        let all: Vec<_> = (0..calls).map(one).collect();
        for call in all {
            let response = call.join().expect("it does not panic");
            assert_eq!(response.status(), 200, "{}", response.text());
        }
    });
}

#[test]
fn fifty_calls_that_find_no_token_wait_for_one_renewal() {
    let mut lab = with_a_spent_token();
    lab.authority.fail_next(Fault::slow(Duration::from_secs(1)));
    lab.gateway.restart();
    storm(&[&lab.gateway], 50);
    assert_eq!(lab.authority.renewals(), 1);
    let bearer = lab.authority.newest_access_token();
    let received = lab.upstream.take_received();
    assert_eq!(received.len(), 50);
    let used: Vec<_> = received.iter().map(|call| call.credential.clone()).collect();
    assert!(
        used.iter().all(|used| used.as_ref() == Some(&bearer)),
        "{bearer} {used:?}"
    );
}

#[test]
fn an_endpoint_that_gives_tokens_no_life_is_not_asked_without_pause() {
    let mut lab = with_a_spent_token();
    lab.authority.tokens_live(Duration::ZERO);
    lab.gateway.restart();
    storm(&[&lab.gateway], 20);
    assert_eq!(lab.authority.renewals(), 1, "it is taken to live as long as others");
}

#[test]
fn replicas_renew_once_between_them() {
    let mut lab = with_a_spent_token();
    lab.authority.fail_next(Fault::slow(Duration::from_secs(2)));
    lab.gateway.restart();
    let other = lab.replica();
    storm(&[&lab.gateway, &other], 50);
    assert_eq!(lab.authority.renewals(), 1);
    lab.assert_nothing_was_spent_twice();
}

#[test]
fn a_token_is_renewed_before_it_ends_while_calls_go_on() {
    let lab = Lab::start();
    lab.authority.tokens_live(Duration::from_secs(4));
    lab.add_ok("me", "max");
    lab.wait_for("me");
    while lab.authority.renewals() < 3 {
        let response = lab.call(HAIKU);
        assert_eq!(response.status(), 200, "{}", response.text());
    }
    lab.assert_nothing_was_spent_twice();
    let received = lab.upstream.take_received();
    let mut used: Vec<_> = received.into_iter().filter_map(|call| call.credential).collect();
    used.dedup();
    assert!(used.len() >= 3, "{used:?}");
}

#[test]
fn a_rotated_token_outlives_a_kill() {
    let mut lab = Lab::start();
    lab.authority.tokens_live(Duration::from_secs(4));
    lab.add_ok("me", "max");
    lab.wait_for("me");
    for _ in 0..3 {
        let before = lab.listed("me")["token"]["generation"].as_i64().expect("a number");
        wait::until("the next pair to be kept", || {
            lab.listed("me")["token"]["generation"].as_i64() > Some(before)
        });
        // It is in the database and was never used.
        lab.gateway.kill9();
        let renewals = lab.authority.renewals();
        lab.gateway.restart();
        lab.authority.wait_for_renewals(renewals + 1);
        assert_eq!(lab.call(HAIKU).status(), 200);
        lab.assert_nothing_was_spent_twice();
    }
}

#[test]
fn a_client_that_hangs_up_and_a_stop_lose_no_token() {
    let mut lab = with_a_spent_token();
    lab.authority.fail_next(Fault::slow(Duration::from_secs(1)));
    lab.gateway.restart();
    wait::until("the renewal to begin", || lab.authority.renewals() == 1);
    let left = blackbox::format::Format::Anthropic
        .call(HAIKU)
        .bearer(blackbox::CLIENT_KEY);
    left.open(&lab.gateway.url()).expect("a connection").leave();
    lab.gateway.stop();
    lab.authority.wait_for_renewals(1);
    assert_eq!(lab.listed("me")["status"], "active", "it was kept before the end");
    lab.gateway.restart();
    assert_eq!(lab.call(HAIKU).status(), 200);
    lab.assert_nothing_was_spent_twice();
}

#[test]
fn passing_trouble_is_shown_and_passes() {
    let mut lab = with_a_spent_token();
    for fault in [
        Fault::status(500),
        Fault::status(429).header("retry-after", "1"),
        Fault::refusal("invalid_request"),
    ] {
        lab.authority.fail_next(fault);
    }
    lab.gateway.restart();
    wait::until("the trouble to be shown", || lab.listed("me")["trouble"].is_string());
    assert_eq!(lab.listed("me")["needs_login"], json!(null));
    lab.authority.wait_for_renewals(4);
    wait::until("it to be over", || lab.listed("me")["status"] == "active");
    assert_eq!(lab.listed("me")["trouble"], json!(null));
    wait::until("calls to be served", || lab.call(HAIKU).status() == 200);
}

#[test]
fn a_refresh_token_that_is_refused_wants_a_login_and_says_so() {
    let mut lab = with_a_spent_token();
    lab.authority.revoke_all();
    lab.gateway.restart();
    wait::until("it to be noticed", || lab.listed("me")["status"] == "needs_login");
    wait::until("the server to know", || lab.account("me")["state"] == "needs_login");
    let shown = lab.account("me");
    assert!(
        shown["needs_login"]
            .as_str()
            .is_some_and(|why| why.contains("invalid_grant")),
        "{shown}"
    );
    assert_eq!(lab.authority.renewals(), 1, "it is not asked again and again");
    let refused = lab.call(HAIKU);
    assert_eq!(refused.status(), 503, "{}", refused.text());
    let explain = ["explain", "--model", HAIKU, "--dialect", "anthropic_messages", "--json"];
    wait::until("it to be set aside", || {
        lab.gateway.cli_json(&explain)["excluded"][0]["reason"] == "needs_login"
    });
    let login = ["account", "login", "claude/me", "--code-stdin"];
    assert_done(&lab.log_in(&login, |url| lab.authority.log_in(url)));
    wait::until("calls to be served", || lab.call(HAIKU).status() == 200);
    assert_eq!(lab.account("me")["state"], "ready");
}

/// Moves the database away while this lives.
struct Away {
    from: std::path::PathBuf,
    to: std::path::PathBuf,
}

const FILES: [&str; 3] = ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm"];

impl Away {
    fn take(lab: &Lab) -> Self {
        let (from, to) = (lab.gateway.path("data"), lab.gateway.path("away"));
        std::fs::create_dir_all(&to).expect("a folder");
        for name in FILES {
            std::fs::rename(from.join(name), to.join(name)).ok();
        }
        Self { from, to }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        for name in FILES {
            std::fs::rename(self.to.join(name), self.from.join(name)).ok();
        }
    }
}

#[test]
fn nothing_is_spent_while_the_database_is_away() {
    let lab = Lab::start();
    lab.authority.tokens_live(Duration::from_secs(6));
    lab.add_ok("me", "max");
    lab.wait_for("me");
    let away = Away::take(&lab);
    // Calls go on with the token that there is, and end with it.
    assert_eq!(lab.call(HAIKU).status(), 200);
    wait::until("the token to end", || lab.call(HAIKU).status() == 503);
    assert_eq!(lab.authority.renewals(), 0);
    drop(away);
    wait::until("calls to be served again", || lab.call(HAIKU).status() == 200);
    lab.assert_nothing_was_spent_twice();
}

#[test]
fn a_pair_that_comes_while_the_database_is_away_is_kept_when_it_is_back() {
    let lab = Lab::start();
    lab.authority.tokens_live(Duration::from_secs(6));
    lab.add_ok("me", "max");
    lab.wait_for("me");
    lab.authority.tokens_live(Duration::from_hours(1));
    lab.authority.fail_next(Fault::slow(Duration::from_secs(2)));
    wait::until("the refresh token to be on its way", || lab.authority.renewals() == 1);
    let away = Away::take(&lab);
    lab.authority.wait_for_renewals(1);
    lab.gateway.wait_for_output("could not be kept yet");
    drop(away);
    wait::until("the new pair to be kept", || {
        lab.listed("me")["token"]["generation"] == 2
    });
    assert_eq!(lab.call(HAIKU).status(), 200);
    let used = lab.upstream.take_received().pop().expect("it was asked").credential;
    assert_eq!(used, Some(lab.authority.newest_access_token()));
    lab.assert_nothing_was_spent_twice();
}
