//! What a model may use.

use domain::Dialect;
use serde_json::Value;

use super::{CacheMark, Extra, Losses, Mcp, native_name, nested};

/// A tool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tool {
    /// Run by the client, with arguments by a schema.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// JSON Schema of its arguments; `None`: it takes none.
        schema: Option<Value>,
        /// Whether arguments must keep to the schema exactly.
        strict: Option<bool>,
        /// Everything up to and including this tool is to be cached.
        cache: Option<CacheMark>,
        /// What only one family can say of it.
        extra: Extra,
    },
    /// Run by the client, with free text as input (OpenAI's custom tools).
    Custom {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// OpenAI's grammar, as it came.
        format: Option<Value>,
        /// What only one family can say of it.
        extra: Extra,
    },
    /// Run by the provider.
    Hosted(Hosted),
}

impl Tool {
    /// Its name; of hosted ones none.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Function { name, .. } | Self::Custom { name, .. } => Some(name),
            Self::Hosted(_) => None,
        }
    }

    /// Leaves only the tools of these names, for formats in which a choice among some can only be had by offering no others.
    pub(crate) fn retain_allowed(tools: &mut Vec<Self>, names: &[String], losses: &mut Losses) {
        let all = tools.len();
        tools.retain(|tool| tool.name().is_some_and(|name| names.iter().any(|known| known == name)));
        losses.note_if(
            tools.len() < all,
            "tool_choice.allowed_tools",
            "the format cannot forbid some of the tools; those that are not allowed are not offered",
        );
    }

    /// The same, to be changed.
    pub(crate) const fn name_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Function { name, .. } | Self::Custom { name, .. } => Some(name),
            Self::Hosted(_) => None,
        }
    }
}

/// The input of a custom tool that was called as a function of one text, as formats without custom tools are told it:
/// the text of an object with nothing but one text in it; anything else is the input as it is.
pub(crate) fn free_text(arguments: String) -> String {
    let only = nested::object(&arguments);
    let mut members = only.into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((_, Value::String(text))), None) => text,
        _ => arguments,
    }
}

/// A tool that the provider runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hosted {
    /// What it does, where more than one family has such a tool.
    pub(crate) kind: HostedKind,
    /// Whose words `native` is in.
    pub(crate) origin: Dialect,
    /// The declaration as it came.
    pub(crate) native: Value,
}

/// Members of declarations whose meaning [`HostedKind`] has, in the words of all families.
const COMMON: [&str; 10] = [
    "type",
    "name",
    "max_uses",
    "allowed_domains",
    "blocked_domains",
    "filters",
    "user_location",
    "allowed_callers",
    "cache_control",
    "container",
];

impl Hosted {
    /// What it is called where it is lost: `tools.file_search`.
    pub(crate) fn lost_name(&self) -> String {
        match self.kind {
            HostedKind::Mcp(_) => "tools.mcp".to_owned(),
            _ => format!("tools.{}", native_name(&self.native)),
        }
    }

    /// What the declaration says beyond [`Self::kind`], by name: lost where another family's tool stands in. `told` is what
    /// that family can say too.
    pub(crate) fn unsaid(&self, told: &[&str]) -> Vec<&str> {
        let members = match (self.origin, self.native.as_object()) {
            // Gemini's declarations stand in a member of their own.
            (Dialect::Gemini, Some(outer)) => outer.values().next().and_then(Value::as_object),
            (_, members) => members,
        };
        let names = members.into_iter().flatten().filter(|(_, value)| !value.is_null());
        names
            .map(|(name, _)| name.as_str())
            .filter(|name| !COMMON.contains(name) && !told.contains(name))
            .collect()
    }
}

/// Hosted tools that more than one family has, with what they have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HostedKind {
    /// Searches the web.
    WebSearch {
        /// At most so many searches.
        max_uses: Option<u64>,
        /// Only there.
        allowed_domains: Vec<String>,
        /// Not there.
        blocked_domains: Vec<String>,
        /// `{type: approximate, city, region, country, timezone}`, which Anthropic and OpenAI write alike.
        user_location: Option<Value>,
    },
    /// Runs code in the provider's sandbox.
    CodeExecution,
    /// Reads addresses that the prompt names.
    WebFetch,
    /// Calls tools of a remote server.
    Mcp(Mcp),
    /// Only one family has it.
    Other,
}

/// Whether the model must use tools.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToolChoice {
    /// As it likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
    /// One of these, or (where `required` is not set) none.
    Allowed {
        /// Which.
        names: Vec<String>,
        /// Whether one must be used.
        required: bool,
    },
    /// Something only one family can say, as it came.
    Native {
        /// Whose words.
        origin: Dialect,
        /// As it came.
        value: Value,
    },
}
