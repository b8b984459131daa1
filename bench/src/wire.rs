//! What is asked and what must come back, byte for byte. The mock upstream and the load driver both take their texts
//! from here, so whatever stands between them is checked against the very bytes that the upstream sent: a changed
//! field, a lost chunk or two chunks in the wrong order cannot pass as a success.
//!
//! Sizes follow real traffic and are asserted by tests: a request of 550 bytes (a short question) or 220 KB (a coding
//! agent late in a session), an answer of 700 bytes, stream chunks of 300 bytes.

use bytes::Bytes;
use serde::Serialize;

mod anthropic;
mod check;
mod openai;

pub use check::{Expected, Mismatch};

/// The format of a call, named as in the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Dialect {
    /// `POST /v1/chat/completions`.
    OpenaiChat,
    /// `POST /v1/messages`.
    AnthropicMessages,
}

/// How long the conversation in the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// One question: about 550 bytes.
    Small,
    /// The same after [`LARGE_TURNS`] earlier turns: about 220 KB.
    Large,
}

/// What kind of answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One JSON document.
    Plain,
    /// A server-sent event stream with so many content chunks.
    Stream {
        /// Content chunks, without the opening and closing events.
        chunks: u32,
    },
}

/// Tokens that an answer claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
}

/// A stream in pieces, each of them one write of the upstream.
#[derive(Debug, Clone)]
pub struct StreamText {
    /// Sent together with the head.
    pub opening: String,
    /// One event per content chunk, numbered, so that order and completeness can be verified.
    pub content: Vec<String>,
    /// Finish reason, usage, end marker.
    pub closing: Vec<String>,
}

/// Prompt tokens of every answer.
pub const INPUT_TOKENS: u64 = 42;

/// Completion tokens of an answer without streaming; a stream has as many as it has chunks.
pub const PLAIN_OUTPUT_TOKENS: u64 = 24;

/// Earlier turns of a large conversation.
const LARGE_TURNS: usize = 101;

const SYSTEM: &str = "You answer questions of visitors to a museum of bridges. Be exact, be brief, and say it when you \
                      do not know. Prefer a year to an age, a name to a title, and metric units.";
const QUESTION: &str = "Which bridge in the second hall is the oldest, who built it, and how long is its main span? \
                        Please compare it with the longest one of the same hall in a sentence, and tell me which of \
                        the two is still open to pedestrians today.";
const ANSWER: &str = "The oldest one in the second hall is the stone bridge of 1345 with five arches; its main span \
                      measures thirty metres exactly.";

impl Dialect {
    /// The path that a client posts to.
    pub fn path(self) -> &'static str {
        match self {
            Self::OpenaiChat => "/v1/chat/completions",
            Self::AnthropicMessages => "/v1/messages",
        }
    }

    /// The model that is asked for; `tollgate.yaml` has a price for it.
    pub fn model(self) -> &'static str {
        match self {
            Self::OpenaiChat => "gpt-4o-mini",
            Self::AnthropicMessages => "claude-sonnet-4-5",
        }
    }

    /// The JSON body of a request.
    pub fn request_body(self, size: Size, shape: Shape) -> String {
        let turns = conversation(size);
        let streaming = matches!(shape, Shape::Stream { .. });
        match self {
            Self::OpenaiChat => openai::request(self.model(), &turns, streaming),
            Self::AnthropicMessages => anthropic::request(self.model(), &turns, streaming),
        }
    }

    /// A whole HTTP/1.1 request for `host`, ready to be written to a socket.
    pub fn http_request(self, host: &str, client_key: &str, size: Size, shape: Shape) -> Bytes {
        let body = self.request_body(size, shape);
        let version = match self {
            Self::OpenaiChat => "",
            Self::AnthropicMessages => "anthropic-version: 2023-06-01\r\n",
        };
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\naccept: */*\r\nuser-agent: \
             tollgate-bench\r\nauthorization: Bearer {client_key}\r\n{version}content-length: {}\r\n\r\n",
            self.path(),
            body.len()
        );
        Bytes::from(head + &body)
    }

    /// The JSON answer without streaming.
    pub fn plain_answer(self, tokens: Tokens) -> String {
        match self {
            Self::OpenaiChat => openai::plain(ANSWER, tokens),
            Self::AnthropicMessages => anthropic::plain(ANSWER, tokens),
        }
    }

    /// The answer as a stream; `tokens` is what its usage claims.
    pub fn stream_answer(self, chunks: u32, tokens: Tokens) -> StreamText {
        match self {
            Self::OpenaiChat => openai::stream(chunks, tokens),
            Self::AnthropicMessages => anthropic::stream(chunks, tokens),
        }
    }

    /// What a right answer looks like.
    pub fn expected(self, shape: Shape) -> Expected {
        Expected::new(self, shape)
    }
}

impl Shape {
    /// The tokens that an honest answer of this shape claims.
    pub fn tokens(self) -> Tokens {
        match self {
            Self::Plain => Tokens {
                input: INPUT_TOKENS,
                output: PLAIN_OUTPUT_TOKENS,
            },
            Self::Stream { chunks } => Tokens {
                input: INPUT_TOKENS,
                output: u64::from(chunks),
            },
        }
    }

    /// Content chunks, none without streaming.
    pub fn chunks(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::Stream { chunks } => chunks,
        }
    }
}

impl StreamText {
    /// The whole stream as the client must receive it.
    pub fn whole(&self) -> String {
        let mut text = self.opening.clone();
        text.extend(self.content.iter().chain(&self.closing).map(String::as_str));
        text
    }
}

/// One turn of a conversation.
#[derive(Debug, Serialize)]
struct Turn {
    role: &'static str,
    content: String,
}

fn conversation(size: Size) -> Vec<Turn> {
    let mut turns = Vec::new();
    if size == Size::Large {
        for number in 0..LARGE_TURNS {
            // Quotes, tabs, newlines and a character outside ASCII: a scanner must cope with escapes.
            let found = format!("Turn {number}: \"open_file\" printed\n\t{SYSTEM}{QUESTION}\n").repeat(2);
            let asked = format!("Result {number}: {QUESTION} \u{2014} {SYSTEM}\n").repeat(3);
            turns.push(Turn {
                role: "assistant",
                content: found,
            });
            turns.push(Turn {
                role: "user",
                content: asked,
            });
        }
    }
    turns.insert(
        0,
        Turn {
            role: "user",
            content: QUESTION.to_owned(),
        },
    );
    turns
}

fn to_json(request: &impl Serialize) -> String {
    serde_json::to_string(request).expect("a request of strings and numbers always serialises")
}

/// The text of content chunk `index`: numbered, and of the same length for all.
fn chunk_text(index: u32) -> String {
    format!(" part{index:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [Dialect; 2] = [Dialect::OpenaiChat, Dialect::AnthropicMessages];

    #[test]
    fn requests_have_the_sizes_that_the_table_names() {
        for dialect in DIALECTS {
            let small = dialect.request_body(Size::Small, Shape::Plain).len();
            let large = dialect.request_body(Size::Large, Shape::Plain).len();
            assert!(
                (500..=600).contains(&small),
                "{dialect:?}: small body has {small} bytes"
            );
            assert!(
                (210_000..=230_000).contains(&large),
                "{dialect:?}: large body has {large} bytes"
            );
        }
    }

    #[test]
    fn answers_have_the_sizes_that_the_table_names() {
        let plain = Dialect::OpenaiChat.plain_answer(Shape::Plain.tokens()).len();
        assert!((650..=750).contains(&plain), "answer has {plain} bytes");
        let stream = Dialect::OpenaiChat.stream_answer(100, Tokens { input: 1, output: 1 });
        assert_eq!(stream.content.len(), 100);
        for chunk in &stream.content {
            assert!((280..=320).contains(&chunk.len()), "chunk has {} bytes", chunk.len());
        }
    }

    #[test]
    fn a_conversation_alternates_and_ends_with_the_user() {
        for size in [Size::Small, Size::Large] {
            let turns = conversation(size);
            assert!(turns.iter().step_by(2).all(|turn| turn.role == "user"));
            assert!(turns.iter().skip(1).step_by(2).all(|turn| turn.role == "assistant"));
            assert_eq!(turns.last().map(|turn| turn.role), Some("user"));
        }
    }

    #[test]
    fn only_streaming_requests_ask_for_a_stream() {
        for dialect in DIALECTS {
            let asks = |shape| dialect.request_body(Size::Small, shape).contains("\"stream\":true");
            assert!(asks(Shape::Stream { chunks: 1 }));
            assert!(!asks(Shape::Plain));
        }
    }

    #[test]
    fn content_length_is_that_of_the_body() {
        let request = Dialect::OpenaiChat.http_request("localhost", "k", Size::Large, Shape::Plain);
        let end = memchr::memmem::find(&request, b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&request[..end]).unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", request.len() - end)));
    }
}
