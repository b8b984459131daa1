//! OpenAI's tasks beside text: pictures, speech, transcripts, moderation; and rankings, in Cohere's shape. Forms are
//! searched for the few fields that shape an answer.

use base64::Engine;
use bytes::Bytes;

use super::CREATED;
use super::answer::{Answer, Reporting};
use super::asked::{Asked, Operation};
use super::json::{Object, Text, object};
use super::openai::error_event;
use super::rendered::Rendered;

/// A picture of one pixel.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// Sound that is none: bytes that are no text, with what a stream of events ends with among them.
const SOUND: &[u8] = b"ID3\x04\x00\xff\xfb\x90\x64data: [DONE]\n\n\x00\xfe\xff";

/// The field of a form, as its text.
pub(crate) fn form_field<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let mark = format!("name=\"{name}\"\r\n\r\n");
    let start = memchr::memmem::find(body, mark.as_bytes())? + mark.len();
    let rest = &body[start..];
    let end = memchr::memmem::find(rest, b"\r\n")?;
    std::str::from_utf8(&rest[..end]).ok()
}

pub(crate) fn render(asked: &Asked, answer: &Answer) -> Rendered {
    match asked.operation {
        Operation::Images if asked.stream.is_some() => pictures_streamed(asked, answer),
        Operation::Images => pictures(asked, answer),
        Operation::Speech if asked.stream.is_some() => speech_streamed(answer),
        Operation::Speech => Rendered::whole(200, "audio/mpeg", SOUND),
        Operation::Transcript if asked.stream.is_some() => transcript_streamed(answer),
        Operation::Transcript => transcript(asked, answer),
        Operation::Moderations => moderation(asked),
        _ => ranking(answer),
    }
}

/// The sound that speech is answered with.
pub(crate) const fn sound() -> &'static [u8] {
    SOUND
}

fn with_usage(object: &mut Object, answer: &Answer, usage: impl FnOnce() -> Text) {
    if answer.reporting != Reporting::Never {
        let usage = answer.usage_raw.as_ref().map_or_else(usage, Object::verbatim);
        object.field("usage", &usage);
    }
}

fn tokens(answer: &Answer) -> Text {
    let (input, output) = (answer.usage.prompt(), answer.usage.output);
    object! {
        "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
        "input_tokens_details": object! { "text_tokens": input, "image_tokens": 0 },
    }
}

fn heard(answer: &Answer) -> Text {
    let (input, output) = (answer.usage.prompt(), answer.usage.output);
    object! {
        "type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
        "input_token_details": object! { "text_tokens": 0, "audio_tokens": input },
    }
}

fn pictures(asked: &Asked, answer: &Answer) -> Rendered {
    let data: Vec<Text> = (0..asked.choices).map(|_| object! { "b64_json": PICTURE }).collect();
    let mut object = Object::default();
    object.field("created", &CREATED);
    object.field("data", &data);
    object.field("output_format", "png");
    object.field("size", "1024x1024");
    with_usage(&mut object, answer, || tokens(answer));
    Rendered::json(&object.finish())
}

fn pictures_streamed(asked: &Asked, answer: &Answer) -> Rendered {
    let family = if asked.is_form {
        "image_edit"
    } else {
        "image_generation"
    };
    let event = |kind: &str| {
        let mut object = Object::default();
        object.field("type", &format!("{family}.{kind}"));
        object.field("b64_json", PICTURE);
        object.field("created_at", &CREATED);
        object.field("size", "1024x1024");
        object.field("quality", "low");
        object.field("background", "opaque");
        object.field("output_format", "png");
        object
    };
    let mut partial = event("partial_image");
    partial.field("partial_image_index", &0);
    let mut completed = event("completed");
    with_usage(&mut completed, answer, || tokens(answer));
    streamed(&[partial.finish(), completed.finish()])
}

fn speech_streamed(answer: &Answer) -> Rendered {
    let sound = base64::engine::general_purpose::STANDARD.encode(SOUND);
    let mut done = Object::default();
    done.field("type", "speech.audio.done");
    with_usage(&mut done, answer, || tokens(answer));
    streamed(&[object! { "type": "speech.audio.delta", "audio": sound }, done.finish()])
}

fn transcript(asked: &Asked, answer: &Answer) -> Rendered {
    let text = answer.whole_text();
    if matches!(asked.format.as_str(), "text" | "srt" | "vtt") {
        return Rendered::whole(200, "text/plain; charset=utf-8", text + "\n");
    }
    let mut object = Object::default();
    if asked.format == "verbose_json" {
        object.field("task", "transcribe");
        object.field("language", "english");
        object.field("duration", &8.47);
        object.field("segments", &[(); 0]);
    }
    object.field("text", &text);
    with_usage(&mut object, answer, || heard(answer));
    Rendered::json(&object.finish())
}

fn transcript_streamed(answer: &Answer) -> Rendered {
    let delta = |piece: &String| object! { "type": "transcript.text.delta", "delta": piece };
    let mut events: Vec<Text> = answer.pieces.iter().map(delta).collect();
    let mut done = Object::default();
    done.field("type", "transcript.text.done");
    done.field("text", &answer.whole_text());
    with_usage(&mut done, answer, || heard(answer));
    events.push(done.finish());
    streamed(&events)
}

fn moderation(asked: &Asked) -> Rendered {
    let result = object! {
        "flagged": false, "categories": object! { "violence": false }, "category_scores": object! { "violence": 0.0001 },
        "category_applied_input_types": object! { "violence": ["text"] },
    };
    let results: Vec<&Text> = (0..asked.inputs).map(|_| &result).collect();
    Rendered::json(&object! { "id": "modr-tk", "model": asked.model, "results": results })
}

fn ranking(answer: &Answer) -> Rendered {
    let results = [
        object! { "index": 1, "relevance_score": 0.9 },
        object! { "index": 0, "relevance_score": 0.1 },
    ];
    let mut object = Object::default();
    object.field("id", "rank-tk");
    object.field("results", &results);
    match (&answer.usage_raw, answer.reporting) {
        (_, Reporting::Never) => {}
        (Some(raw), _) => object.field("usage", raw),
        (None, _) => object.field("meta", &object! { "billed_units": object! { "search_units": 1 } }),
    }
    Rendered::json(&object.finish())
}

/// Named events; none says that the stream is over.
fn streamed(events: &[Text]) -> Rendered {
    let named = |event: &Text| {
        let value: serde_json::Value = serde_json::from_str(event.get()).expect("the testkit's own JSON");
        let name = value["type"].as_str().unwrap_or_default();
        Bytes::from(format!("event: {name}\ndata: {}\n\n", event.get()))
    };
    Rendered {
        events: events.iter().map(named).collect(),
        streamed: true,
        finish: events.len() - 1,
        terminator: events.len() - 1,
        error_event: error_event(),
        ..Rendered::whole(200, "text/event-stream; charset=utf-8", Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Request;
    use super::*;

    fn answered(path: &str, body: &str, answer: &Answer) -> Rendered {
        render(&Asked::read(&Request::of("POST", path, &[], body)), answer)
    }

    #[test]
    fn every_task_is_answered_in_its_shape() {
        let answer = Answer::text("a b");
        for (path, body, part) in [
            ("/v1/images/generations", r#"{"model":"m","n":2}"#, "\"b64_json\""),
            ("/v1/audio/speech", r#"{"model":"m"}"#, "ID3"),
            (
                "/v1/audio/transcriptions",
                "name=\"response_format\"\r\n\r\nsrt\r\n",
                "a b\n",
            ),
            (
                "/v1/audio/transcriptions",
                "name=\"stream\"\r\n\r\ntrue\r\n",
                "transcript.text.done",
            ),
            (
                "/v1/images/edits",
                "name=\"stream\"\r\n\r\ntrue\r\n",
                "image_edit.completed",
            ),
            ("/v1/audio/speech", r#"{"stream_format":"sse"}"#, "speech.audio.done"),
            ("/v1/moderations", r#"{"input":["a","b"]}"#, "\"flagged\""),
            ("/v2/rerank", "{}", "search_units"),
        ] {
            let body = answered(path, body, &answer).events.concat();
            assert!(String::from_utf8_lossy(&body).contains(part), "{path}");
        }
    }

    #[test]
    fn a_forms_fields_are_found() {
        let form = b"--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--";
        assert_eq!((form_field(form, "model"), form_field(form, "n")), (Some("m"), None));
    }
}
