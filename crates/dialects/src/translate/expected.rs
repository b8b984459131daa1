//! What a client is told of the usage when the upstream says nothing of it.
//!
//! Then the call is billed by an estimate, and a client that reads 0 tokens believes that it was not. How tokens are
//! estimated is not this crate's affair: the gateway says how, so that what is told is what stands in the receipt.

use domain::Usage;

/// How to estimate what an answer consumed.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Tokens of the request.
    pub input: u64,
    /// Tokens of so many bytes of generated text.
    pub output_tokens: fn(u64) -> u64,
}

impl Expected {
    /// The usage of an answer of so many bytes.
    pub(super) fn usage(self, content_bytes: u64) -> Usage {
        Usage {
            input: self.input,
            output: (self.output_tokens)(content_bytes),
            ..Usage::default()
        }
    }

    /// The same for who goes on with an answer that another one began: what was told is in the request.
    pub(super) fn begun_with(self, told: &str) -> Self {
        let told = (self.output_tokens)(told.len() as u64);
        Self {
            input: self.input.saturating_add(told),
            ..self
        }
    }
}
