//! Conversations of the Responses format that somebody else than the provider keeps.
//!
//! A client of this format may name the response that it continues instead of sending all that was said. Where the answer
//! came from an upstream of another format, nobody there knows that name. So each answer is kept as a *turn*: the items
//! that the client sent, and the response that it got, both word for word. The next request is made whole by putting the
//! items of the turns before in front of its own: other formats are then told what a client would have sent that keeps its
//! conversation itself, and everything that survives a round trip through the client (seals of reasoning, ids of calls)
//! survives here too. Instructions are of one response only; they are not carried over, as at the provider.

mod named;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::hub::{BadRequest, MADE, is_made_name, nested};
use crate::json::{Cursor, Kind, Syntax};
use crate::limits::{ITEMS_PAGE_DEFAULT, ITEMS_PAGE_MAX};
use crate::openai_responses;
pub(crate) use named::REFERENCE;
pub use named::{Named, home_of, item, named_items, with_items};

/// The items of a request's own input, as a JSON list.
///
/// # Errors
/// If the input is neither a text nor a list.
pub fn own_input(body: &[u8]) -> Result<String, BadRequest> {
    let mut cursor = Cursor::lenient(body);
    let mut input = None;
    cursor
        .object(|key, value| {
            let span = value.skip()?;
            if key == b"input" {
                input = Some(span);
            }
            Ok::<(), Syntax>(())
        })
        .map_err(|error| BadRequest::new("body", error.what))?;
    match input {
        None => Ok("[]".to_owned()),
        Some(span) => Ok(format!("[{}]", items(cursor.slice(span))?)),
    }
}

/// The request with what was said before in front of its input, and without the name of what it continues. All other bytes
/// stay.
///
/// # Errors
/// If the input is neither a text nor a list.
pub fn continued(body: &Bytes, turns: &[&str]) -> Result<Bytes, BadRequest> {
    let mut cursor = Cursor::lenient(body);
    let (mut input, mut previous) = (None, None);
    let object = cursor
        .object(|key, value| {
            let span = value.skip()?;
            match key {
                b"input" => input = Some(span),
                b"previous_response_id" => previous = Some(span),
                _ => {}
            }
            Ok::<(), Syntax>(())
        })
        .map_err(|error| BadRequest::new("body", error.what))?;
    let own = match &input {
        Some(span) => items(cursor.slice(span.clone()))?,
        None => Cow::Borrowed(""),
    };
    let mut all: Vec<Cow<'_, str>> = turns.iter().flat_map(|turn| said(turn)).map(Cow::Borrowed).collect();
    all.push(own);
    all.retain(|part| !part.is_empty());
    let all = all.join(",");
    let mut splices = Vec::with_capacity(2);
    splices.extend(previous.map(|span| (span, "null".to_owned())));
    match input {
        Some(span) => splices.push((span, format!("[{all}]"))),
        // There is another member at least: the name of what is continued.
        None => splices.push((object.start + 1..object.start + 1, format!("\"input\":[{all}],"))),
    }
    splices.sort_by_key(|(span, _)| span.start);
    let mut out = Vec::with_capacity(body.len() + all.len() + 16);
    let mut at = 0;
    for (span, text) in splices {
        out.extend_from_slice(body.get(at..span.start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        at = span.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    Ok(out.into())
}

/// The same request for an upstream of this format that takes over a conversation which others answered before: without
/// their reasoning and what they did by themselves, which it could not open and would refuse.
pub fn for_provider(body: &Bytes) -> Bytes {
    let Some(input) = std::str::from_utf8(body).ok().and_then(|body| member(body, "input")) else {
        return body.clone();
    };
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(input) else {
        return body.clone();
    };
    let is_own = |item: &&RawValue| can_be_opened(item.get()) && !is_made(item.get());
    if items.iter().all(is_own) {
        return body.clone();
    }
    let kept: Vec<&str> = items.into_iter().filter(is_own).map(RawValue::get).collect();
    let begin = input.as_ptr() as usize - body.as_ptr() as usize;
    let mut out = body.get(..begin).unwrap_or_default().to_vec();
    out.extend_from_slice(format!("[{}]", kept.join(",")).as_bytes());
    out.extend_from_slice(body.get(begin + input.len()..).unwrap_or_default());
    out.into()
}

/// Whether an item is anything but reasoning that somebody else sealed.
fn can_be_opened(item: &str) -> bool {
    if !item.contains("reasoning") {
        return true;
    }
    let text = |name: &str| member(item, name).and_then(|text| serde_json::from_str::<String>(text).ok());
    if text("type").as_deref() != Some("reasoning") {
        return true;
    }
    openai_responses::is_own_reasoning(text("id").as_deref(), text("encrypted_content").as_deref())
}

/// Whether an item tells what another provider did, in this format's words.
fn is_made(item: &str) -> bool {
    let id = item.contains(MADE).then(|| member(item, "id")).flatten();
    id.and_then(|id| serde_json::from_str::<String>(id).ok())
        .is_some_and(|id| is_made_name(id.as_bytes()))
}

/// A turn, of the client's items ([`own_input`]) and the response as it was told.
pub fn turn(input: &str, response: &str) -> String {
    format!("{{\"input\":{input},\"response\":{response}}}")
}

/// The response of a turn, as the client got it.
pub fn response(turn: &str) -> Option<&str> {
    member(turn, "response")
}

/// Which of the items to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first; the provider begins with the newest.
    pub is_ascending: bool,
    /// The item after which to begin.
    pub after: Option<String>,
    /// How many at most.
    pub limit: Option<usize>,
}

impl Page {
    /// Reads a query.
    pub fn read(query: &str) -> Self {
        let mut page = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "order" => page.is_ascending = value == "asc",
                "after" => page.after = Some(value.to_owned()),
                "limit" => page.limit = value.parse().ok(),
                _ => {}
            }
        }
        page
    }
}

/// The list of what a response answered: all that was said before it in its conversation. `turns` are oldest first; the
/// response is that of the last one.
pub fn input_items(turns: &[(&str, &str)], page: &Page) -> String {
    let mut all = Vec::new();
    let last = turns.len().saturating_sub(1);
    for (place, (id, turn)) in turns.iter().enumerate() {
        let own = member(turn, "input").map(list).unwrap_or_default();
        all.extend(own.into_iter().enumerate().map(|(n, item)| shown(item, id, n)));
        if place < last {
            all.extend(
                response(turn)
                    .and_then(|it| member(it, "output"))
                    .map(list)
                    .unwrap_or_default(),
            );
        }
    }
    if !page.is_ascending {
        all.reverse();
    }
    let begins = page
        .after
        .as_deref()
        .and_then(|after| all.iter().position(|item| id_of(item) == Some(after)));
    let begins = begins.map_or(0, |place| place + 1);
    let limit = page.limit.unwrap_or(ITEMS_PAGE_DEFAULT).clamp(1, ITEMS_PAGE_MAX);
    let has_more = all.len() > begins + limit;
    let data: Vec<Value> = all.into_iter().skip(begins).take(limit).collect();
    let end = |item: Option<&Value>| item.and_then(id_of).map(str::to_owned);
    json!({
        "object": "list",
        "first_id": end(data.first()),
        "last_id": end(data.last()),
        "has_more": has_more,
        "data": data,
    })
    .to_string()
}

/// What a client is told whose response was deleted.
pub fn deleted(id: &str) -> String {
    json!({"id": id, "object": "response", "deleted": true}).to_string()
}

/// What was said in a turn: the inside of the lists of its input and of its output.
fn said(turn: &str) -> [&str; 2] {
    let output = response(turn).and_then(|response| member(response, "output"));
    [member(turn, "input"), output].map(|list| list.map(inside).unwrap_or_default())
}

/// An input as the inside of a list of items; a text is a message of the user's.
fn items(input: &[u8]) -> Result<Cow<'_, str>, BadRequest> {
    let text = std::str::from_utf8(input).map_err(|_| BadRequest::new("input", "is not UTF-8"))?;
    match Cursor::lenient(input).kind() {
        Ok(Kind::Array) => Ok(Cow::Borrowed(inside(text))),
        Ok(Kind::String) => Ok(Cow::Owned(format!("{{\"role\":\"user\",\"content\":{text}}}"))),
        Ok(Kind::Null) => Ok(Cow::Borrowed("")),
        _ => Err(BadRequest::new("input", "expected a string or a list of items")),
    }
}

/// What stands between the brackets.
fn inside(list: &str) -> &str {
    let list = list.trim();
    list.strip_prefix('[')
        .and_then(|list| list.strip_suffix(']'))
        .unwrap_or_default()
        .trim()
}

/// The text of a member of an object.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found: Option<Range<usize>> = None;
    Cursor::lenient(object.as_bytes())
        .object(|key, value| {
            let span = value.skip()?;
            if key == name.as_bytes() {
                found = Some(span);
            }
            Ok::<(), Syntax>(())
        })
        .ok()?;
    object.get(found?)
}

fn list(text: &str) -> Vec<Value> {
    match nested::read(text.as_bytes()) {
        Ok(Value::Array(elements)) => elements,
        _ => Vec::new(),
    }
}

fn id_of(item: &Value) -> Option<&str> {
    item.get("id")?.as_str()
}

/// An item as the provider lists it: with an id, its kind, and its content as parts.
fn shown(item: Value, response: &str, place: usize) -> Value {
    let Value::Object(mut item) = item else {
        return item;
    };
    let is_message = item.get("type").is_none_or(|kind| kind == "message");
    let mut told = Map::new();
    let made = format!("{}_{}_in{place}", if is_message { "msg" } else { "item" }, response);
    told.insert("id".to_owned(), item.shift_remove("id").unwrap_or_else(|| made.into()));
    if is_message {
        told.insert("type".to_owned(), "message".into());
        item.entry("status").or_insert_with(|| "completed".into());
        let is_said = item.get("role").is_some_and(|role| role == "assistant");
        if let Some(Value::String(text)) = item.get("content") {
            let part = if is_said {
                json!({"type": "output_text", "text": text, "annotations": []})
            } else {
                json!({"type": "input_text", "text": text})
            };
            item.insert("content".to_owned(), json!([part]));
        }
    }
    told.extend(item);
    Value::Object(told)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &str = r#"{"input":[ {"role":"user","content":"one"} ],"response":{"id":"resp_1","output":[{"id":"msg_1","type":"message","role":"assistant","content":[]}]}}"#;
    const SECOND: &str = r#"{"input":[],"response":{"output":[{"id":"fc_1","type":"function_call"}],"id":"resp_2"}}"#;

    fn whole(body: &str, turns: &[&str]) -> Value {
        let bytes = continued(&Bytes::copy_from_slice(body.as_bytes()), turns).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn what_was_said_comes_before_the_input() {
        let body = r#"{"previous_response_id": "resp_2", "input": "three", "model":"m","x":1.50}"#;
        let made = continued(&Bytes::from_static(body.as_bytes()), &[FIRST, SECOND]).unwrap();
        let text = std::str::from_utf8(&made).unwrap();
        assert!(text.starts_with(r#"{"previous_response_id": null, "input": [{"role":"user","content":"one"},"#));
        assert!(
            text.ends_with(r#"{"role":"user","content":"three"}], "model":"m","x":1.50}"#),
            "{text}"
        );
        let made = whole(body, &[FIRST, SECOND]);
        assert_eq!(made["input"].as_array().unwrap().len(), 4);
        assert_eq!(made["input"][2]["type"], "function_call");
        let made = whole(r#"{"model":"m","previous_response_id":"r"}"#, &[FIRST]);
        assert_eq!(made["input"].as_array().unwrap().len(), 2);
        let made = whole(
            r#"{"input":[{"type":"function_call_output"}],"previous_response_id":"r"}"#,
            &[SECOND],
        );
        assert_eq!(made["input"][1]["type"], "function_call_output");
        assert!(continued(&Bytes::from_static(br#"{"input":7}"#), &[]).is_err());
    }

    #[test]
    fn a_turn_gives_back_what_it_was_made_of() {
        let input = own_input(br#"{"model":"m","input":"hi \"you\""}"#).unwrap();
        let turn = turn(&input, r#"{"id":"resp_1","output":[]}"#);
        assert_eq!(response(&turn), Some(r#"{"id":"resp_1","output":[]}"#));
        let made = whole(r#"{"input":[],"previous_response_id":"resp_1"}"#, &[&turn]);
        assert_eq!(made["input"], json!([{"role": "user", "content": "hi \"you\""}]));
        assert_eq!(own_input(br#"{"model":"m"}"#).unwrap(), "[]");
    }

    #[test]
    fn reasoning_of_others_is_not_shown_to_the_provider() {
        let body = r#"{"model":"m","input":[{"role":"user","content":"about reasoning"},
            {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"redacted:tollgate:anthropic_messages:E"},
            {"type":"reasoning","id":"rs_2","summary":[]},
            {"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"gAAA"}],"x":1}"#;
        let told = for_provider(&Bytes::from_static(body.as_bytes()));
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["x"], 1);
        let ids: Vec<_> = told["input"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str())
            .collect();
        assert_eq!(ids, [None, Some("rs_3")]);
        let same = Bytes::from_static(br#"{"input":"reasoning"}"#);
        assert_eq!(for_provider(&same), same);
    }

    #[test]
    fn what_others_did_is_left_out_for_the_provider() {
        let body = json!({"input": [
            {"type": "web_search_call", "id": "ws_tollgate_srvtoolu_1", "status": "completed",
                "action": {"type": "search", "query": "rain", "sources": [{"type": "url", "url": "https://a"}]}},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        ]});
        let told = for_provider(&Bytes::from(body.to_string()));
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["input"], json!([body["input"][1]]));
    }

    #[test]
    fn items_are_listed_as_the_provider_does() {
        let third = turn(
            &own_input(br#"{"input":"three"}"#).unwrap(),
            r#"{"id":"resp_3","output":[{"id":"no"}]}"#,
        );
        let turns = [("resp_1", FIRST), ("resp_2", SECOND), ("resp_3", third.as_str())];
        let listed = |query: &str| -> Value { serde_json::from_str(&input_items(&turns, &Page::read(query))).unwrap() };
        let all = listed("");
        let ids: Vec<&str> = all["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| id_of(item).unwrap())
            .collect();
        assert_eq!(ids, ["msg_resp_3_in0", "fc_1", "msg_1", "msg_resp_1_in0"]);
        assert_eq!(
            (&all["has_more"], &all["last_id"]),
            (&json!(false), &json!("msg_resp_1_in0"))
        );
        assert_eq!(
            all["data"][0],
            json!({"id": "msg_resp_3_in0", "type": "message", "role": "user", "status": "completed",
                "content": [{"type": "input_text", "text": "three"}]})
        );
        let some = listed("order=asc&after=msg_1&limit=1");
        assert_eq!(
            (&some["data"][0]["id"], &some["has_more"]),
            (&json!("fc_1"), &json!(true))
        );
    }

    proptest! {
        /// However a conversation is cut into turns, the next request holds the same items.
        #[test]
        fn nothing_is_lost_between_turns(texts in proptest::collection::vec(".*", 1..6)) {
            let mut turns = Vec::new();
            let mut expected = Vec::new();
            for (place, text) in texts.iter().enumerate() {
                let request = json!({"input": text, "model": "m"}).to_string();
                let output = json!({"output": [{"id": format!("o{place}"), "text": text}]}).to_string();
                turns.push(turn(&own_input(request.as_bytes()).unwrap(), &output));
                expected.push(json!({"role": "user", "content": text}));
                expected.push(json!({"id": format!("o{place}"), "text": text}));
            }
            let turns: Vec<&str> = turns.iter().map(String::as_str).collect();
            let made = whole(r#"{"input":[{"n":1}],"previous_response_id":"r"}"#, &turns);
            expected.push(json!({"n": 1}));
            prop_assert_eq!(&made["input"], &Value::Array(expected));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), turn in ".*") {
            let _own = own_input(&bytes);
            let bytes = Bytes::from(bytes);
            let _made = continued(&bytes, &[&turn]);
            for_provider(&bytes);
            for_provider(&Bytes::copy_from_slice(turn.as_bytes()));
            input_items(&[("r", &turn)], &Page::default());
        }
    }
}
