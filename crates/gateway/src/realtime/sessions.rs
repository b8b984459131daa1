//! The sessions under way: how many there may be, and how they end with the process.
//!
//! A session outlives the request that opened it, and the HTTP connection that it was; so it is a task of its own, which
//! is started here and waited for at shutdown.

use std::future::Future;
use std::sync::Arc;

use domain::{Fault, FaultKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{CLOSE_TIMEOUT, SESSIONS_MAX};

/// The sessions under way.
#[derive(Debug)]
pub(crate) struct Sessions {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(SESSIONS_MAX)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// A place for a session, kept as long as it lives.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| {
            let message = "too many realtime sessions are open at once";
            Fault::new(FaultKind::Saturated, message).retry_after(std::time::Duration::from_secs(1))
        })
    }

    /// Lets a session run.
    pub(super) fn start(&self, session: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(session);
    }

    /// Cancelled when sessions must end.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Waits until no session is left, after the last one was opened.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends those that are left: each settles and tells its client.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        // Once for a response that its client does not wait for any more, and once for the last messages.
        if tokio::time::timeout(CLOSE_TIMEOUT * 2, self.ended()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "realtime sessions did not end in time");
        }
    }
}
