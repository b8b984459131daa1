//! What is kept of a choice while its call is under way.
//!
//! Taken in the critical section that decides, before the choice is marked: what was known then is gone a moment later, and
//! whether anybody will want to know is only seen when the call has ended. So it is made for every call and has to be cheap:
//! numbers as they stand, no names, one allocation for the few candidates that most models have.

use domain::snapshot::Route;
use domain::{Needs, Surface, Timestamp};
use smallvec::SmallVec;

use super::{CANDIDATES_MAX, Decision};
use crate::asked::Asked;
use crate::board::{Board, Entries};
use crate::breaker::BreakerState;
use crate::chance::Dice;
use crate::cooldown::Rest;
use crate::plan::{Choice, Exclusion, Pinned, Plan, Witness};

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
    pub(super) last_resort: bool,
    /// By their places in the configuration; none where there are too many.
    pub(super) seen: SmallVec<[Seen; 4]>,
    /// Where those of each target begin.
    starts: SmallVec<[u32; 8]>,
    /// How many there are.
    pub(super) candidates: usize,
    /// Whether they are few enough to be recorded.
    pub(super) is_whole: bool,
}

/// A candidate, as the choice saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) choice: Choice,
    pub(crate) breaker: BreakerState,
    pub(crate) upstream_rest: Timestamp,
    pub(crate) open: u32,
    pub(crate) target: Used,
    pub(crate) key: Used,
    pub(crate) key_open: u32,
    pub(crate) uses_today: u64,
    pub(crate) rest: Option<Rest>,
    pub(crate) model_rest: Option<Rest>,
    pub(crate) paused_until: Option<Timestamp>,
    pub(crate) has_turn: bool,
    pub(crate) deactivated: bool,
    pub(super) target_rank: Option<u64>,
    pub(super) key_rank: Option<u64>,
    pub(super) fate: Outcome,
}

/// How something was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) turn: u64,
    pub(crate) uses: f32,
    pub(crate) latency: f32,
}

/// What was decided of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Undecided,
    /// Its place in the order.
    Tried(usize),
    Excluded(Exclusion),
}

impl Seen {
    pub(crate) const fn of(choice: Choice) -> Self {
        Self {
            choice,
            breaker: BreakerState::Closed,
            upstream_rest: Timestamp(0),
            open: 0,
            target: Used::UNUSED,
            key: Used::UNUSED,
            key_open: 0,
            uses_today: 0,
            rest: None,
            model_rest: None,
            paused_until: None,
            has_turn: false,
            deactivated: false,
            target_rank: None,
            key_rank: None,
            fate: Outcome::Undecided,
        }
    }
}

impl Used {
    const UNUSED: Self = Self {
        turn: 0,
        uses: 0.0,
        latency: 0.0,
    };
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
    let plan = match trace.as_deref_mut() {
        None => Plan::made(route, &asked, pinned, &entries, now, dice, &mut ()),
        Some(trace) => {
            trace.look(route, &entries);
            Plan::made(route, &asked, pinned, &entries, now, dice, trace)
        }
    };
    if let Some(first) = plan.order.first() {
        entries.stamp(route, *first, now);
    }
    drop(entries);
    if let Some(trace) = &mut trace {
        trace.conclude(&plan);
    }
    (plan, trace)
}

/// What [`decide()`] would decide, for those who only ask: nothing is marked, so a look changes no call's turn.
pub fn dry_run<'a>(route: &Route, asked: impl Into<Asked<'a>>, board: &Board, now: Timestamp, seed: u64) -> Decision {
    decided(route, &asked.into(), None, &board.lock(), (now, seed))
}

/// The record of the decision that these entries lead to, however many candidates there are: nobody keeps it.
pub(super) fn decided(
    route: &Route,
    asked: &Asked<'_>,
    pinned: Option<Pinned>,
    entries: &Entries,
    (now, seed): (Timestamp, u64),
) -> Decision {
    let mut trace = Trace::begin(route, asked, pinned, (now, seed), usize::MAX);
    trace.look(route, entries);
    let dice = &mut Dice::new(seed);
    let plan = Plan::made(route, asked, pinned, entries, now, dice, &mut trace);
    trace.conclude(&plan);
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
        let mut candidates = 0;
        let mut starts = SmallVec::with_capacity(route.targets.len());
        for target in &route.targets {
            starts.push(candidates as u32);
            candidates += target.upstream.credentials.len();
        }
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
            last_resort: false,
            seen: SmallVec::with_capacity(room),
            starts,
            candidates,
            is_whole: candidates <= most,
        }
    }

    /// Takes note of how everything stands.
    fn look(&mut self, route: &Route, entries: &Entries) {
        self.credentials_rest = entries.some_rest(self.at);
        if self.is_whole {
            entries.see(route, self.at, &mut self.seen);
        }
    }

    /// Takes note of what was decided.
    fn conclude(&mut self, plan: &Plan) {
        self.last_resort = plan.last_resort;
        for (place, choice) in plan.order.iter().enumerate() {
            if let Some(seen) = self.find(*choice) {
                seen.fate = Outcome::Tried(place);
            }
        }
        for excluded in &plan.excluded {
            if let Some(seen) = self.find(excluded.choice) {
                seen.fate = Outcome::Excluded(excluded.reason);
            }
        }
    }

    /// Whether something of the moment decided: a candidate was set aside that may be tried at another time, or one was
    /// tried although it should not be.
    pub fn is_out_of_the_ordinary(&self) -> bool {
        let of_the_moment = |seen: &Seen| matches!(seen.fate, Outcome::Excluded(reason) if reason.is_of_the_moment());
        self.last_resort || self.seen.iter().any(of_the_moment)
    }

    /// What the lots were drawn from: as good as any lot for those who record some calls of many.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    fn find(&mut self, choice: Choice) -> Option<&mut Seen> {
        let start = *self.starts.get(choice.target)? as usize;
        self.seen.get_mut(start + choice.credential)
    }
}

impl Witness for Trace {
    fn target(&mut self, place: usize, rank: u64) {
        let first = Choice {
            target: place,
            credential: 0,
        };
        if let Some(seen) = self.find(first) {
            seen.target_rank = Some(rank);
        }
    }

    fn credential(&mut self, choice: Choice, rank: u64) {
        if let Some(seen) = self.find(choice) {
            seen.key_rank = Some(rank);
        }
    }
}
