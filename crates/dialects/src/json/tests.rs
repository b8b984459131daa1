//! The grammar, against the one of `serde_json`; strings and counts.

use proptest::prelude::*;

use super::*;
use crate::limits::COUNT_MAX;

fn whole_value(text: &[u8]) -> Result<(), Syntax> {
    let mut cursor = Cursor::strict(text);
    cursor.skip()?;
    cursor.end()
}

#[test]
fn accepts_and_refuses_what_the_grammar_does() {
    for good in [
        "{}",
        "[]",
        " {\"a\" : [1, -0.5e+3, true, false, null, \"\\u00e9\\n\"]} ",
        "0",
        "\"\"",
        "{\"a\":{\"a\":[[]]}}",
    ] {
        assert_eq!(whole_value(good.as_bytes()), Ok(()), "{good}");
    }
    for bad in [
        "",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "[1 2]",
        "01",
        "1.",
        "-",
        "1e",
        "tru",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "{a:1}",
        "{} {}",
        "\"a\nb\"",
        "{\"a\":1 \"b\":2}",
        "[",
        "\"\\",
    ] {
        assert!(whole_value(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// What is nested is skipped however deep it is, and walked only so deep.
#[test]
fn depth_bounds_what_is_walked() {
    fn walk(value: &mut Cursor<'_>) -> Result<(), Syntax> {
        match value.kind()? {
            Kind::Array => value.array(walk).map(|_| ()),
            _ => value.skip().map(|_| ()),
        }
    }
    let depth = DEPTH_MAX as usize;
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for levels in [1, 63, 64, 65, 127, 128, 129, 1_000, 1_000_000] {
        assert_eq!(whole_value(nested(levels).as_bytes()), Ok(()), "{levels}");
        let mixed = format!("{}1{}", r#"{"a":[{},2,"#.repeat(levels), "]}".repeat(levels));
        assert_eq!(whole_value(mixed.as_bytes()), Ok(()), "{levels}");
        for bad in [
            mixed.replacen("]}]", "]]]", 1),
            mixed.replacen("1]", "1}", 1),
            mixed.replacen("\"a\"", "1", 1),
        ] {
            assert!(bad == mixed || whole_value(bad.as_bytes()).is_err(), "{levels}");
        }
    }
    assert_eq!(walk(&mut Cursor::strict(nested(depth).as_bytes())), Ok(()));
    assert_eq!(
        walk(&mut Cursor::strict(nested(depth + 1).as_bytes()))
            .unwrap_err()
            .what,
        "nested too deep"
    );
    assert!(whole_value("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn decodes_escapes() {
    let mut cursor = Cursor::strict(br#""mod\u0065l \ud83d\ude00 \ud83d \"\\\/\b\f\n\r\t""#);
    let text = cursor.string().unwrap();
    assert_eq!(text.decode(), "model \u{1f600} \u{fffd} \"\\/\u{8}\u{c}\n\r\t");
    assert_eq!(text.len(), text.decode().len() as u64);
}

#[test]
fn reads_counts_however_written() {
    let figure = |text: &str| Cursor::strict(text.as_bytes()).figure().unwrap();
    assert_eq!(figure("12"), Figure::Is(12));
    assert_eq!(figure("12.0"), Figure::Is(12));
    assert_eq!(figure("1e3"), Figure::Is(1000));
    assert_eq!(figure("9007199254740992"), Figure::Is(COUNT_MAX));
    assert_eq!(figure("null"), Figure::Absent);
    for bad in [
        "-1",
        "1.5",
        "9007199254740993",
        "18446744073709551616",
        "1e400",
        "\"12\"",
        "true",
        "[]",
        "{}",
    ] {
        assert_eq!(figure(bad), Figure::Bad, "{bad}");
    }
}

proptest! {
    /// The same judgement as serde_json, which is the reference for everything but the depth.
    #[test]
    fn agrees_with_serde_json(text in "[\\[\\]{}\",:0-9eE.+\\-truefalsn \\\\u\n\u{e9}]{0,24}") {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        // serde_json refuses lone surrogates and numbers too large for a double in values that it keeps, not here.
        prop_assert_eq!(whole_value(text.as_bytes()).is_ok(), theirs, "{}", text);
    }

    #[test]
    fn decodes_what_serde_json_encodes(text in any::<String>()) {
        let encoded = serde_json::to_string(&text).unwrap();
        let mut cursor = Cursor::strict(encoded.as_bytes());
        let read = cursor.string().unwrap();
        prop_assert_eq!(read.decode(), text.as_str());
        prop_assert!(read.is(&text));
        prop_assert_eq!(cursor.end(), Ok(()));
    }

    #[test]
    fn finds_the_first_quote_or_backslash(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'!'), Just(b']'), Just(0xa2), any::<u8>(), Just(b'a'), Just(b'a')], 0..80)) {
        let plain = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        prop_assert_eq!(find_quote_or_backslash(&text), plain);
        let long = [&[b'x'; 60][..], &text].concat();
        prop_assert_eq!(find_quote_or_backslash(&long), plain.map(|found| found + 60));
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut cursor = Cursor::lenient(&bytes);
        if let Ok(span) = cursor.skip() {
            prop_assert!(span.end <= bytes.len());
        }
    }
}
