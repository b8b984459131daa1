//! Keeping what becomes of credentials: in the log of credential events, and, where it must survive, in the database.
//!
//! The board, which calls decide by, notes what changed; nothing here is waited for by a call. While the database is away
//! what is to be kept waits here: the board knows it already.

use std::collections::VecDeque;
use std::time::Duration;

use domain::snapshot::Deactivation;
use domain::{CredentialId, NamedRests, Snapshot, Timestamp};
use gateway::Gateway;
use routing::{Change, CredentialEvent};
use store::{Store, StoreError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::logs::CREDENTIAL_EVENTS;

/// How often the notes are collected: a rest that is over is noted at most this much later.
const COLLECT_EVERY: Duration = Duration::from_millis(200);

/// After a failed attempt they are collected at once, because a process that is killed forgets what was not written; but not
/// more often than this, or in a storm of refusals the database would have nothing else to write.
const BREATH: Duration = Duration::from_millis(20);

/// How often uses are booked that left no receipt, and what all replicas have booked is read, where a credential has a
/// limit a day: a limit may be exceeded by what the others send in this time and the settler's.
const SHARE_EVERY: Duration = Duration::from_secs(2);

/// After a database that is away.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Changes that wait for the database at most; of more the oldest goes, which the board finds out again after a restart.
const UNKEPT_MAX: usize = 4_096;

/// Keeps until the server stops.
pub(crate) async fn keep(gateway: Gateway, store: Store, shutdown: CancellationToken) {
    let mut every = interval(COLLECT_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper {
        gateway,
        store,
        unkept: VecDeque::new(),
        retry_at: Instant::now(),
        database_away: false,
        unbooked: Vec::new(),
        unkept_rests: Vec::new(),
        share_at: Instant::now(),
    };
    let mut collect_at = Instant::now();
    loop {
        let stops = tokio::select! {
            () = shutdown.cancelled() => true,
            _ = every.tick() => false,
            () = failed(&keeper.gateway, collect_at) => false,
        };
        let events = keeper.gateway.board().events(now());
        let may_write = stops || Instant::now() >= keeper.retry_at;
        if may_write {
            keeper.write_rests().await;
        }
        // Afterwards: whoever reads the log may rely on it.
        keeper.tell(events);
        if may_write {
            keeper.write().await;
        }
        collect_at = Instant::now() + BREATH;
        if stops || Instant::now() >= keeper.share_at {
            keeper.share().await;
        }
        if stops {
            return;
        }
    }
}

/// Waits until an attempt has failed, and not before `at`.
async fn failed(gateway: &Gateway, at: Instant) {
    gateway.attempt_failed().await;
    sleep_until(at).await;
}

struct Keeper {
    gateway: Gateway,
    store: Store,
    /// Oldest first.
    unkept: VecDeque<CredentialEvent>,
    retry_at: Instant,
    database_away: bool,
    /// Uses without a receipt that wait for the database.
    unbooked: Vec<(CredentialId, i64, u64)>,
    /// Rests that providers named, which wait for the database.
    unkept_rests: Vec<(CredentialId, i64, NamedRests)>,
    share_at: Instant,
}

impl Keeper {
    /// Logs what became of credentials, and notes what is to be kept of it.
    fn tell(&mut self, events: Vec<CredentialEvent>) {
        if events.is_empty() {
            return;
        }
        let snapshot = self.gateway.snapshot();
        for event in events {
            log(&snapshot, &event);
            if self.unkept.len() == UNKEPT_MAX {
                self.unkept.pop_front();
            }
            self.unkept.push_back(event);
        }
    }

    /// Books the uses that left no receipt, and learns those of other replicas. What fails is tried again.
    async fn share(&mut self) {
        self.share_at = Instant::now() + SHARE_EVERY;
        for (credential, day, uses) in self.gateway.board().take_uses_beside() {
            let same = |known: &&mut (CredentialId, i64, u64)| (known.0, known.1) == (credential, day);
            match self.unbooked.iter_mut().find(same) {
                Some(known) => known.2 += uses,
                None => self.unbooked.push((credential, day, uses)),
            }
        }
        if let Err(error) = self.exchange_uses().await {
            tracing::debug!(%error, "uses of credentials are neither booked nor learned; it is tried again");
        }
    }

    async fn exchange_uses(&mut self) -> Result<(), StoreError> {
        if !self.unbooked.is_empty() {
            self.store.credentials().add_uses(&self.unbooked).await?;
            self.unbooked.clear();
        }
        let snapshot = self.gateway.snapshot();
        let mut all = snapshot.upstreams.iter().flat_map(|upstream| &upstream.credentials);
        if all.any(|credential| credential.daily_limit.is_some()) {
            let now = now();
            let booked = self.store.credentials().uses(now.day()).await?;
            self.gateway.board().learn_uses(&snapshot, now.day(), &booked, now);
        }
        Ok(())
    }

    /// Keeps what providers named of rests. Of a credential the newest counts, which says all.
    async fn write_rests(&mut self) {
        let newer = self.gateway.board().take_named(now());
        if !newer.is_empty() {
            let is_old = |id: CredentialId| newer.iter().any(|(newer, _, _)| *newer == id);
            self.unkept_rests.retain(|(id, _, _)| !is_old(*id));
            self.unkept_rests.extend(newer);
        }
        if self.unkept_rests.is_empty() {
            return;
        }
        match self.store.credentials().note_rests(&self.unkept_rests).await {
            Ok(()) => self.unkept_rests.clear(),
            Err(error) if error.is_away() => self.retry_at = Instant::now() + RETRY_AFTER,
            Err(error) => {
                tracing::error!(%error, "rests that providers named are not kept");
                self.unkept_rests.clear();
            }
        }
    }

    async fn write(&mut self) {
        while let Some(event) = self.unkept.front() {
            match write(&self.store, event).await {
                Ok(()) => {
                    self.unkept.pop_front();
                    self.database_away = false;
                }
                Err(error) if error.is_away() => {
                    self.retry_at = Instant::now() + RETRY_AFTER;
                    if !std::mem::replace(&mut self.database_away, true) {
                        tracing::warn!(%error, "what became of credentials waits to be kept: the database cannot be used");
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, change = event.change.name(), "what became of a credential is not kept");
                    self.unkept.pop_front();
                }
            }
        }
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

async fn write(store: &Store, event: &CredentialEvent) -> Result<(), StoreError> {
    let CredentialEvent {
        credential,
        activation,
        at,
        ..
    } = *event;
    match &event.change {
        Change::Deactivated { reason } => {
            let why = Deactivation {
                at,
                reason: reason.clone(),
            };
            store
                .credentials()
                .deactivate(credential, activation, &why)
                .await
                .map(|_| ())
        }
        Change::OutOfCredit { .. } => store.credentials().note_credit(credential, activation, Some(at)).await,
        Change::CreditBack => store.credentials().note_credit(credential, activation, None).await,
        Change::CooldownBegan { .. }
        | Change::CooldownEnded { .. }
        | Change::Activated
        | Change::DailyLimitReached { .. }
        | Change::Paused { .. } => Ok(()),
    }
}

/// A line per change. Credentials are named, and shown by their ends.
fn log(snapshot: &Snapshot, event: &CredentialEvent) {
    let upstream = snapshot.upstreams.iter().find(|upstream| upstream.id == event.upstream);
    let credential = upstream.and_then(|upstream| {
        let mut all = upstream.credentials.iter();
        all.find(|credential| credential.id == event.credential)
    });
    let (Some(upstream), Some(credential)) = (upstream, credential) else {
        return;
    };
    let told = Told::of(&event.change);
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: CREDENTIAL_EVENTS, $level, change = event.change.name(), upstream = upstream.name,
                credential = credential.name, masked = credential.secret.masked(), model = told.model,
                class = told.class, until = told.until, named_by_provider = told.named, limit = told.limit,
                reason = told.reason, "{}", event.change.name()
            )
        };
    }
    match event.change {
        Change::Deactivated { .. } | Change::OutOfCredit { .. } => line!(tracing::Level::WARN),
        _ => line!(tracing::Level::INFO),
    }
}

/// What is particular to a change. What is `None` is left out of the line.
#[derive(Default)]
struct Told<'a> {
    model: Option<&'a str>,
    class: Option<&'static str>,
    until: Option<String>,
    named: Option<bool>,
    limit: Option<u64>,
    reason: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(change: &'a Change) -> Self {
        let nothing = Self::default();
        match change {
            Change::CooldownBegan {
                model,
                class,
                until,
                named_by_provider,
            } => Self {
                model: model.as_deref(),
                class: Some(class.name()),
                until: Some(moment(*until)),
                named: Some(*named_by_provider),
                ..nothing
            },
            Change::CooldownEnded { model } => Self {
                model: model.as_deref(),
                ..nothing
            },
            Change::OutOfCredit { until } | Change::Paused { until } => Self {
                until: Some(moment(*until)),
                ..nothing
            },
            Change::Deactivated { reason } => Self {
                reason: Some(reason),
                ..nothing
            },
            Change::DailyLimitReached { limit, until } => Self {
                limit: Some(*limit),
                until: Some(moment(*until)),
                ..nothing
            },
            Change::CreditBack | Change::Activated => nothing,
        }
    }
}

fn moment(at: Timestamp) -> String {
    crate::cli::output::moment(at)
}
