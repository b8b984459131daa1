//! What the demonstration says, whatever the format it is asked in.
//!
//! A dialect reads its request into a [`Prompt`] and gets back a [`Said`]: text that repeats what the user said (so that
//! a newcomer sees that their own words went through), or a call of one of the tools they offered. One decision for all
//! dialects is what makes them agree, and what makes a stream agree with the plain answer: both are made of the same
//! [`Said::pieces`], and the pieces are the tokens.

use serde_json::Value;

use super::arguments;
use super::refusal::Refusal;

/// Characters of the caller's own text that are repeated: enough to recognise it, and a bound for the answer.
const ECHO_CHARS_MAX: usize = 400;

/// Characters of one piece. Text without spaces (Chinese, JSON) streams in pieces, too.
const PIECE_CHARS_MAX: usize = 16;

/// Bytes of a tool's name: twice what the providers allow. It is repeated in every choice.
const NAME_MAX: usize = 128;

/// Choices of one answer. `OpenAI` allows 128; each costs a copy of the script.
const CHOICES_MAX: u64 = 16;

/// How every text ends.
const NOTE: &str = "This is Tollgate's built-in demo; add a provider key to talk to a real model.";

/// Members that hold pictures, sounds and documents, or say only what a thing is: their bytes are not words.
const NOT_WORDS: &[&str] = &[
    "role",
    "type",
    "data",
    "url",
    "image_url",
    "file_data",
    "fileData",
    "inlineData",
];

/// A request, as far as it decides what is said.
#[derive(Clone, Debug)]
pub(crate) struct Prompt<'a> {
    /// How the conversation ends.
    pub(crate) last: Last,
    /// The functions that may be called.
    pub(crate) tools: Vec<Tool<'a>>,
    /// Whether, and which.
    pub(crate) choice: Choice<'a>,
    /// The form of a text.
    pub(crate) format: Format<'a>,
    /// The most tokens that the answer may have.
    pub(crate) tokens_max: Option<u64>,
    /// Tokens of the request.
    pub(crate) input_tokens: u64,
}

/// How a conversation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The user said this.
    User(String),
    /// A tool answered this.
    ToolResult(String),
    /// The model spoke last; before that, the user said this.
    Model(String),
}

/// A function that may be called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The JSON Schema of its arguments, if it has any.
    pub(crate) schema: Option<&'a Value>,
}

/// Whether tools may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// The first one.
    First,
    /// None of them.
    Never,
    /// This one.
    Named(&'a str),
}

/// The form of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format<'a> {
    /// Prose.
    Prose,
    /// Any JSON object.
    Json,
    /// JSON that conforms to a schema.
    Schema(&'a Value),
}

/// What the demonstration says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// A text.
    Text {
        /// All of it.
        text: String,
        /// Whether the caller's bound cut it.
        cut: bool,
    },
    /// A call of a tool.
    Call {
        /// Which.
        name: String,
        /// A JSON object.
        arguments: Value,
        /// The same as text.
        text: String,
    },
}

impl Prompt<'_> {
    /// Decides what to say. A call that would exceed the caller's bound is not begun; a text is cut.
    ///
    /// # Errors
    /// If the tool that the caller chose is not among the tools.
    pub(crate) fn reply(&self) -> Result<Said, Refusal> {
        let bound = self.tokens_max.unwrap_or(u64::MAX);
        match self.call()? {
            Some(call) if call.tokens() <= bound => Ok(call),
            _ => Ok(cut_to(self.text(), bound)),
        }
    }

    fn call(&self) -> Result<Option<Said>, Refusal> {
        let tool = match self.choice {
            Choice::Never => None,
            Choice::First => self.tools.first(),
            Choice::Named(name) => Some(self.tools.iter().find(|tool| tool.name == name).ok_or_else(|| {
                Refusal::value(
                    "tool_choice",
                    format!("Tool choice '{name}' not found in 'tools' parameter."),
                )
            })?),
        };
        let Some(tool) = tool.filter(|_| matches!(self.last, Last::User(_))) else {
            return Ok(None);
        };
        if tool.name.len() > NAME_MAX {
            return Err(Refusal::value(
                "tools",
                format!("The name of a tool may have at most {NAME_MAX} bytes."),
            ));
        }
        let arguments = arguments::for_schema(tool.schema);
        let text = arguments.to_string();
        Ok(Some(Said::Call {
            name: tool.name.to_owned(),
            arguments,
            text,
        }))
    }

    fn text(&self) -> String {
        let (begins, words) = match &self.last {
            Last::User(text) | Last::Model(text) => ("You said", text),
            Last::ToolResult(text) => ("The tool answered", text),
        };
        let echo = echo(words);
        match self.format {
            Format::Prose if echo.is_empty() => format!("{begins} nothing that is text. {NOTE}"),
            Format::Prose => format!("{begins}: \"{echo}\". {NOTE}"),
            Format::Json => serde_json::json!({"echo": echo, "note": NOTE}).to_string(),
            Format::Schema(schema) => arguments::example(schema).to_string(),
        }
    }
}

impl Said {
    /// What is streamed: words of the text, or fragments of the arguments.
    pub(crate) fn pieces(&self) -> Vec<&str> {
        match self {
            Self::Text { text, .. } | Self::Call { text, .. } => pieces(text),
        }
    }

    /// Output tokens: a piece is a token, and so is the name of a tool.
    pub(crate) fn tokens(&self) -> u64 {
        let name = u64::from(matches!(self, Self::Call { .. }));
        name + self.pieces().len() as u64
    }
}

/// Splits a text into words with the space before them, so that they concatenate to the text again.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut length, mut in_word) = (0, 0, false);
    for (at, letter) in text.char_indices() {
        let word_ends = in_word && letter.is_whitespace();
        if at > start && (word_ends || length == PIECE_CHARS_MAX) {
            found.push(&text[start..at]);
            (start, length) = (at, 0);
        }
        length += 1;
        in_word = !letter.is_whitespace();
    }
    if start < text.len() {
        found.push(&text[start..]);
    }
    found
}

/// Tokens of a part of a request: the pieces of all texts in it, wherever they are, except media.
pub(crate) fn tokens_in(value: &Value) -> u64 {
    match value {
        Value::String(text) => pieces(text).len() as u64,
        Value::Array(items) => items.iter().map(tokens_in).sum(),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !NOT_WORDS.contains(&name.as_str()))
            .map(|(_, value)| tokens_in(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Tokens of the named members of a request; never 0, because an empty prompt is one token at every provider.
pub(crate) fn input_tokens(body: &Value, members: &[&str]) -> u64 {
    members
        .iter()
        .filter_map(|name| body.get(name))
        .map(tokens_in)
        .sum::<u64>()
        .max(1)
}

/// The text of a message's content: a string, or the `text` members of its parts.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts
                .iter()
                .filter_map(|part| part.as_str().or_else(|| part.get("text")?.as_str()));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// The text of a tool's result: what [`text_of`] finds, else its JSON.
pub(crate) fn result_text(result: &Value) -> String {
    let text = text_of(result);
    if text.is_empty() && !result.is_string() && !result.is_null() {
        result.to_string()
    } else {
        text
    }
}

/// The member called `name`, unless it is `null`.
pub(crate) fn given<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

/// The members of an array called `name`, or none.
pub(crate) fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A whole number above 0 called `name`, where it is given.
///
/// # Errors
/// If it is something else.
pub(crate) fn count(body: &Value, name: &'static str) -> Result<Option<u64>, Refusal> {
    let Some(value) = given(body, name) else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(Refusal::value(
            name,
            format!("Invalid '{name}': expected an integer above 0, but got {value}."),
        )),
    }
}

/// How many choices are asked for under `name`.
///
/// # Errors
/// If it is no number above 0, or more than the demonstration gives.
pub(crate) fn choices(body: &Value, name: &'static str) -> Result<u64, Refusal> {
    let number = count(body, name)?.unwrap_or(1);
    if number > CHOICES_MAX {
        return Err(Refusal::value(
            name,
            format!("Invalid '{name}': the demo gives at most {CHOICES_MAX} choices."),
        ));
    }
    Ok(number)
}

/// The caller's words, shortened.
fn echo(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The text with at most `bound` tokens.
fn cut_to(text: String, bound: u64) -> Said {
    let bound = usize::try_from(bound).unwrap_or(usize::MAX);
    let found = pieces(&text);
    if found.len() <= bound {
        return Said::Text { text, cut: false };
    }
    Said::Text {
        text: found[..bound].concat(),
        cut: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prompt(last: Last) -> Prompt<'static> {
        Prompt {
            last,
            tools: Vec::new(),
            choice: Choice::First,
            format: Format::Prose,
            tokens_max: None,
            input_tokens: 1,
        }
    }

    fn text(said: Said) -> String {
        match said {
            Said::Text { text, .. } => text,
            Said::Call { .. } => panic!("a text was expected, not {said:?}"),
        }
    }

    #[test]
    fn pieces_concatenate_to_the_text_and_stay_short() {
        for text in [
            "",
            "a",
            " a  b\n\nc ",
            "你好你好你好你好你好你好你好你好你好",
            "one two",
            "{\"a\":\"b c\"}",
            "   ",
        ] {
            let found = pieces(text);
            assert_eq!(found.concat(), text);
            assert!(
                found
                    .iter()
                    .all(|piece| !piece.is_empty() && piece.chars().count() <= PIECE_CHARS_MAX),
                "{found:?}"
            );
        }
        assert_eq!(pieces("Hello, big world"), ["Hello,", " big", " world"]);
        assert_eq!(pieces(&"x".repeat(40)).len(), 3);
    }

    #[test]
    fn the_prompt_is_repeated_and_bounded() {
        let said = text(prompt(Last::User(" hello ".into())).reply().unwrap());
        assert_eq!(said, format!("You said: \"hello\". {NOTE}"));
        let said = text(prompt(Last::User("é".repeat(100_000))).reply().unwrap());
        assert!(
            said.contains(&format!("\"{}…\"", "é".repeat(ECHO_CHARS_MAX))) && said.len() < 1_000,
            "{said}"
        );
    }

    #[test]
    fn a_bound_cuts_the_text_and_prevents_a_call() {
        let mut asked = prompt(Last::User("hello".into()));
        asked.tokens_max = Some(2);
        let cut = Said::Text {
            text: "You said:".into(),
            cut: true,
        };
        assert_eq!(asked.reply().unwrap(), cut);
        asked.tools = vec![Tool {
            name: "now",
            schema: None,
        }];
        asked.tokens_max = Some(1);
        assert_eq!(
            asked.reply().unwrap(),
            Said::Text {
                text: "You".into(),
                cut: true
            }
        );
        asked.tokens_max = Some(2);
        assert!(matches!(asked.reply().unwrap(), Said::Call { .. }));
    }

    #[test]
    fn tools_are_called_for_the_user_only() {
        let mut asked = prompt(Last::User("hello".into()));
        asked.tools = vec![
            Tool {
                name: "a",
                schema: None,
            },
            Tool {
                name: "b",
                schema: None,
            },
        ];
        let name = |said: Said| match said {
            Said::Call { name, .. } => name,
            Said::Text { .. } => "none".to_owned(),
        };
        assert_eq!(name(asked.reply().unwrap()), "a");
        asked.choice = Choice::Named("b");
        assert_eq!(name(asked.reply().unwrap()), "b");
        asked.choice = Choice::Named("c");
        assert!(asked.reply().is_err());
        asked.choice = Choice::Never;
        assert_eq!(name(asked.reply().unwrap()), "none");
        asked.choice = Choice::First;
        asked.last = Last::ToolResult("22 degrees".into());
        assert!(text(asked.reply().unwrap()).starts_with("The tool answered: \"22 degrees\"."));
        let long = "x".repeat(NAME_MAX + 1);
        let mut wordy = prompt(Last::User("hello".into()));
        wordy.tools = vec![Tool {
            name: "x",
            schema: None,
        }];
        assert!(wordy.reply().is_ok());
        wordy.tools = vec![Tool {
            name: Box::leak(long.into_boxed_str()),
            schema: None,
        }];
        assert!(wordy.reply().is_err());
        asked.last = Last::Model("hello".into());
        assert!(text(asked.reply().unwrap()).starts_with("You said: \"hello\"."));
    }

    #[test]
    fn json_is_said_where_json_is_asked() {
        let mut asked = prompt(Last::User("say \"hi\"".into()));
        asked.format = Format::Json;
        let said: Value = serde_json::from_str(&text(asked.reply().unwrap())).unwrap();
        assert_eq!(said["echo"], "say \"hi\"");
        let schema = json!({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]});
        asked.format = Format::Schema(&schema);
        let said: Value = serde_json::from_str(&text(asked.reply().unwrap())).unwrap();
        assert!(said["age"].is_i64());
    }

    #[test]
    fn tokens_are_counted_wherever_the_words_are() {
        let plain = json!([{"role": "user", "content": "two words"}]);
        let parts = json!([{"role": "user", "content": [
            {"type": "text", "text": "two words"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        ]}]);
        assert_eq!((tokens_in(&plain), tokens_in(&parts)), (2, 2));
        assert_eq!(input_tokens(&json!({"messages": [], "other": "x"}), &["messages"]), 1);
    }

    #[test]
    fn counts_must_be_above_zero_and_choices_few() {
        assert_eq!(count(&json!({"n": 3}), "n").unwrap(), Some(3));
        assert_eq!(count(&json!({"n": null}), "n").unwrap(), None);
        for wrong in [json!(0), json!(-1), json!("3"), json!(1.5)] {
            assert!(count(&json!({"n": wrong}), "n").is_err(), "{wrong}");
        }
        assert_eq!(choices(&json!({"n": CHOICES_MAX}), "n").unwrap(), CHOICES_MAX);
        assert!(choices(&json!({"n": CHOICES_MAX + 1}), "n").is_err());
    }
}
