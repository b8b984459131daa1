//! A stream to the client between two upstreams: the one broke off, and another is sought that goes on.
//!
//! The client gets what it was owed and then heartbeats; it cannot tell this from an upstream that is slow. What comes of the
//! search decides whether the stream goes on or ends as it would have without.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{Failure, FailureClass, Fault, FaultKind, Timestamp};
use routing::Choice;
use tokio::time::Sleep;

use super::ending::End;
use super::streaming::Streaming;
use crate::admit::Call;
use crate::dispatch::{Answer, Exchange, Got, Source, Streamed, failure_of};
use crate::recovery::{self, Searched};

/// A stream to the client whose upstream broke off, while somebody is sought who goes on.
pub(super) struct Recovering {
    search: Pin<Box<dyn Future<Output = Searched> + Send>>,
    /// What waits for its end.
    pub(super) rest: Interrupted,
    /// What is still to go out of what was told before.
    ready: VecDeque<Bytes>,
    pub(super) heartbeat: Duration,
    dialect: domain::Dialect,
}

/// What the client is to get meanwhile, or what was found.
pub(super) enum Meanwhile {
    /// These bytes.
    Data(Bytes),
    /// The search is over.
    Over(Box<Searched>),
}

impl Recovering {
    pub(super) fn new(
        search: impl Future<Output = Searched> + Send + 'static,
        rest: Interrupted,
        ready: VecDeque<Bytes>,
        heartbeat: Duration,
        dialect: domain::Dialect,
    ) -> Self {
        Self {
            search: Box::pin(search),
            rest,
            ready,
            heartbeat,
            dialect,
        }
    }

    /// What is next; `alarm` rings when the client has waited a heartbeat's length.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Meanwhile> {
        if let Some(bytes) = self.ready.pop_front() {
            return Poll::Ready(Meanwhile::Data(bytes));
        }
        match self.search.as_mut().poll(cx) {
            Poll::Ready(searched) => Poll::Ready(Meanwhile::Over(Box::new(searched))),
            Poll::Pending => {
                ready!(alarm.as_mut().poll(cx));
                alarm.as_mut().reset((Instant::now() + self.heartbeat).into());
                let beat = dialects::heartbeat(self.dialect);
                Poll::Ready(Meanwhile::Data(Bytes::from_static(beat)))
            }
        }
    }
}

/// What is kept of a stream while somebody is sought who goes on with it.
pub(super) struct Interrupted {
    streamed: Streamed,
    unread: Duration,
    recoveries: u32,
    /// How it ends if nobody does.
    end: End,
}

impl Interrupted {
    /// The stream goes on with what was found, or ends as it would have without.
    pub(super) fn go_on(
        self,
        mut call: Box<Call>,
        mut exchange: Exchange,
        found: Result<(Choice, Timestamp, Got), Fault>,
    ) -> (Box<Streaming>, Option<End>) {
        let Self {
            mut streamed,
            unread,
            recoveries,
            end,
        } = self;
        let mut blamed = true;
        let mut ending = Some(end);
        match found {
            Ok((choice, _, (_, Answer::Stream(next), open))) => {
                exchange.go_on(choice, open);
                let next = *next;
                let is_repeated = recovery::repeats(&call.route, choice);
                let resumption = call.resumption.as_deref();
                let beginning = resumption.map(|resumption| resumption.beginning.clone());
                let begun = beginning.unwrap_or_default();
                let last = streamed.tap.resume(next.tap, &begun, is_repeated, &mut streamed.ready);
                (streamed.source, streamed.state) = (next.source, next.state);
                streamed.end = last.or(next.end);
                blamed = false;
                ending = None;
            }
            Ok(_) | Err(_) => call.settlement.broke_off_for_good(),
        }
        let streaming = Streaming {
            unread,
            recoveries,
            blamed,
            ..Streaming::new(call, exchange, streamed)
        };
        (Box::new(streaming), ending)
    }
}

impl Streaming {
    /// Begins to look for somebody who goes on with an answer that broke off; or gives back what cannot be gone on with.
    pub(super) fn recover(mut self: Box<Self>, end: End) -> Result<Box<Recovering>, (Box<Self>, End)> {
        let failure = match &end {
            _ if self.blamed => return Err((self, end)),
            End::Broken(why) => failure_of(why),
            End::Limit(fault) if fault.kind == FaultKind::UpstreamTimeout => {
                Failure::new(FailureClass::Silence, fault.message.to_string())
            }
            End::Complete { .. } | End::Limit(_) | End::Unread(_) => return Err((self, end)),
        };
        let (choice, before) = (self.exchange.choice, self.recoveries);
        let Some(resumption) = recovery::resumption(&self.call, &self.streamed, choice, &failure, before) else {
            return Err((self, end));
        };
        let route = Arc::clone(&self.call.route);
        if let Some(served) = self.served(&route) {
            let told_bytes = resumption.beginning.told.len() as u64;
            self.call.settlement.broke_off(served, &failure, told_bytes);
        }
        let Self {
            call,
            exchange,
            mut streamed,
            ready,
            timing,
            unread,
            recoveries,
            ..
        } = *self;
        let dialect = call.dialect();
        streamed.source = Source::Over;
        let rest = Interrupted {
            streamed,
            unread,
            recoveries: recoveries + 1,
            end,
        };
        let search = recovery::search(call, exchange, resumption, failure);
        Ok(Box::new(Recovering::new(
            search,
            rest,
            ready,
            timing.heartbeat,
            dialect,
        )))
    }
}
