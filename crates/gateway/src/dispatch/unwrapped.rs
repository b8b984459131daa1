//! An upstream's stream whose events lie in Amazon's frames, as the stream that it is inside.
//!
//! Told apart from a stream of the same format without frames only here, so that tap, relay and translation know nothing
//! of it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dialects::{Unwrapper, Wrapping};

use super::source::Source;
use crate::body::BodyError;

/// The next events inside of frames.
pub(super) fn poll_next(
    inner: &mut Source,
    unwrapper: &mut Unwrapper,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, BodyError>>> {
    let damaged = || Poll::Ready(Some(Err("the upstream's event stream is damaged".into())));
    let mut events = Vec::new();
    while events.is_empty() {
        if unwrapper.state() == Wrapping::Damaged {
            return damaged();
        }
        match ready!(inner.poll_next(cx)) {
            // What was sound before the damage is told first.
            Some(Ok(chunk)) => {
                unwrapper.push(&chunk, &mut events);
            }
            None if unwrapper.state() == Wrapping::Within => return damaged(),
            end => return Poll::Ready(end),
        }
    }
    Poll::Ready(Some(Ok(events.into())))
}
