//! What the entries show to a record, and how they are made from one.

use domain::snapshot::{Route, Target};
use domain::{CredentialId, Timestamp, UpstreamId, Window};

use super::{Entries, TargetEntry, Turn, UpstreamEntry, UpstreamRest};
use crate::board::credential::{CredentialEntry, Daily};
use crate::board::lanes::Linked;
use crate::breaker::{Breaker, BreakerState};
use crate::cooldown::Cooldown;
use crate::decision::{Seen, Sights, Trouble, Used};
use crate::plan::Choice;
use crate::strategy::{Latency, Uses};

impl Entries {
    /// Adds every candidate of a route, as it stands.
    pub(crate) fn see(&self, route: &Route, linked: Option<Linked>, now: Timestamp, seen: &mut Sights) {
        let Some(lanes) = self.lanes(linked) else {
            if let Some(target) = route.targets.first() {
                let upstream = self.upstreams.get(&target.upstream.id);
                let credentials = target.upstream.credentials.iter();
                seen.all
                    .extend(credentials.map(|known| look(None, upstream, self.credentials.get(&known.id))));
                self.see_troubles(route, target.upstream.rotates_slowly, now, seen);
            }
            return;
        };
        for lane in lanes.targets() {
            let upstream = self.upstreams.at(lane.upstream);
            for key in lanes.keys(lane) {
                seen.all
                    .push(look(Some(&lane.entry), upstream, self.credentials.at(key.slot)));
            }
        }
        self.see_troubles(route, lanes.keep_turns(), now, seen);
    }

    /// Adds what is against candidates, and whose turn it is; nothing, while nothing is against anybody.
    fn see_troubles(&self, route: &Route, keep_turns: bool, now: Timestamp, seen: &mut Sights) {
        let some_rest = self.some_rest(now);
        let is_shaken = now < self.shaken_until;
        if !some_rest && self.upstreams_are_well(now) && !keep_turns && !is_shaken {
            return;
        }
        let mut index = 0;
        for target in &route.targets {
            let upstream = &target.upstream;
            let turn = self.turn(upstream);
            let mut of_target = Trouble::default();
            if let Some(entry) = self.upstreams.get(&upstream.id) {
                of_target.breaker = entry.breaker.state(now);
                of_target.upstream_rest = entry.rest.until;
                of_target.doubted = entry.doubted;
                if let Some(settings) = upstream.breaker.as_ref().filter(|_| is_shaken) {
                    of_target.lately = entry.breaker.lately(settings, now);
                }
            }
            for known in &upstream.credentials {
                let mut one = of_target;
                one.has_turn = turn == Some(known.id);
                if let Some(entry) = self.credentials.get(&known.id) {
                    one.deactivated = entry.deactivated;
                    one.strikes = entry.cooldown.strikes();
                    if some_rest {
                        one.rest = entry.cooldown.rest(now);
                        one.model_rest = entry.model_rest(&target.model, now);
                        one.paused_until = known.pause_at.and_then(|share| entry.windows.spared_until(share, now));
                    }
                }
                if one != Trouble::default() {
                    seen.troubles.push((index, one));
                }
                index += 1;
            }
        }
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
        if trouble.doubted || trouble.lately != (0, 0) || trouble.strikes > 0 {
            self.shake(now);
        }
        *self.target_mut(route, choice.target) = TargetEntry {
            used: seen.target.turn,
            uses: seen.target.uses,
            latency: seen.target.latency,
        };
        if trouble.has_turn {
            self.keep_turn(target.upstream.id, credential.id);
        }
        let entry = self.credential_mut(credential.id);
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
        *entry.breaker = Breaker::standing(trouble.breaker, now);
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

/// How a candidate stands.
fn look(target: Option<&TargetEntry>, upstream: Option<&UpstreamEntry>, key: Option<&CredentialEntry>) -> Seen {
    let used = |turn, uses: &Uses, latency: &Latency| Used {
        turn,
        uses: *uses,
        latency: *latency,
    };
    Seen {
        target: target.map_or(Used::UNUSED, |entry| used(entry.used, &entry.uses, &entry.latency)),
        key: key.map_or(Used::UNUSED, |entry| used(entry.used, &entry.uses, &entry.latency)),
        uses_today: key.map_or(Daily::default(), |entry| entry.daily),
        open: upstream.map_or(0, |entry| entry.open),
        key_open: key.map_or(0, |entry| entry.open),
    }
}
