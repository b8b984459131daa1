//! Responses in the background: billed when they are done, not when they are begun.
//!
//! A client that asks for `background: true` is answered at once with a name and nothing else; what the work costs is told
//! by the upstream when the response is asked for again. So the call stays open after its client has gone: its account
//! (with the hold, which bounds what policy `hard` pays) waits here until somebody sees the response finished. That is
//! whoever comes first, the client that asks for it or we ourselves, who ask now and then, since a client may never come
//! back. The receipt bears the id of the call that began the work, so however often it is written (a crash between the
//! receipt and the note that it was written, two replicas that both saw the end), it is booked once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialects::{Nonsense, Report};
use domain::snapshot::{Credential, Route, RouteBounds, RouteStamp, Target, Upstream, User};
use domain::{Capabilities, Ending, Job, Pin, Policy, Snapshot, UserId};
use futures_util::StreamExt as _;
use hashbrown::HashMap;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::RESPONSES;
use super::responses::{Ask, below};
use super::writer::Write;
use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::limits::{ANSWER_MAX, JOB_KNOWN_FOR, JOBS_MAX, JOBS_OF_USER_MAX, LOOKS_MAX};
use crate::settle::{Outcome, Served, Settlement};

/// How soon we look first, and how seldom at last.
const LOOK_FIRST: Duration = Duration::from_secs(2);
const LOOK_SELDOM: Duration = Duration::from_mins(1);

/// How often it is looked whether something is to be looked at.
const TICK: Duration = Duration::from_millis(500);

/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Work that is not billed yet, by user and name.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<HashMap<(UserId, String), Open>>);

/// One of them.
struct Open {
    pin: Arc<Pin>,
    settlement: Settlement,
    next: Instant,
    wait: Duration,
}

impl Jobs {
    /// Whether there is no room for another of this user.
    pub(crate) fn are_full(&self, user: UserId) -> bool {
        let jobs = self.0.lock();
        jobs.len() >= JOBS_MAX || jobs.keys().filter(|(owner, _)| *owner == user).count() >= JOBS_OF_USER_MAX
    }

    fn add(&self, pin: Arc<Pin>, settlement: Settlement) {
        let open = Open {
            next: Instant::now() + LOOK_FIRST,
            wait: LOOK_FIRST,
            settlement,
            pin,
        };
        self.0.lock().insert((open.pin.user, open.pin.id.clone()), open);
    }

    fn take(&self, pin: &Pin) -> Option<Open> {
        self.0.lock().remove(&(pin.user, pin.id.clone()))
    }

    /// Whether the response is not billed yet.
    pub(crate) fn has(&self, pin: &Pin) -> bool {
        self.0.lock().contains_key(&(pin.user, pin.id.clone()))
    }

    /// Those that are to be looked at now; their next turn is set.
    fn due(&self, now: Instant) -> Vec<Arc<Pin>> {
        let mut due = Vec::new();
        for open in self.0.lock().values_mut().filter(|open| open.next <= now) {
            open.wait = (open.wait * 2).min(LOOK_SELDOM);
            open.next = now + open.wait;
            due.push(Arc::clone(&open.pin));
        }
        due
    }
}

/// The call's client has its answer, and the work goes on.
pub(crate) fn begin(gateway: &Inner, pin: Arc<Pin>, settlement: &mut Settlement) {
    gateway.recall.jobs.add(pin, settlement.hand_over());
}

/// The work was billed with its call.
pub(crate) fn billed(gateway: &Inner, pin: &Pin) {
    gateway.recall.queue.push(Write::Billed(pin.user, pin.id.clone()));
}

/// Somebody saw the response: bills it if it is done.
pub(crate) async fn seen(gateway: &Arc<Inner>, pin: &Pin, body: &[u8]) {
    match dialects::read_answer(RESPONSES, body) {
        Ok(report) if report.stored.as_ref().is_some_and(|stored| stored.is_pending) => {}
        Ok(report) => {
            let is_cancelled = report.stored.as_ref().is_some_and(|stored| stored.is_cancelled);
            // Whoever ends the work pays for what was done of it, like a client that leaves its stream.
            let ending = if is_cancelled {
                Ending::ClientGone
            } else {
                Ending::Complete
            };
            finish(gateway, pin, ending, Some(report), None).await;
        }
        Err(Nonsense::Error(failure)) => {
            finish(gateway, pin, Ending::UpstreamGone, None, Some(failure.detail)).await;
        }
        Err(nonsense) => tracing::warn!(id = pin.id, %nonsense, "a response in the background cannot be read"),
    }
}

/// The response will not be seen again.
pub(crate) async fn lost(gateway: &Arc<Inner>, pin: &Pin, why: &str) {
    finish(gateway, pin, Ending::UpstreamGone, None, Some(why.to_owned())).await;
}

/// Bills the work, once.
async fn finish(gateway: &Arc<Inner>, pin: &Pin, ending: Ending, report: Option<Report>, error: Option<String>) {
    let Some(Open {
        mut settlement, pin, ..
    }) = gateway.recall.jobs.take(pin)
    else {
        return;
    };
    let route = Arc::clone(settlement.route());
    let target = pin.job.as_ref().and_then(|job| target(&route, &pin, job));
    let served = target.zip(report).map(|(target, report)| Served {
        target,
        credential: pin.credential,
        relayed: report.content_bytes > 0,
        report,
        sound_tokens: 0,
    });
    let outcome = Outcome {
        ending,
        status: StatusCode::OK.as_u16(),
        served,
        first_content: None,
        error,
    };
    let durable = match settlement.finish(&outcome) {
        Ok(settled) => settled.ticket.await.is_ok(),
        Err(_) => false,
    };
    if durable {
        billed(gateway, &pin);
    } else {
        tracing::error!(
            id = pin.id,
            "a response in the background will be billed after a restart"
        );
    }
}

fn target<'a>(route: &'a Route, pin: &Pin, job: &Job) -> Option<&'a Target> {
    let at = |target: &&Target| target.upstream.id == pin.upstream;
    let is_same = |target: &&Target| at(target) && *target.model == *job.target;
    route
        .targets
        .iter()
        .find(is_same)
        .or_else(|| route.targets.iter().find(at))
}

/// Takes up what an earlier process began, before the first call is admitted.
pub(crate) async fn resume(gateway: &Arc<Inner>) -> Result<usize, store::StoreError> {
    let pins = gateway.recall.store.pins().jobs().await?;
    let snapshot = gateway.snapshot.load_full();
    let count = pins.len();
    for pin in pins {
        let Some(job) = &pin.job else { continue };
        let user = payer(&snapshot, pin.user);
        if job.batch.is_some() {
            let route = Arc::new(route_of(&job.model, None));
            let settlement = Settlement::reopen(gateway, user, pin.key, job, route);
            gateway.recall.batches.add(Arc::new(pin), settlement);
            continue;
        }
        let listed = snapshot
            .route(&job.model)
            .filter(|route| target(route, &pin, job).is_some());
        let route = listed.unwrap_or_else(|| unlisted(&snapshot, &pin, job));
        let settlement = Settlement::reopen(gateway, user, pin.key, job, route);
        gateway.recall.jobs.add(Arc::new(pin), settlement);
    }
    Ok(count)
}

/// A user who was removed meanwhile still owes.
fn payer(snapshot: &Snapshot, id: UserId) -> Arc<User> {
    let removed = || User {
        id,
        name: String::new(),
        policy: Policy::Unlimited,
    };
    snapshot.users.get(&id).cloned().unwrap_or_else(|| Arc::new(removed()))
}

/// A model that is not served any more: the work goes on, and is worth what the catalog says.
fn unlisted(snapshot: &Snapshot, pin: &Pin, job: &Job) -> Arc<Route> {
    let target = home(snapshot, pin).map(|(upstream, _)| unlisted_target(upstream, &job.target));
    Arc::new(route_of(&job.model, target))
}

/// A model of an upstream that nobody declared, at the catalog's price.
pub(super) fn unlisted_target(upstream: &Arc<Upstream>, model: &str) -> Target {
    let facts = domain::catalog::models().find(upstream.provider.catalog_name(), model);
    Target {
        upstream: Arc::clone(upstream),
        model: model.into(),
        weight: 1,
        priority: 0,
        tier: 0,
        identity: 0,
        price: facts.and_then(|facts| facts.price.clone().map(Arc::new)),
        context: 0,
        max_output: 0,
        thinks: None,
        capabilities: Capabilities::default(),
    }
}

/// A route that goes to one target, or nowhere.
pub(super) fn route_of(model: &str, target: Option<Target>) -> Route {
    Route {
        model: model.to_owned(),
        strategy: domain::declaration::Strategy::default(),
        targets: target.into_iter().collect(),
        price: None,
        system_prompt: None,
        bounds: RouteBounds::default(),
        stamp: RouteStamp::default(),
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
    }
}

/// Looks after what is not billed yet, until `shutdown`.
pub(crate) async fn look_after(gateway: Arc<Inner>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        // Several at once, each for a bounded time: an upstream that hangs must not keep the others waiting.
        let due = futures_util::stream::iter(gateway.recall.jobs.due(Instant::now()));
        let looking = due.for_each_concurrent(LOOKS_MAX, |pin| {
            let gateway = &gateway;
            async move {
                if tokio::time::timeout(LOOK_TIMEOUT, look(gateway, &pin)).await.is_err() {
                    tracing::debug!(
                        id = pin.id,
                        "the upstream is silent about a response; it is asked again"
                    );
                }
            }
        });
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = looking => {}
        }
    }
}

/// Asks the upstream how far the work is.
pub(crate) async fn look(gateway: &Arc<Inner>, pin: &Pin) {
    if gateway.clock.now().since(pin.made_at) > JOB_KNOWN_FOR {
        return lost(gateway, pin, "the response was never finished").await;
    }
    let snapshot = gateway.snapshot.load_full();
    let Some((upstream, credential)) = home(&snapshot, pin) else {
        return;
    };
    let Some(path) = below(upstream, &pin.id, "") else {
        return;
    };
    let ask = Ask {
        upstream,
        credential,
        method: Method::GET,
        path: &path,
        query: None,
        client_headers: &HeaderMap::new(),
        body: Bytes::new(),
    };
    let Ok(response) = ask.send(gateway).await else { return };
    let (head, body) = response.into_parts();
    match head.status {
        StatusCode::OK => {
            if let Ok(body) = collect(Source::Upstream(body, None), ANSWER_MAX, Overflow::Fail).await {
                seen(gateway, pin, &body).await;
            }
        }
        StatusCode::NOT_FOUND => lost(gateway, pin, "the upstream does not know the response any more").await,
        _ => {}
    }
}

/// The upstream and credential of a pin, as they are now.
pub(crate) fn home<'a>(snapshot: &'a Snapshot, pin: &Pin) -> Option<(&'a Arc<Upstream>, &'a Arc<Credential>)> {
    let upstream = snapshot.upstreams.iter().find(|upstream| upstream.id == pin.upstream)?;
    let own = upstream.credentials.iter().find(|known| known.id == pin.credential);
    let in_service = |known: &&Arc<Credential>| known.state.deactivated.is_none();
    own.or_else(|| upstream.credentials.iter().find(in_service))
        .map(|credential| (upstream, credential))
}
