//! `POST /api/admin/upstreams/{name}/test`: the way to an upstream step by step, with times.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::Shared;
use crate::asked::{InPath, InQuery};
use crate::auth::Operator;
use crate::error::ApiError;

/// What was found on the way to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// The upstream's name.
    pub upstream: String,
    /// The credential's name.
    pub credential: String,
    /// Whether no step failed.
    pub ok: bool,
    /// The steps that were tried, in order; after one that fails there is none.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `dns`, `tcp`, `proxy`, `tls`, `auth` or `call`.
    pub name: String,
    /// Whether it went well.
    pub ok: bool,
    /// Microseconds that it took.
    pub took_us: u64,
    /// What was found, or what is wrong.
    pub found: String,
}

/// Which of an upstream's credentials and models; the first and the cheapest where nothing is said.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CheckupOf {
    /// The upstream's name.
    #[serde(skip)]
    pub upstream: String,
    /// The credential's name.
    pub credential: Option<String>,
    /// The model's name there.
    pub model: Option<String>,
}

/// Tests an upstream.
pub(crate) async fn run(
    State(shared): State<Shared>,
    _: Operator,
    InPath(upstream): InPath<String>,
    InQuery(of): InQuery<CheckupOf>,
) -> Result<Json<Checkup>, ApiError> {
    let tested = (shared.inner.current.checkup)(CheckupOf { upstream, ..of }).await;
    tested.map(Json).map_err(ApiError::not_found)
}
