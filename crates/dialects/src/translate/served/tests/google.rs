//! What only Google does: it tells a search at its place and once more at the end, gives steps no names, and several answers.

use domain::Dialect;
use serde_json::{Value, json};

use super::{streamed_body, told};
use crate::translate::served::CARRIED;

const BY: Dialect = Dialect::Gemini;

fn answer(parts: &Value, grounding: &Value) -> Value {
    let candidate = json!({"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": parts},
        "groundingMetadata": grounding});
    of_candidates(&json!([candidate]))
}

fn of_candidates(candidates: &Value) -> Value {
    json!({"candidates": candidates, "modelVersion": "gemini-3", "responseId": "r",
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10}})
}

/// A part an event, and the rest at the end.
fn events(answer: &Value) -> String {
    let mut body = answer.clone();
    let parts = std::mem::replace(&mut body["candidates"][0]["content"]["parts"], json!([{"text": ""}]));
    let piece = |part: &Value| json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]});
    let mut events: Vec<Value> = parts.as_array().unwrap().iter().map(piece).collect();
    events.push(body);
    let told: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    told.concat()
}

fn response(told: &str) -> Value {
    let last = told.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str::<Value>(last).unwrap()["response"].clone()
}

fn kinds(output: &Value) -> Vec<&str> {
    let items = output.as_array().unwrap().iter();
    items.map(|item| item["type"].as_str().unwrap()).collect()
}

fn call(id: &str, query: &str) -> Value {
    json!({"toolCall": {"id": id, "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": [query]}}})
}

fn came(id: &str) -> Value {
    json!({"toolResponse": {"id": id, "toolType": "GOOGLE_SEARCH_WEB", "response": {}}})
}

fn found() -> Value {
    let page = |url: &str| json!({"web": {"uri": url, "title": "T"}});
    json!({"webSearchQueries": ["rain", "sun"], "groundingChunks": [page("https://a.b/1"), page("https://a.b/2")],
        "groundingSupports": [{"segment": {"endIndex": 3, "text": "Wet"}, "groundingChunkIndices": [0]}]})
}

#[test]
fn a_search_is_told_once_and_with_what_it_found() {
    let searches = [
        (json!([call("s", "rain"), came("s"), {"text": "Wet."}]), 1),
        (json!([call("s", "rain"), {"text": "Wet."}]), 1),
        (
            json!([call("s", "rain"), call("t", "sun"), came("s"), came("t"), {"text": "Wet."}]),
            2,
        ),
        (json!([{"text": "Wet."}]), 1),
    ];
    for (parts, times) in searches {
        let body = answer(&parts, &found());
        let (whole, _) = told(BY, Dialect::OpenaiResponses, &body);
        let (stream, _) = streamed_body(BY, Dialect::OpenaiResponses, events(&body).as_bytes(), 17);
        for output in [&whole["output"], &response(&stream)["output"]] {
            let steps = output.as_array().unwrap().iter();
            let searches: Vec<&Value> = steps.filter(|item| item["type"] == "web_search_call").collect();
            assert_eq!(searches.len(), times, "{output}");
            assert!(searches.iter().all(|item| item["status"] == "completed"), "{output}");
            let sources = &searches[times - 1]["action"]["sources"];
            assert_eq!(
                *sources,
                json!([{"type": "url", "url": "https://a.b/1"}, {"type": "url", "url": "https://a.b/2"}])
            );
        }
        assert_eq!(
            kinds(&whole["output"])[0],
            "web_search_call",
            "before the words that rest on it"
        );
        let (message, _) = told(BY, Dialect::AnthropicMessages, &body);
        let blocks = message["content"].as_array().unwrap();
        let named = |kind: &str| blocks.iter().filter(|block| block["type"] == kind).collect::<Vec<_>>();
        assert_eq!(named("server_tool_use").len(), times, "{message}");
        let results = named("web_search_tool_result");
        assert_eq!(
            results.last().unwrap()["content"][1]["url"],
            "https://a.b/2",
            "{message}"
        );
        assert_eq!(
            results.last().unwrap()["tool_use_id"],
            named("server_tool_use").last().unwrap()["id"]
        );
    }
}

#[test]
fn a_search_without_a_grounding_is_told_all_the_same() {
    let body = answer(&json!([call("s", "rain"), came("s"), {"text": "Wet."}]), &json!({}));
    let (stream, _) = streamed_body(BY, Dialect::OpenaiResponses, events(&body).as_bytes(), 17);
    let output = &response(&stream)["output"];
    let mut told = kinds(output);
    told.sort_unstable();
    assert_eq!(told, ["message", "reasoning", "web_search_call"], "{output}");
}

#[test]
fn what_is_cited_behind_a_call_is_named() {
    let call = json!({"functionCall": {"name": "f", "args": {}, "id": "c"}});
    let cited = json!({"citationSources": [{"startIndex": 0, "endIndex": 3, "uri": "https://a.b/1"}]});
    let body = |parts: Value| {
        let candidate = json!({"index": 0, "finishReason": "STOP", "citationMetadata": cited,
            "content": {"role": "model", "parts": parts}});
        of_candidates(&json!([candidate]))
    };
    for client in [
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::AnthropicMessages,
    ] {
        let late = body(json!([{"text": "Wet."}, call]));
        let (stream, lost) = streamed_body(BY, client, events(&late).as_bytes(), 17);
        let named = lost.iter().filter(|loss| loss.starts_with("citations")).count();
        assert_eq!(named, 1, "{client}: {lost:?}");
        assert!(
            !stream.contains("https://a.b/1") && !stream.contains("citationMetadata"),
            "{client}: {stream}"
        );
        let in_time = body(json!([{"text": "Wet."}]));
        let (stream, lost) = streamed_body(BY, client, events(&in_time).as_bytes(), 17);
        assert!(stream.contains("https://a.b/1"), "{client}: {stream}");
        assert!(!lost.iter().any(|loss| loss.contains("beyond")), "{client}: {lost:?}");
    }
}

#[test]
fn what_has_no_name_is_paired_in_its_order() {
    let code = |code: &str| json!({"executableCode": {"language": "PYTHON", "code": code}});
    let ran = |out: &str| json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": out}});
    let body = answer(
        &json!([code("A"), code("B"), ran("a"), ran("b"), {"text": "x"}]),
        &json!({}),
    );
    let (whole, _) = told(BY, Dialect::OpenaiResponses, &body);
    let pairs: Vec<(&Value, &Value)> = whole["output"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["type"] == "code_interpreter_call")
        .map(|item| (&item["code"], &item["outputs"][0]["logs"]))
        .collect();
    assert_eq!(pairs, [(&json!("A"), &json!("a")), (&json!("B"), &json!("b"))]);
    let (message, _) = told(BY, Dialect::AnthropicMessages, &body);
    let blocks = message["content"].as_array().unwrap();
    let id = |name: &str, value: &str| {
        let is = |block: &&Value| block["input"]["code"] == value || block["content"]["stdout"] == value;
        blocks.iter().find(is).unwrap()[name].clone()
    };
    assert_eq!(id("id", "A"), id("tool_use_id", "a"), "{message}");
    assert_eq!(id("id", "B"), id("tool_use_id", "b"), "{message}");
    assert_ne!(id("id", "A"), id("id", "B"));
}

/// The text was told to its end when the call began.
#[test]
fn what_is_cited_behind_a_call_is_lost_by_name() {
    let body = answer(
        &json!([{"text": "Wet."}, {"functionCall": {"id": "f", "name": "look", "args": {}}}]),
        &found(),
    );
    for client in [
        Dialect::OpenaiResponses,
        Dialect::AnthropicMessages,
        Dialect::OpenaiChat,
    ] {
        let (stream, lost) = streamed_body(BY, client, events(&body).as_bytes(), 17);
        assert!(
            lost.iter().any(|loss| loss.starts_with("citations: ")),
            "{client}: {lost:?}"
        );
        if client == Dialect::OpenaiResponses {
            let output = &response(&stream)["output"];
            assert_eq!(
                kinds(output),
                ["message", "function_call", "web_search_call"],
                "{output}"
            );
        }
    }
}

#[test]
fn the_steps_of_every_candidate_are_carried() {
    let candidate = |index: u32| {
        json!({"index": index, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"executableCode": {"language": "PYTHON", "code": format!("print({index})")}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "x"}}, {"text": "y"}]}})
    };
    let body = of_candidates(&json!([candidate(0), candidate(1)]));
    let (stream, _) = streamed_body(BY, Dialect::OpenaiChat, format!("data: {body}\n\n").as_bytes(), 17);
    for index in 0..2 {
        let carried = stream
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
            .filter(|chunk| chunk["choices"][0]["index"] == index)
            .filter_map(|chunk| {
                chunk["choices"][0]["delta"]["reasoning_details"][0]["data"]
                    .as_str()
                    .map(str::to_owned)
            });
        let carried: Vec<String> = carried.collect();
        assert_eq!(carried.len(), 1, "{stream}");
        assert!(
            carried[0].contains(CARRIED) && carried[0].contains(&format!("print({index})")),
            "{carried:?}"
        );
    }
}
