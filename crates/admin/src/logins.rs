//! `/api/admin/accounts`: logging accounts in, and removing them.
//!
//! A login has two halves, because a person is in between: `begin` gives an address to open, `complete` takes what the
//! provider gave the person. Talking to the provider is not this crate's: that is handed in as [`Logins`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{AccountRecord, StoreError};

use crate::asked::{InBody, InPath};
use crate::auth::Operator;
use crate::error::ApiError;
use crate::{Shared, time};

/// A login to be begun.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginLogin {
    /// The account's name.
    pub name: String,
    /// Its mode; may be left out where only one has a client id.
    #[serde(default)]
    pub mode: Option<String>,
    /// Its upstream; may be left out where only one is of the mode's provider.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Whether the account exists and is logged in anew.
    #[serde(default)]
    pub again: bool,
}

/// A login that was begun.
#[derive(Clone, Debug, Serialize)]
pub struct BegunLogin {
    /// Where a person logs in.
    pub url: String,
    /// To be given back with the code.
    pub state: String,
    /// Until when.
    pub expires_at: String,
}

/// What the person brought back.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteLogin {
    /// Of the login; may be left out where `code` has it.
    #[serde(default)]
    pub state: Option<String>,
    /// The code, `code#state`, or the address that the browser ended at.
    pub code: String,
}

impl fmt::Debug for CompleteLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompleteLogin")
    }
}

/// Why nothing came of it.
#[derive(Debug)]
pub enum LoginFailure {
    /// The request, the configuration or the provider; says the mend.
    Refused(String),
    /// The database.
    Store(StoreError),
}

impl From<StoreError> for LoginFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LoginFailure> for ApiError {
    fn from(failure: LoginFailure) -> Self {
        match failure {
            LoginFailure::Refused(message) => Self::malformed(message),
            LoginFailure::Store(error) => error.into(),
        }
    }
}

/// A half of a login, carried out.
pub type Half<T> = Pin<Box<dyn Future<Output = Result<T, LoginFailure>> + Send>>;

/// How logins are made.
#[derive(Clone)]
pub struct Logins {
    /// The first half.
    pub begin: Arc<dyn Fn(BeginLogin) -> Half<BegunLogin> + Send + Sync>,
    /// The second.
    pub complete: Arc<dyn Fn(CompleteLogin) -> Half<AccountRecord> + Send + Sync>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

/// Gives the address to log in at.
pub(crate) async fn begin(
    State(shared): State<Shared>,
    _: Operator,
    InBody(asked): InBody<BeginLogin>,
) -> Result<Json<BegunLogin>, ApiError> {
    Ok(Json((shared.inner.logins.begin)(asked).await?))
}

/// Spends the code and keeps the account.
pub(crate) async fn complete(
    State(shared): State<Shared>,
    _: Operator,
    InBody(brought): InBody<CompleteLogin>,
) -> Result<Json<Value>, ApiError> {
    let record = (shared.inner.logins.complete)(brought).await?;
    Ok(Json(json!({
        "name": record.name, "upstream": record.upstream_name, "plan": record.state.mode,
        "token_expires_at": time::moment(record.state.expires_at),
    })))
}

/// Removes an account.
pub(crate) async fn remove(
    State(shared): State<Shared>,
    _: Operator,
    InPath((upstream, name)): InPath<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let name = format!("{upstream}/{name}");
    let accounts = shared.store().oauth_accounts();
    let record = match accounts.get(&name).await {
        Err(error @ StoreError::NotFound { .. }) => {
            let message = format!("{error}; `tollgate account list` and `GET /api/accounts` show the names");
            return Err(ApiError::not_found(message));
        }
        found => found?,
    };
    accounts.remove(record.id).await?;
    Ok(Json(json!({"removed": name})))
}
