//! Why a call went where it went, as its receipt carries it.
//!
//! The text of a record whose form is routing's and has versions of its own. A receipt is read for the accounts, by programs
//! of any version: what only explains a call must never make its receipt unreadable, so here it is text.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The JSON text of a decision's record.
#[derive(Clone)]
pub struct DecisionText(Box<RawValue>);

impl DecisionText {
    /// The text of a record; `None` where it cannot be told as JSON.
    pub fn of(record: &impl Serialize) -> Option<Self> {
        serde_json::value::to_raw_value(record).ok().map(Self)
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for DecisionText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for DecisionText {}

impl fmt::Debug for DecisionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for DecisionText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DecisionText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

/// `logs.decisions`: of which calls it is kept why they went where they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepDecisions {
    /// Of none.
    Off,
    /// Of those that were tried more than once or did not end well, those for which a candidate was set aside that was not
    /// well at that moment, and one in sixteen of the others.
    #[default]
    Notable,
    /// Of all.
    All,
}
