//! The account of an attempt that runs beside another one of the same call.
//!
//! Two attempts that run at once cannot write into one list, so the second has an account of its own, which holds no money,
//! counts nothing and writes no receipt: it only collects. In the end what it has joins the call's. Should the client go away
//! before, it is left where the call's account finds it, because that one is dropped last.

use std::sync::Arc;

use domain::{AttemptRecord, Broke, Money, Policy, Usage, UsageSource};
use metering::{Account, Exhausted, Hold, estimate};
use parking_lot::Mutex;

use super::{Settlement, attempt_record};
use crate::dispatch::chosen;

/// What an account keeps of two attempts beside each other.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// What those may have cost that were given up.
    given_up: Money,
    /// Where the second's account leaves what it has, should the client go away.
    left: Option<Arc<Mutex<Vec<AttemptRecord>>>>,
}

/// As much again as is held for a call: nothing for one that is free.
#[derive(Debug)]
pub(crate) struct SecondHold(Option<(Arc<Account>, Policy, Money)>);

impl SecondHold {
    /// Holds it, so that both of two attempts are covered, if it is to be had at this moment. A call that has one attempt
    /// already does not wait for a second.
    pub(crate) fn take(self) -> Result<Option<Hold>, Exhausted> {
        let wanted = self.0;
        wanted
            .map(|(account, policy, amount)| account.try_hold(policy, amount))
            .transpose()
    }
}

impl Settlement {
    /// An account for an attempt beside the one that runs.
    pub(crate) fn twin(&mut self) -> Self {
        let left = Arc::default();
        let pair = || {
            Box::new(Pair {
                given_up: Money::ZERO,
                left: Some(Arc::clone(&left)),
            })
        };
        self.pair = Some(pair());
        let mut twin = self.of_same_call();
        twin.session = self.session;
        twin.pair = Some(pair());
        twin
    }

    /// What to ask for as much again as is held for the call, once a second attempt is to begin.
    pub(crate) fn second_hold(&self) -> SecondHold {
        SecondHold(self.hold.as_ref().map(|hold| {
            let account = self.gateway.accounts.get(self.user.id);
            (account, self.user.policy, hold.amount())
        }))
    }

    /// The attempt that runs is given up. What it asked for may be worked on all the same, and nobody will say what that used:
    /// at least the prompt. Nobody is charged for it.
    pub(crate) fn give_up(&mut self) {
        let Some(mut record) = self.running() else { return };
        record.cancelled = true;
        let broke = self.trying.take().map(|(choice, _)| self.asked_for_nothing(choice));
        if let Some(broke) = broke.filter(|_| self.surface.operation.is_billed()) {
            self.pair.get_or_insert_default().given_up += broke.cost;
            record.broke = Some(Box::new(broke));
        }
        self.attempts.push(record);
    }

    fn asked_for_nothing(&self, choice: routing::Choice) -> Broke {
        let usage = Usage {
            input: estimate::input_tokens(self.body_bytes as u64),
            ..Usage::default()
        };
        let target = self.route.targets.get(choice.target);
        let price = target.and_then(|target| self.route.price_of(target, None));
        Broke {
            usage,
            usage_source: UsageSource::Estimated,
            cost: price.map_or(Money::ZERO, |price| {
                metering::cost(&usage, metering::rates_for(&price, &usage, None))
            }),
        }
    }

    /// The record of the attempt that runs, as if it ended now.
    pub(super) fn running(&self) -> Option<AttemptRecord> {
        let (choice, started_ms) = self.trying?;
        let (target, credential) = chosen(&self.route, choice).ok()?;
        let took_ms = self.elapsed_ms().saturating_sub(started_ms);
        Some(attempt_record(target, credential, started_ms, took_ms))
    }

    /// What attempts may have cost that were given up.
    pub(super) fn given_up(&self) -> Money {
        self.pair.as_ref().map_or(Money::ZERO, |pair| pair.given_up)
    }

    /// Takes over what the account of the attempt beside has.
    pub(crate) fn join(&mut self, twin: &mut Self) {
        let given_up = self.given_up() + twin.given_up();
        twin.pair = None;
        self.pair = (given_up > Money::ZERO).then(|| Box::new(Pair { given_up, left: None }));
        self.attempts.extend(twin.attempts.drain(..).map(of_hedge));
    }

    /// Leaves what this account has for that of the call. Nothing, unless two attempts were running.
    pub(super) fn leave_behind(&mut self) {
        if let Some(left) = self.pair.take().and_then(|pair| pair.left) {
            let running = self.running();
            left.lock().extend(self.attempts.drain(..).chain(running).map(of_hedge));
        }
    }

    /// Takes what the account of the attempt beside has left. The client went away from both.
    pub(super) fn take_left_behind(&mut self) {
        if let Some(left) = self.pair.as_mut().and_then(|pair| pair.left.take()) {
            let left = std::mem::take(&mut *left.lock());
            if !left.is_empty() {
                self.gateway.metrics.hedged("abandoned");
            }
            self.attempts.extend(left);
        }
    }
}

fn of_hedge(record: AttemptRecord) -> AttemptRecord {
    AttemptRecord { hedge: true, ..record }
}
