//! Histories that clients bring, and what targets are told of them: pairs of calls and results above all.

use super::*;

/// A history of Responses in which the client's words stand between calls and results.
fn interleaved() -> Value {
    json!({"model": "m", "input": [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"role": "developer", "content": "be brief"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"role": "user", "content": "a note"},
        {"type": "function_call_output", "call_id": "b", "output": "2"},
    ]})
}

#[test]
fn what_stands_between_calls_and_results_follows_them() {
    let (body, _) = told(Dialect::OpenaiResponses, &interleaved(), Dialect::OpenaiChat, "m").unwrap();
    let roles: Vec<_> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "system", "user"]);
    let (body, _) = told(
        Dialect::OpenaiResponses,
        &interleaved(),
        Dialect::Gemini,
        "gemini-2.5-pro",
    )
    .unwrap();
    let answered: Vec<_> = body["contents"][2]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["functionResponse"]["name"])
        .collect();
    assert_eq!(answered, ["f", "g"], "{body}");
    assert_eq!(body["contents"][3]["parts"][0]["text"], "a note");
}

#[test]
fn calls_and_results_with_empty_or_equal_ids_match_at_every_target() {
    for id in ["", "a"] {
        let call = |name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
        let result = |text: &str| json!({"role": "tool", "tool_call_id": id, "content": text});
        let body = json!({"model": "m", "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": [call("f"), call("g")]},
            result("1"),
            result("2"),
        ]});
        let pairs = |upstream, calls: [&str; 2], results: [&str; 2]| {
            let (body, _) = told(Dialect::OpenaiChat, &body, upstream, "m").unwrap();
            let at = |place: &str| {
                body.pointer(place)
                    .unwrap_or_else(|| panic!("{place} in {body}"))
                    .clone()
            };
            assert_eq!(calls.map(at), results.map(at), "{upstream}: {body}");
            assert_ne!(at(calls[0]), at(calls[1]), "{upstream}: {body}");
        };
        pairs(
            Dialect::AnthropicMessages,
            ["/messages/1/content/0/id", "/messages/1/content/1/id"],
            ["/messages/2/content/0/tool_use_id", "/messages/2/content/1/tool_use_id"],
        );
        pairs(
            Dialect::BedrockConverse,
            [
                "/messages/1/content/0/toolUse/toolUseId",
                "/messages/1/content/1/toolUse/toolUseId",
            ],
            [
                "/messages/2/content/0/toolResult/toolUseId",
                "/messages/2/content/1/toolResult/toolUseId",
            ],
        );
        pairs(
            Dialect::OpenaiResponses,
            ["/input/1/call_id", "/input/2/call_id"],
            ["/input/3/call_id", "/input/4/call_id"],
        );
        pairs(
            Dialect::Gemini,
            [
                "/contents/1/parts/0/functionCall/name",
                "/contents/1/parts/1/functionCall/name",
            ],
            [
                "/contents/2/parts/0/functionResponse/name",
                "/contents/2/parts/1/functionResponse/name",
            ],
        );
        pairs(
            Dialect::Gemini,
            [
                "/contents/1/parts/0/functionCall/id",
                "/contents/1/parts/1/functionCall/id",
            ],
            [
                "/contents/2/parts/0/functionResponse/id",
                "/contents/2/parts/1/functionResponse/id",
            ],
        );
    }
}

/// A question of Gemini's format about something in base64.
fn about(mime: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [
        {"text": "what is it?"}, {"inlineData": {"mimeType": mime, "data": "QQ=="}}]}]})
}

#[test]
fn a_question_is_not_asked_without_what_it_is_about() {
    let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let (chat, responses) = (Dialect::OpenaiChat, Dialect::OpenaiResponses);
    let anthropic = Dialect::AnthropicMessages;
    for (upstream, mime, named) in [
        (anthropic, "audio/wav", "audio"),
        (anthropic, "video/mp4", "video"),
        (anthropic, "image/heic", "image"),
        (anthropic, "image/svg+xml", "image"),
        (anthropic, docx, "document"),
        (responses, "audio/ogg", "audio"),
        (responses, "video/mp4", "video"),
        (chat, "video/mp4", "video"),
    ] {
        let refused = told(Dialect::Gemini, &about(mime), upstream, "m").unwrap_err();
        assert!(refused.to_string().contains(named), "{upstream}, {mime}: {refused}");
    }
    for (upstream, mime) in [(anthropic, "image/png"), (responses, "audio/wav"), (chat, "audio/ogg")] {
        assert!(
            told(Dialect::Gemini, &about(mime), upstream, "m").is_ok(),
            "{upstream}, {mime}"
        );
    }
}

#[test]
fn a_document_of_parts_is_not_told_without_its_pictures() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}});
    let body = anthropic(&json!({"messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "see"}, image]}}]}]}));
    assert!(told(Dialect::AnthropicMessages, &body, Dialect::BedrockConverse, "m").is_err());
    assert!(told(Dialect::AnthropicMessages, &body, Dialect::OpenaiChat, "m").is_ok());
}

#[test]
fn bare_base64_is_a_files_data() {
    let file = |data: &str| {
        chat(&json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "?"}, {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}]}]}))
    };
    let source = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"});
    for data in ["JVBERi0x", "data:application/pdf;base64,JVBERi0x"] {
        let (body, _) = told(Dialect::OpenaiChat, &file(data), Dialect::AnthropicMessages, "m").unwrap();
        assert_eq!(body["messages"][0]["content"][1]["source"], source, "{body}");
    }
    let (body, _) = told(
        Dialect::OpenaiChat,
        &file("https://a.example/a.pdf"),
        Dialect::AnthropicMessages,
        "m",
    )
    .unwrap();
    assert_eq!(body["messages"][0]["content"][1]["source"]["type"], "url");
}
