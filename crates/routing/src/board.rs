//! What is known of upstreams and credentials at this moment, shared by all calls.
//!
//! One lock for everything: a choice reads many entries and stamps one, and only if that is one step do parallel calls
//! rotate exactly. It is held for a fraction of a microsecond, a few times per call.
//!
//! Entries are keyed by identity, so they survive a change of the configuration; [`Board::follow`] forgets what is gone.
//! Nothing here survives a restart: a provider that still wants us to wait will say so again.

mod entries;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Route, Target, Upstream};
use domain::{CredentialId, Failure, FailureClass, Forced, Snapshot, Timestamp, UpstreamId};
use parking_lot::{Mutex, MutexGuard};
use rand::Rng;

use crate::breaker::{BreakerState, Ticket};
use crate::cooldown::Rest;
use crate::plan::{Choice, Exclusion};

pub(crate) use entries::Entries;

/// The shared state. Cheap to clone: clones are the same board.
#[derive(Clone, Default)]
pub struct Board {
    entries: Arc<Mutex<Entries>>,
}

/// A call open at an upstream. Dropping it ends the call.
#[must_use = "dropping it says that the call is over"]
pub struct InFlight {
    board: Board,
    upstream: UpstreamId,
    credential: CredentialId,
}

/// How an upstream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// Which.
    pub upstream: UpstreamId,
    /// Its breaker.
    pub breaker: BreakerState,
    /// Calls open.
    pub open_calls: u32,
    /// When the latest call began.
    pub last_used: Timestamp,
}

/// How a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialStatus {
    /// Which.
    pub credential: CredentialId,
    /// Whether it rests, and why. A rest for one model only is not told here.
    pub rest: Option<Rest>,
    /// Calls open.
    pub open_calls: u32,
    /// When the latest call began.
    pub last_used: Timestamp,
}

/// Leave to ask an upstream.
#[derive(Debug)]
pub(crate) enum Leave {
    /// Its breaker is closed.
    Free,
    /// It is half-open and this call is the one that probes.
    Canary(Canary),
    /// Its breaker is open, or another call probes.
    Refused,
}

/// The place of the one call that probes a half-open upstream; free again when this is dropped.
pub(crate) struct Canary {
    board: Board,
    upstream: UpstreamId,
    ticket: Ticket,
}

impl Board {
    /// Everything healthy and idle.
    pub fn new() -> Self {
        Self::default()
    }

    /// A call begins at an upstream with a credential.
    pub fn begin(&self, upstream: &Upstream, credential: &Credential, now: Timestamp) -> InFlight {
        let mut entries = self.entries.lock();
        entries.begin(upstream.id, credential.id, now);
        InFlight {
            board: self.clone(),
            upstream: upstream.id,
            credential: credential.id,
        }
    }

    /// A credential is to rest for one model only, because the provider's limits are per model and it said so.
    pub fn rest_model(
        &self,
        upstream: &Upstream,
        credential: CredentialId,
        model: &Arc<str>,
        until: Timestamp,
        now: Timestamp,
    ) {
        if let Some(settings) = upstream.cooldown {
            let until = until.min(now + settings.max.0);
            self.entries.lock().rest_model(credential, model, until, now);
        }
    }

    /// What an operator decides on an upstream's breaker; `None` leaves it to the breaker.
    pub fn force(&self, upstream: UpstreamId, forced: Option<Forced>) {
        self.entries.lock().force(upstream, forced);
    }

    /// Takes over what the snapshot says: what operators decided, and what there is no longer, which is forgotten unless
    /// calls are still open there.
    pub fn follow(&self, snapshot: &Snapshot) {
        let mut upstreams: Vec<UpstreamId> = snapshot.upstreams.iter().map(|upstream| upstream.id).collect();
        let mut credentials: Vec<CredentialId> = snapshot
            .upstreams
            .iter()
            .flat_map(|upstream| &upstream.credentials)
            .map(|credential| credential.id)
            .collect();
        upstreams.sort_unstable();
        credentials.sort_unstable();
        let mut entries = self.entries.lock();
        entries.retain(&upstreams, &credentials);
        for upstream in &snapshot.upstreams {
            entries.force(upstream.id, upstream.forced);
        }
    }

    /// Every upstream that was asked since it was last forgotten, by identity.
    pub fn upstreams(&self, now: Timestamp) -> Vec<UpstreamStatus> {
        let mut all: Vec<_> = self.entries.lock().upstreams(now).collect();
        all.sort_unstable_by_key(|status| status.upstream);
        all
    }

    /// Every credential that was used since it was last forgotten, by identity.
    pub fn credentials(&self, now: Timestamp) -> Vec<CredentialStatus> {
        let mut all: Vec<_> = self.entries.lock().credentials(now).collect();
        all.sort_unstable_by_key(|status| status.credential);
        all
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }

    /// Marks a choice as the latest, after those that were chosen before it failed.
    pub(crate) fn stamp(&self, route: &Route, choice: Choice, now: Timestamp) {
        self.entries.lock().stamp(route, choice, now);
    }

    /// A candidate's first content came after `took`.
    pub(crate) fn answered(&self, route: &Route, choice: Choice, took: Duration, now: Timestamp) {
        if looks_at_latency(route, choice) {
            let mut entries = self.entries.lock();
            entries.timed(route, choice, |latency| latency.served(took, now));
        }
    }

    /// A candidate failed after `took`.
    pub(crate) fn wasted(&self, route: &Route, choice: Choice, class: FailureClass, took: Duration, now: Timestamp) {
        if looks_at_latency(route, choice) && is_the_upstreams(class) {
            let mut entries = self.entries.lock();
            entries.timed(route, choice, |latency| latency.failed(took, now));
        }
    }

    /// Whether the latest call that an upstream was told of failed there.
    pub(crate) fn is_doubted(&self, upstream: UpstreamId) -> bool {
        self.entries.lock().is_doubted(upstream)
    }

    /// Whether an upstream may be given a further try of a call that it failed.
    pub(crate) fn may_retry(&self, upstream: UpstreamId, now: Timestamp) -> bool {
        self.entries.lock().retries(upstream).has_room(now)
    }

    /// A further try of a call begins at an upstream that failed it.
    pub(crate) fn retried(&self, upstream: UpstreamId, now: Timestamp) {
        self.entries.lock().retries(upstream).retried(now);
    }

    /// Asks for leave to call an upstream.
    pub(crate) fn leave(&self, upstream: &Upstream, now: Timestamp) -> Leave {
        let mut entries = self.entries.lock();
        let Some(breaker) = entries.troubled_breaker(upstream.id) else {
            return Leave::Free;
        };
        match breaker.state(now) {
            BreakerState::Closed | BreakerState::Forced(Forced::Closed) => Leave::Free,
            BreakerState::Forced(Forced::Open) => Leave::Refused,
            _ if upstream.breaker.is_none() => Leave::Free,
            BreakerState::Open { .. } => Leave::Refused,
            BreakerState::HalfOpen { .. } => breaker.probe(now).map_or(Leave::Refused, |ticket| {
                Leave::Canary(Canary {
                    board: self.clone(),
                    upstream: upstream.id,
                    ticket,
                })
            }),
        }
    }

    /// Why a candidate is not to be tried now; `None` where nothing is against it.
    pub(crate) fn exclusion(&self, target: &Target, credential: &Credential, now: Timestamp) -> Option<Exclusion> {
        let entries = self.entries.lock();
        match entries.upstream_exclusion(&target.upstream, now) {
            Some(reason) => Some(entries.stricter(reason, target, credential.id, now)),
            None => entries.credential_exclusion(target, credential.id, now),
        }
    }

    /// Why nothing at an upstream is to be tried now.
    pub(crate) fn exclusion_of(&self, upstream: &Upstream, now: Timestamp) -> Option<Exclusion> {
        self.entries.lock().upstream_exclusion(upstream, now)
    }

    /// An upstream answered a call that began at `began`.
    pub(crate) fn succeeded(&self, upstream: &Upstream, credential: &Credential, began: Timestamp, now: Timestamp) {
        let mut entries = self.entries.lock();
        entries.doubt(upstream.id, false);
        if let Some(settings) = &upstream.breaker {
            entries.change_breaker(upstream.id, |breaker| breaker.succeeded(settings, began, now));
        }
        entries.change_cooldown(credential.id, |cooldown| cooldown.succeeded(began));
    }

    /// A call failed: the breaker or the cooldown is told, whichever the failure concerns.
    pub(crate) fn failed(
        &self,
        upstream: &Upstream,
        credential: &Credential,
        failure: &Failure,
        canary: Option<&Canary>,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        if failure.class == FailureClass::Untranslatable {
            return;
        }
        if is_the_upstreams(failure.class) {
            self.broke(upstream, canary, now);
        } else if let Some(settings) = upstream.cooldown {
            let mut entries = self.entries.lock();
            entries.change_cooldown(credential.id, |cooldown| cooldown.failed(settings, failure, now, rng));
        }
    }

    /// A call failed in a way that is the upstream's.
    pub(crate) fn broke(&self, upstream: &Upstream, canary: Option<&Canary>, now: Timestamp) {
        let mut entries = self.entries.lock();
        entries.doubt(upstream.id, true);
        if let Some(settings) = &upstream.breaker {
            let ticket = canary.map(|canary| canary.ticket);
            entries.change_breaker(upstream.id, |breaker| breaker.failed(settings, ticket, now));
        }
    }
}

/// Whether a choice between this candidate and others looks at how soon they answer.
fn looks_at_latency(route: &Route, choice: Choice) -> bool {
    route.targets.get(choice.target).is_some_and(|target| {
        route.strategy_of(target) == Strategy::LowestLatency || target.upstream.strategy == Strategy::LowestLatency
    })
}

/// Whether a failure says something about the upstream, whatever the credential.
const fn is_the_upstreams(class: FailureClass) -> bool {
    match class {
        FailureClass::Connect
        | FailureClass::Reset
        | FailureClass::Silence
        | FailureClass::Server
        | FailureClass::Overloaded
        | FailureClass::Nonsense => true,
        FailureClass::RateLimited
        | FailureClass::OutOfCredit
        | FailureClass::CreditShort
        | FailureClass::Auth
        | FailureClass::Untranslatable => false,
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.board.entries.lock().end(self.upstream, self.credential);
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if let Some(breaker) = self.board.entries.lock().troubled_breaker(self.upstream) {
            breaker.abandon(self.ticket);
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("upstream", &self.upstream)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canary")
            .field("upstream", &self.upstream)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
