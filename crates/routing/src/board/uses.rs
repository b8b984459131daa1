//! Uses of credentials that no call of this process counts: requests to other paths of a provider, and what other replicas
//! sent.
//!
//! A call's requests are in its receipt, from which they are booked. Other requests leave none, so what they used waits here
//! to be fetched and added to the books. What the books say comes back: they hold what every replica sent. The larger of both
//! counts is the nearest to the truth that never exceeds it, because neither has anything that was not sent; it lags behind
//! by what others have sent and not booked yet.

use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, Snapshot, Timestamp};

use super::Board;
use crate::events::Change;

impl Board {
    /// Counts a request that is about to be sent beside the calls.
    pub fn count_beside(&self, upstream: &Upstream, credential: &Credential, now: Timestamp) {
        let mut entries = self.entries.lock();
        let taken = credential
            .daily_limit
            .is_some_and(|limit| entries.take(upstream.id, credential, limit, now));
        if !taken {
            // It names what lives there, or there is no limit.
            entries.credential_mut(credential.id).daily.count(now);
        }
        *entries.beside.entry((credential.id, now.day())).or_default() += 1;
    }

    /// It was not sent after all.
    pub fn give_back_beside(&self, credential: &Credential, began: Timestamp) {
        let mut entries = self.entries.lock();
        entries.credential_mut(credential.id).daily.give_back(began);
        if let Some(uses) = entries.beside.get_mut(&(credential.id, began.day())) {
            *uses = uses.saturating_sub(1);
        }
    }

    /// Whether a credential may be used once more today.
    pub fn has_uses_left(&self, credential: &Credential, now: Timestamp) -> bool {
        credential.daily_limit.is_none_or(|limit| {
            let entries = self.entries.lock();
            let entry = entries.credential(credential.id);
            entry.is_none_or(|entry| entry.daily.uses(now) < limit)
        })
    }

    /// Hands over what was counted beside the calls and is not in the books: credential, day, and how many.
    pub fn take_uses_beside(&self) -> Vec<(CredentialId, i64, u64)> {
        let beside = std::mem::take(&mut self.entries.lock().beside);
        let counted = beside.into_iter().filter(|(_, uses)| *uses > 0);
        counted
            .map(|((credential, day), uses)| (credential, day, uses))
            .collect()
    }

    /// Learns what the books say of a day, of all replicas; by credential, ascending. Those without a limit are left out.
    pub fn learn_uses(&self, snapshot: &Snapshot, day: i64, uses: &[(CredentialId, u64)], now: Timestamp) {
        let booked = |id: CredentialId| {
            let place = uses.binary_search_by_key(&id, |(known, _)| *known).ok()?;
            uses.get(place).map(|(_, uses)| *uses)
        };
        let mut entries = self.entries.lock();
        for upstream in &snapshot.upstreams {
            for credential in &upstream.credentials {
                let (Some(limit), Some(booked)) = (credential.daily_limit, booked(credential.id)) else {
                    continue;
                };
                let daily = &mut entries.credential_mut(credential.id).daily;
                let was_left = daily.uses(now) < limit;
                daily.raise(day, booked);
                if was_left && daily.uses(now) >= limit {
                    let until = now.next_midnight();
                    entries.look_until(until);
                    let change = Change::DailyLimitReached { limit, until };
                    entries.note(upstream.id, credential.id, change, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{START, preview, rng, snapshot};
    use domain::declaration::Strategy;

    fn limited(limit: u64) -> (Snapshot, Board) {
        let one = json!({"keys": 1, "key_terms": [{"daily_limit": limit}]});
        (snapshot(Strategy::RoundRobin, &[one]), Board::new())
    }

    fn is_used_up(snapshot: &Snapshot, board: &Board) -> bool {
        let route = snapshot.route("m").unwrap();
        let plan = preview(&route, board, START, &mut rng(1));
        let credential = &route.targets[0].upstream.credentials[0];
        assert_eq!(plan.order.is_empty(), !board.has_uses_left(credential, START));
        plan.order.is_empty()
    }

    #[test]
    fn requests_beside_the_calls_use_a_limit_up_and_wait_to_be_booked() {
        let (snapshot, board) = limited(2);
        let upstream = &snapshot.upstreams[0];
        let credential = &upstream.credentials[0];
        board.count_beside(upstream, credential, START);
        board.count_beside(upstream, credential, START);
        assert!(is_used_up(&snapshot, &board));
        board.count_beside(upstream, credential, START);
        board.give_back_beside(credential, START);
        assert_eq!(board.take_uses_beside(), [(credential.id, START.day(), 2)]);
        assert_eq!(board.take_uses_beside(), [], "once");
        assert_eq!(board.credentials(START)[0].uses_today, 2);
    }

    #[test]
    fn what_others_sent_is_learned_and_nothing_is_counted_twice() {
        let (snapshot, board) = limited(10);
        let upstream = &snapshot.upstreams[0];
        let credential = &upstream.credentials[0];
        let learn = |booked: u64| board.learn_uses(&snapshot, START.day(), &[(credential.id, booked)], START);
        assert!(board.take(upstream, credential, START));
        learn(1);
        assert_eq!(board.credentials(START)[0].uses_today, 1, "that one was our own");
        learn(9);
        assert!(!is_used_up(&snapshot, &board));
        assert!(board.take(upstream, credential, START));
        assert!(is_used_up(&snapshot, &board));
        learn(3);
        assert_eq!(
            board.credentials(START)[0].uses_today,
            10,
            "what is known is not forgotten"
        );
        let events = board.events(START);
        assert_eq!(events.len(), 1, "{events:?}");
    }

    #[test]
    fn a_limit_that_others_used_up_is_told() {
        let (snapshot, board) = limited(10);
        let id = snapshot.upstreams[0].credentials[0].id;
        board.learn_uses(&snapshot, START.day(), &[(id, 12)], START);
        assert!(is_used_up(&snapshot, &board));
        let names: Vec<_> = board.events(START).iter().map(|event| event.change.name()).collect();
        assert_eq!(names, ["daily_limit_reached"]);
        board.learn_uses(&snapshot, START.day() - 1, &[(id, 99)], START);
        assert_eq!(
            board.credentials(START)[0].uses_today,
            12,
            "another day's say nothing of this one"
        );
    }
}
