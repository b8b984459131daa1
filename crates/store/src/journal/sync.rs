//! Forcing written records to the disk, on a thread of its own.
//!
//! `interval`: the thread sleeps until something is written, waits a fifth of a second for more, then flushes.
//! `always`: group commit; while one flush runs, the answers that end meanwhile gather for the next.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::Sync;
use super::append::{AppendError, Shared};
use crate::limits::{SYNC_EVERY, SYNC_WAITERS_MAX};

/// Resolves when a record is as durable as promised.
#[derive(Debug)]
#[must_use = "under `sync: always` the record is durable only when this is ready"]
pub struct Ticket {
    waiting: Option<Waiting>,
}

struct Waiting {
    shared: Arc<Shared>,
    number: u64,
}

/// What the flushing thread and those who wait for it share.
#[derive(Default)]
pub(super) struct Flush {
    /// Something was written since the last flush.
    dirty: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// Records up to this number are on the disk.
    durable: u64,
    /// Those of the last flush that failed are not, and never will be known to be.
    failed: Option<Lost>,
    waiters: Vec<(u64, Waker)>,
}

/// Records that a failed flush left in the dark: their numbers are above `after`, up to `to`.
struct Lost {
    after: u64,
    to: u64,
    message: String,
}

/// The flushing thread.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Ticket {
    pub(super) const fn ready() -> Self {
        Self { waiting: None }
    }

    pub(super) const fn waiting(shared: Arc<Shared>, number: u64) -> Self {
        Self {
            waiting: Some(Waiting { shared, number }),
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiting) = &self.waiting else {
            return Poll::Ready(Ok(()));
        };
        let poll = waiting.shared.flush.poll(waiting.number, cx);
        if poll.is_ready() {
            self.waiting = None;
        }
        poll
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Flush {
    /// Something was written. Costs one atomic swap, except the first time after a flush.
    pub(super) fn mark_dirty(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            // Under the lock, or the thread could miss it between looking and sleeping.
            let _state = self.state.lock();
            self.changed.notify_one();
        }
    }

    fn poll(&self, number: u64, cx: &Context<'_>) -> Poll<Result<(), AppendError>> {
        let mut state = self.state.lock();
        // First: a later flush that succeeded says nothing of these.
        if let Some(lost) = state
            .failed
            .as_ref()
            .filter(|lost| lost.after < number && number <= lost.to)
        {
            return Poll::Ready(Err(AppendError::Write(lost.message.clone())));
        }
        if state.durable >= number {
            return Poll::Ready(Ok(()));
        }
        if let Some((_, waker)) = state.waiters.iter_mut().find(|(other, _)| *other == number) {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        if state.waiters.len() >= SYNC_WAITERS_MAX {
            return Poll::Ready(Err(AppendError::Write("too many answers wait for the disk".to_owned())));
        }
        state.waiters.push((number, cx.waker().clone()));
        self.changed.notify_one();
        Poll::Pending
    }

    pub(super) fn finished(&self, number: u64, result: io::Result<()>) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => state.durable = number,
            Err(error) => {
                state.failed = Some(Lost {
                    after: state.durable,
                    to: number,
                    message: format!("fsync: {error}"),
                });
            }
        }
        let (done, waiting) = state.waiters.drain(..).partition(|(waiter, _)| *waiter <= number);
        state.waiters = waiting;
        drop(state);
        let done: Vec<(u64, Waker)> = done;
        for (_, waker) in done {
            waker.wake();
        }
    }

    /// Sleeps until there is something to flush; false: it is time to stop.
    fn wait_for_work(&self, sync: Sync) -> bool {
        let mut state = self.state.lock();
        loop {
            let work = match sync {
                Sync::Always => !state.waiters.is_empty(),
                Sync::Os | Sync::Interval => self.dirty.load(Ordering::Acquire),
            };
            if state.stop || work {
                break;
            }
            self.changed.wait(&mut state);
        }
        if sync == Sync::Interval && !state.stop {
            // Marks of the same interval do not notify, so this ends early only for a stop.
            self.changed.wait_for(&mut state, SYNC_EVERY);
        }
        !state.stop
    }
}

impl Flusher {
    /// Starts the thread; `None` where nothing is to be flushed.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Option<Self>> {
        if shared.options.sync == Sync::Os {
            return Ok(None);
        }
        let inner = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || run(&inner))?;
        Ok(Some(Self {
            shared: Arc::clone(shared),
            thread,
        }))
    }

    /// Flushes a last time and ends the thread.
    pub(super) fn stop(self) {
        {
            let mut state = self.shared.flush.state.lock();
            state.stop = true;
            self.shared.flush.changed.notify_all();
        }
        if self.thread.join().is_err() {
            tracing::error!("the thread that flushes the journal panicked");
        }
    }
}

fn run(shared: &Shared) {
    loop {
        let go_on = shared.flush.wait_for_work(shared.options.sync);
        shared.flush.dirty.store(false, Ordering::Release);
        let dirty = shared.take_dirty();
        let result = dirty.files.iter().try_for_each(|file| file.sync_data());
        let number = match &result {
            Ok(()) => {
                shared.flushed(&dirty);
                dirty.number
            }
            Err(error) => shared.flush_failed(error),
        };
        shared.flush.finished(number, result);
        shared.look();
        if !go_on {
            return;
        }
    }
}
