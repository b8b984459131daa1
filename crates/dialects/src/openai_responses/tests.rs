//! Tests of the codec: examples of every kind of content, the grammar of streams, and all recordings.

mod answers;
mod fuzz;
mod grammar;
mod recordings;
mod requests;
mod streams;

use domain::Dialect;
use serde_json::Value;

use super::{decode, encode};
use crate::hub::{Answer, Collector, Event, Loss, Losses, Request};
use crate::translate::{Reply, Target};

fn target(quirks: &domain::provider::Quirks) -> Target<'_> {
    Target {
        model: "up",
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks,
    }
}

fn decoded(body: &Value) -> Request {
    decode::request(body.to_string().as_bytes()).unwrap()
}

/// What an upstream gets, and what is lost.
fn encoded(request: Request) -> (Value, Vec<Loss>) {
    let (quirks, mut losses) = (domain::provider::Quirks::default(), Losses::default());
    let body = encode::request(request, &target(&quirks), &mut losses).unwrap();
    (body, losses.into_vec())
}

/// As if a client of another format had sent it.
fn foreign(mut request: Request) -> Request {
    request.extra = crate::hub::Extra {
        origin: Some(Dialect::AnthropicMessages),
        ..Default::default()
    };
    request
}

fn reply(request: &Value) -> Reply {
    let echo = decoded(request).echo;
    Reply {
        model: "alias".to_owned(),
        id: "x1".to_owned(),
        created: 17,
        echo,
        ..Reply::default()
    }
}

/// What a client gets.
fn told(answer: Answer, reply: &Reply) -> (Value, Vec<Loss>) {
    let mut losses = Losses::default();
    let body = encode::answer(answer, reply, &mut losses);
    (body, losses.into_vec())
}

fn streamed(events: Vec<Event>, reply: &Reply) -> String {
    let mut encoder = encode::StreamEncoder::new(reply.clone());
    let (mut out, mut losses) = (Vec::new(), Losses::default());
    for event in events {
        assert!(encoder.event(event, &mut out, &mut losses));
    }
    encoder.finish(&mut out, &mut losses);
    String::from_utf8(out).unwrap()
}

fn news(events: &[Value]) -> Vec<Event> {
    let mut decoder = decode::StreamDecoder::default();
    let mut out = Vec::new();
    for event in events {
        decoder.event(event.to_string().as_bytes(), &mut out).unwrap();
    }
    decoder.finish(&mut out);
    out
}

fn collected(events: Vec<Event>) -> Answer {
    let mut collector = Collector::default();
    for event in events {
        collector.push(event);
    }
    collector.into_answer()
}
