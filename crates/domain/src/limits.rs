//! Rate limits as declared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of one key or user. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute.
    pub rpm: u32,
    /// Tokens per minute, input and output together.
    pub tpm: u32,
    /// Calls open at the same time.
    pub concurrency: u32,
}

impl Limits {
    /// Each limit that is not set taken from `defaults`.
    pub const fn or(self, defaults: Self) -> Self {
        const fn pick(own: u32, default: u32) -> u32 {
            if own == 0 { default } else { own }
        }
        Self {
            rpm: pick(self.rpm, defaults.rpm),
            tpm: pick(self.tpm, defaults.tpm),
            concurrency: pick(self.concurrency, defaults.concurrency),
        }
    }
}
