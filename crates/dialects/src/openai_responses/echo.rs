//! What an answer repeats of its request.
//!
//! A response object says the settings that it was made with; SDKs require some of these members. They are what the client
//! sent, word for word, and the API's default where it sent nothing.

use serde_json::{Map, Value, json};

/// Members that are repeated, with their defaults, in the order in which the API writes them.
fn defaults() -> [(&'static str, Value); 22] {
    [
        ("background", false.into()),
        ("conversation", Value::Null),
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("parallel_tool_calls", true.into()),
        ("previous_response_id", Value::Null),
        ("prompt", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("prompt_cache_retention", Value::Null),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("safety_identifier", Value::Null),
        ("service_tier", "auto".into()),
        ("store", true.into()),
        ("temperature", 1.0.into()),
        ("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        ("tool_choice", "auto".into()),
        ("tools", json!([])),
        ("top_logprobs", 0.into()),
        ("top_p", 1.0.into()),
        ("truncation", "disabled".into()),
        ("user", Value::Null),
    ]
}

/// What an answer to this request repeats.
pub(super) fn of(request: &Map<String, Value>) -> Map<String, Value> {
    let mut echo = Map::new();
    for (name, default) in defaults() {
        let sent = request.get(name).filter(|value| !value.is_null());
        let value = match (name, sent) {
            ("conversation" | "prompt", None) => continue,
            (_, None) => default,
            // Named by its id alone, it is repeated as an object.
            ("conversation", Some(Value::String(id))) => json!({"id": id}),
            ("reasoning" | "text", Some(Value::Object(members))) => completed(members, default),
            (_, Some(value)) => value.clone(),
        };
        echo.insert(name.to_owned(), value);
    }
    let metadata = request.get("metadata").filter(|value| value.is_object());
    echo.insert("metadata".to_owned(), metadata.cloned().unwrap_or_else(|| json!({})));
    echo
}

/// The members, and those defaults that they do not override.
fn completed(members: &Map<String, Value>, default: Value) -> Value {
    let mut all = members.clone();
    if let Value::Object(default) = default {
        for (name, value) in default {
            all.entry(name).or_insert(value);
        }
    }
    Value::Object(all)
}

/// Whether a response object has this member because its request had.
pub(super) fn is_repeated(name: &str) -> bool {
    name == "metadata" || defaults().iter().any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_repeated_and_the_rest_is_the_default() {
        let request = json!({
            "model": "m", "input": "secret", "temperature": 0.5, "instructions": "be brief", "conversation": "conv_1",
            "text": {"format": {"type": "json_object"}}, "store": null, "tools": [{"type": "web_search"}],
        });
        let echo = of(request.as_object().unwrap());
        assert_eq!(echo["temperature"], 0.5);
        assert_eq!(
            echo["text"],
            json!({"format": {"type": "json_object"}, "verbosity": "medium"})
        );
        assert_eq!(echo["conversation"], json!({"id": "conv_1"}));
        assert_eq!((&echo["store"], &echo["metadata"]), (&json!(true), &json!({})));
        assert_eq!(echo["tools"], json!([{"type": "web_search"}]));
        assert!(!echo.contains_key("input") && !echo.contains_key("model"));
    }
}
