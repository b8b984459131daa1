//! What providers that speak Chat Completions want otherwise inside of messages and tools.

use std::hash::Hasher as _;

use domain::provider::Quirks;
use serde_json::{Map, Value, json};

use super::take_out;
use crate::hub::Losses;

/// Letters and digits, of which ids are made.
const SIGNS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Changes messages and tools to what the provider takes.
pub(super) fn fit(body: &mut Map<String, Value>, quirks: &Quirks, losses: &mut Losses) {
    if quirks.thinking_switch && body.get("reasoning_effort").is_some_and(|effort| effort == "none") {
        body.shift_remove("reasoning_effort");
        body.insert("thinking".to_owned(), json!({"type": "disabled"}));
    }
    if !quirks.message_unsupported.is_empty() || quirks.tool_id_length != 0 {
        for message in objects(body.get_mut("messages")) {
            fit_message(message, quirks, losses);
        }
    }
    if !quirks.function_unsupported.is_empty() {
        for function in objects(body.get_mut("tools")).filter_map(|tool| tool.get_mut("function")?.as_object_mut()) {
            for member in &quirks.function_unsupported {
                take_out(function, member, "the provider's tools do not have it", losses);
            }
        }
    }
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = list.and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn fit_message(message: &mut Map<String, Value>, quirks: &Quirks, losses: &mut Losses) {
    for member in &quirks.message_unsupported {
        take_out(message, member, "the provider's messages do not have it", losses);
    }
    if quirks.tool_id_length == 0 {
        return;
    }
    for call in objects(message.get_mut("tool_calls")) {
        shorten(call, "id", quirks.tool_id_length);
    }
    shorten(message, "tool_call_id", quirks.tool_id_length);
}

/// Makes an id one of so many letters and digits, unless it is one. The same id always becomes the same one, so that a
/// call and its result still meet, in this turn and in all later ones.
fn shorten(members: &mut Map<String, Value>, name: &str, length: usize) {
    let Some(Value::String(id)) = members.get_mut(name) else {
        return;
    };
    if id.len() == length && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return;
    }
    // FNV-1a: short, and the same on every machine and in every version.
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.write(id.as_bytes());
    let mut rest = hash.finish();
    *id = (0..length)
        .map(|_| {
            let sign = SIGNS[(rest % 62) as usize] as char;
            rest /= 62;
            sign
        })
        .collect();
}

struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fitted(quirks: &Quirks, body: Value) -> (Value, usize) {
        let mut losses = Losses::default();
        let Value::Object(mut body) = body else {
            panic!("a body is an object")
        };
        fit(&mut body, quirks, &mut losses);
        (body.into(), losses.into_vec().len())
    }

    #[test]
    fn ids_of_tools_are_shortened_alike_in_calls_and_results() {
        let quirks = Quirks {
            tool_id_length: 9,
            ..Quirks::default()
        };
        let ids = |id: &str| {
            let body = json!({"messages": [{"role": "assistant", "tool_calls": [{"id": id, "function": {}}]},
                {"role": "tool", "tool_call_id": id}]});
            let (fitted, losses) = fitted(&quirks, body);
            assert_eq!(losses, 0);
            let [call, result] = ["/messages/0/tool_calls/0/id", "/messages/1/tool_call_id"]
                .map(|at| fitted.pointer(at).unwrap().as_str().unwrap().to_owned());
            assert_eq!(call, result);
            call
        };
        assert_eq!(ids("D681PevKs"), "D681PevKs", "the provider's own");
        let made: std::collections::BTreeSet<String> =
            ["toolu_01A", "toolu_01B", "call_1", "D681Pev-s"].map(ids).into();
        assert_eq!(made.len(), 4);
        for id in made {
            assert!(
                id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{id}"
            );
        }
        assert_eq!(ids("toolu_01A"), "5hJXTcYN8", "in every version the same");
    }

    #[test]
    fn thinking_is_switched_off_in_the_providers_word() {
        let quirks = Quirks {
            thinking_switch: true,
            ..Quirks::default()
        };
        let off = json!({"thinking": {"type": "disabled"}});
        assert_eq!(fitted(&quirks, json!({"reasoning_effort": "none"})), (off, 0));
        let low = json!({"reasoning_effort": "low"});
        assert_eq!(fitted(&quirks, low.clone()), (low, 0));
        let none = json!({"reasoning_effort": "none"});
        assert_eq!(fitted(&Quirks::default(), none.clone()), (none, 0));
    }

    #[test]
    fn members_are_taken_out_of_messages_and_functions() {
        let quirks = Quirks {
            message_unsupported: vec!["name".to_owned()],
            function_unsupported: vec!["strict".to_owned()],
            ..Quirks::default()
        };
        let body = json!({"messages": [{"role": "user", "name": "ann", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "strict": true}}, {"type": "custom"}]});
        let left = json!({"messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom"}]});
        assert_eq!(fitted(&quirks, body), (left, 2));
    }
}
