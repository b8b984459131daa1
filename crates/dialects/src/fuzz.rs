//! What must hold for any bytes at all, as functions that a fuzzer calls.
//!
//! They live beside the code so that the property tests and the fuzz targets check the same claims. Each panics where a
//! claim is broken; none of them has another effect. The first bytes of the input choose dialect and options, so that a
//! corpus file is a whole case.

use bytes::Bytes;
use domain::provider::Quirks;
use domain::{Dialect, Operation, Surface, Timestamp};
use http::{HeaderMap, HeaderValue};

use crate::translate::translate_answer;
use crate::{
    Asked, Edits, Question, Reply, Report, StreamEnd, StreamTap, TapOptions, TapState, Target, Transcoder, classify,
    read_answer, scan, scan_form,
};

/// A scan does not panic, and what it edits scans again, with the new name.
///
/// # Panics
/// If the claim is broken.
pub fn request(data: &[u8]) {
    let (surface, _, body) = case(data);
    form(surface, body);
    let Ok(facts) = scan(surface, body) else { return };
    let body = Bytes::copy_from_slice(body);
    let params = [("own".to_owned(), "1".to_owned())];
    let edits = Edits {
        model: Some("to/model"),
        omit_model: false,
        omit: &[],
        include_usage: true,
        params: &params,
    };
    let edited = facts.edit(&body, &edits);
    let again = scan(surface, &edited);
    let is_named = matches!(surface.dialect, Dialect::Gemini | Dialect::BedrockConverse)
        || surface.operation == Operation::Passthrough
        || again
            .as_ref()
            .is_ok_and(|again| again.model.as_deref() == Some("to/model"));
    assert!(again.is_ok() && is_named, "an edit made {edited:?} of {body:?}");
}

/// The same for a body that is a form.
fn form(surface: Surface, body: &[u8]) {
    let Ok(facts) = scan_form(surface, "b", body) else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let edits = Edits {
        model: Some("to/model"),
        ..Edits::default()
    };
    let edited = facts.edit(&body, &edits);
    let again = scan_form(surface, "b", &edited);
    let is_named = again.is_ok_and(|again| again.model.as_deref() == Some("to/model"));
    assert!(is_named, "an edit made {edited:?} of {body:?}");
    assert_eq!(facts.edit(&body, &Edits::default()), body, "no edit, no change");
}

/// Reading an answer does not panic.
pub fn answer(data: &[u8]) {
    let (surface, _, body) = case(data);
    drop(read_answer(surface, body));
}

/// Translating does not panic; what is told of a request is a request of the target's format, what is told of an answer is
/// an answer of the client's, and what is told of a whole stream is a whole stream, the same at any chunking.
///
/// # Panics
/// If the claim is broken.
pub fn translation(data: &[u8]) {
    let (surface, choice, body) = case(data);
    let other = Dialect::ALL[usize::from(choice) % Dialect::ALL.len()];
    retold_request(surface, other, body);
    retold_answer(surface, other, body);
    retold_figures(surface, other, body);
    retold_stream(surface, other, body, usize::from(choice / 5) + 1);
}

fn retold_request(surface: Surface, target: Dialect, body: &[u8]) {
    let asked = Asked {
        surface,
        model: "asked",
        stream: body.len().is_multiple_of(2),
        json_array: false,
        id: "7",
        created: 1,
    };
    let Ok(question) = Question::read(&asked, body) else {
        return;
    };
    let quirks = Quirks::default();
    let there = Target {
        model: "there",
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    // In its own format a request passes through untouched, with members of which nobody knows what they are.
    if let Ok(encoded) = question.encode(target, &there)
        && target != surface.dialect
    {
        let told = scan(Surface::new(surface.operation, target), &encoded.body);
        let is_unnamed = matches!(target, Dialect::Gemini | Dialect::BedrockConverse);
        let is_named = told
            .as_ref()
            .is_ok_and(|facts| is_unnamed || facts.model.as_deref() == Some("there"));
        assert!(is_named, "{told:?} of {:?}", encoded.body);
    }
}

fn retold_answer(surface: Surface, client: Dialect, body: &[u8]) {
    if surface.operation != Operation::Chat || client == Dialect::BedrockConverse {
        return;
    }
    let Ok(report) = read_answer(surface, body) else { return };
    if report.failure.is_some() {
        return;
    }
    if let Ok(told) = translate_answer(surface.dialect, client, body, &report, &Reply::default()) {
        let again = read_answer(Surface::new(Operation::Chat, client), &told.body);
        assert!(again.is_ok(), "{again:?} of {:?}", told.body);
    }
}

/// Vectors and counts of tokens, which are told to whoever asked for them.
fn retold_figures(surface: Surface, client: Dialect, body: &[u8]) {
    if !matches!(surface.operation, Operation::Embeddings | Operation::CountTokens) {
        return;
    }
    let asked = Asked {
        surface: Surface::new(surface.operation, client),
        model: "asked",
        stream: false,
        json_array: false,
        id: "7",
        created: 1,
    };
    // Each format takes what it knows of this.
    let request = br#"{"model":"asked","max_tokens":1,"input":"a","messages":[{"role":"user","content":"a"}],
        "content":{"parts":[{"text":"a"}]},"contents":[{"role":"user","parts":[{"text":"a"}]}]}"#;
    if let (Ok(question), Ok(report)) = (Question::read(&asked, request), read_answer(surface, body)) {
        drop(question.answer(surface.dialect, client, body, &report));
    }
}

fn retold_stream(surface: Surface, client: Dialect, body: &[u8], size: usize) {
    if surface.operation != Operation::Chat || client == Dialect::BedrockConverse {
        return;
    }
    // Gemini's streams are events or one array, on either side.
    let reply = Reply {
        json_array: size.is_multiple_of(2),
        ..Reply::default()
    };
    let whole = retold(surface, client, body, body.len().max(1), &reply);
    assert_eq!(
        whole,
        retold(surface, client, body, size, &reply),
        "in chunks of {size}"
    );
    let (told, is_complete, failed) = whole;
    if is_complete && !failed {
        let options = TapOptions {
            surface: Surface::new(Operation::Chat, client),
            hide_usage_chunk: false,
            json_array: reply.json_array,
        };
        let mut tap = StreamTap::new(options);
        tap.push(Bytes::from(told.clone()), &mut Vec::new());
        let end = tap.finish(true);
        assert!(
            matches!(end, StreamEnd::Complete { .. }),
            "{end:?} of {:?}",
            String::from_utf8_lossy(&told)
        );
    }
}

/// What a client of another format gets of a stream; whether it is whole, and whether the provider itself says it failed.
fn retold(surface: Surface, client: Dialect, body: &[u8], size: usize, reply: &Reply) -> (Vec<u8>, bool, bool) {
    let options = TapOptions {
        surface,
        hide_usage_chunk: false,
        json_array: body.starts_with(b"["),
    };
    let mut transcoder = Transcoder::translate(StreamTap::new(options), client, reply.clone());
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        if let TapState::Broken(_) = transcoder.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (out.concat(), false, false);
        }
    }
    let failed = transcoder.report().failure.is_some();
    match transcoder.finish(true) {
        StreamEnd::Complete { last } => {
            out.push(last);
            (out.concat(), true, failed)
        }
        StreamEnd::Incomplete { .. } => (out.concat(), false, failed),
    }
}

/// Bedrock's streams, which no fuzzer would hit upon by itself: the first byte chooses the client, the second whether and how
/// the stream is damaged on its way, the rest is lines `event {…}` or `!exception {…}`, each of which becomes a frame. They are
/// told the same at any chunking; nothing of a damaged frame is released, nor of what follows it.
///
/// # Panics
/// If the claim is broken.
pub fn framed(data: &[u8]) {
    let (choice, damage) = (
        data.first().copied().unwrap_or(0),
        usize::from(data.get(1).copied().unwrap_or(0)),
    );
    let mut body = Vec::new();
    let mut ends = vec![0];
    for line in data.get(2..).unwrap_or_default().split(|byte| *byte == b'\n') {
        body.extend_from_slice(&frame(line));
        ends.push(body.len());
    }
    let surface = Surface::new(Operation::Chat, Dialect::BedrockConverse);
    let whole = [&[4, 0, choice], &body[..]].concat();
    translation(&whole);
    stream(&whole);
    if damage > 0 && !body.is_empty() {
        let at = damage * 131 % body.len();
        if let Some(byte) = body.get_mut(at) {
            *byte ^= 1 << (damage % 8);
        }
        let options = TapOptions {
            surface,
            hide_usage_chunk: false,
            json_array: false,
        };
        let (released, ..) = tapped(options, &body, usize::from(choice) + 1);
        let intact = ends.iter().rfind(|end| **end <= at).copied().unwrap_or_default();
        assert!(
            released.len() <= intact,
            "{} bytes of a stream that is damaged at {at} were released",
            released.len()
        );
        translation(&[&[4, 0, choice], &body[..]].concat());
    }
}

/// A line as Amazon frames it; see [`crate::stream::frames`].
fn frame(line: &[u8]) -> Vec<u8> {
    let at = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (name, payload) = line.split_at(at);
    let payload = payload.get(1..).unwrap_or_default();
    let (kind, key, name) = match name.strip_prefix(b"!") {
        Some(name) => ("exception", ":exception-type", name),
        None => ("event", ":event-type", name),
    };
    let name = name.get(..name.len().min(255)).unwrap_or_default();
    let mut headers = Vec::new();
    for (key, value) in [(key, name), (":message-type", kind.as_bytes())] {
        headers.push(key.len() as u8);
        headers.extend_from_slice(key.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value);
    }
    let mut frame = Vec::new();
    frame.extend_from_slice(&((16 + headers.len() + payload.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// A tap releases what came in, the same at any chunking.
///
/// # Panics
/// If the claim is broken.
pub fn stream(data: &[u8]) {
    let (surface, choice, body) = case(data);
    let options = TapOptions {
        surface,
        hide_usage_chunk: choice & 1 != 0,
        json_array: choice & 2 != 0,
    };
    let size = usize::from(choice >> 2) + 1;
    let whole = tapped(options, body, body.len().max(1));
    assert_eq!(whole, tapped(options, body, size), "in chunks of {size}");
    let is_hidden = options.hide_usage_chunk && surface.dialect == Dialect::OpenaiChat;
    assert!(
        is_hidden || body.starts_with(&whole.0),
        "something was released that never came"
    );
}

/// Classifying does not panic.
pub fn refusal(data: &[u8]) {
    let (surface, choice, body) = case(data);
    let status = 300 + u16::from(choice) * 2;
    let mut headers = HeaderMap::new();
    if let Some(value) = body.get(..16).and_then(|value| HeaderValue::from_bytes(value).ok()) {
        headers.insert("retry-after", value);
    }
    drop(classify(
        surface.dialect,
        status,
        &headers,
        body,
        Timestamp::from_secs(1_800_000_000),
    ));
}

/// Dialect and operation, a byte of options, and the rest.
fn case(data: &[u8]) -> (Surface, u8, &[u8]) {
    let pick = |at: usize| usize::from(data.get(at).copied().unwrap_or(0));
    let dialect = Dialect::ALL
        .get(pick(0) % Dialect::ALL.len())
        .copied()
        .unwrap_or(Dialect::OpenaiChat);
    // From the digit `0` on: an operation that is added at the end changes no seed.
    let operation = Operation::ALL
        .get(pick(1).wrapping_sub(usize::from(b'0')) % Operation::ALL.len())
        .copied()
        .unwrap_or(Operation::Chat);
    (
        Surface::new(operation, dialect),
        pick(2) as u8,
        data.get(3..).unwrap_or_default(),
    )
}

fn tapped(options: TapOptions, body: &[u8], size: usize) -> (Vec<u8>, StreamEnd, Report) {
    let mut tap = StreamTap::new(options);
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        if let TapState::Broken(_) = tap.push(Bytes::copy_from_slice(chunk), &mut out) {
            break;
        }
    }
    let end = tap.finish(true);
    (out.concat(), end, tap.report())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_claims_hold(
            head in any::<[u8; 3]>(),
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..100),
                "(data: |\\{|\\}|\\[|\\]|\"model\"|\"choices\"|\"usage\"|:|,|\n|\r|1|-|\"a\"|null|\\[DONE\\]){0,30}".prop_map(String::into_bytes),
            ],
        ) {
            let data = [&head[..], &body].concat();
            request(&data);
            answer(&data);
            stream(&data);
            refusal(&data);
            translation(&data);
            framed(&data);
        }
    }
}
