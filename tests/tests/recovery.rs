//! Answers that break off and are gone on with elsewhere: rows 8, 9, 10 and 14 of the sixteen faults with `recovery: true`,
//! in all four client formats, same-format and translated; what the upstreams saw, what is charged, and a healthy call
//! afterwards.

use std::time::{Duration, Instant};

use blackbox::format::{FORMATS, Format};
use blackbox::wait::PATIENCE;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, audit, books, receipt_of, receipts};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, At, Behaviour, Gate, How, Refusal, Upstream};

/// The limit on silence within an answer, where a test is about it; elsewhere no busy machine reaches it.
const LIMIT: Duration = Duration::from_secs(1);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1_500);
/// How many tokens a whole answer has.
const TOKENS: usize = 60;
/// What providers say who take no beginning.
const NO_PREFILL: &str =
    "This model does not support assistant message prefill. The conversation must end with a user message.";
/// What the user has at first, in nano-dollars.
const OPENING: i64 = 10_000_000_000;
/// What the spare model's answer costs at a dollar per million tokens: the scripted upstream reports 12 and 7.
const SPARE_NANOS: i64 = 19_000;

const ADMIN: &str = "admin-token-of-the-recovery-tests";

/// What a target says of itself.
const TAKES: &str = ", capabilities: {prefill: true}";
const REFUSES: &str = ", capabilities: {prefill: false}";

struct World {
    format: Format,
    /// What its upstreams speak.
    upstream: Format,
    gateway: Tollgate,
    main: Upstream,
    spare: Upstream,
    third: Upstream,
}

impl World {
    /// A model whose upstream speaks `upstream`, and its fallbacks, which say of themselves what these say.
    fn new(format: Format, upstream: Format, main: &str, spares: [&str; 2]) -> Self {
        Self::with_limit(PATIENCE, format, upstream, main, spares)
    }

    fn with_limit(idle: Duration, format: Format, upstream: Format, main: &str, spares: [&str; 2]) -> Self {
        let idle = idle.as_secs();
        let all = [Upstream::start(), Upstream::start(), Upstream::start()];
        let line = |name: &str, at: &Upstream, model: &str| {
            let (provider, base) = upstream.provider(at);
            format!(
                "  - {{name: {name}, provider: {provider}, base_url: \"{base}\", models: [{model}], breaker: off, credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n"
            )
        };
        for at in &all {
            at.always(whole());
        }
        let [first, second, third] = all;
        let config = format!(
            "security: {{admin_token: {ADMIN}}}
defaults: {{retries: 3, retry_delay: 100ms, first_byte_timeout: 30s, idle_timeout: {idle}s}}
upstreams:
{}{}{}models:
  - {{name: main, recovery: true, targets: [{{upstream: main, model: big{main}}}], fallbacks: [spare, third], price: {{input: 10.00, output: 10.00}}}}
  - {{name: plain, targets: [{{upstream: main, model: big}}], price: {{input: 10.00, output: 10.00}}}}
  - {{name: spare, targets: [{{upstream: spare, model: small{}}}], price: {{input: 1.00, output: 1.00}}}}
  - {{name: third, targets: [{{upstream: third, model: other{}}}], price: {{input: 1.00, output: 1.00}}}}
users: [{{name: alice, policy: hard, opening_credit: 10.00}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            line("main", &first, "big"),
            line("spare", &second, "small"),
            line("third", &third, "other"),
            spares[0],
            spares[1],
        );
        Self {
            format,
            upstream,
            gateway: Setup::config(&config).start(),
            main: first,
            spare: second,
            third,
        }
    }

    fn ask(&self) -> (Response, Duration) {
        let began = Instant::now();
        let request = self.format.stream("main").bearer(CLIENT_KEY);
        (request.send(&self.gateway.url()), began.elapsed())
    }

    fn asked(&self) -> [usize; 3] {
        [&self.main, &self.spare, &self.third].map(|upstream| upstream.received().len())
    }

    /// Every token, once and in order, in one well-formed answer.
    fn assert_all_tokens(&self, response: &Response) {
        let all = Answer::tokens(TOKENS).whole_text();
        self.assert_whole(response, &all);
    }

    fn assert_whole(&self, response: &Response, expected: &str) {
        let (format, text) = (self.format, response.text());
        assert_eq!(response.status(), 200, "{format:?}: {text}");
        assert!(
            response.is_complete() && format.looks_complete(&text),
            "{format:?}: {text}"
        );
        assert!(!format.ends_in_error(&text), "{format:?}: {text}");
        assert_eq!(said(format, response), expected, "{format:?}: {text}");
        assert_grammar(format, response);
    }

    fn assert_broken(&self, response: &Response) {
        let (format, text) = (self.format, response.text());
        assert_eq!(response.status(), 200, "{format:?}: {text}");
        assert!(format.ends_in_error(&text), "{format:?}: {text}");
        assert!(!format.looks_complete(&text), "{format:?}: {text}");
        assert!(
            !text.contains("prefill") && !text.contains("whitespace"),
            "{format:?}: {text}"
        );
        let receipt = receipt_of(&self.gateway, response);
        assert_eq!(
            (&receipt["ending"], &receipt["charged"]),
            (&json!("upstream_gone"), &json!(0)),
            "{format:?}: {receipt}"
        );
        assert!(
            attempts(&receipt).iter().all(|attempt| attempt["broke"].is_null()),
            "what the call used is told once: {receipt}"
        );
    }

    /// One call, two attempts: the first recorded with what it cost, the second billed.
    fn assert_billed(&self, response: &Response, how: &str) -> Value {
        let receipt = receipt_of(&self.gateway, response);
        let attempts = attempts(&receipt);
        let [broken, .., last] = attempts.as_slice() else {
            panic!("{:?}: {receipt}", self.format)
        };
        assert_eq!(
            (&receipt["ending"], &receipt["status"]),
            (&json!("complete"), &json!(200)),
            "{receipt}"
        );
        assert_eq!(broken["status"], 200, "{receipt}");
        assert!(broken["failure"].is_string(), "{receipt}");
        assert_eq!(last["recovered"], how, "{receipt}");
        assert_eq!(receipt["answered_model"], "small", "{receipt}");
        assert_eq!(receipt["charged"], SPARE_NANOS, "{:?}: {receipt}", self.format);
        let used = &broken["broke"];
        assert!(
            used["cost"].as_i64().is_some_and(|cost| cost > 0),
            "{:?}: {receipt}",
            self.format
        );
        assert_eq!(
            receipt["cost"].as_i64(),
            used["cost"].as_i64().map(|cost| cost + SPARE_NANOS),
            "{:?}: {receipt}",
            self.format
        );
        receipt
    }

    /// A healthy call, and books that agree.
    fn assert_healthy(&self) {
        self.main.always(whole());
        let (response, _) = self.ask();
        self.assert_all_tokens(&response);
        let receipt = receipt_of(&self.gateway, &response);
        assert_eq!(attempts(&receipt).len(), 1, "{receipt}");
        // What was charged has left the balance, and nothing else has.
        books::settled(&self.gateway);
        let receipts = receipts(&self.gateway);
        let sum = |name: &str| {
            receipts
                .values()
                .filter_map(|receipt| receipt[name].as_i64())
                .sum::<i64>()
        };
        assert_eq!(
            books::balance(&self.gateway, "alice"),
            OPENING - sum("charged"),
            "{:?}",
            self.format
        );
        let report = audit(&self.gateway);
        let totals = ["charged", "cost"].map(|name| books::nanos(&report[name]));
        assert_eq!(totals, [sum("charged"), sum("cost")], "{report}");
    }
}

fn attempts(receipt: &Value) -> Vec<Value> {
    receipt["attempts"].as_array().cloned().unwrap_or_default()
}

fn whole() -> Behaviour {
    Behaviour::answer(Answer::tokens(TOKENS).continuing())
}

/// What a client of a format reads.
fn said(format: Format, response: &Response) -> String {
    let piece = |event: &Value| match format {
        Format::Chat => event["choices"][0]["delta"]["content"].as_str().map(str::to_owned),
        Format::Responses if event["type"] == "response.output_text.delta" => {
            event["delta"].as_str().map(str::to_owned)
        }
        Format::Anthropic if event["type"] == "content_block_delta" => {
            event["delta"]["text"].as_str().map(str::to_owned)
        }
        Format::Gemini => event["candidates"][0]["content"]["parts"]
            .as_array()
            .map(|parts| parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        Format::Responses | Format::Anthropic => None,
    };
    events(response).iter().filter_map(piece).collect()
}

fn events(response: &Response) -> Vec<Value> {
    let events = response.events();
    let data = events.iter().map(|event| &event.data);
    data.filter(|data| !data.is_empty() && *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap_or_else(|_| panic!("garbage reached the client: {data}")))
        .collect()
}

/// One beginning, one end, no gaps.
fn assert_grammar(format: Format, response: &Response) {
    let events = events(response);
    let count = |fits: &dyn Fn(&Value) -> bool| events.iter().filter(|event| fits(event)).count();
    match format {
        Format::Chat => {
            assert_eq!(count(&|event| event["choices"][0]["delta"]["role"] == "assistant"), 1);
            assert_eq!(count(&|event| event["choices"][0]["finish_reason"] == "stop"), 1);
        }
        Format::Responses => {
            let numbers: Vec<_> = events
                .iter()
                .filter_map(|event| event["sequence_number"].as_u64())
                .collect();
            assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
            assert_eq!(count(&|event| event["type"] == "response.created"), 1);
            let last = &events[events.len() - 1]["response"];
            let text: String = last["output"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|item| item["content"].as_array().cloned().unwrap_or_default())
                .filter_map(|part| part["text"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(text, said(format, response), "the whole answer at the end");
        }
        Format::Anthropic => {
            for once in ["message_start", "message_delta", "message_stop"] {
                assert_eq!(count(&|event| event["type"] == once), 1, "{once}");
            }
            let starts = count(&|event| event["type"] == "content_block_start");
            assert_eq!(count(&|event| event["type"] == "content_block_stop"), starts);
        }
        Format::Gemini => {
            assert_eq!(count(&|event| event["candidates"][0]["finishReason"] == "STOP"), 1);
            // Google says it with every chunk; the last counts.
            assert!(events.last().is_some_and(|event| !event["usageMetadata"].is_null()));
        }
    }
}

/// Runs a test for each client's format, with upstreams of the same and of another one, all at once: most of it is waiting.
fn each(main: &str, spares: [&str; 2], test: impl Fn(&World) + Sync) {
    each_with_limit(PATIENCE, main, spares, test);
}

fn each_with_limit(idle: Duration, main: &str, spares: [&str; 2], test: impl Fn(&World) + Sync) {
    std::thread::scope(|scope| {
        for (at, format) in FORMATS.into_iter().enumerate() {
            // What OpenAI's preset offers a client of its formats is never translated; the others are two steps away.
            for upstream in [format, FORMATS[(at + 2) % FORMATS.len()]] {
                let test = &test;
                scope.spawn(move || {
                    let world = World::with_limit(idle, format, upstream, main, spares);
                    test(&world);
                    world.assert_healthy();
                });
            }
        }
    });
}

/// The fault at the main upstream, and a fallback that takes up the answer. Answers are cut by closing: a reset may overtake
/// what was sent before it, and then nobody has seen where it was to be cut.
fn taken_up(idle: Duration, fault: impl Fn() -> Behaviour + Sync) {
    each_with_limit(idle, "", [TAKES, ""], |world| {
        world.main.then(fault());
        let (response, took) = world.ask();
        world.assert_all_tokens(&response);
        assert!(took < idle + SLACK, "{:?}: after {took:?}", world.format);
        assert_eq!(world.asked(), [1, 1, 0], "{:?}", world.format);
        let given = world.spare.received()[0].prefill().expect("it is given the beginning");
        assert!(given.starts_with("t0 t1 ") && given.trim_end() == given, "{given:?}");
        let receipt = world.assert_billed(&response, "continued");
        assert_eq!(receipt["usage_source"], "reported", "{receipt}");
        assert_eq!(receipts(&world.gateway).len(), 1, "one call, one receipt");
    });
}

#[test]
fn r08_cut_after_forty_tokens() {
    taken_up(PATIENCE, || whole().cut(At::Events(40), How::Close));
}

/// What a format's providers say that no other does.
fn extras(format: Format) -> &'static str {
    match format {
        Format::Chat => {
            "data: {\"object\":\"chat.completion.chunk\",\"provider\":\"Acme\",\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"mood\":\"good\"}}]}\n\n: keep-alive\n\n"
        }
        Format::Responses => "event: response.acme.mood\ndata: {\"type\":\"response.acme.mood\",\"mood\":\"good\"}\n\n",
        Format::Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: mood\ndata: {\"type\": \"mood\"}\n\n",
        Format::Gemini => "data: {\"candidates\":[{\"index\":0,\"avgLogprobs\":-0.25}],\"mood\":\"good\"}\n\n",
    }
}

/// A stream whose answer nobody keeps: one that is kept is told under our name.
fn unkept(format: Format, model: &str) -> Request {
    if format != Format::Responses {
        return format.stream(model);
    }
    let mut body = format.body(model);
    body["stream"] = json!(true);
    body["store"] = json!(false);
    Request::post(&format.path(model), &body)
}

/// All values of a member that names the answer, or a part of it, from beginning to end.
fn names(format: Format, events: &[Value]) -> Vec<Value> {
    let name = |event: &Value| match format {
        Format::Chat => event["id"].clone(),
        Format::Responses => event["response"]["id"].clone(),
        Format::Anthropic => event["message"]["id"].clone(),
        Format::Gemini => event["responseId"].clone(),
    };
    let mut all: Vec<Value> = events.iter().map(name).filter(|name| !name.is_null()).collect();
    all.dedup();
    all
}

/// Where both sides speak one format, nothing of it is lost to the chance of a break; and what is told anew behind one goes on
/// under the names and numbers that the client knows.
#[test]
fn a_stream_is_its_providers_own_until_it_breaks_off() {
    std::thread::scope(|scope| {
        for format in FORMATS {
            scope.spawn(move || {
                let world = World::new(format, format, "", [TAKES, ""]);
                // Answers carry their number in their names: those of the two must differ.
                for _ in 0..5 {
                    unkept(format, "small").send(&world.spare.url());
                }
                let ask = |model| unkept(format, model).bearer(CLIENT_KEY).send(&world.gateway.url());
                // What a model gives that does not recover; its answer has the number before.
                let plain = |number: usize| {
                    let text = ask("plain").text();
                    let of = |sign| (format!("tk{sign}{number}"), format!("tk{sign}{}", number + 1));
                    [of('-'), of('_')]
                        .iter()
                        .fold(text, |text, (from, to)| text.replace(from, to))
                };
                world.main.always(whole().insert(10, extras(format)));
                let expected = plain(1);
                let response = ask("main");
                assert_eq!(response.text(), expected, "{format:?}");
                assert!(expected.contains("mood"), "{expected}");
                let receipt = receipt_of(&world.gateway, &response);
                assert!(
                    attempts(&receipt)[0]["losses"].as_array().is_none_or(Vec::is_empty),
                    "{receipt}"
                );

                let cut = whole().insert(10, extras(format)).cut(At::Events(40), How::Close);
                world.main.always(cut);
                let before = plain(3);
                // Its last event is the error.
                let begins = if matches!(format, Format::Chat | Format::Gemini) {
                    "data: "
                } else {
                    "event: "
                };
                let before = &before[..before.rfind(begins).expect("an error")];
                let response = ask("main");
                let text = response.text();
                assert!(
                    before.contains("t30 ") && text.starts_with(before),
                    "{format:?}: {text}\nis not behind\n{before}"
                );
                let events = events(&response);
                assert_eq!(said(format, &response), Answer::tokens(TOKENS).whole_text(), "{text}");
                assert!(
                    format.looks_complete(&text) && !format.ends_in_error(&text),
                    "{format:?}: {text}"
                );
                assert_eq!(names(format, &events).len(), 1, "{format:?}: {text}");
                if format == Format::Responses {
                    let items: Vec<_> = events.iter().filter(|event| event["item_id"].is_string()).collect();
                    assert!(
                        items.windows(2).all(|two| two[0]["item_id"] == two[1]["item_id"]),
                        "{text}"
                    );
                    let numbers = events.iter().filter_map(|event| event["sequence_number"].as_u64());
                    let numbers: Vec<u64> = numbers.collect();
                    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
                }
                if format == Format::Anthropic {
                    let blocks = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
                    assert_eq!(
                        (blocks("content_block_start"), blocks("content_block_stop")),
                        (1, 1),
                        "{text}"
                    );
                }
                let receipt = world.assert_billed(&response, "continued");
                assert_eq!(
                    receipt["attempts"][1]["losses"].as_array().map(Vec::len),
                    Some(1),
                    "{receipt}"
                );
            });
        }
    });
}

#[test]
fn r09_stalls_after_twenty_tokens() {
    taken_up(LIMIT, || whole().cut(At::Events(20), How::Stall));
}

#[test]
fn r10_tenth_event_malformed() {
    taken_up(PATIENCE, || whole().malformed(10));
}

#[test]
fn an_error_in_the_middle_of_the_stream() {
    taken_up(PATIENCE, || whole().error_after(20));
}

/// All was said, and the connection breaks before the terminator: nobody is asked for more.
#[test]
fn what_was_said_to_its_end_is_whole() {
    // A reset would take along what was not read yet.
    for how in [How::Close, How::End] {
        each(TAKES, [TAKES, TAKES], |world| {
            let at = match (world.upstream, world.format) {
                // Its end is the answer itself: without it nothing is complete. OpenAI's preset speaks it to Anthropic's.
                (Format::Responses, _) | (Format::Chat, Format::Anthropic) => return,
                (Format::Gemini, _) => At::Events(usize::MAX),
                (Format::Chat | Format::Anthropic, _) => At::Terminator,
            };
            world.main.then(whole().cut(at, how));
            let (response, _) = world.ask();
            world.assert_all_tokens(&response);
            let receipt = receipt_of(&world.gateway, &response);
            assert_eq!(
                world.asked(),
                [1, 0, 0],
                "{:?} of {:?}, {how:?}: {receipt}",
                world.format,
                world.upstream
            );
            assert_eq!(
                (&receipt["ending"], &receipt["usage_source"]),
                (&json!("complete"), &json!("reported")),
                "{receipt}"
            );
            assert!(receipt["attempts"][0]["failure"].is_null(), "{receipt}");
        });
    }
}

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
fn what_the_client_has_not_seen_begins_again() {
    let blank = |how| {
        let mut answer = Answer::tokens(TOKENS);
        answer.pieces = vec![" ".to_owned(); 40];
        Behaviour::answer(answer).cut(At::Events(20), how)
    };
    // Who fell silent is not asked again in the same call, who was cut off is.
    each("", [REFUSES, ""], |world| {
        world.main.then(blank(How::Reset));
        let (response, _) = world.ask();
        assert!(
            said(world.format, &response).trim_start().starts_with("t0 t1 "),
            "{:?}",
            world.format
        );
        assert_eq!(world.asked(), [2, 0, 0], "{:?}", world.format);
    });
    each_with_limit(LIMIT, "", [REFUSES, ""], |world| {
        world.main.then(blank(How::Stall));
        let (response, _) = world.ask();
        let said = said(world.format, &response);
        assert!(
            said.trim_start().starts_with("t0 t1 ") && said.ends_with("t59 "),
            "{said:?}"
        );
        world.assert_billed(&response, "restarted");
        assert_eq!(world.spare.received()[0].prefill(), None, "{:?}", world.format);
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

#[test]
fn it_is_off_unless_it_is_asked_for_and_explained_where_it_is() {
    let world = World::new(Format::Chat, Format::Chat, "", [TAKES, ""]);
    let told = world.gateway.cli_ok(&["explain", "--model", "main"]);
    assert!(told.contains("gone on with by spare/small"), "{told}");
    let off = world.gateway.cli_ok(&["explain", "--model", "spare"]);
    assert!(!off.contains("recovery"), "{off}");
    world.spare.then(whole().cut(At::Events(40), How::Close));
    let response = Format::Chat
        .stream("spare")
        .bearer(CLIENT_KEY)
        .send(&world.gateway.url());
    world.assert_broken(&response);
    // What became of it is on record all the same.
    let receipt = receipt_of(&world.gateway, &response);
    let [attempt] = attempts(&receipt).try_into().expect("one attempt");
    assert_eq!(
        (&attempt["status"], &attempt["failure"]),
        (&json!(200), &json!("reset")),
        "{receipt}"
    );
    let metrics = || Request::get("/metrics").bearer(ADMIN).send(&world.gateway.url()).text();
    assert!(!metrics().contains("tollgate_recoveries_total{"), "{}", metrics());
    world.main.then(whole().cut(At::Events(40), How::Close));
    let (response, _) = world.ask();
    world.assert_all_tokens(&response);
    let counted = "tollgate_recoveries_total{code=\"continued\"} 1";
    assert!(metrics().contains(counted), "{}", metrics());
}

/// A provider's word that it failed is no end, whatever it says beside it (`OpenRouter`).
#[test]
fn a_failure_that_is_told_as_an_end_is_a_break() {
    const BOTH: &str = "data: {\"error\":{\"code\":502,\"message\":\"Provider disconnected\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    const WORD: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    for failure in [BOTH, WORD] {
        let world = World::new(Format::Chat, Format::Chat, "", [TAKES, ""]);
        world.main.then(whole().insert(20, failure));
        let (response, _) = world.ask();
        world.assert_all_tokens(&response);
        world.assert_billed(&response, "continued");
    }
}
