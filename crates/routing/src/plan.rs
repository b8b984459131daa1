//! Which candidates a call may try, in which order, and why not the others.
//!
//! Candidates are put in order by whether their target is the model's own or a fallback's, then by its priority, then by
//! the model's strategy among targets, then by the upstream's strategy among credentials. What must not be tried now is set aside with its reason; nothing is dropped,
//! so that the decision can be explained. If nothing is left, but some were set aside by our own guess only (a breaker
//! that we opened, a rest that nobody named), the one that should recover first is tried all the same: a guess must
//! never turn a call away.
//!
//! This runs once per call, so it is kept cheap: one lock, one small row and a number per candidate (`Entries::lanes`),
//! and only the first of them is found ([`Order`]).

mod exclusion;
mod order;

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Pool, Route, Target};
use domain::{CredentialId, Lack, Operation, Surface, Timestamp, UpstreamId};
use rand::Rng;
use smallvec::SmallVec;

use crate::asked::Asked;
use crate::board::{Board, Entries, KeyLane, Lane, Lanes, Linked, UNLINKED_MAX, Unclear};
use crate::chance::lot;
use crate::strategy::{BEHIND, Crowd, Load, affinity, cost, rank};
use order::{Key, Ranking, group_of_key};

pub use exclusion::Exclusion;
pub use order::Order;

/// One candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// Place in [`Route::targets`].
    pub target: usize,
    /// Place in the upstream's credentials.
    pub credential: usize,
}

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
    /// What the lots are made of, those of later steps too.
    pub(crate) lots: u64,
}

/// Where something lives that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The upstream that made it.
    pub upstream: UpstreamId,
    /// The credential that it was made for; `None`: that one is gone, and another of the same upstream may do.
    pub credential: Option<CredentialId>,
}

impl Pinned {
    /// Whether a choice is the place.
    pub fn is_at(&self, route: &Route, choice: Choice) -> bool {
        let target = route.targets.get(choice.target);
        target.is_some_and(|target| {
            let credential = target.upstream.credentials.get(choice.credential);
            target.upstream.id == self.upstream
                && credential.is_some_and(|known| self.credential.is_none_or(|wanted| known.id == wanted))
        })
    }
}

/// A candidate that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Which.
    pub choice: Choice,
    /// Why.
    pub reason: Exclusion,
}

/// Decides what a call on this route may try, and marks the first choice as used: [`decide()`](crate::decide) with any
/// chance, and without a record.
pub fn plan<'a>(route: &Route, asked: impl Into<Asked<'a>>, board: &Board, now: Timestamp, rng: &mut impl Rng) -> Plan {
    let asked = asked.into();
    let mut entries = board.lock();
    let linked = entries.link(route, asked.surface);
    let plan = Plan::made(route, &asked, None, (&entries, linked), now, rng);
    if let Some(first) = plan.order.first() {
        entries.stamp(route, *first, linked, now);
    }
    drop(entries);
    plan
}

/// Why a credential is not for a target and a key of this profile, whatever is known of its health.
pub(crate) fn barred(credential: &Credential, target: &Target, profile: Option<&str>) -> Option<Exclusion> {
    if credential.pool == Pool::Nobody {
        Some(Exclusion::NoCredential)
    } else if !credential.pool.serves(profile) {
        Some(Exclusion::Profile)
    } else if credential.state.deactivated.is_some() {
        Some(Exclusion::Deactivated)
    } else {
        of_account(credential, target)
    }
}

/// All that candidates are judged by.
#[derive(Clone, Copy)]
struct View<'a> {
    route: &'a Route,
    asked: &'a Asked<'a>,
    entries: &'a Entries,
    now: Timestamp,
    lots: u64,
    /// Whether nothing is against any upstream.
    upstreams_are_well: bool,
    /// Whether any credential may rest.
    some_rest: bool,
}

impl Plan {
    /// The decision itself. The same chance and the same entries lead to the same plan.
    pub(crate) fn made(
        route: &Route,
        asked: &Asked<'_>,
        pinned: Option<Pinned>,
        (entries, linked): (&Entries, Option<Linked>),
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Self {
        let view = View {
            route,
            asked,
            entries,
            now,
            lots: rng.next_u64(),
            upstreams_are_well: entries.upstreams_are_well(now),
            some_rest: entries.some_rest(now),
        };
        let mut plan = Self::of(&view, entries.lanes(linked));
        if let Some(pinned) = pinned {
            plan.keep_only(route, pinned, entries, now);
        }
        plan
    }

    fn of(view: &View<'_>, lanes: Option<Lanes<'_>>) -> Self {
        let mut plan = Self::weighed(view, lanes);
        // How long a prompt is we only guess, and that must not turn a call away, nor take its failover, nor its model.
        let is_own = |choice: &Choice| view.route.targets[choice.target].tier == 0;
        let guessed = Exclusion::Capability(Lack::Context { certain: false });
        let by_guess = |excluded: &Excluded| excluded.reason == guessed && is_own(&excluded.choice);
        // Targets of the model itself go before all others.
        if !plan.order.first().is_some_and(is_own) && plan.excluded.iter().any(by_guess) {
            let certain = &Asked {
                needs: view.asked.needs.certain(),
                ..*view.asked
            };
            plan = Self::weighed(
                &View {
                    asked: certain,
                    ..*view
                },
                lanes,
            );
        }
        if plan.order.is_empty() {
            plan.take_last_resort(view.route, view.entries, view.now);
        }
        plan
    }

    /// Every candidate that may be tried, or with what is against it.
    fn weighed(view: &View<'_>, lanes: Option<Lanes<'_>>) -> Self {
        let mut excluded = Vec::new();
        let order = match lanes {
            Some(lanes) => ranked(view, lanes, &mut excluded),
            None => view.only(&mut excluded),
        };
        Self {
            surface: view.asked.surface,
            order,
            last_resort: false,
            excluded,
            lots: view.lots,
        }
    }

    /// Sets aside whatever is not the place. A last resort that was chosen before is chosen anew.
    fn keep_only(&mut self, route: &Route, pinned: Pinned, entries: &Entries, now: Timestamp) {
        let resort = std::mem::take(&mut self.last_resort);
        for excluded in &mut self.excluded {
            if !pinned.is_at(route, excluded.choice) {
                excluded.reason = Exclusion::Pinned;
            }
        }
        let Self { order, excluded, .. } = self;
        order.retain(|choice| {
            let is_here = pinned.is_at(route, choice);
            if !is_here {
                excluded.push(Excluded {
                    choice,
                    reason: Exclusion::Pinned,
                });
            }
            is_here
        });
        self.last_resort = resort && !self.order.is_empty();
        if self.order.is_empty() {
            self.take_last_resort(route, entries, now);
        }
    }

    /// Moves the candidate that should recover first from `excluded` to `order`; of several the one that did best of late, and
    /// then the one that was not asked for longest: else a call after another would fail with the same.
    fn take_last_resort(&mut self, route: &Route, entries: &Entries, now: Timestamp) {
        let guesses = self.excluded.iter().enumerate().filter_map(|(index, excluded)| {
            let target = &route.targets[excluded.choice.target];
            let guess = excluded.reason.guess(now);
            let credential = target.upstream.credentials.get(excluded.choice.credential)?;
            let standing = entries.sibling_rank(credential);
            let used = entries.credential(credential.id).map_or(0, |entry| entry.used);
            guess.map(|until| (target.tier, until, target.priority, standing, used, index))
        });
        if let Some((.., index)) = guesses.min() {
            let choice = self.excluded.remove(index).choice;
            self.order.put(choice);
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

/// Ranks the candidates against which there is nothing, in one pass over the lanes.
fn ranked(view: &View<'_>, lanes: Lanes<'_>, excluded: &mut Vec<Excluded>) -> Order {
    let targets = lanes.targets();
    let mut ranking = Ranking::new(view.lots);
    let are_several = targets.len() > 1;
    if are_several {
        ranking.targets.reserve(targets.len());
    }
    let (mut count, mut crowd) = (0, Crowd::default());
    for (place, lane) in targets.iter().enumerate() {
        if let Some(reason) = view.against(lanes, place, lane) {
            excluded.reserve(if excluded.is_empty() { lanes.len() } else { 0 });
            view.exclude(place, reason, lanes.keys(lane), excluded);
            continue;
        }
        let open = if are_several && lane.keys == 1 {
            view.lone(lanes, place, lane, excluded)
        } else {
            view.pool(place, lanes.keys(lane), lane.rests, &mut ranking, excluded)
        };
        count += open;
        if open == 0 || !are_several {
            continue;
        }
        let load = view.load(place, lane);
        if lane.strategy == Strategy::Sticky {
            crowd.add(load.open);
        }
        let rank = rank(lane.strategy, &load, || lot(view.lots, place as u64));
        let draws = lane.strategy == Strategy::LowestLatency;
        ranking.targets.push(Key::new(lane.peers, rank, place, draws));
    }
    if crowd.is_dense() {
        let open = |lane: &Lane| view.entries.open_in(lane.upstream);
        let is_crowded = |lane: &Lane| lane.strategy == Strategy::Sticky && crowd.is_crowded(open(lane));
        for key in &mut ranking.targets {
            if targets.get(key.place()).is_some_and(is_crowded) {
                *key = key.or_rank(BEHIND);
            }
        }
    }
    Order::new(ranking, count)
}

impl View<'_> {
    /// The candidates of a model whose only target has few, which are found as fast as lanes of them would be.
    fn only(&self, excluded: &mut Vec<Excluded>) -> Order {
        let Some(target) = self.route.targets.first() else {
            return Order::default();
        };
        let of_target = self.declared(target).or_else(|| {
            let is_well = self.upstreams_are_well;
            (!is_well).then(|| self.entries.upstream_exclusion(&target.upstream, self.now))?
        });
        if let Some(reason) = of_target {
            self.exclude(0, reason, &[], excluded);
            return Order::default();
        }
        let credentials = &target.upstream.credentials;
        if let [only] = credentials.as_slice() {
            return Order::one(self.alone(target, only, excluded));
        }
        let keys: SmallVec<[KeyLane; UNLINKED_MAX]> =
            credentials.iter().map(|known| self.entries.key_lane(known)).collect();
        let mut ranking = Ranking::new(self.lots);
        let rests = target.upstream.cooldown.is_some();
        let count = self.pool(0, &keys, rests, &mut ranking, excluded);
        Order::new(ranking, count)
    }

    /// The candidate of a model that has only one, unless something is against it.
    fn alone(&self, target: &Target, credential: &Credential, excluded: &mut Vec<Excluded>) -> Option<Choice> {
        let choice = Choice {
            target: 0,
            credential: 0,
        };
        let own = barred(credential, target, self.asked.profile);
        let own = own.or_else(|| self.entries.credential_exclusion(target, credential, self.now));
        let Some(reason) = own else {
            return Some(choice);
        };
        excluded.push(Excluded { choice, reason });
        None
    }

    /// What is against a target, whatever the credential.
    fn against(&self, lanes: Lanes<'_>, place: usize, lane: &Lane) -> Option<Exclusion> {
        if !lanes.fits(lane, &self.asked.needs) {
            let declared = self.declared(self.route.targets.get(place)?);
            if declared.is_some() {
                return declared;
            }
        }
        if self.upstreams_are_well {
            return None;
        }
        self.entries
            .upstream_exclusion_in(lane.upstream, lane.breaks, lane.rests, self.now)
    }

    /// What is declared against a target.
    fn declared(&self, target: &Target) -> Option<Exclusion> {
        if !offers(target, self.asked.surface) {
            return Some(Exclusion::Dialect);
        }
        let lack = self.asked.needs.lack(target.capabilities, target.context);
        lack.map(Exclusion::Capability)
    }

    /// Sets a whole target aside, each of its credentials for its own reason where that says more. `keys`: its lanes, if it has
    /// any.
    fn exclude(&self, place: usize, reason: Exclusion, keys: &[KeyLane], excluded: &mut Vec<Excluded>) {
        let Some(target) = self.route.targets.get(place) else {
            return;
        };
        let profile = self.asked.profile;
        let is_final = matches!(reason, Exclusion::Dialect | Exclusion::Capability(_));
        let by_its_own = |known: &Credential| {
            of_account(known, target)
                .filter(|_| !is_final && known.pool.serves(profile))
                .unwrap_or_else(|| self.entries.stricter(reason, target, known, profile, self.now))
        };
        let rests = target.upstream.cooldown.is_some();
        let reason_of = |credential: usize, known: &Credential| {
            let key = keys.get(credential).filter(|key| key.surely_serves(profile));
            let own = match key {
                Some(_) if !self.some_rest => Ok(None),
                Some(key) => self.plainly_against(*key, rests),
                None => Err(Unclear),
            };
            match own {
                Ok(own) => own.filter(|own| reason.is_guess() && !own.is_guess()).unwrap_or(reason),
                Err(Unclear) => by_its_own(known),
            }
        };
        let credentials = target.upstream.credentials.iter().enumerate();
        excluded.extend(credentials.map(|(credential, known)| Excluded {
            choice: Choice {
                target: place,
                credential,
            },
            reason: reason_of(credential, known),
        }));
    }

    /// What is against a credential that serves the call, where it is seen at a glance.
    fn plainly_against(&self, key: KeyLane, rests: bool) -> Result<Option<Exclusion>, Unclear> {
        if key.is_limited {
            return Err(Unclear);
        }
        match self.entries.credential_in(key.slot) {
            Some(entry) => entry.plain_exclusion(rests, self.now),
            None => Ok(None),
        }
    }

    /// Why a credential is not to be used; `None` where nothing is against it.
    fn against_key(&self, choice: Choice, key: KeyLane, rests: bool) -> Option<Exclusion> {
        if key.surely_serves(self.asked.profile) {
            if !self.some_rest {
                return None;
            }
            if let Ok(against) = self.plainly_against(key, rests) {
                return against;
            }
        }
        let target = self.route.targets.get(choice.target)?;
        let credential = target.upstream.credentials.get(choice.credential)?;
        barred(credential, target, self.asked.profile).or_else(|| {
            let entry = self.entries.credential_in(key.slot).filter(|_| self.some_rest)?;
            entry.exclusion(target, credential, self.now)
        })
    }

    /// How many candidates a target with one credential has, of which nothing else need be known.
    fn lone(&self, lanes: Lanes<'_>, place: usize, lane: &Lane, excluded: &mut Vec<Excluded>) -> usize {
        let choice = Choice {
            target: place,
            credential: 0,
        };
        let key = lanes.keys(lane).first();
        match key.and_then(|key| self.against_key(choice, *key, lane.rests)) {
            Some(reason) => {
                excluded.reserve(if excluded.is_empty() { lanes.len() } else { 0 });
                excluded.push(Excluded { choice, reason });
                0
            }
            None => 1,
        }
    }

    /// Ranks the credentials of a target; how many there are.
    fn pool(
        &self,
        place: usize,
        keys: &[KeyLane],
        rests: bool,
        ranking: &mut Ranking,
        excluded: &mut Vec<Excluded>,
    ) -> usize {
        let Some(target) = self.route.targets.get(place) else {
            return 0;
        };
        let upstream = &target.upstream;
        let (strategy, turn) = (upstream.strategy, self.entries.turn(upstream));
        let start = ranking.keys.len();
        ranking.keys.reserve(keys.len());
        let mut crowd = Crowd::default();
        for (credential, key) in keys.iter().enumerate() {
            let choice = Choice {
                target: place,
                credential,
            };
            if let Some(reason) = self.against_key(choice, *key, rests) {
                excluded.reserve(if excluded.is_empty() { keys.len() } else { 0 });
                excluded.push(Excluded { choice, reason });
                continue;
            }
            let entry = self.entries.credential_in(key.slot);
            let mut load = entry.map_or_else(Load::default, |entry| entry.load(strategy, self.now));
            load.weight = key.weight;
            if strategy == Strategy::Sticky {
                load.affinity = self.asked.affinity.map(|call| affinity(call, key.identity));
                crowd.add(load.open);
            }
            let has_turn = turn.is_some_and(|turn| turn.0.cast_unsigned() == key.identity);
            let number = ((place as u64 + 1) << u32::BITS) | credential as u64;
            let rank = rank(strategy, &load, || lot(self.lots, number));
            let draws = strategy == Strategy::LowestLatency;
            let group = group_of_key(place, has_turn);
            ranking.keys.push(Key::new(group, rank, credential, draws));
        }
        if crowd.is_dense() {
            let open = |key: &KeyLane| self.entries.credential_in(key.slot).map_or(0, |entry| entry.open);
            for key in ranking.keys.iter_mut().skip(start) {
                if keys.get(key.place()).is_some_and(|key| crowd.is_crowded(open(key))) {
                    *key = key.or_rank(BEHIND);
                }
            }
        }
        ranking.keys.len() - start
    }

    /// What its strategy looks at of a target.
    fn load(&self, place: usize, lane: &Lane) -> Load {
        let mut load = lane.entry.load(lane.strategy, self.now);
        load.weight = lane.weight;
        match lane.strategy {
            Strategy::LeastConnections | Strategy::LowestLatency => load.open = self.entries.open_in(lane.upstream),
            Strategy::Cheapest => {
                let target = self.route.targets.get(place);
                let price = target.and_then(|target| target.price.as_ref());
                load.cost = price.map(|price| cost(price, self.asked));
            }
            Strategy::Sticky => {
                load.open = self.entries.open_in(lane.upstream);
                load.affinity = self.asked.affinity.map(|call| affinity(call, lane.identity));
            }
            Strategy::RoundRobin | Strategy::Random | Strategy::Weighted | Strategy::LeastUsed => {}
        }
        load
    }
}

/// A tier and a priority as one number, smaller first.
pub(crate) const fn peers_of(tier: u8, priority: i32) -> u64 {
    ((tier as u64) << u32::BITS) | ((priority as u32) ^ (1 << 31)) as u64
}

/// Whether an upstream understands what is asked. Paths beyond the metered operations go to those that allow any.
pub(crate) fn offers(target: &Target, surface: Surface) -> bool {
    match surface.operation {
        Operation::Passthrough => !target.upstream.provider.passthrough.is_empty(),
        _ => target.upstream.serving(surface).is_some(),
    }
}

#[cfg(test)]
mod tests;
