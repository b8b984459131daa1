//! Model listings, in the caller's format.

use bytes::Bytes;
use domain::Dialect;

/// A model as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedModel<'a> {
    /// The name that the client uses.
    pub id: &'a str,
    /// Who serves it.
    pub owner: &'a str,
    /// Tokens of context; 0 where unknown.
    pub context: u64,
    /// Tokens of output at most; 0 where unknown.
    pub max_output: u64,
    /// When it came, in Unix seconds.
    pub created: i64,
}

/// The listing of `models`.
pub fn model_list(dialect: Dialect, models: &[ListedModel<'_>]) -> Bytes {
    let _ = (dialect, models);
    Bytes::new()
}

/// The card of one model.
pub fn model_card(dialect: Dialect, model: &ListedModel<'_>) -> Bytes {
    let _ = (dialect, model);
    Bytes::new()
}
