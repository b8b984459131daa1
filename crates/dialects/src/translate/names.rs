//! Names of tools that a target would refuse.
//!
//! Formats differ in what a tool may be called: Gemini takes `crm.find:one`, nobody else does; Anthropic takes 128
//! characters, others 64. A target is given a name that it takes, and a call comes back under the client's own: the client
//! could not dispatch any other. So nothing is lost by it, and nobody is told.
//!
//! Which name stands for which is found out anew for the request and for its answer, from the names that the request has,
//! in its order. A later request with the same tools, and with a history in the client's names, comes to the same names: the
//! prompt stays what it was, for the provider's cache too. A name that had to be cut, or that another one has already,
//! carries a checksum of the whole, so that it does not depend on its neighbours.
//!
//! A target in the client's own format gets the names as they are, as it would without us.

use std::collections::{HashMap, HashSet};

use domain::Dialect;

use crate::hub::{Answer, Content, Event, Part, Request, ToolChoice};

/// Bytes of a checksum with what joins it.
const SUM: usize = 9;

/// What a format lets tools be called.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Characters.
    most: usize,
    /// Allowed beside letters, digits, `_` and `-`.
    also: &'static str,
    /// Whether it must begin with a letter or `_`.
    begins_as_word: bool,
}

impl Rule {
    /// - Anthropic: `^[a-zA-Z0-9_-]{1,128}$` (<https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use>).
    /// - Bedrock: `[a-zA-Z0-9_-]+`, at most 64
    ///   (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html>).
    /// - OpenAI: "a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length of 64" (openai-python,
    ///   `types/shared/function_definition.py`). Responses takes up to 128; other servers of the format need not.
    /// - Gemini: "must start with a letter or an underscore", then also `.`, `:` and `-`, at most 64 (googleapis/python-genai,
    ///   `types.FunctionDeclaration`; newer texts of it say 128).
    const fn of(dialect: Dialect) -> Self {
        let (most, also) = match dialect {
            Dialect::AnthropicMessages => (128, ""),
            Dialect::Gemini => (64, ".:"),
            Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::BedrockConverse => (64, ""),
        };
        Self {
            most,
            also,
            begins_as_word: matches!(dialect, Dialect::Gemini),
        }
    }

    /// What every format takes.
    const STRICTEST: Self = Self {
        most: 64,
        also: "",
        begins_as_word: true,
    };

    fn allows(self, sign: char) -> bool {
        sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-') || self.also.contains(sign)
    }

    fn begins(self, name: &str) -> bool {
        let first = name.bytes().next();
        first.is_some_and(|first| !self.begins_as_word || first.is_ascii_alphabetic() || first == b'_')
    }

    fn takes(self, name: &str) -> bool {
        self.begins(name) && name.len() <= self.most && name.chars().all(|sign| self.allows(sign))
    }

    /// The nearest name that the rule takes, but for its length.
    fn nearest(self, name: &str) -> String {
        let mut near = String::with_capacity(name.len() + 1);
        near.extend(name.chars().map(|sign| if self.allows(sign) { sign } else { '_' }));
        if !self.begins(&near) {
            near.insert(0, '_');
        }
        near
    }
}

/// The names that a request has for its tools, where some target may refuse one of them; else none.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolNames {
    client: Option<Dialect>,
    given: Vec<String>,
}

impl ToolNames {
    /// Of a request of a client of `client`: declared ones first, since they are the same in each turn.
    pub(super) fn of(request: &Request, client: Dialect) -> Self {
        let mut names = names(request);
        if names.all(|name| Rule::STRICTEST.takes(name)) {
            return Self::default();
        }
        let mut seen = HashSet::new();
        let given = self::names(request).filter(|name| seen.insert(*name));
        Self {
            client: Some(client),
            given: given.map(str::to_owned).collect(),
        }
    }

    /// Each name that a target of this dialect refuses, with what it is called there.
    fn changed(&self, target: Dialect) -> Vec<(&str, String)> {
        if self.client.is_none_or(|client| client == target) {
            return Vec::new();
        }
        let rule = Rule::of(target);
        let (fine, refused): (Vec<&str>, Vec<&str>) =
            self.given.iter().map(String::as_str).partition(|name| rule.takes(name));
        let mut used: HashSet<String> = fine.into_iter().map(str::to_owned).collect();
        let mut changed = Vec::with_capacity(refused.len());
        for name in refused {
            let near = rule.nearest(name);
            let mut told = near.clone();
            let mut sum = crc32fast::hash(name.as_bytes());
            while told.len() > rule.most || used.contains(&told) {
                // Only ASCII is left, so characters are bytes.
                let kept = near.get(..near.len().min(rule.most - SUM)).unwrap_or_default();
                told = format!("{kept}_{sum:08x}");
                sum = sum.wrapping_add(1);
            }
            used.insert(told.clone());
            changed.push((name, told));
        }
        changed
    }

    /// Gives the target of a request names that it takes.
    pub(super) fn tell(&self, request: &mut Request, target: Dialect) {
        let changed: HashMap<&str, String> = self.changed(target).into_iter().collect();
        if changed.is_empty() {
            return;
        }
        for name in names_mut(request) {
            if let Some(told) = changed.get(name.as_str()) {
                name.clone_from(told);
            }
        }
    }

    /// How calls of that target come back.
    pub(super) fn back_from(&self, target: Dialect) -> Back {
        let changed = self.changed(target).into_iter();
        Back(changed.map(|(name, told)| (told, name.to_owned())).collect())
    }
}

/// The client's names, by what a target calls them.
#[derive(Clone, Debug, Default)]
pub(super) struct Back(HashMap<String, String>);

impl Back {
    /// Names the calls of a whole answer as the client does.
    pub(super) fn answer(&self, answer: &mut Answer) {
        if !self.0.is_empty() {
            let parts = answer.choices.iter_mut().flat_map(|choice| &mut choice.parts);
            parts.for_each(|part| self.part(part));
        }
    }

    /// The same of a stream's event: a call begins with its name.
    pub(super) fn event(&self, event: &mut Event) {
        if let Event::Open { part, .. } = event
            && !self.0.is_empty()
        {
            self.part(part);
        }
    }

    fn part(&self, part: &mut Part) {
        if let Content::ToolCall(call) = &mut part.content
            && let Some(name) = self.0.get(&call.name)
        {
            call.name.clone_from(name);
        }
    }
}

fn names(request: &Request) -> impl Iterator<Item = &str> {
    let declared = request.tools.iter().filter_map(crate::hub::Tool::name);
    let chosen: &[String] = match &request.tool_choice {
        Some(ToolChoice::Named(name)) => std::slice::from_ref(name),
        Some(ToolChoice::Allowed { names, .. }) => names,
        _ => &[],
    };
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let said = parts.filter_map(|part| match &part.content {
        Content::ToolCall(call) => Some(call.name.as_str()),
        // One that names no tool is told by its call.
        Content::ToolResult(result) => Some(result.name.as_str()).filter(|name| !name.is_empty()),
        _ => None,
    });
    declared.chain(chosen.iter().map(String::as_str)).chain(said)
}

fn names_mut(request: &mut Request) -> impl Iterator<Item = &mut String> {
    let declared = request.tools.iter_mut().filter_map(crate::hub::Tool::name_mut);
    let chosen: &mut [String] = match &mut request.tool_choice {
        Some(ToolChoice::Named(name)) => std::slice::from_mut(name),
        Some(ToolChoice::Allowed { names, .. }) => names,
        _ => &mut [],
    };
    let parts = request.messages.iter_mut().flat_map(|message| &mut message.parts);
    let said = parts.filter_map(|part| match &mut part.content {
        Content::ToolCall(call) => Some(&mut call.name),
        Content::ToolResult(result) => Some(&mut result.name).filter(|name| !name.is_empty()),
        _ => None,
    });
    declared.chain(chosen).chain(said)
}

#[cfg(test)]
mod tests;
