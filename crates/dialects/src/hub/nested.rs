//! JSON as a tree: of what is nested deeper than its reader goes by itself, and of what looks like the reader's own words.
//!
//! `serde_json` stops at 128 levels, so that no input can exhaust a stack. What a model gives to a tool may be deeper: a
//! syntax tree, a document. An answer that cannot be told because of that was paid for and is of no use to anybody. So what
//! the reader refuses is measured, without recursion, and read all the same up to a bound for which every stack has room.
//!
//! `serde_json` hands itself numbers and raw text as objects with one member of a name of its own, and takes a peer's object
//! with that name for one (<https://github.com/serde-rs/json/issues/1001>): a text inside would become part of the tree, after
//! everything that looked at the body has seen an object. So texts that may hold such a name are made a tree of by the cursor,
//! which has no words of its own. Whatever a peer sent is read here, and never by `serde_json::from_slice::<Value>`.

use memchr::memmem;
use serde::Deserialize as _;
use serde::de::{Error as _, IgnoredAny};
use serde_json::{Deserializer, Error, Map, Number, Value};

use crate::json::{Cursor, Kind, Syntax};
use crate::limits::NESTED_MAX;

/// How the names begin by which `serde_json` knows its own objects.
const RESERVED: &[u8] = b"$serde_json::private::";

/// Reads JSON that a peer sent, up to 400 levels deep, each member under the name that it has.
///
/// # Errors
/// It is no JSON, or nested deeper.
pub fn read(text: &[u8]) -> Result<Value, Error> {
    if may_be_reserved(text) {
        return read_literally(text);
    }
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

/// Whether a name of the reader's may be in it, spelt out or with escapes.
fn may_be_reserved(text: &[u8]) -> bool {
    memmem::find(text, RESERVED).is_some()
        || memmem::find_iter(text, b"\\u00").any(|at| matches!(text.get(at + 4), Some(b'2'..=b'7')))
}

/// Reads every member under the name that it has.
fn read_literally(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice::<IgnoredAny>(text).map(drop).or_else(|error| {
        // What is only deep passes.
        if is_readable(text) { Ok(()) } else { Err(error) }
    })?;
    if !is_readable(text) {
        return Err(Error::custom("nested too deep, or not UTF-8"));
    }
    let mut cursor = Cursor::strict(text);
    let value = literal(&mut cursor).map_err(|error| error.0)?;
    cursor.end().map_err(|error| Unread::from(error).0)?;
    Ok(value)
}

/// An error of either reader.
struct Unread(Error);

impl From<Syntax> for Unread {
    fn from(error: Syntax) -> Self {
        Self(Error::custom(error.what))
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

fn literal(cursor: &mut Cursor<'_>) -> Result<Value, Unread> {
    match cursor.kind()? {
        Kind::Object => {
            let mut members = Map::new();
            cursor.object(|name, value| {
                let value = literal(value)?;
                members.insert(String::from_utf8_lossy(name).into_owned(), value);
                Ok::<(), Unread>(())
            })?;
            Ok(Value::Object(members))
        }
        Kind::Array => {
            let mut elements = Vec::new();
            cursor.array(|element| {
                elements.push(literal(element)?);
                Ok::<(), Unread>(())
            })?;
            Ok(Value::Array(elements))
        }
        // Texts and numbers are what the reader says: they are nothing else to it.
        Kind::String => Ok(Value::String(serde_json::from_slice(scalar(cursor)?)?)),
        Kind::Number => Ok(Value::Number(serde_json::from_slice::<Number>(scalar(cursor)?)?)),
        Kind::Bool | Kind::Null => Ok(serde_json::from_slice(scalar(cursor)?)?),
    }
}

fn scalar<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Syntax> {
    let span = cursor.skip()?;
    Ok(cursor.slice(span))
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
    use proptest::prelude::*;

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

    /// What the scan saw as an object stays one: a name of the reader's is a name like any other.
    #[test]
    fn names_of_the_reader_are_names() {
        for name in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
            "\\u0024serde_json::private::RawValue",
            "$serde_json::private::\\u004eumber",
        ] {
            for inside in [r#""\"file-A\"""#, r#""1.5""#, r#""abc""#, "7", r#""[[[[]]]]""#] {
                let text = format!(r#"{{"id":{{"{name}":{inside}}},"n":[1.50,-0,true,null]}}"#);
                let value = read(text.as_bytes()).unwrap();
                let own = value["id"].as_object().unwrap();
                assert!(
                    own.keys().all(|name| name.starts_with("$serde_json::private::")),
                    "{value}"
                );
                assert_eq!(own.values().next().unwrap().to_string(), inside);
                assert_eq!(value["n"].to_string(), "[1.50,-0,true,null]");
            }
        }
    }

    #[test]
    fn a_name_of_the_reader_makes_nothing_readable_that_is_not() {
        let name = r#"{"$serde_json::private::RawValue":"#;
        let deeper = format!("{}1{}", name.repeat(NESTED_MAX + 2), "}".repeat(NESTED_MAX + 2));
        for bad in [
            &*deeper,
            r#"{"$serde_json::private::Number":"1""#,
            r#"{"$serde_json::private::Number":"\ud800"}"#,
            r#"{"$serde_json::private::Number":1}}"#,
            "{\"$serde_json::private::Number\":\"\u{1}\"}",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let latin: &[u8] = b"{\"$serde_json::private::Number\":\"\xff\"}";
        assert!(read(latin).is_err());
        assert_eq!(read(br#"["\u003c\u00e9"]"#).unwrap()[0], "<\u{e9}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        /// Both readers read the same where there are no such names.
        #[test]
        fn the_cursor_makes_the_same_tree(value in any_json()) {
            let text = value.to_string();
            proptest::prop_assert_eq!(read_literally(text.as_bytes()).unwrap().to_string(), text);
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
