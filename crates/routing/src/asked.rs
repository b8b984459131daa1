//! What a choice may know about the call that it is made for.

use domain::{Needs, Surface};

/// What a call asks for, as far as choosing is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What, in which format.
    pub surface: Surface,
    /// What a model must be able to do for it.
    pub needs: Needs,
    /// The profile of its key, in lower case: whose credentials it may use.
    pub profile: Option<&'a str>,
    /// What calls have in common that should meet again: a session, a user, the beginning of a conversation. Looked at by
    /// `sticky` only; without it that strategy draws.
    pub affinity: Option<u64>,
    /// Prompt tokens to expect. Looked at by `cheapest` only.
    pub input_tokens: u64,
    /// Output tokens to expect. Looked at by `cheapest` only.
    pub output_tokens: u64,
}

/// The call of which nothing but its kind is known: a short question with a short answer.
impl From<Surface> for Asked<'_> {
    fn from(surface: Surface) -> Self {
        Self {
            surface,
            needs: Needs::default(),
            profile: None,
            affinity: None,
            input_tokens: 1_000,
            output_tokens: 1_000,
        }
    }
}
