//! Forms as clients send them, and as somebody would who wants to be read in two ways.

use proptest::prelude::*;

use super::*;

/// As httpx, undici and curl write them.
fn form(parts: &[(&str, &str)]) -> String {
    let part = |(disposition, value): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

type Parts = Vec<(String, bool, Vec<u8>)>;

fn read(body: &str) -> Result<(Form, Parts), ScanError> {
    let mut parts = Vec::new();
    let form = Form::read(body.as_bytes(), "b", |part| {
        assert_eq!(&body.as_bytes()[part.at..part.at + part.value.len()], part.value);
        parts.push((part.name.to_owned(), part.is_file, part.value.to_vec()));
        Ok(())
    })?;
    Ok((form, parts))
}

fn edited(body: &str, edits: &Edits<'_>) -> String {
    let (form, _) = read(body).unwrap();
    let bytes = form.edit(&Bytes::copy_from_slice(body.as_bytes()), edits);
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn named(model: &str) -> Edits<'_> {
    Edits {
        model: Some(model),
        ..Edits::default()
    }
}

#[test]
fn parts_are_found_with_their_values() {
    let body = form(&[
        ("name=\"model\"", "whisper-1"),
        (
            "name=\"file\"; filename=\"a \\\"b\\\".wav\"\r\nContent-Type: audio/wav",
            "RIFF\r\n\r\n--x\0",
        ),
        ("name=\"file2\"; filename*=UTF-8''%e2%82%ac.wav", ""),
        ("name=prompt", "say \"it\""),
    ]);
    let (_, parts) = read(&body).unwrap();
    let expected = [
        ("model", false, "whisper-1"),
        ("file", true, "RIFF\r\n\r\n--x\0"),
        ("file2", true, ""),
        ("prompt", false, "say \"it\""),
    ];
    let shown: Vec<_> = parts
        .iter()
        .map(|(name, is_file, value)| (name.as_str(), *is_file, std::str::from_utf8(value).unwrap()))
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_model_is_renamed_in_place_and_every_other_byte_stays() {
    let body = form(&[
        ("name=\"file\"; filename=\"a\"", "model"),
        ("name=\"model\"", "mine"),
        ("name=\"n\"", "1"),
    ]);
    assert_eq!(
        edited(&body, &named("theirs/m")),
        body.replace("\r\nmine\r\n", "\r\ntheirs/m\r\n")
    );
    assert_eq!(edited(&body, &named("mine")), body);
}

#[test]
fn a_model_is_added_or_taken_out() {
    let body = form(&[("name=\"n\"", "1")]);
    let with = form(&[("name=\"n\"", "1"), ("name=\"model\"", "m")]);
    assert_eq!(edited(&body, &named("m")).to_lowercase(), with.to_lowercase());
    let omit = Edits {
        omit_model: true,
        ..named("x")
    };
    assert_eq!(edited(&with, &omit), body);
    assert_eq!(edited(&body, &omit), body);
}

#[test]
fn an_operators_fields_are_added_unless_they_were_sent() {
    let params = [
        ("n", "2"),
        ("style", "\"vivid\""),
        ("style", "\"natural\""),
        ("a\"b", "1"),
    ]
    .map(|(field, text)| (field.to_owned(), text.to_owned()));
    let edits = Edits {
        params: &params,
        ..Edits::default()
    };
    let body = form(&[("name=\"n\"", "1")]);
    let with = form(&[("name=\"n\"", "1"), ("name=\"style\"", "vivid")]);
    assert_eq!(edited(&body, &edits).to_lowercase(), with.to_lowercase());
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let plain = form(&[("name=\"model\"", "m")]);
    for body in [
        // Preamble and epilogue, where a reader with another boundary sees another form.
        format!("x\r\n{plain}"),
        format!("{plain}--c\r\n"),
        // A boundary after a bare line feed, or within a part.
        plain.replace("\r\nm\r\n", "\r\nm\n"),
        form(&[(
            "name=\"a\"",
            "1\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm",
        )]),
        plain.replacen("--b\r\n", "--bc\r\n", 1),
        plain.replacen("--b\r\n", "--b \r\n", 1),
        plain.replacen("--b\r\n", "--b\n", 1),
        // Headers that are folded, doubled, encoded or bare.
        form(&[("\r\n name=\"model\"", "m")]),
        form(&[("name=\"a\"; name=\"model\"", "m")]),
        form(&[("name=\"a\"; name*=UTF-8''model", "m")]),
        form(&[("name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"", "m")]),
        form(&[("name=\"model\"\r\nContent-Transfer-Encoding: base64", "bQ==")]),
        form(&[("name=\"model\"\nx: y", "m")]),
        form(&[("name=\"mod\\el\"", "m")]),
        form(&[("name=\"%6dodel\"", "m")]),
        form(&[("filename=\"a\"", "m")]),
        form(&[("name=\"model", "m")]),
        plain.replace("form-data", "attachment"),
        plain.replace("Content-Disposition: form-data; name=\"model\"", "x: y"),
        plain.replace("\r\n\r\n", "\r\n"),
        // Cut ones.
        plain.replace("--b--\r\n", ""),
        plain.replace("--b--\r\n", "--b-"),
        String::new(),
    ] {
        assert!(read(&body).is_err(), "{body:?}");
    }
    assert!(read(&plain.replace("--b--\r\n", "--b--")).is_ok());
    assert!(read(&form(&vec![("name=\"a\"", ""); FORM_PARTS_MAX])).is_err());
}

#[test]
fn a_boundary_is_plain_and_given_once() {
    for (content_type, boundary) in [
        ("multipart/form-data; boundary=b", "b"),
        (
            "Multipart/Form-Data;charset=utf-8; Boundary=\"----WebKit123\"",
            "----WebKit123",
        ),
    ] {
        assert_eq!(form_boundary(content_type), Some(Ok(boundary)));
    }
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a b\"",
        "multipart/form-data; boundary=\"a",
    ] {
        assert!(matches!(form_boundary(content_type), Some(Err(_))), "{content_type}");
    }
    assert_eq!(form_boundary("application/json"), None);
}

proptest! {
    #[test]
    fn never_panics(body in proptest::collection::vec(prop_oneof![Just(b"--b".to_vec()), Just(b"\r\n".to_vec()),
        Just(b"content-disposition: form-data; name=\"model\"".to_vec()), proptest::collection::vec(any::<u8>(), 0..9)], 0..20)) {
        let body = Bytes::from(body.concat());
        if let Ok(form) = Form::read(&body, "b", |_| Ok(())) {
            let again = form.edit(&body, &Edits { model: Some("to/model"), ..Edits::default() });
            let mut models = Vec::new();
            let read = Form::read(&again, "b", |part| {
                if part.name == "model" { models.push(part.value.to_vec()); }
                Ok(())
            });
            prop_assert!(read.is_ok() && models.iter().any(|model| model == b"to/model"), "{again:?}");
        }
    }

    #[test]
    fn any_file_goes_through_beside_any_fields(file in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~]{0,40}") {
        let mut body = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
        body.extend_from_slice(&file);
        body.extend_from_slice(format!("\r\n--b\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\n{text}\r\n--b--").as_bytes());
        let mut values = Vec::new();
        Form::read(&body, "b", |part| { values.push(part.value.to_vec()); Ok(()) }).unwrap();
        prop_assert_eq!(values, vec![file, text.into_bytes()]);
    }
}
