//! What a function said, as the object that Gemini wants and as the text that everybody else has.
//!
//! `{"output": …}` and `{"error": …}` are Google's own words for what a function said and how it failed; any other object
//! is what it said as a whole. A text that is itself a JSON object is sent as that object, since models read it better
//! than JSON inside a string; but only if nothing of it would change on the way (members twice, characters that need not be escaped).

use serde_json::{Map, Value, json};

/// The text, and whether it tells a failure.
pub(crate) fn read(response: Map<String, Value>) -> (String, Option<bool>) {
    let only = response.iter().next().filter(|_| response.len() == 1);
    if let Some((name, Value::String(text))) = only {
        match name.as_str() {
            "output" if exact_object(text).is_none() => return (text.clone(), None),
            "error" => return (text.clone(), Some(true)),
            _ => {}
        }
    }
    (Value::Object(response).to_string(), None)
}

/// The object that says this.
pub(crate) fn write(text: &str, is_error: Option<bool>) -> Value {
    if is_error == Some(true) {
        return json!({"error": text});
    }
    match exact_object(text) {
        Some(object) => object,
        None => json!({"output": text}),
    }
}

/// The object that the text is, if it says the same when it is written again.
fn exact_object(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value: Value = crate::hub::nested::read(text.as_bytes()).ok()?;
    let again = value.to_string();
    without_space(text).eq(again.bytes()).then_some(value)
}

/// The bytes of JSON without the white space between its tokens.
fn without_space(text: &str) -> impl Iterator<Item = u8> {
    let (mut in_string, mut escaped) = (false, false);
    text.bytes().filter(move |byte| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(object: Value) -> Value {
        let Value::Object(members) = object else {
            return Value::Null;
        };
        let (text, is_error) = read(members);
        write(&text, is_error)
    }

    #[test]
    fn objects_come_back_and_texts_are_output() {
        for object in [
            json!({"output": "sunny"}),
            json!({"error": "not found"}),
            json!({"error": "{\"a\":1}"}),
            json!({"output": "{\"a\":1}"}),
            json!({"output": [1, 2]}),
            json!({"result": "sunny"}),
            json!({"temperature": 20.5, "unit": "C", "nested": {"a b": [null, true, "\"q\" \\ "]}}),
            json!({}),
        ] {
            assert_eq!(round(object.clone()), object);
        }
        assert_eq!(write("sunny", None), json!({"output": "sunny"}));
        assert_eq!(write("sunny", Some(true)), json!({"error": "sunny"}));
        assert_eq!(
            write("{\"a\": 1,\n \"b\": \"x y\"}", Some(false)),
            json!({"a": 1, "b": "x y"})
        );
        let exact = r#"{"id":123456789012345678901234567890,"price":1.10}"#;
        assert_eq!(write(exact, None).to_string(), exact);
    }

    #[test]
    fn what_would_change_stays_text() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":"\u0041"}"#, "[1]", "{"] {
            assert_eq!(write(text, None), json!({"output": text}));
        }
    }
}
