//! Of which calls it is kept why they went where they went.
//!
//! What the choice saw is taken along by every call, which costs it a tenth of a microsecond. The record is another matter:
//! it is about as long as the rest of the receipt, and is appended, booked and kept for months. So of ordinary calls only
//! some have one; those that somebody may ask about all do.

use domain::{DecisionText, Ending, KeepDecisions};
use routing::{Recording, Trace};

use crate::gateway::Inner;
use crate::settle::{Outcome, Settlement};

/// Of ordinary calls one in so many is kept: enough to look at how they are spread, and a few percent of their receipts.
const ORDINARY_ONE_IN: u64 = 16;

/// Whether a record may be wanted at the end of a call.
pub(crate) fn recording(gateway: &Inner) -> Recording {
    match gateway.keep_decisions {
        KeepDecisions::Off => Recording::Off,
        KeepDecisions::Notable | KeepDecisions::All => Recording::On,
    }
}

/// The record of a call that ends, where it is kept. To be asked before its attempts are taken.
pub(crate) fn kept(settlement: &mut Settlement, outcome: &Outcome<'_>) -> Option<DecisionText> {
    let trace = settlement.trace.take()?;
    let keeps = match settlement.gateway().keep_decisions {
        KeepDecisions::Off => false,
        KeepDecisions::All => true,
        KeepDecisions::Notable => is_notable(&trace, settlement.attempts.len(), outcome),
    };
    keeps.then(|| DecisionText::of(&trace.kept(settlement.route())))?
}

fn is_notable(trace: &Trace, attempts: usize, outcome: &Outcome<'_>) -> bool {
    let ended_well = outcome.ending == Ending::Complete && outcome.status < 400;
    attempts > 1 || !ended_well || trace.is_out_of_the_ordinary() || trace.seed().is_multiple_of(ORDINARY_ONE_IN)
}
