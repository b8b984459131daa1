//! What is charged and recorded where an answer broke off.

use std::time::Duration;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, receipt_of, receipts};
use serde_json::{Value, json};
use testkit::upstream::{At, Gate, How};

use crate::lab::{LIMIT, TAKES, World, attempts, whole};

#[test]
fn a_client_that_leaves_meanwhile_pays_nothing() {
    let format = Format::Anthropic;
    let world = World::new(format, format, "", [TAKES, ""]);
    let gate = Gate::closed();
    world.main.then(whole().cut(At::Events(40), How::Close));
    world.spare.then(whole().hold_head(&gate));
    let request = format.stream("main").bearer(CLIENT_KEY);
    let mut exchange = request.open(&world.gateway.url()).expect("a connection");
    assert!(exchange.read_until("t30 "));
    world.spare.wait_for_calls(1);
    exchange.leave();
    world.spare.wait_for_client_gone(1);
    gate.open();
    blackbox::wait::until("its receipt", || !receipts(&world.gateway).is_empty());
    let receipt = receipts(&world.gateway).into_values().next().expect("a receipt");
    assert_eq!(
        (&receipt["ending"], &receipt["charged"]),
        (&json!("client_gone"), &json!(0)),
        "{receipt}"
    );
    assert!(
        receipt["cost"].as_i64().is_some_and(|cost| cost > 0),
        "what it cost is recorded: {receipt}"
    );
    world.assert_healthy();
}

/// Nobody reports what an answer used whose client leaves: what the second was given is estimated as its prompt.
#[test]
fn the_text_so_far_is_prompt_of_who_goes_on() {
    let format = Format::Chat;
    let world = World::new(format, format, "", [TAKES, ""]);
    let gate = Gate::closed();
    world.main.then(whole().cut(At::Events(40), How::Close));
    world.spare.then(whole().hold(At::Events(15), &gate));
    let request = format.stream("main").bearer(CLIENT_KEY);
    let mut exchange = request.open(&world.gateway.url()).expect("a connection");
    assert!(exchange.read_until("t45 "));
    exchange.leave();
    world.spare.wait_for_client_gone(1);
    gate.open();
    blackbox::wait::until("its receipt", || !receipts(&world.gateway).is_empty());
    let receipt = receipts(&world.gateway).into_values().next().expect("a receipt");
    let [first, second] = attempts(&receipt).try_into().expect("two attempts");
    assert_eq!(second["recovered"], "continued", "{receipt}");
    assert_eq!(
        (&receipt["ending"], &receipt["usage_source"]),
        (&json!("client_gone"), &json!("estimated")),
        "{receipt}"
    );
    // Two bytes for every seven halves: the text that was told, as it is counted where it is output.
    let told = world.spare.received()[0].prefill().expect("it is given the beginning");
    let begun = (told.len() as u64 * 2).div_ceil(7);
    let input = |usage: &Value| usage["input"].as_u64().expect("tokens");
    assert_eq!(
        input(&receipt["usage"]),
        input(&first["broke"]["usage"]) + begun,
        "{receipt}"
    );
}

/// An attempt took until its answer's end, not until its beginning, however that end is.
#[test]
fn an_attempt_takes_until_its_stream_ends() {
    for (fault, failure) in [
        (None, Value::Null),
        (Some(How::Close), json!("reset")),
        (Some(How::Stall), json!("silence")),
    ] {
        let world = World::with_limit(LIMIT, Format::Chat, Format::Chat, "", ["", ""]);
        let behaviour = whole().paced(Duration::from_millis(10));
        world.spare.then(match fault {
            Some(how) => behaviour.cut(At::Events(40), how),
            None => behaviour,
        });
        let request = Format::Chat.stream("spare").bearer(CLIENT_KEY);
        let response = request.send(&world.gateway.url());
        let receipt = receipt_of(&world.gateway, &response);
        let [attempt] = attempts(&receipt).try_into().expect("one attempt");
        assert_eq!(attempt["failure"], failure, "{fault:?}: {receipt}");
        let took = attempt["took_ms"].as_u64().expect("milliseconds");
        assert!(took >= 300, "{fault:?}: {receipt}");
    }
}
