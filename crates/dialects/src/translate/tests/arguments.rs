//! What tools are called with arrives as the model wrote it: numbers in all their digits, and trees of any usual depth.

use super::*;
use crate::limits::NESTED_MAX;

/// Numbers that a double or 64 bits cannot hold, or would be written otherwise by. (An exponent without a sign gets one.)
const NUMBERS: &str = r#"{"id":123456789012345678901234567890,"negative":-9223372036854775809,"pi":3.14159265358979323846,"price":1.10,"whole":5.0,"large":1e+400,"small":2.5e-7,"list":[18446744073709551616,0.1]}"#;

const CLIENTS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];

/// Deeper than `serde_json` reads by itself; with the body around it still within the bound.
fn tree() -> String {
    let levels = (NESTED_MAX - 40) / 2;
    format!("{}{}", r#"{"a":["#.repeat(levels), "]}".repeat(levels))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The whole answer of an upstream that calls `f` with these arguments.
fn answer_with(arguments: &str, from: Dialect) -> String {
    let text = quoted(arguments);
    match from {
        Dialect::OpenaiChat => format!(
            r#"{{"id":"c","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":null,"tool_calls":[{{"id":"t","type":"function","function":{{"name":"f","arguments":{text}}}}}]}},"finish_reason":"tool_calls"}}]}}"#
        ),
        Dialect::OpenaiResponses => format!(
            r#"{{"id":"r","object":"response","status":"completed","model":"m","output":[{{"type":"function_call","id":"i","call_id":"t","name":"f","arguments":{text},"status":"completed"}}]}}"#
        ),
        Dialect::AnthropicMessages => format!(
            r#"{{"id":"a","type":"message","role":"assistant","model":"m","content":[{{"type":"tool_use","id":"t","name":"f","input":{arguments}}}],"stop_reason":"tool_use","usage":{{"input_tokens":1,"output_tokens":1}}}}"#
        ),
        Dialect::Gemini => format!(
            r#"{{"candidates":[{{"content":{{"role":"model","parts":[{{"functionCall":{{"name":"f","args":{arguments}}}}}]}},"finishReason":"STOP"}}]}}"#
        ),
        Dialect::BedrockConverse => format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{{"toolUse":{{"toolUseId":"t","name":"f","input":{arguments}}}}}]}}}},"stopReason":"tool_use"}}"#
        ),
    }
}

/// The same as a stream, where the format has arguments in text.
fn stream_with(arguments: &str, from: Dialect) -> String {
    let text = quoted(arguments);
    match from {
        Dialect::OpenaiChat => format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"id\":\"t\",\"type\":\"function\",\"function\":{{\"name\":\"f\",\"arguments\":{text}}}}}]}}}}]}}\n\ndata: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"tool_calls\"}}]}}\n\ndata: [DONE]\n\n"
        ),
        Dialect::Gemini => format!("data: {}\n\n", answer_with(arguments, from)),
        _ => format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"a\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}\n\nevent: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{{}}}}}}\n\nevent: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"input_json_delta\",\"partial_json\":{text}}}}}\n\nevent: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\nevent: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"tool_use\"}},\"usage\":{{\"output_tokens\":2}}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        ),
    }
}

/// A history in which the model called `f` so.
fn history_with(arguments: &str, client: Dialect) -> String {
    let text = quoted(arguments);
    match client {
        Dialect::OpenaiChat => format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"t","type":"function","function":{{"name":"f","arguments":{text}}}}}]}},{{"role":"tool","tool_call_id":"t","content":"ok"}}]}}"#
        ),
        Dialect::OpenaiResponses => format!(
            r#"{{"model":"m","input":[{{"role":"user","content":"hi"}},{{"type":"function_call","call_id":"t","name":"f","arguments":{text}}},{{"type":"function_call_output","call_id":"t","output":"ok"}}]}}"#
        ),
        Dialect::AnthropicMessages => format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"hi"}},{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"f","input":{arguments}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t","content":"ok"}}]}}]}}"#
        ),
        Dialect::Gemini | Dialect::BedrockConverse => format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"text":"hi"}}]}},{{"role":"model","parts":[{{"functionCall":{{"name":"f","args":{arguments}}}}}]}},{{"role":"user","parts":[{{"functionResponse":{{"name":"f","response":{{"output":"ok"}}}}}}]}}]}}"#
        ),
    }
}

/// The text of a translation, in which arguments stand as they are or in a text.
fn says(told: &str, arguments: &str) -> bool {
    let inside = quoted(arguments);
    told.contains(arguments) || told.contains(&inside)
}

fn answer_told(body: &str, from: Dialect, to: Dialect) -> (String, Vec<Loss>) {
    let report = crate::read_answer(Surface::new(Operation::Chat, from), body.as_bytes()).unwrap();
    let encoded = translate_answer(from, to, body.as_bytes(), &report, &Reply::default()).unwrap();
    (String::from_utf8(encoded.body.to_vec()).unwrap(), encoded.losses)
}

fn history_told(body: &str, client: Dialect, upstream: Dialect) -> Result<String, BadRequest> {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, client),
        model: "m",
        stream: false,
        json_array: false,
        id: "7",
        created: 1,
    };
    let quirks = Quirks::default();
    let target = Target {
        model: CLAUDE,
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks: &quirks,
    };
    let encoded = Question::read(&asked, body.as_bytes())?.encode(upstream, &target)?;
    Ok(String::from_utf8(encoded.body.to_vec()).unwrap())
}

#[test]
fn arguments_of_whole_answers_arrive_as_written() {
    for arguments in [NUMBERS, &tree()] {
        for from in Dialect::ALL {
            for to in CLIENTS {
                let (told, losses) = answer_told(&answer_with(arguments, from), from, to);
                assert!(says(&told, arguments), "{from} -> {to}: {told}");
                assert!(
                    losses.iter().all(|loss| !loss.what.contains("arguments")),
                    "{from} -> {to}: {losses:?}"
                );
            }
        }
    }
}

#[test]
fn arguments_of_streams_arrive_as_written() {
    for arguments in [NUMBERS, &tree()] {
        for from in [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::Gemini] {
            for to in CLIENTS {
                let body: &'static str = Box::leak(stream_with(arguments, from).into_boxed_str());
                let (told, end) = streamed(from, body, to);
                assert!(matches!(end, StreamEnd::Complete { .. }), "{from} -> {to}: {told}");
                assert!(says(&told, arguments), "{from} -> {to}: {told}");
            }
        }
    }
}

#[test]
fn arguments_of_histories_arrive_as_written() {
    for arguments in [NUMBERS, &tree()] {
        for client in CLIENTS {
            for upstream in Dialect::ALL {
                let told = history_told(&history_with(arguments, client), client, upstream).unwrap();
                assert!(says(&told, arguments), "{client} -> {upstream}: {told}");
            }
        }
    }
}

/// Beyond the bound nothing is told rather than half of it.
#[test]
fn what_is_too_deep_is_refused_and_not_cut() {
    let deep = format!("{}{}", r#"{"a":"#.repeat(5_000) + "1", "}".repeat(5_000));
    let body = answer_with(&deep, Dialect::AnthropicMessages);
    let surface = Surface::new(Operation::Chat, Dialect::AnthropicMessages);
    let report = crate::read_answer(surface, body.as_bytes()).unwrap();
    assert!(report.complete && report.content_bytes > 0);
    let (from, to) = (Dialect::AnthropicMessages, Dialect::OpenaiChat);
    assert!(translate_answer(from, to, body.as_bytes(), &report, &Reply::default()).is_err());
    assert!(history_told(&history_with(&deep, from), from, to).is_err());
    // In text it is nobody's business how deep it is.
    let body = answer_with(&deep, Dialect::OpenaiChat);
    let (told, _) = answer_told(&body, Dialect::OpenaiChat, Dialect::OpenaiResponses);
    assert!(says(&told, &deep));
}

#[test]
fn schemas_may_not_be_as_deep() {
    let schema = |levels: usize| {
        let mut schema = json!({"type": "string"});
        for _ in 0..levels {
            schema = json!({"type": "array", "items": schema});
        }
        schema
    };
    for (levels, is_taken) in [(60, true), (120, false)] {
        let function = json!({"name": "f", "parameters": schema(levels)});
        let body = chat(&json!({"tools": [{"type": "function", "function": function}]}));
        let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema(levels)}});
        for body in [body, chat(&json!({"response_format": format}))] {
            let told = history_told(&body.to_string(), Dialect::OpenaiChat, Dialect::Gemini);
            assert_eq!(told.is_ok(), is_taken, "{levels}");
        }
    }
}
