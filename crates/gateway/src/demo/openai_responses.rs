//! `OpenAI` Responses.
//!
//! Its stream is a record of how a tree grows: response, output item, content part, delta, each opened and closed, all
//! numbered. The final event carries the whole response again, so the tree is written once and shown at every stage.
//! Nothing is stored: `previous_response_id` is accepted and echoed, but there is nothing behind it.

use serde_json::{Value, json};

use super::conversation::{
    Choice, Format, Last, Prompt, Said, Tool, count, given, input_tokens, list, result_text, text_of,
};
use super::refusal::Refusal;
use super::script::{Script, named_event};
use super::{Ask, Reply, fresh_id, json_bytes, unix_seconds};

/// Bytes of one setting (instructions, tools) that are repeated in the response: a stream repeats them three times.
const REFLECTED_BYTES_MAX: usize = 64 * 1024;

/// Settings that the response repeats, with what they are if the request does not say.
const REFLECTED: &[(&str, &str)] = &[
    ("background", "false"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("store", "true"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"},"verbosity":"medium"}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// `POST /responses`.
pub(crate) fn create(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let prompt = prompt(body)?;
    let said = prompt.reply()?;
    let answer = Answer::new(ask, body, said, prompt.input_tokens);
    Ok(if ask.stream {
        Reply::Stream(answer.stream())
    } else {
        Reply::Whole(json_bytes(&answer.finished()))
    })
}

fn prompt(body: &Value) -> Result<Prompt<'_>, Refusal> {
    let elsewhere = ["previous_response_id", "conversation", "prompt"];
    if given(body, "input").is_none() && elsewhere.iter().all(|name| given(body, name).is_none()) {
        return Err(Refusal::missing("input"));
    }
    Ok(Prompt {
        last: last(&body["input"]),
        tools: tools(body),
        choice: choice(body),
        format: format(body),
        tokens_max: count(body, "max_output_tokens")?,
        input_tokens: input_tokens(body, &["instructions", "input", "tools"]),
    })
}

/// The input is a text, or items: messages (whose `type` may be missing), calls, results of calls.
fn last(input: &Value) -> Last {
    let Value::Array(items) = input else {
        return Last::User(text_of(input));
    };
    let is_result = |item: &Value| item["type"] == "function_call_output";
    if items.last().is_some_and(is_result) {
        let first = items.iter().rposition(|item| !is_result(item)).map_or(0, |at| at + 1);
        let results: Vec<String> = items[first..].iter().map(|item| result_text(&item["output"])).collect();
        return Last::ToolResult(results.join(", "));
    }
    let user = items.iter().rfind(|item| item["role"] == "user");
    let text = user.map(|item| text_of(&item["content"])).unwrap_or_default();
    if items.last().is_some_and(|item| item["role"] == "assistant") {
        Last::Model(text)
    } else {
        Last::User(text)
    }
}

fn tools(body: &Value) -> Vec<Tool<'_>> {
    let functions = list(body, "tools").iter().filter(|tool| tool["type"] == "function");
    functions
        .filter_map(|tool| {
            Some(Tool {
                name: tool["name"].as_str()?,
                schema: given(tool, "parameters"),
            })
        })
        .collect()
}

fn choice(body: &Value) -> Choice<'_> {
    let choice = &body["tool_choice"];
    if choice == "none" {
        return Choice::Never;
    }
    let named = if choice["type"] == "allowed_tools" {
        choice.pointer("/tools/0/name")
    } else {
        choice.get("name")
    };
    named.and_then(Value::as_str).map_or(Choice::First, Choice::Named)
}

fn format(body: &Value) -> Format<'_> {
    let format = &body["text"]["format"];
    match (format["type"].as_str(), format.get("schema")) {
        (Some("json_schema"), Some(schema)) => Format::Schema(schema),
        (Some("json_schema" | "json_object"), _) => Format::Json,
        _ => Format::Prose,
    }
}

/// One response, at any stage.
struct Answer {
    /// What is the same at every stage.
    base: Value,
    item_id: String,
    call_id: String,
    said: Said,
    usage: Value,
}

impl Answer {
    fn new(ask: &Ask<'_>, body: &Value, said: Said, input: u64) -> Self {
        let output = said.tokens();
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input + output,
        });
        let item_id = fresh_id(if matches!(said, Said::Call { .. }) {
            "fc_"
        } else {
            "msg_"
        });
        Self {
            base: base(ask, body),
            item_id,
            call_id: fresh_id("call_"),
            said,
            usage,
        }
    }

    /// Whether the caller's bound cut it.
    fn is_cut(&self) -> bool {
        matches!(self.said, Said::Text { cut: true, .. })
    }

    fn status(&self) -> &'static str {
        if self.is_cut() { "incomplete" } else { "completed" }
    }

    fn begun(&self) -> Value {
        let mut response = self.base.clone();
        response["status"] = json!("in_progress");
        response["output"] = json!([]);
        response
    }

    fn finished(&self) -> Value {
        let mut response = self.base.clone();
        response["status"] = json!(self.status());
        response["output"] = json!([self.item(self.status(), &self.said.pieces().concat())]);
        response["usage"] = self.usage.clone();
        if self.is_cut() {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        } else {
            response["completed_at"] = json!(unix_seconds());
        }
        response
    }

    /// The only output item, with as much text (or arguments) as it has so far.
    fn item(&self, status: &str, text: &str) -> Value {
        match &self.said {
            Said::Text { .. } => {
                let content = if text.is_empty() {
                    json!([])
                } else {
                    json!([part(text)])
                };
                json!({"id": self.item_id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            Said::Call { name, .. } => json!({
                "id": self.item_id, "type": "function_call", "status": status,
                "call_id": self.call_id, "name": name, "arguments": text,
            }),
        }
    }

    fn stream(&self) -> Script {
        let mut events = Events::default();
        events.say("response.created", json!({"response": self.begun()}));
        events.say("response.in_progress", json!({"response": self.begun()}));
        events.say(
            "response.output_item.added",
            json!({"output_index": 0, "item": self.item("in_progress", "")}),
        );
        match &self.said {
            Said::Text { text, .. } => self.stream_text(&mut events, text),
            Said::Call { text, .. } => self.stream_call(&mut events, text),
        }
        let item = self.item(self.status(), &self.said.pieces().concat());
        events.say("response.output_item.done", json!({"output_index": 0, "item": item}));
        let last = if self.is_cut() {
            "response.incomplete"
        } else {
            "response.completed"
        };
        events.say(last, json!({"response": self.finished()}));
        events.script
    }

    fn stream_text(&self, events: &mut Events, text: &str) {
        let place = || json!({"item_id": self.item_id, "output_index": 0, "content_index": 0});
        events.say("response.content_part.added", with(place(), "part", part("")));
        for piece in self.said.pieces() {
            events.pace(
                "response.output_text.delta",
                with(with(place(), "delta", json!(piece)), "logprobs", json!([])),
            );
        }
        events.say(
            "response.output_text.done",
            with(with(place(), "text", json!(text)), "logprobs", json!([])),
        );
        events.say("response.content_part.done", with(place(), "part", part(text)));
    }

    fn stream_call(&self, events: &mut Events, arguments: &str) {
        let place = || json!({"item_id": self.item_id, "output_index": 0});
        for piece in self.said.pieces() {
            events.pace(
                "response.function_call_arguments.delta",
                with(place(), "delta", json!(piece)),
            );
        }
        events.say(
            "response.function_call_arguments.done",
            with(place(), "arguments", json!(arguments)),
        );
    }
}

/// Events with their numbers.
#[derive(Default)]
struct Events {
    script: Script,
    number: u64,
}

impl Events {
    fn say(&mut self, kind: &str, event: Value) {
        let event = self.numbered(kind, event);
        self.script.at_once(named_event(&event));
    }

    fn pace(&mut self, kind: &str, event: Value) {
        let event = self.numbered(kind, event);
        self.script.paced(named_event(&event));
    }

    fn numbered(&mut self, kind: &str, event: Value) -> Value {
        let number = self.number;
        self.number += 1;
        with(with(event, "type", json!(kind)), "sequence_number", json!(number))
    }
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn base(ask: &Ask<'_>, body: &Value) -> Value {
    let mut base = json!({
        "id": fresh_id("resp_"),
        "object": "response",
        "created_at": unix_seconds(),
        "completed_at": null,
        "error": null,
        "incomplete_details": null,
        "model": ask.model,
        "service_tier": "default",
        "usage": null,
    });
    for (name, otherwise) in REFLECTED {
        let asked = given(body, name).filter(|value| value.to_string().len() <= REFLECTED_BYTES_MAX);
        base[*name] = asked
            .cloned()
            .unwrap_or_else(|| serde_json::from_str(otherwise).unwrap_or_default());
    }
    base
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation};

    use super::super::testing::{ask, assert_weather, events, refused, types, weather_schema, whole};
    use super::*;

    fn answered(body: &Value) -> Value {
        whole(&ask(
            Operation::Chat,
            Dialect::OpenaiResponses,
            body.to_string().as_bytes(),
        ))
    }

    async fn streamed(body: &Value) -> Vec<Value> {
        let body = body.to_string();
        let events = events(&Ask {
            stream: true,
            ..ask(Operation::Chat, Dialect::OpenaiResponses, body.as_bytes())
        })
        .await;
        let numbers: Vec<u64> = events
            .iter()
            .map(|event| event["sequence_number"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
        events
    }

    /// A response without what differs between two calls.
    fn timeless(response: &Value) -> Value {
        let mut response = response.clone();
        for at in [
            "/id",
            "/created_at",
            "/completed_at",
            "/output/0/id",
            "/output/0/call_id",
        ] {
            if let Some(value) = response.pointer_mut(at) {
                *value = Value::Null;
            }
        }
        response
    }

    fn deltas(events: &[Value], kind: &str) -> String {
        events
            .iter()
            .filter(|event| event["type"] == kind)
            .map(|event| event["delta"].as_str().unwrap())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_says_what_the_plain_answer_says() {
        let body = json!({"input": "What is up?", "instructions": "Be kind."});
        let plain = answered(&body);
        let text = plain["output"][0]["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("You said: \"What is up?\"."), "{text}");
        assert_eq!(
            (&plain["status"], &plain["instructions"]),
            (&json!("completed"), &json!("Be kind."))
        );
        let events = streamed(&body).await;
        assert_eq!(
            types(&events),
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ]
        );
        assert_eq!(deltas(&events, "response.output_text.delta"), text);
        let last = &events.last().unwrap()["response"];
        assert_eq!(timeless(last), timeless(&plain));
        assert_eq!(events[events.len() - 4]["text"], text);
        assert_eq!(events[events.len() - 2]["item"], last["output"][0]);
        let words = events
            .iter()
            .filter(|event| event["type"] == "response.output_text.delta")
            .count();
        assert_eq!(
            (&last["usage"]["input_tokens"], &last["usage"]["output_tokens"]),
            (&json!(5), &json!(words))
        );
        assert_eq!(
            (&events[0]["response"]["status"], &events[0]["response"]["id"]),
            (&json!("in_progress"), &last["id"])
        );
        assert!(
            events
                .iter()
                .skip(4)
                .take(words)
                .all(|event| event["item_id"] == last["output"][0]["id"])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_tool_is_called_with_conforming_arguments() {
        let tools =
            json!([{"type": "web_search"}, {"type": "function", "name": "weather", "parameters": weather_schema()}]);
        let body =
            json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], "tools": tools});
        let plain = answered(&body);
        let call = &plain["output"][0];
        assert_eq!(
            (&call["type"], &call["name"], &call["status"]),
            (&json!("function_call"), &json!("weather"), &json!("completed"))
        );
        assert_ne!(call["id"], call["call_id"]);
        let arguments = call["arguments"].as_str().unwrap();
        assert_weather(&serde_json::from_str(arguments).unwrap());
        let events = streamed(&body).await;
        assert_eq!(
            types(&events),
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "response.output_item.done",
                "response.completed",
            ]
        );
        assert_eq!(deltas(&events, "response.function_call_arguments.delta"), arguments);
        let last = &events.last().unwrap()["response"];
        assert_eq!(timeless(last), timeless(&plain));
        assert_eq!(events[2]["item"]["call_id"], last["output"][0]["call_id"]);
        assert_eq!(events[2]["item"]["arguments"], "");
        assert_eq!(events[events.len() - 3]["arguments"], arguments);
    }

    #[test]
    fn the_result_of_a_tool_is_repeated() {
        let plain = answered(&json!({
            "input": [
                {"role": "user", "content": "hi"},
                {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "22 degrees"},
            ],
            "tools": [{"type": "function", "name": "weather"}],
        }));
        let text = plain["output"][0]["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("The tool answered: \"22 degrees\"."), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_ends_as_incomplete() {
        let body = json!({"input": "hi", "max_output_tokens": 2});
        let plain = answered(&body);
        assert_eq!(plain["output"][0]["content"][0]["text"], "You said:");
        assert_eq!(plain["incomplete_details"]["reason"], "max_output_tokens");
        let events = streamed(&body).await;
        assert_eq!(events.last().unwrap()["type"], "response.incomplete");
        assert_eq!(timeless(&events.last().unwrap()["response"]), timeless(&plain));
    }

    #[test]
    fn the_choice_of_a_tool_and_the_format_are_read() {
        assert_eq!(
            choice(&json!({"tool_choice": {"type": "function", "name": "b"}})),
            Choice::Named("b")
        );
        assert_eq!(choice(&json!({"tool_choice": "none"})), Choice::Never);
        assert_eq!(choice(&json!({"tool_choice": "required"})), Choice::First);
        let allowed = json!({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "c"}]}});
        assert_eq!(choice(&allowed), Choice::Named("c"));
        let plain = answered(
            &json!({"input": "hi", "text": {"format": {"type": "json_schema", "name": "w", "schema": weather_schema()}}}),
        );
        assert_weather(&serde_json::from_str(plain["output"][0]["content"][0]["text"].as_str().unwrap()).unwrap());
    }

    #[test]
    fn an_input_is_needed_unless_it_is_elsewhere() {
        let refusal = refused(&ask(Operation::Chat, Dialect::OpenaiResponses, b"{}"));
        assert_eq!(refusal["error"]["param"], "input");
        assert_eq!(
            answered(&json!({"previous_response_id": "resp_1"}))["previous_response_id"],
            "resp_1"
        );
    }

    #[test]
    fn long_settings_are_not_repeated() {
        let long = "x".repeat(REFLECTED_BYTES_MAX);
        assert!(answered(&json!({"input": "hi", "instructions": long}))["instructions"].is_null());
    }

    #[test]
    fn what_is_reflected_is_json() {
        for (name, otherwise) in REFLECTED {
            assert!(serde_json::from_str::<Value>(otherwise).is_ok(), "{name}");
        }
    }
}
