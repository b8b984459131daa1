//! Whole answers, in both directions.

use domain::{Dialect, Usage};
use serde_json::{Value, json};

use crate::answer::Nonsense;
use crate::gemini::{decode, encode};
use crate::hub::{
    Answer, Choice, Citation, CitedSource, Content, Extra, Losses, Media, MediaKind, Part, Signature, Source, Stop,
    StopReason, Thinking, ToolCall,
};
use crate::translate::Reply;

fn read(body: &Value) -> Answer {
    decode::answer(body.to_string().as_bytes()).unwrap()
}

fn reply() -> Reply {
    Reply {
        model: "asked".to_owned(),
        id: "call1".to_owned(),
        ..Reply::default()
    }
}

fn write(answer: Answer) -> (Value, Vec<String>) {
    let mut losses = Losses::default();
    let told = encode::answer(answer, &reply(), &mut losses);
    let lost = losses.as_slice().iter().map(|loss| loss.what.to_string()).collect();
    (told, lost)
}

fn of(parts: Vec<Part>, stop: StopReason) -> Answer {
    Answer {
        choices: vec![Choice {
            parts,
            stop: Some(Stop::new(stop)),
            logprobs: None,
        }],
        ..Answer::default()
    }
}

#[test]
fn everything_of_its_own_is_read_and_comes_back() {
    let body = json!({
        "candidates": [
            {"content": {"parts": [
                {"text": "Hm.", "thought": true},
                {"text": "Grüße. ", "thoughtSignature": "c2ln"},
                {"text": "Es ist kalt."},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"},
            ], "role": "model"}, "finishReason": "STOP", "index": 0,
            "groundingMetadata": {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
                "groundingSupports": [{"segment": {"partIndex": 2, "startIndex": 3, "endIndex": 6, "text": "ist"}, "groundingChunkIndices": [0]}]},
            "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}], "finishMessage": "m"},
            {"content": {"parts": [{"text": "b"}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 1},
        ],
        "modelVersion": "gemini-3-flash", "responseId": "r1", "modelStatus": {"modelStage": "STABLE"},
    });
    let answer = read(&body);
    assert_eq!((answer.id.as_str(), answer.model.as_str()), ("r1", "gemini-3-flash"));
    let choice = &answer.choices[0];
    assert_eq!(choice.stop.as_ref().unwrap().reason, StopReason::Tool);
    assert_eq!(answer.choices[1].stop.as_ref().unwrap().reason, StopReason::Length);
    assert!(
        matches!(choice.parts[0].content, Content::Native { .. }),
        "the search came first"
    );
    let Content::Text { citations, .. } = &choice.parts[3].content else {
        panic!("a text")
    };
    assert_eq!(citations[0].span, Some((3, 6)));
    let (told, lost) = write(answer);
    assert_eq!(told, body);
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_blocked_prompt_is_a_choice_of_the_filter() {
    let body = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []},
        "modelVersion": "g", "responseId": "r", "usageMetadata": {"promptTokenCount": 3}});
    let mut answer = read(&body);
    let stop = answer.choices[0].stop.clone().unwrap();
    assert_eq!(
        (stop.reason, stop.raw.as_str()),
        (StopReason::Filter, "PROHIBITED_CONTENT")
    );
    answer.usage = Some(Usage {
        input: 3,
        ..Usage::default()
    });
    let (told, _) = write(answer);
    assert!(told.get("candidates").is_none());
    assert_eq!(told["promptFeedback"], body["promptFeedback"]);
    assert_eq!(told["usageMetadata"]["promptTokenCount"], 3);
}

#[test]
fn reasons_are_read() {
    for (word, reason) in [
        ("SAFETY", StopReason::Filter),
        ("IMAGE_RECITATION", StopReason::Filter),
        ("SOMETHING_NEW", StopReason::Other),
        ("STOP", StopReason::End),
    ] {
        let answer = read(&json!({"candidates": [{"finishReason": word, "finishMessage": "x"}]}));
        let stop = answer.choices[0].stop.clone().unwrap();
        assert_eq!((stop.reason, stop.raw.as_str()), (reason, word));
    }
    for word in ["MALFORMED_FUNCTION_CALL", "OTHER", "NO_IMAGE", "UNEXPECTED_TOOL_CALL"] {
        let failed = json!({"finishReason": word, "content": {"parts": [{"text": "a"}]}});
        let body = json!({"candidates": [failed]}).to_string();
        let Err(Nonsense::Error(failure)) = crate::gemini::decode::answer(body.as_bytes()) else {
            panic!("{word} is no answer");
        };
        assert!(failure.message.contains(word));
        let better = json!({"candidates": [{"index": 1, "finishReason": word}, {"index": 0, "finishReason": "STOP"}]});
        assert_eq!(
            read(&better).choices.len(),
            2,
            "what another candidate says is not lost"
        );
    }
    let called = json!({"functionCall": {"name": "f", "args": {}}});
    let unasked =
        read(&json!({"candidates": [{"finishReason": "UNEXPECTED_TOOL_CALL", "content": {"parts": [called]}}]}));
    assert_eq!(
        unasked.choices[0].stop.as_ref().map(|stop| stop.reason),
        Some(StopReason::Tool)
    );
    let unspecified = read(
        &json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "FINISH_REASON_UNSPECIFIED"}]}),
    );
    assert_eq!(unspecified.choices[0].stop, None);
}

#[test]
fn probabilities_are_read_and_told() {
    let body = json!({"candidates": [{"content": {"parts": [{"text": "é"}], "role": "model"}, "finishReason": "STOP", "index": 0,
        "logprobsResult": {"chosenCandidates": [{"token": "é", "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "e", "logProbability": -1.5}]}]},
        "avgLogprobs": -0.5}], "modelVersion": "g", "responseId": "r"});
    let mut answer = read(&body);
    assert_eq!(
        answer.choices[0].logprobs,
        Some(json!({"content": [{"token": "é", "logprob": -0.5, "bytes": [195, 169],
            "top_logprobs": [{"token": "e", "logprob": -1.5, "bytes": [101]}]}], "refusal": null}))
    );
    answer.extra = Extra::default();
    assert_eq!(write(answer).0, body);
}

#[test]
fn nonsense_is_refused() {
    for body in [
        "[]",
        "x",
        r#"{"candidates": 1}"#,
        r#"{"candidates": [1]}"#,
        r#"{"candidates": [{"content": {"parts": [1]}}]}"#,
        r#"{"candidates": [{"index": 99999999}]}"#,
        r#"{"responseId": 1}"#,
    ] {
        assert!(decode::answer(body.as_bytes()).is_err(), "{body}");
    }
    assert!(matches!(decode::answer(b"x"), Err(Nonsense::NotJson { .. })));
}

#[test]
fn an_answer_of_others() {
    let cited = Part::new(Content::Text {
        text: "Größe: 2 m".to_owned(),
        citations: vec![
            Citation {
                span: Some((0, 5)),
                quote: None,
                source: CitedSource::Url {
                    url: "https://a".to_owned(),
                    title: None,
                },
                native: None,
            },
            Citation {
                span: None,
                quote: None,
                source: CitedSource::Document {
                    index: 0,
                    title: None,
                    place: None,
                },
                native: None,
            },
        ],
    });
    let thinking = Part::new(Content::Thinking(Thinking {
        text: "hm".to_owned(),
        signature: Some(Signature {
            origin: Dialect::AnthropicMessages,
            value: "s".to_owned(),
        }),
        ..Thinking::default()
    }));
    let call = Part::new(Content::ToolCall(ToolCall {
        id: Some("a".to_owned()),
        name: "f".to_owned(),
        arguments: "{\"x\": 1}".to_owned(),
        custom: false,
    }));
    let native = Part::new(Content::Native {
        origin: Dialect::OpenaiResponses,
        value: json!({"type": "web_search_call"}),
    });
    let answer = Answer {
        usage: Some(Usage {
            input: 10,
            cache_read: 4,
            cache_write_5m: 1,
            output: 9,
            reasoning: 2,
            ..Usage::default()
        }),
        service_tier: Some("default".to_owned()),
        ..of(
            vec![
                thinking,
                cited,
                call,
                native,
                Part::new(Content::Refusal("no".to_owned())),
            ],
            StopReason::Tool,
        )
    };
    let (told, lost) = write(answer);
    assert_eq!(
        told,
        json!({
            "candidates": [{"content": {"parts": [
                {"text": "hm", "thought": true, "thoughtSignature": "dG9sbGdhdGU6YW50aHJvcGljX21lc3NhZ2VzOnM="},
                {"text": "Größe: 2 m"},
                {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}},
                {"text": "no"},
            ], "role": "model"}, "finishReason": "STOP",
            "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a"}}], "groundingSupports": [
                {"segment": {"partIndex": 1, "startIndex": 0, "endIndex": 7, "text": "Größe"}, "groundingChunkIndices": [0]}]},
            "index": 0}],
            "usageMetadata": {"promptTokenCount": 15, "candidatesTokenCount": 7, "totalTokenCount": 24,
                "cachedContentTokenCount": 4, "thoughtsTokenCount": 2, "serviceTier": "standard"},
            "modelVersion": "asked", "responseId": "call1",
        })
    );
    assert_eq!(lost, ["citations", "web_search_call", "refusal", "usage.cache_write"]);
}

#[test]
fn what_ends_otherwise_is_noted() {
    let (told, lost) = write(of(Vec::new(), StopReason::Pause));
    assert_eq!(told["candidates"][0]["finishReason"], "STOP");
    assert_eq!(lost, ["stop_reason"]);
    let picture = Part::new(Content::Media(Media {
        kind: MediaKind::Image,
        source: Source::File("file-1".to_owned()),
        mime: String::new(),
        name: None,
        detail: None,
        context: None,
        cite: None,
    }));
    let (told, lost) = write(of(vec![picture], StopReason::Filter));
    assert_eq!(told["candidates"][0]["finishReason"], "SAFETY");
    assert_eq!(lost, ["file_id"]);
}

#[test]
fn a_candidate_ends_even_where_nobody_said_why() {
    let answer = Answer {
        choices: vec![Choice {
            parts: vec![Part::text("4")],
            ..Choice::default()
        }],
        ..Answer::default()
    };
    assert_eq!(write(answer).0["candidates"][0]["finishReason"], "STOP");
}
