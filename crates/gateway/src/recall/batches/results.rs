//! Reading what came of a batch, and billing it request by request.
//!
//! All of it is read before any of it is billed: what was half read and is read again would take its part of the hold twice.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use dialects::{Report, batch};
use domain::snapshot::{Credential, Route, Upstream};
use domain::{CallId, Dialect, Ending, Operation, Pin, Surface};
use hashbrown::HashMap;
use http::StatusCode;
use store::Ticket;
use uuid::Uuid;

use super::asked::{billed_at, own_target};
use super::get;
use super::lines::Lines;
use crate::gateway::Inner;
use crate::limits::{BATCH_RECEIPTS_MAX, BATCH_REQUESTS_MAX};
use crate::recall::jobs::{home, route_of, unlisted_target};
use crate::settle::{Outcome, Served, Settlement};

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Billable {
    call: CallId,
    surface: Surface,
    report: Report,
}

/// Reads the results; what is wrong with them is told beside. `None`: not now.
pub(super) async fn read(
    gateway: &Arc<Inner>,
    pin: &Pin,
    place: (&Arc<Upstream>, &Arc<Credential>),
    (state, object): (batch::State, &[u8]),
) -> Option<(Vec<Billable>, Option<String>)> {
    let job = pin.job.as_ref()?;
    let dialect = job.batch?;
    let surface = match state.endpoint.as_deref() {
        Some(endpoint) => billed_at(endpoint).ok()?,
        None => Surface::new(job.operation.unwrap_or(Operation::Chat), dialect),
    };
    let named = || (!job.target.is_empty()).then(|| job.target.clone());
    let mut found = Found::new(job.call, surface, state.model.or_else(named));
    let path = match (dialect, &state.output) {
        (Dialect::AnthropicMessages, _) => format!("/messages/batches/{}/results", pin.id),
        (Dialect::Gemini, Some(output)) => format!("/{output}:download?alt=media"),
        (_, Some(output)) => format!("/files/{output}/content"),
        // Nothing was answered, or all of it is here.
        (_, None) => {
            for line in batch::inlined(object) {
                found.read(line.get().as_bytes());
            }
            return Some((found.billable, found.error));
        }
    };
    let (status, source) = get(gateway, place, &path).await?;
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            found.error = Some("the results are gone; what is known of all of them is billed".to_owned());
            if let Some(report) = state.total {
                let report = Report {
                    service_tier: Some(batch::TIER.to_owned()),
                    ..report
                };
                found.add("", report);
            }
            return Some((found.billable, found.error));
        }
        _ => return None,
    }
    let mut lines = Lines::new(source);
    loop {
        match lines.next().await {
            Ok(Some(line)) => found.read(line),
            Ok(None) => return Some((found.billable, found.error)),
            Err(why) => {
                tracing::warn!(id = pin.id, why, "the results of a batch could not be read");
                return None;
            }
        }
    }
}

/// What was read so far.
struct Found {
    batch: CallId,
    surface: Surface,
    /// Whose answers they are that do not say so.
    model: Option<String>,
    calls: HashSet<CallId>,
    billable: Vec<Billable>,
    error: Option<String>,
}

impl Found {
    fn new(batch: CallId, surface: Surface, model: Option<String>) -> Self {
        Self {
            batch,
            surface,
            model,
            calls: HashSet::new(),
            billable: Vec::new(),
            error: None,
        }
    }

    fn read(&mut self, line: &[u8]) {
        match batch::answered(self.surface, line) {
            Ok(None) => {}
            Ok(Some(_)) if self.billable.len() >= BATCH_REQUESTS_MAX => {
                self.error = Some("the batch has more results than requests can be".to_owned());
            }
            Ok(Some(answered)) => self.add(&answered.custom_id, answered.report),
            Err(nonsense) => self.error = Some(format!("a line of the results cannot be read: {nonsense}")),
        }
    }

    fn add(&mut self, custom_id: &str, report: Report) {
        // Names are unique, as the providers promise; were they not, each would still be paid for.
        let mut again = 0;
        let call = loop {
            let call = call_of(self.batch, custom_id, again);
            if self.calls.insert(call) {
                break call;
            }
            again += 1;
        };
        let report = Report {
            model: report.model.or_else(|| self.model.clone()),
            ..report
        };
        self.billable.push(Billable {
            call,
            surface: self.surface,
            report,
        });
    }
}

/// The id of one request of a batch: always the same, and as old as the batch.
fn call_of(batch: CallId, custom_id: &str, again: u32) -> CallId {
    let mut name = batch.0.as_bytes().to_vec();
    name.extend_from_slice(&again.to_be_bytes());
    name.extend_from_slice(custom_id.as_bytes());
    let digest = digest(&SHA256, &name);
    let mut bytes = *batch.0.as_bytes();
    // The time, version and variant stay as they are.
    for (at, (byte, drawn)) in bytes.iter_mut().zip(digest.as_ref()).enumerate() {
        match at {
            0..=5 => {}
            6 => *byte = (*byte & 0xf0) | (drawn & 0x0f),
            8 => *byte = (*byte & 0xc0) | (drawn & 0x3f),
            _ => *byte = *drawn,
        }
    }
    CallId(Uuid::from_bytes(bytes))
}

/// Writes a receipt for each; tells whether all are durable.
pub(super) async fn bill(
    gateway: &Arc<Inner>,
    pin: &Pin,
    settlement: &mut Settlement,
    answered: Vec<Billable>,
) -> bool {
    let snapshot = gateway.snapshot.load_full();
    let place = home(&snapshot, pin);
    let mut routes: HashMap<String, Arc<Route>> = HashMap::new();
    let (mut tickets, mut is_durable) = (Vec::new(), true);
    settlement.share_body(answered.len());
    for one in answered {
        let model = one.report.model.clone().unwrap_or_default();
        let route = Arc::clone(routes.entry_ref(&model).or_insert_with(|| {
            let target = || place.map(|(upstream, _)| unlisted_target(upstream, &model));
            let known = snapshot.answering(pin.upstream, &model);
            known.unwrap_or_else(|| Arc::new(route_of(&model, target())))
        }));
        settlement.turn_to(one.call, one.surface, Arc::clone(&route));
        let target = place.and_then(|(upstream, _)| own_target(&route, upstream));
        let outcome = Outcome {
            ending: Ending::Complete,
            status: StatusCode::OK.as_u16(),
            served: target.map(|target| Served {
                target,
                credential: pin.credential,
                relayed: true,
                report: one.report,
                sound_tokens: 0,
            }),
            first_content: None,
            error: None,
        };
        match settlement.finish(&outcome) {
            Ok(settled) => tickets.push(settled.ticket),
            // What follows would find no hold any more. The rest is billed after a restart, with all of it.
            Err(_) => return false,
        }
        if tickets.len() >= BATCH_RECEIPTS_MAX {
            is_durable &= wait(&mut tickets).await;
        }
    }
    is_durable & wait(&mut tickets).await
}

async fn wait(tickets: &mut Vec<Ticket>) -> bool {
    let mut is_durable = true;
    for ticket in tickets.drain(..) {
        is_durable &= ticket.await.is_ok();
    }
    is_durable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_same_id_whenever_it_is_read() {
        let batch = CallId(Uuid::now_v7());
        let one = call_of(batch, "a", 0);
        assert_eq!(one, call_of(batch, "a", 0));
        assert!(![call_of(batch, "b", 0), call_of(batch, "a", 1), batch].contains(&one));
        assert_eq!(one.0.get_version_num(), 7);
        assert_eq!(one.0.as_bytes()[..6], batch.0.as_bytes()[..6]);
    }

    #[test]
    fn two_of_one_name_are_two() {
        let mut found = Found::new(
            CallId(Uuid::now_v7()),
            Surface::new(Operation::Chat, Dialect::OpenaiChat),
            None,
        );
        let line = br#"{"custom_id":"a","response":{"status_code":200,"body":{"model":"m","choices":[]}}}"#;
        found.read(line);
        found.read(line);
        found.read(b"nonsense");
        assert_eq!(found.billable.len(), 2);
        assert_ne!(found.billable[0].call, found.billable[1].call);
        assert!(found.error.is_some());
    }
}
