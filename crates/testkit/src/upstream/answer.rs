//! What the upstream says when all is well, in no wire format yet.
//!
//! One answer can be asked for in any dialect, streamed or not, so it is described once, and `openai`, `responses`,
//! `anthropic` and `gemini` each put it on the wire in their own order.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answer, to be written in the dialect that the call asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The text; a stream sends each piece as one delta.
    pub pieces: Vec<String>,
    /// Thinking that precedes the text, with a signature where the format has one.
    pub thinking: Option<String>,
    /// Tool calls, in order; with more than one they are parallel.
    pub tool_calls: Vec<ToolCall>,
    /// Whether the deltas of parallel tool calls come mixed instead of one call after the other (OpenAI chat only).
    pub interleave_tool_calls: bool,
    /// How the answer ends; tool calls win over `Stop::End`.
    pub stop: Stop,
    /// The model that the answer names; `None` repeats the one asked for.
    pub model: Option<String>,
    /// The tokens to report.
    pub usage: Usage,
    /// Where and when they are reported.
    pub reporting: Reporting,
    /// Written verbatim instead of the format's usage object: for the impossible and the exotic.
    pub usage_raw: Option<Value>,
    /// Headers besides those of the format.
    pub headers: Vec<(String, String)>,
    /// The ids that a models list shows.
    pub models: Vec<String>,
    /// Length of each embedding vector.
    pub dimensions: usize,
    /// Whether a request that ends with the beginning of this text is answered with the rest of it.
    pub continues: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self::text("Hello from the scripted upstream.")
    }
}

impl Answer {
    /// An answer of `text`, streamed word by word.
    pub fn text(text: &str) -> Self {
        Self {
            pieces: text.split_inclusive(' ').map(str::to_owned).collect(),
            thinking: None,
            tool_calls: Vec::new(),
            interleave_tool_calls: false,
            stop: Stop::End,
            model: None,
            usage: Usage::default(),
            reporting: Reporting::Honest,
            usage_raw: None,
            headers: Vec::new(),
            models: vec!["scripted-large".to_owned(), "scripted-small".to_owned()],
            dimensions: 8,
            continues: false,
        }
    }

    /// An answer streamed as `count` deltas: `t0 t1 t2 …`.
    pub fn tokens(count: usize) -> Self {
        Self {
            pieces: (0..count).map(|i| format!("t{i} ")).collect(),
            ..Self::text("")
        }
    }

    /// An answer that calls one tool and says nothing.
    pub fn tool_call(name: &str, arguments: Value) -> Self {
        Self::text("").and_tool_call(name, arguments)
    }

    /// A models list of these ids.
    pub fn models<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            models: ids.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Adds a tool call; ids are `call_tk_0`, `call_tk_1` …
    pub fn and_tool_call(mut self, name: &str, arguments: Value) -> Self {
        let id = format!("call_tk_{}", self.tool_calls.len());
        self.tool_calls.push(ToolCall {
            id,
            name: name.to_owned(),
            arguments,
        });
        self
    }

    /// Sets the tokens to report.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets where and when the tokens are reported.
    pub fn reporting(mut self, reporting: Reporting) -> Self {
        self.reporting = reporting;
        self
    }

    /// Writes `usage` verbatim where the format has its usage object.
    pub fn usage_raw(mut self, usage: Value) -> Self {
        self.usage_raw = Some(usage);
        self
    }

    /// Sets how the answer ends.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Names `model` in the answer, whatever was asked for.
    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    /// Goes on with the beginning that a request ends with.
    pub fn continuing(mut self) -> Self {
        self.continues = true;
        self
    }

    /// Says only what comes after `beginning`; all of it if it does not begin so.
    pub(crate) fn rest(&self, beginning: &str) -> Self {
        let text = self.whole_text();
        let rest = text.strip_prefix(beginning).unwrap_or(&text);
        Self {
            pieces: rest.split_inclusive(' ').map(str::to_owned).collect(),
            ..self.clone()
        }
    }

    /// Thinks before it speaks.
    pub fn thinking(mut self, thinking: &str) -> Self {
        self.thinking = Some(thinking.to_owned());
        self
    }

    /// Adds a response header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The whole text.
    pub fn whole_text(&self) -> String {
        self.pieces.concat()
    }

    pub(crate) fn ends_as(&self) -> Stop {
        if self.stop == Stop::End && !self.tool_calls.is_empty() {
            Stop::ToolCalls
        } else {
            self.stop
        }
    }
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The call's id (Gemini has none and leaves it out).
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, an object.
    pub arguments: Value,
}

impl ToolCall {
    /// The arguments as JSON text in up to three fragments, cut where no token ends.
    pub(crate) fn fragments(&self) -> Vec<String> {
        let text = super::json::text(&self.arguments);
        let cut = |at: usize| (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let (a, b) = (cut(text.len() / 3), cut(text.len() * 2 / 3));
        [&text[..a], &text[a..b], &text[b..]]
            .into_iter()
            .filter(|f| !f.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model was done.
    #[default]
    End,
    /// It ran into the output bound.
    Length,
    /// It wants tools called.
    ToolCalls,
    /// It was filtered or refused.
    Filter,
}

/// Tokens in the normal form: nothing counted twice. Signed, because upstreams have reported worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Prompt tokens that were neither read from nor written to a cache.
    pub input: i64,
    /// Prompt tokens read from a cache.
    pub cache_read: i64,
    /// Prompt tokens written to a five-minute cache.
    pub cache_write_5m: i64,
    /// Prompt tokens written to a one-hour cache.
    pub cache_write_1h: i64,
    /// Completion tokens, reasoning included.
    pub output: i64,
    /// Of which reasoning.
    pub reasoning: i64,
}

impl Default for Usage {
    fn default() -> Self {
        Self::of(12, 7)
    }
}

impl Usage {
    /// Plain input and output.
    pub const fn of(input: i64, output: i64) -> Self {
        Self {
            input,
            cache_read: 0,
            cache_write_5m: 0,
            cache_write_1h: 0,
            output,
            reasoning: 0,
        }
    }

    /// Impossible: a negative count of output tokens.
    pub const fn negative() -> Self {
        Self::of(12, -7)
    }

    /// Impossible in the formats that count cached tokens inside the prompt: 100 cached of 50.
    pub const fn more_cached_than_prompt() -> Self {
        Self {
            cache_read: 100,
            ..Self::of(-50, 7)
        }
    }

    /// All prompt tokens: what OpenAI and Gemini call the prompt.
    pub const fn prompt(&self) -> i64 {
        self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h
    }

    pub(crate) const fn cache_write(&self) -> i64 {
        self.cache_write_5m + self.cache_write_1h
    }
}

/// Where and when usage is reported. The others are what providers were seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reporting {
    /// As the format's documentation says; in OpenAI chat streams only when asked for.
    #[default]
    Honest,
    /// OpenAI chat streams: the usage chunk comes although nobody asked. Elsewhere as `Honest`.
    Unasked,
    /// OpenAI chat streams: on the chunk that carries the finish reason. Gemini: on the last chunk only.
    OnFinish,
    /// On every chunk, growing; Anthropic: in a second `message_delta` as well.
    OnEvery,
    /// Not at all.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_make_the_arguments_again() {
        let call = ToolCall {
            id: "i".into(),
            name: "n".into(),
            arguments: serde_json::json!({"city": "Zürich"}),
        };
        let fragments = call.fragments();
        assert_eq!(fragments.len(), 3);
        assert_eq!(fragments.concat(), r#"{"city":"Zürich"}"#);
    }

    #[test]
    fn tool_calls_decide_the_stop_unless_one_was_set() {
        let answer = Answer::tool_call("f", serde_json::json!({}));
        assert_eq!(answer.ends_as(), Stop::ToolCalls);
        assert_eq!(answer.stop(Stop::Length).ends_as(), Stop::Length);
    }
}
