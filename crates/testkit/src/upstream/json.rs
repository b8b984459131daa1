//! JSON text with its keys in the order written.
//!
//! `serde_json::Value` sorts keys; providers do not. A gateway that scans bytes must meet `usage` after `choices` and
//! `model` in the middle, as in real traffic, so bodies are built as text. (`serde_json`'s `preserve_order` would do it
//! too, but Cargo would switch it on for the code under test as well.)

use serde::Serialize;
use serde_json::value::RawValue;

/// Finished JSON text; serializes as itself.
pub(crate) type Text = Box<RawValue>;

/// An object being written.
#[derive(Debug, Default)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&text(key));
        self.0.push(':');
        self.0.push_str(&text(value));
    }

    /// A value exactly as it is.
    pub(crate) fn verbatim(value: &serde_json::Value) -> Text {
        RawValue::from_string(text(value)).expect("a JSON value is JSON")
    }

    pub(crate) fn finish(mut self) -> Text {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        RawValue::from_string(self.0).expect("an object of serialized fields is JSON")
    }
}

/// The JSON text of `value`.
pub(crate) fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("the testkit's own values serialize")
}

/// `object! { "key": value, … }`: JSON text with the keys in this order; values are anything that serializes.
macro_rules! object {
    ($($key:literal : $value:expr),* $(,)?) => {{
        #[allow(unused_mut, clippy::allow_attributes, reason = "an empty object is not changed")]
        let mut object = $crate::upstream::json::Object::default();
        $(object.field($key, &$value);)*
        object.finish()
    }};
}
pub(crate) use object;

#[cfg(test)]
mod tests {
    #[test]
    fn keeps_the_order_and_escapes() {
        let inner = object! { "z": 1, "a": "q\"" };
        let outer = object! { "y": inner, "b": [object! {}] };
        assert_eq!(outer.get(), r#"{"y":{"z":1,"a":"q\""},"b":[{}]}"#);
    }
}
