//! What the entries show to a record, and how they are made from one.

use domain::declaration::Strategy;
use domain::snapshot::{Route, Target};
use domain::{CredentialId, Timestamp, UpstreamId, Window};
use smallvec::SmallVec;

use super::{Entries, TargetEntry, Turn, UpstreamEntry, UpstreamRest};
use crate::board::credential::Daily;
use crate::breaker::{Breaker, BreakerState};
use crate::cooldown::Cooldown;
use crate::decision::{Seen, Used};
use crate::plan::Choice;
use crate::strategy::{Latency, Uses};

impl Entries {
    /// Adds every candidate of a route, as it stands.
    pub(crate) fn see(&self, route: &Route, now: Timestamp, seen: &mut SmallVec<[Seen; 4]>) {
        let (rotation, some_rest) = (self.rotation(route), self.some_rest(now));
        for (place, target) in route.targets.iter().enumerate() {
            let upstream = &target.upstream;
            let mut of_target = Seen::of(Choice {
                target: place,
                credential: 0,
            });
            if let Some(entry) = self.upstreams.get(&upstream.id) {
                of_target.breaker = entry.breaker.state(now);
                of_target.upstream_rest = entry.rest.until;
                of_target.open = entry.open;
            }
            if let Some(entry) = rotation.get(place) {
                of_target.target = used(entry.used, &entry.uses, &entry.latency, now);
            }
            let turn = self.turn(upstream);
            for (credential, known) in upstream.credentials.iter().enumerate() {
                seen.push(of_target);
                // Filled where it lies: it is a few cache lines long.
                let Some(one) = seen.last_mut() else { continue };
                one.choice.credential = credential;
                one.has_turn = turn == Some(known.id);
                if let Some(entry) = self.credentials.get(&known.id) {
                    one.key = used(entry.used, &entry.uses, &entry.latency, now);
                    one.key_open = entry.open;
                    one.uses_today = entry.daily.uses(now);
                    one.deactivated = entry.deactivated;
                    if some_rest {
                        one.rest = entry.cooldown.rest(now);
                        one.model_rest = entry.model_rest(&target.model, now);
                        one.paused_until = known.pause_at.and_then(|share| entry.windows.spared_until(share, now));
                    }
                }
            }
        }
    }

    /// Puts back how a candidate stood.
    pub(crate) fn put_back(&mut self, route: &Route, seen: &Seen, now: Timestamp) {
        let Some(target) = route.targets.get(seen.choice.target) else {
            return;
        };
        let Some(credential) = target.upstream.credentials.get(seen.choice.credential) else {
            return;
        };
        self.put_back_upstream(target, seen, now);
        self.rotation_mut(route)[seen.choice.target] = TargetEntry {
            used: seen.target.turn,
            uses: Uses::known(seen.target.uses, now),
            latency: Latency::known(seen.target.latency, now),
        };
        if seen.has_turn {
            self.keep_turn(target.upstream.id, credential.id);
        }
        let entry = self.credential_mut(credential.id);
        entry.open = seen.key_open;
        entry.used = seen.key.turn;
        entry.uses = Uses::known(seen.key.uses, now);
        entry.latency = Latency::known(seen.key.latency, now);
        entry.daily = Daily::default();
        entry.daily.add(now.day(), seen.uses_today);
        entry.deactivated = seen.deactivated;
        entry.cooldown = seen.rest.map(Cooldown::resting).unwrap_or_default();
        if let Some(rest) = seen.model_rest {
            *entry.model_cooldown(&target.model, now) = Cooldown::resting(rest);
        }
        // Which of its allowances it was, and how much of it was used, is not recorded.
        entry.windows.five_hours = seen.paused_until.map(|resets_at| Window {
            used_permille: 1_000,
            resets_at,
        });
    }

    fn put_back_upstream(&mut self, target: &Target, seen: &Seen, now: Timestamp) {
        let id = target.upstream.id;
        self.upstreams.insert(
            id,
            UpstreamEntry {
                open: seen.open,
                rest: UpstreamRest {
                    until: seen.upstream_rest,
                    at: now,
                },
                turn: self.upstreams.get(&id).and_then(|entry| entry.turn),
                ..UpstreamEntry::default()
            },
        );
        self.upstreams_rest_until = self.upstreams_rest_until.max(seen.upstream_rest);
        if let Some(entry) = self.upstreams.get_mut(&id) {
            entry.breaker = Breaker::standing(seen.breaker, now);
        }
        self.troubled = self
            .upstreams
            .values()
            .filter(|entry| entry.breaker.state(now) != BreakerState::Closed)
            .count();
    }

    fn keep_turn(&mut self, upstream: UpstreamId, credential: CredentialId) {
        self.upstream_mut(upstream).turn = Some(Turn { credential, uses: 1 });
    }
}

fn used(turn: u64, uses: &Uses, latency: &Latency, now: Timestamp) -> Used {
    Used {
        turn,
        uses: super::uses(uses, Strategy::LeastUsed, now),
        latency: super::latency(latency, Strategy::LowestLatency, now),
    }
}
