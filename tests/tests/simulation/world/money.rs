//! Where a call ends, and where the ledger learns of it.

use domain::{Ending, Money, Operation};
use metering::{Facts, Reported, charge};
use rand::Rng as _;

use super::{Event, World};

impl World {
    /// The one place where a call ends: charge, journal, settle, give everything back.
    pub(super) fn end(&mut self, call: usize, ending: Ending, hold_ran_out: bool) {
        let now = self.now;
        let state = &mut self.calls[call];
        assert_eq!(state.ended.replace(ending), None, "a call ended twice");
        let relayed_content = state.relayed > 0 || (ending == Ending::Complete);
        let complete = ending == Ending::Complete;
        let reported = if complete && state.script.reports {
            Reported::Possible(state.script.usage)
        } else {
            Reported::None
        };
        let user = &self.users[state.script.user];
        let hold = state.hold.take();
        let set_aside = hold.as_ref().map_or(Money::ZERO, metering::Hold::amount);
        let charge = charge(&Facts {
            operation: Operation::Chat,
            ending,
            hold_ran_out,
            status_ok: relayed_content,
            reported,
            relayed_content,
            content_bytes: state.relayed * 3,
            sound_tokens: 0,
            body_bytes: state.script.body_bytes,
            begun_bytes: 0,
            units: None,
            price: Some(&self.price),
            service_tier: None,
            policy: user.policy,
            hold: set_aside,
            bill_abandoned: self.defaults.bill_abandoned,
        });
        let billable = complete || relayed_content && matches!(ending, Ending::ClientGone) || hold_ran_out;
        assert!(
            billable || charge.charged == Money::ZERO,
            "{ending:?} was charged {}",
            charge.charged
        );
        if complete && state.script.reports {
            assert_eq!(charge.uncollected, Money::ZERO, "the hold was no bound");
            assert_eq!(
                charge.charged,
                metering::cost(&state.script.usage, &self.price.ordinary.rates)
            );
        }
        // The receipt is in the journal before the hold becomes a pending charge.
        if charge.charged > Money::ZERO {
            self.journal.push((call, state.script.user, charge.charged.nanos()));
        }
        if let Some(hold) = hold {
            hold.settle(charge.charged);
        }
        if let Some(permit) = state.permit.take() {
            permit.correct(charge.usage.total(), now);
        }
        state.attempts = None;
        state.in_flight = None;
        state.trying = None;
        state.probing = false;
        self.tally.note(ending, &charge);
    }

    /// A batch of the journal is booked, and sometimes somebody pays in.
    pub(super) fn book(&mut self) {
        let batch = self.rng.random_range(0..=self.journal.len());
        let mut charged = vec![0; self.users.len()];
        for (call, user, amount) in self.journal.drain(..batch) {
            assert!(self.booked.insert(call), "call {call} was booked twice");
            charged[user] += amount;
        }
        for (user, charged) in self.users.iter_mut().zip(charged) {
            user.balance -= charged;
            if self.rng.random_range(0..8) == 0 {
                let paid = self.rng.random_range(0..5_000_000);
                user.balance += paid;
                user.credited += paid;
            }
            self.accounts
                .booked(user.id, Money::from_nanos(charged), Money::from_nanos(user.balance));
        }
        let over = self.journal.is_empty() && self.calls.iter().all(|call| call.ended.is_some());
        if !over {
            let pause = self.rng.random_range(100..6_000);
            self.soon(pause, Event::Book);
        }
    }
}
