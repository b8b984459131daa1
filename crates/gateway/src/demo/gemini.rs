//! Google Gemini.
//!
//! A stream is a row of whole answers, each with the next piece of text and the figures so far; only the last has a
//! finish reason. It comes as events, or (without `alt=sse`) as one JSON array that grows. A function call is never
//! split. Requests are protobuf in JSON, which may spell every field in two ways.

use bytes::Bytes;
use serde_json::{Value, json};

use super::conversation::{Choice, Format, Last, Prompt, Said, Tool, choices, count, given, list, text_of, tokens_in};
use super::refusal::Refusal;
use super::script::Script;
use super::vector::{dimensions, embed};
use super::{Ask, Reply, fresh_id, json_bytes};

/// Texts of one batch, the limit of Gemini.
const BATCH_MAX: usize = 100;

/// `:generateContent` and `:streamGenerateContent`.
pub(crate) fn generate_content(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let prompt = prompt(body)?;
    let choices = choices(config(body), "candidateCount")?;
    let answer = Answer {
        ask,
        id: fresh_id(""),
        said: prompt.reply()?,
        choices,
        input: prompt.input_tokens,
    };
    Ok(if ask.stream {
        Reply::Stream(answer.stream())
    } else {
        Reply::Whole(json_bytes(&answer.whole()))
    })
}

/// `:countTokens`: the contents alone, or a whole request.
pub(crate) fn count_tokens(body: &Value) -> Result<Reply, Refusal> {
    let request = either(body, "generateContentRequest", "generate_content_request").unwrap_or(body);
    let tokens = prompt(request)?.input_tokens;
    Ok(Reply::Whole(json_bytes(
        &json!({"totalTokens": tokens, "promptTokensDetails": text_tokens(tokens)}),
    )))
}

/// `:embedContent`, and `:batchEmbedContents`, whose request has `requests`.
pub(crate) fn embed_content(body: &Value) -> Result<Reply, Refusal> {
    let batch = given(body, "requests").and_then(Value::as_array);
    let requests = batch.map_or(std::slice::from_ref(body), Vec::as_slice);
    if requests.len() > BATCH_MAX {
        return Err(Refusal::invalid(format!(
            "* BatchEmbedContentsRequest.requests: at most {BATCH_MAX} requests."
        )));
    }
    let mut tokens = 0;
    let mut embeddings = Vec::new();
    for request in requests {
        let content = given(request, "content").ok_or_else(|| unspecified("EmbedContentRequest.content"))?;
        let name = if request.get("outputDimensionality").is_some() {
            "outputDimensionality"
        } else {
            "output_dimensionality"
        };
        let vector = embed(&text_of(&content["parts"]), dimensions(request, name, 1)?);
        tokens += tokens_in(content).max(1);
        embeddings.push(json!({"values": vector}));
    }
    let mut answer = json!({"usageMetadata": {"promptTokenCount": tokens, "promptTokenDetails": text_tokens(tokens)}});
    match (batch, embeddings.pop()) {
        (None, Some(only)) => answer["embedding"] = only,
        (_, last) => answer["embeddings"] = embeddings.into_iter().chain(last).collect(),
    }
    Ok(Reply::Whole(json_bytes(&answer)))
}

fn prompt(body: &Value) -> Result<Prompt<'_>, Refusal> {
    let contents = list(body, "contents");
    if contents.is_empty() {
        return Err(unspecified("GenerateContentRequest.contents"));
    }
    let system = either(body, "systemInstruction", "system_instruction");
    let parts = [system, body.get("contents"), body.get("tools")];
    Ok(Prompt {
        last: last(contents),
        tools: tools(body),
        choice: choice(body),
        format: format(body),
        tokens_max: count(config(body), "maxOutputTokens")?,
        input_tokens: parts.into_iter().flatten().map(tokens_in).sum::<u64>().max(1),
    })
}

fn last(contents: &[Value]) -> Last {
    let parts = contents.last().map_or(&[][..], |content| list(content, "parts"));
    let results: Vec<String> = parts
        .iter()
        .filter_map(|part| either(part, "functionResponse", "function_response"))
        .map(|result| response_text(&result["response"]))
        .collect();
    if !results.is_empty() {
        return Last::ToolResult(results.join(", "));
    }
    // A content without a role is the user's.
    let user = contents.iter().rfind(|content| content["role"] != "model");
    let text = user.map(|content| text_of(&content["parts"])).unwrap_or_default();
    if contents.last().is_some_and(|content| content["role"] == "model") {
        Last::Model(text)
    } else {
        Last::User(text)
    }
}

/// A function's response is an object; the SDK puts what is no object under `result` or `output`.
fn response_text(response: &Value) -> String {
    let inner = response
        .get("result")
        .or_else(|| response.get("output"))
        .unwrap_or(response);
    inner.as_str().map_or_else(|| inner.to_string(), str::to_owned)
}

fn tools(body: &Value) -> Vec<Tool<'_>> {
    let declared = list(body, "tools")
        .iter()
        .filter_map(|tool| either(tool, "functionDeclarations", "function_declarations"));
    let functions = declared.filter_map(Value::as_array).flatten();
    functions
        .filter_map(|function| {
            let schema = either(function, "parametersJsonSchema", "parameters_json_schema");
            Some(Tool {
                name: function["name"].as_str()?,
                schema: schema.or_else(|| given(function, "parameters")),
            })
        })
        .collect()
}

fn choice(body: &Value) -> Choice<'_> {
    let Some(config) = either(body, "toolConfig", "tool_config")
        .and_then(|config| either(config, "functionCallingConfig", "function_calling_config"))
    else {
        return Choice::First;
    };
    if config["mode"] == "NONE" {
        return Choice::Never;
    }
    let allowed = either(config, "allowedFunctionNames", "allowed_function_names");
    allowed
        .and_then(|names| names.get(0)?.as_str())
        .map_or(Choice::First, Choice::Named)
}

fn format(body: &Value) -> Format<'_> {
    let config = config(body);
    let schema = either(config, "responseJsonSchema", "response_json_schema")
        .or_else(|| either(config, "responseSchema", "response_schema"));
    let json = either(config, "responseMimeType", "response_mime_type").is_some_and(|kind| kind == "application/json");
    match schema {
        Some(schema) => Format::Schema(schema),
        None if json => Format::Json,
        None => Format::Prose,
    }
}

fn config(body: &Value) -> &Value {
    either(body, "generationConfig", "generation_config").unwrap_or(&Value::Null)
}

/// A field in either spelling.
fn either<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    given(value, camel).or_else(|| given(value, snake))
}

fn unspecified(field: &str) -> Refusal {
    let name = field.rsplit('.').next().unwrap_or(field);
    Refusal::invalid(format!("* {field}: {name} is not specified\n"))
}

fn text_tokens(tokens: u64) -> Value {
    json!([{"modality": "TEXT", "tokenCount": tokens}])
}

/// One answer, whole or in pieces.
struct Answer<'a> {
    ask: &'a Ask<'a>,
    id: String,
    said: Said,
    choices: u64,
    input: u64,
}

impl Answer<'_> {
    fn whole(&self) -> Value {
        let part = match &self.said {
            Said::Text { text, .. } => json!({"text": text}),
            Said::Call { name, arguments, .. } => json!({"functionCall": {"name": name, "args": arguments}}),
        };
        self.response(&part, Some(self.finish_reason()), self.said.tokens())
    }

    fn stream(&self) -> Script {
        let mut script = Script::new();
        let answers = match self.said {
            Said::Call { .. } => vec![self.whole()],
            Said::Text { .. } => self.pieces(),
        };
        for (number, answer) in answers.iter().enumerate() {
            script.paced(if self.ask.json_array {
                element(number, answer)
            } else {
                event(answer)
            });
        }
        if self.ask.json_array {
            script.at_once(Bytes::from_static(b"\n]\n"));
        }
        script
    }

    fn pieces(&self) -> Vec<Value> {
        let pieces = self.said.pieces();
        let answer = |(index, piece): (usize, &&str)| {
            let finish = (index + 1 == pieces.len()).then(|| self.finish_reason());
            self.response(&json!({"text": piece}), finish, index as u64 + 1)
        };
        pieces.iter().enumerate().map(answer).collect()
    }

    fn finish_reason(&self) -> &'static str {
        if matches!(self.said, Said::Text { cut: true, .. }) {
            "MAX_TOKENS"
        } else {
            "STOP"
        }
    }

    /// A response whose candidates all have this part; `output` tokens were sent of each so far.
    fn response(&self, part: &Value, finish: Option<&str>, output: u64) -> Value {
        let candidate = |index: u64| {
            let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": index});
            if let Some(finish) = finish {
                candidate["finishReason"] = json!(finish);
            }
            candidate
        };
        let output = output * self.choices;
        json!({
            "candidates": (0..self.choices).map(candidate).collect::<Vec<_>>(),
            "usageMetadata": {
                "promptTokenCount": self.input,
                "candidatesTokenCount": output,
                "totalTokenCount": self.input + output,
                "promptTokensDetails": text_tokens(self.input),
            },
            "modelVersion": self.ask.model,
            "responseId": self.id,
        })
    }
}

fn event(answer: &Value) -> Bytes {
    Bytes::from(format!("data: {answer}\r\n\r\n"))
}

fn element(number: usize, answer: &Value) -> Bytes {
    Bytes::from(format!("{}{answer}", if number == 0 { "[" } else { "\n,\r\n" }))
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation};

    use super::super::testing::{ask, assert_weather, events, items, refused, weather_schema, whole};
    use super::*;

    fn question(more: &Value) -> Value {
        let mut body = json!({
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [{"role": "user", "parts": [{"text": "What is up?"}]}],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    fn answered(body: &Value) -> Value {
        whole(&ask(Operation::Chat, Dialect::Gemini, body.to_string().as_bytes()))
    }

    async fn streamed(body: &Value) -> Vec<Value> {
        let body = body.to_string();
        events(&Ask {
            stream: true,
            ..ask(Operation::Chat, Dialect::Gemini, body.as_bytes())
        })
        .await
    }

    fn text(answer: &Value, candidate: usize) -> &str {
        answer["candidates"][candidate]["content"]["parts"][0]["text"]
            .as_str()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_says_what_the_plain_answer_says() {
        let body = question(&json!({"generationConfig": {"candidateCount": 2}}));
        let plain = answered(&body);
        assert!(text(&plain, 0).starts_with("You said: \"What is up?\"."), "{plain}");
        let chunks = streamed(&body).await;
        for candidate in 0..2 {
            assert_eq!(
                chunks.iter().map(|chunk| text(chunk, candidate)).collect::<String>(),
                text(&plain, candidate)
            );
        }
        let (last, before) = chunks.split_last().unwrap();
        assert_eq!(last["usageMetadata"], plain["usageMetadata"]);
        assert_eq!(plain["usageMetadata"]["promptTokenCount"], 5);
        assert_eq!(plain["usageMetadata"]["candidatesTokenCount"], chunks.len() * 2);
        assert_eq!(last["candidates"][1]["finishReason"], "STOP");
        assert!(
            before
                .iter()
                .all(|chunk| chunk["candidates"][0].get("finishReason").is_none())
        );
        assert!(before.iter().all(|chunk| chunk["responseId"] == last["responseId"]));
        assert_eq!(plain["modelVersion"], "demo-1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_array_has_the_elements_that_the_events_have() {
        let body = question(&json!({})).to_string();
        let asked = Ask {
            stream: true,
            json_array: true,
            ..ask(Operation::Chat, Dialect::Gemini, body.as_bytes())
        };
        let array: Vec<Value> = serde_json::from_str(&items(&asked).await.concat()).unwrap();
        let events = streamed(&question(&json!({}))).await;
        assert_eq!(array.len(), events.len());
        for (element, event) in array.iter().zip(&events) {
            assert_eq!(
                (&element["candidates"], &element["usageMetadata"]),
                (&event["candidates"], &event["usageMetadata"])
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_tool_is_called_with_conforming_arguments() {
        let mut upper = weather_schema();
        upper["type"] = json!("OBJECT");
        upper["properties"]["days"]["type"] = json!("INTEGER");
        for tools in [
            json!([{"googleSearch": {}}, {"functionDeclarations": [{"name": "weather", "parameters": upper}]}]),
            json!([{"function_declarations": [{"name": "weather", "parameters_json_schema": weather_schema()}]}]),
        ] {
            let body = question(&json!({"tools": tools}));
            let plain = answered(&body);
            let call = &plain["candidates"][0]["content"]["parts"][0]["functionCall"];
            assert_eq!(call["name"], "weather");
            assert_weather(&call["args"]);
            assert_eq!(plain["candidates"][0]["finishReason"], "STOP");
            let chunks = streamed(&body).await;
            assert_eq!(chunks.len(), 1);
            assert_eq!(
                (&chunks[0]["candidates"], &chunks[0]["usageMetadata"]),
                (&plain["candidates"], &plain["usageMetadata"])
            );
        }
    }

    #[test]
    fn the_result_of_a_tool_is_repeated() {
        let contents = json!([
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "22 degrees"}}}]},
        ]);
        let tools = json!([{"functionDeclarations": [{"name": "weather"}]}]);
        let plain = answered(&json!({"contents": contents, "tools": tools}));
        assert!(
            text(&plain, 0).starts_with("The tool answered: \"22 degrees\"."),
            "{plain}"
        );
        assert_eq!(response_text(&json!({"degrees": 22})), "{\"degrees\":22}");
    }

    #[test]
    fn the_choice_of_a_tool_and_the_format_are_read() {
        let configured = |config: Value| json!({"toolConfig": {"functionCallingConfig": config}});
        assert_eq!(
            choice(&configured(json!({"mode": "ANY", "allowedFunctionNames": ["b"]}))),
            Choice::Named("b")
        );
        assert_eq!(choice(&configured(json!({"mode": "NONE"}))), Choice::Never);
        assert_eq!(choice(&configured(json!({"mode": "AUTO"}))), Choice::First);
        let config = json!({"responseMimeType": "application/json", "responseSchema": weather_schema()});
        let plain = answered(&question(&json!({"generationConfig": config})));
        assert_weather(&serde_json::from_str(text(&plain, 0)).unwrap());
    }

    #[test]
    fn a_bound_ends_with_max_tokens() {
        let plain = answered(&question(&json!({"generationConfig": {"maxOutputTokens": 2}})));
        assert_eq!(
            (text(&plain, 0), &plain["candidates"][0]["finishReason"]),
            ("You said:", &json!("MAX_TOKENS"))
        );
    }

    #[test]
    fn tokens_are_counted_as_they_are_billed() {
        let body = question(&json!({}));
        let billed = &answered(&body)["usageMetadata"]["promptTokenCount"];
        for body in [body, json!({"generateContentRequest": question(&json!({}))})] {
            let counted = whole(&ask(
                Operation::CountTokens,
                Dialect::Gemini,
                body.to_string().as_bytes(),
            ));
            assert_eq!(&counted["totalTokens"], billed);
            assert_eq!(&counted["promptTokensDetails"][0]["tokenCount"], billed);
        }
    }

    #[test]
    fn one_text_or_many_are_embedded() {
        let embedded = |body: Value| {
            whole(&ask(
                Operation::Embeddings,
                Dialect::Gemini,
                body.to_string().as_bytes(),
            ))
        };
        let content = json!({"parts": [{"text": "hello there"}]});
        let one = embedded(json!({"content": content}));
        assert_eq!(one["embedding"]["values"].as_array().unwrap().len(), 64);
        let many = embedded(json!({"requests": [
            {"content": content}, {"content": {"parts": [{"text": "bye"}]}, "outputDimensionality": 8},
        ]}));
        assert_eq!(many["embeddings"][0], one["embedding"]);
        assert_eq!(many["embeddings"][1]["values"].as_array().unwrap().len(), 8);
        assert_eq!(many["usageMetadata"]["promptTokenCount"], 3);
        assert!(many.get("embedding").is_none() && one.get("embeddings").is_none());
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let refused = |operation, body: Value| refused(&ask(operation, Dialect::Gemini, body.to_string().as_bytes()));
        for (operation, body) in [
            (Operation::Chat, json!({})),
            (Operation::Chat, json!({"contents": []})),
            (
                Operation::Chat,
                question(&json!({"generationConfig": {"candidateCount": 1_000}})),
            ),
            (Operation::CountTokens, json!({})),
            (Operation::Embeddings, json!({})),
            (
                Operation::Embeddings,
                json!({"requests": vec![json!({"content": {}}); BATCH_MAX + 1]}),
            ),
        ] {
            let refusal = refused(operation, body);
            assert_eq!(refusal["error"]["status"], "INVALID_ARGUMENT");
            assert!(!refusal["error"]["message"].as_str().unwrap().is_empty());
        }
    }
}
