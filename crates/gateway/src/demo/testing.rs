//! What the tests of all dialects need: asking, and reading streams as a client would.

use std::future::poll_fn;

use domain::{Dialect, Operation, Surface};
use serde_json::Value;

use super::{Ask, Reply, answer};

/// A plain question for the model `demo-1`.
pub(crate) fn ask(operation: Operation, dialect: Dialect, body: &[u8]) -> Ask<'_> {
    let surface = Surface::new(operation, dialect);
    Ask {
        surface,
        model: "demo-1",
        body,
        stream: false,
        json_array: false,
        include_usage: false,
        form: None,
    }
}

/// The whole answer to a plain question.
#[track_caller]
pub(crate) fn whole(ask: &Ask<'_>) -> Value {
    match answer(ask) {
        Reply::Whole(body) => serde_json::from_slice(&body).unwrap(),
        other => panic!("a whole answer was expected, not {other:?}"),
    }
}

/// The body of a refusal.
#[track_caller]
pub(crate) fn refused(ask: &Ask<'_>) -> Value {
    match answer(ask) {
        Reply::Refused(body) => serde_json::from_slice(&body).unwrap(),
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

/// The items of a stream, as they come.
pub(crate) async fn items(ask: &Ask<'_>) -> Vec<String> {
    let Reply::Stream(mut script) = answer(ask) else {
        panic!("a stream was expected")
    };
    let mut items = Vec::new();
    while let Some(item) = poll_fn(|cx| script.poll_next(cx)).await {
        items.push(String::from_utf8(item.to_vec()).unwrap());
    }
    items
}

/// The data of a stream whose every item is one event; an event's name must be the `type` in its data.
pub(crate) async fn events(ask: &Ask<'_>) -> Vec<Value> {
    items(ask).await.iter().map(|item| event(item)).collect()
}

/// `data: [DONE]` is the text `[DONE]`.
#[track_caller]
fn event(item: &str) -> Value {
    let item = item
        .strip_suffix("\r\n\r\n")
        .or_else(|| item.strip_suffix("\n\n"))
        .expect("a blank line ends an event");
    let (name, data) = match item.split_once('\n') {
        Some((name, data)) => (Some(name.strip_prefix("event: ").unwrap()), data),
        None => (None, item),
    };
    let data = data.strip_prefix("data: ").unwrap();
    let data: Value = if data == "[DONE]" {
        data.into()
    } else {
        serde_json::from_str(data).unwrap()
    };
    assert!(name.is_none_or(|name| data["type"] == name), "{item}");
    data
}

/// A tool's schema and whether `arguments` is what it asks for.
pub(crate) fn weather_schema() -> Value {
    serde_json::json!({
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 2},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "note": {"type": "string"},
        },
        "required": ["city", "days", "unit"],
    })
}

/// Fails unless `arguments` conform to [`weather_schema`].
#[track_caller]
pub(crate) fn assert_weather(arguments: &Value) {
    assert!(arguments["city"].is_string(), "{arguments}");
    assert!(arguments["days"].as_u64().is_some_and(|days| days >= 2), "{arguments}");
    assert_eq!(arguments["unit"], "celsius");
    assert_eq!(arguments.as_object().unwrap().len(), 3, "{arguments}");
}

/// The `type` of each event, repetitions once.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    types.dedup();
    types
}
