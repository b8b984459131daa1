//! Two hundred parallel calls and a cent: nobody spends what they don't have, and what they have is not locked away.

use blackbox::{CLIENT_KEY, audit, books, config};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Upstream, Usage};

const CALLS: usize = 200;

/// A user with $0.01, policy `hard`, and a model of which a call costs $0.0001: 50 tokens in, 10 out.
fn start(upstream: &Upstream) -> Tollgate {
    let models = "models: [{name: gpt-4o, targets: [{upstream: openai-main, model: gpt-4o}], price: {input: 1.00, output: 5.00}}]\n";
    let yaml =
        config(upstream, models).replace("- {name: alice}", "- {name: alice, opening_credit: 0.01, policy: hard}");
    Setup::config(&yaml).start()
}

fn behaviour() -> Behaviour {
    Behaviour::answer(Answer::tokens(10).usage(Usage {
        input: 50,
        output: 10,
        ..Usage::default()
    }))
}

fn dollars(value: &Value) -> f64 {
    value
        .as_str()
        .expect("money is a decimal string")
        .parse()
        .expect("a number")
}

fn parallel(gateway: &Tollgate, body: &Value, leave: bool) -> Vec<u16> {
    let url = gateway.url();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (url, body) = (url.clone(), body.clone());
            std::thread::spawn(move || {
                let request = Request::post("/v1/chat/completions", &body).bearer(CLIENT_KEY);
                let mut exchange = request.open(&url).expect("connected");
                let status = exchange.head().map_or(0, |head| head.status);
                if leave && status == 200 {
                    exchange.next_chunk();
                    exchange.leave();
                } else {
                    let response = exchange.finish();
                    assert!(response.is_complete());
                }
                status
            })
        })
        .collect();
    calls.into_iter().map(|call| call.join().expect("a client")).collect()
}

fn assert_books(gateway: &mut Tollgate, statuses: &[u16]) {
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 402)),
        "{statuses:?}"
    );
    assert!(gateway.stop().success());
    let report = audit(gateway);
    let balance = gateway.cli_json(&["balance", "show", "alice", "--json"]);
    let left = dollars(&balance["balance"]);
    assert!(left >= 0.0, "overspent: {balance}");
    assert!(
        left <= 0.001,
        "only {} of 0.01 was spent before refusals: {report}",
        0.01 - left
    );
}

#[test]
fn a_hard_balance_is_spent_to_the_end_and_not_beyond() {
    let upstream = Upstream::start();
    upstream.always(behaviour());
    let mut gateway = start(&upstream);
    let body = json!({"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    let statuses = parallel(&gateway, &body, false);
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((90..=100).contains(&served), "{served} of {CALLS} were served");
    assert_eq!(held(&gateway), 0, "something is still held");
    assert_books(&mut gateway, &statuses);
}

#[test]
fn streams_that_are_left_early_pay_for_what_they_got() {
    let upstream = Upstream::start();
    upstream.always(behaviour().paced(std::time::Duration::from_millis(5)));
    let mut gateway = start(&upstream);
    let body =
        json!({"model": "gpt-4o", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    // Each pays a part of the price, so it takes more rounds until the cent is gone.
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.extend(parallel(&gateway, &body, true));
        if statuses.iter().filter(|status| **status == 402).count() > CALLS / 2 {
            break;
        }
    }
    assert!(statuses.contains(&402), "the cent never ended");
    upstream.wait_for_rest();
    assert_books(&mut gateway, &statuses);
}

/// What the server says is set aside for open calls, in nano-dollars.
fn held(gateway: &Tollgate) -> i64 {
    let balance = Request::get("/api/me/balance")
        .bearer(CLIENT_KEY)
        .send(&gateway.url())
        .json();
    books::nanos(&balance["held"])
}
