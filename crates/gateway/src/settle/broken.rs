//! Attempts that broke off in the middle of their answer, in the account of a call that another one goes on with.
//!
//! What such an attempt used is recorded with it and charged to nobody. Only where nobody goes on is it the call's own end
//! again, and then it is told once.

use domain::{Broke, Ending, Failure, FailureClass, Money};

use super::{Outcome, Served, Settlement};

/// An attempt that broke off, and what the next one makes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokenOff {
    pub(super) cost: Money,
    /// Bytes of what was told so far, which the next attempt is given as part of its prompt.
    pub(super) told_bytes: u64,
}

impl Settlement {
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
}
