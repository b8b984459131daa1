//! The money of a session: a hold for every response, and a receipt for every response.
//!
//! Under the policy `hard` nothing may be spent that is not held. Who begins a response decides when it is held for. The
//! client's `response.create` is held for before it is sent on, and refused in-band if that cannot be. With voice
//! detection the server begins responses by itself, at the end of what it hears; so there the next response is held for
//! *before* speech is sent on (the `reserve`), and if that cannot be, the session ends. While such a response runs there
//! is no second reserve: the server begins the next one only after it has ended the one before, and at that moment the
//! rest of its hold is free again.
//!
//! Where the server begins what was not foreseen (an idle timeout, an event that we read otherwise than it), the hold is
//! taken then, or the session ends; what was used until then is recorded and never charged. No clock, no IO: everything
//! here happens between two messages.

mod context;
mod scribe;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use dialects::realtime::{ClientEvent, ClientWhat, Delta, OutputBound, ServerEvent, SessionFacts};
use dialects::{Report, UsageReport};
use domain::snapshot::{Key, Route};
use domain::{AttemptRecord, CallId, Ending, Fault, FaultKind, KeyId, Money, Operation, Policy, Snapshot, Timestamp};
use metering::estimate::{output_tokens, spoken_tokens};
use metering::{Account, Exhausted, Hold, Permit};
use routing::Choice;
use uuid::Uuid;

use super::opening::Opening;
use crate::dispatch::chosen;
use crate::gateway::Inner;
use crate::inbound::CallPath;
use crate::limits::RESPONSES_MAX;
use crate::settle::{Outcome, Served, Settled, Settlement};
use crate::upstream::confidence;

pub(super) use context::{Context, bound};
use scribe::Scribe;

/// The accounts of one session.
#[derive(Debug)]
pub(super) struct Meter {
    gateway: Arc<Inner>,
    snapshot: Arc<Snapshot>,
    key: Arc<Key>,
    path: CallPath,
    model: String,
    route: Arc<Route>,
    choice: Choice,
    session: CallId,
    account: Arc<Account>,
    /// Held for the response that the server, or the client, begins next.
    reserve: Option<Hold>,
    /// Asked for by the client and not begun yet, in order.
    asked: VecDeque<Asked>,
    running: Vec<Response>,
    /// The last that were settled: an event that comes twice is paid for once.
    settled: VecDeque<String>,
    context: Context,
    /// What the session bounds every response to.
    output_bound: Option<OutputBound>,
    /// Whether the server begins responses by itself.
    is_automatic: bool,
    /// Who writes down what is spoken.
    scribe: Option<Scribe>,
}

/// A response that the client asked for.
#[derive(Debug)]
struct Asked {
    event_id: Option<String>,
    hold: Hold,
    permit: Permit,
    bound: Option<OutputBound>,
}

/// A response under way.
#[derive(Debug)]
struct Response {
    id: String,
    settlement: Settlement,
    first_content: Option<Timestamp>,
    text_bytes: u64,
    audio_chars: u64,
}

/// Why a client's event is not sent on.
#[derive(Debug)]
pub(super) enum Refusal {
    /// This event only; the session goes on.
    Event(Fault),
    /// The session ends.
    Session(Fault),
}

/// What becomes of a server's event.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// A receipt that must be durable before the event goes to the client.
    pub(super) settled: Option<Settled>,
    /// The session ends, after the event where there is no `withheld`.
    pub(super) end: Option<Fault>,
    /// The event must not go to the client: it could not be recorded.
    pub(super) withheld: bool,
}

impl Meter {
    pub(super) fn new(opening: &mut Opening, choice: Choice) -> Self {
        Self {
            gateway: Arc::clone(&opening.gateway),
            snapshot: Arc::clone(&opening.snapshot),
            key: Arc::clone(&opening.key),
            path: opening.path.clone(),
            model: opening.model.clone(),
            route: Arc::clone(&opening.route),
            choice,
            session: opening.settlement.call,
            account: opening.gateway.accounts.get(opening.key.user.id),
            reserve: opening.reserve.take(),
            asked: VecDeque::new(),
            running: Vec::new(),
            settled: VecDeque::new(),
            context: Context::default(),
            output_bound: None,
            // The server's default; it says otherwise in its first event.
            is_automatic: true,
            scribe: None,
        }
    }

    /// Whether a response is under way.
    pub(super) const fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// The server's names of the responses under way.
    pub(super) fn running(&self) -> impl Iterator<Item = &str> {
        self.running.iter().map(|response| response.id.as_str())
    }

    /// A text of the upstream's with its secrets blanked.
    pub(super) fn unspoken(&self, text: &str) -> String {
        match chosen(&self.route, self.choice) {
            Ok((target, credential)) => confidence::unspoken(text, &target.upstream, credential),
            Err(_) => String::new(),
        }
    }

    /// The client says something. `Ok`: it may be sent on.
    pub(super) fn client_says(&mut self, event: &ClientEvent, bytes: usize) -> Result<(), Refusal> {
        match &event.what {
            ClientWhat::Create(bound) => {
                self.context.add(event, bytes);
                self.ask(event, *bound).map_err(Refusal::Event)
            }
            ClientWhat::Speech => {
                self.context.hear(event.audio_chars);
                self.provide().map_err(Refusal::Session)
            }
            ClientWhat::Configure(facts) => {
                self.context.add(event, bytes);
                self.configure(facts).map_err(Refusal::Event)
            }
            ClientWhat::Other => {
                self.context.add(event, bytes);
                Ok(())
            }
        }
    }

    /// The server says something.
    pub(super) fn server_says(&mut self, event: &ServerEvent) -> Verdict {
        match event {
            ServerEvent::Session(facts) => Verdict::ending(self.configured(facts)),
            ServerEvent::Created { response } => Verdict::ending(self.begin(response)),
            ServerEvent::Delta(delta) => {
                self.take(delta);
                Verdict::default()
            }
            ServerEvent::Done { response, report } => self.done(response, report, Ending::Complete),
            ServerEvent::Transcribed(transcribed) => self.transcribed(transcribed),
            ServerEvent::Error { about } => {
                self.forget(about.as_deref());
                Verdict::default()
            }
            ServerEvent::Other => Verdict::default(),
        }
    }

    /// The server says something after the client has gone: what it had used, at last.
    pub(super) fn server_says_in_vain(&mut self, event: &ServerEvent) {
        if let ServerEvent::Done { response, report } = event
            && self.running().any(|id| id == response)
        {
            self.done(response, report, Ending::ClientGone);
        }
    }

    /// The session ends: what runs is settled as it is, and everything held is given back.
    pub(super) fn close(&mut self, ending: Ending, error: Option<&str>) {
        self.reserve = None;
        self.asked.clear();
        for response in std::mem::take(&mut self.running) {
            let report = Report {
                content_bytes: response.text_bytes,
                ..Report::default()
            };
            if self.settle(response, report, ending, error).is_err() {
                tracing::error!(session = %self.session, "the receipt of a cut response could not be journalled");
            }
        }
    }

    /// Takes note of what a client wants the session to be. What widens what it may cost counts from now on; what narrows
    /// it does when the server says so.
    fn configure(&mut self, facts: &SessionFacts) -> Result<(), Fault> {
        if let Some(Some(name)) = &facts.transcription {
            self.check_scribe(&self.scribe_of(name))?;
        }
        self.is_automatic |= facts.is_automatic == Some(true);
        if let (Some(wanted), Some(known)) = (facts.output_bound, self.output_bound) {
            self.output_bound = Some(wider(wanted, known));
        }
        Ok(())
    }

    fn configured(&mut self, facts: &SessionFacts) -> Result<(), Fault> {
        self.context.by_reference |= facts.by_reference;
        if let Some(automatic) = facts.is_automatic {
            self.is_automatic = automatic;
        }
        if facts.output_bound.is_some() {
            self.output_bound = facts.output_bound;
        }
        match &facts.transcription {
            None => {}
            Some(None) => self.scribe = None,
            Some(Some(name)) => {
                let scribe = self.scribe_of(name);
                self.check_scribe(&scribe)?;
                self.scribe = Some(scribe);
            }
        }
        Ok(())
    }

    /// The client asks for a response.
    fn ask(&mut self, event: &ClientEvent, bound: Option<OutputBound>) -> Result<(), Fault> {
        if self.asked.len() + self.running.len() >= RESPONSES_MAX {
            let message = "too many responses of this session are under way at once";
            return Err(Fault::new(FaultKind::Saturated, message));
        }
        let permit = self.admit()?;
        let amount = self.amount(bound)?;
        let hold = self.hold(amount)?;
        self.asked.push_back(Asked {
            event_id: event.event_id.clone(),
            hold,
            permit,
            bound,
        });
        Ok(())
    }

    /// Provides for the response that the server may begin at the end of this speech.
    fn provide(&mut self) -> Result<(), Fault> {
        if !self.is_automatic || self.is_running() || !self.asked.is_empty() {
            return Ok(());
        }
        let amount = self.amount(None)?;
        if self.reserve.as_ref().is_some_and(|hold| hold.amount() >= amount) {
            return Ok(());
        }
        self.reserve = Some(self.hold(amount)?);
        Ok(())
    }

    /// A response has begun. Without money for it the session ends, and what it has used is nobody's debt.
    fn begin(&mut self, id: &str) -> Result<(), Fault> {
        if self.running.len() >= RESPONSES_MAX {
            let message = "the upstream begins more responses than it ends";
            return Err(Fault::new(FaultKind::BadGateway, message));
        }
        let asked = self.asked.pop_front();
        let (hold, permit) = match asked {
            Some(asked) => {
                let amount = self.amount(asked.bound);
                (amount.and_then(|amount| enlarged(asked.hold, amount)), Ok(asked.permit))
            }
            None => (self.amount(None).and_then(|amount| self.hold(amount)), self.admit()),
        };
        let mut settlement = self.open(&self.model, &self.route, self.context.expected_body());
        match (hold, permit) {
            (Ok(hold), Ok(permit)) => {
                let settlement = settlement.with_guards(Some(hold), None, Some(permit));
                self.running.push(Response {
                    id: id.to_owned(),
                    settlement,
                    first_content: None,
                    text_bytes: 0,
                    audio_chars: 0,
                });
                Ok(())
            }
            (Err(fault), _) | (_, Err(fault)) => {
                settlement.abandon(fault.kind.status(), &fault);
                Err(fault)
            }
        }
    }

    /// A piece of a response.
    fn take(&mut self, delta: &Delta) {
        let now = self.gateway.clock.now();
        let response = match &delta.response {
            Some(id) => self.running.iter_mut().find(|response| response.id == *id),
            None => self.running.last_mut(),
        };
        if let Some(response) = response {
            response.first_content.get_or_insert(now);
            response.text_bytes += delta.text_bytes;
            response.audio_chars += delta.audio_chars;
        }
    }

    /// A response has ended; it is settled before the client hears of it.
    fn done(&mut self, id: &str, report: &Report, ending: Ending) -> Verdict {
        if self.settled.iter().any(|settled| settled == id) {
            return Verdict::default();
        }
        let known = self.running.iter().position(|response| response.id == id);
        if known.is_none() && self.begin(id).is_err() {
            // Nobody said that it had begun, and there is no money for it.
            return Verdict::ending(Err(used_up()));
        }
        let at = known.unwrap_or(self.running.len().saturating_sub(1));
        let response = self.running.remove(at);
        if self.settled.len() == RESPONSES_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back(id.to_owned());
        let output = match &report.usage {
            UsageReport::Possible(usage) => usage.output,
            UsageReport::None | UsageReport::Impossible { .. } => {
                output_tokens(response.text_bytes) + spoken_tokens(response.audio_chars)
            }
        };
        self.context.say(output);
        let report = Report {
            content_bytes: response.text_bytes,
            ..report.clone()
        };
        let ending = if report.failure.is_some() {
            Ending::UpstreamGone
        } else {
            ending
        };
        match self.settle(response, report, ending, None) {
            Err(fault) => Verdict {
                end: Some(fault),
                withheld: true,
                settled: None,
            },
            Ok(settled) => Verdict {
                settled: Some(settled),
                end: if self.context.is_spoken() {
                    self.provide().err()
                } else {
                    None
                },
                withheld: false,
            },
        }
    }

    fn settle(
        &self,
        mut response: Response,
        report: Report,
        ending: Ending,
        error: Option<&str>,
    ) -> Result<Settled, Fault> {
        let error = report
            .failure
            .as_ref()
            .map(|failure| failure.detail.clone())
            .or_else(|| error.map(str::to_owned));
        let served = chosen(&self.route, self.choice)
            .ok()
            .map(|(target, credential)| Served {
                target,
                credential: credential.id,
                report,
                relayed: response.first_content.is_some(),
                sound_tokens: spoken_tokens(response.audio_chars),
            });
        response.settlement.finish(&Outcome {
            ending,
            status: 200,
            served,
            first_content: response.first_content,
            error,
        })
    }

    /// The server refused something: what was held for it is free again. It names the client's event; where the client had
    /// given it no name, it was the oldest without.
    fn forget(&mut self, about: Option<&str>) {
        let refused = self.asked.iter().position(|asked| asked.event_id.as_deref() == about);
        if let Some(asked) = refused.and_then(|at| self.asked.remove(at)) {
            asked.permit.correct(0, self.gateway.clock.now());
        }
    }

    fn open(&self, model: &str, route: &Arc<Route>, body_bytes: usize) -> Settlement {
        let now = self.gateway.clock.now();
        let mut settlement = Settlement::open(
            &self.gateway,
            CallId(Uuid::now_v7()),
            &self.key,
            &self.path,
            model,
            true,
            Arc::clone(route),
            body_bytes,
            (now, Instant::now()),
        )
        .within(self.session)
        .bill_abandoned(self.snapshot.defaults.bill_abandoned);
        if let Ok((target, credential)) = chosen(&self.route, self.choice) {
            settlement.attempts.push(AttemptRecord {
                upstream: target.upstream.id,
                upstream_name: target.upstream.name.clone(),
                credential: credential.id,
                credential_name: credential.name.clone(),
                model: target.model.to_string(),
                status: Some(200),
                failure: None,
                started_ms: 0,
                took_ms: 0,
                dialect: None,
                losses: Vec::new(),
                recovered: None,
                broke: None,
                hedge: false,
                cancelled: false,
            });
        }
        settlement
    }

    /// A response counts as a request of the key, and is refused where another one would be.
    fn admit(&self) -> Result<Permit, Fault> {
        let now = self.gateway.clock.now();
        self.check_key(now)?;
        let limiter = self.gateway.limiter(self.key.id);
        let admitted = limiter.admit_within(&self.key.limits, self.context.expected(), now);
        admitted.map_err(|limited| {
            Fault::new(FaultKind::RateLimited, format!("the key is {limited}")).retry_after(limited.retry_after)
        })
    }

    /// A session may outlive its key by an hour: what was taken away must not go on.
    fn check_key(&self, now: Timestamp) -> Result<(), Fault> {
        let current = self.gateway.snapshot.load();
        let is_known = self.key.id == KeyId::MASTER
            || Arc::ptr_eq(&current, &self.snapshot)
            || current.keys.values().any(|key| key.id == self.key.id);
        let is_expired = self.key.expires.is_some_and(|expires| now >= expires);
        if is_known && !is_expired {
            return Ok(());
        }
        let message = "the API key was removed or has expired since the session began";
        Err(Fault::new(FaultKind::Unauthenticated, message))
    }

    /// What a response may cost at most, from now.
    fn amount(&self, asked: Option<OutputBound>) -> Result<Money, Fault> {
        let (target, _) = chosen(&self.route, self.choice)
            .map_err(|_| Fault::new(FaultKind::Internal, "the session has no target"))?;
        bound(self.key.user.policy, target, &self.context, asked.or(self.output_bound))
    }

    /// That much, out of the reserve where there is one.
    fn hold(&mut self, amount: Money) -> Result<Hold, Fault> {
        match self.reserve.take() {
            Some(hold) => enlarged(hold, amount),
            None => self
                .account
                .try_hold(self.key.user.policy, amount)
                .map_err(|exhausted| self.exhausted(exhausted)),
        }
    }

    fn exhausted(&self, exhausted: Exhausted) -> Fault {
        match exhausted {
            // Soft asks only whether anything is left; what it asked for says nothing to the client.
            Exhausted::Balance { .. } if self.key.user.policy == Policy::Soft => used_up(),
            exhausted => Fault::new(FaultKind::BalanceExhausted, exhausted.to_string()),
        }
    }
}

impl Verdict {
    fn ending(result: Result<(), Fault>) -> Self {
        Self {
            end: result.err(),
            ..Self::default()
        }
    }
}

/// A hold that is large enough for `amount`; given back where that cannot be.
fn enlarged(mut hold: Hold, amount: Money) -> Result<Hold, Fault> {
    if amount > hold.amount() {
        let more = amount - hold.amount();
        hold.grow(more)
            .map_err(|exhausted| Fault::new(FaultKind::BalanceExhausted, exhausted.to_string()))?;
    }
    Ok(hold)
}

const fn wider(one: OutputBound, other: OutputBound) -> OutputBound {
    match (one, other) {
        (OutputBound::Tokens(one), OutputBound::Tokens(other)) => {
            OutputBound::Tokens(if one > other { one } else { other })
        }
        _ => OutputBound::Unbounded,
    }
}

fn used_up() -> Fault {
    let message = format!("the balance is used up, so the {} session ends", Operation::Realtime);
    Fault::new(FaultKind::BalanceExhausted, message)
}
