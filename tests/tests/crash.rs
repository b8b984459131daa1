//! `kill -9` at any moment: what reached a client is billed exactly once, and nothing else is.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blackbox::{CLIENT_KEY, audit, config, receipts};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::Setup;
use testkit::upstream::{Answer, Behaviour, Upstream, Usage};

const CLIENTS: usize = 64;
const KILLS: usize = 20;
/// Nano-dollars of one call: 100 input tokens at $1, 10 output tokens at $5 per million.
const CALL_NANOS: i64 = 100 * 1_000 + 10 * 5_000;

/// Long enough that a hundred tokens are within the bound that its bytes give.
const PROMPT: &str =
    "Tell me, in ten words at most, what a journal is good for when a process may be killed at any moment.";

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Calls whose answer ended as HTTP says it must.
    complete: Mutex<HashSet<String>>,
    broken: AtomicU64,
    refused: AtomicU64,
}

fn load(url: &str, seen: &Seen, stop: &AtomicBool, client: usize) {
    let mut round = client;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let body = json!({"model": "gpt-4o", "stream": round.is_multiple_of(2), "max_tokens": 10,
            "messages": [{"role": "user", "content": PROMPT}]});
        let request = Request::post("/v1/chat/completions", &body)
            .bearer(CLIENT_KEY)
            .timeout(Duration::from_secs(20));
        let Ok(exchange) = request.open(url) else {
            // The process is down: the port is free until it is back.
            std::thread::yield_now();
            continue;
        };
        let response = exchange.finish();
        let id = response.header("x-request-id").map(str::to_owned);
        match id {
            Some(id) if response.is_complete() && response.status() == 200 => {
                let fresh = seen.complete.lock().expect("no client panicked").insert(id);
                assert!(fresh, "two answers with one call id");
            }
            _ if response.is_complete() => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                seen.broken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn every_answer_that_reached_a_client_has_exactly_one_receipt() {
    let upstream = Upstream::start();
    let usage = Usage {
        input: 100,
        output: 10,
        ..Usage::default()
    };
    upstream.always(Behaviour::answer(Answer::tokens(10).usage(usage)));
    let models = "models: [{name: gpt-4o, targets: [{upstream: openai-main, model: gpt-4o}], price: {input: 1.00, output: 5.00}}]\n";
    let yaml = config(&upstream, models).replace(
        "- {name: alice}",
        "- {name: alice, opening_credit: 100.00, policy: hard}",
    );
    let mut gateway = Setup::config(&yaml).start();
    let url = gateway.url();

    let seen = Arc::new(Seen::default());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (url, seen, stop) = (url.clone(), Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || load(&url, &seen, &stop, client))
        })
        .collect();
    // Moments spread over where a call can be, from the seed alone, so that a failing run can be repeated.
    let start = std::env::var("TOLLGATE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_120_u64);
    let mut random = start;
    for kill in 0..KILLS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let goal = seen.complete.lock().unwrap().len() + 20 + (random >> 33) as usize % 200;
        let patience = Instant::now() + Duration::from_secs(20);
        while seen.complete.lock().unwrap().len() < goal && Instant::now() < patience {
            std::thread::yield_now();
        }
        gateway.kill9();
        assert!(
            gateway.try_restart().is_ok(),
            "seed {start}: no start after kill {kill}"
        );
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }

    // A stop drains the journal into the ledger.
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    let receipts = receipts(&gateway);
    let seen_complete = seen.complete.lock().unwrap();
    let missing: Vec<_> = seen_complete.iter().filter(|id| !receipts.contains_key(*id)).collect();
    assert!(
        missing.is_empty(),
        "seed {start}: {} of {} answers have no receipt: {missing:?}",
        missing.len(),
        seen_complete.len()
    );
    let charged: i64 = receipts
        .values()
        .map(|receipt| receipt["charged"].as_i64().unwrap())
        .sum();
    for id in seen_complete.iter() {
        assert_eq!(
            receipts[id]["charged"].as_i64(),
            Some(CALL_NANOS),
            "seed {start}: {}",
            receipts[id]
        );
    }
    let report = audit(&gateway);
    let balance = gateway.cli_json(&["balance", "show", "alice", "--json"]);
    let left: f64 = balance["balance"].as_str().unwrap().parse().unwrap();
    let left_nanos = (left * 1e9).round() as i64;
    assert_eq!(
        left_nanos,
        100_000_000_000 - charged,
        "seed {start}: balance {balance}, audit {report}"
    );
    assert!(
        seen_complete.len() > KILLS * 20,
        "only {} answers were seen",
        seen_complete.len()
    );
}
