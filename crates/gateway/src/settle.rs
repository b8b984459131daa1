//! The end of a call, exactly once.
//!
//! Whatever way a call ends, its [`Settlement`] writes the receipt: on purpose through [`Settlement::finish`], or from
//! `Drop` when the client vanished and nobody is left to call it. Metrics and the access log are written here and
//! nowhere else, so the three can never disagree.
//!
//! This file is an account from its opening to its one end. What happens to it on the way has files of its own: the hold that
//! grows ([`growth`]), attempts that broke off ([`broken`]) or ran beside each other ([`twin`]), work in the
//! [`background`], the requests of a [`batch`]. At the end, [`charging`] says what it costs and [`receipt`] what is written down.

mod background;
mod batch;
mod broken;
mod charging;
mod growth;
mod outcome;
mod receipt;
mod twin;

use std::sync::Arc;
use std::time::Instant;

use domain::snapshot::{Key, Route, User};
use domain::{AttemptRecord, CallId, Ending, Fault, KeyId, Money, Operation, Surface, Timestamp, Units};
use metering::estimate::Steps;
use metering::{Hold, Permit};
use routing::{Choice, Trace};

use crate::gateway::Inner;
use crate::inbound::CallPath;
use crate::recall::{self, RESPONSES};
use crate::stop::{self, Stage};
use broken::BrokenOff;
use growth::Growth;
pub(crate) use outcome::{Outcome, Served, Settled, unrecorded};
pub(crate) use receipt::attempt_record;
use receipt::log;
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

    /// Another account of the same call: nothing is held, tried or noted in it, and dropping it writes no receipt.
    fn of_same_call(&self) -> Self {
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
            hold: None,
            units: None,
            session: None,
            growth: None,
            permit: None,
            bill_abandoned: self.bill_abandoned,
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

    /// Notes what the client's format could not say of the answer, with the attempt that served it.
    pub(crate) fn lost(&mut self, losses: &[dialects::Loss]) {
        let served = self.attempts.iter_mut().rev().find(|attempt| !attempt.cancelled);
        if let (Some(last), false) = (served, losses.is_empty()) {
            last.losses.extend(crate::translation::shown(losses));
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
