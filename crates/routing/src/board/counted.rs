//! What breakers have counted of late, with its age: what the record of a call that failed needs beside how its candidates
//! stood. A call may wait longer than a breaker remembers, so the sum alone would keep what was forgotten meanwhile.

use domain::Timestamp;
use domain::snapshot::Route;

use super::Board;

/// What the breaker of one target's upstream has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The place of the first target of this upstream.
    pub(crate) target: usize,
    /// When a part of the window began, and the failures and successes in it.
    pub(crate) slices: Vec<(Timestamp, u32, u32)>,
}

impl Board {
    /// What the breakers of a route's upstreams have counted.
    pub(crate) fn counted(&self, route: &Route, now: Timestamp) -> Vec<Counted> {
        let entries = self.lock();
        let mut all = Vec::new();
        for (target, known) in route.targets.iter().enumerate() {
            let upstream = &known.upstream;
            let is_first = !route.targets[..target]
                .iter()
                .any(|other| other.upstream.id == upstream.id);
            if let Some(settings) = upstream.breaker.as_ref().filter(|_| is_first)
                && let Some(breaker) = entries.breaker(upstream.id)
            {
                let slices = breaker.slices(settings, now);
                if !slices.is_empty() {
                    all.push(Counted { target, slices });
                }
            }
        }
        all
    }

    /// Takes this for all that they have counted.
    pub(crate) fn put_counted(&self, route: &Route, counted: &[Counted]) {
        let mut entries = self.lock();
        for (target, known) in route.targets.iter().enumerate() {
            let Some(settings) = &known.upstream.breaker else {
                continue;
            };
            let of_target = counted.iter().find(|one| one.target == target);
            let is_first = !route.targets[..target]
                .iter()
                .any(|other| other.upstream.id == known.upstream.id);
            if is_first {
                let slices = of_target.map_or(&[][..], |one| &one.slices);
                entries.breaker_mut(known.upstream.id).put_slices(settings, slices);
            }
        }
    }
}
