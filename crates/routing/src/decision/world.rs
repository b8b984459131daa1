//! The other way round: from a record to a route and entries that lead to the same decision.
//!
//! The route is one of the kind that calls have, filled with what the record says and with nothing where no choice looks. So
//! a replay runs the very code that decided, not a second one that would have to be kept in step with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::account::{Account, AccountDecl, AccountMode, AccountState};
use domain::declaration::Strategy;
use domain::provider::AuthScheme;
use domain::snapshot::{
    Credential, CredentialState, Deactivation, Fallback, Origin, Pool, Route, RouteBounds, RouteStamp, Target,
    Timeouts, Upstream,
};
use domain::{Capabilities, Capability, CredentialId, Needs, Provider, Rates, Secret, Surface, Timestamp, UpstreamId};

use serde_json::json;

use super::trace::{Seen, Trouble, Used};
use super::{Breaker, Candidate, Decision, RestKind, Resting, State, Use};
use crate::asked::Asked;
use crate::board::{Daily, Entries, Standing};
use crate::breaker::BreakerState;
use crate::cooldown::Rest;
use crate::plan::{Choice, Pinned};
use crate::strategy::{Latency, Uses};
use domain::Forced;

/// No limit of time is looked at by a choice.
const NONE: Timeouts = Timeouts {
    connect: Duration::ZERO,
    first_byte: Duration::ZERO,
    idle: Duration::ZERO,
    total: Duration::ZERO,
    session: Duration::ZERO,
};

impl Decision {
    /// Every candidate, by its place.
    pub(super) fn candidates(&self) -> Vec<&Candidate> {
        let mut all: Vec<&Candidate> = self.order.iter().chain(&self.excluded).collect();
        all.sort_by_key(|candidate| candidate.terms.place);
        all
    }

    /// What was asked for.
    pub(super) fn question(&self) -> Asked<'_> {
        let asked = &self.asked;
        Asked {
            surface: Surface::new(asked.operation, asked.dialect),
            needs: Needs {
                capabilities: asked.needs.iter().copied().collect(),
                tokens: asked.tokens,
                least_tokens: asked.least_tokens,
            },
            profile: asked.profile.as_deref(),
            affinity: asked.affinity.map(|bits| bits.0),
            input_tokens: asked.input_tokens,
            output_tokens: asked.output_tokens,
        }
    }

    pub(super) fn pin(&self) -> Option<Pinned> {
        self.asked.pinned.map(|pin| Pinned {
            upstream: UpstreamId(pin.upstream),
            credential: pin.credential.map(CredentialId),
        })
    }

    /// A route of these candidates; `None` where the record has gaps.
    pub(super) fn route(&self) -> Option<Route> {
        let candidates = self.candidates();
        let mut targets: Vec<Vec<&Candidate>> = Vec::new();
        for candidate in &candidates {
            let [target, credential] = candidate.terms.place;
            if target == targets.len() {
                targets.push(Vec::new());
            }
            let is_last = target + 1 == targets.len();
            let of_target = targets.get_mut(target).filter(|_| is_last)?;
            if credential != of_target.len() {
                return None;
            }
            of_target.push(candidate);
        }
        let targets: Vec<Target> = targets
            .iter()
            .map(|of_target| self.target(of_target))
            .collect::<Option<_>>()?;
        Some(Route {
            model: self.model.clone(),
            strategy: self.strategy,
            bounds: RouteBounds::of(&targets),
            stamp: RouteStamp::default(),
            targets,
            price: None,
            system_prompt: None,
            fallbacks: fallbacks(&candidates, self.strategy),
            fallback_on: Vec::new(),
            recovery: self.recovery,
            hedge: self.hedge,
            group: self.group.clone(),
        })
    }

    fn target(&self, candidates: &[&Candidate]) -> Option<Target> {
        let first = *candidates.first()?;
        let cannot = first.cannot.iter().filter_map(|name| capability(name));
        Some(Target {
            upstream: Arc::new(self.upstream(candidates, first)?),
            model: first.model.as_str().into(),
            weight: first.weight,
            priority: first.priority,
            tier: first.terms.tier,
            identity: first.terms.identity.map_or(0, |bits| bits.0),
            price: first.price.map(|price| {
                Arc::new(domain::Price::flat(Rates {
                    input: price.input,
                    output: price.output,
                    ..Rates::default()
                }))
            }),
            context: first.context,
            max_output: first.max_output,
            thinks: None,
            capabilities: Capabilities {
                cannot: cannot.filter(|one| *one != Capability::Thinking).collect(),
                ..Capabilities::default()
            },
        })
    }

    fn upstream(&self, candidates: &[&Candidate], first: &Candidate) -> Option<Upstream> {
        let terms = &first.terms;
        let surface = Surface::new(self.asked.operation, self.asked.dialect);
        Some(Upstream {
            id: UpstreamId(terms.ids[0]),
            name: first.upstream.clone(),
            provider: Arc::new(provider(!terms.not_offered)?),
            base_url: String::new(),
            origin: Origin::Operator,
            auth: AuthScheme::None,
            variables: BTreeMap::new(),
            surfaces: (!terms.not_offered)
                .then(|| (surface, String::new()))
                .into_iter()
                .collect(),
            priority: first.priority,
            weight: first.weight,
            strategy: terms.key_strategy,
            credentials: candidates.iter().map(|one| Arc::new(credential(one))).collect(),
            rotates_slowly: terms.keeps_turns,
            group: None,
            forced: first.forced,
            names_models: false,
            models: Vec::new(),
            headers: Vec::new(),
            params: Vec::new(),
            surface_params: BTreeMap::new(),
            proxy: None,
            ca: None,
            timeouts: NONE,
            breaker: (!terms.no_breaker).then(|| terms.breaker.unwrap_or_default()),
            cooldown: (!terms.no_cooldown).then(|| terms.cooldown.unwrap_or_default()),
            health: None,
        })
    }

    /// The entries that the choice saw, for a route whose candidates are found in the record by `recorded`. What it does not
    /// know begins as new.
    pub(super) fn entries<'a>(&'a self, route: &Route, recorded: impl Fn(Choice) -> Known<'a>) -> Entries {
        let now = self.at.0;
        let mut entries = Entries::default();
        let choices = route.targets.iter().enumerate().flat_map(|(target, known)| {
            (0..known.upstream.credentials.len()).map(move |credential| Choice { target, credential })
        });
        for choice in choices {
            entries.put_back(route, choice, &recorded(choice).seen(now), now);
        }
        if self.credentials_rest {
            entries.look_until(now + Duration::from_secs(1));
        }
        entries
    }
}

/// Where the state of a candidate stands in a record: in parts, which another configuration may put together anew.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub(super) upstream: Option<&'a State>,
    pub(super) target: Option<&'a State>,
    pub(super) key: Option<&'a State>,
    pub(super) model_of_key: Option<&'a State>,
}

impl Known<'_> {
    fn seen(self, now: Timestamp) -> (Seen, Trouble) {
        let mut seen = Seen {
            target: Used::UNUSED,
            key: Used::UNUSED,
            uses_today: Daily::default(),
            open: 0,
            key_open: 0,
        };
        let mut trouble = Trouble::default();
        if let Some(state) = self.upstream {
            trouble.breaker = breaker(state);
            trouble.doubted = state.doubted;
            trouble.lately = state.lately;
            trouble.upstream_rest = state.upstream_rests_until.map_or(Timestamp(0), |until| until.0);
            seen.open = state.open_calls;
        }
        if let Some(state) = self.target {
            seen.target = used(state.target, now);
        }
        if let Some(state) = self.key {
            seen.key = used(state.key, now);
            seen.key_open = state.key_open_calls;
            seen.uses_today.add(now.day(), state.uses_today);
            trouble.rest = state.rest.map(rest);
            trouble.paused_until = state.paused_until.map(|until| until.0);
            trouble.has_turn = state.has_turn;
            trouble.deactivated = state.found_deactivated;
            trouble.strikes = state.strikes;
            trouble.standing = Standing {
                failing: state.failing,
                proven: state.proven,
            };
        }
        trouble.model_rest = self.model_of_key.and_then(|state| state.model_rest).map(rest);
        (seen, trouble)
    }
}

fn breaker(state: &State) -> BreakerState {
    match (state.breaker, state.breaker_until) {
        (Breaker::Open, Some(until)) => BreakerState::Open { until: until.0 },
        (Breaker::Closed | Breaker::Open, _) => BreakerState::Closed,
        (Breaker::HalfOpen, _) => BreakerState::HalfOpen { probing: false },
        (Breaker::Probing, _) => BreakerState::HalfOpen { probing: true },
        (Breaker::ForcedOpen, _) => BreakerState::Forced(Forced::Open),
        (Breaker::ForcedClosed, _) => BreakerState::Forced(Forced::Closed),
    }
}

const fn used(used: Use, now: Timestamp) -> Used {
    Used {
        turn: used.turn,
        uses: Uses::known(used.uses, now),
        latency: Latency::known(used.latency_ms, now),
    }
}

const fn rest(rest: Resting) -> Rest {
    let until = rest.until.0;
    match rest.why {
        RestKind::Named => Rest::Named(until),
        RestKind::Guessed => Rest::Guessed(until),
        RestKind::OutOfCredit => Rest::OutOfCredit(until),
    }
}

fn capability(name: &str) -> Option<Capability> {
    Capability::ALL.into_iter().find(|one| one.name() == name)
}

/// The fallbacks that the candidates belong to, with what orders the targets of each. One without candidates is nobody's.
fn fallbacks(candidates: &[&Candidate], strategy: Strategy) -> Vec<Fallback> {
    let tiers: BTreeSet<u8> = candidates.iter().map(|one| one.terms.tier).collect();
    let last = tiers.last().copied().unwrap_or_default();
    (1..=last)
        .map(|tier| {
            let of_tier = candidates.iter().find(|one| one.terms.tier == tier);
            Fallback {
                model: of_tier.and_then(|one| one.fallback.clone()).unwrap_or_default(),
                strategy: of_tier.and_then(|one| one.terms.strategy).unwrap_or(strategy),
                price: None,
            }
        })
        .collect()
}

fn credential(candidate: &Candidate) -> Credential {
    let terms = &candidate.terms;
    let account = terms.not_in_plan || terms.needs_login;
    Credential {
        weight: terms.key_weight,
        pool: if terms.no_credential {
            Pool::Nobody
        } else if terms.other_profile {
            // A name that no profile has.
            Pool::Profile("\0".into())
        } else {
            Pool::Everyone
        },
        daily_limit: terms.daily_limit,
        pause_at: terms.pause_at,
        state: CredentialState {
            deactivated: terms.deactivated.then(|| Deactivation {
                at: Timestamp::default(),
                reason: String::new(),
            }),
            ..CredentialState::default()
        },
        account: account.then(|| Box::new(self::account(candidate))),
        ..Credential::new(
            CredentialId(terms.ids[1]),
            candidate.credential.clone(),
            Secret::new(String::new()),
        )
    }
}

/// An account whose plan has the model, or not.
fn account(candidate: &Candidate) -> Account {
    let terms = &candidate.terms;
    Account {
        mode: (!terms.not_in_plan).then(any_plan).flatten(),
        state: AccountState {
            mode: String::new(),
            generation: 0,
            issued_at: Timestamp::default(),
            expires_at: Timestamp::default(),
            needs_login: terms.needs_login.then(String::new),
        },
    }
}

/// A mode whose plan has every model.
fn any_plan() -> Option<Arc<AccountMode>> {
    let nothing = || Some(String::new());
    let decl = AccountDecl {
        provider: nothing(),
        authorize_url: nothing(),
        token_url: nothing(),
        redirect_uri: nothing(),
        ..AccountDecl::default()
    };
    AccountMode::of(decl).ok().map(Arc::new)
}

/// A provider of which nothing is known but whether it takes other paths.
fn provider(takes_any_path: bool) -> Option<Provider> {
    let passthrough: &[&str] = if takes_any_path { &["*"] } else { &[] };
    serde_json::from_value(json!({"name": "recorded", "passthrough": passthrough})).ok()
}
