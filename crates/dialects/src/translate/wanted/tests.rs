//! Which files are wanted by whom, what is taken for them, and where it is put.

use domain::provider::Quirks;
use domain::{Operation, Surface};
use serde_json::{Value, json};

use super::*;
use crate::translate::Asked;

const PDF: &[u8] = b"%PDF-1.4 x";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nx";

fn question(dialect: Dialect, body: &Value) -> Question {
    let asked = Asked {
        surface: Surface::new(Operation::Chat, dialect),
        model: "m",
        stream: false,
        json_array: false,
        id: "1",
        created: 0,
    };
    Question::read(&asked, body.to_string().as_bytes()).unwrap()
}

fn target(quirks: &Quirks) -> Target<'_> {
    Target {
        model: "m",
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks,
    }
}

fn urls(question: &Question, dialect: Dialect, quirks: &Quirks) -> Vec<String> {
    let wanted = question.wanted(dialect, &target(quirks));
    wanted.into_iter().map(|wanted| wanted.url).collect()
}

/// A picture and a document, each in the user's turn and in a tool's result.
fn anthropic(scheme: &str) -> Question {
    let image = json!({"type": "image", "source": {"type": "url", "url": format!("{scheme}://a/i.png")}});
    let document = json!({"type": "document", "source": {"type": "url", "url": format!("{scheme}://a/x/d.pdf?sig=1")}});
    let body = json!({"model": "m", "max_tokens": 5, "messages": [
        {"role": "user", "content": [image, document, {"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [image]}]}]});
    question(Dialect::AnthropicMessages, &body)
}

#[test]
fn each_format_wants_the_bytes_that_it_has_no_address_for() {
    let (image, document) = ("https://a/i.png", "https://a/x/d.pdf?sig=1");
    let none = Quirks::default();
    let data_only = Quirks {
        media_as_data: true,
        ..Quirks::default()
    };
    let asked = anthropic("https");
    for (dialect, usual, of_data_only) in [
        (Dialect::BedrockConverse, vec![image, document], vec![image, document]),
        (Dialect::OpenaiChat, vec![document], vec![image, document]),
        (Dialect::AnthropicMessages, vec![], vec![image, document]),
        (Dialect::Gemini, vec![], vec![image, document]),
        (Dialect::OpenaiResponses, vec![], vec![image, document]),
    ] {
        assert_eq!(urls(&asked, dialect, &none), usual, "{dialect}");
        assert_eq!(urls(&asked, dialect, &data_only), of_data_only, "{dialect}");
    }
    let plain = anthropic("http");
    for dialect in [Dialect::AnthropicMessages, Dialect::Gemini] {
        assert_eq!(urls(&plain, dialect, &none).len(), 2, "{dialect}");
    }
    assert_eq!(urls(&plain, Dialect::OpenaiResponses, &none).len(), 0);
}

#[test]
fn what_is_no_address_of_the_web_is_not_wanted() {
    let parts = json!([
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "s3://bucket/i.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]);
    let asked = question(
        Dialect::OpenaiChat,
        &json!({"model": "m", "messages": [{"role": "user", "content": parts}]}),
    );
    assert!(urls(&asked, Dialect::BedrockConverse, &Quirks::default()).is_empty());
}

#[test]
fn a_file_is_put_in_place_for_those_who_want_it() {
    let none = Quirks::default();
    let mut asked = anthropic("https");
    for wanted in asked.wanted(Dialect::BedrockConverse, &target(&none)) {
        let bytes = if wanted.what() == "image" { PNG } else { PDF };
        asked.supply(wanted.take("application/octet-stream", bytes).unwrap());
    }
    assert!(
        urls(&asked, Dialect::BedrockConverse, &none).is_empty(),
        "nothing is wanted twice"
    );
    let told = |dialect| {
        let told = asked.encode(dialect, &target(&none)).unwrap().body;
        String::from_utf8(told.to_vec()).unwrap()
    };
    let bedrock = told(Dialect::BedrockConverse);
    assert_eq!(bedrock.matches(&STANDARD.encode(PNG)).count(), 2, "{bedrock}");
    assert!(!bedrock.contains("https://"), "{bedrock}");
    let chat = told(Dialect::OpenaiChat);
    let file =
        json!({"filename": "d.pdf", "file_data": format!("data:application/pdf;base64,{}", STANDARD.encode(PDF))});
    assert!(chat.contains(&file.to_string()), "{chat}");
    assert!(
        chat.contains("https://a/i.png"),
        "Chat Completions reads addresses of pictures"
    );
    let responses = told(Dialect::OpenaiResponses);
    assert!(responses.contains("https://a/x/d.pdf?sig=1"), "{responses}");
    assert!(!responses.contains("base64"), "{responses}");
}

#[test]
fn a_count_wants_the_same_files() {
    let asked = Asked {
        surface: Surface::new(Operation::CountTokens, Dialect::AnthropicMessages),
        model: "m",
        stream: false,
        json_array: false,
        id: "1",
        created: 0,
    };
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": "http://a/i.png"}}]}]});
    let asked = Question::read(&asked, body.to_string().as_bytes()).unwrap();
    assert_eq!(urls(&asked, Dialect::Gemini, &Quirks::default()), ["http://a/i.png"]);
}

fn taken(kind: MediaKind, said: &str, content_type: &str, bytes: &[u8]) -> Result<String, String> {
    let wanted = Wanted {
        url: "https://a/b".to_owned(),
        kind,
        mime: said.to_owned(),
    };
    let taken = wanted.take(content_type, bytes);
    taken.map(|fetched| fetched.mime).map_err(|error| error.to_string())
}

#[test]
fn the_bytes_say_what_a_file_is_and_else_its_server() {
    use MediaKind::{Audio, Document, Image, Video};
    for (kind, said, declared, bytes, mime) in [
        (Image, "", "application/octet-stream", PNG, "image/png"),
        (
            Image,
            "image/png",
            "image/jpeg",
            b"\xff\xd8\xff\xe0".as_slice(),
            "image/jpeg",
        ),
        (Image, "", "image/svg+xml; charset=utf-8", b"<svg/>", "image/svg+xml"),
        (Document, "", "", PDF, "application/pdf"),
        (Document, "", "text/plain; charset=utf-8", b"hello", "text/plain"),
        (Document, "text/html", "text/html", b"<p>", "text/html"),
        (
            Document,
            "",
            "application/vnd.oasis.opendocument.text",
            b"PK\x03\x04x",
            "application/vnd.oasis.opendocument.text",
        ),
        (Audio, "", "application/octet-stream", b"RIFF....WAVEfmt ", "audio/wav"),
        (Audio, "", "audio/webm", b"\x1a\x45\xdf\xa3", "audio/webm"),
        (Video, "", "", b"....ftypisom", "video/mp4"),
    ] {
        assert_eq!(taken(kind, said, declared, bytes).as_deref(), Ok(mime));
    }
}

#[test]
fn a_file_of_another_kind_is_refused() {
    use MediaKind::{Audio, Document, Image};
    for (kind, declared, bytes, found) in [
        (Image, "image/png", PDF, "`application/pdf`"),
        (Image, "text/html", b"<html>".as_slice(), "`text/html`"),
        (
            Document,
            "text/html; charset=utf-8",
            b"<html>login</html>",
            "`text/html`",
        ),
        (Document, "application/pdf", b"PK\x03\x04", "an archive"),
        (Document, "text/plain", b"\xff\xfe\xfd", "`text/plain`"),
        (
            Document,
            "application/octet-stream",
            b"\x7fELF",
            "`application/octet-stream`",
        ),
        (Document, "application/pdf", b"", "nothing"),
        (Audio, "video/mp4", b"....ftypisom", "`video/mp4`"),
        (Image, "", b"x", "of an unknown type"),
    ] {
        let refused = taken(kind, "", declared, bytes).unwrap_err();
        assert!(refused.contains(found), "{refused}");
    }
}

#[test]
fn documents_are_named_after_their_addresses() {
    for (url, name) in [
        ("https://a/x/d.pdf?sig=1", "d.pdf"),
        ("https://a/report%20one.docx#p2", "report%20one.docx"),
        ("https://a/download", "document.pdf"),
        ("https://a/", "document.pdf"),
    ] {
        assert_eq!(name_of(url).as_deref(), Some(name), "{url}");
    }
}
