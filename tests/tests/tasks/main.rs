//! Pictures, sounds, moderation and rankings through the front door: what reaches the upstream, what the client gets, and
//! what is charged, to the nano-dollar.

mod faults;
mod forms;
mod money;
mod paths;

use std::sync::LazyLock;

use blackbox::{CLIENT_KEY, UPSTREAM_KEY};
use serde_json::Value;
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::Upstream;

/// The boundary of the tests' forms.
const BOUNDARY: &str = "----form-1234567890";

/// A second of WAV at 8 kHz in eight bits.
static RECORDING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut file = b"RIFF\x64\x1f\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00".to_vec();
    file.extend_from_slice(&8_000_u32.to_le_bytes());
    file.extend_from_slice(&8_000_u32.to_le_bytes());
    file.extend_from_slice(b"\x01\x00\x08\x00data\x38\x1f\x00\x00");
    file.resize(8_000, 0x80);
    file
});

/// A gateway whose one provider has the tasks of `OpenAI`, and another one rankings; `more` goes behind.
fn start(upstream: &Upstream, user: &str, more: &str) -> Tollgate {
    let v1 = upstream.v1();
    Setup::config(&format!(
        "upstreams:
  - {{name: openai-main, provider: openai, base_url: \"{v1}\", credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: ranks, provider: cohere-rerank, base_url: \"{v1}\", credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
users:
  - {user}
keys:
  - {{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}
{more}"
    ))
    .start()
}

fn post(gateway: &Tollgate, path: &str, body: &Value) -> Response {
    Request::post(path, body).bearer(CLIENT_KEY).send(&gateway.url())
}

/// A part of a form: its name, its file's name if it is one, and its value.
type Field<'a> = (&'a str, Option<&'a str>, &'a [u8]);

fn form(fields: &[Field<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, value) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: application/octet-stream"));
        let file = file.unwrap_or_default();
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn form_request(path: &str, body: Vec<u8>) -> Request {
    Request::new("POST", path)
        .header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"))
        .bearer(CLIENT_KEY)
        .body(body)
}

fn send_form(gateway: &Tollgate, path: &str, fields: &[Field<'_>]) -> Response {
    form_request(path, form(fields)).send(&gateway.url())
}

/// A transcription of the recording by this model.
fn transcription<'a>(model: &'a str, more: &[Field<'a>]) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> = vec![
        ("file", Some("a.wav"), RECORDING.as_slice()),
        ("model", None, model.as_bytes()),
    ];
    fields.extend_from_slice(more);
    fields
}
