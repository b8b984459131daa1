//! `/api/explain`: where a call would go at this moment, in which order, and why not elsewhere.
//!
//! Asked of the same code that decides for calls, with what it knows now: open breakers, resting credentials, whose turn
//! it is. The same [`Explanation`] is what `tollgate explain` shows, from a running server or, without one, from what is
//! declared.

use axum::Json;
use axum::extract::{Query, State};
use domain::declaration::Strategy;
use domain::price::Rates;
use domain::snapshot::{Route, Target};
use domain::{Capability, CapabilitySet, Dialect, Forced, Money, Needs, Operation, Surface};
use routing::{Choice, Exclusion, Plan};
use serde::{Deserialize, Serialize};

use crate::auth::Operator;
use crate::error::ApiError;
use crate::{Shared, time};

/// What was decided, in words that stand for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The model as it is declared or listed.
    pub model: String,
    /// What is asked, in which format.
    pub surface: String,
    /// Among targets of the same priority.
    pub strategy: Strategy,
    /// The group of upstreams that the name belongs to, where that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What would be tried, in this order.
    pub order: Vec<Candidate>,
    /// What would not.
    pub excluded: Vec<Candidate>,
    /// Whether `order` holds one that is tried only because there is no other.
    pub last_resort: bool,
    /// Whether a stream that breaks off is gone on with: of those in `order` that can `prefill`, by the next one.
    #[serde(default)]
    pub recovery: bool,
}

/// A target with a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The upstream's name.
    pub upstream: String,
    /// The credential's name.
    pub credential: String,
    /// The model's name there.
    pub model: String,
    /// Lower is tried first.
    pub priority: i32,
    /// Share under `weighted`.
    pub weight: u32,
    /// Dollars per million tokens of short prompts; `None` where no price is known.
    pub price: Option<Price>,
    /// Tokens that a prompt may have; 0 where not known.
    #[serde(default)]
    pub context: u64,
    /// Tokens that an answer may have; 0 where not known.
    #[serde(default)]
    pub max_output: u64,
    /// What the model is known to be able to do.
    #[serde(default)]
    pub can: Vec<String>,
    /// What it is known not to.
    #[serde(default)]
    pub cannot: Vec<String>,
    /// The model that it is a target of, where that is a fallback of the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What an operator decided on its upstream's breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Forced>,
    /// Why it is excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it lacks, where it is excluded by its capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// When that should end, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// The two prices that matter most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Prompt tokens.
    pub input: Money,
    /// Generated tokens.
    pub output: Money,
    /// Whether nothing costs anything, these and all the others.
    pub free: bool,
}

impl Explanation {
    /// What `plan` says about `route`.
    pub fn of(route: &Route, plan: &Plan) -> Self {
        let excluded = plan.excluded.iter().filter_map(|excluded| {
            let candidate = Candidate::of(route, excluded.choice)?;
            Some(candidate.excluded(excluded.reason))
        });
        Self {
            model: route.model.clone(),
            surface: plan.surface.to_string(),
            strategy: route.strategy,
            group: route.group.clone(),
            order: plan
                .order
                .iter()
                .filter_map(|choice| Candidate::of(route, *choice))
                .collect(),
            excluded: excluded.collect(),
            last_resort: plan.last_resort,
            recovery: route.recovery,
        }
    }
}

impl Candidate {
    fn of(route: &Route, choice: Choice) -> Option<Self> {
        let target = route.targets.get(choice.target)?;
        Some(Self {
            upstream: target.upstream.name.clone(),
            credential: target.upstream.credentials.get(choice.credential)?.name.clone(),
            model: target.model.to_string(),
            priority: target.priority,
            weight: target.weight,
            price: price(route, target),
            context: target.context,
            max_output: target.max_output,
            can: names(target, true),
            cannot: names(target, false),
            fallback: route.fallback_of(target).map(|fallback| fallback.model.clone()),
            forced: target.upstream.forced,
            reason: None,
            lacks: None,
            until: None,
        })
    }

    fn excluded(self, reason: Exclusion) -> Self {
        Self {
            reason: Some(reason.name().to_owned()),
            lacks: match reason {
                Exclusion::Capability(lack) => Some(lack.name().to_owned()),
                _ => None,
            },
            until: reason.until().map(time::moment),
            ..self
        }
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

fn price(route: &Route, target: &Target) -> Option<Price> {
    let price = route.declared_price(target).or(target.price.as_ref())?;
    let rates: &Rates = &price.ordinary.rates;
    Some(Price {
        input: rates.input,
        output: rates.output,
        free: rates.is_free(),
    })
}

/// What a question names, and the mend where it names nothing.
pub fn surface(operation: &str, dialect: &str) -> Result<Surface, String> {
    let unknown = |what, name| format!("the {what} `{name}` is not known");
    let found = Operation::ALL.into_iter().find(|known| known.name() == operation);
    let operation = found.ok_or_else(|| unknown("operation", operation))?;
    let found = Dialect::ALL.into_iter().find(|known| known.name() == dialect);
    let dialect = found.ok_or_else(|| unknown("dialect", dialect))?;
    Ok(Surface::new(operation, dialect))
}

/// What a question says of the request: capabilities in words, separated by commas, and the length of the prompt.
pub fn needs(capabilities: &str, tokens: u64) -> Result<Needs, String> {
    let words = capabilities.split(',').map(str::trim).filter(|word| !word.is_empty());
    let all: Result<CapabilitySet, String> = words
        .map(|word| {
            let found = Capability::ALL.into_iter().find(|known| known.name() == word);
            let known = Capability::ALL.map(Capability::name).join(", ");
            found.ok_or_else(|| format!("there is no capability `{word}`; there are: {known}"))
        })
        .collect();
    Ok(Needs {
        capabilities: all?,
        tokens,
        least_tokens: tokens,
    })
}

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    model: String,
    operation: Option<String>,
    dialect: Option<String>,
    /// What the request would need.
    #[serde(default)]
    needs: String,
    /// Tokens that its prompt would have; 0: few.
    #[serde(default)]
    tokens: u64,
    /// The name of a key: with which credentials would its call go?
    key: Option<String>,
}

/// Where a call would go now.
pub(crate) async fn show(
    State(shared): State<Shared>,
    _: Operator,
    Query(asked): Query<Asked>,
) -> Result<Json<Explanation>, ApiError> {
    let operation = asked.operation.as_deref().unwrap_or(Operation::Chat.name());
    let dialect = asked.dialect.as_deref().unwrap_or(Dialect::OpenaiChat.name());
    let surface = surface(operation, dialect).map_err(ApiError::malformed)?;
    let snapshot = shared.snapshot();
    let profile = match &asked.key {
        None => None,
        Some(name) => {
            let mut keys = snapshot.keys.values();
            let key = keys.find(|key| key.name.eq_ignore_ascii_case(name));
            let key = key.ok_or_else(|| ApiError::not_found(format!("there is no key `{name}`")))?;
            key.profile.clone()
        }
    };
    let route = snapshot
        .route(&asked.model)
        .ok_or_else(|| ApiError::not_found(format!("no upstream serves `{}`", asked.model)))?;
    let needs = needs(&asked.needs, asked.tokens).map_err(ApiError::malformed)?;
    let asked = routing::Asked {
        needs,
        profile: profile.as_deref(),
        ..surface.into()
    };
    let plan = (shared.inner.current.plan)(&route, asked);
    Ok(Json(Explanation::of(&route, &plan)))
}
