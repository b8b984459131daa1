//! What each preset that speaks Chat Completions is sent for one rich request: a fixture per provider.
//!
//! Quirks are data, and a slip in them (a word misspelt, a member of another format) is seen nowhere but at the provider.
//! Here it is seen in the fixture's change.

use std::fmt::Write as _;

use domain::{Dialect, Operation, Surface, catalog};
use serde_json::json;

use super::*;

/// Everything that providers differ in: names, ids, schemas, documents, sampling, thinking, usage.
fn question() -> Question {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, Dialect::OpenaiResponses),
        model: "m",
        stream: true,
        json_array: false,
        id: "1",
        created: 0,
    };
    let body = json!({
        "model": "m", "stream": true, "instructions": "be brief", "max_output_tokens": 50, "temperature": 0.5, "top_p": 0.9,
        "parallel_tool_calls": false, "service_tier": "flex", "reasoning": {"effort": "low"}, "user": "u",
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "s", "strict": true, "schema": {"type": "object"}}},
        "tools": [{"type": "function", "name": "look", "strict": true, "parameters": {"type": "object", "properties": {}}}],
        "tool_choice": "required",
        "input": [
            {"role": "developer", "content": "speak English"},
            {"role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "https://files.example/a.png"},
                {"type": "input_file", "filename": "d.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}]},
            {"type": "function_call", "call_id": "call_abcdefghijkl", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_abcdefghijkl", "output": "seen"}]});
    Question::read(&asked, body.to_string().as_bytes()).unwrap()
}

/// One line per member of the body, and per loss; messages and tools one by one.
fn shown(encoded: &Encoded) -> String {
    let body: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&encoded.body).unwrap();
    let mut text = String::new();
    for (name, value) in &body {
        match value.as_array() {
            Some(list) => list
                .iter()
                .for_each(|element| writeln!(text, "{name}: {element}").unwrap()),
            None => writeln!(text, "{name}: {value}").unwrap(),
        }
    }
    for loss in &encoded.losses {
        writeln!(text, "lost: {loss}").unwrap();
    }
    text
}

#[test]
fn each_preset_is_sent_what_it_takes() {
    let chat = Surface::new(Operation::Chat, Dialect::OpenaiChat);
    let speaking = catalog::providers()
        .iter()
        .filter(|provider| provider.path(chat).is_some() && !provider.builtin);
    for provider in speaking {
        let target = Target {
            model: "m",
            max_output: 0,
            thinks: Some(true),
            include_usage: provider.include_usage,
            quirks: &provider.quirks,
        };
        let encoded = question().encode(Dialect::OpenaiChat, &target).unwrap();
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format!("preset-{}", provider.name), shown(&encoded));
        });
    }
}
