//! What a call costs: the facts that `metering` is told, and what other models did beside the answer.
//!
//! No figure is made here but the sum; how usage becomes money is `metering`'s.

use dialects::UsageReport;
use domain::{Money, Policy, UsageSource};
use metering::Hold;
use metering::charge::{self, Charge, Reported};

use super::{Outcome, Served, Settlement};

impl Settlement {
    pub(super) fn charge(&self, outcome: &Outcome<'_>) -> Charge {
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
}
