//! `OpenAI` Chat Completions; the other operations of the classic `OpenAI` API are beside it.
//!
//! The stream follows what `OpenAI` itself sends: the role in the first chunk of a choice only, one fragment per chunk,
//! the finish reason in a chunk of its own, then (if asked) usage with no choices, then `[DONE]`.

mod completions;
mod embeddings;

use bytes::Bytes;
use serde_json::{Value, json};

use super::conversation::{
    Choice, Format, Last, Prompt, Said, Tool, choices, count, given, input_tokens, list, result_text, text_of,
};
use super::refusal::Refusal;
use super::script::{Script, data_event};
use super::{Ask, Reply, fresh_id, json_bytes, unix_seconds};

pub(crate) use completions::completions;
pub(crate) use embeddings::embeddings;

/// What ends every stream of the classic API.
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// `POST /chat/completions`.
pub(crate) fn chat(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let prompt = prompt(body)?;
    let choices = choices(body, "n")?;
    let said = prompt.reply()?;
    let frame = Frame::new(ask, "chatcmpl-", ["chat.completion", "chat.completion.chunk"]);
    let usage = usage(prompt.input_tokens, said.tokens() * choices);
    Ok(if ask.stream {
        Reply::Stream(stream(&frame, &said, choices, usage))
    } else {
        let choices: Vec<Value> = (0..choices).map(|index| whole_choice(index, &said)).collect();
        Reply::Whole(frame.whole(&choices, usage))
    })
}

/// What every object of one answer of the classic API has in common.
struct Frame<'a> {
    id: String,
    objects: [&'static str; 2],
    created: u64,
    model: &'a str,
    include_usage: bool,
}

impl<'a> Frame<'a> {
    /// The frame for `ask`; `objects` are the names of a whole answer and of a chunk.
    fn new(ask: &Ask<'a>, prefix: &str, objects: [&'static str; 2]) -> Self {
        let created = unix_seconds();
        Self {
            id: fresh_id(prefix),
            objects,
            created,
            model: ask.model,
            include_usage: ask.include_usage,
        }
    }

    fn object(&self, name: &str, choices: &[Value]) -> Value {
        json!({"id": self.id, "object": name, "created": self.created, "model": self.model, "choices": choices})
    }

    fn whole(&self, choices: &[Value], usage: Value) -> Bytes {
        let mut object = self.object(self.objects[0], choices);
        object["usage"] = usage;
        json_bytes(&object)
    }

    fn chunk(&self, choice: Value) -> Bytes {
        let mut object = self.object(self.objects[1], &[choice]);
        if self.include_usage {
            object["usage"] = Value::Null;
        }
        data_event(&object)
    }

    /// The end of a stream.
    fn end(&self, script: &mut Script, usage: Value) {
        if self.include_usage {
            let mut object = self.object(self.objects[1], &[]);
            object["usage"] = usage;
            script.at_once(data_event(&object));
        }
        script.at_once(DONE);
    }
}

fn usage(input: u64, output: u64) -> Value {
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

fn prompt(body: &Value) -> Result<Prompt<'_>, Refusal> {
    let messages = given(body, "messages").ok_or_else(|| Refusal::missing("messages"))?;
    let messages = messages
        .as_array()
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| {
            Refusal::value(
                "messages",
                "Invalid 'messages': expected an array with minimum length 1.",
            )
        })?;
    let tokens_max = match count(body, "max_completion_tokens")? {
        None => count(body, "max_tokens")?,
        some => some,
    };
    Ok(Prompt {
        last: last(messages),
        tools: tools(body),
        choice: choice(body),
        format: format(body),
        tokens_max,
        input_tokens: input_tokens(body, &["messages", "tools"]),
    })
}

fn last(messages: &[Value]) -> Last {
    let role = |message: &Value| message["role"].as_str().unwrap_or_default().to_owned();
    if messages.last().is_some_and(|message| role(message) == "tool") {
        let first = messages
            .iter()
            .rposition(|message| role(message) != "tool")
            .map_or(0, |at| at + 1);
        let results: Vec<String> = messages[first..]
            .iter()
            .map(|message| result_text(&message["content"]))
            .collect();
        return Last::ToolResult(results.join(", "));
    }
    let user = messages.iter().rfind(|message| role(message) == "user");
    let text = user.map(|message| text_of(&message["content"])).unwrap_or_default();
    if messages.last().is_some_and(|message| role(message) == "assistant") {
        Last::Model(text)
    } else {
        Last::User(text)
    }
}

fn tools(body: &Value) -> Vec<Tool<'_>> {
    let functions = list(body, "tools").iter().filter_map(|tool| tool.get("function"));
    functions
        .filter_map(|function| {
            Some(Tool {
                name: function["name"].as_str()?,
                schema: given(function, "parameters"),
            })
        })
        .collect()
}

fn choice(body: &Value) -> Choice<'_> {
    let choice = &body["tool_choice"];
    if choice == "none" {
        return Choice::Never;
    }
    let allowed = choice.pointer("/allowed_tools/tools/0/function/name");
    let named = choice.pointer("/function/name").or(allowed);
    named.and_then(Value::as_str).map_or(Choice::First, Choice::Named)
}

fn format(body: &Value) -> Format<'_> {
    let format = &body["response_format"];
    match (format["type"].as_str(), format.pointer("/json_schema/schema")) {
        (Some("json_schema"), Some(schema)) => Format::Schema(schema),
        (Some("json_schema" | "json_object"), _) => Format::Json,
        _ => Format::Prose,
    }
}

fn finish_reason(said: &Said) -> &'static str {
    match said {
        Said::Call { .. } => "tool_calls",
        Said::Text { cut: true, .. } => "length",
        Said::Text { cut: false, .. } => "stop",
    }
}

fn whole_choice(index: u64, said: &Said) -> Value {
    let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
    match said {
        Said::Text { text, .. } => message["content"] = json!(text),
        Said::Call { name, text, .. } => {
            let function = json!({"name": name, "arguments": text});
            message["tool_calls"] = json!([{"id": fresh_id("call_"), "type": "function", "function": function}]);
        }
    }
    json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish_reason(said)})
}

/// The choices are spoken side by side, a word of each in turn.
fn stream(frame: &Frame<'_>, said: &Said, choices: u64, usage: Value) -> Script {
    let mut script = Script::new();
    let chunk = |index: u64, delta: &Value, finish: Option<&str>| {
        frame.chunk(json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}))
    };
    for index in 0..choices {
        script.at_once(chunk(index, &first_delta(said), None));
    }
    for piece in said.pieces() {
        let delta = match said {
            Said::Text { .. } => json!({"content": piece}),
            Said::Call { .. } => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
        };
        script.paced(chunk(0, &delta, None));
        for index in 1..choices {
            script.at_once(chunk(index, &delta, None));
        }
    }
    for index in 0..choices {
        script.at_once(chunk(index, &json!({}), Some(finish_reason(said))));
    }
    frame.end(&mut script, usage);
    script
}

fn first_delta(said: &Said) -> Value {
    match said {
        Said::Text { .. } => json!({"role": "assistant", "content": "", "refusal": null}),
        Said::Call { name, .. } => {
            let function = json!({"name": name, "arguments": ""});
            let call = json!({"index": 0, "id": fresh_id("call_"), "type": "function", "function": function});
            json!({"role": "assistant", "content": null, "tool_calls": [call]})
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation};

    use super::super::testing::{ask, assert_weather, events, refused, weather_schema, whole};
    use super::*;

    fn question(more: &Value) -> Vec<u8> {
        let mut body = json!({"model": "demo", "messages": [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "What is up?"},
        ]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string().into_bytes()
    }

    fn with_tool() -> Value {
        json!({"tools": [{"type": "function", "function": {"name": "weather", "parameters": weather_schema()}}]})
    }

    async fn streamed(body: &[u8], include_usage: bool) -> Vec<Value> {
        events(&Ask {
            stream: true,
            include_usage,
            ..ask(Operation::Chat, Dialect::OpenaiChat, body)
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_says_what_the_plain_answer_says() {
        let body = question(&json!({"n": 2}));
        let plain = whole(&ask(Operation::Chat, Dialect::OpenaiChat, &body));
        let mut chunks = streamed(&body, true).await;
        assert_eq!(chunks.pop().unwrap(), "[DONE]");
        let last = chunks.pop().unwrap();
        assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &plain["usage"]));
        assert_eq!(plain["usage"]["prompt_tokens"], 5);
        let words = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        assert_eq!(
            plain["usage"]["completion_tokens"],
            words.filter(|word| !word.is_empty()).count()
        );
        for index in 0..2 {
            let message = &plain["choices"][index]["message"];
            let deltas: Vec<&Value> = chunks
                .iter()
                .map(|chunk| &chunk["choices"][0])
                .filter(|choice| choice["index"] == index)
                .collect();
            let text: String = deltas
                .iter()
                .filter_map(|choice| choice["delta"]["content"].as_str())
                .collect();
            assert_eq!(message["content"], text.as_str());
            assert!(text.starts_with("You said: \"What is up?\"."), "{text}");
            let roles = deltas
                .iter()
                .filter(|choice| choice["delta"].get("role").is_some())
                .count();
            assert_eq!((roles, &deltas[0]["delta"]["role"]), (1, &json!("assistant")));
            let (end, before) = deltas.split_last().unwrap();
            assert_eq!((&end["delta"], &end["finish_reason"]), (&json!({}), &json!("stop")));
            assert!(before.iter().all(|choice| choice["finish_reason"].is_null()));
        }
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some())
        );
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk["id"] == last["id"] && chunk["object"] == "chat.completion.chunk")
        );
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk["model"] == "demo-1" && chunk["choices"].as_array().unwrap().len() == 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn usage_comes_only_when_asked() {
        let chunks = streamed(&question(&json!({})), false).await;
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
        assert_eq!(chunks.last().unwrap(), "[DONE]");
    }

    #[tokio::test(start_paused = true)]
    async fn the_tool_is_called_with_conforming_arguments() {
        let body = question(&with_tool());
        let plain = whole(&ask(Operation::Chat, Dialect::OpenaiChat, &body));
        let call = &plain["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(
            (&call["type"], &call["function"]["name"]),
            (&json!("function"), &json!("weather"))
        );
        let written = call["function"]["arguments"].as_str().unwrap();
        assert_weather(&serde_json::from_str(written).unwrap());
        assert_eq!(plain["choices"][0]["finish_reason"], "tool_calls");
        assert!(plain["choices"][0]["message"]["content"].is_null());

        let chunks = streamed(&body, true).await;
        let calls: Vec<&Value> = chunks
            .iter()
            .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"))
            .collect();
        assert!(calls.len() > 2 && calls[0]["id"].as_str().is_some_and(|id| id.starts_with("call_")));
        assert!(
            calls
                .iter()
                .skip(1)
                .all(|call| call.get("id").is_none() && call["function"].get("name").is_none())
        );
        let fragments: String = calls
            .iter()
            .map(|call| call["function"]["arguments"].as_str().unwrap())
            .collect();
        assert_eq!(fragments, written);
        assert_eq!(chunks[chunks.len() - 2]["usage"], plain["usage"]);
        assert_eq!(chunks[chunks.len() - 3]["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn the_result_of_a_tool_is_repeated() {
        let mut body = with_tool();
        body["messages"] = json!([
            {"role": "user", "content": "What is up?"},
            {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "22 degrees"},
        ]);
        let plain = whole(&ask(Operation::Chat, Dialect::OpenaiChat, body.to_string().as_bytes()));
        let text = plain["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.starts_with("The tool answered: \"22 degrees\"."), "{text}");
        assert_eq!(plain["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn the_choice_of_a_tool_and_the_format_are_read() {
        let forced = json!({"tool_choice": {"type": "function", "function": {"name": "b"}}});
        assert_eq!(choice(&forced), Choice::Named("b"));
        assert_eq!(choice(&json!({"tool_choice": "none"})), Choice::Never);
        assert_eq!(choice(&json!({"tool_choice": "required"})), Choice::First);
        let allowed = json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "c"}}]}}});
        assert_eq!(choice(&allowed), Choice::Named("c"));
        let body = question(
            &json!({"response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": weather_schema()}}}),
        );
        let plain = whole(&ask(Operation::Chat, Dialect::OpenaiChat, &body));
        assert_weather(&serde_json::from_str(plain["choices"][0]["message"]["content"].as_str().unwrap()).unwrap());
    }

    #[test]
    fn a_bound_ends_with_length() {
        let plain = whole(&ask(
            Operation::Chat,
            Dialect::OpenaiChat,
            &question(&json!({"max_completion_tokens": 2})),
        ));
        assert_eq!(plain["choices"][0]["message"]["content"], "You said:");
        assert_eq!(plain["choices"][0]["finish_reason"], "length");
        assert_eq!(plain["usage"]["completion_tokens"], 2);
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let missing = refused(&ask(Operation::Chat, Dialect::OpenaiChat, b"{\"model\":\"demo\"}"));
        assert_eq!(missing["error"]["param"], "messages");
        assert_eq!(missing["error"]["code"], "missing_required_parameter");
        for (more, param) in [
            (json!({"messages": []}), "messages"),
            (json!({"n": 1_000}), "n"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (
                json!({"tool_choice": {"type": "function", "function": {"name": "b"}}}),
                "tool_choice",
            ),
        ] {
            assert_eq!(
                refused(&ask(Operation::Chat, Dialect::OpenaiChat, &question(&more)))["error"]["param"],
                param
            );
        }
    }
}
