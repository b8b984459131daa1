//! Requests of Gemini's clients, read and told again.

use serde_json::{Value, json};

use crate::gemini::{decode, encode};
use crate::hub::{Losses, Message, Part, Request, Role, ThinkingBudget, ToolChoice};
use crate::translate::Target;

fn read(body: &Value) -> Request {
    decode::request(body.to_string().as_bytes()).unwrap()
}

pub(super) fn write_for(model: &str, request: Request) -> (Value, Vec<String>) {
    let quirks = domain::provider::Quirks::default();
    let target = Target {
        model,
        max_output: 65_536,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    let mut losses = Losses::default();
    let body = encode::request(request, &target, &mut losses).unwrap();
    let lost = losses.as_slice().iter().map(|loss| loss.what.to_string()).collect();
    (body, lost)
}

pub(super) fn write(request: Request) -> (Value, Vec<String>) {
    write_for("gemini-3-flash", request)
}

#[test]
fn everything_of_its_own_comes_back() {
    let body = json!({
        "systemInstruction": {"parts": [{"text": "Be terse."}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "Look:"},
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo=", "displayName": "a.png"},
                    "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://bucket/a.mp4"}, "videoMetadata": {"fps": 2}},
                {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}},
            ]},
            {"role": "model", "parts": [
                {"text": "Hm.", "thought": true},
                {"text": "I call.", "thoughtSignature": "c2lnMQ=="},
                {"functionCall": {"id": "a", "name": "f", "args": {"x": 1, "snake_case": {"a_b": 2}}}, "thoughtSignature": "c2lnMg=="},
                {"functionCall": {"name": "g", "args": {}}},
                {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
                {"toolCall": {"id": "t", "toolType": "FILE_SEARCH", "args": {}}, "thoughtSignature": "c2lnMw=="},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "a", "name": "f", "response": {"some_key": [1]},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA", "displayName": "p"}}]}},
                {"functionResponse": {"name": "g", "response": {"error": "no"}, "scheduling": "SILENT"}},
            ]},
        ],
        "tools": [
            {"functionDeclarations": [
                {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}, "behavior": "BLOCKING"},
                {"name": "g"},
            ]},
            {"googleSearch": {"timeRangeFilter": {"startTime": "2026-01-01T00:00:00Z"}}},
            {"codeExecution": {}}, {"urlContext": {}}, {"fileSearch": {"fileSearchStoreNames": ["s"]}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}, "retrievalConfig": {"languageCode": "de"},
            "includeServerSideToolInvocations": true},
        "generationConfig": {
            "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7, "presencePenalty": 0.1, "frequencyPenalty": 0.2,
            "stopSequences": ["END"], "maxOutputTokens": 100, "candidateCount": 2, "responseLogprobs": true, "logprobs": 3,
            "responseJsonSchema": {"type": "object"}, "responseMimeType": "application/json",
            "responseModalities": ["TEXT", "IMAGE"],
            "thinkingConfig": {"thinkingBudget": -1, "includeThoughts": true},
            "mediaResolution": "MEDIA_RESOLUTION_LOW", "speechConfig": {"languageCode": "de-DE"},
        },
        "serviceTier": "flex",
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "cachedContent": "cachedContents/x",
        "labels": {"team": "a"},
    });
    let (told, lost) = write(read(&body));
    assert_eq!(told, body);
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn both_cases_and_one_in_place_of_a_list_are_read() {
    let camel = json!({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "+/8="}}]}],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"maxOutputTokens": 5, "thinkingConfig": {"thinkingBudget": 0, "includeThoughts": false}},
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a_b"]}}});
    let snake = json!({"contents": {"role": "user", "parts": {"inline_data": {"mime_type": "image/png", "data": "-_8="}}},
        "system_instruction": {"parts": {"text": "s"}},
        "generation_config": {"max_output_tokens": "5", "thinking_config": {"thinking_budget": 0, "include_thoughts": false}},
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["a_b"]}}});
    let request = read(&snake);
    assert_eq!(
        read(&json!({"systemInstruction": "s"})).messages,
        [Message::new(Role::System, vec![Part::text("s")])]
    );
    assert_eq!(read(&camel), request);
    assert_eq!(request.max_output, Some(5));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("a_b".to_owned())));
    let reasoning = request.reasoning.unwrap();
    assert_eq!(
        (reasoning.budget, reasoning.visible),
        (Some(ThinkingBudget::Off), Some(false))
    );
}

#[test]
fn counting_takes_contents_or_a_request() {
    let alone = json!({"contents": [{"parts": [{"text": "a"}]}]});
    let inside =
        json!({"generateContentRequest": {"model": "models/gemini-3-flash", "contents": [{"parts": [{"text": "a"}]}]}});
    let request = read(&inside);
    assert_eq!(request.model, "gemini-3-flash");
    assert_eq!(read(&alone).messages, request.messages);
}

#[test]
fn choices_of_tools() {
    let choice = |config: Value| read(&json!({"toolConfig": {"functionCallingConfig": config}})).tool_choice;
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(choice(json!({"mode": "AUTO"})), Some(ToolChoice::Auto));
    assert_eq!(choice(json!({"mode": "NONE"})), Some(ToolChoice::None));
    assert_eq!(choice(json!({"mode": "ANY"})), Some(ToolChoice::Required));
    assert_eq!(
        choice(json!({"mode": "ANY", "allowedFunctionNames": ["a", "b"]})),
        Some(ToolChoice::Allowed {
            names: names.clone(),
            required: true
        })
    );
    assert_eq!(
        choice(json!({"mode": "VALIDATED", "allowedFunctionNames": ["a", "b"]})),
        Some(ToolChoice::Allowed { names, required: false })
    );
    assert_eq!(choice(json!({})), None);
    let validated = read(&json!({
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
    }));
    assert_eq!(validated.tool_choice, Some(ToolChoice::Auto));
    assert!(matches!(
        validated.tools[0],
        crate::hub::Tool::Function { strict: Some(true), .. }
    ));
}

#[test]
fn errors_name_their_place() {
    let error = |body: Value| decode::request(body.to_string().as_bytes()).unwrap_err().to_string();
    for (body, start) in [
        (json!({"contents": "hi"}), "contents: "),
        (
            json!({"contents": [{"role": "system", "parts": []}]}),
            "contents[0].role: ",
        ),
        (
            json!({"contents": [{"parts": [{"text": 1}]}]}),
            "contents[0].parts[0].text: ",
        ),
        (
            json!({"contents": [{"parts": [{"function_call": {"args": []}}]}]}),
            "contents[0].parts[0].functionCall.args: ",
        ),
        (
            json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": -2}}}),
            "generationConfig.thinkingConfig.thinkingBudget: ",
        ),
        (
            json!({"tools": [{"functionDeclarations": [{}]}]}),
            "tools[0].functionDeclarations[0].name: ",
        ),
        (
            json!({"toolConfig": {"functionCallingConfig": {"mode": "X"}}}),
            "toolConfig.functionCallingConfig.mode: ",
        ),
    ] {
        let error = error(body);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn what_a_tool_said_in_foreign_words_is_said() {
    let reference = json!({"type": "tool_reference", "tool_name": "f"});
    let result = crate::hub::ToolResult {
        call: "a".to_owned(),
        name: "search".to_owned(),
        parts: vec![Part::new(crate::hub::Content::Native {
            origin: domain::Dialect::AnthropicMessages,
            value: reference.clone(),
        })],
        ..crate::hub::ToolResult::default()
    };
    let request = Request {
        messages: vec![Message::new(
            Role::User,
            vec![Part::new(crate::hub::Content::ToolResult(result))],
        )],
        ..Request::default()
    };
    let told = write(request).0;
    let response = &told["contents"][0]["parts"][0]["functionResponse"]["response"];
    let said = response.get("output").unwrap_or(response);
    let said = said
        .as_str()
        .map_or_else(|| said.clone(), |text| serde_json::from_str(text).unwrap());
    assert_eq!(said, reference);
}
