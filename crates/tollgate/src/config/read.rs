//! From a [`Node`] to a type, through the type's own `Deserialize`.
//!
//! The types of `domain::declaration` stay the only definition of what a resource looks like; this reader adds what a
//! person with an editor needs: each mistake has a place and a path, an unknown key has a suggestion, and no message
//! quotes a value that came from a variable.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::mistake::{Mistake, Mistakes};
use super::suggest::hint;
use super::tree::{Entry, Node, Place, Scalar, Value};

/// A wrong value is quoted up to this length; a longer one may be a secret in the wrong place.
const QUOTED_MAX: usize = 16;

/// Reads `node`, which stands at `path`. On failure the mistakes are added and nothing is returned.
pub fn read<'de, T: Deserialize<'de>>(node: &'de Node, path: &str, mistakes: &mut Mistakes) -> Option<T> {
    match T::deserialize(Reader {
        node,
        path: path.to_owned(),
    }) {
        Ok(value) => Some(value),
        Err(Error(found)) => {
            mistakes.all.extend(found);
            None
        }
    }
}

/// Mistakes on their way up. The place is filled in by the nearest reader that knows one.
#[derive(Debug)]
struct Error(Vec<Mistake>);

impl Error {
    fn bare(message: impl fmt::Display) -> Self {
        Self(vec![Mistake::at(Place::Nowhere, message.to_string())])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mistake| f.write_str(&mistake.message))
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::bare(message)
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::bare(format_args!("takes {expected}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::bare(format_args!("takes {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::bare(format_args!("the key `{field}` is missing; add it"))
    }
}

struct Reader<'de> {
    node: &'de Node,
    path: String,
}

impl<'de> Reader<'de> {
    fn mistake(&self, message: impl Into<String>) -> Error {
        Error(vec![Mistake::of(self.node.at.clone(), self.path.clone(), message)])
    }

    /// Gives what the visitor found wrong its place, and takes expanded values out of it.
    fn located<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|Error(found)| {
            Error(
                found
                    .into_iter()
                    .map(|mistake| {
                        if mistake.path.is_empty() {
                            self.locate(mistake)
                        } else {
                            mistake
                        }
                    })
                    .collect(),
            )
        })
    }

    fn locate(&self, mistake: Mistake) -> Mistake {
        let mut message = mistake.message;
        if let Value::Scalar(Scalar {
            text,
            written: Some(written),
            ..
        }) = &self.node.value
            && !text.is_empty()
        {
            message = message.replace(text.as_str(), written);
        }
        Mistake::of(self.node.at.clone(), self.path.clone(), message)
    }

    fn scalar(&self, takes: &str) -> Result<&'de Scalar, Error> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_null() => {
                Err(self.mistake(format!("has no value; it takes {takes}, or remove the key")))
            }
            Value::Scalar(scalar) => Ok(scalar),
            Value::List(_) => Err(self.mistake(format!("takes {takes}, not a list"))),
            Value::Map(_) => Err(self.mistake(format!("takes {takes}, not a mapping"))),
        }
    }

    fn entries(&self) -> Result<&'de [Entry], Error> {
        match &self.node.value {
            Value::Map(entries) => Ok(entries),
            Value::Scalar(scalar) if scalar.is_null() => Ok(&[]),
            _ => Err(self.mistake("takes a mapping, such as {key: value}")),
        }
    }

    fn number<T: std::str::FromStr>(&self, takes: &str) -> Result<T, Error> {
        let scalar = self.scalar(takes)?;
        scalar
            .text
            .parse()
            .map_err(|_| self.mistake(format!("{}takes {takes}", quoted(scalar))))
    }

    fn map<V: Visitor<'de>>(&self, entries: &'de [Entry], visitor: V) -> Result<V::Value, Error> {
        self.located(visitor.visit_map(Entries {
            rest: entries.iter(),
            value: None,
            path: &self.path,
        }))
    }
}

/// `` `abc` ``, where it may be shown, followed by a space.
fn quoted(scalar: &Scalar) -> String {
    let shown = scalar.written.as_deref().unwrap_or(&scalar.text);
    if shown.chars().count() <= QUOTED_MAX {
        format!("`{shown}` is not right: it ")
    } else {
        String::new()
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number: $type = self.number(&format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX))?;
            self.located(visitor.$visit(number))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Error;

    /// What the text looks like: asked for by types that take anything, such as JSON parameters.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) if !scalar.plain => self.located(visitor.visit_borrowed_str(&scalar.text)),
            Value::Scalar(scalar) if scalar.is_null() => self.located(visitor.visit_unit()),
            Value::Scalar(scalar) => self.located(guess(&scalar.text, visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar("true or false")?;
        let named = matches!(self.node.at, Place::Named(_));
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" => self.located(visitor.visit_bool(true)),
            "false" | "False" | "FALSE" => self.located(visitor.visit_bool(false)),
            "1" | "yes" | "on" if named => self.located(visitor.visit_bool(true)),
            "0" | "no" | "off" if named => self.located(visitor.visit_bool(false)),
            _ => Err(self.mistake(format!("{}takes true or false", quoted(scalar)))),
        }
    }

    whole_numbers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = self.number("a number")?;
        self.located(visitor.visit_f64(number))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar("a text")?;
        self.located(visitor.visit_borrowed_str(&scalar.text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_null() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(elements) => self.located(visitor.visit_seq(Elements {
                rest: elements.iter(),
                index: 0,
                path: &self.path,
            })),
            Value::Scalar(scalar) if scalar.is_null() => {
                self.located(visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<&str>())))
            }
            // A variable or a flag cannot hold a list; commas stand in for one.
            Value::Scalar(scalar) if matches!(self.node.at, Place::Named(_)) => {
                let words = scalar.text.split(',').map(str::trim).filter(|word| !word.is_empty());
                self.located(visitor.visit_seq(de::value::SeqDeserializer::new(words)))
            }
            _ => Err(self.mistake("takes a list, such as [a, b]")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = self.entries()?;
        self.map(entries, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries = self.entries()?;
        let unknown: Vec<Mistake> = entries
            .iter()
            .filter(|entry| !fields.contains(&entry.key.as_str()))
            .map(|entry| unknown_key(entry, &self.path, fields))
            .collect();
        if unknown.is_empty() {
            self.map(entries, visitor)
        } else {
            Err(Error(unknown))
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let scalar = self.scalar(&format!("one of {}", variants.join(", ")))?;
        if !variants.contains(&scalar.text.as_str()) {
            let shown = scalar.written.as_deref().unwrap_or(&scalar.text);
            let short = shown.chars().count() <= 2 * QUOTED_MAX;
            let what = if short {
                format!("`{shown}` is not known")
            } else {
                "the value is not known".to_owned()
            };
            return Err(self.mistake(format!("{what}{}", hint(&scalar.text, variants))));
        }
        let variant: de::value::StrDeserializer<'_, Error> = scalar.text.as_str().into_deserializer();
        self.located(visitor.visit_enum(variant))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier }
}

/// The mistake of a key that does not exist.
pub fn unknown_key(entry: &Entry, path: &str, known: &[&str]) -> Mistake {
    let key = &entry.key;
    let path = join(path, key);
    Mistake::of(
        entry.key_at.clone(),
        path,
        format!("there is no key `{key}` here{}", hint(key, known)),
    )
}

/// `path.key`
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// YAML's core schema: what an unquoted text means.
fn guess<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, Error> {
    match text {
        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
        _ => {}
    }
    let numeric = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'));
    if numeric {
        if let Ok(number) = text.parse::<u64>() {
            return visitor.visit_u64(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return visitor.visit_i64(number);
        }
        if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            return visitor.visit_f64(number);
        }
    }
    visitor.visit_borrowed_str(text)
}

struct Elements<'a, 'de> {
    rest: std::slice::Iter<'de, Node>,
    index: usize,
    path: &'a str,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let path = format!("{}[{}]", self.path, self.index);
        self.index += 1;
        let reader = Reader {
            node,
            path: path.clone(),
        };
        Reader { node, path }.located(seed.deserialize(reader)).map(Some)
    }
}

struct Entries<'a, 'de> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Entry>,
    path: &'a str,
}

impl<'de> de::MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: de::value::StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|Error(found)| {
            let path = join(self.path, &entry.key);
            Error(
                found
                    .into_iter()
                    .map(|m| Mistake::of(entry.key_at.clone(), path.clone(), m.message))
                    .collect(),
            )
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some(entry) = self.value.take() else {
            return Err(Error::bare("a key without a value"));
        };
        let path = join(self.path, &entry.key);
        let reader = Reader {
            node: &entry.value,
            path: path.clone(),
        };
        Reader {
            node: &entry.value,
            path,
        }
        .located(seed.deserialize(reader))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::Money;
    use domain::declaration::{ModelDecl, Strategy, TimeoutsDecl};
    use domain::price::PriceDecl;

    use super::*;
    use crate::config::{environment::Environment, expand::expand, yaml};

    fn reading<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, String> {
        let mut node = yaml::parse(text).unwrap();
        let mut mistakes = Mistakes::default();
        expand(
            &mut node,
            &Environment::of([("SECRET", "hunter2hunter2")]),
            &mut mistakes,
        );
        read(&node, "it", &mut mistakes).ok_or_else(|| mistakes.to_string())
    }

    #[test]
    fn prices_are_read_as_decimals() {
        for (text, nanos) in [
            ("0.1", 100_000_000),
            ("2.50", 2_500_000_000),
            ("10", 10_000_000_000),
            ("\"0.000000001\"", 1),
        ] {
            let price: PriceDecl = reading(&format!("input: {text}")).unwrap();
            assert_eq!(price.input, Money::from_nanos(nanos), "{text}");
        }
        // The largest amount has more digits than a binary fraction can hold.
        let price: PriceDecl = reading("input: 9007199.254740993").unwrap();
        assert_eq!(price.input.nanos(), 9_007_199_254_740_993);
    }

    #[test]
    fn what_is_not_a_decimal_is_refused() {
        assert_eq!(
            reading::<PriceDecl>("input: 1e-3").unwrap_err(),
            "1:8: `it.input`: `1e-3` is not a decimal number of dollars such as 10.50"
        );
        assert!(reading::<PriceDecl>("input: .inf").unwrap_err().contains("1:8"));
        assert!(
            reading::<PriceDecl>("input: 0x10")
                .unwrap_err()
                .contains("not a decimal")
        );
    }

    #[test]
    fn mistakes_have_place_path_and_mend() {
        for (text, expected) in [
            (
                "name: m\ntargets:\n  - {upstraem: a}\n",
                "3:6: `it.targets[0].upstraem`: there is no key `upstraem` here; did you mean `upstream`?",
            ),
            ("name: m\n", "1:1: `it`: the key `targets` is missing; add it"),
            (
                "name: m\ntargets: a\n",
                "2:10: `it.targets`: takes a list, such as [a, b]",
            ),
            (
                "name: m\ntargets: []\nmax_output: many\n",
                "3:13: `it.max_output`: `many` is not right: it takes a whole number from 0 to 18446744073709551615",
            ),
            (
                "name: m\ntargets: []\nstrategy: wieghted\n",
                "3:11: `it.strategy`: `wieghted` is not known; did you mean `weighted`?",
            ),
            (
                "name:\ntargets: []\n",
                "1:5: `it.name`: has no value; it takes a text, or remove the key",
            ),
            (
                "name: m\ntargets: []\nfree: sure\n",
                "3:7: `it.free`: `sure` is not right: it takes true or false",
            ),
        ] {
            assert_eq!(reading::<ModelDecl>(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn expanded_values_are_never_quoted() {
        for text in ["connect: ${SECRET}", "connect: a ${SECRET}"] {
            let mistake = reading::<TimeoutsDecl>(text).unwrap_err();
            assert!(
                !mistake.contains("hunter2") && mistake.contains("${SECRET}"),
                "{mistake}"
            );
        }
        let mistake = reading::<Vec<Strategy>>("[\"${SECRET}\"]").unwrap_err();
        assert!(!mistake.contains("hunter2"), "{mistake}");
        assert!(!reading::<Vec<u8>>("[\"${SECRET}\"]").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_quoted() {
        assert!(
            !reading::<ModelDecl>("sk-verysecretindeed-0123456789")
                .unwrap_err()
                .contains("verysecret")
        );
        assert!(
            !reading::<Vec<u32>>("[sk-verysecretindeed-0123456789]")
                .unwrap_err()
                .contains("verysecret")
        );
    }

    #[test]
    fn free_values_follow_yaml() {
        let values: BTreeMap<String, serde_json::Value> =
            reading("a: 1\nb: \"1\"\nc: 0.5\nd: true\ne: [x, null]\nf: {g: -2}\nh: 10.0.0.1\n").unwrap();
        assert_eq!(
            serde_json::to_string(&values).unwrap(),
            r#"{"a":1,"b":"1","c":0.5,"d":true,"e":["x",null],"f":{"g":-2},"h":"10.0.0.1"}"#
        );
    }
}
