//! How the process stops, in stages that everything under way can look at.
//!
//! What is under way is waited for, but not for ever; and whoever is cut off is told so and pays nothing, as with every
//! answer that does not end by its client's doing. So the stages are rung, connection by connection: a connection that
//! is rung is polled, and with it the call or stream on it, which then looks at the stage, and only when it has nothing
//! better to do. No call pays for that while the process serves.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use domain::{Fault, FaultKind};
use tokio_util::sync::CancellationToken;

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// What is under way is finished; nothing new is accepted.
    Finishing,
    /// Who has not sent a whole request, and sends nothing more of it, is not waited for any longer.
    Refusing,
    /// What is still under way ends with an error.
    Cutting,
    /// Connections are dropped, wherever they are.
    Over,
}

impl Stage {
    /// The one after it.
    pub(crate) const fn next(self) -> Option<Self> {
        match self {
            Self::Finishing => Some(Self::Refusing),
            Self::Refusing => Some(Self::Cutting),
            Self::Cutting => Some(Self::Over),
            Self::Over => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Finishing => 1,
            Self::Refusing => 2,
            Self::Cutting => 3,
            Self::Over => 4,
        }
    }
}

/// The stop of a process: none yet, or its stage.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// 0 while the process serves.
    reached: AtomicU8,
    finishing: CancellationToken,
    refusing: CancellationToken,
    cutting: CancellationToken,
    over: CancellationToken,
}

impl Stop {
    /// Goes on to the next stage, and rings its bell.
    pub(crate) fn reach(&self, stage: Stage) {
        self.reached.store(stage.number(), Ordering::SeqCst);
        self.bell(stage).cancel();
    }

    /// Whether it has come this far.
    pub(crate) fn has_reached(&self, stage: Stage) -> bool {
        self.reached.load(Ordering::Relaxed) >= stage.number()
    }

    /// Rings when it goes on to that stage.
    pub(crate) fn bell(&self, stage: Stage) -> CancellationToken {
        let bell = match stage {
            Stage::Finishing => &self.finishing,
            Stage::Refusing => &self.refusing,
            Stage::Cutting => &self.cutting,
            Stage::Over => &self.over,
        };
        bell.clone()
    }

    /// What a future gives, or a refusal where it is not ready at that stage. For futures of a client's connection: the
    /// bell that has them looked at is the connection's.
    pub(crate) async fn unless<T>(&self, stage: Stage, future: impl Future<Output = T> + Unpin) -> Result<T, Fault> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Pending if self.has_reached(stage) => Poll::Ready(Err(fault())),
            poll => poll.map(Ok),
        })
        .await
    }
}

/// What whoever is cut off is told. They may come again: another process answers, or this one when it is back.
pub(crate) fn fault() -> Fault {
    Fault::new(FaultKind::Saturated, "the gateway is being stopped; try again").retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_ready_is_given_and_what_is_not_is_refused() {
        let stop = Stop::default();
        let unless = async |stage| stop.unless(stage, std::future::pending::<()>()).await;
        stop.reach(Stage::Cutting);
        assert_eq!(stop.unless(Stage::Cutting, std::future::ready(7)).await.unwrap(), 7);
        assert_eq!(unless(Stage::Cutting).await.unwrap_err().kind, FaultKind::Saturated);
        assert!(unless(Stage::Refusing).await.is_err(), "stages that lie behind count");
        assert!(!stop.has_reached(Stage::Over));
        assert!(stop.bell(Stage::Cutting).is_cancelled() && !stop.bell(Stage::Over).is_cancelled());
    }
}
