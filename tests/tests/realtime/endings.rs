//! However a session ends, it is settled; and nobody is left to wonder.

use std::time::Duration;

use serde_json::json;
use testkit::socket::Came;
use testkit::upstream::Gate;

use super::*;

#[test]
fn kill_9_loses_no_response_that_reached_its_client() {
    let upstream = Upstream::start();
    talks(&upstream, {
        let mut turns = answering(100, 10);
        turns.extend([
            heard("response.create"),
            created("resp_2"),
            delta("resp_2", "never finished"),
            heard("never"),
        ]);
        turns
    });
    let mut gateway = start(&upstream, ", opening_credit: 1.00, policy: hard");
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    socket.until("response.done");
    socket.say_json(&ask());
    socket.until("response.output_text.delta");
    gateway.kill9();
    assert_eq!(socket.hear(), Came::Gone);
    gateway.restart();
    blackbox::books::settled(&gateway);
    let charged: Vec<_> = receipts(&gateway)
        .into_values()
        .map(|receipt| receipt["charged"].clone())
        .collect();
    assert_eq!(charged, [json!(150_000)]);
    assert_eq!(blackbox::books::balance(&gateway, "alice"), 1_000_000_000 - 150_000);
}

#[test]
fn a_client_that_leaves_pays_for_what_the_cancelled_response_had_used() {
    let upstream = Upstream::start();
    talks(
        &upstream,
        vec![
            manual(),
            heard("response.create"),
            created("resp_1"),
            delta("resp_1", "Hello"),
            heard("response.cancel"),
            Turn::Say(done_event("resp_1", "cancelled", &tokens(50, 4))),
        ],
    );
    let gateway = start(&upstream, ", opening_credit: 1.00, policy: hard");
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    socket.until("response.output_text.delta");
    drop(socket);
    let (responses, session) = ended(&gateway);
    assert_eq!(responses[0]["ending"], "client_gone");
    assert_eq!(
        (&responses[0]["charged"], &responses[0]["usage_source"]),
        (&json!(70_000), &json!("reported"))
    );
    assert_eq!(session["ending"], "client_gone");
    let call = upstream.wait_for("a goodbye", |call| {
        call.messages.iter().any(|said| said.starts_with("close"))
    });
    assert!(
        call.messages.iter().any(|said| said.contains("resp_1")),
        "{:?}",
        call.messages
    );
}

#[test]
fn what_nobody_reports_is_estimated_from_what_was_relayed() {
    let upstream = Upstream::start();
    let sound = json!({"type": "response.output_audio.delta", "response_id": "resp_1", "delta": "A".repeat(32_000)});
    talks(
        &upstream,
        vec![
            manual(),
            heard("response.create"),
            created("resp_1"),
            delta("resp_1", "Seven bytes, and seven more."),
            Turn::Say(sound.to_string()),
            heard("never"),
        ],
    );
    let gateway = start(&upstream, ", opening_credit: 1.00, policy: hard");
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    socket.until("response.output_audio.delta");
    socket.close(1000);
    let (responses, _) = ended(&gateway);
    let receipt = &responses[0];
    assert_eq!(
        (&receipt["ending"], &receipt["usage_source"]),
        (&json!("client_gone"), &json!("estimated"))
    );
    assert_eq!(
        (&receipt["usage"]["output"], &receipt["usage"]["output_audio"]),
        (&json!(18), &json!(10))
    );
    assert!(receipt["charged"].as_i64().unwrap() > 500_000, "{receipt}");
}

#[test]
fn an_upstream_that_breaks_off_is_told_of_and_not_paid_for() {
    let upstream = Upstream::start();
    for end in [Turn::Reset, Turn::HangUp] {
        let mut turns = answering(50, 10);
        turns.extend([heard("response.create"), created("resp_2"), delta("resp_2", "x"), end]);
        upstream.always(Behaviour::talk(Talk::of(turns)));
        let gateway = start(&upstream, ", opening_credit: 1.00, policy: hard");
        let mut socket = connect(&gateway);
        socket.say_json(&ask());
        socket.until("response.done");
        socket.say_json(&ask());
        assert_eq!(socket.until("error")["error"]["code"], "upstream_error");
        assert_eq!(socket.hear(), Came::Close(Some((1011, String::new()))));
        let (responses, session) = ended(&gateway);
        let charged: Vec<_> = responses
            .iter()
            .map(|receipt| (&receipt["ending"], &receipt["charged"]))
            .collect();
        assert_eq!(
            charged,
            [
                (&json!("complete"), &json!(100_000)),
                (&json!("upstream_gone"), &json!(0))
            ]
        );
        assert_eq!(session["ending"], "upstream_gone");
    }
}

#[test]
fn an_upstreams_goodbye_is_the_clients() {
    let upstream = Upstream::start();
    talks(
        &upstream,
        vec![
            manual(),
            Turn::Close(4001, format!("no more for {}", blackbox::UPSTREAM_KEY)),
        ],
    );
    let gateway = start(&upstream, "");
    let mut socket = connect(&gateway);
    match socket.hear() {
        Came::Close(Some((4001, reason))) => assert!(
            reason.starts_with("no more for *") && !reason.contains("sk-"),
            "{reason}"
        ),
        other => panic!("{other:?}"),
    }
    ended(&gateway);
}

#[test]
fn a_stalled_upstream_is_given_up() {
    let upstream = Upstream::start();
    talks(
        &upstream,
        vec![manual(), heard("response.create"), created("resp_1"), heard("never")],
    );
    let yaml = configured(&upstream, "").replace(
        "provider: openai, base_url",
        "provider: openai, timeouts: {idle: 300ms}, base_url",
    ) + "defaults: {heartbeat: 100ms}\n";
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    // It answers to signs of life, so a session in which nobody speaks goes on.
    for _ in 0..5 {
        while socket.came() != Came::Ping {}
    }
    socket.say_json(&ask());
    assert_eq!(socket.until("error")["error"]["code"], "upstream_timeout");
    assert_eq!(socket.hear(), Came::Close(Some((1011, String::new()))));
    assert_eq!(ended(&gateway).0[0]["ending"], "upstream_gone");
}

#[test]
fn a_session_has_its_time() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual()]);
    let yaml = configured(&upstream, "").replace(
        "provider: openai, base_url",
        "provider: openai, timeouts: {session: 300ms}, base_url",
    ) + "defaults: {heartbeat: 100ms}\n";
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    assert_eq!(socket.until("error")["error"]["code"], "request_timeout");
    assert_eq!(socket.hear(), Came::Close(Some((1008, String::new()))));
    assert_eq!(ended(&gateway).1["ending"], "limit");
}

#[test]
fn a_slow_client_slows_the_upstream_down() {
    let upstream = Upstream::start();
    let piece = "x".repeat(1024 * 1024);
    let mut turns = vec![manual()];
    turns.extend((0..64).map(|_| Turn::Say(piece.clone())));
    turns.push(heard("done"));
    talks(&upstream, turns);
    let gateway = start(&upstream, "");
    let mut socket = connect(&gateway);
    // What the sockets' buffers hold may have been sent; far less than all.
    let sent = || upstream.received()[0].body_sent;
    let mut last = 0;
    blackbox::wait::until("the upstream to be held up", || {
        let now = sent();
        std::mem::replace(&mut last, now) == now && now > 1024 * 1024
    });
    assert!(last < 48 * 1024 * 1024, "{last} bytes went into the gateway");
    for _ in 0..64 {
        assert_eq!(socket.text().len(), piece.len());
    }
    socket.say("done");
    socket.close(1000);
    ended(&gateway);
}

#[test]
fn a_stop_waits_for_sessions_and_then_says_goodbye() {
    let upstream = Upstream::start();
    let gate = Gate::closed();
    talks(
        &upstream,
        vec![
            manual(),
            heard("response.create"),
            created("resp_1"),
            Turn::Hold(gate.clone()),
            done("resp_1", 50, 10),
            heard("response.create"),
            created("resp_2"),
            delta("resp_2", "x"),
            heard("never"),
        ],
    );
    let yaml = configured(&upstream, ", opening_credit: 1.00, policy: hard");
    let mut gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    socket.say_json(&ask());
    socket.until("response.created");
    gateway.sigterm();
    blackbox::wait::until("the port to close", || {
        std::net::TcpStream::connect(("127.0.0.1", gateway.port())).is_err()
    });
    gate.open();
    socket.until("response.done");
    socket.say_json(&ask());
    socket.until("response.output_text.delta");
    assert_eq!(socket.until("error")["error"]["code"], "gateway_saturated");
    assert_eq!(socket.hear(), Came::Close(Some((1001, String::new()))));
    gateway.wait_for_exit();
    let (responses, session) = told(&gateway);
    let charged: Vec<_> = responses
        .iter()
        .map(|receipt| (&receipt["ending"], &receipt["charged"]))
        .collect();
    assert_eq!(
        charged,
        [(&json!("complete"), &json!(100_000)), (&json!("limit"), &json!(0))]
    );
    assert_eq!(session["ending"], "limit");
    blackbox::audit(&gateway);
}

#[test]
fn a_vanished_client_is_noticed() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual()]);
    let yaml = configured(&upstream, "").replace(
        "provider: openai, base_url",
        "provider: openai, timeouts: {idle: 300ms}, base_url",
    ) + "defaults: {heartbeat: 100ms}\n";
    let gateway = Setup::config(&yaml).start();
    let socket = connect(&gateway);
    // It reads nothing more, so it answers to no sign of life.
    blackbox::wait::within(Duration::from_secs(20), "the session's end", || {
        receipts(&gateway)
            .values()
            .any(|receipt| receipt["ending"] == "client_gone")
    });
    drop(socket);
}
