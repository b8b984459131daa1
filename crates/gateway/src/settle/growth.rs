//! A hold that grows with its answer, for streams whose client gave no bound.
//!
//! Holding everything that a model could say would lock out whoever has little; holding nothing would let a balance be
//! overdrawn. So the hold stays half a step ahead of what was told.

use dialects::UsageReport;
use domain::{Fault, FaultKind};
use metering::estimate::{self, Steps};

use super::{Outcome, Settlement};

/// A hold that grows with the output of a stream whose client gave no bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) steps: Steps,
    pub(super) covered_tokens: u64,
}

impl Settlement {
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

    /// Enlarges the hold to the output that the provider reports, as far as the balance reaches: of a stream only the
    /// visible part could be covered on the way, and hidden reasoning is often the larger one.
    pub(super) fn cover_reported(&mut self, outcome: &Outcome<'_>) {
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
}
