//! Pictures, sounds, moderation and rankings: the least that shows that they come through.
//!
//! Every picture is the same one, every voice a hum, whatever is transcribed is the number of its bytes, nothing is harmful,
//! and what answers a question best is what shares its words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dialects::FormField;
use domain::Operation;
use serde_json::{Map, Value, json};

use super::conversation::given;
use super::refusal::Refusal;
use super::script::{Script, named_event};
use super::{Ask, Reply, fresh_id, json_bytes, unix_seconds};

/// A PNG of 16 × 16 pixels in one colour.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mMIaXlCEmIY1TCqYfhqAAB62bwQuGNpXAAAAABJRU5ErkJggg==";
/// What it counts as.
const PICTURE_TOKENS: u64 = 256;
/// Pictures of one request.
const PICTURES_MAX: u64 = 10;
/// The hum: samples a second, and how long it is.
const SAMPLES_PER_SECOND: u32 = 8_000;
const SAMPLES: u32 = SAMPLES_PER_SECOND / 2;

/// Answers a task.
pub(crate) fn answer(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let body = match ask.form {
        Some(boundary) => fields(boundary, ask.body)?,
        None => dialects::read_json(ask.body)
            .map_err(|error| Refusal::invalid(format!("The body is not valid JSON: {error}.")))?,
    };
    match ask.surface.operation {
        operation if operation.makes_images() => pictures(ask, &body),
        Operation::Speech => speech(ask, &body),
        Operation::Moderations => moderation(ask, &body),
        Operation::Rerank => ranking(ask, &body),
        _ => transcript(ask, &body),
    }
}

/// A form as an object; a file is the number of its bytes.
fn fields(boundary: &str, body: &[u8]) -> Result<Value, Refusal> {
    let fields = dialects::form_fields(boundary, body).map_err(|error| Refusal::invalid(format!("{error}.")))?;
    let shown = |field: FormField<'_>| match field {
        FormField::Text(text) => json!(text),
        FormField::File(bytes) => json!(bytes.len()),
    };
    let object: Map<String, Value> = fields
        .into_iter()
        .map(|(name, field)| (name.to_owned(), shown(field)))
        .collect();
    Ok(Value::Object(object))
}

fn text<'a>(body: &'a Value, field: &'static str) -> Result<&'a str, Refusal> {
    let text = given(body, field).and_then(Value::as_str);
    text.ok_or_else(|| Refusal::missing(field))
}

fn pictures(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let count = match given(body, "n") {
        None => 1,
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(number) => number.as_u64().unwrap_or(0),
    };
    if !(1..=PICTURES_MAX).contains(&count) {
        return Err(Refusal::value(
            "n",
            format!("Invalid 'n': expected 1 to {PICTURES_MAX}."),
        ));
    }
    let prompt = given(body, "prompt").map_or(0, |prompt| prompt.to_string().len() as u64 / 4 + 1);
    let usage = |pictures: u64| {
        json!({
            "input_tokens": prompt, "output_tokens": pictures * PICTURE_TOKENS, "total_tokens": prompt + pictures * PICTURE_TOKENS,
            "input_tokens_details": {"text_tokens": prompt, "image_tokens": 0},
        })
    };
    let made = json!({"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"});
    if !ask.stream {
        let data = vec![json!({"b64_json": PICTURE}); usize::try_from(count).unwrap_or(1)];
        let mut whole = json!({"created": unix_seconds(), "data": data, "usage": usage(count)});
        merge(&mut whole, &made);
        return Ok(Reply::Whole(json_bytes(&whole)));
    }
    let family = if ask.surface.operation == Operation::ImageGenerations {
        "image_generation"
    } else {
        "image_edit"
    };
    let mut script = Script::new();
    for _ in 0..count {
        for kind in ["partial_image", "completed"] {
            let mut event =
                json!({"type": format!("{family}.{kind}"), "b64_json": PICTURE, "created_at": unix_seconds()});
            merge(&mut event, &made);
            match kind {
                "completed" => merge(&mut event, &json!({"usage": usage(1)})),
                _ => merge(&mut event, &json!({"partial_image_index": 0})),
            }
            script.paced(named_event(&event));
        }
    }
    Ok(Reply::Stream(script))
}

fn merge(object: &mut Value, more: &Value) {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
}

fn speech(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let read = text(body, "input")?.chars().count() as u64;
    if !ask.stream {
        return Ok(Reply::Plain("audio/wav", Bytes::from(hum())));
    }
    let mut script = Script::new();
    let sound = STANDARD.encode(hum());
    script.paced(named_event(&json!({"type": "speech.audio.delta", "audio": sound})));
    let usage = json!({"input_tokens": read.div_ceil(4), "output_tokens": 10, "total_tokens": read.div_ceil(4) + 10});
    script.at_once(named_event(&json!({"type": "speech.audio.done", "usage": usage})));
    Ok(Reply::Stream(script))
}

/// A WAV file of half a second: a triangle of 250 Hz in eight bits.
fn hum() -> Vec<u8> {
    const WAVE: u32 = SAMPLES_PER_SECOND / 250;
    let mut file = Vec::with_capacity(44 + SAMPLES as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + SAMPLES).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&SAMPLES_PER_SECOND.to_le_bytes());
    file.extend_from_slice(&SAMPLES_PER_SECOND.to_le_bytes());
    file.extend_from_slice(b"\x01\0\x08\0data");
    file.extend_from_slice(&SAMPLES.to_le_bytes());
    file.extend((0..SAMPLES).map(|sample| {
        let at = sample % WAVE;
        u8::try_from(112 + at.min(WAVE - at) * 2).unwrap_or(128)
    }));
    file
}

fn transcript(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let bytes = given(body, "file")
        .and_then(Value::as_u64)
        .ok_or_else(|| Refusal::missing("file"))?;
    let heard = format!("The demo got a recording of {bytes} bytes.");
    let usage = json!({"type": "duration", "seconds": 1});
    if ask.stream {
        let mut script = Script::new();
        for word in heard.split_inclusive(' ') {
            script.paced(named_event(&json!({"type": "transcript.text.delta", "delta": word})));
        }
        script.at_once(named_event(
            &json!({"type": "transcript.text.done", "text": heard, "usage": usage}),
        ));
        return Ok(Reply::Stream(script));
    }
    let format = given(body, "response_format").and_then(Value::as_str).unwrap_or("json");
    let cue = "00:00:00,000 --> 00:00:01,000";
    Ok(match format {
        "text" => Reply::Plain("text/plain; charset=utf-8", Bytes::from(heard + "\n")),
        "srt" => Reply::Plain(
            "text/plain; charset=utf-8",
            Bytes::from(format!("1\n{cue}\n{heard}\n\n")),
        ),
        "vtt" => {
            let cue = cue.replace(',', ".");
            Reply::Plain("text/vtt", Bytes::from(format!("WEBVTT\n\n{cue}\n{heard}\n\n")))
        }
        "verbose_json" => Reply::Whole(json_bytes(&json!({
            "task": "transcribe", "language": "english", "duration": 1.0, "text": heard, "segments": [], "usage": usage,
        }))),
        _ => Reply::Whole(json_bytes(&json!({"text": heard, "usage": usage}))),
    })
}

fn moderation(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    const CATEGORIES: [&str; 13] = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let inputs = match given(body, "input").ok_or_else(|| Refusal::missing("input"))? {
        // A list of texts is so many inputs, a list of parts is one.
        Value::Array(texts) if texts.iter().all(Value::is_string) => texts.len(),
        _ => 1,
    };
    let of = |value: Value| -> Map<String, Value> {
        CATEGORIES
            .iter()
            .map(|category| ((*category).to_owned(), value.clone()))
            .collect()
    };
    let result = json!({
        "flagged": false, "categories": of(json!(false)), "category_scores": of(json!(0.0)),
        "category_applied_input_types": of(json!(["text"])),
    });
    let id = fresh_id("modr-");
    Ok(Reply::Whole(json_bytes(
        &json!({"id": id, "model": ask.model, "results": vec![result; inputs]}),
    )))
}

fn ranking(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let asked = words(text(body, "query")?);
    let documents = given(body, "documents").and_then(Value::as_array);
    let documents = documents.ok_or_else(|| Refusal::missing("documents"))?;
    let score = |document: &Value| {
        let text = document.as_str().map_or_else(|| document.to_string(), str::to_owned);
        let shared = words(&text);
        let hits = asked.iter().filter(|word| shared.contains(word)).count();
        hits as f64 / asked.len().max(1) as f64
    };
    let mut ranked: Vec<(usize, f64)> = documents.iter().map(score).enumerate().collect();
    ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let most = given(body, "top_n").and_then(Value::as_u64).unwrap_or(u64::MAX);
    ranked.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    let results: Vec<Value> = ranked
        .into_iter()
        .map(|(index, score)| json!({"index": index, "relevance_score": score}))
        .collect();
    let meta = json!({"api_version": {"version": "2"}, "billed_units": {"search_units": 1}});
    let id = fresh_id("");
    Ok(Reply::Whole(json_bytes(
        &json!({"id": id, "model": ask.model, "results": results, "meta": meta}),
    )))
}

/// The words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use domain::Dialect;

    use super::super::testing::{ask, events, refused, types, whole};
    use super::*;

    fn asked(operation: Operation, body: &[u8]) -> Ask<'_> {
        ask(operation, Dialect::OpenaiChat, body)
    }

    fn form(fields: &[(&str, &str)]) -> Vec<u8> {
        let part = |(disposition, value): &(&str, &str)| {
            format!("--b\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
        };
        (fields.iter().map(part).collect::<String>() + "--b--\r\n").into_bytes()
    }

    #[test]
    fn pictures_are_as_many_as_asked_for() {
        let answer = whole(&asked(Operation::ImageGenerations, br#"{"prompt":"a fox","n":2}"#));
        assert_eq!(
            (
                answer["data"].as_array().unwrap().len(),
                &answer["usage"]["output_tokens"]
            ),
            (2, &512.into())
        );
        let picture = STANDARD
            .decode(answer["data"][0]["b64_json"].as_str().unwrap())
            .unwrap();
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.ends_with(b"IEND\xaeB`\x82"));
        let body = form(&[("name=\"image\"; filename=\"a.png\"", "x"), ("name=\"n\"", "0")]);
        let ask = Ask {
            form: Some("b"),
            ..asked(Operation::ImageEdits, &body)
        };
        assert_eq!(refused(&ask)["error"]["param"], "n");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_end_with_their_usage() {
        for (operation, body, last) in [
            (
                Operation::ImageGenerations,
                &br#"{"prompt":"a fox"}"#[..],
                "image_generation.completed",
            ),
            (Operation::Speech, br#"{"input":"hello"}"#, "speech.audio.done"),
        ] {
            let events = events(&Ask {
                stream: true,
                ..asked(operation, body)
            })
            .await;
            assert_eq!(types(&events).last(), Some(&last));
            assert!(events.last().unwrap()["usage"]["total_tokens"].is_u64());
        }
    }

    #[test]
    fn a_recording_is_described_in_every_format() {
        for (format, part) in [
            ("json", "{\"text\":"),
            ("text", "The demo"),
            ("srt", "1\n00:"),
            ("vtt", "WEBVTT"),
        ] {
            let body = form(&[
                ("name=\"file\"; filename=\"a.wav\"", "12345"),
                ("name=\"response_format\"", format),
            ]);
            let ask = Ask {
                form: Some("b"),
                ..asked(Operation::Transcriptions, &body)
            };
            let (Ok(Reply::Whole(said) | Reply::Plain(_, said)), true) = (answer(&ask), true) else {
                panic!("{format}")
            };
            let said = String::from_utf8(said.to_vec()).unwrap();
            assert!(said.starts_with(part) && said.contains("5 bytes"), "{said}");
        }
    }

    #[test]
    fn a_voice_hums() {
        let Ok(Reply::Plain("audio/wav", file)) = answer(&asked(Operation::Speech, br#"{"input":"hi"}"#)) else {
            panic!("no sound")
        };
        assert_eq!(
            (file.len(), &file[..4], &file[8..16]),
            (4_044, &b"RIFF"[..], &b"WAVEfmt "[..])
        );
    }

    #[test]
    fn what_shares_words_ranks_first_and_nothing_is_harmful() {
        let body = br#"{"query":"What is a fox?","documents":["A car.","The fox is red.",{"text":"a fox"}],"top_n":2}"#;
        let answer = whole(&asked(Operation::Rerank, body));
        let order: Vec<_> = answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["index"].as_u64())
            .collect();
        assert_eq!(order, [Some(1), Some(2)]);
        let answer = whole(&asked(Operation::Moderations, br#"{"input":["a","b"]}"#));
        assert_eq!(
            (
                answer["results"].as_array().unwrap().len(),
                &answer["results"][1]["flagged"]
            ),
            (2, &false.into())
        );
    }
}
