//! What is kept of a choice while its call is under way.
//!
//! Taken in the critical section that decides, before the choice is marked: what was known then is gone a moment later, and
//! whether anybody will want to know is only seen when the call has ended. So it is made for every call and has to be cheap:
//! numbers as they stand, no names, one allocation for the few candidates that most models have.

use domain::snapshot::Route;
use domain::{Needs, Surface, Timestamp};
use smallvec::SmallVec;

use super::{CANDIDATES_MAX, Decision, Walk};
use crate::asked::Asked;
use crate::board::{Board, Daily, Entries, Linked, Standing};
use crate::breaker::BreakerState;
use crate::chance::Dice;
use crate::cooldown::Rest;
use crate::plan::{Excluded, Pinned, Plan};
use crate::strategy::{Latency, Uses};

/// Whether a record may be wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// No.
    Off,
    /// Perhaps.
    On,
}

/// A choice, as far as numbers tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub(super) at: Timestamp,
    pub(super) seed: u64,
    pub(super) surface: Surface,
    pub(super) needs: Needs,
    pub(super) profile: Option<Box<str>>,
    pub(super) affinity: Option<u64>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) pinned: Option<Pinned>,
    pub(super) credentials_rest: bool,
    /// What came of it. What it was ranked by is in its order.
    pub(super) plan: Option<Plan>,
    /// What was done after the first failure.
    pub(super) walk: Option<Box<Walk>>,
    /// By their places in the configuration; none where there are too many.
    pub(super) seen: Sights,
    /// How many there are.
    pub(super) candidates: usize,
    /// Whether they are few enough to be recorded.
    pub(super) is_whole: bool,
}

/// The candidates, as the choice saw them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sights {
    pub(crate) all: SmallVec<[Glance; 4]>,
    /// What was measured and counted of each, where any strategy looks at it; else nothing.
    pub(crate) measured: Vec<Measured>,
    /// What was against upstreams, by the places of their targets, ascending.
    pub(crate) of_targets: Vec<(u32, TargetTrouble)>,
    /// What was against credentials, by their places in `all`, ascending.
    pub(crate) of_keys: Vec<(u32, KeyTrouble)>,
}

/// What every candidate has: copied as it stands, and read only if somebody wants to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Glance {
    pub(crate) target_turn: u64,
    pub(crate) key_turn: u64,
    pub(crate) uses_today: Daily,
    pub(crate) open: u32,
    pub(crate) key_open: u32,
}

/// What was measured and counted of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) target: (Uses, Latency),
    pub(crate) key: (Uses, Latency),
}

/// What was against an upstream, or is not as with others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TargetTrouble {
    pub(crate) breaker: BreakerState,
    pub(crate) rest: Timestamp,
    pub(crate) lately: (u32, u32),
    pub(crate) doubted: bool,
}

/// What was against a credential, or is not as with others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct KeyTrouble {
    pub(crate) rest: Option<Rest>,
    pub(crate) model_rest: Option<Rest>,
    pub(crate) paused_until: Option<Timestamp>,
    pub(crate) strikes: u32,
    pub(crate) standing: Standing,
    pub(crate) has_turn: bool,
    pub(crate) deactivated: bool,
}

/// A candidate, as the choice saw it, put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) target: Used,
    pub(crate) key: Used,
    pub(crate) uses_today: Daily,
    pub(crate) open: u32,
    pub(crate) key_open: u32,
}

/// What was against a candidate, or is not as with others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) breaker: BreakerState,
    pub(crate) upstream_rest: Timestamp,
    pub(crate) rest: Option<Rest>,
    pub(crate) model_rest: Option<Rest>,
    pub(crate) paused_until: Option<Timestamp>,
    pub(crate) has_turn: bool,
    pub(crate) deactivated: bool,
    /// Whether the latest call of its upstream failed there.
    pub(crate) doubted: bool,
    /// Failures and successes that the upstream's breaker counts.
    pub(crate) lately: (u32, u32),
    /// Rests of the credential that were guessed one after another.
    pub(crate) strikes: u32,
    /// How it does beside its siblings.
    pub(crate) standing: Standing,
}

/// How something was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) turn: u64,
    pub(crate) uses: Uses,
    pub(crate) latency: Latency,
}

impl Used {
    pub(crate) const UNUSED: Self = Self {
        turn: 0,
        uses: Uses::known(0.0, Timestamp(0)),
        latency: Latency::known(0.0, Timestamp(0)),
    };
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            breaker: BreakerState::Closed,
            upstream_rest: Timestamp(0),
            rest: None,
            model_rest: None,
            paused_until: None,
            has_turn: false,
            deactivated: false,
            doubted: false,
            lately: (0, 0),
            strikes: 0,
            standing: Standing::default(),
        }
    }
}

impl Default for TargetTrouble {
    fn default() -> Self {
        Self {
            breaker: BreakerState::Closed,
            rest: Timestamp(0),
            lately: (0, 0),
            doubted: false,
        }
    }
}

impl Sights {
    /// How the one in this place stood.
    pub(super) fn seen(&self, index: usize) -> Option<Seen> {
        let glance = self.all.get(index)?;
        let used = |turn, measured: Option<(Uses, Latency)>| match measured {
            Some((uses, latency)) => Used { turn, uses, latency },
            None => Used { turn, ..Used::UNUSED },
        };
        let measured = self.measured.get(index);
        Some(Seen {
            target: used(glance.target_turn, measured.map(|known| known.target)),
            key: used(glance.key_turn, measured.map(|known| known.key)),
            uses_today: glance.uses_today,
            open: glance.open,
            key_open: glance.key_open,
        })
    }

    /// What was against the one in this place, of this target.
    pub(super) fn trouble(&self, target: usize, index: usize) -> Trouble {
        let of_target = find(&self.of_targets, target);
        let of_key = find(&self.of_keys, index);
        Trouble {
            breaker: of_target.breaker,
            upstream_rest: of_target.rest,
            rest: of_key.rest,
            model_rest: of_key.model_rest,
            paused_until: of_key.paused_until,
            has_turn: of_key.has_turn,
            deactivated: of_key.deactivated,
            doubted: of_target.doubted,
            lately: of_target.lately,
            strikes: of_key.strikes,
            standing: of_key.standing,
        }
    }
}

fn find<T: Copy + Default>(all: &[(u32, T)], wanted: usize) -> T {
    let found = all.binary_search_by_key(&wanted, |(known, _)| *known as usize);
    found
        .ok()
        .and_then(|place| all.get(place))
        .map(|(_, trouble)| *trouble)
        .unwrap_or_default()
}

/// Decides what a call on this route may try, in this order, and marks the first choice as used. `pinned`: it names something
/// that lives at one upstream, for one of its credentials; nobody else knows it, so nobody else is tried.
pub fn decide<'a>(
    route: &Route,
    asked: impl Into<Asked<'a>>,
    pinned: Option<Pinned>,
    board: &Board,
    (now, seed): (Timestamp, u64),
    recording: Recording,
) -> (Plan, Option<Box<Trace>>) {
    let (asked, dice) = (asked.into(), &mut Dice::new(seed));
    // Room is made before the lock is taken.
    let mut trace = match recording {
        Recording::Off => None,
        Recording::On => Some(Box::new(Trace::begin(
            route,
            &asked,
            pinned,
            (now, seed),
            CANDIDATES_MAX,
        ))),
    };
    let mut entries = board.lock();
    let linked = entries.link(route, asked.surface);
    if let Some(trace) = trace.as_deref_mut() {
        trace.look(route, &entries, linked);
    }
    let plan = Plan::made(route, &asked, pinned, (&entries, linked), now, dice);
    if let Some(first) = plan.order.first() {
        entries.stamp(route, *first, linked, now);
    }
    drop(entries);
    if let Some(trace) = &mut trace {
        trace.plan = Some(plan.clone());
    }
    (plan, trace)
}

/// What [`decide()`] would decide, for those who only ask: nothing is marked, so a look changes no call's turn.
pub fn dry_run<'a>(route: &Route, asked: impl Into<Asked<'a>>, board: &Board, now: Timestamp, seed: u64) -> Decision {
    decided(route, &asked.into(), None, &mut board.lock(), (now, seed))
}

/// The record of the decision that these entries lead to, however many candidates there are: nobody keeps it.
pub(super) fn decided(
    route: &Route,
    asked: &Asked<'_>,
    pinned: Option<Pinned>,
    entries: &mut Entries,
    (now, seed): (Timestamp, u64),
) -> Decision {
    let mut trace = Trace::begin(route, asked, pinned, (now, seed), usize::MAX);
    let linked = entries.link(route, asked.surface);
    trace.look(route, entries, linked);
    let dice = &mut Dice::new(seed);
    trace.plan = Some(Plan::made(route, asked, pinned, (entries, linked), now, dice));
    trace.told(route)
}

impl Trace {
    /// Room for what will be seen.
    fn begin(
        route: &Route,
        asked: &Asked<'_>,
        pinned: Option<Pinned>,
        (at, seed): (Timestamp, u64),
        most: usize,
    ) -> Self {
        let credentials = route.targets.iter().map(|target| target.upstream.credentials.len());
        let candidates = credentials.sum();
        let room = if candidates <= most { candidates } else { 0 };
        Self {
            at,
            seed,
            surface: asked.surface,
            needs: asked.needs,
            profile: asked.profile.map(Box::from),
            affinity: asked.affinity,
            input_tokens: asked.input_tokens,
            output_tokens: asked.output_tokens,
            pinned,
            credentials_rest: false,
            plan: None,
            walk: None,
            seen: Sights {
                all: SmallVec::with_capacity(room),
                ..Sights::default()
            },
            candidates,
            is_whole: candidates <= most,
        }
    }

    /// Takes note of how everything stands.
    fn look(&mut self, route: &Route, entries: &Entries, linked: Option<Linked>) {
        self.credentials_rest = entries.some_rest(self.at);
        if self.is_whole {
            entries.see(route, linked, self.at, &mut self.seen);
        }
    }

    /// Whether something of the moment decided: a candidate was set aside that may be tried at another time, or one was
    /// tried although it should not be.
    pub fn is_out_of_the_ordinary(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| {
            let of_the_moment = |excluded: &Excluded| excluded.reason.is_of_the_moment();
            plan.last_resort || plan.excluded.iter().any(of_the_moment)
        })
    }

    /// Takes note of what the call did after its first failure.
    pub fn walked(&mut self, walk: Walk) {
        self.walk = Some(Box::new(walk));
    }

    /// What the lots were drawn from: as good as any lot for those who record some calls of many.
    pub const fn seed(&self) -> u64 {
        self.seed
    }
}
