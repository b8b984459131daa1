//! The board's entries, behind its lock.

use std::sync::Arc;

use domain::declaration::Strategy;
use domain::snapshot::{Route, Target, Upstream};
use domain::{CredentialId, Forced, Timestamp, UpstreamId};
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{CredentialStatus, UpstreamStatus};
use crate::breaker::{Breaker, BreakerState};
use crate::cooldown::{Cooldown, Rest};
use crate::plan::{Choice, Exclusion};
use crate::retry_budget::RetryBudget;
use crate::strategy::{Latency, Load, Uses};

/// Routes whose rotation is remembered. Names of routes may come from clients (globs), so they must not grow without
/// end; when there are more, all rotations begin anew, which costs nothing but the evenness of one round.
pub(super) const ROUTES_MAX: usize = 4_096;
/// Models of one credential that rest by themselves, for the same reason; of more, the one that would end first goes.
pub(super) const RESTING_MODELS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Entries {
    upstreams: HashMap<UpstreamId, UpstreamEntry>,
    credentials: HashMap<CredentialId, CredentialEntry>,
    /// What is known of each target of a route, by the route's name. Kept per route and not per upstream: a route
    /// may name an upstream twice with different models.
    routes: HashMap<String, SmallVec<[TargetEntry; 4]>>,
    /// The latest sequence number.
    sequence: u64,
    /// Upstreams whose breaker is not simply closed. While there are none, no choice need look at any.
    troubled: usize,
    /// When the last rest ends that was ever begun. After it no choice need look for any.
    rests_until: Timestamp,
}

#[derive(Default)]
struct UpstreamEntry {
    breaker: Breaker,
    open: u32,
    last_used: Timestamp,
    retries: RetryBudget,
    /// Whether the latest outcome was a failure of its own.
    doubted: bool,
}

/// A target of a route.
#[derive(Clone, Copy, Default)]
pub(crate) struct TargetEntry {
    /// When it was last chosen, as a sequence number.
    used: u64,
    uses: Uses,
    latency: Latency,
}

#[derive(Default)]
pub(crate) struct CredentialEntry {
    cooldown: Cooldown,
    /// Calls open.
    pub(crate) open: u32,
    last_used: Timestamp,
    /// When it was last chosen, as a sequence number.
    used: u64,
    uses: Uses,
    latency: Latency,
    resting_models: Vec<(Arc<str>, Timestamp)>,
}

impl Entries {
    fn upstream_mut(&mut self, id: UpstreamId) -> &mut UpstreamEntry {
        self.upstreams.entry(id).or_default()
    }

    fn credential_mut(&mut self, id: CredentialId) -> &mut CredentialEntry {
        self.credentials.entry(id).or_default()
    }

    /// The breaker of an upstream that has trouble; `None` where it is closed.
    pub(super) fn troubled_breaker(&mut self, id: UpstreamId) -> Option<&mut Breaker> {
        if self.troubled == 0 {
            return None;
        }
        self.upstreams
            .get_mut(&id)
            .map(|entry| &mut entry.breaker)
            .filter(|breaker| !breaker.is_closed())
    }

    /// Tells a breaker something that may open or close it.
    pub(super) fn change_breaker(&mut self, id: UpstreamId, change: impl FnOnce(&mut Breaker)) {
        let breaker = &mut self.upstream_mut(id).breaker;
        let was_closed = breaker.is_closed();
        change(breaker);
        match (was_closed, breaker.is_closed()) {
            (true, false) => self.troubled += 1,
            (false, true) => self.troubled -= 1,
            _ => {}
        }
    }

    /// What an operator decides; `None` leaves it to the breaker.
    pub(super) fn force(&mut self, id: UpstreamId, forced: Option<Forced>) {
        if forced.is_some() || self.troubled_breaker(id).is_some() {
            self.change_breaker(id, |breaker| breaker.force(forced));
        }
    }

    /// Tells a cooldown something that may begin or end a rest.
    pub(super) fn change_cooldown(&mut self, id: CredentialId, change: impl FnOnce(&mut Cooldown)) {
        let cooldown = &mut self.credential_mut(id).cooldown;
        change(cooldown);
        self.rests_until = cooldown.latest().max(self.rests_until);
    }

    /// Lets a credential rest for one model.
    pub(super) fn rest_model(&mut self, id: CredentialId, model: &Arc<str>, until: Timestamp, now: Timestamp) {
        self.credential_mut(id).rest_model(model, until, now);
        self.rests_until = until.max(self.rests_until);
    }

    /// Whether any credential may rest now.
    pub(crate) fn some_rest(&self, now: Timestamp) -> bool {
        now < self.rests_until
    }

    /// Calls open at an upstream.
    pub(crate) fn open_at(&self, id: UpstreamId) -> u32 {
        self.upstreams.get(&id).map_or(0, |entry| entry.open)
    }

    /// What is known of a credential.
    pub(crate) fn credential(&self, id: CredentialId) -> Option<&CredentialEntry> {
        self.credentials.get(&id)
    }

    /// Why a credential is not to be used for a target; `None` where nothing is against it.
    pub(crate) fn credential_exclusion(
        &self,
        target: &Target,
        credential: CredentialId,
        now: Timestamp,
    ) -> Option<Exclusion> {
        if !self.some_rest(now) {
            return None;
        }
        self.credential(credential)?.exclusion(target, now)
    }

    /// Why a candidate is not to be tried, where its upstream has a reason: the credential's instead, if the upstream's
    /// is only a guess and the credential's is not. Else a guess would hide that its provider said to wait.
    pub(crate) fn stricter(
        &self,
        upstreams: Exclusion,
        target: &Target,
        credential: CredentialId,
        now: Timestamp,
    ) -> Exclusion {
        let own = self
            .credential_exclusion(target, credential, now)
            .filter(|own| upstreams.is_guess() && !own.is_guess());
        own.unwrap_or(upstreams)
    }

    /// What is known of each target of a route; empty where nothing is.
    pub(crate) fn rotation(&self, route: &Route) -> &[TargetEntry] {
        self.routes.get(route.model.as_str()).map_or(&[], SmallVec::as_slice)
    }

    /// Why nothing at an upstream is to be tried; `None` where nothing is against it.
    pub(crate) fn upstream_exclusion(&self, upstream: &Upstream, now: Timestamp) -> Option<Exclusion> {
        if self.troubled == 0 {
            return None;
        }
        let breaker = &self.upstreams.get(&upstream.id)?.breaker;
        match breaker.state(now) {
            BreakerState::Forced(Forced::Open) => Some(Exclusion::ForcedOpen),
            _ if upstream.breaker.is_none() => None,
            BreakerState::Open { until } => Some(Exclusion::BreakerOpen { until }),
            BreakerState::HalfOpen { probing: true } => Some(Exclusion::Probing),
            BreakerState::HalfOpen { probing: false } | BreakerState::Closed | BreakerState::Forced(Forced::Closed) => {
                None
            }
        }
    }

    /// Marks a choice as the latest.
    pub(crate) fn stamp(&mut self, route: &Route, choice: Choice, now: Timestamp) {
        self.sequence += 1;
        let sequence = self.sequence;
        let Some(target) = route.targets.get(choice.target) else {
            return;
        };
        if let Some(credential) = target.upstream.credentials.get(choice.credential) {
            let entry = self.credential_mut(credential.id);
            entry.used = sequence;
            if target.upstream.strategy == Strategy::LeastUsed {
                entry.uses.add(now);
            }
        }
        if route.targets.len() > 1 {
            let entry = &mut self.rotation_mut(route)[choice.target];
            entry.used = sequence;
            if route.strategy_of(target) == Strategy::LeastUsed {
                entry.uses.add(now);
            }
        }
    }

    /// Takes note of how long a candidate took to its first content, or to its failure, where the choice looks at that.
    pub(super) fn timed(&mut self, route: &Route, choice: Choice, note: impl Fn(&mut Latency)) {
        let Some(target) = route.targets.get(choice.target) else {
            return;
        };
        if route.targets.len() > 1 && route.strategy_of(target) == Strategy::LowestLatency {
            note(&mut self.rotation_mut(route)[choice.target].latency);
        }
        let credentials = &target.upstream.credentials;
        if let (Strategy::LowestLatency, Some(credential)) =
            (target.upstream.strategy, credentials.get(choice.credential))
        {
            note(&mut self.credential_mut(credential.id).latency);
        }
    }

    /// Notes whether the latest outcome was a failure.
    pub(super) fn doubt(&mut self, upstream: UpstreamId, doubted: bool) {
        self.upstream_mut(upstream).doubted = doubted;
    }

    pub(super) fn is_doubted(&self, upstream: UpstreamId) -> bool {
        self.upstreams.get(&upstream).is_some_and(|entry| entry.doubted)
    }

    /// The budget for further tries at an upstream.
    pub(super) fn retries(&mut self, upstream: UpstreamId) -> &mut RetryBudget {
        &mut self.upstream_mut(upstream).retries
    }

    fn rotation_mut(&mut self, route: &Route) -> &mut [TargetEntry] {
        let name = route.model.as_str();
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(name) {
            self.routes.clear();
        }
        let rotation = self.routes.entry_ref(name).or_default();
        // A route whose targets were changed keeps the places of those before the change.
        rotation.resize(route.targets.len(), TargetEntry::default());
        rotation
    }

    pub(super) fn begin(&mut self, upstream: UpstreamId, credential: CredentialId, now: Timestamp) {
        let entry = self.upstream_mut(upstream);
        entry.open += 1;
        entry.last_used = now;
        entry.retries.tried(now);
        let entry = self.credential_mut(credential);
        entry.open += 1;
        entry.last_used = now;
    }

    pub(super) fn end(&mut self, upstream: UpstreamId, credential: CredentialId) {
        if let Some(entry) = self.upstreams.get_mut(&upstream) {
            entry.open = entry.open.saturating_sub(1);
        }
        if let Some(entry) = self.credentials.get_mut(&credential) {
            entry.open = entry.open.saturating_sub(1);
        }
    }

    /// Keeps what is listed (both ascending) and what has open calls.
    pub(super) fn retain(&mut self, upstreams: &[UpstreamId], credentials: &[CredentialId]) {
        self.upstreams
            .retain(|id, entry| entry.open > 0 || upstreams.binary_search(id).is_ok());
        self.troubled = self
            .upstreams
            .values()
            .filter(|entry| !entry.breaker.is_closed())
            .count();
        self.credentials
            .retain(|id, entry| entry.open > 0 || credentials.binary_search(id).is_ok());
    }

    pub(super) fn upstreams(&self, now: Timestamp) -> impl Iterator<Item = UpstreamStatus> {
        self.upstreams.iter().map(move |(id, entry)| UpstreamStatus {
            upstream: *id,
            breaker: entry.breaker.state(now),
            open_calls: entry.open,
            last_used: entry.last_used,
        })
    }

    pub(super) fn credentials(&self, now: Timestamp) -> impl Iterator<Item = CredentialStatus> {
        self.credentials.iter().map(move |(id, entry)| CredentialStatus {
            credential: *id,
            rest: entry.cooldown.rest(now),
            open_calls: entry.open,
            last_used: entry.last_used,
        })
    }

    #[cfg(test)]
    pub(super) fn routes_remembered(&self) -> usize {
        self.routes.len()
    }
}

impl TargetEntry {
    /// What a strategy looks at, as far as it is known of the target by itself.
    pub(crate) fn load(&self, strategy: Strategy, now: Timestamp) -> Load {
        Load {
            used: self.used,
            uses: uses(&self.uses, strategy, now),
            latency: latency(&self.latency, strategy, now),
            ..Load::default()
        }
    }
}

fn uses(uses: &Uses, strategy: Strategy, now: Timestamp) -> f32 {
    if strategy == Strategy::LeastUsed {
        uses.now(now)
    } else {
        0.0
    }
}

fn latency(latency: &Latency, strategy: Strategy, now: Timestamp) -> f32 {
    if strategy == Strategy::LowestLatency {
        latency.now(now)
    } else {
        0.0
    }
}

impl CredentialEntry {
    /// What a strategy looks at.
    pub(crate) fn load(&self, strategy: Strategy, now: Timestamp) -> Load {
        Load {
            used: self.used,
            open: self.open,
            uses: uses(&self.uses, strategy, now),
            latency: latency(&self.latency, strategy, now),
            ..Load::default()
        }
    }

    /// Why the credential is not to be used for a target; `None` where nothing is against it.
    pub(crate) fn exclusion(&self, target: &Target, now: Timestamp) -> Option<Exclusion> {
        target.upstream.cooldown?;
        let named = |until| Exclusion::Cooldown {
            until,
            named_by_provider: true,
        };
        let for_this_model = self.model_rest(&target.model, now).map(named);
        match self.cooldown.rest(now) {
            Some(Rest::OutOfCredit(until)) => Some(Exclusion::OutOfCredit { until }),
            Some(Rest::Named(until)) => for_this_model.or(Some(named(until))),
            Some(Rest::Guessed(until)) => for_this_model.or(Some(Exclusion::Cooldown {
                until,
                named_by_provider: false,
            })),
            None => for_this_model,
        }
    }

    /// Until when a model rests.
    fn model_rest(&self, model: &str, now: Timestamp) -> Option<Timestamp> {
        let resting = self.resting_models.iter().find(|(name, _)| **name == *model)?;
        (resting.1 > now).then_some(resting.1)
    }

    /// Lets one model rest; never shorter than it would have anyway.
    fn rest_model(&mut self, model: &Arc<str>, until: Timestamp, now: Timestamp) {
        if let Some((_, longest)) = self.resting_models.iter_mut().find(|(name, _)| **name == **model) {
            *longest = until.max(*longest);
            return;
        }
        self.resting_models.retain(|(_, until)| *until > now);
        if self.resting_models.len() >= RESTING_MODELS_MAX {
            let soonest = self
                .resting_models
                .iter()
                .enumerate()
                .min_by_key(|(_, (_, until))| *until);
            if let Some(soonest) = soonest.map(|(index, _)| index) {
                self.resting_models.swap_remove(soonest);
            }
        }
        self.resting_models.push((Arc::clone(model), until));
    }
}
