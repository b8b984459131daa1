//! The call's time limit in the middle of an answer, from outside: who let it pass decides who pays.

use std::time::Duration;

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, config, receipt_of, receipts, wait};
use serde_json::Value;
use testkit::gateway::Tollgate;
use testkit::upstream::{Behaviour, Upstream};

/// Heartbeats are due several times before the limit: an alarm that has rung before must not change the judgement.
const LIMITS: &str = "defaults: {retries: 0, heartbeat: 300ms}\nserver: {request_timeout: 2s}";

fn charged(receipt: &Value) -> i64 {
    receipt["charged"].as_i64().expect("nano-dollars")
}

#[test]
fn an_upstream_that_takes_too_long_is_paid_nothing() {
    for pause in [20, 350] {
        let upstream = Upstream::start();
        upstream.always(Behaviour::text(&"word ".repeat(2_000)).paced(Duration::from_millis(pause)));
        let gateway = Tollgate::start(&config(&upstream, LIMITS));
        let calls: Vec<_> = FORMATS
            .map(|format| {
                let request = format.stream(format.model()).bearer(CLIENT_KEY);
                let url = gateway.url();
                (format, std::thread::spawn(move || request.send(&url)))
            })
            .into();
        for (format, call) in calls {
            let response = call.join().expect("the client's thread");
            let text = response.text();
            assert!(
                format.ends_in_error(&text) && !format.looks_complete(&text),
                "{format:?}: {text}"
            );
            let receipt = receipt_of(&gateway, &response);
            assert_eq!(receipt["ending"], "upstream_gone", "{format:?}, {pause} ms: {receipt}");
            assert_eq!(charged(&receipt), 0, "{format:?}, {pause} ms: {receipt}");
        }
    }
}

#[test]
fn a_client_that_lets_its_answer_lie_pays_for_it() {
    let upstream = Upstream::start();
    // More than the sockets' buffers hold.
    upstream.always(Behaviour::text(&"word ".repeat(100_000)));
    let gateway = Tollgate::start(&config(&upstream, &LIMITS.replace("2s", "4s")));
    let request = Format::Chat.stream("gpt-4o").bearer(CLIENT_KEY);
    let mut exchange = request.timeout(Duration::from_secs(90)).open(&gateway.url()).unwrap();
    assert_eq!(exchange.head().expect("a head").status, 200);
    wait::lasts(Duration::from_secs(5));
    let response = exchange.finish();
    assert!(!Format::Chat.looks_complete(&response.text()[response.text().len().saturating_sub(500)..]));
    wait::until("the receipt", || !receipts(&gateway).is_empty());
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(receipt["ending"], "client_gone", "{receipt}");
    assert!(charged(&receipt) > 0, "{receipt}");
}
