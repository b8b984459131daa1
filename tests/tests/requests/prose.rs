//! Providers quote prompts in their refusals. Whoever sent the prompt may read that; nothing of it is kept: neither in the
//! log, nor in receipts, nor anywhere else in the data folder. What is kept is the status, the class and the codes.

use std::path::Path;
use std::time::Duration;

use blackbox::books::settled;
use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config, receipt_of};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Gate, Upstream};

const PROMPT: &str = "PATIENTJOHNDOE0471 has";

fn quoting(status: u16) -> Behaviour {
    let body =
        format!(r#"{{"error":{{"message":"cannot handle: {PROMPT}","type":"some_type","code":"code_of_{status}"}}}}"#);
    Behaviour::raw(status, &[("content-type", "application/json")], body)
}

fn start(upstream: &Upstream) -> Tollgate {
    let more = "defaults: {retries: 0, heartbeat: 1s}\nlogs: {level: debug, decisions: all}\n";
    Setup::config(&config(upstream, more)).start()
}

/// Looks for the prompt in all that is kept.
fn assert_kept_nowhere(gateway: &Tollgate) {
    settled(gateway);
    let log = gateway.stdout() + &gateway.stderr();
    assert!(!log.contains("PATIENT"), "{log}");
    assert_not_below(gateway.dir());
}

fn assert_not_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_not_below(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(7).any(|window| window == b"PATIENT");
            assert!(!found, "{}", path.display());
        }
    }
}

#[test]
fn the_words_of_a_failed_attempt_are_kept_nowhere() {
    for status in [400, 401, 403, 408, 422, 429, 500, 503] {
        let upstream = Upstream::start();
        upstream.always(quoting(status));
        // A new one for each, in which no credential rests.
        let gateway = start(&upstream);
        for call in [Format::Chat.call("gpt-4o"), Format::Anthropic.stream("gpt-4o")] {
            let response = call.bearer(CLIENT_KEY).send(&gateway.url());
            assert_ne!(response.status(), 200);
            let is_callers = [400, 422].contains(&status);
            assert_eq!(response.text().contains(PROMPT), is_callers, "{}", response.text());
        }
        assert_kept_nowhere(&gateway);
        let log = gateway.stdout();
        let has_code = log.contains(&format!("some_type code_of_{status}"));
        assert!(
            has_code || [400, 422].contains(&status),
            "{status}: the codes are there: {log}"
        );
    }
}

#[test]
fn the_words_of_an_error_inside_an_answer_are_kept_nowhere() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let url = gateway.url();
    let chunk = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}"#;
    for code in ["context_length_exceeded", "server_error"] {
        let error = format!(r#"{{"error":{{"code":"{code}","message":"cannot handle: {PROMPT}"}}}}"#);
        for events in [
            format!("data: {error}\n\n"),
            format!("data: {chunk}\n\ndata: {error}\n\n"),
        ] {
            upstream.always(Behaviour::raw(200, &[("content-type", "text/event-stream")], events));
            for client in [Format::Chat, Format::Gemini] {
                client.stream("gpt-4o").bearer(CLIENT_KEY).send(&url);
            }
        }
        upstream.always(Behaviour::raw(200, &[("content-type", "application/json")], error));
        for client in [Format::Chat, Format::Gemini] {
            client.call("gpt-4o").bearer(CLIENT_KEY).send(&url);
        }
    }
    assert_kept_nowhere(&gateway);
}

/// The client has been sent 200 and heartbeats when the upstream refuses.
#[test]
fn a_late_refusal_is_recorded_like_an_early_one() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    for client in [Format::Chat, Format::Anthropic] {
        let gate = Gate::closed();
        upstream.always(quoting(422).hold_head(&gate));
        let call = client
            .stream("gpt-4o")
            .bearer(CLIENT_KEY)
            .timeout(Duration::from_secs(20));
        let mut exchange = call.open(&gateway.url()).unwrap();
        assert_eq!(exchange.head().unwrap().status, 200);
        assert!(exchange.next_chunk().is_some(), "a heartbeat");
        gate.open();
        let response = exchange.finish();
        let text = response.text();
        assert!(client.ends_in_error(&text) && text.contains(PROMPT), "{text}");
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(receipt["error"], "the upstream refused the request with status 422");
        assert_eq!(
            (&receipt["ending"], &receipt["status"]),
            (&"failed".into(), &422.into())
        );
    }
    assert_kept_nowhere(&gateway);
}
