//! The account of work that goes on in the background when its client has gone.
//!
//! It is handed over to whoever looks at the work next; after a restart it is opened again from what the database kept, with as
//! much held as before.

use std::sync::Arc;

use domain::snapshot::{Route, User};
use domain::{Job, KeyId, Money};
use metering::Hold;

use super::Settlement;
use crate::gateway::Inner;
use crate::recall::RESPONSES;

impl Settlement {
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

    /// Takes the account of a call along whose work goes on without its client. Dropping it writes no receipt: the work is
    /// in the database, and is billed when it is looked at next.
    pub(crate) fn hand_over(&mut self) -> Self {
        self.open = false;
        // The client's slot is free again.
        self.permit = None;
        let mut taken = self.of_same_call();
        taken.hold = self.hold.take();
        taken.units = self.units.take();
        taken.hold_ran_out = self.hold_ran_out;
        taken.is_shared = self.is_shared;
        taken.attempts = std::mem::take(&mut self.attempts);
        taken.broke = std::mem::take(&mut self.broke);
        taken.pair = self.pair.take();
        taken.trace = self.trace.take();
        taken
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
}
