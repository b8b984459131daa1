//! What the entries show to a record, and how they are made from one.

use std::sync::Arc;

use domain::snapshot::{Credential, Route, Target};
use domain::{CredentialId, Timestamp, UpstreamId, Window};

use super::{Entries, TargetEntry, Turn, UpstreamEntry, UpstreamRest};
use crate::board::credential::{CredentialEntry, Daily};
use crate::board::failing::{Found, Standing};
use crate::board::lanes::{KeyLane, Lanes, Linked, UNLINKED_MAX, measures};
use crate::breaker::{Breaker, BreakerState};
use crate::cooldown::{Cooldown, Rest};
use crate::decision::{Glance, KeyTrouble, Measured, Seen, Sights, TargetTrouble, Trouble};
use crate::plan::Choice;

/// What is looked for beside what every candidate has.
#[derive(Clone, Copy)]
struct Search {
    now: Timestamp,
    /// Whether any credential may rest.
    some_rest: bool,
    /// Whether something failed lately.
    is_shaken: bool,
    shock: u32,
    keep_turns: bool,
}

impl Entries {
    /// Adds every candidate of a route, as it stands.
    pub(crate) fn see(&self, route: &Route, linked: Option<Linked>, now: Timestamp, seen: &mut Sights) {
        let Some(lanes) = self.lanes(linked) else {
            return self.see_only(route, now, seen);
        };
        match self.search(lanes.keep_turns(), now) {
            Some(search) => self.see_troubles(search, route, lanes, seen),
            None => {
                for lane in lanes.targets() {
                    let upstream = self.upstreams.at(lane.upstream);
                    for key in lanes.keys(lane) {
                        let known = self.credentials.at(key.slot);
                        seen.all.push(glance(Some(&lane.entry), upstream, known));
                    }
                }
            }
        }
        if lanes.measure() {
            seen.measured.reserve(lanes.len());
            for lane in lanes.targets() {
                let of_key = |key: &KeyLane| measured(Some(&lane.entry), self.credentials.at(key.slot));
                seen.measured.extend(lanes.keys(lane).iter().map(of_key));
            }
        }
    }

    /// The same, and what is against them. In one pass: what is known of a hundred candidates is larger than the nearest cache.
    fn see_troubles(&self, search: Search, route: &Route, lanes: Lanes<'_>, seen: &mut Sights) {
        let mut index = 0;
        for ((place, lane), target) in (0..).zip(lanes.targets()).zip(&route.targets) {
            let upstream = self.upstreams.at(lane.upstream);
            see_target(search, (place, target), upstream, lanes.len(), seen);
            let turn = self.turn_where(search, target);
            for (key, credential) in lanes.keys(lane).iter().zip(0..) {
                let known = self.credentials.at(key.slot);
                seen.all.push(glance(Some(&lane.entry), upstream, known));
                let place = KeyPlace {
                    index,
                    credential,
                    has_turn: turn.is_some_and(|turn| turn.0.cast_unsigned() == key.identity),
                };
                see_key(search, target, place, known, lanes.len(), seen);
                index += 1;
            }
        }
    }

    /// The same of a model whose only target has few candidates, which are found by their ids.
    fn see_only(&self, route: &Route, now: Timestamp, seen: &mut Sights) {
        let Some(target) = route.targets.first() else {
            return;
        };
        let upstream = &target.upstream;
        let entry = self.upstreams.get(&upstream.id);
        let known = |known: &Arc<Credential>| self.credentials.get(&known.id);
        let credentials = || upstream.credentials.iter();
        seen.all
            .extend(credentials().map(|key| glance(None, entry, known(key))));
        if measures(upstream.strategy) {
            seen.measured
                .extend(credentials().map(|key| measured(None, known(key))));
        }
        let Some(search) = self.search(upstream.rotates_slowly, now) else {
            return;
        };
        see_target(search, (0, target), entry, 1, seen);
        let turn = self.turn_where(search, target);
        for (key, index) in credentials().zip(0..) {
            let place = KeyPlace {
                index,
                credential: index as usize,
                has_turn: turn == Some(key.id),
            };
            see_key(search, target, place, known(key), UNLINKED_MAX, seen);
        }
    }

    /// What to look for; nothing, while nothing is against anybody.
    fn search(&self, keep_turns: bool, now: Timestamp) -> Option<Search> {
        let search = Search {
            now,
            some_rest: self.some_rest(now),
            is_shaken: now < self.shaken_until,
            shock: self.shock,
            keep_turns,
        };
        let is_quiet = !search.some_rest && self.upstreams_are_well(now) && !keep_turns && !search.is_shaken;
        (!is_quiet).then_some(search)
    }

    fn turn_where(&self, search: Search, target: &Target) -> Option<CredentialId> {
        search.keep_turns.then(|| self.turn(&target.upstream))?
    }

    /// Puts back how a candidate stood.
    pub(crate) fn put_back(
        &mut self,
        route: &Route,
        choice: Choice,
        (seen, trouble): &(Seen, Trouble),
        now: Timestamp,
    ) {
        let Some(target) = route.targets.get(choice.target) else {
            return;
        };
        let Some(credential) = target.upstream.credentials.get(choice.credential) else {
            return;
        };
        self.put_back_upstream(target, (seen, trouble), now);
        if trouble.doubted || trouble.lately != (0, 0) || trouble.strikes > 0 || trouble.standing != Standing::default()
        {
            self.shake(now);
        }
        *self.target_mut(route, choice.target) = TargetEntry {
            used: seen.target.turn,
            uses: seen.target.uses,
            latency: seen.target.latency,
        };
        // A call may go on for longer than it took to choose, and rests that are left are looked at until they end.
        let ends = [
            trouble.rest.map(Rest::until),
            trouble.model_rest.map(Rest::until),
            trouble.paused_until,
        ];
        ends.into_iter().flatten().for_each(|until| self.look_until(until));
        if trouble.has_turn {
            self.keep_turn(target.upstream.id, credential.id);
        }
        if trouble.standing.failing > 0 {
            self.mix(target.upstream.id, true);
        }
        let found = Found::new(trouble.standing, self.shock);
        let entry = self.credential_mut(credential.id);
        entry.found = found;
        entry.open = seen.key_open;
        entry.used = seen.key.turn;
        entry.uses = seen.key.uses;
        entry.latency = seen.key.latency;
        entry.daily = seen.uses_today;
        entry.deactivated = trouble.deactivated;
        entry.cooldown = trouble.rest.map(Cooldown::resting).unwrap_or_default();
        entry.cooldown.remember(trouble.strikes);
        if let Some(rest) = trouble.model_rest {
            *entry.model_cooldown(&target.model, now) = Cooldown::resting(rest);
        }
        // Which of its allowances it was, and how much of it was used, is not recorded.
        entry.windows.five_hours = trouble.paused_until.map(|resets_at| Window {
            used_permille: 1_000,
            resets_at,
        });
    }

    fn put_back_upstream(&mut self, target: &Target, (seen, trouble): (&Seen, &Trouble), now: Timestamp) {
        let id = target.upstream.id;
        let entry = self.upstream_mut(id);
        entry.open = seen.open;
        entry.rest = UpstreamRest {
            until: trouble.upstream_rest,
            at: now,
        };
        entry.doubted = trouble.doubted;
        entry.breaker = Breaker::standing(trouble.breaker, now);
        if let Some(settings) = &target.upstream.breaker {
            entry.breaker.remember(settings, trouble.lately, now);
        }
        self.upstreams_rest_until = self.upstreams_rest_until.max(trouble.upstream_rest);
        let closed = |entry: &UpstreamEntry| entry.breaker.state(now) == BreakerState::Closed;
        self.troubled = self.upstreams.iter().filter(|(_, entry)| !closed(entry)).count();
    }

    fn keep_turn(&mut self, upstream: UpstreamId, credential: CredentialId) {
        self.upstream_mut(upstream).turn = Some(Turn { credential, uses: 1 });
    }
}

/// Where a credential stands: among all candidates, at its upstream; and whether it keeps its turn.
#[derive(Clone, Copy)]
struct KeyPlace {
    index: u32,
    credential: usize,
    has_turn: bool,
}

/// Adds what is against an upstream. `room`: how many there may be of which something is to be told.
#[inline]
fn see_target(
    search: Search,
    (place, target): (u32, &Target),
    entry: Option<&UpstreamEntry>,
    room: usize,
    seen: &mut Sights,
) {
    let Some(entry) = entry else {
        return;
    };
    let lately = || {
        let settings = target.upstream.breaker.as_ref()?;
        Some(entry.breaker.lately(settings, search.now))
    };
    let trouble = TargetTrouble {
        breaker: entry.breaker.state(search.now),
        rest: entry.rest.until,
        doubted: entry.doubted,
        lately: if search.is_shaken {
            let counted = entry.breaker.counted(search.now);
            counted.or_else(lately).unwrap_or_default()
        } else {
            (0, 0)
        },
    };
    if trouble != TargetTrouble::default() {
        seen.of_targets
            .reserve(if seen.of_targets.is_empty() { room } else { 0 });
        seen.of_targets.push((place, trouble));
    }
}

/// Adds what is against a credential.
#[inline]
fn see_key(
    search: Search,
    target: &Target,
    place: KeyPlace,
    entry: Option<&CredentialEntry>,
    room: usize,
    seen: &mut Sights,
) {
    let Some(entry) = entry else {
        return;
    };
    let mut trouble = KeyTrouble {
        has_turn: place.has_turn,
        deactivated: entry.deactivated,
        strikes: entry.cooldown.strikes(),
        standing: if search.is_shaken {
            entry.found.at(search.shock)
        } else {
            Standing::default()
        },
        ..KeyTrouble::default()
    };
    if search.some_rest {
        trouble.rest = entry.cooldown.rest(search.now);
        trouble.model_rest = entry.model_rest(&target.model, search.now);
        if !entry.windows.is_empty() {
            let known = target.upstream.credentials.get(place.credential);
            trouble.paused_until = known
                .and_then(|known| known.pause_at)
                .and_then(|share| entry.windows.spared_until(share, search.now));
        }
    }
    if trouble != KeyTrouble::default() {
        seen.of_keys.reserve(if seen.of_keys.is_empty() { room } else { 0 });
        seen.of_keys.push((place.index, trouble));
    }
}

/// How a candidate stands.
fn glance(target: Option<&TargetEntry>, upstream: Option<&UpstreamEntry>, key: Option<&CredentialEntry>) -> Glance {
    Glance {
        target_turn: target.map_or(0, |entry| entry.used),
        key_turn: key.map_or(0, |entry| entry.used),
        uses_today: key.map_or(Daily::default(), |entry| entry.daily),
        open: upstream.map_or(0, |entry| entry.open),
        key_open: key.map_or(0, |entry| entry.open),
    }
}

fn measured(target: Option<&TargetEntry>, key: Option<&CredentialEntry>) -> Measured {
    Measured {
        target: target.map_or_else(Default::default, |entry| (entry.uses, entry.latency)),
        key: key.map_or_else(Default::default, |entry| (entry.uses, entry.latency)),
    }
}
