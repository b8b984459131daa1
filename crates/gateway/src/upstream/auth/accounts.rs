//! Access tokens of accounts, kept and renewed.
//!
//! A call reads its account's token from memory, and never the database. Tokens come from the snapshot (what is in the
//! database, so a restart goes on with what there is) and from renewals of this process; the higher generation counts.
//! A task looks for those that end soon and renews them while calls go on with the old ones. A call that finds none waits
//! for the one renewal that is under way, within its own time; the renewal is a task of its own, because a client that
//! hangs up must not take a refresh token along that its provider has spent already.

mod renew;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::account::Account;
use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, Failure, FailureClass, Secret, Timestamp};
use http::header::HeaderValue;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::gateway::Inner;
use crate::limits::{ACCOUNT_DRAIN_MAX, ACCOUNT_WAIT_MAX};

/// A token this close to its end is renewed, while calls go on with it: some tries fit in between.
const FRESH_MARGIN: Duration = Duration::from_mins(5);

/// A token this close to its end is not sent any more: the call has to get there.
const GOOD_MARGIN: Duration = Duration::from_secs(20);

/// Of short lives the margins are these parts.
const FRESH_PART: u32 = 4;
/// See [`FRESH_PART`].
const GOOD_PART: u32 = 20;

/// How often tokens are looked through.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A token that an upstream refused is renewed before its end, but not if it is this young: then it is not the token.
const DOUBT_AFTER: Duration = Duration::from_secs(30);

/// The tokens of all accounts.
#[derive(Debug)]
pub(crate) struct AccountTokens {
    slots: ArcSwap<HashMap<CredentialId, Arc<Slot>>>,
    /// This process, to others that renew.
    owner: String,
    /// Renewals under way.
    renewals: TaskTracker,
}

impl Default for AccountTokens {
    fn default() -> Self {
        Self {
            slots: ArcSwap::default(),
            owner: Uuid::now_v7().to_string(),
            renewals: TaskTracker::new(),
        }
    }
}

/// One account.
#[derive(Debug)]
struct Slot {
    held: ArcSwapOption<Held>,
    rest: ArcSwapOption<Rest>,
    renewing: AtomicBool,
    /// Grows with every renewal that ended, however.
    news: watch::Sender<u64>,
}

/// A token.
#[derive(Debug)]
struct Held {
    /// The credential with this token as its secret: what must not be repeated to a client.
    credential: Arc<Credential>,
    header: HeaderValue,
    generation: i64,
    issued_at: Timestamp,
    fresh_until: Timestamp,
    good_until: Timestamp,
}

/// Why and until when nobody tries to renew.
#[derive(Clone, Debug)]
struct Rest {
    failure: Failure,
    until: Timestamp,
    /// Failures in a row.
    times: u32,
    /// What it is about: a newer one ends it.
    generation: i64,
}

/// The token of an account, as `authorization` has it.
pub(super) async fn token(
    gateway: &Arc<Inner>,
    upstream: &Arc<Upstream>,
    credential: &Arc<Credential>,
    account: &Account,
) -> Result<HeaderValue, Failure> {
    let slot = gateway.account_tokens.slot(credential, account);
    if let Some(held) = slot.good(gateway.clock.now()) {
        return Ok(held.header.clone());
    }
    // Listened for before looking again: what ends in between is heard of.
    let mut news = slot.news.subscribe();
    loop {
        let now = gateway.clock.now();
        if let Some(held) = slot.good(now) {
            return Ok(held.header.clone());
        }
        if let Some(failure) = slot.resting(now) {
            return Err(failure);
        }
        start(gateway, upstream, credential, &slot);
        // The sender lives in the slot, so this ends with news or with the time.
        if tokio::time::timeout(ACCOUNT_WAIT_MAX, news.changed()).await.is_err() {
            return Err(overdue());
        }
    }
}

/// What a call is told whose account's renewal takes too long: like other passing trouble, it rests this account only.
fn overdue() -> Failure {
    Failure {
        retry_after: Some(LOOK_EVERY),
        ..Failure::new(
            FailureClass::RateLimited,
            "the account's token is being renewed, which takes too long",
        )
    }
}

/// Begins a renewal, unless one is under way.
fn start(gateway: &Arc<Inner>, upstream: &Arc<Upstream>, credential: &Arc<Credential>, slot: &Arc<Slot>) {
    if slot.renewing.swap(true, Ordering::AcqRel) {
        return;
    }
    let ending = Ending(Arc::clone(slot));
    let (gateway, upstream, credential) = (Arc::clone(gateway), Arc::clone(upstream), Arc::clone(credential));
    let tracker = gateway.account_tokens.renewals.clone();
    tracker.spawn(async move { renew::renew(&gateway, &upstream, &credential, &ending.0).await });
}

/// Tells those who wait, whatever came of it.
struct Ending(Arc<Slot>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.renewing.store(false, Ordering::Release);
        self.0.news.send_modify(|ended| *ended += 1);
    }
}

/// Renews what ends soon, until `shutdown`; then waits for renewals under way, whose tokens would else be lost.
pub(crate) async fn keep(gateway: Arc<Inner>, shutdown: impl Future<Output = ()>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = look.tick() => renew_due(&gateway),
        }
    }
    let renewals = &gateway.account_tokens.renewals;
    renewals.close();
    if tokio::time::timeout(ACCOUNT_DRAIN_MAX, renewals.wait()).await.is_err() {
        tracing::error!("the renewal of an account did not end in time; it may have to be logged in again");
    }
}

fn renew_due(gateway: &Arc<Inner>) {
    let snapshot = gateway.snapshot.load_full();
    let now = gateway.clock.now();
    let mut known = 0;
    for upstream in &snapshot.upstreams {
        for credential in &upstream.credentials {
            let Some(account) = credential.account.as_deref() else {
                continue;
            };
            known += 1;
            let slot = gateway.account_tokens.slot(credential, account);
            if account.state.needs_login.is_none() && account.mode.is_some() && slot.is_due(now) {
                start(gateway, upstream, credential, &slot);
            }
        }
    }
    gateway.account_tokens.forget_gone(known, &snapshot);
}

impl AccountTokens {
    /// The account's place, which knows what the snapshot knows.
    fn slot(&self, credential: &Arc<Credential>, account: &Account) -> Arc<Slot> {
        if let Some(slot) = self.slots.load().get(&credential.id) {
            slot.learn(credential, account);
            return Arc::clone(slot);
        }
        let fresh = Arc::new(Slot::new());
        let mut placed = Arc::clone(&fresh);
        self.slots.rcu(|slots| {
            let mut slots = (**slots).clone();
            placed = Arc::clone(slots.entry(credential.id).or_insert_with(|| Arc::clone(&fresh)));
            Arc::new(slots)
        });
        placed.learn(credential, account);
        placed
    }

    /// The credential with the secret that goes out by now.
    pub(crate) fn spoken(&self, credential: &Arc<Credential>) -> Arc<Credential> {
        let slots = self.slots.load();
        let held = credential
            .account
            .as_ref()
            .and_then(|_| slots.get(&credential.id)?.held.load_full());
        held.map_or_else(|| Arc::clone(credential), |held| Arc::clone(&held.credential))
    }

    /// An upstream refused the token: it may have been taken back before its end.
    pub(crate) fn doubt(&self, credential: &Credential, now: Timestamp) {
        let slots = self.slots.load();
        let Some(slot) = slots.get(&credential.id).filter(|_| credential.account.is_some()) else {
            return;
        };
        slot.held.rcu(|held| {
            let held = held.as_ref()?;
            let is_old = now.since(held.issued_at) > DOUBT_AFTER;
            Some(if is_old {
                Arc::new(held.ended())
            } else {
                Arc::clone(held)
            })
        });
    }

    /// Forgets accounts that are no more, where there are any.
    fn forget_gone(&self, known: usize, snapshot: &domain::Snapshot) {
        if self.slots.load().len() <= known {
            return;
        }
        let credentials = snapshot.upstreams.iter().flat_map(|upstream| &upstream.credentials);
        let known: std::collections::HashSet<CredentialId> = credentials.map(|credential| credential.id).collect();
        self.slots.rcu(|slots| {
            let kept = slots.iter().filter(|(id, _)| known.contains(id));
            kept.map(|(id, slot)| (*id, Arc::clone(slot)))
                .collect::<HashMap<_, _>>()
        });
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            held: ArcSwapOption::empty(),
            rest: ArcSwapOption::empty(),
            renewing: AtomicBool::new(false),
            news: watch::Sender::new(0),
        }
    }

    fn good(&self, now: Timestamp) -> Option<Arc<Held>> {
        self.held.load_full().filter(|held| now < held.good_until)
    }

    fn resting(&self, now: Timestamp) -> Option<Failure> {
        let rest = self.rest.load_full().filter(|rest| now < rest.until)?;
        let mut failure = rest.failure.clone();
        failure.retry_after = failure.retry_after.map(|_| rest.until.since(now));
        Some(failure)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let is_fresh = self.held.load().as_ref().is_some_and(|held| now < held.fresh_until);
        !is_fresh && self.resting(now).is_none() && !self.renewing.load(Ordering::Acquire)
    }

    /// The newest generation that is known; 0 for none.
    fn generation(&self) -> i64 {
        self.held.load().as_ref().map_or(0, |held| held.generation)
    }

    /// Takes what the snapshot says, if that is newer.
    fn learn(&self, credential: &Arc<Credential>, account: &Account) {
        let state = &account.state;
        if self.generation() >= state.generation {
            return;
        }
        self.take(Held::of(
            Arc::clone(credential),
            state.generation,
            state.issued_at,
            state.expires_at,
        ));
    }

    /// Keeps a token, unless a newer one is there.
    fn take(&self, held: Option<Held>) {
        let Some(held) = held.map(Arc::new) else { return };
        self.held.rcu(|known| match known {
            Some(known) if known.generation >= held.generation => Some(Arc::clone(known)),
            _ => Some(Arc::clone(&held)),
        });
        if self
            .rest
            .load()
            .as_ref()
            .is_some_and(|rest| rest.generation < held.generation)
        {
            self.rest.store(None);
        }
    }
}

impl Held {
    /// `None` for what no header can carry.
    fn of(credential: Arc<Credential>, generation: i64, issued_at: Timestamp, expires_at: Timestamp) -> Option<Self> {
        let mut header = HeaderValue::try_from(format!("Bearer {}", credential.secret.expose())).ok()?;
        header.set_sensitive(true);
        let life = expires_at.since(issued_at);
        Some(Self {
            credential,
            header,
            generation,
            issued_at,
            fresh_until: expires_at - FRESH_MARGIN.min(life / FRESH_PART),
            good_until: expires_at - GOOD_MARGIN.min(life / GOOD_PART),
        })
    }

    /// A renewed token of the same account.
    fn renewed(credential: &Credential, tokens: &store::AccountTokens, generation: i64) -> Option<Self> {
        let spoken = Arc::new(Credential {
            secret: Secret::clone(&tokens.access),
            ..credential.clone()
        });
        Self::of(spoken, generation, tokens.issued_at, tokens.expires_at)
    }

    /// The same, to be used no more.
    fn ended(&self) -> Self {
        Self {
            credential: Arc::clone(&self.credential),
            header: self.header.clone(),
            fresh_until: Timestamp(0),
            good_until: Timestamp(0),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests;
