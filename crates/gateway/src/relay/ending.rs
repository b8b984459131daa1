//! How a stream ends: whom it counts against, who pays, and what the client is told last.
//!
//! All ends meet in one `close`, so that the receipt, the board and the client's last bytes cannot tell different stories.

use std::collections::VecDeque;

use bytes::Bytes;
use dialects::{StreamEnd, StreamFault};
use domain::snapshot::Route;
use domain::{Ending, Failure, FailureClass, Fault, FaultKind};

use super::streaming::Streaming;
use crate::admit::Call;
use crate::dispatch::{chosen, failure_of};
use crate::recall;
use crate::settle::{Outcome, Served, Settled};
use crate::upstream::confidence;

/// How a stream ended.
pub(super) enum End {
    /// With its terminal event, or a clean end after every finish reason.
    Complete { last: Bytes },
    /// The upstream broke it off.
    Broken(StreamFault),
    /// One of our limits.
    Limit(Fault),
    /// The client took its answer so slowly that the call's time was over.
    Unread(Fault),
}

impl From<StreamEnd> for End {
    fn from(end: StreamEnd) -> Self {
        match end {
            StreamEnd::Complete { last } => Self::Complete { last },
            StreamEnd::Incomplete { why } => Self::Broken(why),
        }
    }
}

/// What is left to do of a stream that has ended.
pub(super) struct Closed {
    pub(super) settled: Option<Settled>,
    pub(super) last: VecDeque<Bytes>,
    pub(super) call: Box<Call>,
    /// The number of what could be told instead of the end.
    pub(super) next_number: u64,
    /// Nothing is to be told of a failure.
    pub(super) is_whole: bool,
}

impl Streaming {
    /// Settles, and says what goes out last.
    pub(super) fn close(mut self, end: End) -> Closed {
        let failed = self.failed(&end);
        self.call.settlement.stream_ended(failed);
        let (ending, fault, last) = match end {
            // The provider's own word that the answer failed is passed on as it wrote it.
            End::Complete { last } if failed.is_some() => {
                self.blame();
                (Ending::UpstreamGone, None, self.unspoken(last))
            }
            End::Complete { last } => (Ending::Complete, None, last),
            End::Broken(why) => {
                let failure = failure_of(&why);
                self.blame();
                (Ending::UpstreamGone, Some(broken(&failure)), Bytes::new())
            }
            End::Limit(fault) => {
                if fault.kind == FaultKind::UpstreamTimeout {
                    self.blame();
                }
                let ending = if fault.kind == FaultKind::UpstreamTimeout {
                    Ending::UpstreamGone
                } else {
                    Ending::Limit
                };
                (ending, Some(fault), Bytes::new())
            }
            End::Unread(fault) => (Ending::ClientGone, Some(fault), Bytes::new()),
        };
        let error = fault.as_ref().map(|fault| fault.message.to_string());
        let settled = self.settle_or_hand_over(ending, error).transpose();
        let Self {
            mut call,
            mut streamed,
            mut ready,
            ..
        } = self;
        // Before its end is released: the client may continue it at once.
        if let (Ok(Some(_)), Some(response)) = (&settled, streamed.tap.take_kept()) {
            recall::keep_turn(&mut call, &response);
        }
        let told = settled.as_ref().err().cloned().or(fault);
        let is_whole = told.is_none();
        let next_number = streamed.tap.next_number();
        let last = match told {
            None => last,
            Some(_) if !streamed.tap.between_events() => Bytes::new(),
            Some(fault) => dialects::in_band_numbered(call.dialect(), &fault, call.json_array, next_number),
        };
        if ending == Ending::Complete {
            streamed.source.drain();
        }
        ready.push_back(last);
        Closed {
            settled: settled.ok().flatten(),
            last: ready,
            call,
            next_number,
            is_whole,
        }
    }

    /// The provider's words without what it was told in confidence.
    fn unspoken(&self, words: Bytes) -> Bytes {
        let Ok((target, credential)) = chosen(&self.call.route, self.exchange.choice) else {
            return words;
        };
        let spoken = self.call.gateway.account_tokens.spoken(credential);
        confidence::text(words, &target.upstream, &spoken)
    }

    /// What the upstream did wrong, if it ended like this.
    fn failed(&self, end: &End) -> Option<FailureClass> {
        match end {
            End::Complete { .. } => self.streamed.tap.failed(),
            End::Broken(why) => Some(failure_of(why).class),
            End::Limit(fault) => (fault.kind == FaultKind::UpstreamTimeout).then_some(FailureClass::Silence),
            End::Unread(_) => None,
        }
    }

    /// Counts the break against the upstream.
    fn blame(&mut self) {
        if std::mem::replace(&mut self.blamed, true) {
            return;
        }
        let now = self.call.gateway.clock.now();
        self.exchange
            .attempts
            .broke(&self.call.route, self.exchange.choice, &self.call.gateway.board, now);
    }

    /// Settles; or, where the upstream goes on in the background, hands the account over to whoever sees its end.
    pub(super) fn settle_or_hand_over(
        &mut self,
        ending: Ending,
        error: Option<String>,
    ) -> Option<Result<Settled, Fault>> {
        let Some(pin) = self.call.job.take() else {
            return Some(self.settle(ending, error));
        };
        if ending == Ending::Complete {
            // Billed with its call, once the receipt is durable.
            self.call.job = Some(pin);
            return Some(self.settle(ending, error));
        }
        recall::jobs::begin(&self.call.gateway, pin, &mut self.call.settlement);
        None
    }

    /// What the upstream delivered.
    pub(super) fn served<'a>(&self, route: &'a Route) -> Option<Served<'a>> {
        let (target, credential) = chosen(route, self.exchange.choice).ok()?;
        Some(Served {
            target,
            credential: credential.id,
            report: self.streamed.tap.report(),
            relayed: self.streamed.tap.has_content(),
            sound_tokens: 0,
        })
    }

    fn settle(&mut self, ending: Ending, error: Option<String>) -> Result<Settled, Fault> {
        self.call.settlement.lost(self.streamed.tap.losses());
        let route = std::sync::Arc::clone(&self.call.route);
        let served = self.served(&route);
        self.call.settlement.finish(&Outcome {
            ending,
            status: 200,
            served,
            first_content: Some(self.exchange.first_content),
            error,
        })
    }
}

/// What the client is told of a break: the kind of trouble, never the provider's words about our account.
fn broken(failure: &Failure) -> Fault {
    match failure.class {
        FailureClass::Overloaded => Fault::new(
            FaultKind::Overloaded,
            "the upstream became overloaded in the middle of its answer",
        ),
        FailureClass::RateLimited | FailureClass::OutOfCredit | FailureClass::CreditShort => Fault::new(
            FaultKind::UpstreamLimited,
            "the upstream's limit was reached in the middle of its answer",
        ),
        FailureClass::Silence => Fault::new(
            FaultKind::UpstreamTimeout,
            "the upstream fell silent in the middle of its answer",
        ),
        _ => Fault::new(
            FaultKind::BadGateway,
            "the upstream broke off in the middle of its answer",
        ),
    }
}
