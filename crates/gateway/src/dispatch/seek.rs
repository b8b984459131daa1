//! The only retry loop, of whatever is tried at one target after the other.

use std::sync::Arc;

use domain::declaration::{HedgeDecl, RefusalCause};
use domain::snapshot::Route;
use domain::{Failure, Fault, Snapshot, Surface, Timestamp};
use rand::Rng as _;
use routing::decision::Walk;
use routing::{Attempts, Choice, Recording, Step, Trace};

use crate::gateway::Inner;
use crate::stop::Stage;

/// What is tried until a target takes it: a call, or the opening of a realtime session.
pub(crate) trait Seeker: Send {
    /// What a target gives.
    type Got: Send;

    fn gateway(&self) -> &Arc<Inner>;
    fn snapshot(&self) -> &Snapshot;
    fn route(&self) -> &Arc<Route>;
    fn surface(&self) -> Surface;

    /// What is asked, with what a model must be able to do for it.
    fn asked(&self) -> routing::Asked<'_> {
        self.surface().into()
    }

    fn started(&self) -> Timestamp;

    /// Where alone it may go, because what it names lives there.
    fn pinned(&self) -> Option<routing::Pinned> {
        None
    }

    /// Whether the decision may be kept.
    fn recording(&self) -> Recording {
        Recording::Off
    }

    /// Takes what the decision was made from.
    fn keep(&mut self, _trace: Option<Box<Trace>>) {}

    /// Takes what was done after its first failure.
    fn walked(&mut self, _walk: Walk) {}

    /// Why what was got is a refusal, where another model may not share it; the caller's own mistakes are an answer.
    fn refusal(_got: &Self::Got) -> Option<RefusalCause> {
        None
    }

    /// When its first try is to be joined by a second one; `None`: never.
    fn hedge(&self) -> Option<HedgeDecl> {
        None
    }

    /// The first try, joined by a second one if it takes long. Nobody else is hedged.
    fn hedged(
        &mut self,
        _hedge: HedgeDecl,
        _attempts: &mut Attempts,
        choice: Choice,
        deadline: Timestamp,
    ) -> impl Future<Output = Ended<Self::Got>> + Send {
        async move {
            let result = self.attempt(choice, deadline).await;
            Ended::alone(choice, self.gateway().clock.now(), result)
        }
    }

    /// One try at one target with one credential.
    fn attempt(
        &mut self,
        choice: Choice,
        deadline: Timestamp,
    ) -> impl Future<Output = Result<Self::Got, Failure>> + Send;
}

/// What came of a try, or of two beside each other.
pub(crate) struct Ended<T> {
    /// Which of them ended it.
    pub(crate) choice: Choice,
    /// When.
    pub(crate) at: Timestamp,
    /// How many were begun beside the first.
    pub(crate) hedges: u32,
    pub(crate) result: Result<T, Failure>,
}

impl<T> Ended<T> {
    /// What came of one try.
    pub(crate) const fn alone(choice: Choice, at: Timestamp, result: Result<T, Failure>) -> Self {
        Self {
            choice,
            at,
            hedges: 0,
            result,
        }
    }
}

/// What was found, and how.
pub(crate) struct Found<T> {
    pub(crate) choice: Choice,
    pub(crate) attempts: Attempts,
    pub(crate) tries: u32,
    /// When it was there.
    pub(crate) at: Timestamp,
    pub(crate) got: T,
}

/// Seeks what answers, from the beginning.
pub(crate) async fn seek<S: Seeker>(seeker: &mut S) -> Result<Found<S::Got>, Fault> {
    let gateway = Arc::clone(seeker.gateway());
    let route = Arc::clone(seeker.route());
    let (plan, trace) = {
        let lots = (gateway.clock.now(), rand::rng().random());
        let (pinned, recording) = (seeker.pinned(), seeker.recording());
        routing::decide(&route, seeker.asked(), pinned, &gateway.board, lots, recording)
    };
    seeker.keep(trace);
    let deadline = deadline(seeker);
    let mut attempts = Attempts::new(plan, &seeker.snapshot().defaults, deadline);
    let mut tries = 0;
    let found = seek_on(seeker, &mut attempts, &mut tries, deadline).await;
    if let Some(walk) = attempts.walk(&route) {
        seeker.walked(walk);
    }
    let (choice, at, got) = found?;
    Ok(Found {
        choice,
        attempts,
        tries,
        at,
        got,
    })
}

/// When all of it must be over.
pub(crate) fn deadline<S: Seeker>(seeker: &S) -> Timestamp {
    let targets = seeker.route().targets.iter();
    let total = targets.map(|target| target.upstream.timeouts.total).max();
    seeker.started() + total.unwrap_or_default()
}

/// The loop: tries what `attempts` says, until there is something.
pub(crate) async fn seek_on<S: Seeker>(
    seeker: &mut S,
    attempts: &mut Attempts,
    tries: &mut u32,
    deadline: Timestamp,
) -> Result<(Choice, Timestamp, S::Got), Fault> {
    let gateway = Arc::clone(seeker.gateway());
    let route = Arc::clone(seeker.route());
    // The first refusal is that of the model which was asked for: the answer, if no fallback does better.
    let mut refused: Option<Box<(Choice, Timestamp, S::Got)>> = None;
    loop {
        let step = attempts.next(&route, &gateway.board, gateway.clock.now());
        match step {
            Step::GiveUp(fault) => {
                return Ok(*refused.ok_or(fault)?);
            }
            Step::Wait { until } => {
                let wait = std::pin::pin!(tokio::time::sleep_until(gateway.clock.instant(until).into()));
                gateway.stop.unless(Stage::Cutting, wait).await?;
            }
            Step::Try(choice) => {
                *tries += 1;
                // Boxed, so that calls that are not hedged carry nothing of it.
                let ended = if let Some(hedge) = seeker.hedge().filter(|_| *tries == 1) {
                    let both = Box::pin(seeker.hedged(hedge, attempts, choice, deadline));
                    gateway.stop.unless(Stage::Cutting, both).await?
                } else {
                    let attempt = std::pin::pin!(seeker.attempt(choice, deadline));
                    let result = gateway.stop.unless(Stage::Cutting, attempt).await?;
                    Ended::alone(choice, gateway.clock.now(), result)
                };
                *tries += ended.hedges;
                let (choice, at) = (ended.choice, ended.at);
                match ended.result {
                    Ok(got) => {
                        attempts.served(&route, choice, &gateway.board, at);
                        if S::refusal(&got).is_some_and(|cause| attempts.refused(&route, choice, cause)) {
                            refused.get_or_insert_with(|| Box::new((choice, at, got)));
                            continue;
                        }
                        return Ok((choice, at, got));
                    }
                    Err(failure) => {
                        let dice = &mut attempts.dice();
                        attempts.failed(&route, choice, &failure, &gateway.board, at, dice);
                        gateway.failed.notify_one();
                    }
                }
            }
        }
    }
}
