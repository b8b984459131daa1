//! Renamed tools are called by every client as it declared them: each format over each other one, whole and streamed.

use bytes::Bytes;
use domain::provider::Quirks;
use domain::{Operation, Surface};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::coder::StreamEncoder;
use super::super::{Asked, Beginning, Question, Target, Transcoder};
use super::*;
use crate::hub::{Choice, Losses, Stop, StopReason, Tool, ToolCall};
use crate::stream::{StreamEnd, StreamTap, TapOptions};

const CLIENTS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];

const ODD: &str = "ns.x:y-z";

/// What others call it, if it were not for [`ODD`]'s neighbour, which is called so.
const TAKEN: &str = "ns_x_y-z";

fn long() -> String {
    "l".repeat(130)
}

/// A second turn: the first tool was called.
fn request(client: Dialect, stream: bool) -> Value {
    let names = [ODD.to_owned(), TAKEN.to_owned(), long()];
    let schema = json!({"type": "object", "properties": {}});
    let tools =
        |tool: fn(&str, &Value) -> Value| Value::from(names.iter().map(|name| tool(name, &schema)).collect::<Vec<_>>());
    match client {
        Dialect::OpenaiChat => json!({"model": "m", "stream": stream,
            "tools": tools(|name, schema| json!({"type": "function", "function": {"name": name, "parameters": schema}})),
            "tool_choice": {"type": "function", "function": {"name": ODD}},
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": ODD, "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"}]}),
        Dialect::OpenaiResponses => json!({"model": "m", "stream": stream,
            "tools": tools(|name, schema| json!({"type": "function", "name": name, "parameters": schema})),
            "tool_choice": {"type": "function", "name": ODD},
            "input": [
                {"role": "user", "content": "go"},
                {"type": "function_call", "call_id": "c1", "name": ODD, "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "done"}]}),
        Dialect::AnthropicMessages => json!({"model": "m", "max_tokens": 9, "stream": stream,
            "tools": tools(|name, schema| json!({"name": name, "input_schema": schema})),
            "tool_choice": {"type": "tool", "name": ODD},
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": ODD, "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done"}]}]}),
        _ => json!({
            "tools": [{"functionDeclarations": tools(|name, schema| json!({"name": name, "parametersJsonSchema": schema}))}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [ODD]}},
            "contents": [
                {"role": "user", "parts": [{"text": "go"}]},
                {"role": "model", "parts": [{"functionCall": {"name": ODD, "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": ODD, "response": {"output": "done"}}}]}]}),
    }
}

fn question(client: Dialect, stream: bool) -> Question {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, client),
        model: "m",
        stream,
        json_array: false,
        id: "7",
        created: 1,
    };
    Question::read(&asked, request(client, stream).to_string().as_bytes()).unwrap()
}

/// The request's names of tools at the target, all of them, and what is lost.
fn told(client: Dialect, target: Dialect) -> (Vec<String>, Vec<String>) {
    let quirks = Quirks::default();
    let about = Target {
        model: "gemini-3-pro",
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks: &quirks,
    };
    let encoded = question(client, false).encode(target, &about).unwrap();
    let mut found = Vec::new();
    collect(&serde_json::from_slice(&encoded.body).unwrap(), &mut found);
    (found, encoded.losses.iter().map(|loss| loss.what.to_string()).collect())
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        Value::Object(members) => {
            for (member, value) in members {
                match (member.as_str(), value) {
                    ("name", Value::String(name)) => found.push(name.clone()),
                    ("allowedFunctionNames", Value::Array(names)) => {
                        found.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => collect(value, found),
                }
            }
        }
        _ => {}
    }
}

/// An answer that calls each of these.
fn calling(names: &[String]) -> Answer {
    let calls = names.iter().enumerate().map(|(at, name)| {
        Part::new(Content::ToolCall(ToolCall {
            id: Some(format!("call_{at}")),
            name: name.clone(),
            arguments: "{}".to_owned(),
            ..ToolCall::default()
        }))
    });
    Answer {
        id: "a".to_owned(),
        model: "m".to_owned(),
        choices: vec![Choice {
            parts: calls.collect(),
            stop: Some(Stop::new(StopReason::Tool)),
            logprobs: None,
        }],
        ..Answer::default()
    }
}

/// Such an answer in the words of an upstream.
fn upstream(dialect: Dialect, names: &[String]) -> Value {
    let (reply, losses) = (&crate::translate::Reply::default(), &mut Losses::default());
    match dialect {
        Dialect::OpenaiChat => crate::openai_chat::encode::answer(calling(names), reply, losses),
        Dialect::OpenaiResponses => crate::openai_responses::encode::answer(calling(names), reply, losses),
        Dialect::AnthropicMessages => crate::anthropic_messages::encode::answer(calling(names), reply, losses),
        Dialect::Gemini => crate::gemini::encode::answer(calling(names), reply, losses),
        Dialect::BedrockConverse => {
            let call = |name: &String| json!({"toolUse": {"toolUseId": "c", "name": name, "input": {}}});
            let content: Vec<Value> = names.iter().map(call).collect();
            json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use",
                "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}})
        }
    }
}

/// The names of calls in an answer or in events of one, each once, in their order.
fn called(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(&text) {
        collect(&value, &mut found);
    }
    for data in text.lines().filter_map(|line| line.strip_prefix("data: {")) {
        let mut value: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
        // What an answer of Responses repeats of the request, and at its end of itself.
        if let Some(members) = value.as_object_mut() {
            members.remove("response");
        }
        collect(&value, &mut found);
    }
    let mut seen = HashSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found
}

/// A stream of an upstream that calls these, and what watches it.
fn calls(target: Dialect, names: &[String]) -> (Vec<u8>, StreamTap) {
    let mut wire = Vec::new();
    let mut encoder = StreamEncoder::new(target, crate::translate::Reply::default());
    for event in calling(names).into_events() {
        assert!(encoder.event(event, &mut wire, &mut Losses::default()));
    }
    encoder.finish(&mut wire, &mut Losses::default());
    let tap = StreamTap::new(TapOptions {
        surface: Surface::new(Operation::Chat, target),
        hide_usage_chunk: false,
        json_array: false,
    });
    (wire, tap)
}

fn streamed(client: Dialect, target: Dialect, names: &[String], step: usize) -> Vec<u8> {
    let (wire, tap) = calls(target, names);
    let mut transcoder = Transcoder::translate(tap, client, question(client, true).reply);
    let mut out = Vec::new();
    for chunk in wire.chunks(step) {
        transcoder.push(Bytes::copy_from_slice(chunk), &mut out);
    }
    match transcoder.finish(true) {
        StreamEnd::Complete { last } => out.push(last),
        end @ StreamEnd::Incomplete { .. } => panic!("{client} of {target}: {end:?}"),
    }
    out.concat()
}

fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    let targets = || CLIENTS.into_iter().chain([Dialect::BedrockConverse]);
    CLIENTS
        .into_iter()
        .flat_map(move |client| targets().map(move |target| (client, target)))
        .filter(|(client, target)| client != target)
}

#[test]
fn a_target_gets_names_that_it_takes_the_same_in_declarations_choice_and_history() {
    for (client, target) in pairs() {
        let (names, losses) = told(client, target);
        assert!(
            names.iter().all(|name| Rule::of(target).takes(name)),
            "{client} to {target}: {names:?}"
        );
        let distinct: HashSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), 3, "{client} to {target}: {names:?}");
        let odd = names
            .iter()
            .filter(|name| name.as_str() != TAKEN && name.starts_with("ns"));
        assert!(odd.count() >= 3, "{client} to {target}: {names:?}");
        assert!(!losses.iter().any(|what| what.contains("name")), "{losses:?}");
        assert_eq!(told(client, target).0, names, "the same each time");
    }
}

#[test]
fn calls_come_back_under_the_clients_names() {
    for (client, target) in pairs() {
        let own = [ODD.to_owned(), TAKEN.to_owned(), long()];
        let changed = question(client, false).reply.tools;
        let changed: HashMap<&str, String> = changed.changed(target).into_iter().collect();
        let names = own
            .each_ref()
            .map(|name| changed.get(name.as_str()).unwrap_or(name).clone());
        let body = upstream(target, &names).to_string();
        let report = crate::read_answer(Surface::new(Operation::Chat, target), body.as_bytes()).unwrap();
        for stream in [false, true] {
            let encoded = question(client, stream)
                .answer(target, client, body.as_bytes(), &report)
                .unwrap();
            let mut heard = called(&encoded.body);
            heard.truncate(3);
            assert_eq!(heard, own, "{client} of {target}");
        }
        if target == Dialect::BedrockConverse {
            continue;
        }
        let whole = streamed(client, target, &names, usize::MAX);
        assert_eq!(called(&whole), own, "{client} of {target}");
        assert_eq!(streamed(client, target, &names, 7), whole, "{client} of {target}");
    }
}

#[test]
fn an_answer_that_is_taken_up_elsewhere_has_the_names_of_there() {
    let question = question(Dialect::Gemini, true);
    let told = |target| question.reply.tools.changed(target).remove(1).1;
    let (chat, anthropic) = (told(Dialect::OpenaiChat), told(Dialect::AnthropicMessages));
    assert_ne!(chat, anthropic, "cut at 64 and at 128");
    let (_, broken) = calls(Dialect::OpenaiChat, &[chat]);
    let mut transcoder = Transcoder::recoverable(broken, Dialect::Gemini, question.reply.clone());
    let (wire, tap) = calls(Dialect::AnthropicMessages, &[anthropic]);
    let (mut next, mut out) = (Transcoder::listening(tap), Vec::new());
    next.push(wire.into(), &mut out);
    assert!(
        transcoder
            .resume(next, &Beginning::default(), false, &mut out)
            .is_none()
    );
    assert!(matches!(transcoder.finish(true), StreamEnd::Complete { .. }));
    assert_eq!(called(&out.concat()), [long()]);
}

#[test]
fn a_format_of_the_clients_own_keeps_its_names() {
    for client in CLIENTS {
        assert!(told(client, client).0.contains(&ODD.to_owned()), "{client}");
    }
}

#[test]
fn names_that_all_take_cost_nothing() {
    let request = Request {
        tools: vec![Tool::Custom {
            name: "plain_name-1".to_owned(),
            description: None,
            format: None,
            extra: crate::hub::Extra::default(),
        }],
        ..Request::default()
    };
    assert!(ToolNames::of(&request, Dialect::Gemini).given.is_empty());
}

#[test]
fn a_changed_name_does_not_hang_on_its_neighbours() {
    let of = |given: &[&str]| {
        let names = ToolNames {
            client: Some(Dialect::Gemini),
            given: given.iter().map(|name| (*name).to_owned()).collect(),
        };
        let changed = names.changed(Dialect::OpenaiChat);
        let changed = changed.into_iter().map(|(name, told)| (name.to_owned(), told));
        changed.collect::<HashMap<String, String>>()
    };
    let (one, two) = (format!("{}1", long()), format!("{}2", long()));
    let (alone, both) = (of(&[&two]), of(&[&one, &two]));
    assert_eq!(alone[&two], both[&two]);
    assert_ne!(both[&one], both[&two]);
    assert_eq!(of(&["9.a"])["9.a"], "9_a");
}

proptest! {
    #[test]
    fn names_stay_apart_and_are_taken(given in proptest::collection::hash_set(".{0,140}|[a.:/_]{0,3}", 0..20)) {
        for target in CLIENTS {
            let names = ToolNames { client: Some(Dialect::BedrockConverse), given: given.iter().cloned().collect() };
            let changed: HashMap<&str, String> = names.changed(target).into_iter().collect();
            let told: HashSet<&str> = given.iter().map(|name| changed.get(name.as_str()).unwrap_or(name).as_str()).collect();
            prop_assert_eq!(told.len(), given.len());
            prop_assert!(told.iter().all(|name| Rule::of(target).takes(name)));
        }
    }
}
