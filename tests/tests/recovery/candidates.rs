//! Who is asked to go on, how often, and what nobody is asked to go on with.

use blackbox::receipt_of;
use serde_json::json;
use testkit::client::Request;
use testkit::upstream::{Answer, At, Behaviour, How, Refusal};

use crate::lab::{ADMIN, REFUSES, TAKES, attempts, each, whole};

/// What providers say who take no beginning.
const NO_PREFILL: &str =
    "This model does not support assistant message prefill. The conversation must end with a user message.";

#[test]
fn r14_who_refuses_the_beginning_is_passed_over() {
    let refusal = || Behaviour::refuse(Refusal::status(400).message(NO_PREFILL));
    each("", [TAKES, TAKES], |world| {
        world.main.then(whole().cut(At::Events(40), How::Close));
        world.spare.then(refusal());
        let (response, _) = world.ask();
        world.assert_all_tokens(&response);
        assert_eq!(world.asked(), [1, 1, 1], "{:?}", world.format);
        let receipt = receipt_of(&world.gateway, &response);
        let [_, refused, last] = attempts(&receipt).try_into().expect("three attempts");
        assert_eq!(
            (&refused["status"], &last["recovered"]),
            (&json!(400), &json!("continued")),
            "{receipt}"
        );
        assert_eq!(refused["failure"], "unfit", "{receipt}");
        // It was sent: its provider counts it too.
        let accounts = Request::get("/api/accounts")
            .bearer(ADMIN)
            .send(&world.gateway.url())
            .json();
        let accounts = accounts["accounts"].as_array().expect("accounts");
        for name in ["main", "spare", "third"] {
            let account = accounts
                .iter()
                .find(|account| account["upstream"] == name)
                .expect("an account");
            assert_eq!(account["uses_today"], 1, "{name}: {account}");
        }
    });
    each("", [TAKES, REFUSES], |world| {
        world.main.then(whole().cut(At::Events(40), How::Close));
        world.spare.then(refusal());
        let (response, _) = world.ask();
        world.assert_broken(&response);
        assert_eq!(world.asked(), [1, 1, 0], "{:?}", world.format);
    });
}

#[test]
fn nobody_is_asked_who_is_not_known_to_take_a_beginning() {
    each("", ["", REFUSES], |world| {
        world.main.then(whole().cut(At::Events(40), How::Close));
        let (response, _) = world.ask();
        world.assert_broken(&response);
        assert_eq!(world.asked(), [1, 0, 0], "{:?}", world.format);
    });
}

#[test]
fn the_same_upstream_may_go_on_and_only_so_often() {
    each(TAKES, ["", ""], |world| {
        world.main.then(whole().cut(At::Events(20), How::Close));
        world.main.then(whole().cut(At::Events(10), How::Close));
        let (response, _) = world.ask();
        world.assert_all_tokens(&response);
        assert_eq!(world.asked(), [3, 0, 0], "{:?}", world.format);
        let receipt = receipt_of(&world.gateway, &response);
        let broke = attempts(&receipt)
            .iter()
            .filter(|attempt| attempt["broke"].is_object())
            .count();
        assert_eq!(broke, 2, "each is recorded: {receipt}");
    });
    each(TAKES, ["", ""], |world| {
        world.main.always(whole().cut(At::Events(10), How::Close));
        let (response, _) = world.ask();
        let text = response.text();
        assert!(world.format.ends_in_error(&text), "{:?}: {text}", world.format);
        assert_eq!(world.asked(), [4, 0, 0], "{:?}", world.format);
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["charged"], 0, "{receipt}");
    });
}

#[test]
fn a_tool_call_is_never_gone_on_with() {
    let call = || {
        let answer = Answer::tokens(4).and_tool_call("look", json!({"city": "Zürich", "days": [1, 2, 3]}));
        // Behind the beginning of the call, before its end.
        Behaviour::answer(answer).cut(At::Finish, How::Close)
    };
    each(TAKES, [TAKES, TAKES], |world| {
        world.main.then(call());
        let (response, _) = world.ask();
        let text = response.text();
        assert!(world.format.ends_in_error(&text), "{:?}: {text}", world.format);
        assert_eq!(world.asked(), [1, 0, 0], "{:?}: {text}", world.format);
    });
}
