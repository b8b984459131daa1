//! Whole answers, in both directions.

use domain::{Dialect, Usage};
use serde_json::{Value, json};

use super::{decode, reply, told};
use crate::hub::{
    Answer, Choice, Citation, CitedSource, Content, Media, MediaKind, Part, Signature, Source, Stop, StopReason,
    Thinking, ToolCall,
};

fn answered(output: &Value) -> Answer {
    let body = json!({"id": "resp_1", "object": "response", "created_at": 5.5, "status": "completed", "model": "m",
        "output": output, "usage": null, "tools": [], "billing": {"payer": "developer"}, "temperature": 1.0, "error": null});
    decode::answer(body.to_string().as_bytes()).unwrap()
}

fn answer(parts: Vec<Part>, reason: StopReason) -> Answer {
    Answer {
        choices: vec![Choice {
            parts,
            stop: Some(Stop::new(reason)),
            logprobs: None,
        }],
        ..Answer::default()
    }
}

fn thinking(text: &str, signature: Option<Signature>, redacted: bool) -> Part {
    Part::new(Content::Thinking(Thinking {
        text: text.to_owned(),
        signature,
        redacted,
        ..Thinking::default()
    }))
}

#[test]
fn every_kind_of_item_is_read() {
    let annotations = json!([
        {"type": "url_citation", "start_index": 1, "end_index": 4, "title": "T", "url": "https://u"},
        {"type": "container_file_citation", "container_id": "c", "file_id": "f", "filename": "n", "start_index": 0, "end_index": 2},
        {"type": "file_citation", "file_id": "f", "filename": "n", "index": 9}]);
    let answer = answered(&json!([
        {"type": "reasoning", "id": "rs_0", "summary": []},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}], "encrypted_content": "gA"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "final_answer", "content": [
            {"type": "output_text", "text": "hello", "annotations": annotations, "logprobs": [{"token": "hello", "logprob": -0.1}]},
            {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "c", "input": "x"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call", "id": "broken"},
    ]));
    assert_eq!(
        (answer.id.as_str(), answer.model.as_str(), answer.created),
        ("resp_1", "m", Some(5))
    );
    assert_eq!(answer.extra.members.keys().collect::<Vec<_>>(), ["billing"]);
    let said = &answer.choices[0];
    assert_eq!(said.stop.as_ref().unwrap().reason, StopReason::Tool);
    assert_eq!(
        said.logprobs,
        Some(json!({"content": [{"token": "hello", "logprob": -0.1}]}))
    );
    let parts: Vec<_> = said.parts.iter().map(|part| &part.content).collect();
    assert!(
        matches!(parts[0], Content::Thinking(t) if t.text == "A\n\nB" && t.is_summary && t.signature.as_ref().unwrap().value == "rs_1.gA")
    );
    let Content::Text { text, citations } = parts[1] else {
        panic!()
    };
    assert_eq!(
        (text.as_str(), citations.len(), citations[0].span, citations[1].span),
        ("hello", 3, Some((1, 4)), Some((0, 2)))
    );
    assert_eq!(
        citations[2].source,
        CitedSource::File {
            id: "f".to_owned(),
            name: Some("n".to_owned())
        }
    );
    assert!(matches!(parts[2], Content::Refusal(text) if text == "no"));
    assert!(matches!(parts[3], Content::ToolCall(call) if call.id.as_deref() == Some("call_1") && !call.custom));
    assert!(matches!(parts[4], Content::ToolCall(call) if call.arguments == "x" && call.custom));
    assert!(matches!(parts[5], Content::Native { .. }) && matches!(parts[6], Content::Native { .. }));
    assert_eq!(said.parts[1].extra.members["phase"], "final_answer");
}

#[test]
fn stop_reasons_are_those_of_the_table() {
    let reason = |body: Value| {
        let answer = decode::answer(body.to_string().as_bytes()).unwrap();
        answer.choices[0].stop.as_ref().map(|stop| stop.reason)
    };
    let cut = |why: &str| json!({"status": "incomplete", "incomplete_details": {"reason": why}, "output": []});
    assert_eq!(
        reason(json!({"status": "completed", "output": []})),
        Some(StopReason::End)
    );
    assert_eq!(reason(cut("max_output_tokens")), Some(StopReason::Length));
    assert_eq!(reason(cut("content_filter")), Some(StopReason::Filter));
    assert_eq!(reason(cut("steered")), Some(StopReason::Other));
    assert_eq!(reason(json!({"status": "in_progress", "output": []})), None);
    for (reason, status, why) in [
        (StopReason::End, "completed", Value::Null),
        (StopReason::Sequence, "completed", Value::Null),
        (StopReason::Tool, "completed", Value::Null),
        (StopReason::Pause, "completed", Value::Null),
        (StopReason::Length, "incomplete", json!({"reason": "max_output_tokens"})),
        (
            StopReason::Context,
            "incomplete",
            json!({"reason": "max_output_tokens"}),
        ),
        (StopReason::Filter, "incomplete", json!({"reason": "content_filter"})),
        (StopReason::Other, "incomplete", Value::Null),
    ] {
        let (body, _) = told(answer(vec![Part::text("a")], reason), &reply(&json!({})));
        assert_eq!((&body["status"], &body["incomplete_details"]), (&json!(status), &why));
        assert_eq!(body["output"][0]["status"], status);
    }
}

#[test]
fn a_failed_response_is_no_answer() {
    let body = json!({"status": "failed", "error": {"code": "server_error", "message": "oops"}, "output": []});
    assert!(decode::answer(body.to_string().as_bytes()).is_err());
    assert!(decode::answer(b"[]").is_err());
}

#[test]
fn another_formats_answer_is_told_with_everything_an_sdk_requires() {
    let mut answer = answer(
        vec![
            thinking(
                "raw",
                Some(Signature {
                    origin: Dialect::AnthropicMessages,
                    value: "Eq".to_owned(),
                }),
                false,
            ),
            Part::text("Hi"),
            Part::text(" there"),
            Part::new(Content::ToolCall(ToolCall {
                id: Some("toolu_1".to_owned()),
                name: "crm__find".to_owned(),
                ..ToolCall::default()
            })),
            Part::new(Content::ToolCall(ToolCall {
                name: "patch".to_owned(),
                arguments: "{\"input\":\"*** Begin\"}".to_owned(),
                ..ToolCall::default()
            })),
        ],
        StopReason::Tool,
    );
    answer.usage = Some(Usage {
        input: 6,
        cache_read: 4,
        cache_write_5m: 1,
        output: 5,
        reasoning: 2,
        ..Usage::default()
    });
    answer.service_tier = Some("standard".to_owned());
    let tools = json!([
        {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}]},
        {"type": "custom", "name": "patch"}]);
    let request = json!({"model": "alias", "input": "q", "temperature": 0.3, "metadata": {"k": "v"}, "tools": tools});
    let (body, losses) = told(answer, &reply(&request));
    assert_eq!(losses, []);
    assert_eq!(
        body,
        json!({
            "id": "resp_x1", "object": "response", "created_at": 17, "status": "completed", "error": null,
            "incomplete_details": null, "model": "alias",
            "output": [
                {"id": "rs_x1_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "raw"}],
                 "encrypted_content": "tollgate:anthropic_messages:Eq"},
                {"id": "msg_x1_1", "type": "message", "status": "completed", "role": "assistant", "content": [
                    {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hi"},
                    {"type": "output_text", "annotations": [], "logprobs": [], "text": " there"}]},
                {"id": "fc_x1_2", "type": "function_call", "status": "completed", "arguments": "{}", "call_id": "toolu_1", "name": "find", "namespace": "crm"},
                {"id": "ctc_x1_3", "type": "custom_tool_call", "status": "completed", "input": "*** Begin", "call_id": "call_x1_3", "name": "patch"}],
            "background": false, "instructions": null, "max_output_tokens": null, "max_tool_calls": null,
            "parallel_tool_calls": true, "previous_response_id": null, "prompt_cache_key": null,
            "prompt_cache_retention": null, "reasoning": {"effort": null, "summary": null}, "safety_identifier": null,
            "service_tier": "default", "store": true, "temperature": 0.3,
            "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tool_choice": "auto", "tools": tools,
            "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": null, "metadata": {"k": "v"},
            "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
                "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 16},
        })
    );
}

#[test]
fn seals_on_texts_and_calls_stand_beside_them() {
    let seal = |value: &str| {
        Some(Signature {
            origin: Dialect::Gemini,
            value: value.to_owned(),
        })
    };
    let mut call = Part::new(Content::ToolCall(ToolCall {
        id: Some("a".to_owned()),
        name: "f".to_owned(),
        ..ToolCall::default()
    }));
    call.signature = seal("S");
    let mut text = Part::text("done");
    text.signature = seal("T");
    let redacted = thinking(
        "",
        Some(Signature {
            origin: Dialect::AnthropicMessages,
            value: "R".to_owned(),
        }),
        true,
    );
    let parts = vec![call, text, redacted];
    let (body, losses) = told(answer(parts.clone(), StopReason::Tool), &reply(&json!({})));
    assert_eq!(losses, []);
    let seals: Vec<_> = body["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["type"].as_str().unwrap(), item["encrypted_content"].as_str()))
        .collect();
    assert_eq!(
        seals,
        [
            ("reasoning", Some("next:tollgate:gemini:S")),
            ("function_call", None),
            ("message", None),
            ("reasoning", Some("previous:tollgate:gemini:T")),
            ("reasoning", Some("redacted:tollgate:anthropic_messages:R")),
        ]
    );
    // A client sends its output back as input.
    let again = super::decoded(&json!({"input": body["output"]}));
    let back = &again.messages[0].parts;
    assert_eq!(
        back.iter().map(|part| part.signature.clone()).collect::<Vec<_>>(),
        parts.iter().map(|part| part.signature.clone()).collect::<Vec<_>>()
    );
    assert!(matches!(&back[2].content, Content::Thinking(thinking) if thinking.redacted));
}

#[test]
fn what_an_answer_cannot_say_is_noted() {
    let media = |kind, source| {
        Part::new(Content::Media(Media {
            kind,
            source,
            mime: "image/jpeg".to_owned(),
            name: None,
            detail: None,
            context: None,
            cite: None,
        }))
    };
    let mut cited = Part::text("x");
    if let Content::Text { citations, .. } = &mut cited.content {
        let source = |source| Citation {
            span: Some((0, 1)),
            quote: None,
            source,
            native: None,
        };
        citations.push(source(CitedSource::Url {
            url: "https://u".to_owned(),
            title: None,
        }));
        citations.push(source(CitedSource::Document {
            index: 0,
            title: None,
            place: None,
        }));
    }
    let mut answer = answer(
        vec![
            media(MediaKind::Image, Source::Base64("AAAA".to_owned())),
            media(MediaKind::Audio, Source::Base64("AAAA".to_owned())),
            Part::new(Content::Native {
                origin: Dialect::Gemini,
                value: json!({}),
            }),
            cited,
        ],
        StopReason::Pause,
    );
    answer.choices.push(Choice {
        parts: vec![Part::text("second")],
        ..Choice::default()
    });
    let (body, losses) = told(answer, &reply(&json!({})));
    assert_eq!(
        body["output"][0],
        json!({"id": "ig_x1_0", "type": "image_generation_call", "status": "completed", "output_format": "jpeg", "result": "AAAA"})
    );
    assert_eq!(
        body["output"][1]["content"][0]["annotations"],
        json!([{"type": "url_citation", "start_index": 0, "end_index": 1, "title": "", "url": "https://u"}])
    );
    let lost: Vec<_> = losses.iter().map(|loss| loss.what.as_ref()).collect();
    assert_eq!(lost, ["media", "item", "citations", "choices", "stop"]);
}

#[test]
fn log_probabilities_are_of_the_text() {
    let mut answer = answer(
        vec![Part::text("a"), Part::new(Content::ToolCall(ToolCall::default()))],
        StopReason::Tool,
    );
    answer.choices[0].logprobs = Some(json!({"content": [{"token": "a"}], "refusal": []}));
    let (body, losses) = told(answer, &reply(&json!({})));
    assert_eq!(body["output"][0]["content"][0]["logprobs"], json!([{"token": "a"}]));
    assert_eq!(losses, []);
}
