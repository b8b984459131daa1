//! What is known of upstreams and credentials at this moment, shared by all calls.
//!
//! One lock for everything: a choice reads many entries and stamps one, and only if that is one step do parallel calls
//! rotate exactly. It is held for a fraction of a microsecond, a few times per call.
//!
//! Entries are keyed by identity, so they survive a change of the configuration; [`Board::follow`] forgets what is gone.
//! Rests that we guessed do not survive a restart. What must survive (uses of the day, what is out of service or out of
//! credit, what providers named) is told at the start by [`Board::restore`] and [`Board::restore_named`].

mod again;
mod counted;
mod credential;
mod entries;
mod failing;
mod hedges;
mod lanes;
mod named;
mod slots;
mod uses;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::{Probe, Strategy};
use domain::snapshot::{Credential, Route, Target, Upstream};
use domain::{CredentialId, Failure, FailureClass, Forced, Scope, Snapshot, Timestamp, UpstreamId, Windows};
use parking_lot::{Mutex, MutexGuard};
use rand::Rng;

use crate::breaker::{BreakerState, Ticket};
use crate::cooldown::Rest;
use crate::events::{Change, CredentialEvent};
use crate::plan::{Choice, Exclusion};

pub(crate) use again::Again;
pub(crate) use counted::Counted;
pub use credential::REFUSALS_MAX;
pub(crate) use credential::{Daily, Unclear};
pub(crate) use entries::Entries;
pub(crate) use failing::{PROVEN, Standing, UNFAILED};
pub(crate) use lanes::{KeyLane, Lane, Lanes, Linked, UNLINKED_MAX};

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
    /// What the latest probe found, where it is probed.
    pub probe: Option<Probed>,
}

impl UpstreamStatus {
    /// Whether neither its breaker nor its last probe speaks against it.
    pub fn is_up(&self) -> bool {
        let is_open = matches!(
            self.breaker,
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } | BreakerState::Forced(Forced::Open)
        );
        !is_open
            && self
                .probe
                .and_then(|probe| probe.failure)
                .is_none_or(|class| !is_the_upstreams(class))
    }
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What went wrong; `None`: nothing.
    pub failure: Option<FailureClass>,
}

/// How a credential stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialStatus {
    /// Which.
    pub credential: CredentialId,
    /// Whether it rests, and why.
    pub rest: Option<Rest>,
    /// Models of it that rest by themselves.
    pub resting_models: Vec<(Arc<str>, Rest)>,
    /// Calls open.
    pub open_calls: u32,
    /// When the latest call began.
    pub last_used: Timestamp,
    /// Requests sent with it today (UTC).
    pub uses_today: u64,
    /// How often in a row it was refused; out of service at [`REFUSALS_MAX`].
    pub refusals: u32,
    /// The allowances of its account, where the provider tells them.
    pub windows: Windows,
}

/// A try of a call, as far as the board is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tried<'a> {
    pub(crate) upstream: &'a Upstream,
    /// The model that was asked for, by the upstream's name; `None`: no certain one.
    pub(crate) model: Option<&'a Arc<str>>,
    pub(crate) credential: &'a Credential,
    /// When it began.
    pub(crate) began: Timestamp,
}

/// When an upstream failed a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broke<'a> {
    /// Before its first content; the canary, where the call was one.
    BeforeContent(Option<&'a Canary>),
    /// After it: the board was told of an answer.
    Off,
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
        entries.begin(upstream, credential, now);
        InFlight {
            board: self.clone(),
            upstream: upstream.id,
            credential: credential.id,
        }
    }

    /// An answer said that a limit on this model is used up until `wait` is over: another credential is better for the
    /// next call, if there is one.
    pub fn spare(&self, target: &Target, credential: &Credential, wait: Duration, now: Timestamp) {
        if let Some(settings) = target.upstream.cooldown {
            let mut entries = self.entries.lock();
            let cooldown = entries.credential_mut(credential.id).model_cooldown(&target.model, now);
            cooldown.spare(settings, wait, now);
            let until = cooldown.latest();
            entries.look_until(until);
        }
    }

    /// An answer told the allowances of a credential's account.
    pub fn tell_windows(&self, upstream: &Upstream, credential: &Credential, windows: Windows, now: Timestamp) {
        let mut entries = self.entries.lock();
        let known = &mut entries.credential_mut(credential.id).windows;
        let spared = |windows: &Windows| credential.pause_at.and_then(|share| windows.spared_until(share, now));
        let before = spared(known);
        known.update(windows);
        let Some(until) = spared(known) else { return };
        entries.look_until(until);
        if before != Some(until) {
            entries.told(credential.id);
        }
        if before.is_none() {
            entries.note(upstream.id, credential.id, Change::Paused { until }, now);
        }
    }

    /// What is known from before this process: what became of credentials, and how often they were used on a day.
    pub fn restore(
        &self,
        snapshot: &Snapshot,
        day: i64,
        uses: impl IntoIterator<Item = (CredentialId, u64)>,
        now: Timestamp,
    ) {
        let mut entries = self.entries.lock();
        for (credential, uses) in uses {
            entries.credential_mut(credential).daily.add(day, uses);
        }
        for upstream in &snapshot.upstreams {
            let empty = |credential: &&Arc<Credential>| credential.state.out_of_credit.is_some();
            for credential in upstream.credentials.iter().filter(empty) {
                if let (Some(since), Some(settings)) = (credential.state.out_of_credit, upstream.cooldown) {
                    let entry = entries.credential_mut(credential.id);
                    entry.activation = credential.state.activation;
                    entry.cooldown.lacks_credit(since, since + settings.max.0);
                    entries.look_until(since + settings.max.0);
                }
            }
        }
        drop(entries);
        self.adopt(snapshot, now);
    }

    /// Takes over what is declared of credentials now, and what operators put back into service.
    pub fn adopt(&self, snapshot: &Snapshot, now: Timestamp) {
        let mut entries = self.entries.lock();
        let all = snapshot.upstreams.iter().flat_map(|upstream| {
            upstream
                .credentials
                .iter()
                .map(move |credential| (upstream, credential))
        });
        for (upstream, credential) in all {
            let state = &credential.state;
            let is_new = entries.credential(credential.id).is_none();
            if is_new && state.activation == 0 && state.deactivated.is_none() {
                continue;
            }
            let entry = entries.credential_mut(credential.id);
            let renewed = entry.activation != state.activation;
            let was_out = renewed && entry.activate(state.activation);
            entry.deactivated |= state.deactivated.is_some();
            // What an operator allows may be less than before: then it is used up already.
            let used_up = entry.used_up_until(credential, now);
            if let Some(until) = used_up {
                entries.look_until(until);
            }
            if was_out {
                entries.note(upstream.id, credential.id, Change::Activated, now);
            }
        }
    }

    /// What changed in the states of credentials since this was asked last.
    pub fn events(&self, now: Timestamp) -> Vec<CredentialEvent> {
        self.entries.lock().take_notes(now)
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

    /// As it stood when something was recorded.
    pub(crate) fn of(entries: Entries) -> Self {
        Self {
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }

    /// Marks a choice as the latest, after those that were chosen before it failed.
    pub(crate) fn stamp(&self, route: &Route, choice: Choice, now: Timestamp) {
        self.entries.lock().stamp(route, choice, None, now);
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
            // A candidate of another profile is never asked about.
            Some(reason) => Some(entries.stricter(reason, target, credential, credential.pool.profile(), now)),
            None => entries.credential_exclusion(target, credential, now),
        }
    }

    /// Why nothing at an upstream is to be tried now.
    pub(crate) fn exclusion_of(&self, upstream: &Upstream, now: Timestamp) -> Option<Exclusion> {
        self.entries.lock().upstream_exclusion(upstream, now)
    }

    /// Counts a use of a credential; `false` where an operator allows no more today.
    pub(crate) fn take(&self, upstream: &Upstream, credential: &Credential, now: Timestamp) -> bool {
        credential
            .daily_limit
            .is_none_or(|limit| self.entries.lock().take(upstream.id, credential, limit, now))
    }

    /// A call was answered.
    pub(crate) fn succeeded(&self, tried: Tried<'_>, now: Timestamp) {
        let Tried {
            upstream,
            credential,
            began,
            ..
        } = tried;
        let mut entries = self.entries.lock();
        entries.doubt(upstream.id, false);
        if let Some(settings) = &upstream.breaker {
            entries.change_breaker(upstream.id, |breaker| breaker.succeeded(settings, began, now));
        }
        entries.wake_upstream(upstream.id, began);
        entries.answers(upstream, credential);
        if entries.credential_mut(credential.id).succeeded(tried.model, began) {
            entries.note(upstream.id, credential.id, Change::CreditBack, now);
        }
    }

    /// An upstream answered something that costs nothing: it may be asked again, but whether calls are
    /// answered, and whether there is credit, that does not say.
    fn accepted(&self, tried: Tried<'_>, now: Timestamp) {
        let upstream = tried.upstream;
        let mut entries = self.entries.lock();
        if upstream.breaker.is_some() {
            entries.change_breaker(upstream.id, |breaker| breaker.listed(tried.began, now));
        }
        entries.wake_upstream(upstream.id, tried.began);
        entries.credential_mut(tried.credential.id).accepted(tried.began);
    }

    /// A call failed: the breaker or the cooldown is told, whichever the failure concerns.
    pub(crate) fn failed(
        &self,
        tried: Tried<'_>,
        failure: &Failure,
        canary: Option<&Canary>,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        if matches!(
            failure.class,
            FailureClass::Untranslatable | FailureClass::Connect | FailureClass::Barred
        ) {
            // Nothing was sent: the provider did not count it either.
            let mut entries = self.entries.lock();
            let daily = &mut entries.credential_mut(tried.credential.id).daily;
            daily.give_back(tried.began);
        }
        self.blame(tried, failure, canary, now, rng);
    }

    fn blame(&self, tried: Tried<'_>, failure: &Failure, canary: Option<&Canary>, now: Timestamp, rng: &mut impl Rng) {
        let upstream = tried.upstream;
        if matches!(failure.class, FailureClass::Untranslatable | FailureClass::Unfit) {
            return;
        }
        if is_the_upstreams(failure.class) {
            let alone = self.broke(tried, failure, Broke::BeforeContent(canary), now);
            if let (Some(wait), Some(settings), false) = (upstreams_rest(failure), upstream.cooldown, alone) {
                let until = now + wait.min(settings.max.0);
                self.entries.lock().rest_upstream(upstream.id, until, now);
            }
            return;
        }
        self.rest(tried, failure, now, rng);
        // Without cooldown nothing is concluded about credentials, this neither.
        let concludes = upstream.cooldown.is_some() && failure.scope == Scope::Credential;
        if concludes && failure.class == FailureClass::Auth {
            self.refused(tried, failure, now);
        }
    }

    /// An upstream was probed with a credential, from `began` until `now`. What it shows counts as a call's outcome does:
    /// one that is answered as a whole `call` closes a breaker early, and shows that there is credit. One that only lists models
    /// lets a call try early.
    pub fn probed(
        &self,
        upstream: &Upstream,
        credential: &Credential,
        outcome: Result<Probe, &Failure>,
        began: Timestamp,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        let tried = Tried {
            upstream,
            model: None,
            credential,
            began,
        };
        match outcome {
            Ok(Probe::Call) => self.succeeded(tried, now),
            Ok(_) => self.accepted(tried, now),
            Err(failure) => {
                // A half-open breaker lets one through at a time, and this is one.
                let canary = match self.leave(upstream, now) {
                    Leave::Canary(canary) => Some(canary),
                    Leave::Free | Leave::Refused => None,
                };
                // No caller's use of the day: there is nothing to give back.
                self.blame(tried, failure, canary.as_ref(), now, rng);
            }
        }
        let probed = Probed {
            at: now,
            took: now.since(began),
            failure: outcome.err().map(|failure| failure.class),
        };
        self.entries.lock().note_probe(upstream.id, probed);
    }

    /// A credential, or one model of it, rests.
    fn rest(&self, tried: Tried<'_>, failure: &Failure, now: Timestamp, rng: &mut impl Rng) {
        let Tried {
            upstream, credential, ..
        } = tried;
        let Some(settings) = upstream.cooldown else {
            return;
        };
        let mut entries = self.entries.lock();
        let entry = entries.credential_mut(credential.id);
        let of_model = failure.scope == Scope::Model && failure.class != FailureClass::OutOfCredit;
        if of_model && tried.model.is_none() {
            return;
        }
        let model = tried.model.filter(|_| of_model).cloned();
        let cooldown = match &model {
            Some(model) => entry.model_cooldown(model, now),
            None => &mut entry.cooldown,
        };
        let (before, named) = (cooldown.rest(now), cooldown.named());
        cooldown.failed(settings, failure, now, rng);
        let (after, latest) = (cooldown.rest(now), cooldown.latest());
        let is_news = cooldown.named() > named;
        entries.look_until(latest);
        entries.shake(now);
        if is_news {
            entries.told(credential.id);
        }
        let change = match (before, after) {
            (Some(Rest::OutOfCredit(_)), _) | (_, None) => return,
            (_, Some(Rest::OutOfCredit(until))) => Change::OutOfCredit { until },
            (Some(_), _) => return,
            (None, Some(rest)) => Change::CooldownBegan {
                model,
                class: failure.class,
                until: rest.until(),
                named_by_provider: matches!(rest, Rest::Named(_)),
            },
        };
        entries.note(upstream.id, credential.id, change, now);
    }

    /// A credential was refused: out of service, if that was once too often. One that is no secret cannot be replaced.
    fn refused(&self, tried: Tried<'_>, failure: &Failure, now: Timestamp) {
        let Tried {
            upstream,
            credential,
            began,
            ..
        } = tried;
        let mut entries = self.entries.lock();
        let entry = entries.credential_mut(credential.id);
        if credential.secret.expose().is_empty() || !entry.refused(began, now) {
            return;
        }
        // Until the snapshot says so itself, which takes as long as the database does.
        entries.look_until(now + UNTIL_KNOWN);
        let status = failure.status.map(|status| format!(" {status}")).unwrap_or_default();
        let reason = format!("refused {REFUSALS_MAX} times in a row:{status} {}", failure.detail);
        let reason = reason.trim_end().to_owned();
        entries.note(upstream.id, credential.id, Change::Deactivated { reason }, now);
    }

    /// A call failed in a way that is the upstream's. Tells whether it fails with this credential alone, which says nothing
    /// against the others. A canary's failure counts all the same: it is what was to be found out.
    pub(crate) fn broke(&self, tried: Tried<'_>, failure: &Failure, when: Broke<'_>, now: Timestamp) -> bool {
        let (broke_off, canary) = match when {
            Broke::BeforeContent(canary) => (false, canary),
            Broke::Off => (true, None),
        };
        let upstream = tried.upstream;
        let mut entries = self.entries.lock();
        entries.shake(now);
        // Where there is no connection, no credential was sent.
        let alone = failure.class != FailureClass::Connect
            && entries.fails(upstream, tried.credential, (upstreams_rest(failure), broke_off), now)
            && canary.is_none();
        if alone {
            return true;
        }
        entries.doubt(upstream.id, true);
        if let Some(settings) = &upstream.breaker {
            let ticket = canary.map(|canary| canary.ticket);
            entries.change_breaker(upstream.id, |breaker| match when {
                Broke::Off => breaker.broke(settings, tried.began, now),
                Broke::BeforeContent(_) => breaker.failed(settings, ticket, now),
            });
        }
        false
    }
}

/// How long the board itself remembers that a credential is out of service. The database is told at once; if it is away
/// for longer than this, the credential is found out again.
const UNTIL_KNOWN: Duration = Duration::from_hours(1);

/// How long an upstream that is not well says that it will not be.
fn upstreams_rest(failure: &Failure) -> Option<Duration> {
    matches!(failure.class, FailureClass::Server | FailureClass::Overloaded)
        .then_some(failure.retry_after)
        .flatten()
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
        | FailureClass::Barred
        | FailureClass::Reset
        | FailureClass::Silence
        | FailureClass::Server
        | FailureClass::Overloaded
        | FailureClass::Nonsense => true,
        FailureClass::RateLimited
        | FailureClass::OutOfCredit
        | FailureClass::CreditShort
        | FailureClass::Auth
        | FailureClass::Untranslatable
        | FailureClass::Unfit => false,
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
mod pools;
#[cfg(test)]
mod tests;
