//! What providers did, to every client and back to every upstream.

use domain::{Dialect, Operation, Surface};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::hub::{Act, Page};
use crate::translate::{Asked, Encoded, Question, Target, Transcoder};
use crate::{StreamTap, TapOptions, read_answer};

mod google;

const CLIENTS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];
const PROVIDERS: [Dialect; 3] = [Dialect::OpenaiResponses, Dialect::AnthropicMessages, Dialect::Gemini];

/// What a provider answers, and its steps that it takes back.
fn answered(by: Dialect) -> (Value, Vec<Value>) {
    let path = format!(
        "{}/tests/golden/answers/{}/server_tools.json",
        env!("CARGO_MANIFEST_DIR"),
        by.name()
    );
    let body: Value = serde_json::from_slice(&read(&path)).unwrap();
    let steps = match by {
        Dialect::OpenaiResponses => &body["output"],
        Dialect::AnthropicMessages => &body["content"],
        _ => &body["candidates"][0]["content"]["parts"],
    };
    let is_step = |step: &&Value| step.get("text").is_none() && step["type"] != "message";
    (
        body.clone(),
        steps.as_array().unwrap().iter().filter(is_step).cloned().collect(),
    )
}

#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn question(client: Dialect, history: &Value) -> Question {
    let body = match client {
        Dialect::OpenaiChat | Dialect::AnthropicMessages => {
            json!({"model": "m", "max_tokens": 50, "messages": history})
        }
        Dialect::OpenaiResponses => json!({"model": "m", "input": history}),
        _ => json!({"contents": history}),
    };
    let asked = Asked {
        surface: Surface::new(Operation::Chat, client),
        model: "m",
        stream: false,
        json_array: false,
        id: "7",
        created: 5,
    };
    Question::read(&asked, body.to_string().as_bytes()).unwrap()
}

fn asks(client: Dialect, text: &str) -> Value {
    if client == Dialect::Gemini {
        json!({"role": "user", "parts": [{"text": text}]})
    } else {
        json!({"role": "user", "content": text})
    }
}

/// What the client gets.
fn told(by: Dialect, client: Dialect, body: &Value) -> (Value, Encoded) {
    let text = body.to_string();
    let report = read_answer(Surface::new(Operation::Chat, by), text.as_bytes()).unwrap();
    let told = question(client, &json!([asks(client, "a")]))
        .answer(by, client, text.as_bytes(), &report)
        .unwrap();
    (serde_json::from_slice(&told.body).unwrap(), told)
}

/// What it sends in the next turn.
fn history(client: Dialect, answer: &Value) -> Value {
    let first = asks(client, "a");
    let next = asks(client, "b");
    match client {
        Dialect::OpenaiChat => json!([first, answer["choices"][0]["message"], next]),
        Dialect::AnthropicMessages => json!([first, {"role": "assistant", "content": answer["content"]}, next]),
        Dialect::Gemini => json!([first, answer["candidates"][0]["content"], next]),
        _ => {
            let mut input = vec![first];
            input.extend(answer["output"].as_array().unwrap().clone());
            input.push(next);
            input.into()
        }
    }
}

fn sent(question: &Question, to: Dialect) -> (Value, Vec<String>) {
    sent_to(question, to, None)
}

fn sent_to(question: &Question, to: Dialect, thinks: Option<bool>) -> (Value, Vec<String>) {
    let target = Target {
        model: "m",
        max_output: 0,
        thinks,
        include_usage: false,
        quirks: &domain::provider::Quirks::default(),
    };
    let encoded = question.encode(to, &target).unwrap();
    let lost = encoded.losses.iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), lost)
}

/// The steps of a request in the provider's words.
fn steps(to: Dialect, body: &Value) -> Vec<Value> {
    let all: Vec<Value> = match to {
        Dialect::OpenaiResponses => body["input"].as_array().unwrap().clone(),
        Dialect::Gemini => {
            let parts = body["contents"].as_array().unwrap().iter().map(|turn| &turn["parts"]);
            parts.flat_map(|parts| parts.as_array().unwrap().clone()).collect()
        }
        _ => {
            let messages = body["messages"].as_array().unwrap().iter();
            let lists = messages.filter_map(|message| message["content"].as_array());
            lists.flatten().cloned().collect()
        }
    };
    let is_step = |value: &Value| value.get("text").is_none() && value.get("role").is_none();
    all.into_iter().filter(is_step).collect()
}

#[test]
fn steps_come_home_through_any_client() {
    for by in PROVIDERS {
        let (body, own) = answered(by);
        assert!(own.len() > 3, "{by}");
        for client in CLIENTS.into_iter().filter(|client| *client != by) {
            let (answer, _) = told(by, client, &body);
            let question = question(client, &history(client, &answer));
            let (body, _) = sent(&question, by);
            let home: Vec<Value> = steps(by, &body);
            assert_eq!(home, own, "{by} through {client}");
            assert!(!body.to_string().contains("tollgate"), "{by} through {client}: {body}");
        }
    }
}

#[test]
fn others_get_neither_steps_nor_words_of_ours() {
    for by in PROVIDERS {
        let (body, _) = answered(by);
        for client in CLIENTS.into_iter().filter(|client| *client != by) {
            let (answer, _) = told(by, client, &body);
            let question = question(client, &history(client, &answer));
            for to in Dialect::ALL.into_iter().filter(|to| *to != by) {
                let (body, lost) = sent(&question, to);
                let text = body.to_string();
                assert!(!text.contains("tollgate"), "{by} through {client} to {to}: {text}");
                assert_eq!(
                    steps(to_shape(to), &body),
                    [Value::Null; 0],
                    "{by} through {client} to {to}"
                );
                assert!(text.contains("24 mm"), "{by} through {client} to {to}: {text}");
                assert!(!text.contains("print("), "{by} through {client} to {to}: {text}");
                assert!(!lost.is_empty(), "{by} through {client} to {to}");
            }
        }
    }
}

/// Bedrock's requests have messages of lists, as Anthropic's.
fn to_shape(to: Dialect) -> Dialect {
    if to == Dialect::BedrockConverse {
        Dialect::AnthropicMessages
    } else {
        to
    }
}

/// Clients put thoughts where they like: in Chat all of them stand before the words.
#[test]
fn what_two_thoughts_carry_stays_apart() {
    let native = |id: &str| json!({"type": "server_tool_use", "id": id, "name": "tool_search_tool_bm25", "input": {}});
    let carrier = |id: &str| {
        let seal = format!("tollgate:anthropic_messages:served:{}", json!([native(id)]));
        json!({"type": "reasoning.encrypted", "data": seal})
    };
    let said = json!({"role": "assistant", "content": "x", "reasoning_details": [carrier("a"), carrier("b")]});
    let client = Dialect::OpenaiChat;
    let history = json!([asks(client, "a"), said, asks(client, "b")]);
    let (body, lost) = sent(&question(client, &history), Dialect::AnthropicMessages);
    assert_eq!(steps(Dialect::AnthropicMessages, &body), [native("a"), native("b")]);
    assert!(lost.is_empty(), "{lost:?}");
}

/// A client may write what is carried itself: the owner's check has not seen what it names.
#[test]
fn nothing_that_may_be_anothers_is_carried() {
    let (openai, client) = (Dialect::OpenaiResponses, Dialect::AnthropicMessages);
    for hidden in [
        json!([{"type": "item_reference", "id": "msg_A"}]),
        json!([{"role": "user", "content": [{"type": "input_file", "file_id": "file-A"}]}]),
    ] {
        let seal = format!("tollgate:openai_responses:served:{hidden}");
        let said = json!({"role": "assistant", "content": [{"type": "redacted_thinking", "data": seal}, {"type": "text", "text": "x"}]});
        let history = json!([asks(client, "a"), said, asks(client, "b")]);
        let (body, lost) = sent(&question(client, &history), openai);
        let text = body.to_string();
        assert!(
            !text.contains(r#""msg_A""#) && !text.contains(r#""file_id":"file-A""#),
            "{text}"
        );
        assert!(!lost.is_empty(), "{text}");
    }
}

/// OpenAI refuses a step of a model that thinks without the thought before it.
#[test]
fn steps_go_home_with_their_thoughts_or_not_at_all() {
    let (openai, client) = (Dialect::OpenaiResponses, Dialect::AnthropicMessages);
    let (body, own) = answered(openai);
    let (answer, _) = told(openai, client, &body);
    let mut history = history(client, &answer);
    let (bare, lost) = sent_to(&question(client, &history), openai, Some(true));
    assert_eq!(steps(openai, &bare), [Value::Null; 0]);
    assert!(
        lost.iter().any(|loss| loss.starts_with("file_search_call: ")),
        "{lost:?}"
    );
    assert!(
        lost.iter().any(|loss| loss.starts_with("code_interpreter_call: ")),
        "{lost:?}"
    );
    let seal = "tollgate:openai_responses:rs_1.gAAA";
    let thought = json!({"type": "thinking", "thinking": "", "signature": seal});
    history[1]["content"].as_array_mut().unwrap().insert(0, thought);
    let (body, _) = sent_to(&question(client, &history), openai, Some(true));
    let home: Vec<Value> = steps(openai, &body);
    assert_eq!((home[0]["id"].clone(), &home[1..]), (json!("rs_1"), &own[..]));
}

/// A client may keep what it was shown, and nothing else.
#[test]
fn what_we_made_is_never_sent_as_the_upstreams_own() {
    for by in PROVIDERS {
        let (body, _) = answered(by);
        for client in [Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
            if client == by {
                continue;
            }
            let (answer, _) = told(by, client, &body);
            let mut history = history(client, &answer);
            for turn in history.as_array_mut().unwrap() {
                if let Some(blocks) = turn.get_mut("content").and_then(Value::as_array_mut) {
                    blocks.retain(|block| block["type"] != "redacted_thinking");
                }
            }
            history
                .as_array_mut()
                .unwrap()
                .retain(|item| item["type"] != "reasoning");
            let facts = crate::scan(
                Surface::new(Operation::Chat, client),
                json!({"messages": history, "input": history}).to_string().as_bytes(),
            );
            assert!(
                facts.unwrap().has_foreign_seals(),
                "{by} to {client}: it must not pass through"
            );
            for to in [by, client] {
                let (body, _) = sent(&question(client, &history), to);
                assert!(!body.to_string().contains("tollgate"), "{body}");
                assert_eq!(steps(to, &body), [Value::Null; 0], "{body}");
            }
        }
    }
}

/// What is billed is what the provider counted, whoever is told; and a gateway in front of this one counts the same.
#[test]
fn searches_are_counted_once() {
    let path = |by: Dialect| {
        format!(
            "{}/tests/golden/answers/{}/text.json",
            env!("CARGO_MANIFEST_DIR"),
            by.name()
        )
    };
    let billed = |dialect: Dialect, body: &[u8]| {
        let report = read_answer(Surface::new(Operation::Chat, dialect), body).unwrap();
        crate::translate::told_usage(&report.usage).unwrap().web_searches
    };
    for by in PROVIDERS {
        let body: Value = serde_json::from_slice(&read(&path(by))).unwrap();
        assert_eq!(billed(by, body.to_string().as_bytes()), 1, "{by}");
        for client in CLIENTS {
            let (_, encoded) = told(by, client, &body);
            assert_eq!(billed(client, &encoded.body), 1, "{by} told to {client}");
        }
    }
}

#[test]
fn nobody_is_asked_to_run_them() {
    for by in PROVIDERS {
        let (body, _) = answered(by);
        for client in CLIENTS {
            let (answer, told) = told(by, client, &body);
            let text = answer.to_string();
            for word in ["\"tool_use\"", "\"tool_calls\"", "functionCall", "\"function_call\""] {
                assert!(!text.contains(word), "{by} to {client}: {text}");
            }
            if client != by {
                assert!(!told.losses.is_empty(), "{by} to {client}: nobody can say all of it");
            }
        }
    }
}

#[test]
fn what_is_too_much_is_not_carried() {
    let big = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x".repeat(CARRIED_MAX)}});
    let mut parts = vec![Part::new(Content::Native {
        origin: Dialect::AnthropicMessages,
        value: big,
    })];
    let mut losses = Losses::default();
    Steps::new(Dialect::AnthropicMessages, Dialect::OpenaiResponses).parts(&mut parts, &mut losses);
    assert!(matches!(
        &parts[..],
        [Part {
            content: Content::Deed(_),
            ..
        }]
    ));
    assert_eq!(losses.as_slice().len(), 1);
}

fn streamed(by: Dialect, client: Dialect, chunk: usize) -> String {
    let path = format!(
        "{}/tests/golden/streams/{}/server_tools.sse",
        env!("CARGO_MANIFEST_DIR"),
        by.name()
    );
    streamed_body(by, client, &read(&path), chunk).0
}

/// What is told of a stream, and what is lost.
fn streamed_body(by: Dialect, client: Dialect, body: &[u8], chunk: usize) -> (String, Vec<String>) {
    let tap = StreamTap::new(TapOptions {
        surface: Surface::new(Operation::Chat, by),
        hide_usage_chunk: false,
        json_array: false,
    });
    let question = question(client, &json!([asks(client, "a")]));
    let mut transcoder = Transcoder::translate(tap, client, question.reply);
    let mut out = Vec::new();
    for piece in body.chunks(chunk) {
        transcoder.push(bytes::Bytes::copy_from_slice(piece), &mut out);
    }
    if let crate::StreamEnd::Complete { last } = transcoder.finish(true) {
        out.push(last);
    }
    let lost = transcoder.losses().iter().map(ToString::to_string).collect();
    (String::from_utf8(out.concat()).unwrap(), lost)
}

/// The deltas of a streamed answer, put together as clients do, are a history that comes home.
#[test]
fn streamed_steps_come_home() {
    for by in PROVIDERS {
        let stream = streamed(by, Dialect::AnthropicMessages, 11);
        if by == Dialect::AnthropicMessages {
            continue;
        }
        let mut blocks: Vec<Value> = Vec::new();
        for event in crate::sse::events(stream.as_bytes()) {
            let data: Value = serde_json::from_slice(&event.data.unwrap_or_default()).unwrap();
            match data["type"].as_str().unwrap() {
                "content_block_start" => blocks.push(data["content_block"].clone()),
                "content_block_delta" => {
                    let block = blocks.last_mut().unwrap();
                    let delta = &data["delta"];
                    match delta["type"].as_str().unwrap() {
                        "input_json_delta" => {
                            block["input"] = serde_json::from_str(delta["partial_json"].as_str().unwrap()).unwrap();
                        }
                        "text_delta" => {
                            let text =
                                format!("{}{}", block["text"].as_str().unwrap(), delta["text"].as_str().unwrap());
                            block["text"] = text.into();
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let client = Dialect::AnthropicMessages;
        let history = json!([asks(client, "a"), {"role": "assistant", "content": blocks}, asks(client, "b")]);
        let (body, _) = sent(&question(client, &history), by);
        let home = steps(by, &body);
        assert!(home.len() > 1 && !body.to_string().contains("tollgate"), "{body}");
        let native = streamed(by, by, 7);
        for step in home {
            let step = step.to_string();
            assert!(native.contains(&step), "{step} is not in {native}");
        }
    }
}

fn page() -> impl Strategy<Value = Page> {
    ("https://[a-z]{1,8}", "[A-Z]{1,5}").prop_map(|(url, title)| Page {
        url,
        title,
        ..Page::default()
    })
}

fn act() -> impl Strategy<Value = [Act; 2]> {
    let run = |code: String| Act::Run {
        code,
        language: "python",
    };
    prop_oneof![
        ("\\PC{1,20}", prop::collection::vec(page(), 0..4))
            .prop_map(|(query, pages)| [Act::Search(vec![query]), Act::Found(Ok(pages))]),
        "\\PC{1,20}".prop_map(|query| [Act::Search(vec![query]), Act::Found(Err("unavailable".to_owned()))]),
        "https://[a-z]{1,8}".prop_map(|url| {
            let page = Page {
                url: url.clone(),
                ..Page::default()
            };
            [Act::Fetch(url), Act::Fetched(Ok(page))]
        }),
        ("\\PC{1,20}", "\\PC{1,20}", any::<bool>())
            .prop_map(move |(code, text, is_error)| [run(code), Act::Ran { text, is_error }]),
        ("[a-z]{1,5}", "\\PC{1,20}", any::<bool>()).prop_map(|(tool, text, is_error)| [
            Act::Remote {
                server: "s".to_owned(),
                tool,
                arguments: "{\"a\":1}".to_owned()
            },
            Act::Replied { text, is_error }
        ]),
    ]
}

/// What a format cannot say of a step, taken out of it.
fn without_losses(mut acts: Vec<Act>, client: Dialect) -> Vec<Act> {
    if client == Dialect::OpenaiResponses {
        for act in &mut acts {
            if let Act::Found(Ok(pages)) = act {
                for page in pages {
                    page.title.clear();
                }
            }
        }
    }
    acts
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z_]{0,8}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "type",
        "id",
        "content",
        "url",
        "query",
        "queries",
        "sources",
        "text",
        "code",
        "logs",
        "web",
        "uri",
        "args",
        "urlMetadata",
        "webSearchQueries",
        "groundingChunks",
        "error_code",
        "source",
        "message",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    /// What an encoder says of a step, the decoder of the same format reads.
    #[test]
    fn steps_are_read_as_they_were_written(steps in prop::collection::vec(act(), 1..6)) {
        for client in [Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
            let parts = steps.iter().enumerate().flat_map(|(place, [asked, came])| {
                let part = |act: &Act| Part::new(Content::Deed(Box::new(Deed::new(&format!("s{place}"), act.clone()))));
                [part(asked), part(came)]
            });
            let answer = crate::hub::Answer {
                choices: vec![crate::hub::Choice { parts: parts.collect(), ..Default::default() }],
                ..Default::default()
            };
            let (reply, mut losses) = (crate::Reply::default(), Losses::default());
            let list = if client == Dialect::OpenaiResponses {
                crate::openai_responses::encode::answer(answer, &reply, &mut losses)["output"].clone()
            } else {
                crate::anthropic_messages::encode::answer(answer, &reply, &mut losses)["content"].clone()
            };
            let natives = list.as_array().unwrap();
            prop_assert!(natives.iter().all(is_made));
            let read: Vec<Act> = natives
                .iter()
                .flat_map(|native| deeds(client, native, &mut losses))
                .map(|deed| deed.act)
                .collect();
            let written: Vec<Act> = steps.iter().flatten().cloned().collect();
            prop_assert_eq!(read, without_losses(written, client));
        }
    }

    /// Whatever stands in such a block, it is read, and told.
    #[test]
    fn no_block_is_too_strange(kind in 0..12usize, inner in anything()) {
        let kind = ["server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result",
            "mcp_tool_use", "mcp_tool_result", "web_search_call", "code_interpreter_call", "mcp_call", "toolCall",
            "groundingMetadata", "urlContextMetadata"][kind];
        let block = json!({"type": kind, "id": inner, "content": inner, "input": inner, "action": inner, "outputs": inner,
            "error": inner, "name": "web_search", kind: inner});
        for origin in Dialect::ALL {
            for deed in deeds(origin, &block, &mut Losses::default()) {
                deed.weight();
            }
        }
    }
}
