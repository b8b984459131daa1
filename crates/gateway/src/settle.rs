//! The end of a call, exactly once.
//!
//! Whatever way a call ends, its [`Settlement`] writes the receipt: on purpose through [`Settlement::finish`], or from
//! `Drop` when the client vanished and nobody is left to call it. Metrics and the access log are written here and
//! nowhere else, so the three can never disagree.

mod twin;

use std::sync::Arc;
use std::time::Instant;

use dialects::{Report, UsageReport};
use domain::snapshot::{Credential, Key, Route, Target, User};
use domain::{
    AttemptRecord, Broke, CallId, CredentialId, Ending, Failure, FailureClass, Fault, FaultKind, Job, KeyId, Money,
    Operation, Policy, Receipt, Surface, Timestamp, Units, UsageSource,
};
use metering::charge::{self, Charge, Reported};
use metering::estimate::{self, Steps};
use metering::{Hold, Permit};
use routing::{Choice, Trace};
use store::Ticket;

use crate::decisions;
use crate::gateway::Inner;
use crate::inbound::CallPath;
use crate::recall::{self, RESPONSES};
use crate::stop::{self, Stage};
use twin::Pair;

/// The open account of a call.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one call")]
pub(crate) struct Settlement {
    gateway: Arc<Inner>,
    pub(crate) call: CallId,
    session: Option<CallId>,
    user: Arc<User>,
    key: KeyId,
    surface: Surface,
    model: String,
    stream: bool,
    route: Arc<Route>,
    body_bytes: usize,
    started: Timestamp,
    started_instant: Instant,
    hold: Option<Hold>,
    /// Where the output has no bound: what each further stretch of it may cost.
    growth: Option<Growth>,
    /// What a task asks for.
    units: Option<Box<Units>>,
    permit: Option<Permit>,
    bill_abandoned: bool,
    hold_ran_out: bool,
    /// Whether the hold is that of many receipts (a batch's): each takes its part.
    is_shared: bool,
    pub(crate) attempts: Vec<AttemptRecord>,
    /// The attempt that is under way, and when it began.
    pub(crate) trying: Option<(Choice, u32)>,
    /// Those of them that broke off and were gone on with.
    broke: Vec<BrokenOff>,
    /// What there is to know of two attempts beside each other; nothing for nearly every call.
    pair: Option<Box<Pair>>,
    /// What the decision was made from, where it may be kept.
    pub(crate) trace: Option<Box<Trace>>,
    open: bool,
}

/// An attempt that broke off, and what the next one makes of it.
#[derive(Clone, Copy, Debug)]
struct BrokenOff {
    cost: Money,
    /// Bytes of what was told so far, which the next attempt is given as part of its prompt.
    told_bytes: u64,
}

/// A hold that grows with the output of a stream whose client gave no bound.
#[derive(Clone, Copy, Debug)]
struct Growth {
    steps: Steps,
    covered_tokens: u64,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) ending: Ending,
    /// What the client got.
    pub(crate) status: u16,
    /// Who answered, if anybody did.
    pub(crate) served: Option<Served<'a>>,
    pub(crate) first_content: Option<Timestamp>,
    pub(crate) error: Option<String>,
}

/// What an upstream delivered.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    pub(crate) target: &'a Target,
    pub(crate) credential: CredentialId,
    pub(crate) report: Report,
    /// Whether content went to the client.
    pub(crate) relayed: bool,
    /// Tokens of sound that did, where nobody reports them.
    pub(crate) sound_tokens: u64,
}

/// What a finished call cost, and the durability of its receipt.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) charged: Money,
    pub(crate) ticket: Ticket,
}

impl Settlement {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with what admission has just found out"
    )]
    pub(crate) fn open(
        gateway: &Arc<Inner>,
        call: CallId,
        key: &Key,
        path: &CallPath,
        model: &str,
        stream: bool,
        route: Arc<Route>,
        body_bytes: usize,
        (started, started_instant): (Timestamp, Instant),
    ) -> Self {
        gateway.metrics.call_opened();
        Self {
            gateway: Arc::clone(gateway),
            call,
            session: None,
            user: Arc::clone(&key.user),
            key: key.id,
            surface: path.surface,
            model: model.to_owned(),
            stream,
            route,
            body_bytes,
            started,
            started_instant,
            hold: None,
            growth: None,
            units: None,
            permit: None,
            bill_abandoned: true,
            hold_ran_out: false,
            is_shared: false,
            attempts: Vec::new(),
            trying: None,
            broke: Vec::new(),
            pair: None,
            trace: None,
            open: true,
        }
    }

    pub(crate) fn with_guards(mut self, hold: Option<Hold>, steps: Option<Steps>, permit: Option<Permit>) -> Self {
        (self.hold, self.permit) = (hold, permit);
        self.growth = steps.map(|steps| Growth {
            steps,
            covered_tokens: steps.step_tokens,
        });
        self
    }

    pub(crate) fn with_units(mut self, units: Option<Box<Units>>) -> Self {
        self.units = units;
        self
    }

    /// For a response within a session: what joins them.
    pub(crate) const fn within(mut self, session: CallId) -> Self {
        self.session = Some(session);
        self
    }

    pub(crate) const fn bill_abandoned(mut self, bill: bool) -> Self {
        self.bill_abandoned = bill;
        self
    }

    /// Who pays, and the key that was used.
    pub(crate) fn payer(&self) -> (domain::UserId, KeyId) {
        (self.user.id, self.key)
    }

    /// What a restarted server needs to bill the call, which goes on in the background at `target`.
    pub(crate) fn job(&self, target: &str) -> Job {
        Job {
            call: self.call,
            model: self.model.clone(),
            target: target.to_owned(),
            stream: self.stream,
            started: self.started,
            body_bytes: self.body_bytes as u64,
            hold: self.hold.as_ref().map_or(Money::ZERO, Hold::amount),
            batch: None,
            operation: None,
        }
    }

    /// Where a request of a batch is estimated, it is by its part of what all of them are.
    pub(crate) const fn share_body(&mut self, requests: usize) {
        if let Some(share) = self.body_bytes.checked_div(requests) {
            self.body_bytes = share;
        }
    }

    /// Turns to the next request of a batch: an account of its own that shares the hold of the whole.
    pub(crate) fn turn_to(&mut self, call: CallId, surface: Surface, route: Arc<Route>) {
        if !self.is_shared {
            self.is_shared = true;
            self.session = Some(self.call);
        }
        self.gateway.metrics.call_opened();
        (self.call, self.surface) = (call, surface);
        self.model.clone_from(&route.model);
        self.route = route;
    }

    /// Turns back from its requests to the batch itself.
    pub(crate) const fn turn_back(&mut self, surface: Surface) {
        if let Some(batch) = self.session.take() {
            self.call = batch;
        }
        (self.surface, self.is_shared) = (surface, false);
    }

    /// Takes the account of a call along whose work goes on without its client. Dropping it writes no receipt: the work is
    /// in the database, and is billed when it is looked at next.
    pub(crate) fn hand_over(&mut self) -> Self {
        self.open = false;
        // The client's slot is free again.
        self.permit = None;
        Self {
            gateway: Arc::clone(&self.gateway),
            call: self.call,
            user: Arc::clone(&self.user),
            key: self.key,
            surface: self.surface,
            model: self.model.clone(),
            stream: self.stream,
            route: Arc::clone(&self.route),
            body_bytes: self.body_bytes,
            started: self.started,
            started_instant: self.started_instant,
            hold: self.hold.take(),
            units: self.units.take(),
            session: None,
            growth: None,
            permit: None,
            bill_abandoned: self.bill_abandoned,
            hold_ran_out: self.hold_ran_out,
            is_shared: self.is_shared,
            attempts: std::mem::take(&mut self.attempts),
            trying: None,
            broke: std::mem::take(&mut self.broke),
            pair: self.pair.take(),
            trace: self.trace.take(),
            open: false,
        }
    }

    /// The account of a call whose work was begun by an earlier process.
    pub(crate) fn reopen(gateway: &Arc<Inner>, user: Arc<User>, key: KeyId, job: &Job, route: Arc<Route>) -> Self {
        gateway.metrics.call_opened();
        let policy = user.policy;
        let hold = gateway.accounts.get(user.id).hold_again(policy, job.hold);
        Self {
            gateway: Arc::clone(gateway),
            call: job.call,
            user,
            key,
            surface: RESPONSES,
            model: job.model.clone(),
            stream: job.stream,
            route,
            body_bytes: usize::try_from(job.body_bytes).unwrap_or(usize::MAX),
            started: job.started,
            started_instant: gateway.clock.instant(job.started),
            hold: Some(hold),
            units: None,
            session: None,
            growth: None,
            permit: None,
            bill_abandoned: true,
            hold_ran_out: false,
            is_shared: false,
            attempts: Vec::new(),
            trying: None,
            broke: Vec::new(),
            pair: None,
            trace: None,
            open: false,
        }
    }

    /// Bytes of the request, by which its tokens are estimated.
    pub(crate) const fn body_bytes(&self) -> u64 {
        self.body_bytes as u64
    }

    pub(crate) const fn gateway(&self) -> &Arc<Inner> {
        &self.gateway
    }

    /// Where the call goes.
    pub(crate) const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whether the hold grows with the output.
    pub(crate) const fn is_stepped(&self) -> bool {
        self.growth.is_some()
    }

    /// Enlarges the hold so that it stays half a step ahead of `content_bytes` of output; `Err` when the balance does
    /// not reach that far.
    pub(crate) fn cover(&mut self, content_bytes: u64) -> Result<(), Fault> {
        let (Some(hold), Some(growth)) = (&mut self.hold, &mut self.growth) else {
            return Ok(());
        };
        let ahead = estimate::output_tokens(content_bytes) + growth.steps.step_tokens / 2;
        while growth.covered_tokens < ahead {
            if let Err(exhausted) = hold.grow(growth.steps.step) {
                self.hold_ran_out = true;
                return Err(Fault::new(FaultKind::BalanceExhausted, exhausted.to_string()));
            }
            growth.covered_tokens += growth.steps.step_tokens;
        }
        Ok(())
    }

    /// Notes what the client's format could not say of the answer, with the attempt that served it.
    pub(crate) fn lost(&mut self, losses: &[dialects::Loss]) {
        let served = self.attempts.iter_mut().rev().find(|attempt| !attempt.cancelled);
        if let (Some(last), false) = (served, losses.is_empty()) {
            last.losses.extend(crate::translation::shown(losses));
        }
    }

    /// Enlarges the hold to the output that the provider reports, as far as the balance reaches: of a stream only the
    /// visible part could be covered on the way, and hidden reasoning is often the larger one.
    fn cover_reported(&mut self, outcome: &Outcome<'_>) {
        let Some(UsageReport::Possible(usage)) = outcome.served.as_ref().map(|served| &served.report.usage) else {
            return;
        };
        let (Some(hold), Some(growth)) = (&mut self.hold, &mut self.growth) else {
            return;
        };
        while growth.covered_tokens < usage.output && hold.grow(growth.steps.step).is_ok() {
            growth.covered_tokens += growth.steps.step_tokens;
        }
    }

    /// The attempt that served broke off, and another is sought to go on with its answer, of which these bytes were told.
    /// What it used is recorded with it; nobody is charged for it.
    pub(crate) fn broke_off(&mut self, served: Served<'_>, failure: &Failure, told_bytes: u64) {
        let charge = self.charge(&Outcome {
            ending: Ending::UpstreamGone,
            status: 200,
            served: Some(served),
            first_content: None,
            error: None,
        });
        let cost = charge.cost;
        self.broke.push(BrokenOff { cost, told_bytes });
        let elapsed_ms = self.elapsed_ms();
        let Some(last) = self.attempts.last_mut() else { return };
        tracing::warn!(
            call = %self.call, upstream = last.upstream_name, credential = last.credential_name,
            class = failure.class.name(), detail = failure.detail, "an answer broke off; it may be gone on with"
        );
        last.failure = Some(failure.class);
        last.took_ms = elapsed_ms.saturating_sub(last.started_ms);
        last.broke = Some(Box::new(Broke {
            usage: charge.usage,
            usage_source: charge.source,
            cost: charge.cost,
        }));
    }

    /// The stream of the attempt that serves has ended, well or in a failure. One that failed before is left as it is.
    pub(crate) fn stream_ended(&mut self, failure: Option<FailureClass>) {
        let elapsed_ms = self.elapsed_ms();
        let Some(last) = self.attempts.last_mut().filter(|last| last.failure.is_none()) else {
            return;
        };
        last.failure = failure;
        last.took_ms = elapsed_ms.saturating_sub(last.started_ms);
    }

    /// Nobody went on with it: the call ends with the attempt that broke off, and is the record of what it used.
    pub(crate) fn broke_off_for_good(&mut self) {
        self.broke.pop();
        let last = self.attempts.iter_mut().rev().find(|attempt| attempt.broke.is_some());
        if let Some(last) = last {
            last.broke = None;
        }
    }

    /// Milliseconds since the call began.
    pub(crate) fn elapsed_ms(&self) -> u32 {
        u32::try_from(self.started_instant.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// Ends the call: what it costs is worked out, journalled, and taken. `Err`: it could not be journalled, so the
    /// end of the answer must not be released.
    pub(crate) fn finish(&mut self, outcome: &Outcome<'_>) -> Result<Settled, Fault> {
        self.open = false;
        if let Some(served) = outcome.served.as_ref().filter(|_| self.surface == RESPONSES) {
            recall::note_item(&self.gateway, self.payer(), served);
        }
        let finished_at = self.gateway.clock.now();
        let took_ms = self.elapsed_ms();
        self.cover_reported(outcome);
        let mut charge = self.charge(outcome);
        charge.cost = self
            .broke
            .iter()
            .fold(charge.cost + self.given_up(), |sum, broke| sum + broke.cost);
        let receipt = self.receipt(outcome, &charge, finished_at, took_ms);
        let appended = self.gateway.journal.append(&receipt.to_json());
        self.gateway.metrics.call_ended(
            &receipt,
            outcome.served.as_ref().map(|served| &*served.target.upstream.name),
        );
        log(&receipt);
        if let Some(permit) = self.permit.take() {
            permit.correct(receipt.usage.total(), finished_at);
        }
        match appended {
            Ok(ticket) => {
                self.take(charge.charged);
                Ok(Settled {
                    charged: charge.charged,
                    ticket,
                })
            }
            Err(error) => {
                self.hold = None;
                tracing::error!(call = %self.call, %error, receipt = ?receipt, "a receipt could not be journalled");
                Err(unrecorded())
            }
        }
    }

    /// Ends a call that has no answer, unless it has ended before (its receipt could not be written, say).
    pub(crate) fn abandon(&mut self, status: u16, fault: &Fault) {
        if self.open {
            self.keep_trying();
            let outcome = Outcome {
                ending: Ending::Failed,
                status,
                served: None,
                first_content: None,
                error: Some(fault.message.to_string()),
            };
            if self.finish(&outcome).is_err() {
                tracing::error!(call = %self.call, "the receipt of a failed call is lost; it charged nothing");
            }
        }
    }

    /// Keeps the attempt that was under way, and the one beside it.
    fn keep_trying(&mut self) {
        let running = self.running();
        self.trying = None;
        self.attempts.extend(running);
        self.take_left_behind();
    }

    /// From held to spent. Calls without a hold (free operations) spend nothing.
    fn take(&mut self, charged: Money) {
        if let Some(hold) = self.hold.as_mut().filter(|_| self.is_shared) {
            hold.charge(charged);
        } else if let Some(hold) = self.hold.take() {
            hold.settle(charged);
        }
    }

    fn charge(&self, outcome: &Outcome<'_>) -> Charge {
        let Some(served) = &outcome.served else {
            return Charge::default();
        };
        let price = self.route.price_of(served.target, served.report.model.as_deref());
        let reported = match &served.report.usage {
            UsageReport::None => Reported::None,
            UsageReport::Possible(usage) => Reported::Possible(*usage),
            UsageReport::Impossible { .. } => Reported::Impossible,
        };
        let facts = charge::Facts {
            operation: self.surface.operation,
            ending: outcome.ending,
            hold_ran_out: self.hold_ran_out,
            status_ok: served.report.failure.is_none() && (200..300).contains(&outcome.status),
            reported,
            relayed_content: served.relayed,
            content_bytes: served.report.content_bytes,
            sound_tokens: served.sound_tokens,
            body_bytes: self.body_bytes as u64,
            begun_bytes: self.broke.last().map_or(0, |broke| broke.told_bytes),
            units: self.units.as_deref(),
            price: price.as_deref(),
            service_tier: served.report.service_tier.as_deref(),
            policy: self.user.policy,
            hold: self.hold.as_ref().map_or(Money::ZERO, Hold::amount),
            bill_abandoned: self.bill_abandoned,
        };
        self.with_side_usage(charge::charge(&facts), charge::is_chargeable(&facts), served)
    }

    /// Adds what other models did for this answer (an advisor, one that declined before a fallback): the provider bills
    /// it beside the usage, at those models' prices. Only where the answer itself is charged.
    fn with_side_usage(&self, mut charge: Charge, is_chargeable: bool, served: &Served<'_>) -> Charge {
        let is_charged = is_chargeable && charge.source == UsageSource::Reported;
        for side in &served.report.side_usage {
            let Some(price) = self.route.price_of(served.target, side.model.as_deref()) else {
                continue;
            };
            let cost = metering::cost(&side.usage, metering::rates_for(&price, &side.usage, None));
            charge.cost += cost;
            if is_charged {
                let room = match (self.user.policy, &self.hold) {
                    (Policy::Hard, Some(hold)) => hold.amount() - charge.charged,
                    _ => Money::MAX,
                };
                let taken = cost.min(room);
                charge.charged += taken;
                charge.uncollected += cost - taken;
            }
        }
        charge
    }

    fn receipt(&mut self, outcome: &Outcome<'_>, charge: &Charge, finished_at: Timestamp, took_ms: u32) -> Receipt {
        let served = outcome.served.as_ref();
        let usage_raw = served.and_then(|served| match &served.report.usage {
            UsageReport::Impossible { raw, .. } => Some(raw.clone()),
            _ => None,
        });
        let decision = decisions::kept(self, outcome);
        let since_start = |at: Timestamp| u32::try_from(at.since(self.started).as_millis()).unwrap_or(u32::MAX);
        Receipt {
            call: self.call,
            session: self.session,
            started_at: self.started,
            finished_at,
            user: self.user.id,
            key: self.key,
            operation: self.surface.operation,
            dialect: self.surface.dialect,
            stream: self.stream,
            model: self.model.clone(),
            upstream: served.map(|served| served.target.upstream.id),
            credential: served.map(|served| served.credential),
            answered_model: served.map(|served| answered_model(served)),
            status: outcome.status,
            ending: outcome.ending,
            usage: charge.usage,
            usage_source: charge.source,
            usage_raw,
            rates: charge.rates,
            cost: charge.cost,
            charged: charge.charged,
            uncollected: charge.uncollected,
            decision,
            attempts: std::mem::take(&mut self.attempts),
            first_content_ms: outcome.first_content.map(since_start),
            took_ms,
            error: outcome.error.clone(),
        }
    }
}

/// What is kept of an attempt, before anything is known of how it ended.
pub(crate) fn attempt_record(target: &Target, credential: &Credential, started_ms: u32, took_ms: u32) -> AttemptRecord {
    AttemptRecord {
        upstream: target.upstream.id,
        upstream_name: target.upstream.name.clone(),
        credential: credential.id,
        credential_name: credential.name.clone(),
        model: target.model.to_string(),
        status: None,
        failure: None,
        started_ms,
        took_ms,
        dialect: None,
        losses: Vec::new(),
        recovered: None,
        broke: None,
        hedge: false,
        cancelled: false,
    }
}

/// The refusal of an answer whose receipt cannot be written.
pub(crate) fn unrecorded() -> Fault {
    Fault::new(
        FaultKind::Unrecordable,
        "the call could not be recorded, so its answer is withheld",
    )
}

fn answered_model(served: &Served<'_>) -> String {
    served
        .report
        .model
        .clone()
        .unwrap_or_else(|| served.target.model.to_string())
}

fn log(receipt: &Receipt) {
    let quarantined = receipt.usage_source == UsageSource::Quarantined;
    if quarantined {
        tracing::warn!(call = %receipt.call, raw = receipt.usage_raw, "impossible usage is quarantined and not charged");
    }
    match receipt.ending {
        Ending::Complete | Ending::ClientGone => tracing::debug!(
            target: "tollgate::access",
            call = %receipt.call, model = receipt.model, status = receipt.status, ending = receipt.ending.name(),
            took_ms = receipt.took_ms, charged = %receipt.charged, "call"
        ),
        _ => tracing::warn!(
            target: "tollgate::access",
            call = %receipt.call, model = receipt.model, status = receipt.status, ending = receipt.ending.name(),
            took_ms = receipt.took_ms, attempts = receipt.attempts.len(), error = receipt.error, "call"
        ),
    }
}

impl Drop for Settlement {
    /// The client went away before there was an answer: nothing was consumed that it could pay for.
    fn drop(&mut self) {
        if self.open {
            if self.gateway.stop.has_reached(Stage::Cutting) {
                let fault = stop::fault();
                return self.abandon(fault.kind.status(), &fault);
            }
            self.keep_trying();
            let operation: Operation = self.surface.operation;
            let is_answered = !self.broke.is_empty();
            let outcome = Outcome {
                ending: Ending::ClientGone,
                status: if is_answered { 200 } else { 499 },
                served: None,
                first_content: None,
                error: Some(format!("the client went away before the {operation} was answered")),
            };
            if self.finish(&outcome).is_err() {
                tracing::error!(call = %self.call, "the receipt of an abandoned call is lost; it charged nothing");
            }
        } else {
            self.leave_behind();
        }
    }
}
