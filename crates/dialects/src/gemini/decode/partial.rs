//! Arguments of a function call that Vertex streams in pieces (`streamFunctionCallArguments`): each piece is a value, or
//! the next words of a text, at a JSON path (RFC 9535, of which only names and places occur).

use serde_json::{Map, Value};

use crate::limits::DEPTH_MAX;

/// The arguments so far.
#[derive(Debug, Default)]
pub(super) struct PartialArgs {
    value: Value,
    /// The path of a text of which more is announced.
    continuing: Option<String>,
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Place(usize),
}

impl PartialArgs {
    /// Takes a `partialArgs` element. `false`: it is malformed.
    pub(super) fn push(&mut self, piece: &Value) -> bool {
        let Some(path) = piece.get("jsonPath").and_then(Value::as_str) else {
            return false;
        };
        let Some(steps) = steps(path) else { return false };
        let Some(slot) = slot(&mut self.value, &steps) else {
            return false;
        };
        let goes_on = self.continuing.take().as_deref() == Some(path);
        match (slot, piece.get("stringValue").and_then(Value::as_str)) {
            (Value::String(text), Some(more)) if goes_on => text.push_str(more),
            (slot, Some(text)) => *slot = text.into(),
            (slot, None) => *slot = plain(piece),
        }
        if piece.get("willContinue") == Some(&Value::Bool(true)) {
            self.continuing = Some(path.to_owned());
        }
        true
    }

    /// The arguments as JSON text.
    pub(super) fn into_text(self) -> String {
        match self.value {
            Value::Null => "{}".to_owned(),
            value => value.to_string(),
        }
    }
}

fn plain(piece: &Value) -> Value {
    if let Some(flag) = piece.get("boolValue") {
        return flag.clone();
    }
    // A double that is a whole number was written as one.
    match piece.get("numberValue").cloned() {
        Some(Value::Number(number)) => match number.as_f64() {
            Some(double) if double.fract() == 0.0 && double.abs() < 9_007_199_254_740_992.0 => (double as i64).into(),
            _ => Value::Number(number),
        },
        _ => Value::Null,
    }
}

/// `$.a[0]['b c']` as steps.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() >= DEPTH_MAX as usize {
            return None;
        }
        let (step, after) = if let Some(inside) = rest.strip_prefix('[') {
            bracket(inside)?
        } else {
            let named = rest.strip_prefix('.')?;
            let (name, after) = named.split_at(named.find(['.', '[']).unwrap_or(named.len()));
            (Step::Name(name.to_owned()), after)
        };
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

/// The step that a bracket holds, and what follows it.
fn bracket(inside: &str) -> Option<(Step, &str)> {
    let Some(quote) = inside.chars().next().filter(|first| matches!(first, '\'' | '"')) else {
        let (place, after) = inside.split_once(']')?;
        return Some((Step::Place(place.parse().ok()?), after));
    };
    let mut name = String::new();
    let mut letters = inside.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            _ if letter == quote => {
                let after = inside.get(at + 1..)?.strip_prefix(']')?;
                return Some((Step::Name(name), after));
            }
            _ => name.push(letter),
        }
    }
    None
}

/// Where the path leads; what is not there yet is made. A list grows by one at a time.
fn slot<'a>(root: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    let mut slot = root;
    for step in steps {
        slot = match step {
            Step::Name(name) => {
                if slot.is_null() {
                    *slot = Value::Object(Map::new());
                }
                slot.as_object_mut()?.entry(name.as_str()).or_insert(Value::Null)
            }
            Step::Place(place) => {
                if slot.is_null() {
                    *slot = Value::Array(Vec::new());
                }
                let items = slot.as_array_mut()?;
                if *place == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(*place)?
            }
        };
    }
    Some(slot)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_become_arguments() {
        let mut args = PartialArgs::default();
        for piece in [
            json!({"jsonPath": "$.list[0].amount", "stringValue": "16", "willContinue": true}),
            json!({"jsonPath": "$.list[0].amount", "stringValue": " oz", "willContinue": true}),
            json!({"jsonPath": "$.list[0].amount", "stringValue": ""}),
            json!({"jsonPath": "$.list[1]", "numberValue": 2.0}),
            json!({"jsonPath": "$['a b'][\"it's\"]", "boolValue": true}),
            json!({"jsonPath": "$.none", "nullValue": "NULL_VALUE"}),
            json!({"jsonPath": "$.half", "numberValue": 0.5}),
            json!({"jsonPath": "$.word", "stringValue": "x"}),
            json!({"jsonPath": "$.word", "stringValue": "y"}),
        ] {
            assert!(args.push(&piece), "{piece}");
        }
        assert_eq!(
            args.into_text(),
            r#"{"list":[{"amount":"16 oz"},2],"a b":{"it's":true},"none":null,"half":0.5,"word":"y"}"#
        );
        assert_eq!(PartialArgs::default().into_text(), "{}");
    }

    #[test]
    fn malformed_pieces_are_found() {
        for path in ["", "x", "$x", "$[", "$[1]", "$['a", "$.a[9999999]", "$[-1]", "$['a'"] {
            let mut args = PartialArgs::default();
            assert!(!args.push(&json!({"jsonPath": path, "boolValue": true})), "{path}");
        }
        let mut args = PartialArgs::default();
        assert!(args.push(&json!({"jsonPath": "$.a", "boolValue": true})));
        assert!(!args.push(&json!({"jsonPath": "$.a.b", "boolValue": true})));
        assert!(!args.push(&json!({})));
    }
}
