//! A route as a choice reads it: one small row per target and per credential, in a row.
//!
//! What is declared of a candidate lies behind several pointers, what is known of it behind two hashes. For a hundred
//! candidates finding that takes longer than deciding, so it is found once and kept with the route's rotation: facts that
//! decide, and the [slots](super::slots) of upstream and credential. A route says by its stamp that it is the one that was
//! read; slots say by their version that they still hold.

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Pool, Route, Target};
use domain::{CapabilitySet, Surface};
use smallvec::SmallVec;

use super::entries::{Entries, TargetEntry};
use crate::plan::offers;

/// Kinds of requests that it is remembered of a route's targets whether they offer them. Most routes are asked for one or
/// two; for the others it is found out anew.
const SURFACES_MAX: usize = 8;

/// Candidates of a model's only target that are looked up by their ids at each choice: finding the route's row would cost as
/// much, and most models have no more.
pub(crate) const UNLINKED_MAX: usize = 4;

/// What is kept of a route.
#[derive(Default)]
pub(super) struct RouteEntry {
    pub(super) lanes: Vec<Lane>,
    pub(super) keys: Vec<KeyLane>,
    /// The route that was read.
    stamp: Option<u64>,
    /// Under which version of the slots.
    version: u64,
    /// What was asked of it; the bits of [`Lane::offers`].
    surfaces: SmallVec<[Surface; SURFACES_MAX]>,
    /// Whose bit is taken next when there are too many.
    oldest: usize,
    /// Whether credentials of any upstream keep their turn.
    pub(super) keeps_turns: bool,
    /// Whether any strategy looks at what was measured or counted.
    measures: bool,
}

/// A target.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    /// How it was used.
    pub(crate) entry: TargetEntry,
    /// Its place among tiers and priorities, smaller first.
    pub(crate) peers: u64,
    /// What `sticky` tells it by.
    pub(crate) identity: u64,
    context: u64,
    /// The slot of its upstream.
    pub(crate) upstream: u32,
    /// Where its credentials begin, and how many they are.
    first_key: u32,
    pub(crate) keys: u32,
    pub(crate) weight: u32,
    cannot: CapabilitySet,
    offers: u8,
    pub(crate) strategy: Strategy,
    /// Whether its upstream has a breaker.
    pub(crate) breaks: bool,
    /// Whether its upstream and its credentials may rest.
    pub(crate) rests: bool,
}

/// A credential of a target.
#[derive(Clone, Copy)]
pub(crate) struct KeyLane {
    /// Its id, by which `sticky` tells it.
    pub(crate) identity: u64,
    /// Its slot.
    pub(crate) slot: u32,
    pub(crate) weight: u32,
    pub(crate) serves: Serves,
    /// Whether it may be used no more at some time of the day.
    pub(crate) is_limited: bool,
}

/// Whom a credential serves, as far as it is seen at a glance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    All,
    /// Keys without a profile.
    Common,
    /// That has to be looked at.
    Some,
}

/// Where a route is kept, and the bit of what is asked of it.
#[derive(Clone, Copy)]
pub(crate) struct Linked {
    pub(super) route: u32,
    pub(super) surface: u8,
}

/// The lanes of a route, as a choice reads them.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<'a> {
    entry: &'a RouteEntry,
    surface: u8,
}

impl<'a> Lanes<'a> {
    pub(super) const fn of(entry: &'a RouteEntry, linked: Linked) -> Self {
        Self {
            entry,
            surface: linked.surface,
        }
    }

    /// Whether credentials of any upstream keep their turn.
    pub(crate) const fn keep_turns(self) -> bool {
        self.entry.keeps_turns
    }

    /// Whether any strategy looks at what was measured or counted.
    pub(crate) const fn measure(self) -> bool {
        self.entry.measures
    }

    /// How many candidates there are.
    pub(crate) const fn len(self) -> usize {
        self.entry.keys.len()
    }

    pub(crate) const fn targets(self) -> &'a [Lane] {
        self.entry.lanes.as_slice()
    }

    pub(crate) fn keys(self, lane: &Lane) -> &'a [KeyLane] {
        let first = lane.first_key as usize;
        self.entry.keys.get(first..first + lane.keys as usize).unwrap_or(&[])
    }

    /// Whether a target offers what is asked, and nothing that the call needs is known to be beyond it.
    pub(crate) const fn fits(self, lane: &Lane, needs: &domain::Needs) -> bool {
        lane.offers & self.surface != 0
            && needs.capabilities.and(lane.cannot).is_empty()
            && (lane.context == 0 || needs.tokens <= lane.context)
    }
}

impl Lane {
    fn of(route: &Route, target: &Target, entry: TargetEntry, first_key: usize) -> Self {
        Self {
            entry,
            peers: crate::plan::peers_of(target.tier, target.priority),
            identity: target.identity,
            context: target.context,
            upstream: super::slots::NOWHERE,
            first_key: first_key as u32,
            keys: target.upstream.credentials.len() as u32,
            weight: target.weight,
            cannot: target.capabilities.cannot,
            offers: 0,
            strategy: route.strategy_of(target),
            breaks: target.upstream.breaker.is_some(),
            rests: target.upstream.cooldown.is_some(),
        }
    }
}

impl KeyLane {
    fn of(credential: &Credential) -> Self {
        let is_plain = credential.state.deactivated.is_none() && credential.account.is_none();
        Self {
            identity: credential.id.0.cast_unsigned(),
            slot: super::slots::NOWHERE,
            weight: credential.weight,
            serves: match credential.pool {
                Pool::Everyone if is_plain => Serves::All,
                Pool::Common if is_plain => Serves::Common,
                _ => Serves::Some,
            },
            is_limited: credential.daily_limit.is_some() || credential.pause_at.is_some(),
        }
    }

    /// Whether it serves a key of this profile; `false`: perhaps.
    pub(crate) fn surely_serves(self, profile: Option<&str>) -> bool {
        self.serves == Serves::All || (self.serves == Serves::Common && profile.is_none())
    }
}

impl RouteEntry {
    /// Whether it is this route that was read, and everything still is where it was.
    pub(super) fn is_of(&self, route: &Route, version: u64) -> bool {
        self.stamp == Some(route.stamp.number()) && self.version == version
    }

    /// Reads the route, if it is another one. What was known of its targets stays with their places.
    pub(super) fn read(&mut self, route: &Route) {
        if self.stamp == Some(route.stamp.number()) {
            return;
        }
        self.stamp = Some(route.stamp.number());
        self.surfaces.clear();
        self.oldest = 0;
        self.keeps_turns = route.targets.iter().any(|target| target.upstream.rotates_slowly);
        let strategies = route
            .targets
            .iter()
            .flat_map(|target| [route.strategy_of(target), target.upstream.strategy]);
        self.measures = strategies.into_iter().any(measures);
        self.keys.clear();
        self.lanes.truncate(route.targets.len());
        for (place, target) in route.targets.iter().enumerate() {
            let known = self.lanes.get(place).map(|lane| lane.entry);
            let lane = Lane::of(route, target, known.unwrap_or_default(), self.keys.len());
            match self.lanes.get_mut(place) {
                Some(old) => *old = lane,
                None => self.lanes.push(lane),
            }
            let keys = target.upstream.credentials.iter();
            self.keys.extend(keys.map(|credential| KeyLane::of(credential)));
        }
    }

    /// Finds the slots anew.
    pub(super) fn settle(
        &mut self,
        route: &Route,
        version: u64,
        find: impl Fn(&Target) -> u32,
        find_key: impl Fn(&Credential) -> u32,
    ) {
        self.version = version;
        for (lane, target) in self.lanes.iter_mut().zip(&route.targets) {
            lane.upstream = find(target);
        }
        let credentials = route.targets.iter().flat_map(|target| &target.upstream.credentials);
        for (key, credential) in self.keys.iter_mut().zip(credentials) {
            key.slot = find_key(credential);
        }
    }

    /// The bit of what is asked.
    pub(super) fn surface(&mut self, route: &Route, asked: Surface) -> u8 {
        if let Some(place) = self.surfaces.iter().position(|known| *known == asked) {
            return 1 << place;
        }
        let place = if self.surfaces.len() < SURFACES_MAX {
            self.surfaces.push(asked);
            self.surfaces.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % SURFACES_MAX;
            self.surfaces[place] = asked;
            place
        };
        let bit = 1 << place;
        for (lane, target) in self.lanes.iter_mut().zip(&route.targets) {
            lane.offers &= !bit;
            if offers(target, asked) {
                lane.offers |= bit;
            }
        }
        bit
    }
}

/// Whether a strategy looks at what was measured or counted.
pub(super) const fn measures(strategy: Strategy) -> bool {
    matches!(strategy, Strategy::LeastUsed | Strategy::LowestLatency)
}

impl Entries {
    /// A credential as a choice reads it, found by its id.
    pub(crate) fn key_lane(&self, credential: &Credential) -> KeyLane {
        KeyLane {
            slot: self.key_slot(credential.id),
            ..KeyLane::of(credential)
        }
    }

    /// The lanes of a route that was linked.
    pub(crate) fn lanes(&self, linked: Option<Linked>) -> Option<Lanes<'_>> {
        let linked = linked?;
        Some(Lanes::of(self.routes.at(linked.route)?, linked))
    }
}
