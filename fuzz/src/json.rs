//! `serde_json` as the second opinion on JSON.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The members of an object in the order written, each value as its text, whose address says where it stands.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'a> Visitor<'a> for Read {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// The members of an object, if serde can read it: its grammar is right, and no key is a lone surrogate.
pub fn members(text: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_slice::<Members<'_>>(text)
        .ok()
        .map(|members| members.0)
}

/// Whether the grammar is right, at any depth and with any numbers.
pub fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Whether it is JSON and an object.
pub fn is_object(text: &[u8]) -> bool {
    is_json(text) && text.trim_ascii_start().starts_with(b"{")
}

/// A document in which no object has a key twice, so that all readers agree on it.
#[derive(Debug)]
struct Unambiguous(Value);

impl<'a> Deserialize<'a> for Unambiguous {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let inner = |error: serde_json::Error| D::Error::custom(error);
        let value = match raw.as_bytes().first() {
            Some(b'{') => {
                let mut map = Map::new();
                for (key, value) in serde_json::from_str::<Members<'_>>(raw).map_err(inner)?.0 {
                    let value = serde_json::from_str::<Self>(value.get()).map_err(inner)?;
                    if map.insert(key, value.0).is_some() {
                        return Err(D::Error::custom("a key is there twice"));
                    }
                }
                Value::Object(map)
            }
            Some(b'[') => {
                let elements: Vec<Self> = serde_json::from_str(raw).map_err(inner)?;
                Value::Array(elements.into_iter().map(|element| element.0).collect())
            }
            _ => serde_json::from_str(raw).map_err(inner)?,
        };
        Ok(Self(value))
    }
}

/// The value, if serde reads it and no key is there twice.
pub fn unambiguous(text: &[u8]) -> Option<Value> {
    // Each level is read again for its members: quadratic in the depth, so deep ones are left out.
    if depth(text) > 24 {
        return None;
    }
    serde_json::from_slice::<Unambiguous>(text).ok().map(|value| value.0)
}

/// At least as many levels as there are: brackets in strings count, too.
pub fn depth(text: &[u8]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    // A string with closing brackets hides opening ones.
    if text.contains(&b'"') {
        most.max(text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count())
    } else {
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_twice_are_told_at_any_depth() {
        assert!(unambiguous(br#"{"a":[{"b":1,"b":2}]}"#).is_none());
        assert_eq!(unambiguous(br#"{"a":[{"b":1}]}"#).unwrap()["a"][0]["b"], 1);
        let members = members(br#"{"a":1,"a": "x" }"#).unwrap();
        let texts: Vec<&str> = members.iter().map(|(_, value)| value.get()).collect();
        assert_eq!(texts, ["1", "\"x\""]);
    }

    #[test]
    fn grammar_is_judged_beyond_what_a_value_holds() {
        assert!(is_json(b"1e999") && is_json(br#""\ud800""#));
        assert!(!is_json(b"{\"a\":01}") && !is_json(b"\"\x01\"") && !is_json(b"\xff"));
    }
}
