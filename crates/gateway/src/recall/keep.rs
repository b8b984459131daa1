//! Noting what an answer leaves behind: a response at an upstream, or a turn that is kept here.

use std::sync::Arc;
use std::time::Duration;

use dialects::conversation;
use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, Fault, KeyId, Pin, PromptMode, Turn, UpstreamId, UserId};
use routing::Choice;

use crate::admit::Call;
use crate::dispatch::{Answer, chosen};
use crate::gateway::Inner;
use crate::limits::{RESPONSE_KNOWN_FOR, THING_KNOWN_FOR, TURN_BYTES_MAX};
use crate::settle::Served;

/// For whom something was made, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maker {
    pub(crate) user: UserId,
    pub(crate) key: KeyId,
    pub(crate) upstream: UpstreamId,
    pub(crate) credential: CredentialId,
}

impl Maker {
    pub(crate) const fn new(user: UserId, key: KeyId, upstream: &Upstream, credential: &Credential) -> Self {
        Self {
            user,
            key,
            upstream: upstream.id,
            credential: credential.id,
        }
    }

    /// The place of a thing that it made.
    pub(crate) fn pin(self, gateway: &Inner, id: &str, kind: Kind) -> Pin {
        let now = gateway.clock.now();
        let known_for = match kind {
            Kind::Response => RESPONSE_KNOWN_FOR,
            Kind::Thing => THING_KNOWN_FOR,
        };
        Pin {
            id: id.to_owned(),
            user: self.user,
            key: self.key,
            upstream: self.upstream,
            credential: self.credential,
            made_at: now,
            expires_at: now + known_for,
            job: None,
            operators_bytes: None,
        }
    }
}

impl Maker {
    /// The place of an upload that has begun.
    pub(crate) fn upload(self, gateway: &Inner, name: &str, known_for: Duration) -> Pin {
        let pin = self.pin(gateway, name, Kind::Thing);
        Pin {
            expires_at: pin.made_at + known_for,
            ..pin
        }
    }
}

/// How long it may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A response, which the provider deletes by itself.
    Response,
    /// Anything else.
    Thing,
}

/// Remembers the response that an upstream keeps of the answer that has just begun. Work in the background is remembered
/// durably before the client hears of it: what it costs is known only later, and a restart must not forget who owes it.
pub(crate) async fn note_made(call: &mut Call, choice: Choice, answer: &Answer) -> Result<(), Fault> {
    let surface = call.surface();
    let (stored, is_pending) = match answer {
        Answer::Whole { report, .. } => (
            report.stored.as_deref(),
            report.stored.as_ref().is_some_and(|stored| stored.is_pending),
        ),
        Answer::Stream(streamed) => (streamed.tap.stored(), call.facts.background),
        Answer::Refused { .. } | Answer::Taken => return Ok(()),
    };
    let route = Arc::clone(&call.route);
    let (Some(stored), Ok((target, credential))) = (stored, chosen(&route, choice)) else {
        return Ok(());
    };
    if target.upstream.serving(surface) != Some(surface) {
        return Ok(());
    }
    let (user, key) = call.settlement.payer();
    let maker = Maker::new(user, key, &target.upstream, credential);
    let mut pin = maker.pin(&call.gateway, &stored.id, Kind::Response);
    pin.operators_bytes = operators_bytes(call);
    if !is_pending {
        call.gateway.recall.pin(pin);
        return Ok(());
    }
    pin.job = Some(call.settlement.job(&target.model));
    let pin = Arc::new(pin);
    call.gateway.recall.pin_now(Arc::clone(&pin)).await?;
    call.job = Some(pin);
    Ok(())
}

/// How many bytes of the instructions that the upstream was told are the operator's; all where the client's own were replaced.
fn operators_bytes(call: &Call) -> Option<u64> {
    let own = call.instructions.as_ref()?;
    let prompt = call.route.system_prompt.as_ref()?;
    let own = own.as_str().filter(|_| prompt.mode == PromptMode::Prepend);
    // The client's own stand at the end, whatever is between (`dialects::inject_system`).
    let told = own.map(|own| prompt.text.len() + dialects::PROMPT_GAP.len() * usize::from(!own.is_empty()));
    Some(told.map_or(u64::MAX, |bytes| bytes as u64))
}

/// Remembers the last item of a response that an upstream keeps. Clients that name items in place of sending them (Vercel's
/// `ai` does) name those of the latest response last, so one says where all of them are.
pub(crate) fn note_item(gateway: &Inner, (user, key): (UserId, KeyId), served: &Served<'_>) {
    let stored = served.report.stored.as_deref();
    if let Some(item) = stored.and_then(|stored| stored.last_item.as_deref()) {
        let maker = Maker {
            user,
            key,
            upstream: served.target.upstream.id,
            credential: served.credential,
        };
        gateway.recall.note_item(maker.pin(gateway, item, Kind::Response));
    }
}

/// Keeps the turn of a call whose whole answer was told as `response`.
pub(crate) fn keep_turn(call: &mut Call, response: &str) {
    let Some(mut recalled) = call.recalled.take() else {
        return;
    };
    let Some(input) = recalled.input.take() else { return };
    let body = conversation::turn(&input, response);
    if body.len() > TURN_BYTES_MAX {
        tracing::warn!(call = %call.settlement.call, bytes = body.len(), "the turn is too long to be kept");
        return;
    }
    let (user, key) = call.settlement.payer();
    let now = call.gateway.clock.now();
    let recall = &call.gateway.recall;
    recall.turn(Turn {
        id: format!("resp_{}", call.settlement.call.0.simple()),
        user,
        key,
        previous: recalled.previous.take(),
        made_at: now,
        expires_at: now + recall.keep,
        body,
    });
}
