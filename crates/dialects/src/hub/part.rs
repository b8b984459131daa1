//! What messages and answers are made of.

use domain::Dialect;
use serde_json::{Map, Value};

use super::{Deed, Signature, nested};
use crate::limits::WAITING_MAX;

/// Members that only one family of formats knows, as they came: put back where the same family is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extra {
    /// Who wrote them.
    pub(crate) origin: Option<Dialect>,
    /// Name and value.
    pub(crate) members: Map<String, Value>,
}

impl Extra {
    /// Members that another family cannot say, by name; what only repeats in one family's words what the vocabulary says
    /// too (the pieces of a summary, that an item is whole, a resolution beside [`Media::detail`]) is not lost with it.
    pub(crate) fn unsaid(&self) -> impl Iterator<Item = &str> {
        let is_told = |name: &str| {
            matches!(
                (self.origin, name),
                (Some(Dialect::OpenaiResponses), "summary" | "status") | (Some(Dialect::Gemini), "mediaResolution")
            )
        };
        self.members
            .keys()
            .map(String::as_str)
            .filter(move |name| !is_told(name))
    }
}

/// One piece of a message or an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// What it is.
    pub(crate) content: Content,
    /// Everything up to and including this part is to be cached by the provider.
    pub(crate) cache: Option<CacheMark>,
    /// The provider's seal on this part, to be sent back with it unchanged (Gemini's `thoughtSignature`, which stands on
    /// texts and tool calls). A thinking part's own seal stands in [`Thinking::signature`].
    pub(crate) signature: Option<Signature>,
    /// The provider's id of the item, where items have one (Responses).
    pub(crate) item: Option<String>,
    /// What only one family can say of it.
    pub(crate) extra: Extra,
}

impl Part {
    /// A part that is nothing but its content.
    pub(crate) fn new(content: Content) -> Self {
        Self {
            content,
            cache: None,
            signature: None,
            item: None,
            extra: Extra::default(),
        }
    }

    /// A plain text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text {
            text: text.into(),
            citations: Vec::new(),
        })
    }

    /// The text, if it is a plain text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The kinds of content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// Text, with what it rests on.
    Text {
        /// The text.
        text: String,
        /// Where it comes from, in the order in which the provider said it.
        citations: Vec<Citation>,
    },
    /// The model declines, in its own words.
    Refusal(String),
    /// An image, sound, film or document.
    Media(Media),
    /// Reasoning.
    Thinking(Thinking),
    /// The model wants a tool called by the client.
    ToolCall(ToolCall),
    /// What the client's tool said.
    ToolResult(ToolResult),
    /// Something of a tool that the provider itself runs (a search and its results, code and its output), in the words of
    /// its format: only that family can read it. Others get it as [`Content::Deed`], as far as they have words for it.
    Native {
        /// Whose words.
        origin: Dialect,
        /// The item, block or part as it came.
        value: Value,
    },
    /// What another family's provider did by itself. No decoder makes these: whoever translates an answer does.
    Deed(Box<Deed>),
}

/// Media.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Media {
    /// What it is.
    pub(crate) kind: MediaKind,
    /// Where it is.
    pub(crate) source: Source,
    /// Its MIME type; empty where it was not said and cannot be told from a data URL.
    pub(crate) mime: String,
    /// File name or title.
    pub(crate) name: Option<String>,
    /// How closely the model shall look: `low`, `high`, `auto` (OpenAI), or Gemini's media resolution in these words.
    pub(crate) detail: Option<String>,
    /// Anthropic: what a document is about.
    pub(crate) context: Option<String>,
    /// Anthropic: whether the answer shall cite it.
    pub(crate) cite: Option<bool>,
}

impl Media {
    /// Whether it is text in the request itself, not a file of text.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.source, Source::Text(_) | Source::Parts(_))
    }
}

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// A film.
    Video,
    /// A PDF or another document.
    Document,
}

impl MediaKind {
    /// The kind that a MIME type means.
    pub(crate) fn of(mime: &str) -> Self {
        match mime.split('/').next() {
            Some("image") => Self::Image,
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            _ => Self::Document,
        }
    }
}

/// A name for a file that has none, for formats that refuse data without one.
pub(crate) fn nameless(mime: &str) -> String {
    let ending = match mime {
        "" | "application/pdf" => "pdf",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation" => "pptx",
        other => other.rsplit('/').next().unwrap_or("bin"),
    };
    format!("document.{ending}")
}

/// Where media are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// Here, in base64 without a `data:` prefix.
    Base64(String),
    /// At an address.
    Url(String),
    /// At the provider, uploaded before.
    File(String),
    /// Here, as plain text (Anthropic's text documents).
    Text(String),
    /// Here, as parts (Anthropic's content documents: what can be cited are the parts).
    Parts(Vec<Part>),
}

/// Reasoning.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Thinking {
    /// What may be read of it. Empty where the provider hides it.
    pub(crate) text: String,
    /// Whether `text` is a summary (Responses, Gemini) rather than the reasoning itself.
    pub(crate) is_summary: bool,
    /// The provider's seal (Anthropic: `signature`; Responses: `encrypted_content`); a redacted block is nothing but this.
    pub(crate) signature: Option<Signature>,
    /// Anthropic's `redacted_thinking`.
    pub(crate) redacted: bool,
}

/// A call of a tool by the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ToolCall {
    /// The provider's id; `None` where it gives none (older Gemini models).
    pub(crate) id: Option<String>,
    /// Which tool.
    pub(crate) name: String,
    /// JSON text, as the model wrote it; free text where `custom`. Empty while a stream has not told it.
    pub(crate) arguments: String,
    /// Whether it is a call of a custom tool, whose input is free text.
    pub(crate) custom: bool,
}

/// The member that carries arguments that are no JSON object to formats that want an object, the same one in all of them.
/// Not `input`, which carries the free text of custom tools and which many tools have: a tool's own check must fail on it.
pub(crate) const NO_OBJECT: &str = "arguments";

impl ToolCall {
    /// Whether its arguments end before they are a JSON object: so they do where a bound on the output cut the answer.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.custom && nested::object(&self.arguments).is_none()
    }
}

/// What a tool said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ToolResult {
    /// The call that it answers; empty where the format knows names only.
    pub(crate) call: String,
    /// The tool. Decoders leave it empty where their format does not say it; [`super::Request::link_tools`] fills it in.
    pub(crate) name: String,
    /// Texts and media.
    pub(crate) parts: Vec<Part>,
    /// Whether it failed; `None`: not said.
    pub(crate) is_error: Option<bool>,
    /// Whether it answers a custom tool.
    pub(crate) custom: bool,
}

/// A cache marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheMark {
    /// How long: `5m`, `1h`; `None`: as the provider likes.
    pub(crate) ttl: Option<String>,
}

/// What a text rests on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Citation {
    /// Characters of the answer's text part that it is about, from and up to (exclusive), where the format says so.
    pub(crate) span: Option<(u64, u64)>,
    /// The words that are cited.
    pub(crate) quote: Option<String>,
    /// Where they stand.
    pub(crate) source: CitedSource,
    /// The whole as it came, for the same family.
    pub(crate) native: Option<(Dialect, Value)>,
}

impl Citation {
    /// Bytes that it costs, roughly.
    pub(crate) fn weight(&self) -> usize {
        let quote = self.quote.as_ref().map_or(0, String::len);
        quote + self.native.as_ref().map_or(256, |(_, value)| super::weight(value))
    }

    /// The same about all of a text of so many characters, where the format does not count them.
    pub(crate) fn of_all(mut self, chars: u64) -> Self {
        self.span = self.span.or(Some((0, chars)));
        self
    }
}

/// What a streamed text rests on, where the format means all of it: it waits until the text is whole, because other formats
/// count the characters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cited {
    chars: u64,
    waiting: Vec<Citation>,
    bytes: usize,
}

impl Cited {
    /// The text goes on, by so many characters.
    pub(crate) const fn grow(&mut self, chars: usize) {
        self.chars = self.chars.saturating_add(chars as u64);
    }

    /// Keeps a citation; one that there is no room for comes back, to be told as it is.
    pub(crate) fn keep(&mut self, citation: Citation) -> Option<Citation> {
        let bytes = self.bytes + citation.weight();
        if bytes > WAITING_MAX {
            return Some(citation);
        }
        self.bytes = bytes;
        self.waiting.push(citation);
        None
    }

    /// The text is whole.
    pub(crate) fn finish(self) -> impl Iterator<Item = Citation> {
        let chars = self.chars;
        self.waiting.into_iter().map(move |citation| citation.of_all(chars))
    }
}

/// Where in a document words stand, from and up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentPlace {
    /// Characters.
    Chars(u64, u64),
    /// Pages.
    Pages(u64, u64),
    /// Parts of a document that is given in parts.
    Blocks(u64, u64),
}

/// Where cited words stand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CitedSource {
    /// A page of the web.
    Url {
        /// Its address.
        url: String,
        /// Its title.
        title: Option<String>,
    },
    /// A document of the request.
    Document {
        /// Which, from 0.
        index: u64,
        /// Its title.
        title: Option<String>,
        /// Where in it.
        place: Option<DocumentPlace>,
    },
    /// A file at the provider.
    File {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
    },
    /// Something that only its own format can say; see `native`.
    Other,
}
