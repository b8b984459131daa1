//! The control plane's HTTP: what people and their programs ask about accounts, beside the calls themselves.
//!
//! One file per resource. It reads the database and the snapshot that calls see, and never touches the data plane: what
//! it changes reaches calls as a new snapshot. Two kinds of callers are told apart by types that a
//! handler takes as an argument, [`auth::Client`] and [`auth::Operator`], so that a route without a check does not
//! compile into one that answers.

mod accounts;
mod asked;
pub mod auth;
mod billing;
pub mod checkup;
mod error;
pub mod explain;
mod gate;
mod logins;
mod me;
mod requests;
mod stats;
mod time;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use domain::snapshot::Route;
use domain::{Secret, Snapshot};
use metering::Accounts;
use routing::{Asked, CredentialStatus, Decision, UpstreamStatus};
use store::{KeyHash, KeyHasher, Store};

use checkup::{Checkup, CheckupOf};
pub use error::ApiError;
pub use logins::{BeginLogin, BegunLogin, CompleteLogin, Half, LoginFailure, Logins};
pub use requests::attempts;

/// What the control plane is made of.
#[derive(Debug)]
pub struct AdminOptions {
    /// The database.
    pub store: Store,
    /// Balances as calls see them.
    pub accounts: Arc<Accounts>,
    /// Declared resources as calls see them.
    pub current: Current,
    /// How accounts log in.
    pub logins: Logins,
    /// `security.admin_token`: opens the operator's views; without one they are closed.
    pub admin_token: Option<Secret>,
    /// `security.master_key`: a client without limits.
    pub master_key: Option<Secret>,
}

/// A question asked anew on each request.
type Ask<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// The same about a call.
type AskDecision = Arc<dyn Fn(&Route, Asked<'_>) -> Decision + Send + Sync>;

/// A test of the way to an upstream; `Err`: there is no such thing.
type AskCheckup = Arc<dyn Fn(CheckupOf) -> Pin<Box<dyn Future<Output = Result<Checkup, String>> + Send>> + Send + Sync>;

/// What changes while the server runs.
#[derive(Clone)]
pub struct Current {
    /// Declared resources.
    pub snapshot: Ask<Arc<Snapshot>>,
    /// What routing knows of upstreams and credentials.
    pub standing: Ask<(Vec<UpstreamStatus>, Vec<CredentialStatus>)>,
    /// What routing would decide for a call, without deciding it.
    pub decide: AskDecision,
    /// Tests the way to an upstream.
    pub checkup: AskCheckup,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    accounts: Arc<Accounts>,
    current: Current,
    logins: Logins,
    hasher: KeyHasher,
    admin_token: Option<KeyHash>,
    master_key: Option<KeyHash>,
}

impl Shared {
    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        (self.inner.current.snapshot)()
    }
}

/// The control plane's routes.
pub fn router(options: AdminOptions) -> Router {
    let hasher = options.store.hasher();
    // Tokens are kept and compared as keyed hashes, so that their timing says nothing about them.
    let hash = |secret: &Option<Secret>| {
        secret
            .as_ref()
            .filter(|secret| !secret.expose().is_empty())
            .map(|secret| hasher.hash(secret.expose()))
    };
    let inner = Inner {
        admin_token: hash(&options.admin_token),
        master_key: hash(&options.master_key),
        hasher,
        store: options.store,
        accounts: options.accounts,
        current: options.current,
        logins: options.logins,
    };
    let shared = Shared { inner: Arc::new(inner) };
    let routes = Router::new()
        .route("/api/me/balance", get(me::balance))
        .route("/api/me/usage", get(me::usage))
        .route("/api/me/models", get(me::models))
        .route("/api/stats", get(stats::show))
        .route("/api/accounts", get(accounts::list))
        .route("/api/admin/accounts/begin", post(logins::begin))
        .route("/api/admin/accounts/complete", post(logins::complete))
        .route("/api/admin/accounts/{upstream}/{name}", delete(logins::remove))
        .route("/api/requests", get(requests::list))
        .route("/api/requests/{call}", get(requests::show))
        .route("/api/explain", get(explain::show))
        .route("/api/admin/upstreams/{name}/test", post(checkup::run))
        .merge(billing::routes())
        .fallback(error::no_such_path)
        .with_state(shared.clone());
    // Around all of them, as the methods that a path takes are added to an answer behind every layer of a route.
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(shared, gate::watch))
}

#[cfg(test)]
mod tests;
