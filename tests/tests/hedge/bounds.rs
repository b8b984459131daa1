//! What is not sent twice: beyond the budget and the balance, what does more than answer, and what was failed over.

use std::time::Duration;

use super::*;

#[test]
fn a_first_that_fails_soon_is_failed_over_as_ever() {
    let world = World::new(Format::Chat, "{after: 10m, budget: 100%}");
    world.first.then(Behaviour::status(401));
    let response = world.send(call(Format::Chat)).join().expect("a client");
    let receipt = receipt_of(&world.gateway, &response);
    assert!(attempts(&receipt).iter().all(|one| one["hedge"].is_null()), "{receipt}");
    assert_eq!(["won", "lost", "failed"].map(|outcome| world.counted(outcome)), [0; 3]);
    world.assert_books();
}

/// Who is asked in its place may take as long as it wants: what is hedged is the first attempt.
#[test]
fn who_is_failed_over_to_is_not_hedged() {
    let world = World::new(Format::Chat, "{after: 2s, budget: 100%}");
    let gates = [Gate::closed(), Gate::closed()];
    world.first.then(Behaviour::status(500));
    world.second.then(says("from the second").hold_head(&gates[0]));
    let sent = world.send(call(Format::Chat));
    world.second.wait_for_calls(1);
    world.first.then(says("from the first").hold_head(&gates[1]));
    let later = world.send(call(Format::Chat)).join().expect("a client");
    assert!(later.text().contains("from the second"), "{}", later.text());
    assert_eq!((world.counted("no_candidate"), world.counted("won")), (0, 1));
    gates[0].open();
    let response = sent.join().expect("a client");
    assert!(response.text().contains("from the second"), "{}", response.text());
    gates[1].open();
    world.assert_books();
}

#[test]
fn beyond_the_budget_there_is_no_second_attempt() {
    let world = World::new(Format::Chat, "{after: 50ms, budget: 50%}");
    let gate = Gate::closed();
    world.first.then(says("from the first").hold_head(&gate));
    let sent = world.send(call(Format::Chat));
    world.wait_for("over_budget");
    gate.open();
    let response = sent.join().expect("a client");
    assert!(response.text().contains("from the first"), "{}", response.text());
    assert_eq!(world.second.received().len(), 0);
    // Two calls have earned one.
    world.first.then(says("from the first").hold_head(&Gate::closed()));
    let response = world.send(call(Format::Chat)).join().expect("a client");
    assert!(response.text().contains("from the second"), "{}", response.text());
    world.assert_books();
}

/// A token per byte of the prompt and a hundred of output: the balance is enough for that, but not twice.
#[test]
fn where_the_money_is_not_there_for_both_there_is_no_second_attempt() {
    let world = World::with(Format::Chat, ALL, "retries: 0", "0.0003");
    let gate = Gate::closed();
    world.first.then(says("from the first").hold_head(&gate));
    let mut body = Format::Chat.body("main");
    body["max_tokens"] = json!(100);
    let sent = world.send(Request::post("/v1/chat/completions", &body));
    world.wait_for("over_balance");
    gate.open();
    let response = sent.join().expect("a client");
    assert!(response.text().contains("from the first"), "{}", response.text());
    assert_eq!(world.second.received().len(), 0);
    assert_eq!(
        receipt_of(&world.gateway, &response)["attempts"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn both_attempts_are_held_for_while_they_run() {
    let world = World::new(Format::Chat, ALL);
    let gates = [Gate::closed(), Gate::closed()];
    world.first.then(says("from the first").hold_head(&gates[0]));
    world.second.then(says("from the second").hold_head(&gates[1]));
    let plain = world.send(Request::post("/v1/chat/completions", &Format::Chat.body("plain")));
    world.first.wait_for_calls(1);
    let once = held(&world.gateway);
    gates[0].open();
    plain.join().expect("a client");
    let gate = Gate::closed();
    world.first.then(says("from the first").hold_head(&gate));
    let sent = world.send(call(Format::Chat));
    world.second.wait_for_calls(1);
    // The names of the models differ by a byte or so.
    let twice = held(&world.gateway);
    assert!(twice > once * 19 / 10, "{twice} is not twice {once}");
    gates[1].open();
    gate.open();
    sent.join().expect("a client");
    world.assert_books();
}

#[test]
fn two_hundred_at_once_spend_no_more_than_there_is() {
    const CALLS: usize = 200;
    let world = World::with(Format::Chat, "{after: 5ms, budget: 100%}", "retries: 0", "0.01");
    world
        .first
        .always(says("from the first").head_after(Duration::from_millis(20)));
    let mut served = 0;
    // Three rounds spend what there is. Some calls are sent twice, for others the money is held already.
    for round in 0.. {
        assert!(round < 10, "the cent never ended");
        let calls: Vec<_> = (0..CALLS).map(|_| world.send(call(Format::Chat))).collect();
        let statuses: Vec<u16> = calls
            .into_iter()
            .map(|call| call.join().expect("a client").status())
            .collect();
        let with = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!(with(200) + with(402), CALLS, "{statuses:?}");
        served += with(200) as i64;
        if with(402) > CALLS / 4 {
            break;
        }
    }
    assert!(world.counted("won") > 0 && world.counted("over_balance") > 0);
    books::settled(&world.gateway);
    let balance = books::balance(&world.gateway, "alice");
    assert_eq!(balance, 10_000_000 - served * ANSWER_NANOS, "each is paid once");
    assert!((0..100_000).contains(&balance), "{balance} left");
    audit(&world.gateway);
    assert_eq!(held(&world.gateway), 0);
}

/// What asks for more than an answer, or streams it.
fn never_sent_twice() -> Vec<Request> {
    let chat = |change: Value| {
        let mut body = Format::Chat.body("main");
        body.as_object_mut()
            .expect("an object")
            .extend(change.as_object().cloned().unwrap_or_default());
        Request::post("/v1/chat/completions", &body)
    };
    let response = |change: Value| {
        let mut body = json!({"model": "main", "input": "hi", "max_output_tokens": 16});
        body.as_object_mut()
            .expect("an object")
            .extend(change.as_object().cloned().unwrap_or_default());
        Request::post("/v1/responses", &body)
    };
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]);
    vec![
        Format::Chat.stream("main"),
        Format::Responses.stream("main"),
        chat(json!({"store": true})),
        chat(json!({"web_search_options": {"search_context_size": "low"}})),
        chat(json!({"messages": picture})),
        response(json!({})),
        response(json!({"store": true})),
        response(
            json!({"store": false, "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.com"}]}),
        ),
        Request::post(
            "/v1/images/generations",
            &json!({"model": "main", "prompt": "a cat", "n": 1}),
        ),
        Request::post(
            "/v1/audio/speech",
            &json!({"model": "main", "input": "hi", "voice": "alloy"}),
        ),
    ]
}

#[test]
fn what_does_more_than_answer_is_never_sent_twice() {
    let world = World::new(Format::Chat, ALL);
    let gate = Gate::closed();
    let requests = never_sent_twice();
    let count = requests.len();
    for _ in 0..count {
        world.first.then(says("from the first").hold_head(&gate));
    }
    let sent: Vec<_> = requests.into_iter().map(|request| world.send(request)).collect();
    world.first.wait_for_calls(count as u64);
    // A call that comes later is sent twice, so the time of all of them has passed.
    world.first.then(says("from the first").hold_head(&gate));
    let later = world.send(call(Format::Chat)).join().expect("a client");
    assert!(later.text().contains("from the second"), "{}", later.text());
    gate.open();
    for response in sent {
        let response = response.join().expect("a client");
        assert_eq!(response.status(), 200, "{}", response.text());
        assert_eq!(response.header("x-tollgate-upstream"), Some("first"));
    }
    assert_eq!(world.second.received().len(), 1, "the one that came later");
    world.assert_books();
}

#[test]
fn embeddings_and_the_like_are_hedged_too() {
    let world = World::new(Format::Chat, ALL);
    for (path, body) in [
        ("/v1/embeddings", json!({"model": "main", "input": "hi"})),
        (
            "/v1/completions",
            json!({"model": "main", "prompt": "hi", "max_tokens": 5}),
        ),
    ] {
        world.first.then(says("from the first").hold_head(&Gate::closed()));
        let response = world.send(Request::post(path, &body)).join().expect("a client");
        assert_eq!(
            response.header("x-tollgate-upstream"),
            Some("second"),
            "{path}: {}",
            response.text()
        );
    }
    world.assert_books();
}
