//! Pictures and sound that models make, from each format to each other one that has a place for them.

use bytes::Bytes;
use domain::provider::Quirks;
use domain::{Dialect, Operation, Surface};
use serde_json::{Value, json};

use super::{Asked, Question, Reply, Target, Transcoder, translate_answer};
use crate::stream::{StreamEnd, StreamTap, TapOptions};

/// What a stream tells a client, event by event; the same however it is cut.
fn streamed(from: Dialect, body: &str, to: Dialect) -> (Vec<Value>, Vec<String>) {
    let tell = |step: usize| {
        let tap = StreamTap::new(TapOptions {
            surface: Surface::new(Operation::Chat, from),
            hide_usage_chunk: false,
            json_array: false,
        });
        let mut transcoder = Transcoder::translate(tap, to, Reply::default());
        let mut out = Vec::new();
        for chunk in body.as_bytes().chunks(step) {
            transcoder.push(Bytes::copy_from_slice(chunk), &mut out);
        }
        match transcoder.finish(true) {
            StreamEnd::Complete { last } => out.push(last),
            end @ StreamEnd::Incomplete { .. } => panic!("{end:?}"),
        }
        let losses = transcoder.losses().iter().map(|loss| loss.what.to_string()).collect();
        (String::from_utf8(out.concat()).unwrap(), losses)
    };
    let whole = tell(usize::MAX);
    assert_eq!(tell(5), whole);
    let lines = whole.0.lines().filter_map(|line| line.strip_prefix("data: {"));
    let events = lines.map(|line| serde_json::from_str(&format!("{{{line}")).unwrap());
    (events.collect(), whole.1)
}

fn sse(events: &[Value]) -> String {
    let told: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    told.concat()
}

fn deltas(chunks: &[Value], member: &str) -> Vec<Value> {
    let found = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"].get(member));
    found.cloned().collect()
}

fn parts(chunks: &[Value]) -> Vec<Value> {
    let parts = chunks
        .iter()
        .filter_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array());
    parts.flatten().cloned().collect()
}

#[test]
fn geminis_sound_is_chats() {
    let sound = |data: &str| json!({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": data}});
    let chunk =
        |data: &str| json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [sound(data)]}}]});
    let last = json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}});
    let (told, losses) = streamed(
        Dialect::Gemini,
        &sse(&[chunk("AAAA"), chunk("BBBB"), last]),
        Dialect::OpenaiChat,
    );
    assert_eq!(
        deltas(&told, "audio"),
        [
            json!({"id": "audio_", "expires_at": 0, "data": "AAAA"}),
            json!({"data": "BBBB"})
        ]
    );
    assert!(deltas(&told, "images").is_empty() && losses.is_empty(), "{losses:?}");
}

#[test]
fn chats_sound_is_geminis_with_what_it_says() {
    let chunk = |delta: &Value, finish: Option<&str>| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let body = sse(&[
        chunk(
            &json!({"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hi"}}),
            None,
        ),
        chunk(&json!({"audio": {"id": "audio_1", "data": "AAAA"}}), None),
        chunk(&json!({"audio": {"transcript": " you", "data": "BBBB"}}), None),
        chunk(&json!({"audio": {"expires_at": 9}}), None),
        chunk(&json!({}), Some("stop")),
    ]) + "data: [DONE]\n\n";
    let (told, losses) = streamed(Dialect::OpenaiChat, &body, Dialect::Gemini);
    let sound = |data: &str| json!({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": data}});
    let said: Vec<Value> = parts(&told).into_iter().filter(|part| part["text"] != "").collect();
    assert_eq!(
        said,
        [
            json!({"text": "Hi"}),
            sound("AAAA"),
            json!({"text": " you"}),
            sound("BBBB")
        ]
    );
    assert!(losses.is_empty(), "{losses:?}");
    let (again, _) = streamed(Dialect::OpenaiChat, &body, Dialect::OpenaiChat);
    let audio = deltas(&again, "audio");
    assert_eq!(audio[0], json!({"id": "audio_1", "expires_at": 0, "transcript": "Hi"}));
    assert_eq!(audio[2], json!({"data": "BBBB", "transcript": " you"}));
}

/// A whole answer, told to a client.
fn answered(from: Dialect, body: &Value, to: Dialect) -> (Value, Vec<String>) {
    let body = body.to_string();
    let report = crate::read_answer(Surface::new(Operation::Chat, from), body.as_bytes()).unwrap();
    let encoded = translate_answer(from, to, body.as_bytes(), &report, &Reply::default()).unwrap();
    let losses = encoded.losses.iter().map(|loss| loss.what.to_string()).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), losses)
}

/// A request, told to an upstream.
fn asked(from: Dialect, body: &Value, stream: bool, to: Dialect, model: &str) -> (Value, Vec<String>) {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, from),
        model: "m",
        stream,
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
    let question = Question::read(&asked, body.to_string().as_bytes()).unwrap();
    let encoded = question.encode(to, &target).unwrap();
    let losses = encoded.losses.iter().map(|loss| loss.what.to_string()).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), losses)
}

/// As in recording `1a6a2451878c`.
fn picture() -> Value {
    json!({"id": "ig_1", "type": "image_generation_call", "status": "completed", "background": "opaque",
        "output_format": "webp", "quality": "low", "result": "UklGRg==", "revised_prompt": "An echidna."})
}

fn response(output: &[Value]) -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-5",
        "output": output, "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}})
}

fn streamed_picture() -> String {
    let mut begun = response(&[]);
    begun["status"] = "in_progress".into();
    sse(&[
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0,
            "item": {"id": "ig_1", "type": "image_generation_call", "status": "in_progress"}}),
        json!({"type": "response.image_generation_call.partial_image", "output_index": 0, "item_id": "ig_1",
            "partial_image_index": 0, "partial_image_b64": "UklG"}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": picture()}),
        json!({"type": "response.completed", "response": response(&[picture()])}),
    ])
}

#[test]
fn pictures_of_responses_are_those_of_chat_and_gemini() {
    let whole = response(&[picture()]);
    let url = json!({"url": "data:image/webp;base64,UklGRg=="});
    let inline = json!({"mimeType": "image/webp", "data": "UklGRg=="});
    let beside = ["background", "quality", "revised_prompt"];

    let (chat, _) = answered(Dialect::OpenaiResponses, &whole, Dialect::OpenaiChat);
    assert_eq!(chat["choices"][0]["message"]["images"][0]["image_url"], url);
    let (gemini, losses) = answered(Dialect::OpenaiResponses, &whole, Dialect::Gemini);
    assert_eq!(
        gemini["candidates"][0]["content"]["parts"],
        json!([{"inlineData": inline}])
    );
    assert_eq!(losses, beside);
    let (own, losses) = answered(Dialect::OpenaiResponses, &whole, Dialect::OpenaiResponses);
    assert_eq!(own["output"], json!([picture()]));
    assert!(losses.is_empty(), "{losses:?}");

    let (chat, _) = streamed(Dialect::OpenaiResponses, &streamed_picture(), Dialect::OpenaiChat);
    assert_eq!(
        deltas(&chat, "images"),
        [json!([{"type": "image_url", "image_url": url, "index": 0}])]
    );
    let (gemini, _) = streamed(Dialect::OpenaiResponses, &streamed_picture(), Dialect::Gemini);
    let pictures: Vec<Value> = parts(&gemini)
        .into_iter()
        .filter_map(|part| part.get("inlineData").cloned())
        .collect();
    assert_eq!(pictures, [inline]);
}

#[test]
fn a_call_that_made_no_picture_is_what_it_was() {
    let failed = json!({"id": "ig_1", "type": "image_generation_call", "status": "failed", "result": null});
    let (own, _) = answered(
        Dialect::OpenaiResponses,
        &response(std::slice::from_ref(&failed)),
        Dialect::OpenaiResponses,
    );
    assert_eq!(own["output"], json!([failed]));
}

/// What is no base64 (a log masked it, or cut it) is a picture to nobody: SDKs refuse the whole answer for it. It goes home as it
/// came, sealed.
#[test]
fn a_picture_that_was_masked_is_left_as_it_came() {
    let made =
        |data: &str| json!({"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": data});
    for (data, is_picture) in [
        ("iVBORw0KGgo=", true),
        ("iVBORw0KGgo", true),
        ("iVBO_w0-GgoA", true),
        ("<masked>", false),
        ("iVBORw0KGgo=... (1,204 bytes left out)", false),
        ("[REDACTED]", false),
        ("iVBO\nRw0K", false),
    ] {
        let item = made(data);
        let answer = response(std::slice::from_ref(&item));
        let (own, losses) = answered(Dialect::OpenaiResponses, &answer, Dialect::OpenaiResponses);
        assert_eq!((&own["output"], losses), (&json!([item]), Vec::new()));
        let body = json!({"model": "m", "input": [{"role": "user", "content": "Draw"}, item, {"role": "user", "content": "Bluer"}]});
        for to in [Dialect::OpenaiChat, Dialect::Gemini] {
            let (told, losses) = answered(Dialect::OpenaiResponses, &answer, to);
            let told = told.to_string();
            let is_shown = told.contains("data:image/png") || told.contains("inlineData");
            assert_eq!(
                (is_shown, is_shown && told.contains(data)),
                (is_picture, is_picture),
                "{to}: {told}"
            );
            assert_eq!(losses.is_empty(), is_picture, "{to}: {losses:?}");
            let (told, losses) = asked(Dialect::OpenaiResponses, &body, false, to, "gemini-3-pro-image");
            assert!(is_picture || !told.to_string().contains(data), "{to}: {told}");
            assert!(is_picture || !losses.is_empty(), "{to}");
        }
    }
}

/// Gemini's picture with its seal, told to a client of Responses whole or streamed, sent back with the next request.
#[test]
fn a_picture_goes_back_to_the_model_that_made_it() {
    let part = json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}, "thoughtSignature": "c2VhbA=="});
    let answer = json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Here:"}, part]},
        "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}});
    let (whole, losses) = answered(Dialect::Gemini, &answer, Dialect::OpenaiResponses);
    assert!(losses.is_empty(), "{losses:?}");
    let (events, losses) = streamed(Dialect::Gemini, &sse(&[answer]), Dialect::OpenaiResponses);
    assert!(losses.is_empty(), "{losses:?}");
    for output in [&whole["output"], &events.last().unwrap()["response"]["output"]] {
        let mut input = vec![json!({"role": "user", "content": "Draw"})];
        input.extend(output.as_array().unwrap().iter().cloned());
        input.push(json!({"role": "user", "content": "Bluer"}));
        let body = json!({"model": "m", "input": input});
        let (told, losses) = asked(
            Dialect::OpenaiResponses,
            &body,
            false,
            Dialect::Gemini,
            "gemini-3-pro-image",
        );
        assert_eq!(told["contents"][1]["role"], "model");
        assert_eq!(
            told["contents"][1]["parts"],
            json!([{"text": "Here:"}, part]),
            "{output}"
        );
        assert!(losses.is_empty(), "{losses:?}");
        let (own, _) = asked(
            Dialect::OpenaiResponses,
            &body,
            false,
            Dialect::OpenaiResponses,
            "gpt-5",
        );
        let is_picture = |item: &&Value| item["type"] == "image_generation_call";
        let sent: Vec<&Value> = own["input"].as_array().unwrap().iter().filter(is_picture).collect();
        let had: Vec<&Value> = output.as_array().unwrap().iter().filter(is_picture).collect();
        assert_eq!(sent, had);
        for to in [
            Dialect::OpenaiChat,
            Dialect::AnthropicMessages,
            Dialect::BedrockConverse,
        ] {
            let (_, losses) = asked(Dialect::OpenaiResponses, &body, false, to, "m");
            assert!(
                losses.iter().any(|what| matches!(what.as_str(), "media" | "images")),
                "{to}: {losses:?}"
            );
        }
    }
}

#[test]
fn who_shall_speak_is_said_with_that_it_shall() {
    let spoken = |speech: Value, stream| {
        let config = json!({"responseModalities": ["AUDIO"], "speechConfig": speech});
        let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": config});
        asked(Dialect::Gemini, &body, stream, Dialect::OpenaiChat, "gpt-audio")
    };
    let named = |voice: &str| json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}});
    let (told, _) = spoken(named("Cherry"), true);
    assert_eq!(told["modalities"], json!(["text", "audio"]));
    assert_eq!(told["audio"], json!({"voice": "Cherry", "format": "pcm16"}));
    let (told, losses) = spoken(named("Kore"), false);
    assert_eq!(told["audio"], json!({"voice": "alloy", "format": "wav"}));
    assert!(losses.contains(&"voice".to_owned()), "{losses:?}");
    let (told, losses) = spoken(json!({}), false);
    assert_eq!(told["audio"], json!({"voice": "alloy", "format": "wav"}));
    assert!(!losses.contains(&"voice".to_owned()), "{losses:?}");
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "modalities": ["text", "audio"],
        "audio": {"voice": "nova", "format": "mp3"}});
    let (told, _) = asked(Dialect::OpenaiChat, &chat, false, Dialect::OpenaiChat, "gpt-audio");
    assert_eq!(told["audio"], chat["audio"]);
}

#[test]
fn a_chat_clients_voice_speaks_at_gemini() {
    let spoken = |audio: Value| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}],
            "modalities": ["text", "audio"], "audio": audio});
        let model = "gemini-2.5-flash-preview-tts";
        let (told, losses) = asked(Dialect::OpenaiChat, &body, true, Dialect::Gemini, model);
        (told["generationConfig"].clone(), losses)
    };
    let named = |voice: &str| {
        json!({"responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}})
    };
    for own in ["Kore", "somebody new"] {
        let (told, losses) = spoken(json!({"voice": own, "format": "pcm16"}));
        assert_eq!((told, losses), (named(own), Vec::new()));
    }
    let silent = json!({"responseModalities": ["AUDIO"]});
    let (told, losses) = spoken(json!({"voice": "alloy", "format": "wav"}));
    assert_eq!(
        (told, losses),
        (silent.clone(), vec!["audio.format".to_owned(), "voice".to_owned()])
    );
    let (told, losses) = spoken(json!({"voice": {"id": "voice_1"}, "format": "pcm16", "speed": 2}));
    let unsaid = ["audio.voice", "audio.speed"].map(str::to_owned).to_vec();
    assert_eq!((told, losses), (silent, unsaid));
    // And what the client asked for comes back to it from there.
    let config = named("Kore");
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": config});
    let (told, _) = asked(
        Dialect::Gemini,
        &body,
        true,
        Dialect::Gemini,
        "gemini-2.5-flash-preview-tts",
    );
    assert_eq!(told["generationConfig"], config);
}

#[test]
fn who_wants_pictures_has_the_tool_that_makes_them() {
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Draw"}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}});
    let (told, losses) = asked(Dialect::Gemini, &body, false, Dialect::OpenaiResponses, "gpt-5");
    assert_eq!(told["tools"], json!([{"type": "image_generation"}]));
    assert!(!losses.contains(&"modalities".to_owned()), "{losses:?}");
}

#[test]
fn the_tool_that_makes_pictures_is_a_wish_for_them() {
    let body = json!({"model": "m", "input": "Draw", "tools": [{"type": "image_generation", "size": "1024x1024"}]});
    let (told, losses) = asked(
        Dialect::OpenaiResponses,
        &body,
        false,
        Dialect::Gemini,
        "gemini-2.5-flash-image",
    );
    assert_eq!(told["generationConfig"]["responseModalities"], json!(["TEXT", "IMAGE"]));
    assert!(told.get("tools").is_none(), "{told}");
    assert_eq!(losses, ["tools.size"]);
    let (told, losses) = asked(
        Dialect::OpenaiResponses,
        &body,
        false,
        Dialect::Gemini,
        "gemini-2.5-pro",
    );
    assert!(told.get("generationConfig").is_none(), "{told}");
    assert_eq!(losses, ["tools.image_generation"]);
}
