//! The record of a finished call, as it is journalled and as it is logged.

use dialects::UsageReport;
use domain::snapshot::{Credential, Target};
use domain::{AttemptRecord, Ending, Receipt, Timestamp, UsageSource};
use metering::charge::Charge;

use super::{Outcome, Served, Settlement};
use crate::decisions;

impl Settlement {
    pub(super) fn receipt(
        &mut self,
        outcome: &Outcome<'_>,
        charge: &Charge,
        finished_at: Timestamp,
        took_ms: u32,
    ) -> Receipt {
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

fn answered_model(served: &Served<'_>) -> String {
    served
        .report
        .model
        .clone()
        .unwrap_or_else(|| served.target.model.to_string())
}

pub(super) fn log(receipt: &Receipt) {
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
