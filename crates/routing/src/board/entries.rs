//! The board's entries, behind its lock.

mod recorded;

use std::time::Duration;

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Route, Target, Upstream};
use domain::{CredentialId, Forced, Surface, Timestamp, UpstreamId};
use hashbrown::HashMap;

use super::credential::CredentialEntry;
use super::lanes::{Linked, RouteEntry, UNLINKED_MAX};
use super::slots::Slots;
use super::{CredentialStatus, Probed, UpstreamStatus};
use crate::breaker::{Breaker, BreakerState};
use crate::events::{Change, CredentialEvent, Notes, Subject};
use crate::hedge_budget::HedgeBudget;
use crate::plan::{Choice, Exclusion, barred};
use crate::retry_budget::RetryBudget;
use crate::strategy::{Latency, Load, Uses};

/// Routes whose rotation is remembered. Names of routes may come from clients (globs), so they must not grow without
/// end; when there are more, all rotations begin anew, which costs nothing but the evenness of one round.
pub(super) const ROUTES_MAX: usize = 4_096;

/// How long after a failure records tell what is left of it: longer than the windows of breakers usually are.
const SHAKEN: Duration = Duration::from_mins(5);

#[derive(Default)]
pub(crate) struct Entries {
    upstreams: Slots<UpstreamId, UpstreamEntry>,
    credentials: Slots<CredentialId, CredentialEntry>,
    /// What is known of each target of a route, by the route's name. Kept per route and not per upstream: a route
    /// may name an upstream twice with different models.
    pub(super) routes: Routes,
    /// The latest sequence number.
    sequence: u64,
    /// Upstreams whose breaker is not simply closed. While there are none, no choice need look at any.
    troubled: usize,
    /// When the last rest of a credential ends that was ever begun. After it no choice need look for any.
    rests_until: Timestamp,
    /// The same of upstreams.
    upstreams_rest_until: Timestamp,
    /// Until then records tell what failures left behind that did not open a breaker.
    shaken_until: Timestamp,
    /// How often failures began after a time without any.
    pub(super) shock: u32,
    notes: Notes,
    /// Which models may be hedged how often, by their names, which may come from clients too.
    pub(super) hedges: HashMap<String, HedgeBudget>,
    /// Credentials of which a provider named something that is not kept yet.
    pub(super) named: Vec<CredentialId>,
    /// Requests beside the calls that are not in the books, by credential and day.
    pub(super) beside: HashMap<(CredentialId, i64), u64>,
}

/// Routes by their names, each in a slot.
#[derive(Default)]
pub(super) struct Routes {
    places: HashMap<String, u32>,
    entries: Vec<RouteEntry>,
}

/// In the order of how often choices and records look at it; the long windows lie elsewhere.
#[derive(Default)]
#[repr(C)]
struct UpstreamEntry {
    open: u32,
    /// Whether the latest outcome was a failure of its own.
    doubted: bool,
    /// Whether some of its credentials may have failed where others did not.
    mixed: bool,
    rest: UpstreamRest,
    breaker: Breaker,
    /// Of its credentials that which keeps its turn.
    turn: Option<Turn>,
    last_used: Timestamp,
    probe: Option<Probed>,
    retries: Box<RetryBudget>,
}

/// A target of a route.
#[derive(Clone, Copy, Default)]
pub(crate) struct TargetEntry {
    /// When it was last chosen, as a sequence number.
    used: u64,
    uses: Uses,
    latency: Latency,
}

/// An upstream named a time at which it will be well again.
#[derive(Clone, Copy, Default)]
struct UpstreamRest {
    until: Timestamp,
    /// When it said so.
    at: Timestamp,
}

/// A credential whose turn is not over.
#[derive(Clone, Copy)]
struct Turn {
    credential: CredentialId,
    uses: u32,
}

impl Entries {
    fn upstream_mut(&mut self, id: UpstreamId) -> &mut UpstreamEntry {
        self.upstreams.entry(id)
    }

    pub(super) fn credential_mut(&mut self, id: CredentialId) -> &mut CredentialEntry {
        self.credentials.entry(id)
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

    /// Notes what a probe found.
    pub(super) fn note_probe(&mut self, id: UpstreamId, probed: Probed) {
        self.upstream_mut(id).probe = Some(probed);
    }

    /// What an operator decides; `None` leaves it to the breaker.
    pub(super) fn force(&mut self, id: UpstreamId, forced: Option<Forced>) {
        if forced.is_some() || self.troubled_breaker(id).is_some() {
            self.change_breaker(id, |breaker| breaker.force(forced));
        }
    }

    /// Something is against a credential until then, so that choices have to look.
    pub(crate) fn look_until(&mut self, until: Timestamp) {
        self.rests_until = until.max(self.rests_until);
    }

    /// Something failed.
    pub(super) fn shake(&mut self, now: Timestamp) {
        if now >= self.shaken_until {
            self.shock = self.shock.wrapping_add(1);
        }
        self.shaken_until = self.shaken_until.max(now + SHAKEN);
    }

    /// Lets an upstream rest, credentials and all.
    pub(super) fn rest_upstream(&mut self, id: UpstreamId, until: Timestamp, now: Timestamp) {
        let rest = &mut self.upstream_mut(id).rest;
        *rest = UpstreamRest {
            until: until.max(rest.until),
            at: now,
        };
        self.upstreams_rest_until = until.max(self.upstreams_rest_until);
    }

    /// An upstream answered a call that began at `began`.
    pub(super) fn wake_upstream(&mut self, id: UpstreamId, began: Timestamp) {
        if self.upstreams_rest_until > began
            && let Some(entry) = self.upstreams.get_mut(&id)
            && began >= entry.rest.at
        {
            entry.rest = UpstreamRest::default();
        }
    }

    /// Takes note of a change of a credential's state.
    pub(super) fn note(&mut self, upstream: UpstreamId, credential: CredentialId, change: Change, at: Timestamp) {
        let activation = self.credentials.get(&credential).map_or(0, |entry| entry.activation);
        let subject = Subject {
            upstream,
            credential,
            activation,
        };
        self.notes.add(subject, change, at);
    }

    /// Hands over what was noted.
    pub(super) fn take_notes(&mut self, now: Timestamp) -> Vec<CredentialEvent> {
        let Self { notes, credentials, .. } = self;
        notes.collect(now, |id, model| {
            credentials.get(&id).is_some_and(|entry| match model {
                Some(model) => entry.model_rest(model, now).is_some(),
                None => entry.cooldown.rest(now).is_some(),
            })
        })
    }

    /// Whether any credential may rest now.
    pub(crate) fn some_rest(&self, now: Timestamp) -> bool {
        now < self.rests_until
    }

    /// What is known of a credential.
    pub(crate) fn credential(&self, id: CredentialId) -> Option<&CredentialEntry> {
        self.credentials.get(&id)
    }

    /// Why a credential is not to be used for a target; `None` where nothing is against it.
    pub(crate) fn credential_exclusion(
        &self,
        target: &Target,
        credential: &Credential,
        now: Timestamp,
    ) -> Option<Exclusion> {
        if !self.some_rest(now) {
            return None;
        }
        self.credential(credential.id)?.exclusion(target, credential, now)
    }

    /// Why a candidate is not to be tried, where its upstream has a reason: the credential's instead, if the upstream's
    /// is only a guess and the credential's is not. Else a guess would hide that its provider said to wait, or that it is
    /// another profile's.
    pub(crate) fn stricter(
        &self,
        upstreams: Exclusion,
        target: &Target,
        credential: &Credential,
        profile: Option<&str>,
        now: Timestamp,
    ) -> Exclusion {
        let own = barred(credential, target, profile)
            .or_else(|| self.credential_exclusion(target, credential, now))
            .filter(|own| upstreams.is_guess() && !own.is_guess());
        own.unwrap_or(upstreams)
    }

    /// Makes a route ready to be read, unless it has so few candidates that no lane would help to find them.
    pub(crate) fn link(&mut self, route: &Route, asked: Surface) -> Option<Linked> {
        if let [only] = route.targets.as_slice()
            && only.upstream.credentials.len() <= UNLINKED_MAX
        {
            return None;
        }
        let place = self.linked(route);
        let surface = self.routes.entries[place as usize].surface(route, asked);
        Some(Linked { route: place, surface })
    }

    fn linked(&mut self, route: &Route) -> u32 {
        let Self {
            routes,
            upstreams,
            credentials,
            ..
        } = self;
        let place = routes.place(&route.model);
        let version = upstreams.version() + credentials.version();
        let entry = &mut routes.entries[place as usize];
        if !entry.is_of(route, version) {
            entry.read(route);
            entry.settle(
                route,
                version,
                |target| upstreams.slot(target.upstream.id),
                |credential| credentials.slot(credential.id),
            );
        }
        place
    }

    /// What is known of the upstream in a slot: its open calls.
    pub(crate) fn open_in(&self, slot: u32) -> u32 {
        self.upstreams.at(slot).map_or(0, |entry| entry.open)
    }

    /// The slot of a credential.
    pub(super) fn key_slot(&self, id: CredentialId) -> u32 {
        self.credentials.slot(id)
    }

    /// What is known of the credential in a slot.
    pub(crate) fn credential_in(&self, slot: u32) -> Option<&CredentialEntry> {
        self.credentials.at(slot)
    }

    /// Whether nothing is against any upstream.
    pub(crate) fn upstreams_are_well(&self, now: Timestamp) -> bool {
        self.troubled == 0 && now >= self.upstreams_rest_until
    }

    /// Why nothing at an upstream is to be tried; `None` where nothing is against it.
    pub(crate) fn upstream_exclusion(&self, upstream: &Upstream, now: Timestamp) -> Option<Exclusion> {
        if self.upstreams_are_well(now) {
            return None;
        }
        let (breaks, rests) = (upstream.breaker.is_some(), upstream.cooldown.is_some());
        self.upstream_exclusion_in(self.upstreams.slot(upstream.id), breaks, rests, now)
    }

    /// The same of the one in a slot, which has a breaker or not, and rests or not.
    pub(crate) fn upstream_exclusion_in(
        &self,
        slot: u32,
        breaks: bool,
        rests: bool,
        now: Timestamp,
    ) -> Option<Exclusion> {
        let some_rest = now < self.upstreams_rest_until;
        let entry = self.upstreams.at(slot)?;
        let rests = some_rest && rests && now < entry.rest.until;
        let rest = rests.then_some(Exclusion::UpstreamCooldown {
            until: entry.rest.until,
        });
        match entry.breaker.state(now) {
            BreakerState::Forced(Forced::Open) => Some(Exclusion::ForcedOpen),
            _ if !breaks => rest,
            BreakerState::Open { until } => Some(Exclusion::BreakerOpen { until }),
            BreakerState::HalfOpen { probing: true } => Some(Exclusion::Probing),
            BreakerState::HalfOpen { probing: false } | BreakerState::Closed | BreakerState::Forced(Forced::Closed) => {
                rest
            }
        }
    }

    /// Marks a choice as the latest, on a route that is `linked` where it has several candidates.
    pub(crate) fn stamp(&mut self, route: &Route, choice: Choice, linked: Option<Linked>, now: Timestamp) {
        self.sequence += 1;
        let sequence = self.sequence;
        let Some(target) = route.targets.get(choice.target) else {
            return;
        };
        if let Some(credential) = target.upstream.credentials.get(choice.credential)
            && self.ends_turn(&target.upstream, credential)
        {
            let entry = self.credential_mut(credential.id);
            entry.used = sequence;
            if target.upstream.strategy == Strategy::LeastUsed {
                entry.uses.add(now);
            }
        }
        if route.targets.len() > 1 {
            let place = linked.map_or_else(|| self.linked(route), |linked| linked.route);
            let lanes = &mut self.routes.entries[place as usize].lanes;
            let entry = &mut lanes[choice.target].entry;
            entry.used = sequence;
            if route.strategy_of(target) == Strategy::LeastUsed {
                entry.uses.add(now);
            }
        }
    }

    /// The credential of an upstream that keeps its turn, if any does.
    pub(crate) fn turn(&self, upstream: &Upstream) -> Option<CredentialId> {
        if !upstream.rotates_slowly || upstream.strategy != Strategy::RoundRobin {
            return None;
        }
        Some(self.upstreams.get(&upstream.id)?.turn?.credential)
    }

    /// Counts a use of a credential; tells whether its turn is over by that. A turn that another takes over is over too.
    fn ends_turn(&mut self, upstream: &Upstream, credential: &Credential) -> bool {
        if !upstream.rotates_slowly || upstream.strategy != Strategy::RoundRobin {
            return true;
        }
        let sequence = self.sequence;
        let turn = &mut self.upstream_mut(upstream.id).turn;
        let before = turn.filter(|turn| turn.credential != credential.id);
        let uses = turn.map_or(0, |turn| turn.uses) * u32::from(before.is_none()) + 1;
        let is_over = uses >= credential.rotate_after;
        *turn = (!is_over).then_some(Turn {
            credential: credential.id,
            uses,
        });
        if let Some(before) = before {
            self.credential_mut(before.credential).used = sequence;
        }
        is_over
    }

    /// Counts a use of a credential that has a limit a day; `false` where none is left.
    pub(super) fn take(&mut self, upstream: UpstreamId, credential: &Credential, limit: u64, now: Timestamp) -> bool {
        let daily = &mut self.credential_mut(credential.id).daily;
        let left = daily.uses(now) < limit;
        let reached = !left || daily.count(now) >= limit;
        if reached {
            let until = now.next_midnight();
            self.look_until(until);
            if left {
                self.note(upstream, credential.id, Change::DailyLimitReached { limit, until }, now);
            }
        }
        left
    }

    /// Takes note of how long a candidate took to its first content, or to its failure, where the choice looks at that.
    pub(super) fn timed(&mut self, route: &Route, choice: Choice, note: impl Fn(&mut Latency)) {
        let Some(target) = route.targets.get(choice.target) else {
            return;
        };
        if route.targets.len() > 1 && route.strategy_of(target) == Strategy::LowestLatency {
            note(&mut self.target_mut(route, choice.target).latency);
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

    /// Whether some of an upstream's credentials may have failed.
    pub(super) fn is_mixed(&self, upstream: UpstreamId) -> bool {
        self.upstreams.get(&upstream).is_some_and(|entry| entry.mixed)
    }

    pub(super) fn mix(&mut self, upstream: UpstreamId, mixed: bool) {
        self.upstream_mut(upstream).mixed = mixed;
    }

    pub(super) fn breaker(&self, upstream: UpstreamId) -> Option<&Breaker> {
        self.upstreams.get(&upstream).map(|entry| &entry.breaker)
    }

    pub(super) fn breaker_mut(&mut self, upstream: UpstreamId) -> &mut Breaker {
        &mut self.upstream_mut(upstream).breaker
    }

    pub(super) fn is_doubted(&self, upstream: UpstreamId) -> bool {
        self.upstreams.get(&upstream).is_some_and(|entry| entry.doubted)
    }

    /// The budget for further tries at an upstream.
    pub(super) fn retries(&mut self, upstream: UpstreamId) -> &mut RetryBudget {
        &mut self.upstream_mut(upstream).retries
    }

    /// What is known of a target.
    fn target_mut(&mut self, route: &Route, target: usize) -> &mut TargetEntry {
        let place = self.linked(route);
        &mut self.routes.entries[place as usize].lanes[target].entry
    }

    pub(super) fn begin(&mut self, upstream: &Upstream, credential: &Credential, now: Timestamp) {
        let entry = self.upstream_mut(upstream.id);
        entry.open += 1;
        entry.last_used = now;
        entry.retries.tried(now);
        let entry = self.credential_mut(credential.id);
        entry.open += 1;
        entry.last_used = now;
        if credential.daily_limit.is_none() {
            // With a limit it was counted when it was taken.
            entry.daily.count(now);
        }
        if let Some(settings) = upstream.cooldown.filter(|_| entry.cooldown.is_out_of_credit()) {
            entry.cooldown.look(settings, now);
            let until = entry.cooldown.latest();
            self.look_until(until);
        }
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
            .iter()
            .filter(|(_, entry)| !entry.breaker.is_closed())
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
            probe: entry.probe,
        })
    }

    pub(super) fn credentials(&self, now: Timestamp) -> impl Iterator<Item = CredentialStatus> {
        self.credentials.iter().map(move |(id, entry)| CredentialStatus {
            credential: *id,
            rest: entry.cooldown.rest(now),
            resting_models: entry.resting_models(now).collect(),
            open_calls: entry.open,
            last_used: entry.last_used,
            uses_today: entry.daily.uses(now),
            refusals: entry.refusals(),
            windows: entry.windows,
        })
    }

    #[cfg(test)]
    pub(super) fn routes_remembered(&self) -> usize {
        self.routes.entries.len()
    }
}

impl Routes {
    /// The slot of a route, made where there was none.
    fn place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        if self.entries.len() >= ROUTES_MAX {
            *self = Self::default();
        }
        let place = self.entries.len() as u32;
        self.entries.push(RouteEntry::default());
        self.places.insert(name.to_owned(), place);
        place
    }

    /// What is kept in a slot.
    pub(super) fn at(&self, place: u32) -> Option<&RouteEntry> {
        self.entries.get(place as usize)
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

pub(super) fn uses(uses: &Uses, strategy: Strategy, now: Timestamp) -> f32 {
    if strategy == Strategy::LeastUsed {
        uses.now(now)
    } else {
        0.0
    }
}

pub(super) fn latency(latency: &Latency, strategy: Strategy, now: Timestamp) -> f32 {
    if strategy == Strategy::LowestLatency {
        latency.now(now)
    } else {
        0.0
    }
}
