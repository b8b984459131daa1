//! JSON that is nested deeper than its reader goes by itself.
//!
//! `serde_json` stops at 128 levels, so that no input can exhaust a stack. What a model gives to a tool may be deeper: a
//! syntax tree, a document. An answer that cannot be told because of that was paid for and is of no use to anybody. So what
//! the reader refuses is measured, without recursion, and read all the same up to a bound for which every stack has room.

use serde::Deserialize as _;
use serde_json::{Deserializer, Map, Value};

use crate::json::Cursor;
use crate::limits::NESTED_MAX;

/// Reads JSON up to [`NESTED_MAX`] levels deep.
pub(crate) fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| {
        if !is_readable(text) {
            return Err(error);
        }
        let mut reader = Deserializer::from_slice(text);
        reader.disable_recursion_limit();
        let value = Value::deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    })
}

/// Reads the arguments of a tool; `None`: they are no object.
pub(crate) fn object(text: &str) -> Option<Map<String, Value>> {
    match read(text.as_bytes()) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// Whether a value is nested deeper than this.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else {
        return matches!(value, Value::Array(_) | Value::Object(_));
    };
    match value {
        Value::Array(elements) => elements.iter().any(|element| is_deeper(element, left)),
        Value::Object(members) => members.values().any(|member| is_deeper(member, left)),
        _ => false,
    }
}

/// Whether it is JSON, and depth is all that the reader can have against it.
fn is_readable(text: &[u8]) -> bool {
    let is_json = std::str::from_utf8(text).is_ok() && Cursor::strict(text).skip().is_ok();
    is_json && levels(text) <= NESTED_MAX
}

/// How deep well-formed JSON is nested.
fn levels(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2))
    }

    #[test]
    fn what_is_deep_is_read_up_to_the_bound() {
        for depth in [2, 126, 128, 130, NESTED_MAX] {
            let text = nested(depth);
            assert_eq!(read(text.as_bytes()).unwrap().to_string(), text, "{depth}");
            assert!(object(&text).is_some());
        }
        for deeper in [NESTED_MAX + 2, 1_000_000] {
            assert!(read(nested(deeper).as_bytes()).is_err());
        }
    }

    #[test]
    fn brackets_in_texts_are_no_levels() {
        let text = format!(r#"{{"a":"{}\"{{","b":[[1]]}}"#, "[{".repeat(1_000));
        assert_eq!(levels(text.as_bytes()), 3);
        assert!(read(text.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_json_is_refused_at_any_depth() {
        let good = nested(200);
        for bad in [
            &good[..good.len() - 1],
            &format!("{good}]"),
            &good.replace("[]", "[,]"),
            "",
            "[\u{1}",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// On three quarters of what a thread of the server has, and without optimisation, which would need a third of it.
    #[test]
    fn the_bound_leaves_room_on_the_stack() {
        let thread = std::thread::Builder::new().stack_size(1536 * 1024).spawn(|| {
            let value = read(nested(NESTED_MAX).as_bytes()).unwrap();
            let copy = value.clone();
            assert_eq!(value, copy);
            copy.to_string().len()
        });
        assert_eq!(thread.unwrap().join().unwrap(), nested(NESTED_MAX).len());
    }
}
