//! What a choice may know about the call that it is made for.

use domain::Surface;

/// One call, as far as choosing is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What is asked, in which format.
    pub surface: Surface,
    /// What calls have in common that should meet again: a session, a user, the beginning of a conversation. Looked at by
    /// `sticky` only; without it that strategy draws.
    pub affinity: Option<u64>,
    /// Prompt tokens to expect. Looked at by `cheapest` only.
    pub input_tokens: u64,
    /// Output tokens to expect. Looked at by `cheapest` only.
    pub output_tokens: u64,
}

/// The call of which nothing but its kind is known: a short question with a short answer.
impl From<Surface> for Demand {
    fn from(surface: Surface) -> Self {
        Self {
            surface,
            affinity: None,
            input_tokens: 1_000,
            output_tokens: 1_000,
        }
    }
}
