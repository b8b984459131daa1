//! `/api/explain`: where a call would go at this moment, in which order, and why not elsewhere.
//!
//! Asked of the same code that decides for calls, with what it knows now: open breakers, resting credentials, whose turn
//! it is. The same [`Decision`] is in the log detail of a call, and is what `tollgate explain` shows, from a running server or,
//! without one, from what is declared.

use axum::Json;
use axum::extract::State;
use domain::{Capability, CapabilitySet, Dialect, Needs, Operation, Surface};
use routing::Decision;
use serde::Deserialize;

use crate::Shared;
use crate::asked::{InQuery, whole};
use crate::auth::Operator;
use crate::error::ApiError;

/// Why a call has no record.
pub const NOT_KEPT: &str = "no decision is kept of this call: it ended well at its first attempt (`logs.decisions: all` keeps \
                            every one), its log was cleared, or an older version served it";

/// What a question names, and the mend where it names nothing.
pub fn surface(operation: &str, dialect: &str) -> Result<Surface, String> {
    let unknown = |what, name| format!("the {what} `{name}` is not known");
    let found = Operation::ALL.into_iter().find(|known| known.name() == operation);
    let operation = found.ok_or_else(|| unknown("operation", operation))?;
    let found = Dialect::ALL.into_iter().find(|known| known.name() == dialect);
    let dialect = found.ok_or_else(|| unknown("dialect", dialect))?;
    Ok(Surface::new(operation, dialect))
}

/// What a question says of the request: capabilities in words, separated by commas, and the length of the prompt.
pub fn needs(capabilities: &str, tokens: u64) -> Result<Needs, String> {
    let words = capabilities.split(',').map(str::trim).filter(|word| !word.is_empty());
    let all: Result<CapabilitySet, String> = words
        .map(|word| {
            let found = Capability::ALL.into_iter().find(|known| known.name() == word);
            let known = Capability::ALL.map(Capability::name).join(", ");
            found.ok_or_else(|| format!("there is no capability `{word}`; there are: {known}"))
        })
        .collect();
    Ok(Needs {
        capabilities: all?,
        tokens,
        least_tokens: tokens,
    })
}

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    model: String,
    operation: Option<String>,
    dialect: Option<String>,
    /// What the request would need.
    #[serde(default)]
    needs: String,
    /// Tokens that its prompt would have; 0: few.
    #[serde(default, deserialize_with = "whole")]
    tokens: u64,
    /// The name of a key: with which credentials would its call go?
    key: Option<String>,
}

/// Where a call would go now.
pub(crate) async fn show(
    State(shared): State<Shared>,
    _: Operator,
    InQuery(asked): InQuery<Asked>,
) -> Result<Json<Decision>, ApiError> {
    let operation = asked.operation.as_deref().unwrap_or(Operation::Chat.name());
    let dialect = asked.dialect.as_deref().unwrap_or(Dialect::OpenaiChat.name());
    let surface = surface(operation, dialect).map_err(ApiError::malformed)?;
    let snapshot = shared.snapshot();
    let profile = match &asked.key {
        None => None,
        Some(name) => {
            let mut keys = snapshot.keys.values();
            let key = keys.find(|key| key.name.eq_ignore_ascii_case(name));
            let key = key.ok_or_else(|| ApiError::not_found(format!("there is no key `{name}`")))?;
            key.profile.clone()
        }
    };
    let route = snapshot
        .route(&asked.model)
        .ok_or_else(|| ApiError::not_found(format!("no upstream serves `{}`", asked.model)))?;
    let needs = needs(&asked.needs, asked.tokens).map_err(ApiError::malformed)?;
    let asked = routing::Asked {
        needs,
        profile: profile.as_deref(),
        ..surface.into()
    };
    Ok(Json((shared.inner.current.decide)(&route, asked)))
}
