//! How often what happened. A simulation in which nothing happens proves nothing.

use domain::{Ending, Money};

/// How often what happened, over all worlds: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub complete: u64,
    pub client_gone: u64,
    pub upstream_gone: u64,
    pub limit: u64,
    pub failed: u64,
    pub over_limits: u64,
    pub out_of_money: u64,
    pub waited_for_money: u64,
    pub tries: u64,
    pub waits: u64,
    pub probes: u64,
    pub uncollected: u64,
    pub steps: u64,
    pub estimated: u64,
}

impl Tally {
    pub(crate) fn note(&mut self, ending: Ending, charge: &metering::Charge) {
        *match ending {
            Ending::Complete => &mut self.complete,
            Ending::ClientGone => &mut self.client_gone,
            Ending::UpstreamGone => &mut self.upstream_gone,
            Ending::Limit => &mut self.limit,
            Ending::Failed => &mut self.failed,
        } += 1;
        self.uncollected += u64::from(charge.uncollected > Money::ZERO);
        self.estimated += u64::from(charge.source == domain::UsageSource::Estimated);
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            complete: self.complete + other.complete,
            client_gone: self.client_gone + other.client_gone,
            upstream_gone: self.upstream_gone + other.upstream_gone,
            limit: self.limit + other.limit,
            failed: self.failed + other.failed,
            over_limits: self.over_limits + other.over_limits,
            out_of_money: self.out_of_money + other.out_of_money,
            waited_for_money: self.waited_for_money + other.waited_for_money,
            tries: self.tries + other.tries,
            waits: self.waits + other.waits,
            probes: self.probes + other.probes,
            uncollected: self.uncollected + other.uncollected,
            steps: self.steps + other.steps,
            estimated: self.estimated + other.estimated,
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        let Self {
            complete,
            client_gone,
            upstream_gone,
            limit,
            failed,
            over_limits,
            out_of_money,
            ..
        } = *self;
        let Self {
            waited_for_money,
            tries,
            waits,
            probes,
            uncollected,
            steps,
            estimated,
            ..
        } = *self;
        let endings = [
            complete,
            client_gone,
            upstream_gone,
            limit,
            failed,
            over_limits,
            out_of_money,
        ];
        let events = [waited_for_money, tries, waits, probes, uncollected, steps, estimated];
        assert!(
            endings.iter().chain(&events).all(|count| *count > 0),
            "something never happened: {self:#?}"
        );
    }
}
