//! Judges an answer. Equal to what the upstream sent: right, and the comparison costs next to nothing. Not equal:
//! wrong, and only then is it taken apart to say in which way, because "41 of 100 chunks" can be acted on and
//! "differs" cannot.

use bytes::Bytes;
use serde_json::Value;

use super::{Dialect, Shape, Tokens, chunk_text};

/// A right answer.
#[derive(Debug, Clone)]
pub struct Expected {
    dialect: Dialect,
    shape: Shape,
    body: Bytes,
}

/// In which way an answer was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// The body is not what the dialect prescribes at all.
    #[error("unreadable answer")]
    Unreadable,
    /// The stream reported a failure.
    #[error("error event in the stream")]
    ErrorEvent,
    /// Chunks are missing or came twice.
    #[error("{got} of {want} chunks")]
    Chunks {
        /// Chunks received.
        got: u32,
        /// Chunks sent.
        want: u32,
    },
    /// `[DONE]` or `message_stop` is missing.
    #[error("no end marker")]
    NoEnd,
    /// The usage differs or is missing.
    #[error("wrong token counts")]
    Usage,
    /// The text differs.
    #[error("wrong content")]
    Content,
    /// All of that is right, but bytes differ: not passed through.
    #[error("bytes changed on the way")]
    Bytes,
}

/// What could be read from a wrong stream.
#[derive(Debug, Default)]
struct Reading {
    text: String,
    chunks: u32,
    ended: bool,
    failed: bool,
    input: Option<u64>,
    output: Option<u64>,
}

impl Expected {
    pub(super) fn new(dialect: Dialect, shape: Shape) -> Self {
        let tokens = shape.tokens();
        let body = match shape {
            Shape::Plain => dialect.plain_answer(tokens),
            Shape::Stream { chunks } => dialect.stream_answer(chunks, tokens).whole(),
        };
        Self {
            dialect,
            shape,
            body: Bytes::from(body),
        }
    }

    /// The shape of the answer.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The bytes of the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Judges a complete answer.
    ///
    /// # Errors
    /// What is wrong with it; the gravest fault if there are several.
    pub fn check(&self, status: u16, body: &[u8]) -> Result<(), Mismatch> {
        if status != 200 {
            return Err(Mismatch::Status(status));
        }
        if body == self.body {
            return Ok(());
        }
        Err(match self.shape {
            Shape::Plain => self.diagnose_plain(body),
            Shape::Stream { chunks } => self.diagnose_stream(body, chunks),
        })
    }

    fn diagnose_plain(&self, body: &[u8]) -> Mismatch {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else {
            return Mismatch::Unreadable;
        };
        let (text, got) = match self.dialect {
            Dialect::OpenaiChat => (
                &answer["choices"][0]["message"]["content"],
                openai_usage(&answer["usage"]),
            ),
            Dialect::AnthropicMessages => (&answer["content"][0]["text"], anthropic_usage(&answer["usage"])),
        };
        if got != Some(self.shape.tokens()) {
            Mismatch::Usage
        } else if text != super::ANSWER {
            Mismatch::Content
        } else {
            Mismatch::Bytes
        }
    }

    fn diagnose_stream(&self, body: &[u8], want: u32) -> Mismatch {
        let Ok(text) = std::str::from_utf8(body) else {
            return Mismatch::Unreadable;
        };
        let reading = read_stream(self.dialect, text);
        let tokens = self.shape.tokens();
        if reading.failed {
            Mismatch::ErrorEvent
        } else if reading.chunks != want {
            Mismatch::Chunks {
                got: reading.chunks,
                want,
            }
        } else if !reading.ended {
            Mismatch::NoEnd
        } else if (reading.input, reading.output) != (Some(tokens.input), Some(tokens.output)) {
            Mismatch::Usage
        } else if reading.text != (0..want).map(chunk_text).collect::<String>() {
            Mismatch::Content
        } else {
            Mismatch::Bytes
        }
    }
}

fn read_stream(dialect: Dialect, text: &str) -> Reading {
    let mut reading = Reading::default();
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data == "[DONE]" {
            reading.ended = dialect == Dialect::OpenaiChat;
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(data) else {
            reading.failed = true;
            continue;
        };
        reading.failed |= event.get("error").is_some();
        match dialect {
            Dialect::OpenaiChat => reading.take_openai(&event),
            Dialect::AnthropicMessages => reading.take_anthropic(&event),
        }
    }
    reading
}

impl Reading {
    fn take_openai(&mut self, event: &Value) {
        self.take_text(&event["choices"][0]["delta"]["content"]);
        if let Some(tokens) = openai_usage(&event["usage"]) {
            (self.input, self.output) = (Some(tokens.input), Some(tokens.output));
        }
    }

    fn take_anthropic(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("message_start") => self.input = event["message"]["usage"]["input_tokens"].as_u64(),
            Some("message_delta") => self.output = event["usage"]["output_tokens"].as_u64(),
            Some("message_stop") => self.ended = true,
            _ => self.take_text(&event["delta"]["text"]),
        }
    }

    fn take_text(&mut self, text: &Value) {
        if let Some(text) = text.as_str().filter(|text| !text.is_empty()) {
            self.text.push_str(text);
            self.chunks += 1;
        }
    }
}

fn openai_usage(usage: &Value) -> Option<Tokens> {
    Some(Tokens {
        input: usage["prompt_tokens"].as_u64()?,
        output: usage["completion_tokens"].as_u64()?,
    })
}

fn anthropic_usage(usage: &Value) -> Option<Tokens> {
    Some(Tokens {
        input: usage["input_tokens"].as_u64()?,
        output: usage["output_tokens"].as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [Dialect; 2] = [Dialect::OpenaiChat, Dialect::AnthropicMessages];
    const STREAM: Shape = Shape::Stream { chunks: 5 };

    fn judge(dialect: Dialect, shape: Shape, change: impl Fn(&str) -> String) -> Result<(), Mismatch> {
        let expected = dialect.expected(shape);
        let text = std::str::from_utf8(expected.body()).unwrap();
        expected.check(200, change(text).as_bytes())
    }

    #[test]
    fn the_very_bytes_are_right() {
        for dialect in DIALECTS {
            for shape in [Shape::Plain, STREAM] {
                assert_eq!(judge(dialect, shape, str::to_owned), Ok(()));
            }
        }
    }

    #[test]
    fn a_status_is_judged_before_the_body() {
        let expected = Dialect::OpenaiChat.expected(Shape::Plain);
        assert_eq!(expected.check(503, expected.body()), Err(Mismatch::Status(503)));
    }

    #[test]
    fn wrong_tokens_are_told_from_wrong_text() {
        for dialect in DIALECTS {
            for shape in [Shape::Plain, STREAM] {
                assert_eq!(
                    judge(dialect, shape, |text| text.replace(":42", ":41")),
                    Err(Mismatch::Usage)
                );
            }
            assert_eq!(
                judge(dialect, Shape::Plain, |text| text.replace("1345", "1346")),
                Err(Mismatch::Content)
            );
            assert_eq!(
                judge(dialect, STREAM, |text| text.replace("part0003", "part0004")),
                Err(Mismatch::Content)
            );
        }
    }

    #[test]
    fn a_lost_chunk_and_a_lost_end_are_named() {
        for dialect in DIALECTS {
            let lost = dialect.stream_answer(5, STREAM.tokens()).content.remove(2);
            let got = judge(dialect, STREAM, |text| text.replace(&lost, ""));
            assert_eq!(got, Err(Mismatch::Chunks { got: 4, want: 5 }));
            let end = dialect.stream_answer(5, STREAM.tokens()).closing.remove(2);
            assert_eq!(
                judge(dialect, STREAM, |text| text.replace(&end, "")),
                Err(Mismatch::NoEnd)
            );
        }
    }

    #[test]
    fn an_error_event_is_a_failure_even_with_everything_else_there() {
        let got = judge(Dialect::OpenaiChat, STREAM, |text| {
            format!("{text}data: {{\"error\":{{}}}}\n\n")
        });
        assert_eq!(got, Err(Mismatch::ErrorEvent));
    }

    #[test]
    fn the_same_meaning_in_other_bytes_is_not_passed_through() {
        assert_eq!(
            judge(Dialect::OpenaiChat, Shape::Plain, |text| format!("{text} ")),
            Err(Mismatch::Bytes)
        );
        assert_eq!(
            judge(Dialect::OpenaiChat, STREAM, |text| format!(": hello\n\n{text}")),
            Err(Mismatch::Bytes)
        );
    }
}
