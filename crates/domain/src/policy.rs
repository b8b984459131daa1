//! What happens when the money ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a user's balance bounds spending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Metered, never refused.
    #[default]
    Unlimited,
    /// Admitted while the balance is above zero; the last call may take it below.
    Soft,
    /// A hold bounds the charge; the balance never ends below zero.
    Hard,
}
