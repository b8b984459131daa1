//! OpenRouter's `reasoning_details` through clients of every format and back, and cache marks on the way to it.

use super::*;

const CLIENTS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];

/// As OpenRouter tells reasoning of Claude, of GPT, of Grok and of Gemini; the last one in words that nobody knows yet.
fn entries() -> [Value; 5] {
    [
        json!([{"type": "reasoning.text", "text": "Let me\nsee.", "signature": "EvAB+/=", "id": "reasoning-text-1",
                "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "EqQB", "id": "r-2", "format": "anthropic-claude-v1", "index": 1}]),
        json!([{"format": "openai-responses-v1", "index": 0, "type": "reasoning.summary", "summary": "**Plan** \"é\""},
            {"format": "openai-responses-v1", "index": 0, "type": "reasoning.encrypted", "id": "rs_1", "data": "gAAA"}]),
        json!([{"type": "reasoning.encrypted", "data": "B7oH", "id": null, "format": "xai-responses-v1", "index": 0}]),
        json!([{"type": "reasoning.text", "text": "One.", "signature": null, "format": "google-gemini-v1", "index": 0},
            {"type": "reasoning.text", "text": "Two.", "format": "google-gemini-v1", "index": 1},
            {"type": "reasoning.encrypted", "data": "CiQB", "id": "t", "format": "google-gemini-v1", "index": 2}]),
        json!([{"type": "reasoning.novel", "id": "n", "depth": 1.50, "index": 0}]),
    ]
}

fn answer(entries: &Value) -> Value {
    let call = json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let is_spoken = entries[0].get("text").is_some() || entries[0].get("summary").is_some();
    let plain = is_spoken.then_some("told twice");
    let message = json!({"role": "assistant", "content": "So.", "reasoning": plain, "reasoning_details": entries,
        "tool_calls": [call]});
    json!({"id": "gen-1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
}

/// The same in pieces: words by the letter, with what is known by them in the first and the seal in the last one.
fn pieces(entries: &Value) -> String {
    let mut deltas = Vec::new();
    for entry in entries.as_array().unwrap() {
        let entry = entry.as_object().unwrap();
        let name = ["text", "summary"].into_iter().find(|name| entry.contains_key(*name));
        let words = name.and_then(|name| entry[name].as_str()).unwrap_or_default();
        let mut bare = entry.clone();
        let signature = bare.shift_remove("signature").filter(|seal| !seal.is_null());
        for letter in words.chars() {
            bare[name.unwrap()] = letter.to_string().into();
            deltas.push(json!({"reasoning": letter.to_string(), "reasoning_details": [bare]}));
        }
        if words.is_empty() {
            deltas.push(json!({"reasoning_details": [bare]}));
        }
        if let Some(seal) = signature {
            let last = json!({"type": entry["type"], "index": entry["index"], "text": "", "signature": seal});
            deltas.push(json!({"content": "", "reasoning_details": [last]}));
        }
    }
    deltas.push(json!({"content": "So."}));
    deltas.push(
        json!({"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
    );
    let chunk = |delta: &Value, reason: Value| {
        let chunk =
            json!({"id": "gen-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        format!("data: {chunk}\n\n")
    };
    let told: String = deltas.iter().map(|delta| chunk(delta, Value::Null)).collect();
    told + &chunk(&json!({}), json!("tool_calls")) + "data: [DONE]\n\n"
}

/// What a client sends back of a whole answer.
fn sent_back(client: Dialect, told: &Value) -> Value {
    match client {
        Dialect::OpenaiChat => {
            let mut said = told["choices"][0]["message"].clone();
            said.as_object_mut().unwrap().shift_remove("annotations");
            json!({"model": "m", "messages": [{"role": "user", "content": "Go"}, said,
                {"role": "tool", "tool_call_id": "t", "content": "ok"}]})
        }
        Dialect::OpenaiResponses => {
            let mut input = vec![json!({"role": "user", "content": "Go"})];
            input.extend(told["output"].as_array().unwrap().iter().cloned());
            input.push(json!({"type": "function_call_output", "call_id": "t", "output": "ok"}));
            json!({"model": "m", "input": input})
        }
        Dialect::AnthropicMessages => json!({"model": "m", "max_tokens": 9, "messages": [
            {"role": "user", "content": "Go"}, {"role": "assistant", "content": told["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}]}),
        Dialect::Gemini | Dialect::BedrockConverse => json!({"contents": [
            {"role": "user", "parts": [{"text": "Go"}]}, told["candidates"][0]["content"],
            {"role": "user", "parts": [{"functionResponse": {"id": "t", "name": "f", "response": {"output": "ok"}}}]}]}),
    }
}

/// The answer that the pieces of a stream make, as the client's SDK puts it together.
fn collected(client: Dialect, told: &str) -> Value {
    let events = told.lines().filter_map(|line| line.strip_prefix("data: {"));
    let events: Vec<Value> = events
        .map(|data| serde_json::from_str(&format!("{{{data}")).unwrap())
        .collect();
    match client {
        Dialect::OpenaiChat => {
            let (mut thought, mut details, mut content) = (String::new(), Vec::new(), String::new());
            for event in &events {
                let delta = &event["choices"][0]["delta"];
                thought += delta["reasoning_content"].as_str().unwrap_or_default();
                content += delta["content"].as_str().unwrap_or_default();
                details.extend(delta["reasoning_details"].as_array().cloned().unwrap_or_default());
            }
            let call = json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}});
            let message = json!({"role": "assistant", "content": content, "reasoning_content": thought,
                "reasoning_details": details, "tool_calls": [call]});
            json!({"choices": [{"message": message}]})
        }
        Dialect::OpenaiResponses => events.last().unwrap()["response"].clone(),
        Dialect::AnthropicMessages => {
            let mut content: Vec<Value> = Vec::new();
            for event in &events {
                let delta = &event["delta"];
                match event["type"].as_str().unwrap() {
                    "content_block_start" => content.push(event["content_block"].clone()),
                    "content_block_delta" => {
                        let block = content.last_mut().unwrap();
                        for name in ["thinking", "text"] {
                            if let (Some(more), Some(known)) = (delta[name].as_str(), block[name].as_str()) {
                                block[name] = format!("{known}{more}").into();
                            }
                        }
                        if let Some(seal) = delta.get("signature") {
                            block["signature"] = seal.clone();
                        }
                    }
                    _ => {}
                }
            }
            json!({"content": content})
        }
        Dialect::Gemini | Dialect::BedrockConverse => {
            let parts = events
                .iter()
                .filter_map(|event| event["candidates"][0]["content"]["parts"].as_array());
            json!({"candidates": [{"content": {"role": "model", "parts": parts.flatten().collect::<Vec<_>>()}}]})
        }
    }
}

fn assert_comes_back(client: Dialect, told: &Value, entries: &Value, how: &str) {
    let (body, losses) = told_openrouter(client, &sent_back(client, told), true);
    let said = &body["messages"][1];
    assert_eq!(&said["reasoning_details"], entries, "{client}, {how}: {told}");
    assert!(said.get("reasoning_content").is_none(), "{client}, {how}: {said}");
    assert_eq!(said["content"], "So.", "{client}, {how}");
    assert!(
        losses.iter().all(|loss| loss != "thinking"),
        "{client}, {how}: {losses:?}"
    );
}

fn told_openrouter(client: Dialect, body: &Value, reads_marks: bool) -> (Value, Vec<String>) {
    let quirks = Quirks {
        cache_control: reads_marks,
        reasoning_details: true,
        ..Quirks::default()
    };
    told_upstream(client, body, &quirks)
}

fn told_upstream(client: Dialect, body: &Value, quirks: &Quirks) -> (Value, Vec<String>) {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, client),
        model: "m",
        stream: false,
        json_array: false,
        id: "7",
        created: 1,
    };
    let target = Target {
        model: "m",
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks,
    };
    let question = Question::read(&asked, body.to_string().as_bytes()).unwrap();
    let encoded = question.encode(Dialect::OpenaiChat, &target).unwrap();
    let losses = encoded.losses.iter().map(|loss| loss.what.to_string()).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), losses)
}

#[test]
fn openrouters_reasoning_comes_back_from_clients_of_every_format() {
    for entries in entries() {
        for client in CLIENTS {
            let (told, _) = answered(Dialect::OpenaiChat, &answer(&entries), client);
            assert_comes_back(client, &told, &entries, "whole");
        }
    }
}

#[test]
fn openrouters_reasoning_comes_back_from_streams() {
    for mut entries in entries() {
        let body: &'static str = Box::leak(pieces(&entries).into_boxed_str());
        // A `null` is nothing in a stream, and the seal stands where it came.
        for entry in entries.as_array_mut().unwrap() {
            let entry = entry.as_object_mut().unwrap();
            if entry.get("signature").is_some_and(Value::is_null) {
                entry.shift_remove("signature");
            }
        }
        for client in CLIENTS {
            let (told, end) = streamed(Dialect::OpenaiChat, body, client);
            assert!(matches!(end, StreamEnd::Complete { .. }), "{told}");
            assert_comes_back(client, &collected(client, &told), &entries, "streamed");
        }
    }
}

/// `MiniMax`, DeepSeek and others answer them with 400: of an upstream of the format nothing follows.
#[test]
fn no_other_upstream_gets_openrouters_reasoning() {
    for entries in entries() {
        for client in CLIENTS {
            let (told, _) = answered(Dialect::OpenaiChat, &answer(&entries), client);
            let (body, losses) = told_upstream(client, &sent_back(client, &told), &Quirks::default());
            let text = body.to_string();
            assert!(!text.contains("reasoning"), "{client}: {text}");
            assert_eq!(body["messages"][1]["content"], "So.", "{client}");
            assert!(losses.iter().any(|loss| loss == "thinking"), "{client}: {losses:?}");
        }
    }
}

/// DeepSeek and its kin take back plain words, whoever told them.
#[test]
fn who_takes_back_plain_words_gets_these() {
    let (told, _) = answered(Dialect::OpenaiChat, &answer(&entries()[0]), Dialect::AnthropicMessages);
    let body = sent_back(Dialect::AnthropicMessages, &told);
    let quirks = Quirks {
        reasoning_content: true,
        ..Quirks::default()
    };
    let (body, _) = told_upstream(Dialect::AnthropicMessages, &body, &quirks);
    assert_eq!(body["messages"][1]["reasoning_content"], "Let me\nsee.");
    assert!(body["messages"][1].get("reasoning_details").is_none(), "{body}");
}

#[test]
fn cache_marks_reach_who_reads_them() {
    let mark = |ttl: Option<&str>| match ttl {
        Some(ttl) => json!({"type": "ephemeral", "ttl": ttl}),
        None => json!({"type": "ephemeral"}),
    };
    let body = json!({"model": "m", "max_tokens": 9, "cache_control": mark(None),
        "system": [{"type": "text", "text": "rules"}, {"type": "text", "text": "book", "cache_control": mark(Some("1h"))}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": mark(None)}]},
            {"role": "assistant", "content": [{"type": "text", "text": "b", "cache_control": mark(None)},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "ok", "cache_control": mark(None)},
                {"type": "image", "source": {"type": "url", "url": "https://a.b/c.png"}, "cache_control": mark(None)},
                {"type": "text", "text": "d"}]}]});
    let (told, losses) = told_openrouter(Dialect::AnthropicMessages, &body, true);
    assert_eq!(losses, Vec::<String>::new());
    assert_eq!(told["cache_control"], mark(None));
    let text = |text: &str, mark: Value| json!({"type": "text", "text": text, "cache_control": mark});
    assert_eq!(
        told["messages"],
        json!([
            {"role": "system", "content": [{"type": "text", "text": "rules"}, text("book", mark(Some("1h")))]},
            {"role": "user", "content": [text("a", mark(None))]},
            {"role": "assistant", "content": [text("b", mark(None))],
                "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "t", "content": [text("ok", mark(None))]},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}, "cache_control": mark(None)},
                {"type": "text", "text": "d"}]},
        ])
    );
    // And a Chat client's own, where its request is told anew.
    let (again, losses) = told_openrouter(Dialect::OpenaiChat, &told, true);
    assert_eq!((&again["messages"], losses), (&told["messages"], Vec::new()));
    let (plain, losses) = told_openrouter(Dialect::AnthropicMessages, &body, false);
    assert!(!plain.to_string().contains("cache_control"), "{plain}");
    assert_eq!(losses, ["cache_control"]);
}
