//! The candidates of a call in the order in which they are tried, as far as anybody asks.
//!
//! Most calls are answered by the first, so only that one is found when the call is planned: the smallest of a row of
//! numbers. The others are sorted when somebody wants to know, which costs more than all the rest of a choice. What they
//! are sorted by was fixed at the beginning, so asking later gives no other answer: neither chance nor the board is asked
//! again.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::Choice;
use crate::chance::lot;
use crate::strategy::draw;

/// Bits of a key that hold the place.
const PLACE_BITS: u32 = 23;
/// Bits below a rank: the place, and whether lots are drawn among those of the same group.
const BELOW_RANK: u32 = PLACE_BITS + 1;
/// Bits below the group.
const BELOW_GROUP: u32 = BELOW_RANK + u64::BITS;

/// Group (40 bits, those of a tier and priority or of a target), rank and place in one integer that sorts as they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u128);

/// How candidates are put in order.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// Targets, where there are several and something at them may be tried.
    pub(super) targets: SmallVec<[Key; 4]>,
    /// Credentials of targets that have several, those of a target beside each other, targets ascending.
    pub(super) keys: SmallVec<[Key; 4]>,
    /// What the lots are made of.
    pub(super) lots: u64,
    sorted: OnceLock<SmallVec<[Choice; 4]>>,
}

/// The candidates in order. Cheap to clone: the record of a call shares it with the call.
#[derive(Clone, Default)]
pub struct Order {
    first: Option<Choice>,
    count: usize,
    /// Nothing, where there was one candidate at most.
    ranking: Option<Arc<Ranking>>,
}

impl Key {
    pub(super) const fn new(group: u64, rank: u64, place: usize, draws: bool) -> Self {
        let place = place as u128 & ((1 << PLACE_BITS) - 1);
        Self(((group as u128) << BELOW_GROUP) | ((rank as u128) << BELOW_RANK) | (place << 1) | draws as u128)
    }

    /// The same, with another bit in its rank.
    pub(super) const fn or_rank(self, bits: u64) -> Self {
        Self(self.0 | ((bits as u128) << BELOW_RANK))
    }

    const fn group(self) -> u64 {
        (self.0 >> BELOW_GROUP) as u64
    }

    pub(super) const fn rank(self) -> u64 {
        (self.0 >> BELOW_RANK) as u64
    }

    pub(super) const fn place(self) -> usize {
        (self.0 as usize >> 1) & ((1 << PLACE_BITS) - 1)
    }

    const fn draws(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The group of a credential: its target, and whether it goes before the others.
pub(super) const fn group_of_key(target: usize, has_turn: bool) -> u64 {
    ((target as u64) << 1) | !has_turn as u64
}

const fn target_of(key: Key) -> usize {
    (key.group() >> 1) as usize
}

impl Ranking {
    /// Nothing ranked yet.
    pub(super) fn new(lots: u64) -> Self {
        Self {
            lots,
            ..Self::default()
        }
    }

    /// The credentials of a target; none where it has only one.
    fn keys_of(&self, target: usize) -> &[Key] {
        if self.keys.is_empty() {
            return &[];
        }
        let start = self.keys.partition_point(|key| target_of(*key) < target);
        let end = start + self.keys[start..].partition_point(|key| target_of(*key) == target);
        &self.keys[start..end]
    }

    /// The rank of a target, where it has one.
    pub(crate) fn rank_of(&self, target: usize) -> Option<u64> {
        let place = self.targets.binary_search_by_key(&target, |key| key.place()).ok()?;
        self.targets.get(place).map(|key| key.rank())
    }

    /// The rank of a credential, where it has one.
    pub(crate) fn rank_of_key(&self, choice: Choice) -> Option<u64> {
        let keys = self.keys_of(choice.target);
        let place = keys.binary_search_by_key(&choice.credential, |key| key.place()).ok()?;
        keys.get(place).map(|key| key.rank())
    }

    fn first(&self) -> Option<Choice> {
        let target = match self.targets.as_slice() {
            // Where there is one target, it has no rank.
            [] => 0,
            targets => self.first_of(targets)?.place(),
        };
        match self.keys_of(target) {
            [] if self.targets.is_empty() => None,
            [] => Some(Choice { target, credential: 0 }),
            keys => Some(Choice {
                target,
                credential: self.first_of(keys)?.place(),
            }),
        }
    }

    /// The first of some, which lie in the order of their places.
    fn first_of(&self, keys: &[Key]) -> Option<Key> {
        let best = *keys.iter().min()?;
        if !best.draws() {
            return Some(best);
        }
        let peers = || keys.iter().filter(|key| key.group() == best.group());
        Some(match draw(peers().count(), lot(self.lots, lot_of(best))) {
            Some((one, other)) => (*peers().nth(one)?).min(*peers().nth(other)?),
            None => best,
        })
    }

    fn sort(&self) -> SmallVec<[Choice; 4]> {
        let mut order = SmallVec::with_capacity(self.targets.len().max(self.keys.len()));
        let mut add = |target: usize| {
            let keys = self.sorted(self.keys_of(target));
            order.extend(keys.iter().map(|key| Choice {
                target,
                credential: key.place(),
            }));
            if keys.is_empty() && !self.targets.is_empty() {
                order.push(Choice { target, credential: 0 });
            }
        };
        match self.targets.as_slice() {
            [] => add(0),
            targets => self.sorted(targets).iter().for_each(|key| add(key.place())),
        }
        order
    }

    fn sorted(&self, keys: &[Key]) -> SmallVec<[Key; 4]> {
        let mut sorted: SmallVec<[Key; 4]> = SmallVec::from_slice(keys);
        sorted.sort_unstable();
        let drawn = sorted.chunk_by_mut(|one, other| one.group() == other.group());
        for peers in drawn.filter(|peers| peers.len() > 2 && peers[0].draws()) {
            // In the order of their places, as they lie where only the first is looked for.
            let of_group = peers[0].group();
            let all: SmallVec<[Key; 4]> = keys.iter().copied().filter(|key| key.group() == of_group).collect();
            let Some(first) = self.first_of(&all) else { continue };
            if let Some(place) = peers.iter().position(|key| *key == first) {
                peers[..=place].rotate_right(1);
            }
        }
        sorted
    }
}

/// What is drawn of for a group.
const fn lot_of(key: Key) -> u64 {
    !key.group()
}

impl Order {
    pub(super) fn new(ranking: Ranking, count: usize) -> Self {
        Self {
            first: if count == 0 { None } else { ranking.first() },
            count,
            ranking: Some(Arc::new(ranking)),
        }
    }

    /// The only candidate of a model, if it may be tried.
    pub(super) fn one(choice: Option<Choice>) -> Self {
        Self {
            first: choice,
            count: usize::from(choice.is_some()),
            ranking: None,
        }
    }

    /// Exactly these, ranked as before.
    fn exactly(&self, sorted: SmallVec<[Choice; 4]>) -> Self {
        let mut ranking = Ranking::default();
        if let Some(known) = &self.ranking {
            ranking.targets.clone_from(&known.targets);
            ranking.keys.clone_from(&known.keys);
        }
        Self {
            first: sorted.first().copied(),
            count: sorted.len(),
            ranking: Some(Arc::new(Ranking {
                sorted: OnceLock::from(sorted),
                ..ranking
            })),
        }
    }

    /// What is tried first.
    pub const fn first(&self) -> Option<&Choice> {
        self.first.as_ref()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Choice] {
        match &self.ranking {
            Some(ranking) => ranking.sorted.get_or_init(|| ranking.sort()),
            None => self.first.as_slice(),
        }
    }

    /// Keeps those that fit.
    pub(crate) fn retain(&mut self, mut fits: impl FnMut(Choice) -> bool) {
        let kept = self.as_slice().iter().copied().filter(|choice| fits(*choice)).collect();
        *self = self.exactly(kept);
    }

    /// Puts one in where there is none.
    pub(super) fn put(&mut self, choice: Choice) {
        *self = self.exactly(SmallVec::from_slice(&[choice]));
    }

    /// What a target is ordered by.
    pub(crate) fn rank_of(&self, target: usize) -> Option<u64> {
        self.ranking.as_ref()?.rank_of(target)
    }

    /// What a credential is ordered by.
    pub(crate) fn rank_of_key(&self, choice: Choice) -> Option<u64> {
        self.ranking.as_ref()?.rank_of_key(choice)
    }
}

impl Deref for Order {
    type Target = [Choice];

    fn deref(&self) -> &[Choice] {
        self.as_slice()
    }
}

impl<'a> IntoIterator for &'a Order {
    type Item = &'a Choice;
    type IntoIter = std::slice::Iter<'a, Choice>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Order {}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Targets, each with a group, a rank, whether its group draws, and the ranks of its credentials.
    fn ranking(targets: &[(u8, u8, Vec<u8>)], draws: [bool; 3], lots: u64) -> (Ranking, usize) {
        let mut ranking = Ranking::new(lots);
        let mut count = 0;
        for (target, (group, rank, keys)) in targets.iter().enumerate() {
            let group = u64::from(group % 3);
            if targets.len() > 1 {
                let key = Key::new(group, u64::from(*rank), target, draws[group as usize]);
                ranking.targets.push(key);
            }
            if keys.len() > 1 || targets.len() == 1 {
                let key = |(place, rank): (usize, &u8)| {
                    Key::new(group_of_key(target, false), u64::from(*rank), place, draws[0])
                };
                ranking.keys.extend(keys.iter().enumerate().map(key));
            }
            count += keys.len();
        }
        (ranking, count)
    }

    proptest! {
        #[test]
        fn the_first_is_the_first_of_all(
            targets in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 1..5)), 1..9),
            draws: [bool; 3],
            lots: u64,
        ) {
            let (ranking, count) = ranking(&targets, draws, lots);
            let order = Order::new(ranking, count);
            let first = order.first().copied();
            prop_assert_eq!(first, order.as_slice().first().copied());
            prop_assert_eq!(order.len(), order.as_slice().len());
            let mut all = order.to_vec();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), count, "each once");
        }
    }
}
