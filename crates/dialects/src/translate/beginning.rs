//! What a model is given as the beginning of its own answer, when it takes up one that broke off.
//!
//! It is what the client was told, behind what the client had put there itself (a final message of the assistant's). Some
//! models say the beginning that they are given once more (Mistral's): then what was told holds the client's own already,
//! and must not be put behind it again.

use crate::hub::{Content, Request, Role};
use crate::limits::ECHO_MIN;

/// The beginning of an answer that is to be gone on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// What the client was told; empty: the answer begins again.
    pub told: String,
    /// What the client's own request begins the answer with.
    pub(super) own: String,
    /// Whether `told` holds `own` at its start, without white space at its end.
    pub holds_own: bool,
}

impl Beginning {
    /// The beginning of an answer to `request`. `is_repeated`: who told it is known to say once more what it was given.
    pub(super) fn new(request: &Request, told: String, is_repeated: bool) -> Result<Self, &'static str> {
        let own = begun(request);
        let repeated = own.trim_end();
        let is_believed = |length: usize| length > 0 && (is_repeated || length >= ECHO_MIN);
        if is_believed(told.len()) && repeated.starts_with(&told) {
            return Err("the model was still saying the client's own beginning once more");
        }
        Ok(Self {
            holds_own: is_believed(repeated.len()) && told.starts_with(repeated),
            told,
            own,
        })
    }

    /// All that stands in the model's message.
    pub(super) fn whole(&self) -> String {
        match (self.told.is_empty(), self.holds_own) {
            // It is as if nothing had been answered.
            (true, _) => String::new(),
            (false, true) => self.told.clone(),
            (false, false) => format!("{}{}", self.own, self.told),
        }
    }

    /// What of it stands behind the client's own.
    pub(super) fn added(&self) -> &str {
        let own = if self.holds_own { self.own.trim_end().len() } else { 0 };
        self.told.get(own..).unwrap_or_default()
    }
}

/// The text with which a request begins its answer itself.
fn begun(request: &Request) -> String {
    let last = request.messages.last().filter(|last| last.role == Role::Assistant);
    let parts = last.into_iter().flat_map(|last| &last.parts);
    let texts = parts.filter_map(|part| match &part.content {
        Content::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}
