//! May this call run, and what is set aside for it.
//!
//! In this order: rate limits, then the request is read (a scan, not a parse), the model looked up, then money. What
//! is taken on the way (limiter slots, body bytes, the hold) sits in guards, so that a refusal further down gives it
//! all back.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialects::{Question, RequestFacts, ScanError};
use domain::snapshot::{Key, Route};
use domain::{CallId, Dialect, Failure, Fault, FaultKind, Money, Pin, Policy, Snapshot, Surface, Timestamp};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use metering::estimate::{self, Bound, HoldBound};
use metering::tasks::{self, Task};
use metering::{Exhausted, Hold};
use uuid::Uuid;

use crate::arrival::RequestBody;
use crate::authenticate::Caller;
use crate::budget::Share;
use crate::gateway::Inner;
use crate::inbound::CallPath;
use crate::limits::{HOLD_WAIT_MAX, MODEL_NAME_MAX};
use crate::recall::{self, Recalled};
use crate::recovery::{self, Resumption};
use crate::settle::Settlement;

/// A call that may run. Owns everything that it needs to its end.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) path: CallPath,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    pub(crate) facts: RequestFacts,
    pub(crate) route: Arc<Route>,
    /// Whose credentials it may use.
    pub(crate) profile: Option<Arc<str>>,
    /// Whether the client asked for a stream.
    pub(crate) stream: bool,
    /// Whether that stream is a JSON array (Gemini without `alt=sse`).
    pub(crate) json_array: bool,
    pub(crate) started: Timestamp,
    pub(crate) settlement: Settlement,
    /// The request in the common vocabulary, once a target needs it in another format.
    pub(crate) question: Option<Box<Question>>,
    /// The client's own instructions (Responses), where the operator's stand in front of them: an answer repeats what the
    /// client sent.
    pub(crate) instructions: Option<serde_json::Value>,
    /// What was remembered for it, where it names something or its answer is to be kept.
    pub(crate) recalled: Option<Box<Recalled>>,
    /// The response in the background that the upstream works on.
    pub(crate) job: Option<Arc<Pin>>,
    /// What an answer has told already that broke off, where another attempt is to go on with it.
    pub(crate) resumption: Option<Box<Resumption>>,
    /// Why a file of the request could not be fetched: it is not tried again for the next target.
    pub(crate) unfetched: Option<Failure>,
    pub(crate) share: Share,
}

impl Call {
    pub(crate) const fn surface(&self) -> Surface {
        self.path.surface
    }

    /// Lets go of the request once its answer has begun: a stream may live for minutes, and its headers and body would
    /// keep the connection's read buffer alive.
    pub(crate) fn forget_request(&mut self) {
        self.body = Bytes::new();
        // Unless it may be asked again: then it is kept as it was read, and counts as it came.
        if self.question.is_some() && recovery::is_on(self) {
            return;
        }
        self.question = None;
        self.head = http::Request::new(()).into_parts().0;
        self.share.shrink();
        if let Some(input) = self.recalled.as_ref().and_then(|recalled| recalled.input.as_ref())
            && !self.share.grow(input.len())
        {
            // There is no room to keep it to the end, so the answer will not be kept.
            self.recalled = None;
        }
    }

    /// Where the call must go, if it names something that lives there.
    pub(crate) fn pinned(&self) -> Option<routing::Pinned> {
        self.recalled.as_ref()?.pinned
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.path.surface.dialect
    }
}

/// Admits a call, or refuses it.
pub(crate) async fn admit(
    gateway: &Arc<Inner>,
    caller: Caller,
    path: CallPath,
    head: Parts,
    body: RequestBody,
    started: (Timestamp, Instant),
) -> Result<Box<Call>, Fault> {
    if !gateway.journal.healthy() {
        return Err(Fault::new(
            FaultKind::Unrecordable,
            "calls cannot be recorded at the moment; nothing was sent upstream",
        )
        .retry_after(Duration::from_secs(1)));
    }
    let Caller { key, snapshot } = caller;
    let permit = if key.limits == domain::limits::Limits::default() {
        None
    } else {
        // How many tokens files and pictures are, only the answer says.
        let has_files = path.surface.operation.makes_images() || is_form(&head);
        let text = if has_files { 0 } else { body.bytes.len() as u64 };
        let expected = estimate::input_tokens(text);
        let admitted = gateway
            .limiter(key.id)
            .admit(&key.limits, expected, gateway.clock.now());
        Some(admitted.map_err(|limited| {
            Fault::new(FaultKind::RateLimited, format!("the key is {limited}")).retry_after(limited.retry_after)
        })?)
    };
    let mut body = body;
    let mut facts = scan(path.surface, &head, &body.bytes)?;
    let mut own = (path.surface == recall::RESPONSES).then(|| body.bytes.clone());
    let mut recalled = None;
    if facts.references.is_some() {
        let looked = Box::pin(look_up(gateway, &key, &snapshot, path.surface, &mut body, facts)).await?;
        own = own.map(|_| looked.own);
        (recalled, facts) = (looked.recalled, looked.facts);
    }
    let model = path.model.as_deref().or(facts.model.as_deref());
    let model = model.or(path.surface.operation.default_model());
    let model = model.ok_or_else(|| Fault::new(FaultKind::Malformed, "the request names no `model`"))?;
    let route = find_route(&snapshot, &key, model)?;
    if let Some(recalled) = &recalled {
        recalled.check(&route, path.surface)?;
    }
    if let Some(own) = own.filter(|_| facts.keep) {
        let is_retold = route.recovery && facts.stream;
        recalled = recall::set_input_aside(gateway, recalled, &route, is_retold, &own)?;
    }
    let mut model = Cow::Borrowed(model);
    let mut instructions = None;
    if let Some(prompt) = &route.system_prompt {
        // What the operator adds is read, held for and paid like what the client wrote.
        let named = model.into_owned();
        instructions = (path.surface == recall::RESPONSES).then(|| dialects::own_instructions(&body.bytes));
        body.bytes = dialects::inject_system(path.surface, &body.bytes, prompt);
        facts = scan(path.surface, &head, &body.bytes)?;
        model = Cow::Owned(named);
    }
    let stream = path.method.map_or(facts.stream, |method| method.streams);
    if facts.background && gateway.recall.jobs.are_full(key.user.id) {
        let message = "too many responses are being worked out in the background already";
        return Err(Fault::new(FaultKind::Saturated, message).retry_after(Duration::from_secs(10)));
    }
    let account = gateway.accounts.get(key.user.id);
    let (hold, steps) = match key.user.policy {
        _ if !path.surface.operation.is_billed() => (None, None),
        Policy::Hard => {
            let bound = hold_bound(&route, &facts, path.surface, body.bytes.len())?;
            // Work in the background goes on without us, so all that it may cost is held at once.
            let steps = bound.steps.filter(|_| stream && !facts.background);
            let first = steps.map_or(bound.amount, |steps| steps.first);
            (Some(take_hold(&account, Policy::Hard, first).await?), steps)
        }
        // The least amount: nothing would always be granted, and soft asks only whether anything is left.
        Policy::Soft => (
            Some(take_hold(&account, Policy::Soft, Money::from_nanos(1)).await?),
            None,
        ),
        Policy::Unlimited => (Some(take_hold(&account, Policy::Unlimited, Money::ZERO).await?), None),
    };
    let json_array = path.method.is_some_and(|method| method.streams) && !asks_for_sse(&head);
    let id = CallId(Uuid::now_v7());
    let settlement = Settlement::open(
        gateway,
        id,
        &key,
        &path,
        &model,
        stream,
        Arc::clone(&route),
        body.bytes.len(),
        started,
    )
    .with_guards(hold, steps, permit)
    .with_units(facts.units.take())
    .bill_abandoned(snapshot.defaults.bill_abandoned);
    // In one place from here on: it goes through a dozen futures, each of which would keep room for it.
    Ok(Box::new(Call {
        gateway: Arc::clone(gateway),
        snapshot,
        path,
        head,
        body: body.bytes,
        facts,
        route,
        profile: key.profile.clone(),
        stream,
        json_array,
        started: started.0,
        settlement,
        question: None,
        instructions,
        recalled,
        job: None,
        resumption: None,
        unfetched: None,
        share: body.share,
    }))
}

/// Looks up what the request names. A conversation that is kept here is put in front of it.
async fn look_up(
    gateway: &Inner,
    key: &Key,
    snapshot: &Snapshot,
    surface: Surface,
    body: &mut RequestBody,
    facts: RequestFacts,
) -> Result<recall::Looked, Fault> {
    let request = recall::Request {
        surface,
        key,
        snapshot,
        body: body.bytes.clone(),
        facts,
    };
    let looked = recall::recall(gateway, request).await?;
    let added = looked.body.len().saturating_sub(body.bytes.len());
    if !body.share.grow(added) {
        let full = Fault::new(FaultKind::Saturated, "too many large requests at once");
        return Err(full.retry_after(Duration::from_secs(1)));
    }
    body.bytes = looked.body.clone();
    Ok(looked)
}

fn scan(surface: Surface, head: &Parts, body: &[u8]) -> Result<RequestFacts, Fault> {
    let scanned = match form_boundary(head).filter(|_| surface.operation.is_task()) {
        Some(boundary) => boundary.and_then(|boundary| dialects::scan_form(surface, boundary, body)),
        None => dialects::scan(surface, body),
    };
    scanned.map_err(|error| Fault::new(FaultKind::Malformed, format!("the request body: {error}")))
}

pub(crate) fn form_boundary(head: &Parts) -> Option<Result<&str, ScanError>> {
    let content_type = head.headers.get(CONTENT_TYPE)?;
    dialects::form_boundary(content_type.to_str().ok()?)
}

fn is_form(head: &Parts) -> bool {
    form_boundary(head).is_some()
}

fn asks_for_sse(head: &Parts) -> bool {
    head.uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"))
}

pub(crate) fn find_route(snapshot: &Snapshot, key: &Key, model: &str) -> Result<Arc<Route>, Fault> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    if !can_be_a_model(model) {
        return Err(Fault::new(
            FaultKind::NoSuchModel,
            format!("`{}` cannot be a model's name", shown(model)),
        ));
    }
    if !key.may_use(model) {
        return Err(Fault::new(
            FaultKind::Forbidden,
            format!("the key may not use the model `{}`", shown(model)),
        ));
    }
    snapshot.route(model).ok_or_else(|| {
        Fault::new(
            FaultKind::NoSuchModel,
            format!(
                "no upstream serves a model `{}`; GET /v1/models lists those that exist",
                shown(model)
            ),
        )
    })
}

/// Whether a model can be called so, whatever globs are declared. A name goes into the receipt, into the key of the
/// statistics and, in Gemini's format, into the upstream's path: one that is too long could be answered and not booked,
/// and dot segments could lead to another model than the one that was allowed and priced.
fn can_be_a_model(name: &str) -> bool {
    name.len() <= MODEL_NAME_MAX && !name.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// A name as an error may repeat it: bounded.
fn shown(name: &str) -> String {
    const SHOWN_MAX: usize = 128;
    name.chars().take(SHOWN_MAX).collect()
}

/// What the call may cost at most, at the dearest of its targets: failover may go there.
pub(crate) fn hold_bound(
    route: &Route,
    facts: &RequestFacts,
    surface: Surface,
    body_bytes: usize,
) -> Result<HoldBound, Fault> {
    let mut highest: Option<HoldBound> = None;
    for target in &route.targets {
        let unpriced = || {
            let message = format!(
                "the model `{}` has no price at upstream `{}`, and this account pays in advance; an operator must declare its price or declare it free",
                route.model, target.upstream.name
            );
            Fault::new(FaultKind::Unpriced, message)
        };
        let price = target.price.as_ref().ok_or_else(unpriced)?;
        if let Some(units) = &facts.units {
            let task = Task {
                operation: surface.operation,
                units,
                context: target.context,
                max_output: target.max_output,
            };
            let amount = tasks::hold_for(&task, price).ok_or_else(unpriced)?;
            if highest.as_ref().is_none_or(|highest| amount > highest.amount) {
                highest = Some(HoldBound { amount, steps: None });
            }
            continue;
        }
        let mut bound = Bound {
            body_bytes: body_bytes as u64,
            by_reference: facts.by_reference,
            inline_media: u64::from(facts.inline_media),
            tools: facts.tools,
            searches: facts.searches,
            output_bound: facts.output_bound,
            choices: facts.choices,
            context: target.context,
            max_output: target.max_output,
            generates: surface.operation.generates(),
        };
        bound.searches = bound.searches.max(u64::from(dialects::always_searches(&target.model)));
        let served = target.serving(surface, facts.wants_chat).unwrap_or(surface);
        let params = target.upstream.params_of(served);
        if !params.is_empty() {
            add_params(&mut bound, served, params);
        }
        let bound = estimate::hold_for(&bound, price);
        if highest.as_ref().is_none_or(|highest| bound.amount > highest.amount) {
            highest = Some(bound);
        }
    }
    highest.ok_or_else(|| Fault::new(FaultKind::NoSuchModel, "the model has no target"))
}

/// What an upstream's `params` make of the bound. They replace members of the same name and join the others, so of both
/// the larger holds.
fn add_params(bound: &mut Bound, served: Surface, params: &[(String, String)]) {
    let members: Vec<String> = params
        .iter()
        .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name.as_str())))
        .collect();
    let added = format!("{{{}}}", members.join(","));
    bound.body_bytes += added.len() as u64;
    // What cannot be read is refused by the provider too.
    let Ok(facts) = dialects::scan(served, added.as_bytes()) else {
        return;
    };
    bound.by_reference |= facts.by_reference;
    bound.inline_media += u64::from(facts.inline_media);
    bound.tools |= facts.tools;
    bound.searches += facts.searches;
    bound.output_bound = bound.output_bound.max(facts.output_bound);
    bound.choices = bound.choices.max(facts.choices);
}

pub(crate) async fn take_hold(account: &Arc<metering::Account>, policy: Policy, amount: Money) -> Result<Hold, Fault> {
    let taking = poll_fn(|cx| account.poll_hold(cx, policy, amount));
    match tokio::time::timeout(HOLD_WAIT_MAX, taking).await {
        Ok(Ok(hold)) => Ok(hold),
        // Soft asks only whether anything is left; what it asked for says nothing to the client.
        Ok(Err(Exhausted::Balance { left, .. })) if policy == Policy::Soft => Err(Fault::new(
            FaultKind::BalanceExhausted,
            format!("the balance is used up: {left} dollars are left"),
        )),
        Ok(Err(exhausted)) => Err(Fault::new(FaultKind::BalanceExhausted, exhausted.to_string())),
        Err(_) => Err(Fault::new(
            FaultKind::BalanceExhausted,
            "what is left of the balance is held by other calls; try again when they have ended",
        )
        .retry_after(Duration::from_secs(1))),
    }
}
