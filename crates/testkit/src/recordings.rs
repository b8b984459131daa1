//! The recorded provider traffic, read from outside the repository.
//!
//! The recordings are not ours to commit, so a checkout may not have them: `Recordings::find` then says so and the test
//! returns. Set `TOLLGATE_RECORDINGS` to point at them elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::upstream::{Behaviour, Chunking, Raw, Reply};

/// The folder of recordings.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: PathBuf,
}

impl Recordings {
    /// The recordings, or `None` with a printed line that says where they were looked for.
    pub fn find() -> Option<Self> {
        let set = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from);
        let found = set.clone().or_else(|| {
            let start = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
            walk_up(&start)
        });
        let found = found.filter(|folder| folder.is_dir());
        if found.is_none() {
            skipped(set.as_deref());
        }
        Some(Self { folder: found? })
    }

    /// The names of the files, without `.jsonl`, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).expect("the recordings' folder can be read");
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                entry
                    .ok()?
                    .file_name()
                    .into_string()
                    .ok()?
                    .strip_suffix(".jsonl")
                    .map(str::to_owned)
            })
            .collect();
        names.sort();
        names
    }

    /// The recordings of one API, as `openai-chat`, in the file's order.
    pub fn load(&self, name: &str) -> Vec<Recording> {
        let path = self.folder.join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(at, line)| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), at + 1))
            })
            .collect()
    }
}

/// The nearest `../shared/recordings`, from `start` upwards.
fn walk_up(start: &Path) -> Option<PathBuf> {
    let start = start.canonicalize().ok()?;
    start
        .ancestors()
        .map(|folder| folder.join("shared/recordings"))
        .find(|candidate| candidate.is_dir())
}

#[expect(
    clippy::print_stderr,
    reason = "a skipped test must say so, where the harness shows it"
)]
fn skipped(set: Option<&Path>) {
    match set {
        Some(path) => eprintln!("skipped: TOLLGATE_RECORDINGS={} is no folder", path.display()),
        None => eprintln!("skipped: no shared/recordings above the crate, and TOLLGATE_RECORDINGS is not set"),
    }
}

/// One recorded exchange. The recordings' README explains the fields.
#[derive(Debug, Clone, Deserialize)]
pub struct Recording {
    /// 12 hex digits.
    pub id: String,
    /// Where it was taken from.
    pub source: String,
    /// Who answered.
    pub provider: String,
    /// In which wire format.
    pub api: String,
    /// At which host.
    pub host: String,
    /// What was asked; `None` where only the answer was kept.
    pub request: Option<RecordedRequest>,
    /// The path where there is no request but it is known.
    pub path: Option<String>,
    /// What was answered.
    pub response: RecordedResponse,
    /// Whether the answer is a stream, and of which form.
    pub has_stream: HasStream,
    /// The model asked for, where the body or path said so.
    pub request_model: Option<String>,
    /// What a reader must find in the answer.
    pub expected: Option<Expected>,
    /// The tokens that the provider reported, in one form.
    pub usage: Option<RecordedUsage>,
}

/// Whether an answer is a stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum HasStream {
    /// Server-sent events, or no stream.
    Sse(bool),
    /// `json-array`: Gemini without SSE.
    Form(String),
}

/// A recorded request.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers, secrets removed.
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(with = "body_form")]
    pub body: Bytes,
    /// Whether key order and white space are the client's.
    pub byte_exact: bool,
}

/// A recorded response.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedResponse {
    /// The status.
    pub status: u16,
    /// The headers; those about length and encoding describe the original transfer, not this body.
    pub headers: BTreeMap<String, String>,
    /// The body, decompressed.
    #[serde(with = "body_form")]
    pub body: Bytes,
    /// Whether key order and white space are the provider's.
    pub byte_exact: bool,
}

/// What a reader must find.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    /// The text; absent above 2,000 characters.
    pub text: Option<String>,
    /// The length of a long text, in characters.
    pub text_len: Option<usize>,
    /// The SHA-256 of a long text.
    pub text_sha256: Option<String>,
    /// The thinking.
    pub thinking: Option<String>,
    /// The refusal.
    pub refusal: Option<String>,
    /// The tool calls: id, name, raw, args.
    #[serde(default)]
    pub tool_calls: Vec<Value>,
    /// `stop`, `length`, `tool`, `filter`, `pause`, `other`.
    pub stop: Option<String>,
    /// The provider's own word.
    pub stop_raw: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// How many choices.
    pub choices: Option<u64>,
    /// Whether the stream ended properly.
    pub complete: Option<bool>,
    /// The error.
    pub error: Option<Value>,
}

/// The tokens that the provider reported; `None` where it did not say.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedUsage {
    /// All prompt tokens, cache reads and writes included.
    pub input: Option<i64>,
    /// Read from a cache.
    pub cached: Option<i64>,
    /// Written to a cache.
    pub cache_write: Option<i64>,
    /// All completion tokens, reasoning included.
    pub output: Option<i64>,
    /// Of which reasoning.
    pub reasoning: Option<i64>,
    /// The provider's own object.
    pub raw: Value,
}

impl Recording {
    /// Whether the answer is a stream of server-sent events.
    pub fn is_sse(&self) -> bool {
        self.has_stream == HasStream::Sse(true)
    }

    /// The behaviour that gives this answer byte for byte. Headers about length, encoding and connection are left out:
    /// they belong to the original transfer.
    pub fn replay(&self, chunking: Chunking) -> Behaviour {
        const OF_THE_TRANSFER: [&str; 5] = [
            "content-length",
            "transfer-encoding",
            "content-encoding",
            "connection",
            "keep-alive",
        ];
        let response = &self.response;
        let mut headers: Vec<(String, String)> = response
            .headers
            .iter()
            .filter(|(name, _)| !OF_THE_TRANSFER.contains(&name.to_ascii_lowercase().as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            let content_type = if self.is_sse() {
                "text/event-stream"
            } else {
                "application/json"
            };
            headers.push(("content-type".to_owned(), content_type.to_owned()));
        }
        let raw = Raw {
            status: response.status,
            headers,
            body: response.body.clone(),
        };
        Behaviour {
            reply: Reply::Raw(raw),
            ..Behaviour::default()
        }
        .chunked(chunking)
    }
}

/// Bodies as the recordings write them: `{"text": …}` or `{"b64": …}`.
pub(crate) mod body_form {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Form {
        Text(String),
        B64(String),
    }

    pub(crate) fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(body) {
            Ok(text) => Form::Text(text.to_owned()),
            Err(_) => Form::B64(STANDARD.encode(body)),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(text.into()),
            Form::B64(text) => STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recording_can_be_read() {
        let Some(recordings) = Recordings::find() else { return };
        let all: Vec<Recording> = recordings
            .names()
            .iter()
            .flat_map(|name| recordings.load(name))
            .collect();
        assert!(all.len() > 500, "{} recordings", all.len());
        assert!(all.iter().filter(|r| r.is_sse()).count() > 100);
        assert!(all.iter().all(|r| r.id.len() == 12));
    }
}
