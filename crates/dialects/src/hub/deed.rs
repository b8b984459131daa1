//! What a provider did by itself while a model answered: it searched the web, read a page, ran code, asked a remote tool.
//!
//! Within one family such a step stays in its own words ([`super::Content::Native`]), since only those are taken back whole.
//! Where another family reads it, it is said in these words ([`crate::translate`] does that): first what was asked for, then
//! what came of it, as two deeds of one name, because most formats tell them apart. Never is it a call of the client's
//! tools: a client must not be asked to do what was done.

use serde_json::Value;

/// Stands in the names of steps that we said in a client's words: when it sends them back, no provider of its format knows
/// them, and they must not be sent there as its own.
pub(crate) const MADE: &str = "_tollgate_";

/// Whether a block or an item is one that we made.
pub(crate) fn is_made(native: &Value) -> bool {
    let name = |member: &str| native.get(member).and_then(Value::as_str);
    let names = ["id", "tool_use_id"].into_iter().filter_map(name);
    names.map(str::as_bytes).any(is_made_name)
}

/// What a part in a family's own words is called where it is lost.
pub(crate) fn native_name(native: &Value) -> String {
    let kind = native.get("type").and_then(Value::as_str);
    let member = || native.as_object()?.keys().next().map(String::as_str);
    kind.or_else(member).unwrap_or("item").to_owned()
}

/// Whether a name is one that we made: a word for the kind, and the mark.
pub(crate) fn is_made_name(name: &[u8]) -> bool {
    let kind = name.iter().take_while(|letter| **letter != b'_').count();
    kind > 0 && name.get(kind..).is_some_and(|rest| rest.starts_with(MADE.as_bytes()))
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deed {
    /// What what came of it has in common with what was asked for; empty where the format has no names for it.
    pub(crate) id: String,
    /// What it is.
    pub(crate) act: Act,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// The web is searched for this.
    Search(Vec<String>),
    /// What was found, or the word for why nothing was.
    Found(Result<Vec<Page>, String>),
    /// The page at this address is read.
    Fetch(String),
    /// What it says, or the word for why it could not be read.
    Fetched(Result<Page, String>),
    /// This code is run.
    Run {
        /// The code.
        code: String,
        /// `python`, `bash`.
        language: &'static str,
    },
    /// What it printed.
    Ran {
        /// The words.
        text: String,
        /// Whether it failed.
        is_error: bool,
    },
    /// A tool of a remote (MCP) server is called.
    Remote {
        /// Which server, by its label.
        server: String,
        /// Which tool.
        tool: String,
        /// JSON text.
        arguments: String,
    },
    /// What it said.
    Replied {
        /// The words.
        text: String,
        /// Whether it failed.
        is_error: bool,
    },
}

/// A page of the web.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Its address.
    pub(crate) url: String,
    /// Its title; empty where it is not known.
    pub(crate) title: String,
    /// How old it is, in the provider's words.
    pub(crate) age: Option<String>,
    /// What it says; empty where the provider does not show it.
    pub(crate) text: String,
}

impl Deed {
    /// A deed.
    pub(crate) fn new(id: &str, act: Act) -> Self {
        Self { id: id.to_owned(), act }
    }

    /// Whether something is asked for, of which more will be told.
    pub(crate) const fn is_asked(&self) -> bool {
        matches!(
            self.act,
            Act::Search(_) | Act::Fetch(_) | Act::Run { .. } | Act::Remote { .. }
        )
    }

    /// What it is called where it is lost.
    pub(crate) const fn name(&self) -> &'static str {
        match self.act {
            Act::Search(_) | Act::Found(_) => "web search",
            Act::Fetch(_) | Act::Fetched(_) => "web fetch",
            Act::Run { .. } | Act::Ran { .. } => "code execution",
            Act::Remote { .. } | Act::Replied { .. } => "call of a remote tool",
        }
    }

    /// Bytes that it costs to keep this, roughly.
    pub(crate) fn weight(&self) -> usize {
        match &self.act {
            Act::Search(queries) => queries.iter().map(String::len).sum(),
            Act::Found(Ok(pages)) => pages.iter().map(|page| page.title.len() + page.url.len()).sum(),
            Act::Found(Err(text))
            | Act::Fetched(Err(text))
            | Act::Fetch(text)
            | Act::Ran { text, .. }
            | Act::Replied { text, .. } => text.len(),
            Act::Fetched(Ok(page)) => page.text.len(),
            Act::Run { code, .. } => code.len(),
            Act::Remote {
                server,
                tool,
                arguments,
            } => server.len() + tool.len() + arguments.len(),
        }
    }
}
