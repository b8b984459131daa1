//! What the model wrote and what the call cost arrive exactly: numbers in all their digits, trees of any depth, and the
//! figures of the receipt also where the upstream counts nothing.

use super::*;

/// A whole answer of an upstream in a form that the scripted one does not know.
fn raw(body: &str) -> Behaviour {
    Behaviour::raw(200, &[("content-type", "application/json")], body.to_owned())
}

fn raw_stream(body: &str) -> Behaviour {
    Behaviour::raw(200, &[("content-type", "text/event-stream")], body.to_owned())
}

/// Everything that a body says in JSON: itself, or the data of its events.
fn objects(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(whole) => vec![whole],
        Err(_) => text
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect(),
    }
}

/// The last figures of an answer: (input, output).
fn last_usage(client: Format, text: &str) -> Option<(Value, Value)> {
    let (place, input, output) = match client {
        Format::Chat => ("/usage", "prompt_tokens", "completion_tokens"),
        Format::Responses => ("/response/usage", "input_tokens", "output_tokens"),
        Format::Anthropic => ("/usage", "input_tokens", "output_tokens"),
        Format::Gemini => ("/usageMetadata", "promptTokenCount", "candidatesTokenCount"),
    };
    let found = objects(text).into_iter().rev().find_map(|object| {
        let usage = object.pointer(place).or_else(|| object.get("usage"))?.clone();
        usage.is_object().then_some(usage)
    })?;
    Some((found[input].clone(), found[output].clone()))
}

/// Who is billed by an estimate is told the estimate, and not that it cost nothing.
#[test]
fn where_the_upstream_counts_nothing_the_estimate_is_told_that_is_billed() {
    let world = World::new();
    let whole = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{
        "index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}]});
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let stream = format!(
        "{}{}data: [DONE]\n\n",
        chunk(json!({"role": "assistant", "content": TEXT}), Value::Null),
        chunk(json!({}), json!("stop")),
    );
    for client in [Format::Responses, Format::Anthropic, Format::Gemini] {
        for (behaviour, request) in [
            (raw(&whole.to_string()), client.call("chat")),
            (raw_stream(&stream), client.stream("chat")),
            (raw(&whole.to_string()), client.stream("chat")),
        ] {
            world.upstream.always(behaviour);
            let response = world.send(&request);
            let text = response.text();
            assert!(response.is_complete() && response.status() == 200, "{client:?}: {text}");
            let receipt = receipt_of(&world.gateway, &response);
            assert_eq!(receipt["usage_source"], "estimated", "{receipt}");
            let usage = &receipt["usage"];
            assert!(usage["output"].as_u64() > Some(5), "{receipt}");
            let told = last_usage(client, &text);
            assert_eq!(
                told,
                Some((usage["input"].clone(), usage["output"].clone())),
                "{client:?}: {text}"
            );
        }
    }
}

/// The same before an upstream of Gemini's format; and a Chat stream tells usage to who asked for it only.
#[test]
fn chat_clients_are_told_the_estimate_where_they_asked_for_usage() {
    let world = World::new();
    let whole = json!({"candidates": [{"index": 0, "finishReason": "STOP",
        "content": {"role": "model", "parts": [{"text": TEXT}]}}]});
    let stream = format!("data: {whole}\n\n");
    let asking = json!({"model": "gemini", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hi"}]});
    let asking = Request::post("/v1/chat/completions", &asking);
    for (behaviour, request, is_told) in [
        (raw(&whole.to_string()), Format::Chat.call("gemini"), true),
        (raw_stream(&stream), asking, true),
        (raw_stream(&stream), Format::Chat.stream("gemini"), false),
    ] {
        world.upstream.always(behaviour);
        let response = world.send(&request);
        let (text, receipt) = (response.text(), receipt_of(&world.gateway, &response));
        assert_eq!(receipt["usage_source"], "estimated", "{receipt}");
        let usage = &receipt["usage"];
        let told = last_usage(Format::Chat, &text);
        let expected = is_told.then(|| (usage["input"].clone(), usage["output"].clone()));
        assert_eq!(told, expected, "{text}");
    }
}

/// An answer may hold a tree of any depth: it was paid for, and is relayed and billed as any other.
#[test]
fn a_whole_answer_is_relayed_and_billed_however_deep_it_is() {
    let world = World::new();
    let tree = |levels: usize| format!("{}1{}", r#"{"a":["#.repeat(levels), "]}".repeat(levels));
    let anthropic = |tree: &str| {
        format!(
            r#"{{"id":"a","type":"message","role":"assistant","model":"m","content":[{{"type":"tool_use","id":"t","name":"look","input":{tree}}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{{"input_tokens":40,"output_tokens":9}}}}"#
        )
    };
    let (deep, bottomless) = (tree(150), tree(50_000));
    for body in [anthropic(&deep), anthropic(&bottomless)] {
        world.upstream.always(raw(&body));
        let response = world.send(&Format::Anthropic.call("anthropic"));
        assert_eq!((response.status(), response.text()), (200, body));
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(
            (&receipt["usage"]["input"], &receipt["usage"]["output"]),
            (&json!(40), &json!(9)),
            "{receipt}"
        );
    }
    world.upstream.always(raw(&anthropic(&deep)));
    let response = world.send(&Format::Chat.call("anthropic"));
    let arguments = &response.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(arguments, &json!(deep), "{}", response.text());
    assert_eq!(receipt_of(&world.gateway, &response)["usage"]["output"], 9);
    let response = world.send(&Format::Gemini.call("anthropic"));
    assert!(response.text().contains(&deep), "{}", response.text());
    // What cannot be told is an error, and nobody pays for one.
    world.upstream.always(raw(&anthropic(&bottomless)));
    for client in [Format::Chat, Format::Responses, Format::Gemini] {
        let response = world.send(&client.call("anthropic"));
        assert_eq!(response.status(), 502, "{client:?}: {}", response.text());
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["charged"].as_i64().unwrap_or_default(), 0, "{receipt}");
    }
}

/// Numbers of tools arrive in all their digits, on the way down and on the way up.
#[test]
fn numbers_in_arguments_keep_their_digits() {
    let world = World::new();
    let arguments = r#"{"id":123456789012345678901234567890,"price":1.10}"#;
    let body = format!(
        r#"{{"id":"a","type":"message","role":"assistant","model":"m","content":[{{"type":"tool_use","id":"t","name":"look","input":{arguments}}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{{"input_tokens":40,"output_tokens":9}}}}"#
    );
    world.upstream.always(raw(&body));
    for client in FORMATS {
        let text = world.send(&client.call("anthropic")).text();
        let quoted = Value::from(arguments).to_string();
        assert!(text.contains(arguments) || text.contains(&quoted), "{client:?}: {text}");
    }
    world.upstream.always(Behaviour::text("ok"));
    world.upstream.take_received();
    let quoted = Value::from(arguments);
    let history = json!({"model": "gemini", "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "t", "type": "function", "function": {"name": "look", "arguments": quoted}}]},
        {"role": "tool", "tool_call_id": "t", "content": "ok"}]});
    for upstream in [Format::Gemini, Format::Anthropic] {
        let mut history = history.clone();
        history["model"] = json!(model(upstream));
        world.send(&Request::post("/v1/chat/completions", &history));
        let asked = String::from_utf8_lossy(&world.asked().body).into_owned();
        assert!(asked.contains(arguments), "{upstream:?}: {asked}");
    }
}

/// `OpenRouter` by its preset: what it told of reasoning comes back as it was, and marks for its cache reach it.
#[test]
fn openrouter_gets_back_its_reasoning_and_is_told_what_to_cache() {
    let upstream = Upstream::start();
    let config = format!(
        "upstreams:
  - {{name: a, provider: openrouter, base_url: \"{}\", models: [m], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
        upstream.v1()
    );
    let world = World {
        gateway: Setup::config(&config).start(),
        upstream,
    };
    let entries = json!([
        {"type": "reasoning.text", "text": "Let me see.", "signature": "EvAB+/=", "id": "r-1",
            "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "EqQB", "id": "r-2", "format": "anthropic-claude-v1", "index": 1},
    ]);
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let piece = |text: &str| {
        json!({"reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text,
        "signature": null, "id": "r-1", "format": "anthropic-claude-v1", "index": 0}]})
    };
    let stream = [
        chunk(piece("Let me "), Value::Null),
        chunk(piece("see."), Value::Null),
        chunk(
            json!({"reasoning_details": [{"type": "reasoning.text", "signature": "EvAB+/=", "index": 0}, entries[1]]}),
            Value::Null,
        ),
        chunk(json!({"content": "So."}), Value::Null),
        chunk(json!({}), json!("stop")),
        "data: [DONE]\n\n".to_owned(),
    ];
    let mark = json!({"type": "ephemeral"});
    let asking = |messages: Value| {
        let system = json!([{"type": "text", "text": "rules", "cache_control": mark}]);
        let body = json!({"model": "m", "max_tokens": 99, "system": system, "messages": messages, "stream": true});
        Request::post("/v1/messages", &body)
    };
    world.upstream.always(raw_stream(&stream.concat()));
    let first = json!({"role": "user", "content": "Go"});
    let told = world.send(&asking(json!([first])));
    let sent: Value = serde_json::from_slice(&world.asked().body).unwrap();
    assert_eq!(
        sent["messages"][0]["content"],
        json!([{"type": "text", "text": "rules", "cache_control": mark}])
    );
    let said = blocks(&told.text());
    let kinds: Vec<&Value> = said.iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["thinking", "redacted_thinking", "text"], "{}", told.text());
    world.send(&asking(
        json!([first, {"role": "assistant", "content": said}, {"role": "user", "content": "And?"}]),
    ));
    let sent: Value = serde_json::from_slice(&world.asked().body).unwrap();
    assert_eq!(sent["messages"][2]["reasoning_details"], entries, "{sent}");
}

/// The blocks of an Anthropic stream, as its SDK puts them together.
fn blocks(stream: &str) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    for event in objects(stream) {
        match event["type"].as_str() {
            Some("content_block_start") => blocks.push(event["content_block"].clone()),
            Some("content_block_delta") => {
                let (Some(block), Some(delta)) = (blocks.last_mut(), event["delta"].as_object()) else {
                    continue;
                };
                for (name, more) in delta.iter().filter(|(name, _)| *name != "type") {
                    let known = block[name].as_str().unwrap_or_default();
                    block[name] = format!("{known}{}", more.as_str().unwrap_or_default()).into();
                }
            }
            _ => {}
        }
    }
    blocks
}
