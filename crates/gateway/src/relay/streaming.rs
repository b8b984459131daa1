//! The upstream's side of a relay: reading on until there is something to send, an end, or nothing to do.
//!
//! What the tap releases is what the client gets. The terminal event is no end yet: what trails it is taken along, so that the
//! upstream's connection can be used again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialects::TapState;
use tokio::time::Sleep;

use super::ending::End;
use super::silence::Timing;
use crate::admit::Call;
use crate::dispatch::{Exchange, Streamed};
use crate::limits::TRAIL_TIMEOUT;
use crate::stop::{self, Stage};

/// A stream that is being read, and what its silence is measured by.
pub(super) struct Streaming {
    pub(super) call: Box<Call>,
    pub(super) exchange: Exchange,
    pub(super) streamed: Streamed,
    pub(super) ready: VecDeque<Bytes>,
    pub(super) heard: Instant,
    pub(super) spoke: Instant,
    pub(super) timing: Timing,
    /// The terminal event was seen; only what trails it is awaited.
    pub(super) trailing: bool,
    /// Everything but the terminal event was seen: it is awaited until then.
    pub(super) whole_by: Option<Instant>,
    /// The upstream had nothing more when it was last asked.
    pub(super) awaiting: bool,
    /// How long the client left lying what was there for it: the upstream is not to blame for that time.
    pub(super) unread: Duration,
    /// How often its answer was gone on with.
    pub(super) recoveries: u32,
    /// The break was counted against the upstream.
    pub(super) blamed: bool,
}

/// What reading on came to.
pub(super) enum Advance {
    More,
    Ended(End),
}

impl Streaming {
    pub(super) fn new(mut call: Box<Call>, exchange: Exchange, mut streamed: Streamed) -> Self {
        call.forget_request();
        let now = Instant::now();
        let limits = call
            .route
            .targets
            .get(exchange.choice.target)
            .map(|target| target.upstream.timeouts);
        let (idle, total) = limits.map_or((Duration::MAX, Duration::MAX), |limits| (limits.idle, limits.total));
        let deadline = call.gateway.clock.instant(call.started + total);
        let timing = Timing {
            heartbeat: call.snapshot.defaults.heartbeat.0,
            idle,
            deadline,
        };
        let ready = VecDeque::from(std::mem::take(&mut streamed.ready));
        Self {
            call,
            exchange,
            streamed,
            ready,
            heard: now,
            spoke: now,
            timing,
            trailing: false,
            whole_by: None,
            awaiting: false,
            unread: Duration::ZERO,
            recoveries: 0,
            blamed: false,
        }
    }

    /// Reads on, until there is something to send, an end, or nothing to do.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Advance> {
        match std::mem::replace(&mut self.streamed.state, TapState::Open) {
            TapState::Open => {}
            TapState::Terminal => {
                self.streamed.state = TapState::Terminal;
                return self.trail(cx, alarm).map(Advance::Ended);
            }
            TapState::Broken(fault) => return Poll::Ready(Advance::Ended(End::Broken(fault))),
        }
        if let Some(end) = self.streamed.end.take() {
            return Poll::Ready(Advance::Ended(End::from(end)));
        }
        match self.streamed.source.poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.hear();
                if let Some(end) = self.overdue(self.heard) {
                    return Poll::Ready(Advance::Ended(end));
                }
                self.streamed.state = self.streamed.tap.push(chunk, &mut self.streamed.ready);
                if !self.streamed.ready.is_empty() {
                    self.spoke = self.heard;
                    self.ready.extend(self.streamed.ready.drain(..));
                }
                if self.call.settlement.is_stepped()
                    && let Err(fault) = self.call.settlement.cover(self.streamed.tap.content_bytes())
                {
                    return Poll::Ready(Advance::Ended(End::Limit(fault)));
                }
                Poll::Ready(Advance::More)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Advance::Ended(self.finish(false))),
            Poll::Ready(None) => Poll::Ready(Advance::Ended(self.finish(true))),
            Poll::Pending => {
                self.awaiting = true;
                self.note_whole(alarm.as_mut());
                self.watch(cx, alarm)
            }
        }
    }

    /// Whether the process is not waiting for it any longer.
    pub(super) fn is_cut(&self) -> bool {
        self.call.gateway.stop.has_reached(Stage::Cutting)
    }

    /// How it ends where the process does not wait for it any longer: what is whole but for its end is whole.
    pub(super) fn cut(&mut self) -> End {
        if self.trailing || self.whole_by.is_some() {
            self.finish(true)
        } else {
            End::Limit(stop::fault())
        }
    }

    pub(super) fn finish(&mut self, clean: bool) -> End {
        End::from(self.streamed.tap.finish(clean))
    }

    /// The terminal event is here. What follows it (a trailing `[DONE]`, the end of the body) is taken along if it comes
    /// soon; then the upstream's connection can be used again, too.
    fn trail(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<End> {
        if !std::mem::replace(&mut self.trailing, true) {
            alarm.as_mut().reset((Instant::now() + TRAIL_TIMEOUT).into());
        }
        loop {
            match self.streamed.source.poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.streamed.tap.push(chunk, &mut self.streamed.ready);
                }
                Poll::Pending if alarm.as_mut().poll(cx).is_pending() => return Poll::Pending,
                _ => break,
            }
        }
        self.ready.extend(self.streamed.ready.drain(..));
        Poll::Ready(self.finish(true))
    }
}
