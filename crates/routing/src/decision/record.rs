//! From the numbers of a trace to a record that stands for itself: names, terms and words are those of the call's own route,
//! which it kept to its end.

use std::collections::HashMap;

use domain::declaration::{BreakerDecl, CooldownDecl, Strategy};
use domain::snapshot::{Credential, Pool, Route, Target};
use domain::{Capability, Operation, Timestamp};

use super::trace::{Seen, Trouble, Used};
use super::{
    Bits, Breaker, Candidate, Decision, Moment, Pin, Price, Request, RestKind, Resting, Score, State, Terms, Trace,
    Use, VERSION,
};
use crate::breaker::BreakerState;
use crate::cooldown::Rest;
use crate::plan::{Choice, Excluded, Exclusion};
use crate::strategy::shown;
use domain::Forced;

impl Trace {
    /// The whole record.
    pub fn told(&self, route: &Route) -> Decision {
        let places = || {
            let targets = route.targets.iter().enumerate();
            targets.flat_map(|(target, known)| {
                (0..known.upstream.credentials.len()).map(move |credential| Choice { target, credential })
            })
        };
        let all: HashMap<Choice, Candidate> = if self.is_whole {
            let told = |(index, choice)| Some((choice, self.candidate(route, choice, index)?));
            places().enumerate().filter_map(told).collect()
        } else {
            HashMap::new()
        };
        let (mut order, mut excluded) = (Vec::new(), Vec::new());
        if let Some(plan) = &self.plan {
            order.extend(plan.order.iter().filter_map(|choice| all.get(choice).cloned()));
            let mut reasons: Vec<&Excluded> = plan.excluded.iter().collect();
            reasons.sort_by_key(|excluded| excluded.choice);
            let told = |one: &&Excluded| Some(all.get(&one.choice)?.clone().excluded(one.reason));
            excluded.extend(reasons.iter().filter_map(told));
        }
        Decision {
            version: VERSION,
            model: route.model.clone(),
            surface: self.surface.to_string(),
            at: Moment(self.at),
            seed: Bits(self.seed),
            asked: self.request(),
            strategy: route.strategy,
            group: route.group.clone(),
            order,
            excluded,
            last_resort: self.plan.as_ref().is_some_and(|plan| plan.last_resort),
            recovery: route.recovery,
            hedge: route.hedge,
            credentials_rest: self.credentials_rest,
            walk: self.walk.as_deref().cloned(),
            unrecorded: if self.is_whole { 0 } else { self.candidates },
        }
    }

    /// The record that is kept of a call, without what is only for those who look at the configuration.
    pub fn kept(&self, route: &Route) -> Decision {
        let mut decision = self.told(route);
        for candidate in decision.order.iter_mut().chain(&mut decision.excluded) {
            candidate.can.clear();
            candidate.max_output = 0;
        }
        decision
    }

    fn request(&self) -> Request {
        Request {
            operation: self.surface.operation,
            dialect: self.surface.dialect,
            needs: self.needs.capabilities.iter().collect(),
            tokens: self.needs.tokens,
            least_tokens: self.needs.least_tokens,
            profile: self.profile.as_deref().map(str::to_owned),
            affinity: self.affinity.map(Bits),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            pinned: self.pinned.map(|pinned| Pin {
                upstream: pinned.upstream.0,
                credential: pinned.credential.map(|id| id.0),
            }),
        }
    }

    fn candidate(&self, route: &Route, choice: Choice, index: usize) -> Option<Candidate> {
        let (seen, trouble) = (self.seen.seen(index)?, self.seen.trouble(choice.target, index));
        let target = route.targets.get(choice.target)?;
        let upstream = &target.upstream;
        let credential = upstream.credentials.get(choice.credential)?;
        let order = self.plan.as_ref().map(|plan| &plan.order);
        let strategy = route.strategy_of(target);
        Some(Candidate {
            upstream: upstream.name.clone(),
            credential: credential.name.clone(),
            model: target.model.to_string(),
            priority: target.priority,
            weight: target.weight,
            price: price(target, self.input_tokens),
            context: target.context,
            max_output: target.max_output,
            can: names(target, true),
            cannot: names(target, false),
            fallback: route.fallback_of(target).map(|fallback| fallback.model.clone()),
            forced: upstream.forced,
            reason: None,
            lacks: None,
            until: None,
            score: Score {
                target: order
                    .and_then(|order| order.rank_of(choice.target))
                    .and_then(|rank| shown(strategy, rank)),
                credential: order
                    .and_then(|order| order.rank_of_key(choice))
                    .and_then(|rank| shown(upstream.strategy, rank)),
            },
            state: state(&seen, &trouble, self.at),
            terms: self.terms(route, target, credential, choice),
        })
    }

    fn terms(&self, route: &Route, target: &Target, credential: &Credential, choice: Choice) -> Terms {
        let upstream = &target.upstream;
        let strategy = route.strategy_of(target);
        let account = credential.account.as_deref();
        let offered = match self.surface.operation {
            Operation::Passthrough => !upstream.provider.passthrough.is_empty(),
            _ => upstream.serving(self.surface).is_some(),
        };
        Terms {
            place: [choice.target, choice.credential],
            ids: [upstream.id.0, credential.id.0],
            not_offered: !offered,
            tier: target.tier,
            strategy: (strategy != route.strategy).then_some(strategy),
            identity: (strategy == Strategy::Sticky).then_some(Bits(target.identity)),
            key_strategy: upstream.strategy,
            key_weight: credential.weight,
            keeps_turns: upstream.rotates_slowly,
            daily_limit: credential.daily_limit,
            pause_at: credential.pause_at,
            no_breaker: upstream.breaker.is_none(),
            breaker: upstream.breaker.filter(|decl| *decl != BreakerDecl::default()),
            no_cooldown: upstream.cooldown.is_none(),
            cooldown: upstream.cooldown.filter(|decl| *decl != CooldownDecl::default()),
            other_profile: !credential.pool.serves(self.profile.as_deref()),
            no_credential: credential.pool == Pool::Nobody,
            deactivated: credential.state.deactivated.is_some(),
            not_in_plan: account.is_some_and(|account| !account.may_use(&target.model)),
            needs_login: account.is_some_and(|account| account.state.needs_login.is_some()),
        }
    }
}

impl Candidate {
    fn excluded(self, reason: Exclusion) -> Self {
        Self {
            reason: Some(reason.name().to_owned()),
            lacks: match reason {
                Exclusion::Capability(lack) => Some(lack.name().to_owned()),
                _ => None,
            },
            until: reason.until().map(Moment),
            ..self
        }
    }
}

fn state(seen: &Seen, trouble: &Trouble, now: Timestamp) -> State {
    let (breaker, breaker_until) = match trouble.breaker {
        BreakerState::Closed => (Breaker::Closed, None),
        BreakerState::Open { until } => (Breaker::Open, Some(Moment(until))),
        BreakerState::HalfOpen { probing: false } => (Breaker::HalfOpen, None),
        BreakerState::HalfOpen { probing: true } => (Breaker::Probing, None),
        BreakerState::Forced(Forced::Open) => (Breaker::ForcedOpen, None),
        BreakerState::Forced(Forced::Closed) => (Breaker::ForcedClosed, None),
    };
    State {
        breaker,
        breaker_until,
        upstream_rests_until: (trouble.upstream_rest > now).then_some(Moment(trouble.upstream_rest)),
        open_calls: seen.open,
        target: used(&seen.target, now),
        key: used(&seen.key, now),
        key_open_calls: seen.key_open,
        uses_today: seen.uses_today.uses(now),
        rest: trouble.rest.map(resting),
        model_rest: trouble.model_rest.map(resting),
        paused_until: trouble.paused_until.map(Moment),
        has_turn: trouble.has_turn,
        found_deactivated: trouble.deactivated,
        doubted: trouble.doubted,
        lately: trouble.lately,
        strikes: trouble.strikes,
        failing: trouble.standing.failing,
        proven: trouble.standing.proven,
    }
}

fn used(used: &Used, now: Timestamp) -> Use {
    Use {
        turn: used.turn,
        uses: used.uses.now(now),
        latency_ms: used.latency.now(now),
    }
}

const fn resting(rest: Rest) -> Resting {
    let why = match rest {
        Rest::Named(_) => RestKind::Named,
        Rest::Guessed(_) => RestKind::Guessed,
        Rest::OutOfCredit(_) => RestKind::OutOfCredit,
    };
    Resting {
        why,
        until: Moment(rest.until()),
    }
}

/// What a target is known to be able to do, or not.
fn names(target: &Target, can: bool) -> Vec<String> {
    let known = |one: &Capability| match one {
        Capability::Thinking => target.thinks,
        one => target.capabilities.of(*one),
    };
    let all = Capability::ALL.into_iter().filter(|one| known(one) == Some(can));
    all.map(|one| one.name().to_owned()).collect()
}

/// What the choice would look at.
fn price(target: &Target, input_tokens: u64) -> Option<Price> {
    let rates = target.price.as_ref()?.ordinary.at(input_tokens);
    Some(Price {
        input: rates.input,
        output: rates.output,
        free: rates.is_free(),
    })
}
