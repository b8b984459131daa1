//! What the client is told when nothing is left to try.
//!
//! The last failure decides, unless it says less than one before it: that a credential was refused, or that no
//! connection could be made, concerns the operator, while a 429 or a 500 tells the client something it can act on. The
//! upstream's own words are never passed on: they may show fragments of a key.

use std::borrow::Cow;
use std::time::Duration;

use domain::snapshot::Route;
use domain::{Dialect, Failure, FailureClass, Fault, FaultKind, Lack, Timestamp};

use super::accounts;
use crate::plan::{Exclusion, Plan};

/// Targets that a refusal names at most: it is for people to read.
const TOLD_MAX: usize = 8;

/// The failure that decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    last: Option<Telling>,
    /// Why a target's format cannot say the request: our own words, about the client's.
    untranslatable: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Telling {
    class: FailureClass,
    status: Option<u16>,
    retry_after: Option<Duration>,
}

impl Verdict {
    /// Takes note of a failure.
    pub(super) fn note(&mut self, failure: &Failure) {
        if failure.class == FailureClass::Untranslatable {
            self.untranslatable = Some(failure.detail.clone());
            return;
        }
        // What the client asked was something else.
        if failure.class == FailureClass::Unfit {
            return;
        }
        if self.last.is_none_or(|last| tells(failure.class) || !tells(last.class)) {
            self.last = Some(Telling {
                class: failure.class,
                status: failure.status,
                retry_after: failure.retry_after,
            });
        }
    }

    /// The refusal. `soonest`: when the first of the candidates that rest is free.
    pub(super) fn fault(&self, plan: &Plan, route: &Route, soonest: Option<Duration>, now: Timestamp) -> Fault {
        let fault = self.of_last(plan, route, soonest, now);
        if fault.kind.status() < 429 || !accounts::are_all(plan, route) {
            return fault;
        }
        // Which of an account's troubles it was is its operator's affair: to clients the service is not available.
        Fault {
            kind: FaultKind::Unavailable,
            ..fault
        }
    }

    fn of_last(&self, plan: &Plan, route: &Route, soonest: Option<Duration>, now: Timestamp) -> Fault {
        let Some(last) = self.last else {
            return match &self.untranslatable {
                Some(why) => Fault::new(FaultKind::Malformed, why.clone()),
                None => untried(plan, route, soonest, now),
            };
        };
        let model = &route.model;
        let (kind, message): (_, Cow<'static, str>) = match (last.class, last.status) {
            (FailureClass::RateLimited, _) => return limited(route, soonest.or(last.retry_after)),
            (FailureClass::Overloaded, None | Some(429 | 529)) => (
                FaultKind::Overloaded,
                format!("every upstream of model `{model}` is overloaded; try again later").into(),
            ),
            (FailureClass::Server | FailureClass::Overloaded, Some(status)) => (
                of_status(status),
                format!("the upstream of model `{model}` answered {status} on every attempt; try again later").into(),
            ),
            (FailureClass::Server | FailureClass::Reset, _) => (
                FaultKind::BadGateway,
                format!("the upstream of model `{model}` closed the connection; try again").into(),
            ),
            (FailureClass::Nonsense, _) => (
                FaultKind::BadGateway,
                format!("the upstream of model `{model}` gave an answer that cannot be understood").into(),
            ),
            (FailureClass::Silence, _) => (
                FaultKind::UpstreamTimeout,
                format!("no upstream of model `{model}` answered in time; try again").into(),
            ),
            (FailureClass::Connect, _) => (
                FaultKind::Unavailable,
                format!("no upstream of model `{model}` can be reached; try again later").into(),
            ),
            (FailureClass::Barred, _) => (
                FaultKind::Unavailable,
                format!("the address of the upstream of model `{model}` is not allowed; tell the operator").into(),
            ),
            (
                FailureClass::Auth
                | FailureClass::OutOfCredit
                | FailureClass::CreditShort
                | FailureClass::Untranslatable
                | FailureClass::Unfit,
                _,
            ) => (
                FaultKind::Unavailable,
                format!("no upstream of model `{model}` accepts the gateway's credentials; tell the operator").into(),
            ),
        };
        let fault = Fault::new(kind, message);
        match last.retry_after {
            Some(wait) => fault.retry_after(wait),
            None => fault,
        }
    }
}

/// Whether a failure tells the client something about the service, rather than the operator about the set-up.
const fn tells(class: FailureClass) -> bool {
    !matches!(
        class,
        FailureClass::Auth
            | FailureClass::OutOfCredit
            | FailureClass::CreditShort
            | FailureClass::Connect
            | FailureClass::Barred
    )
}

/// The kind that has the status of the upstream's last answer; what has no kind is a bad gateway.
const fn of_status(status: u16) -> FaultKind {
    match status {
        500 => FaultKind::UpstreamFailed,
        503 => FaultKind::Unavailable,
        504 => FaultKind::UpstreamTimeout,
        _ => FaultKind::BadGateway,
    }
}

/// Nothing was tried at all.
fn untried(plan: &Plan, route: &Route, soonest: Option<Duration>, now: Timestamp) -> Fault {
    let reasons = || plan.excluded.iter().map(|excluded| excluded.reason);
    if soonest.is_some() {
        return limited(route, soonest);
    }
    if !plan.order.is_empty() {
        return Fault::new(
            FaultKind::UpstreamTimeout,
            "the time for this request was over before it could be sent",
        );
    }
    if let Some(fault) = accounts::no_plan(plan, route) {
        return fault;
    }
    let is_final = |reason: &Exclusion| matches!(reason, Exclusion::Dialect | Exclusion::Capability(_));
    if reasons().any(|reason| !is_final(&reason)) {
        let model = &route.model;
        let said = reasons().filter(|reason| !is_final(reason) && *reason != Exclusion::Profile);
        let message = if said.clone().count() == 0 {
            format!("no upstream of model `{model}` has a credential for the profile of this key; tell the operator")
        } else if said
            .clone()
            .all(|reason| matches!(reason, Exclusion::DailyLimit { .. } | Exclusion::Paused { .. }))
        {
            format!("every credential of model `{model}` is used as much as the operator allows; try again later")
        } else {
            format!("no upstream of model `{model}` can be used at the moment; tell the operator")
        };
        let fault = Fault::new(FaultKind::Unavailable, message);
        // What the operator allows comes back at a known time; who may not wait for that asks somebody else at once.
        let allowed_again = |reason: Exclusion| match reason {
            Exclusion::DailyLimit { until } | Exclusion::Paused { until } => Some(until),
            _ => None,
        };
        return match said.filter_map(allowed_again).min() {
            Some(until) => fault.retry_after(until.since(now)),
            None => fault,
        };
    }
    incapable(plan, route).unwrap_or_else(|| other_dialect(plan, route))
}

/// 400: no target can do what the request needs, and trying again without a change cannot help.
fn incapable(plan: &Plan, route: &Route) -> Option<Fault> {
    let mut lacks: Vec<(Lack, String)> = Vec::new();
    for excluded in &plan.excluded {
        let (Exclusion::Capability(lack), Some(target)) = (excluded.reason, route.targets.get(excluded.choice.target))
        else {
            continue;
        };
        let known = (lack, format!("{}/{}", target.upstream.name, target.model));
        if !lacks.contains(&known) {
            lacks.push(known);
        }
    }
    let told: Vec<String> = lacks
        .iter()
        .map(|(lack, target)| match lack {
            Lack::Capability(one) => format!("{target} takes no {} (capability `{}`)", one.needed_by(), one.name()),
            Lack::Context { .. } => format!("the request is longer than the context window of {target}"),
        })
        .take(TOLD_MAX)
        .collect();
    let message = format!(
        "model `{}` cannot do what the request needs: {}; use another model, or leave it out",
        route.model,
        told.join("; ")
    );
    (!told.is_empty()).then(|| Fault::new(FaultKind::Malformed, message))
}

fn limited(route: &Route, soonest: Option<Duration>) -> Fault {
    let message = format!(
        "every upstream of model `{}` is limited by its provider; try again later",
        route.model
    );
    let fault = Fault::new(FaultKind::UpstreamLimited, message);
    match soonest {
        Some(wait) => fault.retry_after(wait),
        None => fault,
    }
}

/// 400 and not 404: the model exists and is listed; it is the request's format that has to change, and trying again
/// without a change cannot help.
fn other_dialect(plan: &Plan, route: &Route) -> Fault {
    let operation = plan.surface.operation;
    let mut spoken: Vec<Dialect> = route
        .targets
        .iter()
        .flat_map(|target| target.upstream.surfaces.keys())
        .filter(|surface| surface.operation == operation)
        .map(|surface| surface.dialect)
        .collect();
    spoken.sort_unstable();
    spoken.dedup();
    let names: Vec<&str> = spoken.into_iter().map(Dialect::name).collect();
    let (model, asked) = (&route.model, plan.surface.dialect);
    let message = if names.is_empty() {
        format!("model `{model}` is not offered for {operation} by any upstream; use another model")
    } else {
        let names = names.join(", ");
        format!(
            "model `{model}` is served only by upstreams that speak {names}, and this path speaks {asked}; \
             use a path of that format, or another model ({operation} is not translated)"
        )
    };
    Fault::new(FaultKind::Malformed, message)
}
