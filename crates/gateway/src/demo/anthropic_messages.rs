//! Anthropic Messages.
//!
//! Usage comes in two parts: `message_start` has the input and a first output token, `message_delta` the cumulative
//! figures; the block between them is opened, filled and closed by its own events.

use serde_json::{Value, json};

use super::conversation::{
    Choice, Format, Last, Prompt, Said, Tool, count, given, input_tokens, list, result_text, text_of,
};
use super::refusal::Refusal;
use super::script::{Script, named_event};
use super::{Ask, Reply, fresh_id, json_bytes};

/// `POST /messages`.
pub(crate) fn create(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let prompt = prompt(body)?;
    if prompt.tokens_max.is_none() {
        return Err(Refusal::invalid("max_tokens: Field required"));
    }
    let said = prompt.reply()?;
    Ok(if ask.stream {
        Reply::Stream(stream(ask, &said, prompt.input_tokens))
    } else {
        let mut message = message(ask, &usage(prompt.input_tokens, said.tokens()));
        message["content"] = json!([block(&said, true)]);
        message["stop_reason"] = json!(stop_reason(&said));
        Reply::Whole(json_bytes(&message))
    })
}

/// `POST /messages/count_tokens`.
pub(crate) fn count_tokens(body: &Value) -> Result<Reply, Refusal> {
    let prompt = prompt(body)?;
    Ok(Reply::Whole(json_bytes(&json!({"input_tokens": prompt.input_tokens}))))
}

fn prompt(body: &Value) -> Result<Prompt<'_>, Refusal> {
    let messages = given(body, "messages").ok_or_else(|| Refusal::invalid("messages: Field required"))?;
    let messages = messages
        .as_array()
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| Refusal::invalid("messages: at least one message is required"))?;
    Ok(Prompt {
        last: last(messages),
        tools: tools(body),
        choice: choice(body),
        format: format(body),
        tokens_max: count(body, "max_tokens")?,
        input_tokens: input_tokens(body, &["system", "messages", "tools"]),
    })
}

fn last(messages: &[Value]) -> Last {
    let content = messages.last().map_or(&Value::Null, |message| &message["content"]);
    let results = content.as_array().map_or(&[][..], Vec::as_slice).iter();
    let results: Vec<String> = results
        .filter(|block| block["type"] == "tool_result")
        .map(|block| result_text(&block["content"]))
        .collect();
    if !results.is_empty() {
        return Last::ToolResult(results.join(", "));
    }
    let user = messages.iter().rfind(|message| message["role"] == "user");
    let text = user.map(|message| text_of(&message["content"])).unwrap_or_default();
    if messages.last().is_some_and(|message| message["role"] == "assistant") {
        Last::Model(text)
    } else {
        Last::User(text)
    }
}

/// The caller's own tools; those that Anthropic runs itself have no schema.
fn tools(body: &Value) -> Vec<Tool<'_>> {
    let own = list(body, "tools")
        .iter()
        .filter(|tool| tool.get("input_schema").is_some());
    own.filter_map(|tool| {
        Some(Tool {
            name: tool["name"].as_str()?,
            schema: given(tool, "input_schema"),
        })
    })
    .collect()
}

fn choice(body: &Value) -> Choice<'_> {
    let choice = &body["tool_choice"];
    match (choice["type"].as_str(), choice["name"].as_str()) {
        (Some("none"), _) => Choice::Never,
        (Some("tool"), Some(name)) => Choice::Named(name),
        _ => Choice::First,
    }
}

/// `output_format` is what `output_config.format` was called in its beta.
fn format(body: &Value) -> Format<'_> {
    let schema = body
        .pointer("/output_config/format/schema")
        .or_else(|| body.pointer("/output_format/schema"));
    schema.map_or(Format::Prose, Format::Schema)
}

fn stop_reason(said: &Said) -> &'static str {
    match said {
        Said::Call { .. } => "tool_use",
        Said::Text { cut: true, .. } => "max_tokens",
        Said::Text { cut: false, .. } => "end_turn",
    }
}

fn usage(input: u64, output: u64) -> Value {
    json!({
        "input_tokens": input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    })
}

/// A message that says nothing yet.
fn message(ask: &Ask<'_>, usage: &Value) -> Value {
    json!({
        "id": fresh_id("msg_"), "type": "message", "role": "assistant", "model": ask.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    })
}

/// The only content block, whole or as it opens.
fn block(said: &Said, whole: bool) -> Value {
    match said {
        Said::Text { text, .. } => json!({"type": "text", "text": if whole { text } else { "" }}),
        Said::Call { name, arguments, .. } => {
            let input = if whole { arguments.clone() } else { json!({}) };
            json!({"type": "tool_use", "id": fresh_id("toolu_"), "name": name, "input": input})
        }
    }
}

fn stream(ask: &Ask<'_>, said: &Said, input: u64) -> Script {
    let mut script = Script::new();
    let mut say = |event: Value| script.at_once(named_event(&event));
    say(json!({"type": "message_start", "message": message(ask, &usage(input, 1))}));
    say(json!({"type": "content_block_start", "index": 0, "content_block": block(said, false)}));
    say(json!({"type": "ping"}));
    for piece in said.pieces() {
        let delta = match said {
            Said::Text { .. } => json!({"type": "text_delta", "text": piece}),
            Said::Call { .. } => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        script.paced(named_event(
            &json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        ));
    }
    let mut say = |event: Value| script.at_once(named_event(&event));
    say(json!({"type": "content_block_stop", "index": 0}));
    let usage = json!({
        "input_tokens": input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": said.tokens(),
    });
    let delta = json!({"stop_reason": stop_reason(said), "stop_sequence": null});
    say(json!({"type": "message_delta", "delta": delta, "usage": usage}));
    say(json!({"type": "message_stop"}));
    script
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation};

    use super::super::testing::{ask, assert_weather, events, refused, types, weather_schema, whole};
    use super::*;

    fn question(more: &Value) -> Value {
        let mut body = json!({"max_tokens": 1_000, "system": "Be kind.", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is up?"}]},
        ]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    fn answered(body: &Value) -> Value {
        whole(&ask(
            Operation::Chat,
            Dialect::AnthropicMessages,
            body.to_string().as_bytes(),
        ))
    }

    async fn streamed(body: &Value) -> Vec<Value> {
        let body = body.to_string();
        let events = events(&Ask {
            stream: true,
            ..ask(Operation::Chat, Dialect::AnthropicMessages, body.as_bytes())
        })
        .await;
        let order = [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(types(&events), order);
        events
    }

    fn deltas(events: &[Value], name: &str) -> String {
        events
            .iter()
            .filter_map(|event| event["delta"][name].as_str())
            .collect()
    }

    /// The usage that a client has after the whole stream: the later figure counts, field by field.
    fn merged_usage(events: &[Value]) -> Value {
        let mut usage = events[0]["message"]["usage"].clone();
        let later = &events[events.len() - 2]["usage"];
        usage
            .as_object_mut()
            .unwrap()
            .extend(later.as_object().unwrap().clone());
        usage
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_says_what_the_plain_answer_says() {
        let body = question(&json!({}));
        let plain = answered(&body);
        let text = plain["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("You said: \"What is up?\"."), "{text}");
        let events = streamed(&body).await;
        assert_eq!(deltas(&events, "text"), text);
        assert_eq!(merged_usage(&events), plain["usage"]);
        let words = events
            .iter()
            .filter(|event| event["type"] == "content_block_delta")
            .count();
        assert_eq!(
            (&plain["usage"]["input_tokens"], &plain["usage"]["output_tokens"]),
            (&json!(5), &json!(words))
        );
        assert_eq!(
            (&plain["stop_reason"], &plain["model"]),
            (&json!("end_turn"), &json!("demo-1"))
        );
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "end_turn");
        assert_eq!(events[0]["message"]["content"], json!([]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_tool_is_called_with_conforming_arguments() {
        let tools = json!([{"type": "web_search_20250305", "name": "web_search"}, {"name": "weather", "input_schema": weather_schema()}]);
        let body = question(&json!({"tools": tools}));
        let plain = answered(&body);
        let call = &plain["content"][0];
        assert_eq!((&call["type"], &call["name"]), (&json!("tool_use"), &json!("weather")));
        assert_weather(&call["input"]);
        assert_eq!(plain["stop_reason"], "tool_use");
        let events = streamed(&body).await;
        assert_eq!(events[1]["content_block"]["input"], json!({}));
        let input: Value = serde_json::from_str(&deltas(&events, "partial_json")).unwrap();
        assert_eq!(input, call["input"]);
        assert_eq!(merged_usage(&events), plain["usage"]);
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn the_result_of_a_tool_is_repeated() {
        let plain = answered(&json!({
            "max_tokens": 100, "tools": [{"name": "weather", "input_schema": weather_schema()}],
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "22 degrees"}]}]},
            ],
        }));
        let text = plain["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("The tool answered: \"22 degrees\"."), "{text}");
        assert_eq!(plain["stop_reason"], "end_turn");
    }

    #[test]
    fn the_choice_of_a_tool_and_the_format_are_read() {
        assert_eq!(
            choice(&json!({"tool_choice": {"type": "tool", "name": "b"}})),
            Choice::Named("b")
        );
        assert_eq!(choice(&json!({"tool_choice": {"type": "none"}})), Choice::Never);
        assert_eq!(choice(&json!({"tool_choice": {"type": "any"}})), Choice::First);
        let format = json!({"output_config": {"format": {"type": "json_schema", "schema": weather_schema()}}});
        let plain = answered(&question(&format));
        assert_weather(&serde_json::from_str(plain["content"][0]["text"].as_str().unwrap()).unwrap());
    }

    #[test]
    fn a_bound_ends_with_max_tokens() {
        let plain = answered(&question(&json!({"max_tokens": 2})));
        assert_eq!(
            (&plain["content"][0]["text"], &plain["stop_reason"]),
            (&json!("You said:"), &json!("max_tokens"))
        );
        assert_eq!(plain["usage"]["output_tokens"], 2);
    }

    #[test]
    fn tokens_are_counted_as_they_are_billed() {
        let body = question(&json!({"tools": [{"name": "weather", "input_schema": weather_schema()}]}));
        let counted = whole(&ask(
            Operation::CountTokens,
            Dialect::AnthropicMessages,
            body.to_string().as_bytes(),
        ));
        assert_eq!(counted["input_tokens"], answered(&body)["usage"]["input_tokens"]);
        assert!(counted["input_tokens"].as_u64() > answered(&question(&json!({})))["usage"]["input_tokens"].as_u64());
        let unbounded = whole(&ask(
            Operation::CountTokens,
            Dialect::AnthropicMessages,
            br#"{"messages":[{"role":"user","content":"two words"}]}"#,
        ));
        assert_eq!(unbounded, json!({"input_tokens": 2}));
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let message = |body: Value| {
            let refusal = refused(&ask(
                Operation::Chat,
                Dialect::AnthropicMessages,
                body.to_string().as_bytes(),
            ));
            assert_eq!(refusal["error"]["type"], "invalid_request_error");
            refusal["error"]["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(message(json!({"max_tokens": 1})), "messages: Field required");
        assert_eq!(
            message(question(&json!({"max_tokens": null}))),
            "max_tokens: Field required"
        );
        assert!(message(question(&json!({"messages": []}))).contains("at least one message"));
        assert!(message(question(&json!({"max_tokens": 0}))).contains("max_tokens"));
    }
}
