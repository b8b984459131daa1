//! What reading the golden snapshots showed to be wrong, once each: requests that their target would have refused, and what
//! was dropped without being noted.

use domain::provider::Quirks;
use domain::{FailureClass, Operation, Surface};
use serde_json::{Value, json};

use super::*;
use crate::answer::ReportedFailure;
use crate::hub::{Citation, Cited, CitedSource, Delta, Part};
use crate::limits::{RETOLD_MAX, WAITING_MAX};
use crate::stream::TapOptions;

mod arguments;
mod breaks;
mod histories;
mod reasoning;

const CLAUDE: &str = "anthropic.claude-sonnet-4-5-20250929-v1:0";

/// A request of the format `from`, told to an upstream: its body and what is lost.
fn told(from: Dialect, body: &Value, to: Dialect, model: &str) -> Result<(Value, Vec<String>), BadRequest> {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, from),
        model: "m",
        stream: false,
        json_array: false,
        id: "7",
        created: 1,
    };
    let quirks = Quirks::default();
    let target = Target {
        model,
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks: &quirks,
    };
    let encoded = Question::read(&asked, body.to_string().as_bytes())?.encode(to, &target)?;
    let losses = encoded.losses.iter().map(|loss| loss.what.to_string()).collect();
    Ok((serde_json::from_slice(&encoded.body).unwrap(), losses))
}

/// A whole answer, told to a client.
fn answered(from: Dialect, body: &Value, to: Dialect) -> (Value, Vec<String>) {
    let body = body.to_string();
    let report = crate::read_answer(Surface::new(Operation::Chat, from), body.as_bytes()).unwrap();
    let encoded = translate_answer(from, to, body.as_bytes(), &report, &Reply::default()).unwrap();
    let losses = encoded.losses.iter().map(|loss| loss.what.to_string()).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), losses)
}

fn streamed(from: Dialect, body: &'static str, to: Dialect) -> (String, StreamEnd) {
    let options = TapOptions {
        surface: Surface::new(Operation::Chat, from),
        hide_usage_chunk: false,
        json_array: false,
    };
    let mut transcoder = Transcoder::translate(StreamTap::new(options), to, Reply::default());
    let mut out = Vec::new();
    transcoder.push(Bytes::from_static(body.as_bytes()), &mut out);
    let end = transcoder.finish(true);
    if let StreamEnd::Complete { last } = &end {
        out.push(last.clone());
    }
    (String::from_utf8(out.concat()).unwrap(), end)
}

fn chat(settings: &Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    body
}

fn anthropic(settings: &Value) -> Value {
    let mut body = json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    body
}

#[test]
fn what_only_its_provider_keeps_is_not_left_out() {
    let kept = [
        (
            Dialect::Gemini,
            json!({"contents": [], "cachedContent": "cachedContents/a"}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"model": "m", "input": "hi", "prompt": {"id": "p"}}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"model": "m", "input": "hi", "conversation": "conv_1"}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"model": "m", "input": "hi", "conversation": {"id": "conv_1"}}),
        ),
    ];
    for (client, body) in kept {
        for upstream in Dialect::ALL {
            let is_refused = told(client, &body, upstream, "m").is_err();
            assert_eq!(is_refused, client != upstream, "{client} -> {upstream}: {body}");
        }
    }
}

#[test]
fn nothing_is_kept_where_nothing_is_named() {
    let body = json!({"model": "m", "input": "hi", "conversation": null, "prompt": null});
    assert!(told(Dialect::OpenaiResponses, &body, Dialect::OpenaiChat, "m").is_ok());
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "cachedContent": ""});
    assert!(told(Dialect::Gemini, &body, Dialect::OpenaiChat, "m").is_ok());
}

#[test]
fn openais_functions_list_their_members() {
    let body = anthropic(&json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}));
    let empty = json!({"type": "object", "properties": {}});
    let (told_chat, _) = told(Dialect::AnthropicMessages, &body, Dialect::OpenaiChat, "m").unwrap();
    assert_eq!(told_chat["tools"][0]["function"]["parameters"], empty);
    let (told_responses, _) = told(Dialect::AnthropicMessages, &body, Dialect::OpenaiResponses, "m").unwrap();
    assert_eq!(told_responses["tools"][0]["parameters"], empty);
}

#[test]
fn strict_tools_have_schemas_that_claude_can_be_held_to() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]});
    let narrow = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    for (strict, expected) in [(true, &narrow), (false, &schema)] {
        let function = json!({"name": "f", "strict": strict, "parameters": schema});
        let body = chat(&json!({"tools": [{"type": "function", "function": function}]}));
        let (anthropics, losses) = told(
            Dialect::OpenaiChat,
            &body,
            Dialect::AnthropicMessages,
            "claude-sonnet-4-5",
        )
        .unwrap();
        assert_eq!(&anthropics["tools"][0]["input_schema"], expected);
        assert_eq!(losses.contains(&"schema constraints".to_owned()), strict);
        let (bedrocks, _) = told(Dialect::OpenaiChat, &body, Dialect::BedrockConverse, CLAUDE).unwrap();
        assert_eq!(
            &bedrocks["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"],
            expected
        );
    }
}

#[test]
fn claude_at_bedrock_gets_the_sampling_that_its_generation_takes() {
    let body = chat(&json!({"temperature": 0.5, "top_p": 0.9, "stop": ["\n", "END"]}));
    let sampled = |model: &str| {
        let (body, losses) = told(Dialect::OpenaiChat, &body, Dialect::BedrockConverse, model).unwrap();
        (body["inferenceConfig"].clone(), losses)
    };
    let lost = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (old, losses) = sampled("anthropic.claude-sonnet-4-20250514-v1:0");
    assert_eq!(old, json!({"temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}));
    assert_eq!(losses, lost(&["stop"]));
    let (one_way, losses) = sampled(CLAUDE);
    assert_eq!(one_way, json!({"temperature": 0.5, "stopSequences": ["END"]}));
    assert_eq!(losses, lost(&["top_p", "stop"]));
    let (new, losses) = sampled("anthropic.claude-opus-4-7");
    assert_eq!(new, json!({"stopSequences": ["END"]}));
    assert_eq!(losses, lost(&["temperature", "top_p", "stop"]));
    let (other, losses) = sampled("meta.llama3");
    assert_eq!(
        other,
        json!({"temperature": 0.5, "topP": 0.9, "stopSequences": ["\n", "END"]})
    );
    assert!(losses.is_empty());
    let thinking = chat(&json!({"top_p": 0.5, "reasoning_effort": "low"}));
    let (_, losses) = told(Dialect::OpenaiChat, &thinking, Dialect::BedrockConverse, CLAUDE).unwrap();
    assert_eq!(losses, lost(&["top_p"]));
}

#[test]
fn claudes_thoughts_move_between_anthropic_and_bedrock() {
    let thoughts = json!([
        {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "text", "text": "So."},
    ]);
    let body = anthropic(&json!({"messages": [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": thoughts}, {"role": "user", "content": "b"}]}));
    let (at_bedrock, losses) = told(Dialect::AnthropicMessages, &body, Dialect::BedrockConverse, CLAUDE).unwrap();
    assert_eq!(
        at_bedrock["messages"][1]["content"],
        json!([
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EqQB"}}},
            {"reasoningContent": {"redactedContent": "RW13Sw=="}},
            {"text": "So."},
        ])
    );
    assert!(losses.is_empty(), "{losses:?}");
    // Bedrock's own, which the client holds wrapped, come to Anthropic.
    let wrapped = json!([
        {"type": "thinking", "thinking": "hm", "signature": "tollgate:bedrock_converse:EqQB"},
        {"type": "redacted_thinking", "data": "tollgate:bedrock_converse:RW13Sw=="},
        {"type": "text", "text": "So."},
    ]);
    let mut back = body.clone();
    back["messages"][1]["content"] = wrapped;
    let (at_anthropic, _) = told(
        Dialect::AnthropicMessages,
        &back,
        Dialect::AnthropicMessages,
        "claude-sonnet-4-5",
    )
    .unwrap();
    assert_eq!(at_anthropic["messages"][1]["content"], thoughts);
    // No other model at Bedrock takes them.
    let (_, losses) = told(
        Dialect::AnthropicMessages,
        &body,
        Dialect::BedrockConverse,
        "amazon.nova-2-lite-v1:0",
    )
    .unwrap();
    assert_eq!(losses, ["thinking"]);
}

#[test]
fn an_effort_in_anthropics_words_does_not_make_claude_think_at_bedrock() {
    let body = anthropic(&json!({"output_config": {"effort": "low"}}));
    let (old, losses) = told(Dialect::AnthropicMessages, &body, Dialect::BedrockConverse, CLAUDE).unwrap();
    assert!(old.get("additionalModelRequestFields").is_none());
    assert_eq!(losses, ["effort"]);
    let newer = "anthropic.claude-opus-4-6-v1";
    let (new, losses) = told(Dialect::AnthropicMessages, &body, Dialect::BedrockConverse, newer).unwrap();
    assert_eq!(
        new["additionalModelRequestFields"],
        json!({"output_config": {"effort": "low"}})
    );
    assert!(losses.is_empty());
}

#[test]
fn settings_of_a_providers_tool_that_others_lack_are_noted() {
    let body = json!({"model": "m", "input": "hi", "tools": [
        {"type": "web_search", "search_context_size": "low", "user_location": null}]});
    for upstream in [Dialect::AnthropicMessages, Dialect::Gemini] {
        let (_, losses) = told(Dialect::OpenaiResponses, &body, upstream, "m").unwrap();
        assert_eq!(losses, ["tools.search_context_size"], "{upstream}");
    }
    let google = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [{"googleSearch": {"timeRangeFilter": {}}}]});
    let (_, losses) = told(Dialect::Gemini, &google, Dialect::OpenaiResponses, "m").unwrap();
    assert_eq!(losses, ["tools.timeRangeFilter"]);
    let searching = chat(&json!({"web_search_options": {"search_context_size": "low"}}));
    let (own, losses) = told(Dialect::OpenaiChat, &searching, Dialect::OpenaiChat, "m").unwrap();
    assert_eq!(own["web_search_options"], json!({"search_context_size": "low"}));
    assert!(own.get("tools").is_none() && losses.is_empty());
}

#[test]
fn what_chat_has_no_place_for_in_a_history_is_noted() {
    let mut body = json!({"contents": [
        {"role": "user", "parts": [{"text": "a"}, {"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2VhbA=="}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ]});
    let (_, losses) = told(Dialect::Gemini, &body, Dialect::OpenaiChat, "m").unwrap();
    assert_eq!(losses, ["content[].videoMetadata", "thought_signature"]);
    body["contents"][0]["parts"].as_array_mut().unwrap().truncate(1);
    let (_, losses) = told(Dialect::Gemini, &body, Dialect::AnthropicMessages, "m").unwrap();
    assert!(losses.contains(&"thought_signature".to_owned()), "{losses:?}");
    let cited = anthropic(
        &json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [
        {"type": "text", "text": "b", "citations": [{"type": "web_search_result_location", "url": "https://a", "title": "A",
            "encrypted_index": "x", "cited_text": "c"}]}]}]}),
    );
    let (_, losses) = told(Dialect::AnthropicMessages, &cited, Dialect::OpenaiChat, "m").unwrap();
    assert_eq!(losses, ["citations"]);
}

#[test]
fn members_that_repeat_what_is_told_are_not_lost() {
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "d"},
    ]});
    for upstream in [Dialect::AnthropicMessages, Dialect::Gemini, Dialect::BedrockConverse] {
        let (_, losses) = told(Dialect::OpenaiResponses, &body, upstream, CLAUDE).unwrap();
        assert!(losses.is_empty(), "{upstream}: {losses:?}");
    }
    let answer = json!({"id": "r", "object": "response", "status": "completed", "model": "m", "output": [{
        "id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}]});
    for client in [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::Gemini] {
        let (_, losses) = answered(Dialect::OpenaiResponses, &answer, client);
        assert!(losses.is_empty(), "{client}: {losses:?}");
    }
}

#[test]
fn a_citation_without_a_span_is_about_its_whole_text() {
    let cited = json!([{"type": "web_search_result_location", "url": "https://a", "title": "A", "encrypted_index": "x", "cited_text": "c"}]);
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Größe: "}, {"type": "text", "text": "2 m", "citations": cited}],
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    let (chat, _) = answered(Dialect::AnthropicMessages, &answer, Dialect::OpenaiChat);
    let span = &chat["choices"][0]["message"]["annotations"][0]["url_citation"];
    assert_eq!((&span["start_index"], &span["end_index"]), (&7.into(), &10.into()));
    let (gemini, _) = answered(Dialect::AnthropicMessages, &answer, Dialect::Gemini);
    let support = &gemini["candidates"][0]["groundingMetadata"]["groundingSupports"][0]["segment"];
    assert_eq!(support["text"], "2 m");
    let stream = r#"data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Gr"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://a","title":"A","encrypted_index":"x","cited_text":"c"}}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"öße"}}

data: {"type":"content_block_stop","index":0}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}

data: {"type":"message_stop"}

"#;
    let (told, _) = streamed(Dialect::AnthropicMessages, stream, Dialect::OpenaiChat);
    assert!(told.contains(r#""start_index":0,"end_index":5"#), "{told}");
}

#[test]
fn bedrocks_citations_of_documents_are_anthropics() {
    let location = |kind: &str| json!({(kind): {"documentIndex": 1, "start": 2, "end": 3}});
    for (kind, expected, [from, to]) in [
        ("documentChar", "char_location", ["start_char_index", "end_char_index"]),
        (
            "documentPage",
            "page_location",
            ["start_page_number", "end_page_number"],
        ),
        (
            "documentChunk",
            "content_block_location",
            ["start_block_index", "end_block_index"],
        ),
    ] {
        let answer = json!({"stopReason": "end_turn", "output": {"message": {"role": "assistant", "content": [
            {"citationsContent": {"content": [{"text": "a"}], "citations": [
                {"title": "T", "sourceContent": [{"text": "q"}], "location": location(kind)}]}}]}}});
        let (told, losses) = answered(Dialect::BedrockConverse, &answer, Dialect::AnthropicMessages);
        assert_eq!(
            told["content"][0]["citations"][0],
            json!({"type": expected, "cited_text": "q", "document_index": 1, "document_title": "T", from: 2, to: 3})
        );
        assert!(losses.is_empty(), "{losses:?}");
    }
}

#[test]
fn tiers_are_told_in_the_clients_words() {
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "a"}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard"}});
    let (chat, _) = answered(Dialect::AnthropicMessages, &answer, Dialect::OpenaiChat);
    assert_eq!(chat["service_tier"], "default");
    let (gemini, losses) = answered(Dialect::OpenaiChat, &chat, Dialect::Gemini);
    assert_eq!(gemini["usageMetadata"]["serviceTier"], "standard");
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn what_chat_has_no_place_for_in_an_answer_is_noted() {
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "stop_sequence",
        "stop_sequence": "END", "stop_details": {"type": "x"}, "content": [{"type": "text", "text": "a"}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 1}}});
    let (_, losses) = answered(Dialect::AnthropicMessages, &answer, Dialect::OpenaiChat);
    assert_eq!(losses, ["stop_sequence", "usage.web_searches", "stop_details"]);
}

#[test]
fn a_failure_inside_a_stream_keeps_its_class() {
    let stream = r#"data: {"type":"response.created","response":{"id":"r","status":"in_progress","model":"m","output":[]}}

data: {"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"a"}

data: {"type":"response.failed","response":{"id":"r","status":"failed","model":"m","error":{"code":"rate_limit_exceeded","message":"slow down"},"output":[]}}

"#;
    let (_, end) = streamed(Dialect::OpenaiResponses, stream, Dialect::OpenaiChat);
    let StreamEnd::Incomplete {
        why: StreamFault::ErrorEvent(ReportedFailure { class, .. }),
    } = end
    else {
        panic!("{end:?}")
    };
    assert_eq!(class, FailureClass::RateLimited);
}

fn citation(quote: String) -> Citation {
    Citation {
        span: None,
        quote: Some(quote),
        source: CitedSource::Other,
        native: None,
    }
}

/// A megabyte of log probabilities, or of a citation, at a time.
fn heavy() -> [Event; 2] {
    let big = "x".repeat(1 << 20);
    let value = json!({"content": [{"token": big, "logprob": -1.0, "bytes": null, "top_logprobs": []}]});
    let source = CitedSource::Url {
        url: big.clone(),
        title: None,
    };
    let cited = Citation {
        source,
        ..citation(big)
    };
    [
        Event::Logprobs { choice: 0, value },
        Event::Delta {
            choice: 0,
            place: 0,
            delta: Delta::Citation(cited),
        },
    ]
}

fn opened(client: Dialect) -> (StreamEncoder, Losses, Vec<u8>) {
    let (mut encoder, mut losses, mut out) = (
        StreamEncoder::new(client, Reply::default()),
        Losses::default(),
        Vec::new(),
    );
    let part = Box::new(Part::text("a"));
    encoder.event(
        Event::Open {
            choice: 0,
            place: 0,
            part,
        },
        &mut out,
        &mut losses,
    );
    (encoder, losses, out)
}

#[test]
fn what_an_encoder_keeps_for_the_end_is_bounded() {
    let most = (2 * RETOLD_MAX) >> 20;
    for event in heavy() {
        for client in [Dialect::Gemini, Dialect::OpenaiResponses] {
            let (mut encoder, mut losses, mut out) = opened(client);
            let fits = |_: &usize| {
                out.clear();
                encoder.event(event.clone(), &mut out, &mut losses)
            };
            let told = (0..most).take_while(fits).count();
            // Gemini's client goes without log probabilities rather than without the answer.
            let is_noted = losses.as_slice().iter().any(|loss| loss.what == "logprobs");
            assert!(told < most || is_noted, "{client}: {event:.60?}");
        }
    }
}

#[test]
fn citations_that_wait_for_the_end_of_their_text_are_bounded() {
    let mut cited = Cited::default();
    cited.grow(3);
    assert_eq!(cited.keep(citation("a".to_owned())), None);
    let big = citation("x".repeat(WAITING_MAX));
    assert_eq!(cited.keep(big.clone()), Some(big));
    let spans: Vec<_> = cited.finish().map(|citation| citation.span).collect();
    assert_eq!(spans, [Some((0, 3))]);
}

/// Found by the fuzz target `translate`: the text was lost, and the client got nothing but a terminator.
#[test]
fn an_answer_whose_beginning_was_forgotten_is_told() {
    let stream = r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}

data: {"type":"content_block_stop","index":0}

data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi"}}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}

data: {"type":"message_stop"}

"#;
    for client in [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::Gemini] {
        let (told, end) = streamed(Dialect::AnthropicMessages, stream, client);
        assert!(matches!(end, StreamEnd::Complete { .. }), "{end:?}");
        assert!(told.contains("\"Hm\"") && told.contains("\"Hi\""), "{client}: {told}");
    }
    let silent = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    let (told, _) = streamed(Dialect::AnthropicMessages, silent, Dialect::OpenaiChat);
    assert!(told.contains(r#""finish_reason":"stop""#), "{told}");
}

#[test]
fn a_character_may_come_in_halves() {
    let stream = r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"so \ud83c"}}]}

data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"\udf89!"}}]}

data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"\ud83c"},"finish_reason":"stop"}]}

data: [DONE]

"#;
    let (told, end) = streamed(Dialect::OpenaiChat, stream, Dialect::AnthropicMessages);
    assert!(matches!(end, StreamEnd::Complete { .. }), "{end:?}: {told}");
    for text in ["so ", "🎉!", "\u{fffd}"] {
        assert!(told.contains(&format!(r#""text":"{text}""#)), "{text} in {told}");
    }
}

/// Nobody must run a tool with arguments that the model did not finish.
#[test]
fn a_call_that_was_cut_is_left_out() {
    let answer = |arguments: &str, reason: &str| {
        json!({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": reason, "message":
            {"role": "assistant", "content": "a", "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": arguments}}]}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    };
    let cut = answer("{\"a\": \"unfin", "length");
    let (told, lost) = answered(Dialect::OpenaiChat, &cut, Dialect::AnthropicMessages);
    assert_eq!(
        (&told["content"].as_array().unwrap().len(), &told["stop_reason"]),
        (&1, &json!("max_tokens"))
    );
    assert!(lost.iter().any(|loss| loss.contains("tool call")), "{lost:?}");
    let (told, lost) = answered(Dialect::OpenaiChat, &cut, Dialect::Gemini);
    let candidate = &told["candidates"][0];
    assert_eq!(candidate["content"]["parts"], json!([{"text": "a"}]));
    assert_eq!(candidate["finishReason"], "MAX_TOKENS");
    assert!(lost.iter().any(|loss| loss.contains("tool call")), "{lost:?}");
    let odd = answer("oops", "tool_calls");
    let wrapped = json!({"arguments": "oops"});
    assert_eq!(
        answered(Dialect::OpenaiChat, &odd, Dialect::AnthropicMessages).0["content"][1]["input"],
        wrapped
    );
    let (told, _) = answered(Dialect::OpenaiChat, &odd, Dialect::Gemini);
    assert_eq!(
        told["candidates"][0]["content"]["parts"][1]["functionCall"]["args"],
        wrapped
    );
}

#[test]
fn a_streamed_call_that_was_cut_is_left_out() {
    const START: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": \\\"unfin\"}}]}}]}\n\n";
    const CUT: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    const DONE: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    for (end, is_told) in [(CUT, false), (DONE, true)] {
        let body: &'static str = Box::leak([START, end].concat().into_boxed_str());
        let (told, _) = streamed(Dialect::OpenaiChat, body, Dialect::Gemini);
        assert_eq!(told.contains("functionCall"), is_told, "{told}");
        assert_eq!(told.contains("\"arguments\":\"{"), is_told, "{told}");
    }
}
