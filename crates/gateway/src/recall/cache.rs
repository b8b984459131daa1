//! What memory holds of pins and turns: the newest, within a bound; the rest is in the database.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::{Pin, Turn, UserId};
use hashbrown::HashMap;

use crate::limits::{PINS_IN_MEMORY_MAX, TURNS_IN_MEMORY_BYTES_MAX};

/// Pins by their ids.
#[derive(Default)]
pub(super) struct Pins {
    by_id: HashMap<String, Arc<Pin>>,
    order: VecDeque<String>,
}

impl Pins {
    pub(super) fn get(&self, id: &str) -> Option<Arc<Pin>> {
        self.by_id.get(id).cloned()
    }

    pub(super) fn put(&mut self, pin: &Arc<Pin>) {
        if self.by_id.insert(pin.id.clone(), Arc::clone(pin)).is_none() {
            self.order.push_back(pin.id.clone());
        }
        // Removed ones leave their names in the order until these come out.
        while self.order.len() > PINS_IN_MEMORY_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
    }
}

/// Turns by user and id. Bounded by their bytes; those that are not stored yet are in the writer's queue too, which has
/// a bound of its own.
#[derive(Default)]
pub(super) struct Turns {
    by_id: HashMap<(UserId, String), Arc<Turn>>,
    order: VecDeque<(UserId, String)>,
    bytes: usize,
}

impl Turns {
    pub(super) fn get(&self, user: UserId, id: &str) -> Option<Arc<Turn>> {
        self.by_id.get(&(user, id.to_owned())).cloned()
    }

    pub(super) fn put(&mut self, turn: Arc<Turn>) {
        let name = (turn.user, turn.id.clone());
        self.bytes += turn.body.len();
        if let Some(before) = self.by_id.insert(name.clone(), turn) {
            self.bytes -= before.body.len();
        } else {
            self.order.push_back(name);
        }
        while self.bytes > TURNS_IN_MEMORY_BYTES_MAX
            && let Some((user, id)) = self.order.pop_front()
        {
            self.remove(user, &id);
        }
    }

    pub(super) fn remove(&mut self, user: UserId, id: &str) {
        if let Some(turn) = self.by_id.remove(&(user, id.to_owned())) {
            self.bytes -= turn.body.len();
        }
        // Names of removed ones would pile up where conversations are deleted as fast as they are made.
        if self.order.len() > 2 * self.by_id.len() + 64 {
            self.order.retain(|name| self.by_id.contains_key(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{CredentialId, KeyId, Timestamp, UpstreamId};

    use super::*;

    fn turn(id: usize, bytes: usize) -> Arc<Turn> {
        Arc::new(Turn {
            id: format!("r{id}"),
            user: UserId(1),
            key: KeyId(1),
            previous: None,
            made_at: Timestamp(0),
            expires_at: Timestamp(1),
            body: "x".repeat(bytes),
        })
    }

    #[test]
    fn the_newest_turns_stay_within_the_bytes() {
        let mut turns = Turns::default();
        let third = TURNS_IN_MEMORY_BYTES_MAX / 3;
        for id in 0..4 {
            turns.put(turn(id, third));
        }
        assert!(turns.get(UserId(1), "r0").is_none() && turns.get(UserId(1), "r1").is_some());
        assert!(turns.get(UserId(2), "r1").is_none(), "another user's");
        for id in 1..4 {
            turns.remove(UserId(1), &format!("r{id}"));
        }
        assert_eq!((turns.bytes, turns.by_id.len()), (0, 0));
        for id in 0..1_000 {
            turns.put(turn(id, 1));
            turns.remove(UserId(1), &format!("r{id}"));
        }
        assert!(turns.order.len() <= 65, "{}", turns.order.len());
    }

    #[test]
    fn the_newest_pins_stay() {
        let mut pins = Pins::default();
        let pin = |id: usize| {
            Arc::new(Pin {
                id: format!("f{id}"),
                user: UserId(1),
                key: KeyId(1),
                upstream: UpstreamId(1),
                credential: CredentialId(1),
                made_at: Timestamp(0),
                expires_at: Timestamp(1),
                job: None,
                operators_bytes: None,
            })
        };
        for id in 0..=PINS_IN_MEMORY_MAX {
            pins.put(&pin(id));
        }
        assert!(pins.get("f0").is_none() && pins.get("f1").is_some());
        pins.remove("f1");
        assert!(pins.get("f1").is_none());
    }
}
