//! Policies at the front door: who pays in advance is refused beforehand, who does not is never stopped.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, books, config, receipt_of};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Chunking, Upstream, Usage};

fn start(upstream: &Upstream, user: &str, more: &str) -> Tollgate {
    Setup::config(&config(upstream, more).replace("- {name: alice}", user)).start()
}

#[test]
fn without_a_price_who_pays_in_advance_is_refused_unless_it_is_free() {
    let upstream = Upstream::start();
    let models = "models:
  - {name: gift, free: true, targets: [{upstream: openai-main, model: gpt-nobody-knows}]}
  - {name: priced, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-nobody-knows}]}
";
    let gateway = start(&upstream, "- {name: alice, opening_credit: 1.00, policy: hard}", models);
    let call = |model: &str| Format::Chat.call(model).bearer(CLIENT_KEY).send(&gateway.url());
    Format::Chat.assert_refusal(&call("gpt-nobody-knows"), 402);
    assert!(upstream.received().is_empty());
    for (model, charged) in [("gift", 0), ("priced", 12 * 1_000 + 7 * 5_000)] {
        let response = call(model);
        assert_eq!(response.status(), 200, "{model}: {}", response.text());
        assert_eq!(receipt_of(&gateway, &response)["charged"], charged, "{model}");
    }
}

/// What an operator adds to requests is held for as well.
#[test]
fn an_upstreams_parameters_are_part_of_what_a_call_may_cost() {
    let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 10.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    for params in ["n: 5", "max_completion_tokens: 500"] {
        let upstream = Upstream::start();
        let yaml = config(&upstream, models)
            .replace("- {name: alice}", "- {name: alice, opening_credit: 0.10, policy: hard}")
            .replace(
                "models: [\"gpt-*\"",
                &format!("params: {{{params}}}, models: [\"gpt-*\""),
            );
        let gateway = Setup::config(&yaml).start();
        let answer = Answer::tokens(10).usage(Usage::of(10, 500));
        upstream.always(Behaviour::answer(answer));
        let body = json!({"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
        let response = Request::post("/v1/chat/completions", &body)
            .bearer(CLIENT_KEY)
            .send(&gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(receipt["charged"], 10 * 1_000 + 500 * 10_000, "{params}: {receipt}");
        assert!(receipt.get("uncollected").is_none_or(|nanos| nanos == 0), "{receipt}");
    }
}

#[test]
fn without_a_price_others_are_served_and_it_is_flagged() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "- {name: alice, opening_credit: 1.00, policy: soft}", "");
    let response = Format::Chat
        .call("gpt-nobody-knows")
        .bearer(CLIENT_KEY)
        .send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(
        (receipt["charged"].as_i64(), receipt["usage"]["output"].as_u64()),
        (Some(0), Some(7)),
        "{receipt}"
    );
    assert!(receipt.get("rates").is_none_or(serde_json::Value::is_null), "{receipt}");
    books::settled(&gateway);
    assert_eq!(blackbox::audit(&gateway)["unpriced"], 1);
}

#[test]
fn policy_soft_lets_the_last_call_go_below_zero() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::answer(Answer::text("hi").usage(Usage::of(1_000, 1_000))));
    let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    let mut gateway = start(&upstream, "- {name: alice, opening_credit: 0.01, policy: soft}", models);
    let call = || {
        Format::Chat
            .call("gpt-4o")
            .bearer(CLIENT_KEY)
            .send(&gateway.url())
            .status()
    };
    assert_eq!([call(), call(), call()], [200, 200, 402], "$0.006 each of $0.01");
    let refused = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert!(
        refused
            .text()
            .contains("the balance is used up: -0.002 dollars are left"),
        "{}",
        refused.text()
    );
    assert!(gateway.stop().success());
    assert_eq!(books::balance(&gateway, "alice"), 10_000_000 - 2 * 6_000_000);
    gateway.restart();
    let refused = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    Format::Chat.assert_refusal(&refused, 402);
}

#[test]
fn a_call_that_may_cost_more_than_is_left_is_refused_before_it_is_made() {
    let upstream = Upstream::start();
    let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    let gateway = start(&upstream, "- {name: alice, opening_credit: 0.01, policy: hard}", models);
    let call = |body| {
        Request::post("/v1/chat/completions", &body)
            .bearer(CLIENT_KEY)
            .send(&gateway.url())
    };
    let messages = json!([{"role": "user", "content": "hi"}]);
    Format::Chat.assert_refusal(
        &call(json!({"model": "gpt-4o", "max_tokens": 100_000, "messages": messages})),
        402,
    );
    Format::Chat.assert_refusal(
        &call(json!({"model": "gpt-4o", "max_tokens": 1_000, "n": 128, "messages": messages})),
        402,
    );
    let by_reference = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/huge.png"}}]}]);
    Format::Chat.assert_refusal(
        &call(json!({"model": "gpt-4o", "max_tokens": 10, "messages": by_reference})),
        402,
    );
    // A picture of a hundred bytes may be counted as tens of thousands of tokens.
    let tiny = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]);
    Format::Chat.assert_refusal(
        &call(json!({"model": "gpt-4o", "max_tokens": 10, "messages": tiny})),
        402,
    );
    assert!(
        upstream.received().is_empty(),
        "what may cost too much must not be asked"
    );
    assert_eq!(
        call(json!({"model": "gpt-4o", "max_tokens": 100, "messages": messages})).status(),
        200
    );
}

/// The tap sees a word, the provider bills the reasoning that nobody saw: the balance has it, so it is taken.
#[test]
fn hidden_reasoning_of_a_stream_is_charged_under_hard() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::answer(Answer::text("42").usage(Usage {
        input: 10,
        output: 20_000,
        reasoning: 19_990,
        ..Usage::default()
    })));
    let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    for (credit, charged) in [("1.00", 10 * 1_000 + 20_000 * 5_000), ("0.05", 0)] {
        let gateway = start(
            &upstream,
            &format!("- {{name: alice, opening_credit: {credit}, policy: hard}}"),
            models,
        );
        let body = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let response = Request::post("/v1/chat/completions", &body)
            .bearer(CLIENT_KEY)
            .send(&gateway.url());
        assert!(response.is_complete(), "{}", response.text());
        let receipt = receipt_of(&gateway, &response);
        if charged > 0 {
            assert_eq!(receipt["charged"].as_i64(), Some(charged), "{receipt}");
        } else {
            let taken = receipt["charged"].as_i64().unwrap();
            assert!(
                (35_000_000..=50_000_000).contains(&taken),
                "all but less than a step: {receipt}"
            );
        }
        books::settled(&gateway);
        blackbox::audit(&gateway);
        assert!(books::balance(&gateway, "alice") >= 0);
    }
}

/// Who takes the answer so slowly that the call's time runs out has had it all the same.
#[test]
fn a_client_that_reads_slowly_pays_for_what_it_got_and_is_no_fault_of_the_upstream() {
    let upstream = Upstream::start();
    // More than the buffers of all sockets on the way can hold. The content type keeps the upstream from taking so long a
    // body apart; a stream it is all the same.
    let text = "x".repeat(100_000);
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let plain = [("content-type", "application/json")];
    upstream.always(Behaviour::raw(200, &plain, event.repeat(250)).chunked(Chunking::Size(65_536)));
    let more = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]
server: {request_timeout: 3s}
defaults: {retries: 0}
";
    let yaml = config(&upstream, more).replace("models: [\"gpt-*\"", "breaker: {failures: 1}, models: [\"gpt-*\"");
    let gateway = Setup::config(&yaml).start();
    let mut exchange = Format::Chat
        .stream("gpt-4o")
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .expect("connected");
    assert!(exchange.read_until("xxx"));
    // The slowness is what is tested.
    std::thread::sleep(std::time::Duration::from_millis(3_500));
    let response = exchange.finish();
    assert!(!response.text().contains("[DONE]"), "the time was over");
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(receipt["ending"], "client_gone", "{receipt}");
    assert!(
        receipt["charged"].as_i64().is_some_and(|charged| charged > 0),
        "{receipt}"
    );
    upstream.always(Behaviour::text("hi"));
    let next = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(
        next.status(),
        200,
        "the breaker of a good upstream was opened: {}",
        next.text()
    );
}

#[test]
fn searches_that_the_provider_may_run_are_held_for() {
    let upstream = Upstream::start();
    let models = "models: [{name: finder, price: {input: 0.01, output: 0.01, web_searches: 10.00}, targets: [{upstream: claude, model: claude-sonnet-4-5}]}]\n";
    let gateway = start(&upstream, "- {name: alice, opening_credit: 0.05, policy: hard}", models);
    let call = |tool| {
        let mut body = Format::Anthropic.body("finder");
        body["tools"] = json!([tool]);
        Request::post(Format::Anthropic.path("finder").as_str(), &body)
            .bearer(CLIENT_KEY)
            .send(&gateway.url())
    };
    for tool in [
        json!({"type": "web_search_20250305", "name": "web_search"}),
        json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 5}),
    ] {
        Format::Anthropic.assert_refusal(&call(tool), 402);
    }
    assert!(
        upstream.received().is_empty(),
        "five searches and their results may cost more"
    );
    for tool in [
        json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 4}),
        json!({"type": "web_fetch_20250910", "name": "web_fetch"}),
    ] {
        let response = call(tool);
        assert_eq!(response.status(), 200, "{}", response.text());
    }
}

#[test]
fn policy_unlimited_is_metered_and_never_refused() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "- {name: alice}", "");
    for format in FORMATS {
        for _ in 0..3 {
            let response = format.call(format.model()).bearer(CLIENT_KEY).send(&gateway.url());
            assert_eq!(response.status(), 200, "{}", response.text());
            assert!(receipt_of(&gateway, &response)["charged"].as_i64().unwrap() > 0);
        }
    }
    books::settled(&gateway);
    assert!(books::balance(&gateway, "alice") < 0, "what was used is on the account");
}
