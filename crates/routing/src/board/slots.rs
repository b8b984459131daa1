//! A map whose values lie beside each other and keep their places.
//!
//! A choice looks at every candidate, and a hash per candidate would cost more than all the rest. So whoever has found a
//! value once may remember its slot, until the map's *version* says that slots have changed: when something was added, which
//! the next who looks wants to know too, or forgotten.

use std::hash::Hash;

use hashbrown::HashMap;

/// No value has this slot.
pub(super) const NOWHERE: u32 = u32::MAX;

pub(super) struct Slots<K, V> {
    places: HashMap<K, u32>,
    values: Vec<(K, V)>,
    version: u64,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            values: Vec::new(),
            version: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Slots<K, V> {
    /// Changes whenever slots do.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Where a value is; [`NOWHERE`] for one that does not exist.
    pub(super) fn slot(&self, key: K) -> u32 {
        self.places.get(&key).copied().unwrap_or(NOWHERE)
    }

    /// The value in a slot.
    pub(super) fn at(&self, slot: u32) -> Option<&V> {
        self.values.get(slot as usize).map(|(_, value)| value)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.at(*self.places.get(key)?)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let slot = *self.places.get(key)?;
        self.values.get_mut(slot as usize).map(|(_, value)| value)
    }

    /// The value of a key, made where there was none.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        let slot = *self.places.entry(key).or_insert_with(|| {
            self.values.push((key, V::default()));
            self.version += 1;
            (self.values.len() - 1) as u32
        });
        &mut self.values[slot as usize].1
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let before = self.values.len();
        self.values.retain(|(key, value)| keep(key, value));
        if self.values.len() == before {
            return;
        }
        self.version += 1;
        self.places.clear();
        let places = self.values.iter().zip(0..).map(|((key, _), slot)| (*key, slot));
        self.places.extend(places);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_until_the_version_changes() {
        let mut slots = Slots::<u8, u8>::default();
        for key in 0..10 {
            *slots.entry(key) = key;
        }
        let (version, seven) = (slots.version(), slots.slot(7));
        *slots.entry(3) += 1;
        slots.retain(|_, _| true);
        assert_eq!((slots.version(), slots.at(seven)), (version, Some(&7)));
        slots.retain(|key, _| key % 2 == 1);
        assert_ne!(slots.version(), version);
        assert_eq!(slots.at(slots.slot(7)), Some(&7));
        assert_eq!((slots.slot(2), slots.get(&2)), (NOWHERE, None));
        assert_eq!(slots.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    }
}
