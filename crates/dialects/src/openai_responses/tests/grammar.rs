//! The order of a stream's events, checked.

use std::collections::HashMap;

use serde_json::Value;

/// Checks a client's stream, and gives its last event's response.
pub(super) fn check(stream: &str) -> Value {
    let mut open: HashMap<u64, Value> = HashMap::new();
    let mut parts: HashMap<(u64, String), (String, String)> = HashMap::new();
    // By their places: what a provider does by itself may be whole after what began later.
    let mut done: std::collections::BTreeMap<u64, Value> = std::collections::BTreeMap::new();
    let mut added = 0;
    let mut last = None;
    for (number, block) in stream.split_terminator("\n\n").enumerate() {
        let (name, data) = block.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let kind = event["type"].as_str().unwrap();
        assert_eq!(name, format!("event: {kind}"));
        assert_eq!(event["sequence_number"], number, "{event}");
        assert!(last.is_none(), "something follows the end: {event}");
        let at = event["output_index"].as_u64();
        match (number, kind) {
            (0, "response.created") | (1, "response.in_progress") => {
                assert_eq!(event["response"]["status"], "in_progress");
                continue;
            }
            (0 | 1, _) => panic!("begins with {event}"),
            (_, "response.completed" | "response.incomplete") => {
                assert!(open.is_empty() && parts.is_empty(), "something is open at the end");
                assert_eq!(event["response"]["output"], done.into_values().collect::<Value>());
                last = Some(event["response"].clone());
                done = std::collections::BTreeMap::new();
                continue;
            }
            (_, "response.output_item.added") => {
                assert!(open.values().all(is_served), "two items are open: {event}");
                assert_eq!(at, Some(added), "{event}");
                added += 1;
                open.insert(at.unwrap(), event["item"].clone());
                continue;
            }
            (_, "response.output_item.done") => {
                let began = open.remove(&at.unwrap()).expect("an item that was added");
                assert_eq!(
                    (&began["id"], &began["type"]),
                    (&event["item"]["id"], &event["item"]["type"])
                );
                done.insert(at.unwrap(), event["item"].clone());
                continue;
            }
            _ => {}
        }
        let item = &open[&at.unwrap()];
        assert_eq!(item["id"], event["item_id"], "{event}");
        if is_served(item) && !matches!(kind.rsplit_once('.').unwrap().1, "delta" | "done") {
            let name = item["type"].as_str().unwrap();
            assert!(kind.starts_with(&format!("response.{name}.")), "{event}");
            continue;
        }
        let place = event.get("content_index").or(event.get("summary_index"));
        let key = (at.unwrap(), place.map_or_else(|| "call".to_owned(), Value::to_string));
        let (what, step) = kind.rsplit_once('.').unwrap();
        match (what, step) {
            ("response.content_part" | "response.reasoning_summary_part", "added") => {
                let none = parts.insert(key, (String::new(), String::new()));
                assert!(none.is_none(), "{event}");
            }
            ("response.content_part" | "response.reasoning_summary_part", "done") => {
                let (told, whole) = parts.remove(&key).unwrap();
                let part = &event["part"];
                let text = part.get("text").or(part.get("refusal")).unwrap();
                assert_eq!(
                    (told.as_str(), whole.as_str()),
                    (text.as_str().unwrap(), text.as_str().unwrap())
                );
            }
            (_, "delta") => {
                if key.1 == "call" {
                    parts.entry(key.clone()).or_default();
                }
                let told = &mut parts.get_mut(&key).expect("a part that was added").0;
                told.push_str(event["delta"].as_str().unwrap());
            }
            ("response.output_text.annotation", "added") => assert!(parts.contains_key(&key), "{event}"),
            (_, "done") => {
                let names = ["text", "refusal", "arguments", "input", "code"];
                let text = names.iter().find_map(|name| event[name].as_str()).unwrap();
                if key.1 == "call" {
                    let told = parts.remove(&key).map(|(told, _)| told).unwrap_or_default();
                    assert_eq!(told, text);
                } else {
                    text.clone_into(&mut parts.get_mut(&key).unwrap().1);
                }
            }
            _ => panic!("unknown: {event}"),
        }
    }
    last.expect("an end")
}

/// Whether it is something that a provider did.
fn is_served(item: &Value) -> bool {
    matches!(
        item["type"].as_str(),
        Some("web_search_call" | "code_interpreter_call" | "mcp_call")
    )
}
