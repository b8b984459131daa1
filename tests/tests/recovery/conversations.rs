//! Conversations around an answer that was gone on with: what the client began itself, and what it says next.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::Setup;
use testkit::upstream::{Answer, At, Behaviour, How, Upstream};

use crate::answers::{events, said};
use crate::lab::{TAKES, TOKENS, World, whole};

/// Mistral's models say once more what they are given, the client's own beginning too.
#[test]
fn a_beginning_of_the_clients_own_is_said_once() {
    let (main, spare) = (Upstream::start(), Upstream::start());
    let line = |name: &str, at: &Upstream| {
        let (_, base) = Format::Chat.provider(at);
        format!(
            "  - {{name: {name}, provider: mistral, base_url: \"{base}\", models: [x], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
        )
    };
    let config = format!(
        "upstreams:
{}{}models:
  - {{name: main, recovery: true, targets: [{{upstream: main, model: x}}], fallbacks: [spare]}}
  - {{name: spare, targets: [{{upstream: spare, model: x{TAKES}}}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
        line("main", &main),
        line("spare", &spare),
    );
    let gateway = Setup::config(&config).start();
    let echo = || Behaviour::answer(Answer::tokens(TOKENS));
    main.then(echo().cut(At::Events(40), How::Close));
    spare.then(echo());
    let body = json!({"model": "main", "stream": true, "messages": [
        {"role": "user", "content": "Count."}, {"role": "assistant", "content": "t0 t1 ", "prefix": true}]});
    let request = Request::post("/v1/chat/completions", &body).bearer(CLIENT_KEY);
    let response = request.send(&gateway.url());
    let whole = Answer::tokens(TOKENS).whole_text();
    assert_eq!(said(Format::Chat, &response), whole, "{}", response.text());
    let given = spare.received()[0].prefill().expect("it is given the beginning");
    assert!(given.starts_with("t0 t1 t2 ") && whole.starts_with(&given), "{given}");
}

/// The provider has half of it: the conversation goes on with what the client was told.
#[test]
fn a_response_that_was_gone_on_with_can_be_continued() {
    let world = World::new(Format::Responses, Format::Responses, "", [TAKES, ""]);
    world.main.then(whole().cut(At::Events(40), How::Close));
    let (response, _) = world.ask();
    world.assert_all_tokens(&response);
    let id = events(&response).last().expect("an end")["response"]["id"].clone();
    let next = json!({"model": "main", "input": "and then?", "previous_response_id": id});
    let request = Request::post("/v1/responses", &next).bearer(CLIENT_KEY);
    let answer = request.send(&world.gateway.url());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let asked = world.main.received().last().expect("it was asked").json();
    let text = asked["input"].to_string();
    assert!(
        text.contains("t0 t1 ") && text.contains("t59 ") && text.contains("and then?"),
        "{asked}"
    );
    assert!(asked["previous_response_id"].is_null(), "{asked}");
}
