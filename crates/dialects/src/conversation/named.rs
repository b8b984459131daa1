//! Items that a request names (`item_reference`) in place of sending them.
//!
//! Vercel's `ai` does so by default: whatever the answer was kept of, it sends the items' ids and none of the words. Where
//! the answer is kept here, nobody else knows those ids, and a translator that passed them over would tell the model a
//! conversation without its own half. So they are put back in the place of their names. Which response an item is of needs
//! no index: the ids that we make hold that of the call (`msg_<call>_0`), and so lead to the row that is kept under it.
//! Those that we did not make (a provider's own id of its reasoning) are looked for in the responses that the others lead to.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{member, response, shown};
use crate::json::{Cursor, Syntax};

/// The kind of an item that only names another.
pub(crate) const REFERENCE: &str = "item_reference";

/// An item that is named in place of being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The item that is named.
    pub id: String,
    /// Where in the body its name stands.
    pub place: Range<usize>,
}

/// The items that a request names in place of sending them, in their order.
pub fn named_items(body: &[u8]) -> Vec<Named> {
    let mut found = Vec::new();
    let walked = Cursor::lenient(body).object(|key, value| {
        // Of two inputs the last counts, but the scan has refused those.
        if key == b"input" {
            return value
                .array_if(|item| {
                    found.extend(named(item)?);
                    Ok::<(), Syntax>(())
                })
                .map(|_| ());
        }
        value.skip().map(|_| ())
    });
    // What is not well-formed was refused before.
    walked.map_or_else(|_| Vec::new(), |_| found)
}

fn named(item: &mut Cursor<'_>) -> Result<Option<Named>, Syntax> {
    let place = item.clone().skip()?;
    let (mut is_reference, mut id) = (false, None);
    item.object_if(|key, member| {
        match key {
            b"type" => is_reference = member.string_if()?.is_some_and(|text| text.is(REFERENCE)),
            b"id" => id = member.string_if()?.map(|text| text.decode().into_owned()),
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(id.filter(|_| is_reference).map(|id| Named { id, place }))
}

/// The response whose item this is, if its id is one that we made.
pub fn home_of(item: &str) -> Option<String> {
    const CALL_DIGITS: usize = 32;
    let (front, place) = item.rsplit_once('_')?;
    let place = place.strip_prefix("in").unwrap_or(place);
    let (_, call) = front.rsplit_once('_')?;
    let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
    let is_call = call.len() == CALL_DIGITS && call.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_place && is_call).then(|| format!("resp_{call}"))
}

/// An item of a turn by its id: of those that its response tells, or of those that it answered.
pub fn item(turn: &str, response_id: &str, id: &str) -> Option<String> {
    let output = response(turn).and_then(|response| member(response, "output"));
    let input = member(turn, "input");
    for items in [output, input].into_iter().flatten() {
        let items: Vec<&RawValue> = serde_json::from_str(items).unwrap_or_default();
        let text = |item: &str, name| member(item, name).and_then(|text| serde_json::from_str::<String>(text).ok());
        let is_it = |item: &&&RawValue| {
            text(item.get(), "id").as_deref() == Some(id) && text(item.get(), "type").as_deref() != Some(REFERENCE)
        };
        if let Some(item) = items.iter().find(is_it) {
            return Some(item.get().to_owned());
        }
    }
    // What the client sent without an id has that by which it is listed.
    let place: usize = id.rsplit_once("_in")?.1.parse().ok()?;
    let items: Vec<&RawValue> = serde_json::from_str(input?).ok()?;
    let item = shown(serde_json::from_str(items.get(place)?.get()).ok()?, response_id, place);
    (super::id_of(&item) == Some(id)).then(|| item.to_string())
}

/// The request with items in the places where they were named, which are given in their order. All other bytes stay.
pub fn with_items(body: &Bytes, items: &[(Range<usize>, String)]) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + items.iter().map(|(_, item)| item.len()).sum::<usize>());
    let mut at = 0;
    for (place, item) in items {
        out.extend_from_slice(body.get(at..place.start).unwrap_or_default());
        out.extend_from_slice(item.as_bytes());
        at = place.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::conversation::{own_input, turn};

    const CALL: &str = "0190c0ffee007000800000000000abcd";

    #[test]
    fn items_take_the_places_of_their_names() {
        let body = Bytes::from_static(
            br#"{"model":"m","input":[{"role":"user","content":"a"}, {"type":"item_reference","id":"msg_1"},
            {"id":"fc_\u0031","type":"item_reference"},{"type":"message","id":"msg_2","role":"user","content":"b"}],"x":1.50}"#,
        );
        let named = named_items(&body);
        let ids: Vec<&str> = named.iter().map(|named| &*named.id).collect();
        assert_eq!(ids, ["msg_1", "fc_1"]);
        let items: Vec<_> = named
            .into_iter()
            .map(|named| (named.place, "{\"n\":1}".to_owned()))
            .collect();
        let made = with_items(&body, &items);
        let text = std::str::from_utf8(&made).unwrap();
        assert!(text.ends_with(r#""content":"b"}],"x":1.50}"#), "{text}");
        let made: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(
            (&made["input"][1], &made["input"][2]),
            (&json!({"n": 1}), &json!({"n": 1}))
        );
        for none in [
            "{}",
            r#"{"input":"hi"}"#,
            r#"{"input":[7,{"type":"item_reference"}]}"#,
            "[",
            "nothing",
        ] {
            assert_eq!(named_items(none.as_bytes()), [], "{none}");
        }
    }

    #[test]
    fn our_ids_lead_to_their_response() {
        let home = format!("resp_{CALL}");
        for prefix in ["msg", "rs", "fc", "ctc", "msg_resp"] {
            assert_eq!(
                home_of(&format!("{prefix}_{CALL}_12")).as_ref(),
                Some(&home),
                "{prefix}"
            );
        }
        assert_eq!(home_of(&format!("item_{home}_in3")).as_ref(), Some(&home));
        for other in [
            "msg_1",
            "",
            "_",
            "msg_68a7c1d9f2b481908d2f6e4b3a5c7d9e0f1a2b3c4d5e6f70",
            &home,
            &format!("msg_{CALL}_x"),
        ] {
            assert_eq!(home_of(other), None, "{other}");
        }
    }

    #[test]
    fn an_item_is_found_by_its_id() {
        let home = format!("resp_{CALL}");
        let input = own_input(br#"{"input":[{"type":"item_reference","id":"rs_9"},{"role":"user","content":"one"}]}"#);
        let told = format!(r#"{{"output":[{{"type":"reasoning","id":"rs_9","x":1.50}},{{"id":"msg_{CALL}_1"}}]}}"#);
        let turn = turn(&input.unwrap(), &told);
        assert_eq!(
            item(&turn, &home, "rs_9").unwrap(),
            r#"{"type":"reasoning","id":"rs_9","x":1.50}"#
        );
        assert_eq!(
            item(&turn, &home, &format!("msg_{CALL}_1")).unwrap(),
            format!(r#"{{"id":"msg_{CALL}_1"}}"#)
        );
        let said: Value = serde_json::from_str(&item(&turn, &home, &format!("msg_{home}_in1")).unwrap()).unwrap();
        assert_eq!(said["content"][0]["text"], "one");
        for none in [format!("msg_{CALL}_2"), format!("msg_{home}_in7"), "rs_1".to_owned()] {
            assert_eq!(item(&turn, &home, &none), None, "{none}");
        }
    }
}
