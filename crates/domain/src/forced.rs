//! What an operator decides on an upstream's breaker, against what the breaker would find out by itself.

use serde::{Deserialize, Serialize};

/// What an operator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// Ask it nothing.
    Open,
    /// Ask it whatever it does.
    Closed,
}

impl Forced {
    /// The word in tables, JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    /// The decision that a word means.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Closed]
            .into_iter()
            .find(|forced| forced.name() == name)
    }
}
