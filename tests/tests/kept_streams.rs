//! Conversations that are kept here (`store: true`) whose stream broke off and was gone on with: what is kept is what the
//! client was told, whole and once, and `previous_response_id` goes on from there, also after a restart.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, At, Behaviour, How, Upstream};

const TOKENS: usize = 60;

struct World {
    gateway: Tollgate,
    main: Upstream,
    spare: Upstream,
}

impl World {
    /// A model at two upstreams that speak `upstream`.
    fn new(upstream: Format) -> Self {
        let (main, spare) = (Upstream::start(), Upstream::start());
        let line = |name: &str, at: &Upstream| {
            at.always(tokens());
            let (provider, base) = upstream.provider(at);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", models: [m], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        let config = format!(
            "defaults: {{retries: 0, retry_delay: 100ms}}
upstreams:
{}{}models:
  - {{name: main, recovery: true, capabilities: {{prefill: true}}, targets: [{{upstream: main, model: m, priority: 0}}, {{upstream: spare, model: m, priority: 1}}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            line("main", &main),
            line("spare", &spare)
        );
        let gateway = Setup::config(&config).start();
        Self { gateway, main, spare }
    }

    /// A streamed response; its id and the text that the client was told.
    fn stream(&self, body: Value) -> (String, String) {
        let mut body = body;
        body["model"] = json!("main");
        body["stream"] = json!(true);
        body["store"] = json!(true);
        let request = Request::post("/v1/responses", &body).bearer(CLIENT_KEY);
        let response = request.send(&self.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(response.is_complete(), "{}", response.text());
        let text = response.text();
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect();
        let last = events.last().expect("an end");
        assert_eq!(last["type"], "response.completed", "{text}");
        let ids: Vec<&Value> = events.iter().filter_map(|event| event["response"].get("id")).collect();
        assert!(ids.windows(2).all(|two| two[0] == two[1]), "one name: {ids:?}");
        let told = events
            .iter()
            .filter(|event| event["type"] == "response.output_text.delta")
            .filter_map(|event| event["delta"].as_str())
            .collect();
        (ids[0].as_str().expect("an id").to_owned(), told)
    }
}

fn tokens() -> Behaviour {
    Behaviour::answer(Answer::tokens(TOKENS).continuing())
}

#[test]
fn a_kept_stream_that_was_gone_on_with_is_kept_whole_and_goes_on() {
    for upstream in [Format::Responses, Format::Chat, Format::Anthropic, Format::Gemini] {
        let mut world = World::new(upstream);
        let whole = Answer::tokens(TOKENS).whole_text();
        world.main.then(tokens().cut(At::Events(40), How::Close));
        let (id, told) = world.stream(json!({"input": "count"}));
        assert_eq!(told, whole, "{upstream:?}");
        assert_eq!(world.spare.received().len(), 1, "{upstream:?}: somebody went on");

        assert!(world.gateway.stop().success());
        world.gateway.restart();
        let (next, told) = world.stream(json!({"input": "and then?", "previous_response_id": id}));
        assert_eq!(told, whole, "{upstream:?}");
        let asked = world.main.received().last().expect("it was asked").json().to_string();
        assert_eq!(asked.matches("t0 t1 ").count(), 1, "{upstream:?}: {asked}");
        assert_eq!(asked.matches("t58 t59").count(), 1, "{upstream:?}: {asked}");
        let places = ["count", "t0 t1 ", "t58 t59", "and then?"].map(|word| asked.find(word));
        assert!(
            places.is_sorted() && places[0].is_some(),
            "{upstream:?}: in order: {asked}"
        );
        assert!(
            !asked.contains("previous_response_id\":\"resp"),
            "{upstream:?}: {asked}"
        );

        // One that goes on from it and breaks off too.
        world.main.then(tokens().cut(At::Events(20), How::Close));
        let (_, told) = world.stream(json!({"input": "more", "previous_response_id": next}));
        let asked = world.spare.received().last().expect("it was asked").json().to_string();
        assert_eq!(told, whole, "{upstream:?}: {asked}");
    }
}
