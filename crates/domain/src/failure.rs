//! What an upstream did wrong on one attempt.
//!
//! The class says whom it concerns and what to do next; the table of `docs/ARCHITECTURE.md` ("after the attempts")
//! is written in these words. A caller's own mistake is not a failure of the upstream and is passed through.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Kinds of failed attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// No connection: refused, unreachable, name not found, TLS, address not allowed.
    Connect,
    /// Our own rules bar the address. Nothing was sent, and nothing ever will be: the rules or the address must change.
    Barred,
    /// The connection broke before the first content.
    Reset,
    /// Neither head nor first content within the time limit, or 408.
    Silence,
    /// 429: come back later.
    RateLimited,
    /// 429 or 402 that says: the account has no money left. Waiting does not help.
    OutOfCredit,
    /// 402 that says: the account's money does not reach for a call as large as this one. Smaller ones pass.
    CreditShort,
    /// 401 or 403: the credential is not accepted.
    Auth,
    /// 500, 502, 503, 504.
    Server,
    /// 529, or 503 that says overloaded.
    Overloaded,
    /// The answer cannot be understood: not HTTP, not JSON, a stream that begins with nonsense or an error event.
    Nonsense,
    /// The target speaks another format, in which the request cannot be said. Nothing was sent, and nobody is to blame
    /// but the request.
    Untranslatable,
    /// The target was asked to go on with an answer that another had begun, and does not: it refuses what we made of the
    /// request, or its answer does not fit. It was sent and counts; nobody is to blame but us who asked.
    Unfit,
}

impl FailureClass {
    /// The name in logs, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Barred => "barred",
            Self::Reset => "reset",
            Self::Silence => "silence",
            Self::RateLimited => "rate_limited",
            Self::OutOfCredit => "out_of_credit",
            Self::CreditShort => "credit_short",
            Self::Auth => "auth",
            Self::Server => "server",
            Self::Overloaded => "overloaded",
            Self::Nonsense => "nonsense",
            Self::Untranslatable => "untranslatable",
            Self::Unfit => "unfit",
        }
    }
}

/// Of a limit, or of a refused credential: for how much of what the credential opens it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of it.
    #[default]
    Credential,
    /// The model that was asked for; the credential's other models are not concerned.
    Model,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub class: FailureClass,
    /// The status, where there was one.
    pub status: Option<u16>,
    /// What the credential is no good for meanwhile, where the failure is the credential's.
    pub scope: Scope,
    /// When the provider says to come back.
    pub retry_after: Option<Duration>,
    /// For the operator's eyes (log, request detail); never for the caller, and without secrets.
    pub detail: String,
}

impl Failure {
    /// A failure without a status.
    pub fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        Self {
            class,
            status: None,
            scope: Scope::default(),
            retry_after: None,
            detail: detail.into(),
        }
    }
}
