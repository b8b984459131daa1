//! Which candidates a call may try, in which order, and why not the others.
//!
//! Candidates are put in order by whether their target is the model's own or a fallback's, then by its priority, then by
//! the model's strategy among targets, then by the upstream's strategy among credentials. What must not be tried now is set aside with its reason; nothing is dropped,
//! so that the decision can be explained. If nothing is left, but some were set aside by our own guess only (a breaker
//! that we opened, a rest that nobody named), the one that should recover first is tried all the same: a guess must
//! never turn a call away.
//!
//! This runs once per call, so it is kept cheap: one lock, a number per candidate, one sort of plain integers.

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Pool, Route, Target};
use domain::{CredentialId, Lack, Operation, Surface, Timestamp, UpstreamId};
use rand::Rng;
use smallvec::SmallVec;

use crate::asked::Asked;
use crate::board::{Board, Entries};
use crate::strategy::{Crowd, Load, affinity, cost, draw, looks_at_use, rank};

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

/// Why a candidate was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Its upstream offers this operation neither in this format nor in one that can be translated into it.
    Dialect,
    /// Its model is known not to be able to do what the request needs.
    Capability(Lack),
    /// Its credential is for keys of another profile, or of one.
    Profile,
    /// Its upstream has no credential, and its provider wants one.
    NoCredential,
    /// Its credential is out of service until an operator puts it back.
    Deactivated,
    /// Its credential was used as often as it may be today.
    DailyLimit {
        /// When the next day begins.
        until: Timestamp,
    },
    /// As much of its account's allowance is used as an operator wants to be used.
    Paused {
        /// When the allowance is whole again.
        until: Timestamp,
    },
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
    /// Its upstream named a time at which it will be well again.
    UpstreamCooldown {
        /// That time. A guess all the same: unlike a limit, it may be over before.
        until: Timestamp,
    },
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
    /// The request names something that lives elsewhere.
    Pinned,
}

impl Exclusion {
    /// The name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialect => "dialect",
            Self::Capability(_) => "capability",
            Self::Profile => "profile",
            Self::NoCredential => "no_credential",
            Self::Deactivated => "deactivated",
            Self::DailyLimit { .. } => "daily_limit",
            Self::Paused { .. } => "paused",
            Self::UpstreamCooldown { .. } => "upstream_cooldown",
            Self::Plan => "plan",
            Self::NeedsLogin => "needs_login",
            Self::ForcedOpen => "forced_open",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Probing => "probing",
            Self::Cooldown { .. } => "cooldown",
            Self::OutOfCredit { .. } => "out_of_credit",
            Self::Pinned => "pinned",
        }
    }

    /// When it is expected to end, where that is known.
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::BreakerOpen { until }
            | Self::UpstreamCooldown { until }
            | Self::Cooldown { until, .. }
            | Self::OutOfCredit { until }
            | Self::DailyLimit { until }
            | Self::Paused { until } => Some(until),
            Self::Dialect
            | Self::Capability(_)
            | Self::Profile
            | Self::NoCredential
            | Self::Deactivated
            | Self::Plan
            | Self::NeedsLogin
            | Self::ForcedOpen
            | Self::Probing
            | Self::Pinned => None,
        }
    }

    /// Whether it may be over in a while, whatever is declared.
    pub(crate) const fn is_of_the_moment(self) -> bool {
        match self {
            Self::BreakerOpen { .. }
            | Self::Probing
            | Self::UpstreamCooldown { .. }
            | Self::Cooldown { .. }
            | Self::OutOfCredit { .. }
            | Self::DailyLimit { .. }
            | Self::Paused { .. } => true,
            Self::Dialect
            | Self::Capability(_)
            | Self::Profile
            | Self::NoCredential
            | Self::Deactivated
            | Self::Plan
            | Self::NeedsLogin
            | Self::ForcedOpen
            | Self::Pinned => false,
        }
    }

    /// Whether it is our own guess, which is broken rather than turning a call away.
    pub(crate) const fn is_guess(self) -> bool {
        self.guess(Timestamp(0)).is_some()
    }

    /// Whether it is over by itself soon enough that a call may wait for it.
    pub(crate) const fn passes(self) -> bool {
        self.is_guess() || matches!(self, Self::Cooldown { .. })
    }

    /// For one that is our own guess: when we expect it to end. `None` for one that must be kept.
    const fn guess(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Probing => Some(now),
            Self::BreakerOpen { until }
            | Self::UpstreamCooldown { until }
            | Self::Cooldown {
                until,
                named_by_provider: false,
            } => Some(until),
            Self::Dialect
            | Self::Capability(_)
            | Self::Profile
            | Self::NoCredential
            | Self::Deactivated
            | Self::DailyLimit { .. }
            | Self::Paused { .. }
            | Self::Plan
            | Self::NeedsLogin
            | Self::ForcedOpen
            | Self::Cooldown { .. }
            | Self::OutOfCredit { .. }
            | Self::Pinned => None,
        }
    }
}

/// Who is told by what candidates are ordered; nobody, for most.
pub(crate) trait Witness {
    /// A target's rank among its peers.
    fn target(&mut self, _place: usize, _rank: u64) {}
    /// A credential's rank at its upstream.
    fn credential(&mut self, _choice: Choice, _rank: u64) {}
}

impl Witness for () {}

/// Decides what a call on this route may try, and marks the first choice as used: [`decide()`](crate::decide) with any
/// chance, and without a record.
pub fn plan<'a>(route: &Route, asked: impl Into<Asked<'a>>, board: &Board, now: Timestamp, rng: &mut impl Rng) -> Plan {
    let asked = asked.into();
    let mut entries = board.lock();
    let plan = Plan::made(route, &asked, None, &entries, now, rng, &mut ());
    if let Some(first) = plan.order.first() {
        entries.stamp(route, *first, now);
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

impl Plan {
    /// The decision itself. The same chance and the same entries lead to the same plan.
    pub(crate) fn made(
        route: &Route,
        asked: &Asked<'_>,
        pinned: Option<Pinned>,
        entries: &Entries,
        now: Timestamp,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) -> Self {
        let mut plan = Self::of(route, asked, entries, now, rng, witness);
        if let Some(pinned) = pinned {
            plan.keep_only(route, pinned, now);
        }
        plan
    }

    fn of(
        route: &Route,
        asked: &Asked<'_>,
        entries: &Entries,
        now: Timestamp,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) -> Self {
        let mut plan = Self::weighed(route, asked, entries, now, rng, witness);
        // How long a prompt is we only guess, and that must not turn a call away, nor take its failover, nor its model.
        let is_own = |choice: &Choice| route.targets[choice.target].tier == 0;
        let guessed = Exclusion::Capability(Lack::Context { certain: false });
        let by_guess = |excluded: &Excluded| excluded.reason == guessed && is_own(&excluded.choice);
        if !plan.order.iter().any(is_own) && plan.excluded.iter().any(by_guess) {
            let certain = Asked {
                needs: asked.needs.certain(),
                ..*asked
            };
            plan = Self::weighed(route, &certain, entries, now, rng, witness);
        }
        if plan.order.is_empty() {
            plan.take_last_resort(route, now);
        }
        plan
    }

    /// Every candidate in order, or with what is against it.
    fn weighed(
        route: &Route,
        asked: &Asked<'_>,
        entries: &Entries,
        now: Timestamp,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) -> Self {
        let mut plan = Self {
            surface: asked.surface,
            order: Order::new(),
            last_resort: false,
            excluded: Vec::new(),
        };
        if let [_] = route.targets.as_slice() {
            plan.add_target(route, 0, asked, entries, now, rng, witness);
        } else {
            plan.order.reserve(route.targets.len());
            let mut ranks = Ranks::new();
            let looks = look_at_targets(route, asked, entries, now);
            rank_targets(route, asked, &looks, entries, now, rng, &mut ranks, witness);
            for rank in &ranks {
                let place = unpacked(*rank);
                if looks.get(place).is_some_and(|look| look.is_simple) {
                    plan.order.push(Choice {
                        target: place,
                        credential: 0,
                    });
                } else {
                    plan.add_target(route, place, asked, entries, now, rng, witness);
                }
            }
        }
        plan
    }

    /// Adds the candidates of one target, in order or with their reasons.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of the decision, with all that it is made from"
    )]
    fn add_target(
        &mut self,
        route: &Route,
        place: usize,
        asked: &Asked<'_>,
        entries: &Entries,
        now: Timestamp,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) {
        let profile = asked.profile;
        let target = &route.targets[place];
        let reason = if !offers(target, self.surface) {
            Some(Exclusion::Dialect)
        } else if let Some(lack) = asked.needs.lack(target.capabilities, target.context) {
            Some(Exclusion::Capability(lack))
        } else {
            entries.upstream_exclusion(&target.upstream, now)
        };
        let credentials = &target.upstream.credentials;
        match (reason, credentials.as_slice()) {
            (Some(reason), _) => {
                let is_final = matches!(reason, Exclusion::Dialect | Exclusion::Capability(_));
                let excluded = credentials.iter().enumerate().map(|(credential, known)| Excluded {
                    choice: Choice {
                        target: place,
                        credential,
                    },
                    reason: of_account(known, target)
                        .filter(|_| !is_final && known.pool.serves(profile))
                        .unwrap_or_else(|| entries.stricter(reason, target, known, profile, now)),
                });
                self.excluded.extend(excluded);
            }
            // A lone credential needs no rank, and where nothing rests not even a look.
            (None, [only]) if !entries.some_rest(now) && barred(only, target, profile).is_none() => {
                self.order.push(Choice {
                    target: place,
                    credential: 0,
                });
            }
            (None, _) => self.add_pool(target, place, asked, entries, now, rng, witness),
        }
    }

    /// Adds the candidates of a target whose upstream has several credentials.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn add_pool(
        &mut self,
        target: &Target,
        place: usize,
        asked: &Asked<'_>,
        entries: &Entries,
        now: Timestamp,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) {
        let profile = asked.profile;
        let upstream = &target.upstream;
        let turn = entries.turn(upstream);
        let (some_rest, by_use) = (entries.some_rest(now), looks_at_use(upstream.strategy));
        let crowd = crowd_of_credentials(target, asked.profile, entries, now);
        let mut ranks = Ranks::new();
        for (credential, known) in upstream.credentials.iter().enumerate() {
            let entry = if some_rest || by_use {
                entries.credential(known.id)
            } else {
                None
            };
            let reason =
                barred(known, target, profile).or_else(|| entry.filter(|_| some_rest)?.exclusion(target, known, now));
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
            let mut load = entry.map_or_else(Load::default, |entry| entry.load(upstream.strategy, now));
            load.weight = known.weight;
            if upstream.strategy == Strategy::Sticky {
                load.affinity = asked.affinity.map(|call| affinity(call, known.id.0.cast_unsigned()));
                load.crowded = crowd.is_crowded(load.open);
            }
            let before_others = -i32::from(turn == Some(known.id));
            let rank = rank(upstream.strategy, &load, rng);
            let choice = Choice {
                target: place,
                credential,
            };
            witness.credential(choice, rank);
            ranks.push(packed(0, before_others, rank, credential));
        }
        ranks.sort_unstable();
        if upstream.strategy == Strategy::LowestLatency {
            draw(&mut ranks, rng);
        }
        self.order.extend(ranks.iter().map(|rank| Choice {
            target: place,
            credential: unpacked(*rank),
        }));
    }

    /// Sets aside whatever is not the place. A last resort that was chosen before is chosen anew.
    fn keep_only(&mut self, route: &Route, pinned: Pinned, now: Timestamp) {
        let order = std::mem::take(&mut self.order);
        let resort = std::mem::take(&mut self.last_resort);
        let (here, elsewhere): (Order, Order) = order.into_iter().partition(|choice| pinned.is_at(route, *choice));
        for excluded in &mut self.excluded {
            if !pinned.is_at(route, excluded.choice) {
                excluded.reason = Exclusion::Pinned;
            }
        }
        self.excluded.extend(elsewhere.into_iter().map(|choice| Excluded {
            choice,
            reason: Exclusion::Pinned,
        }));
        self.last_resort = resort && !here.is_empty();
        self.order = here;
        if self.order.is_empty() {
            self.take_last_resort(route, now);
        }
    }

    /// Moves the candidate that should recover first from `excluded` to `order`.
    fn take_last_resort(&mut self, route: &Route, now: Timestamp) {
        let guesses = self.excluded.iter().enumerate().filter_map(|(index, excluded)| {
            let target = &route.targets[excluded.choice.target];
            let guess = excluded.reason.guess(now);
            guess.map(|until| (target.tier, until, target.priority, index))
        });
        if let Some((.., index)) = guesses.min() {
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

/// What is seen of a target at first, in one pass over them in the order in which they lie in memory.
#[derive(Clone, Copy, Default)]
struct Look {
    /// Calls open at its upstream, where the strategy asks.
    open: u32,
    /// Whether a call may go there.
    is_open: bool,
    /// Whether it is one candidate against which there is nothing, so that it need not be looked at again.
    is_simple: bool,
}

type Looks = SmallVec<[Look; 128]>;

fn look_at_targets(route: &Route, asked: &Asked<'_>, entries: &Entries, now: Timestamp) -> Looks {
    let calm = !entries.some_rest(now);
    let look = |target: &Target| {
        let upstream = &target.upstream;
        let is_open = offers(target, asked.surface)
            && asked.needs.lack(target.capabilities, target.context).is_none()
            && entries.upstream_exclusion(upstream, now).is_none();
        let open = match route.strategy_of(target) {
            Strategy::LeastConnections | Strategy::LowestLatency | Strategy::Sticky => entries.open_at(upstream.id),
            _ => 0,
        };
        let lone = match upstream.credentials.as_slice() {
            [only] => barred(only, target, asked.profile).is_none(),
            _ => false,
        };
        Look {
            open,
            is_open,
            is_simple: is_open && calm && lone,
        }
    };
    route.targets.iter().map(look).collect()
}

/// The targets' ranks, in order.
#[expect(
    clippy::too_many_arguments,
    reason = "one step of the decision, with all that it is made from"
)]
fn rank_targets(
    route: &Route,
    asked: &Asked<'_>,
    looks: &Looks,
    entries: &Entries,
    now: Timestamp,
    rng: &mut impl Rng,
    ranks: &mut Ranks,
    witness: &mut impl Witness,
) {
    let rotation = entries.rotation(route);
    let crowd = crowd_of_targets(route, looks);
    let mut draws = false;
    for (place, (target, look)) in route.targets.iter().zip(looks).enumerate() {
        let strategy = route.strategy_of(target);
        let mut load = rotation
            .get(place)
            .map_or_else(Load::default, |known| known.load(strategy, now));
        load.weight = target.weight;
        load.open = look.open;
        match strategy {
            Strategy::Cheapest => load.cost = target.price.as_ref().map(|price| cost(price, asked)),
            Strategy::Sticky => {
                load.affinity = asked.affinity.map(|call| affinity(call, target.identity));
                load.crowded = crowd.is_crowded(look.open);
            }
            _ => {}
        }
        draws |= strategy == Strategy::LowestLatency;
        let rank = rank(strategy, &load, rng);
        witness.target(place, rank);
        ranks.push(packed(target.tier, target.priority, rank, place));
    }
    ranks.sort_unstable();
    if draws {
        let of_one_strategy = |rank: &u128| route.strategy_of(&route.targets[unpacked(*rank)]);
        ranks
            .chunk_by_mut(|one, other| peers(*one) == peers(*other))
            .filter(|chunk| chunk.first().map(of_one_strategy) == Some(Strategy::LowestLatency))
            .for_each(|chunk| draw(chunk, rng));
    }
}

/// The open calls at the targets that a call may go to; only `sticky` asks.
fn crowd_of_targets(route: &Route, looks: &Looks) -> Crowd {
    let mut crowd = Crowd::default();
    let both = route.targets.iter().zip(looks);
    both.filter(|(target, look)| look.is_open && route.strategy_of(target) == Strategy::Sticky)
        .for_each(|(_, look)| crowd.add(look.open));
    crowd
}

/// The same among the credentials of a target.
fn crowd_of_credentials(target: &Target, profile: Option<&str>, entries: &Entries, now: Timestamp) -> Crowd {
    let mut crowd = Crowd::default();
    if target.upstream.strategy == Strategy::Sticky {
        let usable = |known: &&std::sync::Arc<Credential>| {
            barred(known, target, profile).is_none() && entries.credential_exclusion(target, known, now).is_none()
        };
        for known in target.upstream.credentials.iter().filter(usable) {
            crowd.add(entries.credential(known.id).map_or(0, |entry| entry.open));
        }
    }
    crowd
}

/// Bits of a packed rank that hold the place.
const PLACE_BITS: u32 = 24;
/// Bits below the priority.
const BELOW_PRIORITY: u32 = PLACE_BITS + u64::BITS;

/// Tier, priority, rank and place in one integer that sorts as they do, in this order.
const fn packed(tier: u8, priority: i32, rank: u64, place: usize) -> u128 {
    let priority = (priority as u32) ^ (1 << 31);
    let place = place as u128 & ((1 << PLACE_BITS) - 1);
    ((tier as u128) << (BELOW_PRIORITY + u32::BITS))
        | ((priority as u128) << BELOW_PRIORITY)
        | ((rank as u128) << PLACE_BITS)
        | place
}

/// What candidates have in common that only their ranks tell apart.
const fn peers(rank: u128) -> u64 {
    (rank >> BELOW_PRIORITY) as u64
}

const fn unpacked(rank: u128) -> usize {
    rank as usize & ((1 << PLACE_BITS) - 1)
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
