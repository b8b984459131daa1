//! Wake-ups that a future gives itself, without the scheduler.
//!
//! Two halves of a connection that run in one task wake that task while it is being polled: hyper reads a body only
//! when somebody asks for it, and here the asker and the reader are the same task, towards the client and towards the
//! upstream. tokio answers such a wake-up by queueing the task and waking an idle worker to take it, which at a thousand
//! requests per second cost more than all the gateway's own work (two futex calls and a move to the other core per
//! request, seen in a system-call trace). So what is polled gets a waker that notes such a wake-up, and it is polled
//! again at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::task::coop::has_budget_remaining;

/// How often in a row: what wakes itself without end must let others run.
const REPOLLS_MAX: usize = 16;

/// The waker of what is polled again when it wakes itself.
#[derive(Debug)]
pub(crate) struct SelfWakes {
    notes: Arc<Notes>,
    waker: Waker,
}

/// What the waker knows.
#[derive(Debug, Default)]
struct Notes {
    polling: AtomicBool,
    woken: AtomicBool,
    outer: AtomicWaker,
}

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.polling.load(Ordering::SeqCst) {
            self.outer.wake();
        }
    }
}

impl SelfWakes {
    pub(crate) fn new() -> Self {
        let notes = Arc::new(Notes::default());
        let waker = Waker::from(Arc::clone(&notes));
        Self { notes, waker }
    }

    /// Polls, and polls again as long as that wakes itself. Wake-ups from elsewhere go to the task of `cx`.
    pub(crate) fn poll<T>(&self, cx: &Context<'_>, mut inner: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.notes.outer.register(cx.waker());
        for _ in 0..REPOLLS_MAX {
            self.notes.woken.store(false, Ordering::SeqCst);
            self.notes.polling.store(true, Ordering::SeqCst);
            let poll = inner(&mut Context::from_waker(&self.waker));
            // From here on a wake-up goes to the scheduler; one that came before is seen in `woken`.
            self.notes.polling.store(false, Ordering::SeqCst);
            if poll.is_ready() || !self.notes.woken.load(Ordering::SeqCst) {
                return poll;
            }
            // Without budget tokio's sockets say only that they are not ready.
            if !has_budget_remaining() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Within [`poll`](Self::poll): all that was woken so far is about to be polled.
    pub(crate) fn heed(&self) {
        self.notes.woken.store(false, Ordering::SeqCst);
    }

    /// The task that polled last is told nothing more.
    pub(crate) fn detach(&self) {
        drop(self.notes.outer.take());
    }
}

/// A future that is polled again at once when it wakes itself.
#[derive(Debug)]
pub(crate) struct Repoll<F> {
    inner: Pin<Box<F>>,
    wakes: SelfWakes,
}

impl<F: Future> Repoll<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            inner: Box::pin(future),
            wakes: SelfWakes::new(),
        }
    }
}

impl<F: Future> Future for Repoll<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { inner, wakes } = &mut *self;
        wakes.poll(cx, |cx| inner.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Wakes itself this many times, then is ready if told so.
    struct SelfWaking {
        left: usize,
        ends: bool,
        kept: Option<Waker>,
    }

    impl Future for SelfWaking {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.kept = Some(cx.waker().clone());
            if self.left == 0 {
                return if self.ends { Poll::Ready(()) } else { Poll::Pending };
            }
            self.left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    fn poll(left: usize, ends: bool) -> (Poll<()>, usize, Option<Waker>, Arc<Counter>) {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut future = Repoll::new(SelfWaking { left, ends, kept: None });
        let poll = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        let kept = future.inner.kept.take();
        (poll, counter.0.load(Ordering::SeqCst), kept, counter)
    }

    #[test]
    fn its_own_wake_ups_do_not_reach_the_scheduler() {
        let (poll, wakes, _, _) = poll(3, true);
        assert_eq!((poll, wakes), (Poll::Ready(()), 0));
    }

    #[test]
    fn wake_ups_from_elsewhere_do() {
        let (poll, wakes, kept, counter) = poll(0, false);
        assert_eq!((poll, wakes), (Poll::Pending, 0));
        kept.unwrap().wake();
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn one_that_never_stops_lets_others_run() {
        let (poll, wakes, _, _) = poll(REPOLLS_MAX * 2, true);
        assert_eq!((poll, wakes), (Poll::Pending, 1));
    }
}
