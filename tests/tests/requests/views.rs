//! What people read about themselves by API key, in our own form and in one-api's, and what operators read by token.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, books, config, wait};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Upstream, Usage};

const ADMIN: &str = "admin-token-of-the-operator-0123456789";
/// Nano-dollars of one call: 50 input tokens at $1, 10 output tokens at $5 per million.
const CALL: i64 = 50 * 1_000 + 10 * 5_000;

fn start(upstream: &Upstream) -> Tollgate {
    upstream.always(Behaviour::answer(Answer::text("hi").usage(Usage::of(50, 10))));
    let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    let yaml = config(upstream, models).replace(
        "- {name: alice}",
        "- {name: alice, opening_credit: 10.50, policy: hard}",
    );
    Setup::config(&yaml).env("ADMIN_TOKEN", ADMIN).start()
}

fn get(gateway: &Tollgate, path: &str, key: &str) -> Value {
    let response = Request::get(path).bearer(key).send(&gateway.url());
    assert_eq!(response.status(), 200, "{path}: {}", response.text());
    response.json()
}

fn call(gateway: &Tollgate) {
    let response = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
}

#[test]
fn people_see_their_balance_at_once() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let balance = || get(&gateway, "/api/me/balance", CLIENT_KEY);
    let before = balance();
    assert_eq!(books::nanos(&before["balance"]), 10_500_000_000, "{before}");
    assert_eq!(
        (before["user"].as_str(), before["policy"].as_str()),
        (Some("alice"), Some("hard")),
        "{before}"
    );
    for calls in 1..=3 {
        call(&gateway);
        let now = balance();
        // Booked or not yet: what may be spent is the same.
        assert_eq!(books::nanos(&now["available"]), 10_500_000_000 - calls * CALL, "{now}");
        assert_eq!(books::nanos(&now["held"]), 0, "{now}");
    }
    wait::until("the ledger to know", || {
        books::nanos(&balance()["balance"]) == 10_500_000_000 - 3 * CALL
    });
    let usage = get(&gateway, "/api/me/usage", CLIENT_KEY);
    assert_eq!(
        (
            usage["lifetime"]["calls"].as_i64(),
            usage["lifetime"]["output_tokens"].as_i64()
        ),
        (Some(3), Some(30)),
        "{usage}"
    );
    assert_eq!(books::nanos(&usage["lifetime"]["charged"]), 3 * CALL);
    let models = get(&gateway, "/api/me/models", CLIENT_KEY);
    let gpt = models["models"]
        .as_array()
        .unwrap()
        .iter()
        .find(|model| model["id"] == "gpt-4o")
        .expect("it is listed");
    assert_eq!(books::nanos(&gpt["price_per_million"]["input"]), 1_000_000_000, "{gpt}");
    for path in [
        "/api/me/balance",
        "/api/me/usage",
        "/api/me/models",
        "/v1/dashboard/billing/subscription",
        "/v1/dashboard/billing/usage",
    ] {
        assert_eq!(Request::get(path).send(&gateway.url()).status(), 401, "{path}");
        assert_eq!(
            Request::get(path)
                .bearer("sk-tg-wrong-0123456789")
                .send(&gateway.url())
                .status(),
            401,
            "{path}"
        );
        let wrong_method = Request::post(path, &json!({})).bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(wrong_method.status(), 405, "{path}: {}", wrong_method.text());
        assert_eq!(wrong_method.header("allow"), Some("GET,HEAD"), "{path}");
    }
}

#[test]
fn clients_of_one_api_read_their_balance() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    for _ in 0..2 {
        call(&gateway);
    }
    for prefix in ["", "/v1"] {
        let subscription = get(
            &gateway,
            &format!("{prefix}/dashboard/billing/subscription"),
            CLIENT_KEY,
        );
        let usage = get(
            &gateway,
            &format!("{prefix}/dashboard/billing/usage?start_date=2020-01-01&end_date=2099-01-01"),
            CLIENT_KEY,
        );
        let limit = subscription["hard_limit_usd"]
            .as_f64()
            .unwrap_or_else(|| panic!("{subscription}"));
        let cents = usage["total_usage"].as_f64().unwrap_or_else(|| panic!("{usage}"));
        assert!((limit - 10.5).abs() < 1e-9, "what was given: {subscription}");
        assert!(
            (cents - 2.0 * CALL as f64 / 1e7).abs() < 1e-9,
            "spent, in cents: {usage}"
        );
        assert!(subscription["object"] == "billing_subscription" && usage["object"] == "list");
    }
}

#[test]
fn operators_see_everything_and_nobody_else_does() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    upstream.then(Behaviour::status(500));
    call(&gateway);
    call(&gateway);
    books::settled(&gateway);
    let paths = ["/api/stats", "/api/accounts", "/api/requests?limit=50", "/metrics"];
    for path in paths {
        for request in [
            Request::get(path),
            Request::get(path).bearer(CLIENT_KEY),
            Request::get(path).bearer("wrong"),
        ] {
            assert_eq!(request.send(&gateway.url()).status(), 401, "{path}");
        }
    }
    let stats = get(&gateway, "/api/stats", ADMIN);
    assert_eq!(
        (stats["requests_total"].as_i64(), stats["upstreams"].as_i64()),
        (Some(2), Some(3)),
        "{stats}"
    );
    let accounts = get(&gateway, "/api/accounts", ADMIN);
    assert_eq!(accounts["accounts"].as_array().map(Vec::len), Some(3), "{accounts}");
    let requests = get(&gateway, "/api/requests?limit=50", ADMIN);
    let rows = requests["requests"].as_array().unwrap();
    let attempts: Vec<usize> = rows
        .iter()
        .map(|row| row["attempts"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(attempts, [1, 2], "newest first, with every attempt: {requests}");
    assert_eq!(
        get(&gateway, "/api/requests?limit=1", ADMIN)["requests"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    let metrics = Request::get("/metrics").bearer(ADMIN).send(&gateway.url());
    let text = metrics.text();
    assert_eq!(metrics.status(), 200, "{text}");
    for line in [
        "tollgate_calls_total{",
        "tollgate_open_calls 0",
        "tollgate_journal_healthy 1",
        "tollgate_charged_nanodollars_total 200000",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(text.trim_end().ends_with("# EOF"), "OpenMetrics ends so");
    assert!(
        !text.contains("alice") && !text.contains("laptop"),
        "labels name no user and no key:\n{text}"
    );
}
