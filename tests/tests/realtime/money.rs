//! Policies: nobody spends what is not there, and what is there can be spent.

use blackbox::books;
use serde_json::json;
use testkit::client::Request;
use testkit::socket::Came;

use super::{
    CLIENT_KEY, Setup, Socket, TARGET, Tollgate, Turn, Upstream, Value, answering, ask, automatic, bearer, connect,
    created, delta, done, ended, heard, manual, talks,
};

/// 50 tokens in at $1 and 10 out at $5 per million.
const RESPONSE: i64 = 100_000;

/// As [`crate::start`], where sound costs what text does: bounds count the dearest.
fn start(upstream: &Upstream, user: &str) -> Tollgate {
    Setup::config(&configured(upstream, user)).start()
}

fn configured(upstream: &Upstream, user: &str) -> String {
    crate::configured(upstream, user).replace(", input_audio: 10.00, output_audio: 50.00, cache_read_audio: 0.20", "")
}

fn held(gateway: &Tollgate) -> i64 {
    let balance = Request::get("/api/me/balance")
        .bearer(CLIENT_KEY)
        .send(&gateway.url())
        .json();
    books::nanos(&balance["held"])
}

fn answering_always(input: u64, output: u64) -> Vec<Turn> {
    let mut turns = vec![manual()];
    for number in 0..200 {
        let id = format!("resp_{number}");
        turns.extend([heard("response.create"), created(&id), done(&id, input, output)]);
    }
    turns
}

/// Asks until it is refused in-band; how many responses there were.
fn ask_until_refused(socket: &mut Socket) -> i64 {
    for served in 0.. {
        socket.say_json(&ask());
        loop {
            let event = socket.json();
            match event["type"].as_str() {
                Some("response.done") => break,
                Some("error") => {
                    assert_eq!(event["error"]["code"], "insufficient_balance", "{event}");
                    assert_eq!(event["error"]["type"], "insufficient_quota");
                    return served;
                }
                _ => {}
            }
        }
    }
    unreachable!()
}

#[test]
fn a_hard_balance_is_held_for_each_response_and_never_exceeded() {
    let upstream = Upstream::start();
    talks(&upstream, answering_always(50, 10));
    let mut gateway = start(&upstream, ", opening_credit: 0.01, policy: hard");
    let mut socket = connect(&gateway);
    let served = ask_until_refused(&mut socket);
    // A response may cost some $0.0026 at first, and more as the conversation grows, so the last of them are refused; each costs $0.0001.
    assert!((50..=75).contains(&served), "{served}");
    let asked = upstream.received()[0].messages.len();
    assert_eq!(asked as i64, served, "what was refused was sent on");
    // With a bound of its own the rest can be spent, too.
    socket.say_json(&json!({"type": "response.create", "response": {"max_output_tokens": 10}}));
    assert_eq!(socket.until("response.done")["response"]["status"], "completed");
    socket.close(1000);
    assert_eq!(socket.hear(), Came::Close(Some((1000, String::new()))));
    let (responses, _) = ended(&gateway);
    assert!(
        responses
            .iter()
            .all(|receipt| receipt["charged"] == RESPONSE && receipt["uncollected"] == 0)
    );
    assert_eq!(held(&gateway), 0, "something is still held");
    assert!(gateway.stop().success());
    blackbox::audit(&gateway);
    assert_eq!(books::balance(&gateway, "alice"), 10_000_000 - (served + 1) * RESPONSE);
}

#[test]
fn a_response_that_costs_more_than_its_hold_takes_no_more_than_it() {
    let upstream = Upstream::start();
    talks(&upstream, answering(1_000_000, 1_000_000));
    let mut gateway = start(&upstream, ", opening_credit: 1.00, policy: hard");
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    socket.until("response.done");
    socket.close(1000);
    let (responses, _) = ended(&gateway);
    let charged = responses[0]["charged"].as_i64().unwrap();
    assert!(0 < charged && charged < 10_000_000, "{}", responses[0]);
    assert_eq!(charged + responses[0]["uncollected"].as_i64().unwrap(), 6_000_000_000);
    assert!(gateway.stop().success());
    assert_eq!(books::balance(&gateway, "alice"), 1_000_000_000 - charged);
}

#[test]
fn responses_that_the_server_begins_are_held_for_before_speech_is_sent() {
    let upstream = Upstream::start();
    let mut turns = vec![automatic()];
    for number in 0..200 {
        let id = format!("resp_{number}");
        turns.extend([heard("input_audio_buffer.append"), created(&id), done(&id, 50, 10)]);
    }
    talks(&upstream, turns);
    let mut gateway = start(&upstream, ", opening_credit: 0.01, policy: hard");
    let mut socket = connect(&gateway);
    assert!(held(&gateway) <= 1, "nothing is held for a session that says nothing");
    let speech = json!({"type": "input_audio_buffer.append", "audio": "AAAA"});
    let mut served = 0;
    let end = loop {
        socket.say_json(&speech);
        let event = loop {
            let event = socket.json();
            if matches!(event["type"].as_str(), Some("response.done" | "error")) {
                break event;
            }
        };
        if event["type"] == "error" {
            break event;
        }
        served += 1;
    };
    assert_eq!(end["error"]["code"], "insufficient_balance");
    assert_eq!(socket.hear(), Came::Close(Some((1008, String::new()))));
    assert!((60..=80).contains(&served), "{served}");
    let (responses, session) = ended(&gateway);
    assert!(responses.iter().all(|receipt| receipt["charged"] == RESPONSE));
    assert_eq!(session["ending"], "limit");
    assert_eq!(held(&gateway), 0);
    assert!(gateway.stop().success());
    assert!(books::balance(&gateway, "alice") >= 0);
}

#[test]
fn speech_that_cannot_be_answered_is_not_sent() {
    let upstream = Upstream::start();
    talks(&upstream, vec![automatic()]);
    let gateway = start(&upstream, ", opening_credit: 0.001, policy: hard");
    let mut socket = connect(&gateway);
    socket.say_json(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    assert_eq!(socket.until("error")["error"]["code"], "insufficient_balance");
    assert_eq!(socket.hear(), Came::Close(Some((1008, String::new()))));
    let call = upstream.wait_for("a goodbye", |call| !call.messages.is_empty());
    assert_eq!(call.messages, ["close 1000"], "speech was sent on");
    assert_eq!(held(&gateway), 0);
}

#[test]
fn a_response_that_nobody_foresaw_ends_the_session_if_it_cannot_be_held_for() {
    let upstream = Upstream::start();
    talks(
        &upstream,
        vec![
            manual(),
            created("resp_1"),
            done("resp_1", 50, 10),
            created("resp_2"),
            delta("resp_2", "x"),
            heard("never"),
        ],
    );
    let gateway = start(&upstream, ", opening_credit: 0.0026, policy: hard");
    let mut socket = connect(&gateway);
    socket.until("response.done");
    let end = socket.until("error");
    assert_eq!(end["error"]["code"], "insufficient_balance");
    assert_eq!(socket.hear(), Came::Close(Some((1008, String::new()))));
    let (responses, _) = ended(&gateway);
    let charged: Vec<_> = responses.iter().map(|receipt| &receipt["charged"]).collect();
    assert_eq!(charged, [&json!(RESPONSE), &json!(0)]);
    upstream.wait_for("a goodbye", |call| {
        call.messages.iter().any(|said| said.starts_with("close"))
    });
}

#[test]
fn what_the_server_refuses_is_not_held_for_any_more() {
    let upstream = Upstream::start();
    let error = |about: Value| {
        Turn::Say(
            json!({"type": "error", "event_id": "e", "error": {"type": "invalid_request_error", "code": "x",
            "message": "no", "param": null, "event_id": about}})
            .to_string(),
        )
    };
    talks(
        &upstream,
        vec![
            manual(),
            heard("response.create"),
            error(json!("mine")),
            heard("response.create"),
            error(Value::Null),
        ],
    );
    let gateway = start(&upstream, ", opening_credit: 0.01, policy: hard");
    let mut socket = connect(&gateway);
    for event_id in [json!("mine"), Value::Null] {
        let mut event = ask();
        if !event_id.is_null() {
            event["event_id"] = event_id;
        }
        socket.say_json(&event);
        socket.until("error");
        assert_eq!(held(&gateway), 0);
    }
    socket.close(1000);
    assert!(ended(&gateway).0.is_empty());
}

#[test]
fn a_response_that_is_told_twice_is_paid_once() {
    let upstream = Upstream::start();
    talks(&upstream, {
        let mut turns = answering(50, 10);
        turns.extend([done("resp_1", 50, 10), heard("end")]);
        turns
    });
    let gateway = start(&upstream, ", opening_credit: 1.00, policy: hard");
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    for _ in 0..2 {
        socket.until("response.done");
    }
    socket.close(1000);
    let charged: Vec<_> = ended(&gateway)
        .0
        .iter()
        .map(|receipt| receipt["charged"].clone())
        .collect();
    assert_eq!(charged, [json!(RESPONSE)]);
}

#[test]
fn a_key_that_is_taken_away_gets_no_more_responses() {
    let upstream = Upstream::start();
    talks(&upstream, answering_always(50, 10));
    let yaml = configured(&upstream, "");
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    socket.until("response.done");
    let without = yaml
        .lines()
        .filter(|line| !line.contains("laptop"))
        .collect::<Vec<_>>()
        .join("\n");
    gateway.write_config(&without.replace("keys:\n", ""));
    let key = bearer();
    blackbox::wait::until("the key to be gone", || {
        Socket::open(&gateway.url(), TARGET, &[("authorization", &key)]).is_err_and(|refused| refused.status == 401)
    });
    socket.say_json(&ask());
    assert_eq!(socket.until("error")["error"]["code"], "invalid_api_key");
}

#[test]
fn a_soft_balance_is_looked_at_before_each_response() {
    let upstream = Upstream::start();
    talks(&upstream, answering_always(2_000, 2_000));
    // Each response costs $0.012.
    let mut gateway = start(&upstream, ", opening_credit: 0.02, policy: soft");
    let mut socket = connect(&gateway);
    assert_eq!(
        ask_until_refused(&mut socket),
        2,
        "the last may go below zero, the next is refused"
    );
    socket.close(1000);
    ended(&gateway);
    let key = bearer();
    let refused = Socket::open(&gateway.url(), TARGET, &[("authorization", &key)]).expect_err("nothing is left");
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (402, &json!("insufficient_balance"))
    );
    assert!(gateway.stop().success());
    assert_eq!(books::balance(&gateway, "alice"), 20_000_000 - 24_000_000);
}

#[test]
fn who_pays_in_advance_needs_a_price_for_everything() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual(), heard("session.update"), heard("never")]);
    let yaml = configured(&upstream, ", opening_credit: 1.00, policy: hard")
        .replace("models: [\"gpt-*\"", "models: [\"own-*\", \"gpt-*\"");
    let gateway = Setup::config(&yaml).start();
    let key = bearer();
    let refused = Socket::open(
        &gateway.url(),
        "/v1/realtime?model=own-voice",
        &[("authorization", &key)],
    );
    let refused = refused.expect_err("no price is known");
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (402, &json!("unpriced_model"))
    );
    let mut socket = connect(&gateway);
    let update = json!({"type": "session.update", "event_id": "u1", "session": {"type": "realtime",
        "audio": {"input": {"transcription": {"model": "own-scribe"}}}}});
    socket.say_json(&update);
    let error = socket.until("error");
    assert_eq!(
        (&error["error"]["code"], &error["error"]["event_id"]),
        (&json!("unpriced_model"), &json!("u1"))
    );
    assert!(
        upstream.received()[0].messages.is_empty(),
        "what was refused was sent on"
    );
}

#[test]
fn a_key_for_some_models_has_no_other_write_down_what_is_spoken() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual()]);
    let yaml = configured(&upstream, "").replace(
        &format!("key: \"{CLIENT_KEY}\"}}"),
        &format!("key: \"{CLIENT_KEY}\", models: [voice]}}"),
    );
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    socket
        .say_json(&json!({"type": "session.update", "session": {"input_audio_transcription": {"model": "whisper-1"}}}));
    assert_eq!(socket.until("error")["error"]["code"], "not_allowed");
}
