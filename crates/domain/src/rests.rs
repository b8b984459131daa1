//! What providers named of a credential's rests, to be known after a restart.
//!
//! Only what was named: a guess is as good made anew, while a time that a provider gave is kept to the letter, also by who
//! did not hear it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Windows};

/// Until when a credential rests, and the allowances of its account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedRests {
    /// All of it.
    pub until: Timestamp,
    /// Single models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<(Arc<str>, Timestamp)>,
    /// The allowances of its account.
    #[serde(skip_serializing_if = "Windows::is_empty")]
    pub windows: Windows,
}
