//! While nothing comes: one alarm watches heartbeat, idle and the whole call's time, and is set anew only when it rings.
//!
//! Time in which the client left lying what was there for it is not the upstream's silence. The two are counted apart, because
//! one ends in a failure that counts against the upstream, the other in a call that its client pays.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{Fault, FaultKind};
use tokio::time::Sleep;

use super::ending::End;
use super::streaming::{Advance, Streaming};
use crate::limits::{TERMINATOR_TIMEOUT, USAGE_TIMEOUT};

/// What part of a call's time its client must have let pass for the limit to be the client's doing: a tenth.
const CLIENTS_SHARE: u32 = 10;

/// The limits that one alarm watches.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) heartbeat: Duration,
    pub(super) idle: Duration,
    pub(super) deadline: Instant,
    /// From the call's start to its deadline.
    pub(super) total: Duration,
}

impl Timing {
    /// Whether the limit passed by the client's doing. A client that reads at once leaves something lying too, for as long as
    /// a timer is late and a chunk is worked on; so little is not its doing.
    fn is_clients(&self, unread: Duration) -> bool {
        unread >= self.total / CLIENTS_SHARE
    }

    /// When the alarm must ring next.
    pub(super) fn next(&self, heard: Instant, spoke: Instant) -> Instant {
        (spoke + self.heartbeat).min(heard + self.idle).min(self.deadline)
    }
}

impl Streaming {
    /// Notes that an answer lacks nothing but its terminator, and sets the alarm to when it will do without.
    pub(super) fn note_whole(&mut self, alarm: Pin<&mut Sleep>) {
        let wait = self
            .streamed
            .tap
            .lacks_only_its_terminator()
            .map(|has_usage| if has_usage { TERMINATOR_TIMEOUT } else { USAGE_TIMEOUT });
        let by = wait.map(|wait| self.heard + wait);
        if self.whole_by != by {
            self.whole_by = by;
            if let Some(by) = by {
                alarm.reset(by.min(self.timing.next(self.heard, self.spoke)).into());
            }
        }
    }

    /// Notes that the upstream was heard. If nothing had been awaited, it was the client that did not ask.
    pub(super) fn hear(&mut self) {
        let now = Instant::now();
        if !std::mem::replace(&mut self.awaiting, false) {
            self.unread += now.saturating_duration_since(self.heard);
        }
        self.heard = now;
    }

    /// Whether the call's time is over, and by whose doing: who reads slowly must not get for nothing what was produced, and
    /// who reads at once must not pay for an upstream that is slow.
    pub(super) fn overdue(&self, now: Instant) -> Option<End> {
        if now < self.timing.deadline {
            return None;
        }
        Some(if self.timing.is_clients(self.unread) {
            let message = "the client took its answer too slowly for the call's time limit (server.request_timeout)";
            End::Unread(Fault::new(FaultKind::RequestTimeout, message))
        } else {
            let message =
                "the call took longer than its time limit (server.request_timeout, or timeouts.total of the upstream)";
            End::Limit(Fault::new(FaultKind::UpstreamTimeout, message))
        })
    }

    /// Nothing came: is a limit reached, or a sign of life due?
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Advance> {
        while alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            // An alarm is looked at late when the client did not ask for more.
            let late = now.saturating_duration_since(alarm.deadline().into_std().max(self.heard));
            self.unread += late;
            self.heard += late;
            if let Some(end) = self.overdue(now) {
                return Poll::Ready(Advance::Ended(end));
            }
            if self.whole_by.is_some_and(|by| now >= by) {
                return Poll::Ready(Advance::Ended(self.finish(true)));
            }
            if now >= self.heard + self.timing.idle {
                let fault = Fault::new(
                    FaultKind::UpstreamTimeout,
                    "the upstream fell silent in the middle of its answer",
                );
                return Poll::Ready(Advance::Ended(End::Limit(fault)));
            }
            if now >= self.spoke + self.timing.heartbeat {
                self.spoke = now;
                if self.streamed.tap.between_events() {
                    let beat = dialects::heartbeat(self.call.dialect());
                    self.ready.push_back(Bytes::from_static(beat));
                }
            }
            let next = self.timing.next(self.heard, self.spoke);
            alarm
                .as_mut()
                .reset(self.whole_by.map_or(next, |by| by.min(next)).into());
            if !self.ready.is_empty() {
                return Poll::Ready(Advance::More);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lets_a_tenth_of_the_time_pass_has_let_the_limit_pass() {
        let total = Duration::from_mins(10);
        let timing = Timing {
            heartbeat: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            deadline: Instant::now() + total,
            total,
        };
        // Some forty alarms that were a millisecond late.
        assert!(!timing.is_clients(Duration::from_millis(40)));
        assert!(!timing.is_clients(Duration::from_millis(59_999)));
        assert!(timing.is_clients(Duration::from_mins(1)));
    }
}
