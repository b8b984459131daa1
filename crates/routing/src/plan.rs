//! Which candidates a call may try, in which order, and why not the others.
//!
//! Candidates are put in order by the priority of their target, then by the route's strategy among targets, then by the
//! upstream's strategy among credentials. What must not be tried now is set aside with its reason; nothing is dropped,
//! so that the decision can be explained. If nothing is left, but some were set aside by our own guess only (a breaker
//! that we opened, a rest that nobody named), the one that should recover first is tried all the same: a guess must
//! never turn a call away.
//!
//! This runs once per call, so it is kept cheap: one lock, a number per candidate, one sort of plain integers.

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Route, Target};
use domain::{Operation, Surface, Timestamp};
use rand::Rng;
use smallvec::SmallVec;

use crate::board::{Board, Entries};
use crate::strategy::{Load, looks_at_use, rank};

/// One candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// Place in [`Route::targets`].
    pub target: usize,
    /// Place in the upstream's credentials.
    pub credential: usize,
}

/// Candidates in the order in which they are tried.
pub type Order = SmallVec<[Choice; 4]>;

/// What [`plan()`] decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What was asked, in which format.
    pub surface: Surface,
    /// What to try, in this order.
    pub order: Order,
    /// Whether `order` holds one candidate that would have been set aside if there were another.
    pub last_resort: bool,
    /// What not to try, and why.
    pub excluded: Vec<Excluded>,
}

/// A candidate that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Which.
    pub choice: Choice,
    /// Why.
    pub reason: Exclusion,
}

/// Why a candidate was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Its upstream offers this operation neither in this format nor in one that can be translated into it.
    Dialect,
    /// It is an account whose plan does not have the model.
    Plan,
    /// It is an account that somebody has to log in again.
    NeedsLogin,
    /// An operator keeps its breaker open.
    ForcedOpen,
    /// Its upstream failed too often.
    BreakerOpen {
        /// When it may be probed.
        until: Timestamp,
    },
    /// Its upstream failed too often, and another call is finding out whether it still does.
    Probing,
    /// Its credential rests.
    Cooldown {
        /// Until then.
        until: Timestamp,
        /// Whether the provider said so; otherwise we guess.
        named_by_provider: bool,
    },
    /// Its credential's account has no money.
    OutOfCredit {
        /// When to look again.
        until: Timestamp,
    },
}

impl Exclusion {
    /// The name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialect => "dialect",
            Self::Plan => "plan",
            Self::NeedsLogin => "needs_login",
            Self::ForcedOpen => "forced_open",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Probing => "probing",
            Self::Cooldown { .. } => "cooldown",
            Self::OutOfCredit { .. } => "out_of_credit",
        }
    }

    /// When it is expected to end, where that is known.
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::BreakerOpen { until } | Self::Cooldown { until, .. } | Self::OutOfCredit { until } => Some(until),
            Self::Dialect | Self::Plan | Self::NeedsLogin | Self::ForcedOpen | Self::Probing => None,
        }
    }

    /// Whether it is our own guess, which is broken rather than turning a call away.
    pub(crate) const fn is_guess(self) -> bool {
        self.guess(Timestamp(0)).is_some()
    }

    /// For one that is our own guess: when we expect it to end. `None` for one that must be kept.
    const fn guess(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Probing => Some(now),
            Self::BreakerOpen { until }
            | Self::Cooldown {
                until,
                named_by_provider: false,
            } => Some(until),
            Self::Dialect
            | Self::Plan
            | Self::NeedsLogin
            | Self::ForcedOpen
            | Self::Cooldown { .. }
            | Self::OutOfCredit { .. } => None,
        }
    }
}

/// Decides what a call on this route may try, and marks the first choice as used.
pub fn plan(route: &Route, surface: Surface, board: &Board, now: Timestamp, rng: &mut impl Rng) -> Plan {
    let mut entries = board.lock();
    let plan = Plan::of(route, surface, &entries, now, rng);
    if let Some(first) = plan.order.first() {
        entries.stamp(route, *first);
    }
    drop(entries);
    plan
}

/// What [`plan()`] would decide, for those who only ask: nothing is marked, so a look changes no call's turn.
pub fn preview(route: &Route, surface: Surface, board: &Board, now: Timestamp, rng: &mut impl Rng) -> Plan {
    Plan::of(route, surface, &board.lock(), now, rng)
}

impl Plan {
    fn of(route: &Route, surface: Surface, entries: &Entries, now: Timestamp, rng: &mut impl Rng) -> Self {
        let mut plan = Self {
            surface,
            order: Order::new(),
            last_resort: false,
            excluded: Vec::new(),
        };
        if let [_] = route.targets.as_slice() {
            plan.add_target(route, 0, entries, now, rng);
        } else {
            plan.order.reserve(route.targets.len());
            let mut ranks = Ranks::new();
            rank_targets(route, entries, rng, &mut ranks);
            for rank in &ranks {
                plan.add_target(route, unpacked(*rank), entries, now, rng);
            }
        }
        if plan.order.is_empty() {
            plan.take_last_resort(route, now);
        }
        plan
    }

    /// Adds the candidates of one target, in order or with their reasons.
    fn add_target(&mut self, route: &Route, place: usize, entries: &Entries, now: Timestamp, rng: &mut impl Rng) {
        let target = &route.targets[place];
        let reason = if offers(target, self.surface) {
            entries.upstream_exclusion(&target.upstream, now)
        } else {
            Some(Exclusion::Dialect)
        };
        let credentials = &target.upstream.credentials;
        match (reason, credentials.as_slice()) {
            (Some(reason), _) => {
                let excluded = credentials.iter().enumerate().map(|(credential, known)| Excluded {
                    choice: Choice {
                        target: place,
                        credential,
                    },
                    reason: of_account(known, target)
                        .filter(|_| reason != Exclusion::Dialect)
                        .unwrap_or_else(|| entries.stricter(reason, target, known.id, now)),
                });
                self.excluded.extend(excluded);
            }
            // A lone credential needs no rank, and where nothing rests not even a look.
            (None, [known]) if known.account.is_none() && !entries.some_rest(now) => self.order.push(Choice {
                target: place,
                credential: 0,
            }),
            (None, _) => self.add_pool(target, place, entries, now, rng),
        }
    }

    /// Adds the candidates of a target whose upstream has several credentials.
    fn add_pool(&mut self, target: &Target, place: usize, entries: &Entries, now: Timestamp, rng: &mut impl Rng) {
        let upstream = &target.upstream;
        let (some_rest, by_use) = (entries.some_rest(now), looks_at_use(upstream.strategy));
        let mut ranks = Ranks::new();
        for (credential, known) in upstream.credentials.iter().enumerate() {
            let entry = if some_rest || by_use {
                entries.credential(known.id)
            } else {
                None
            };
            let reason = of_account(known, target).or_else(|| entry.and_then(|entry| entry.exclusion(target, now)));
            if let Some(reason) = reason {
                self.excluded.push(Excluded {
                    choice: Choice {
                        target: place,
                        credential,
                    },
                    reason,
                });
                continue;
            }
            let (used, open) = entry.map_or((0, 0), |entry| (entry.used, entry.open));
            let load = Load {
                used,
                open,
                weight: known.weight,
            };
            ranks.push(packed(0, rank(upstream.strategy, &load, rng), credential));
        }
        ranks.sort_unstable();
        self.order.extend(ranks.iter().map(|rank| Choice {
            target: place,
            credential: unpacked(*rank),
        }));
    }

    /// Moves the candidate that should recover first from `excluded` to `order`.
    fn take_last_resort(&mut self, route: &Route, now: Timestamp) {
        let guesses = self.excluded.iter().enumerate().filter_map(|(index, excluded)| {
            let priority = route.targets[excluded.choice.target].priority;
            excluded.reason.guess(now).map(|until| (until, priority, index))
        });
        if let Some((_, _, index)) = guesses.min() {
            self.order.push(self.excluded.remove(index).choice);
            self.last_resort = true;
        }
    }
}

/// What is against an account as such; `None` for one that has a key.
fn of_account(credential: &Credential, target: &Target) -> Option<Exclusion> {
    let account = credential.account.as_deref()?;
    if !account.may_use(&target.model) {
        return Some(Exclusion::Plan);
    }
    account.state.needs_login.as_ref().map(|_| Exclusion::NeedsLogin)
}

/// Ranks of up to this many candidates need no allocation. Large, so it is passed by reference and never moved.
type Ranks = SmallVec<[u128; 128]>;

/// The targets' ranks, in order.
fn rank_targets(route: &Route, entries: &Entries, rng: &mut impl Rng, ranks: &mut Ranks) {
    let rotation = entries.rotation(route);
    for (place, target) in route.targets.iter().enumerate() {
        let load = match route.strategy {
            Strategy::RoundRobin => Load {
                used: rotation.get(place).copied().unwrap_or_default(),
                ..Load::default()
            },
            Strategy::LeastConnections => {
                let used = rotation.get(place).copied().unwrap_or_default();
                Load {
                    used,
                    open: entries.open_at(target.upstream.id),
                    ..Load::default()
                }
            }
            Strategy::Weighted | Strategy::Random => Load {
                weight: target.weight,
                ..Load::default()
            },
        };
        ranks.push(packed(target.priority, rank(route.strategy, &load, rng), place));
    }
    ranks.sort_unstable();
}

/// Priority, rank and place in one integer that sorts as they do, in this order.
const fn packed(priority: i32, rank: u64, place: usize) -> u128 {
    let priority = (priority as u32) ^ (1 << 31);
    ((priority as u128) << 96) | ((rank as u128) << 32) | (place as u32 as u128)
}

const fn unpacked(rank: u128) -> usize {
    rank as u32 as usize
}

/// Whether an upstream understands what is asked. Paths beyond the metered operations go to those that allow any.
fn offers(target: &Target, surface: Surface) -> bool {
    match surface.operation {
        Operation::Passthrough => !target.upstream.provider.passthrough.is_empty(),
        _ => target.upstream.serving(surface).is_some(),
    }
}

#[cfg(test)]
mod tests;
