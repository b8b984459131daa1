//! From a call to an answer.
//!
//! [`routing::Attempts`] decides, [`seek()`] carries out: try, wait, or give up; this file is what a call is to it. One
//! try is [`attempt()`]: an [`exchange`] with an upstream, or the built-in one ([`demonstrate`]). It has succeeded when its
//! first *content* is here ([`begin`]), or its [`whole`] answer, where it does not stream.

mod answer;
mod attempt;
mod begin;
mod demonstrate;
mod exchange;
mod hedge;
mod outgoing;
mod seek;
mod source;
mod unwrapped;
mod whole;

use std::sync::Arc;

use domain::declaration::{HedgeDecl, RefusalCause};
use domain::snapshot::Route;
use domain::{Failure, Fault, Snapshot, Surface, Timestamp};
use routing::{Attempts, Choice, Recording, Trace};

use crate::admit::Call;
use crate::asked;
use crate::decisions;
use crate::gateway::Inner;
use crate::recall;
pub(crate) use answer::{Answer, Exchange, Got, Streamed};
pub(crate) use attempt::{attempt, chosen, record};
pub(crate) use begin::failure_of;
pub(crate) use outgoing::completed;
use seek::Ended;
pub(crate) use seek::{Seeker, deadline, seek, seek_on};
pub(crate) use source::{Overflow, Source, collect};

/// What came of a call, with the call itself.
pub(crate) type Dispatched = (Box<Call>, Result<Exchange, Fault>);

/// Finds an answer for the call, trying as often as routing says.
pub(crate) async fn dispatch(mut call: Box<Call>) -> Dispatched {
    match seek(&mut *call).await {
        Ok(found) => {
            let (headers, answer, open) = found.got;
            if call.surface() == recall::RESPONSES
                && let Err(fault) = Box::pin(recall::note_made(&mut call, found.choice, &answer)).await
            {
                return (call, Err(fault));
            }
            let exchange = Exchange {
                choice: found.choice,
                attempts: found.attempts,
                tries: found.tries,
                headers,
                answer,
                first_content: found.at,
                open,
            };
            (call, Ok(exchange))
        }
        Err(fault) => (call, Err(fault)),
    }
}

impl Seeker for Call {
    type Got = Got;

    fn gateway(&self) -> &Arc<Inner> {
        &self.gateway
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn route(&self) -> &Arc<Route> {
        &self.route
    }

    fn surface(&self) -> Surface {
        Self::surface(self)
    }

    fn started(&self) -> Timestamp {
        self.started
    }

    fn asked(&self) -> routing::Asked<'_> {
        asked::of(self)
    }

    fn pinned(&self) -> Option<routing::Pinned> {
        Self::pinned(self)
    }

    fn recording(&self) -> Recording {
        decisions::recording(&self.gateway)
    }

    fn keep(&mut self, trace: Option<Box<Trace>>) {
        self.settlement.trace = trace;
    }

    fn walked(&mut self, walk: routing::decision::Walk) {
        if let Some(trace) = &mut self.settlement.trace {
            trace.walked(walk);
        }
    }

    fn refusal((_, answer, _): &Self::Got) -> Option<RefusalCause> {
        match answer {
            Answer::Refused { cause, .. } => *cause,
            Answer::Whole { .. } | Answer::Stream(_) | Answer::Taken => None,
        }
    }

    fn hedge(&self) -> Option<HedgeDecl> {
        hedge::of(self)
    }

    async fn hedged(
        &mut self,
        hedge: HedgeDecl,
        attempts: &mut Attempts,
        choice: Choice,
        deadline: Timestamp,
    ) -> Ended<Got> {
        hedge::race(self, hedge, attempts, choice, deadline).await
    }

    async fn attempt(&mut self, choice: Choice, deadline: Timestamp) -> Result<Self::Got, Failure> {
        attempt(self, choice, deadline).await
    }
}
