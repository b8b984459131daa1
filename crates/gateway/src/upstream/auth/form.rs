//! Bodies of token requests: `application/x-www-form-urlencoded`.

/// Writes names and values.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(&percent(value.as_bytes(), b"-._~"));
    }
    out
}

/// Letters, digits and the bytes of `kept` stay as they are; all others become `%XX`.
pub(super) fn percent(text: &[u8], kept: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || kept.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        assert_eq!(form(&[("a", "x y"), ("b", "1+&ü~")]), "a=x%20y&b=1%2B%26%C3%BC~");
    }
}
