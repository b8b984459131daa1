//! Batches: billed when their results are there, request by request.
//!
//! A batch is made on the operator's account by a request of a few bytes, and costs what thousands of calls cost, hours
//! later. So it is kept in mind like a response in the background ([`super::jobs`]): durably before its maker hears of it,
//! with a hold, until we have read its results ourselves. Each request of it that was answered gets a receipt of its own,
//! at the prices of the `batch` tier, joined by the batch's call as its session. Its id follows from the batch's call and
//! the request's name in it, so however often the results are read (a crash half-way, two replicas), each is booked once.
//!
//! Under policy `hard` all that the requests may cost is held when the batch is made, which means reading them: they are in
//! the body (Anthropic, Gemini) or in a file at the upstream (`OpenAI`). Files that Google does not give out again are known
//! by what was seen of them when they were uploaded here ([`census`]), or bounded by their size.

mod address;
mod asked;
mod census;
mod lines;
mod results;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialects::batch;
use domain::snapshot::{Credential, Upstream};
use domain::{Dialect, Fault, FaultKind, Job, Operation, Pin, Surface, UpstreamId, UserId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hashbrown::HashMap;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::jobs::home;
use super::keep::{Kind, Maker};
use super::responses::Ask;
use super::things;
use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::inbound::decoded;
use crate::limits::{
    ANSWER_MAX, BATCH_KNOWN_FOR, BATCH_READS_MAX, BATCH_RESULTS_TIMEOUT, BATCHES_MAX, BATCHES_OF_USER_MAX,
};
use crate::settle::{Outcome, Settlement};

pub(crate) use address::retell;
pub(crate) use asked::admit;
pub(crate) use census::{Censuses, note as note_upload};

/// How soon we look first, and how seldom at last: batches take minutes at least.
const LOOK_FIRST: Duration = Duration::from_secs(2);
const LOOK_SELDOM: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(500);

/// How long a deletion waits for what it would delete to be billed.
const DELETION_WAIT: Duration = Duration::from_secs(30);

/// Batches that are not billed yet, by user and name.
#[derive(Default)]
pub(crate) struct Batches(Mutex<HashMap<(UserId, String), Open>>);

/// One of them.
struct Open {
    pin: Arc<Pin>,
    settlement: Settlement,
    /// The file of its results, once somebody saw its name.
    output: Option<String>,
    next: Instant,
    wait: Duration,
}

/// What the batch itself is, beside its requests.
const fn surface(dialect: Dialect) -> Surface {
    Surface::new(Operation::Passthrough, dialect)
}

/// A batch that a request makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// In which format.
    dialect: Dialect,
    /// What all its requests ask for, where the path says it (Gemini).
    of: Option<Asking>,
}

/// What all requests of a batch ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asking {
    /// Of which model, in the upstream's words.
    model: String,
    operation: Operation,
}

/// Gemini's methods that make batches (google-genai 3.6, `batches.py`, `_create` and `_create_embeddings`).
const GEMINI_MAKERS: [(&str, Operation); 2] = [
    (":batchGenerateContent", Operation::Chat),
    (":asyncBatchEmbedContent", Operation::Embeddings),
];

/// The batch that a request makes, if it makes one.
pub(crate) fn made_at(method: &Method, dialect: Dialect, path: &str) -> Option<Made> {
    if *method != Method::POST {
        return None;
    }
    let made = |dialect, of| Some(Made { dialect, of });
    // As the upstream reads it: a batch whose method is percent-encoded would be nobody's. What is encoded twice is not
    // forwarded, and what is encoded wrongly nobody understands.
    let read = decoded(path).unwrap_or_default();
    match (dialect, &*read) {
        (_, "/messages/batches") => made(Dialect::AnthropicMessages, None),
        (Dialect::Gemini, path) => made(Dialect::Gemini, Some(asking(path)?)),
        (_, "/batches") => made(Dialect::OpenaiChat, None),
        _ => None,
    }
}

fn asking(path: &str) -> Option<Asking> {
    let makes = |(method, operation)| path.strip_suffix(method).map(|path| (path, operation));
    let (path, operation) = GEMINI_MAKERS.into_iter().find_map(makes)?;
    let model = path.strip_prefix("/models/").or_else(|| path.strip_prefix('/'))?;
    Some(Asking {
        model: model.to_owned(),
        operation,
    })
}

/// The path of a batch at its upstream.
fn path_of(dialect: Dialect, id: &str) -> String {
    match dialect {
        Dialect::AnthropicMessages => format!("/messages/batches/{id}"),
        // Named with its collection.
        Dialect::Gemini => format!("/{id}"),
        _ => format!("/batches/{id}"),
    }
}

/// Remembers the batch that was made, before its maker hears of it.
pub(crate) async fn begin(
    gateway: &Inner,
    maker: Maker,
    (mut settlement, begun): (Settlement, Made),
    source: Source,
) -> Result<Source, Fault> {
    let (text, source) = things::read(source).await;
    let dialect = begun.dialect;
    let Some(made) = text.as_deref().and_then(|text| batch::state(dialect, text)) else {
        tracing::error!(call = %settlement.call, "the answer to the creation of a batch cannot be read: it will not be billed");
        return Err(Fault::new(FaultKind::BadGateway, "the upstream's answer is no batch"));
    };
    let mut pin = maker.pin(gateway, &made.id, Kind::Thing);
    let of = begun.of.as_ref();
    pin.job = Some(Job {
        batch: Some(dialect),
        operation: of.map(|of| of.operation),
        ..settlement.job(of.map_or("", |of| &of.model))
    });
    let pin = Arc::new(pin);
    gateway.recall.pin_now(Arc::clone(&pin)).await?;
    gateway.recall.batches.add(pin, settlement.hand_over());
    Ok(source)
}

impl Batches {
    /// Whether there is no room for another of this user.
    fn are_full(&self, user: UserId) -> bool {
        let open = self.0.lock();
        open.len() >= BATCHES_MAX || open.keys().filter(|(owner, _)| *owner == user).count() >= BATCHES_OF_USER_MAX
    }

    pub(super) fn add(&self, pin: Arc<Pin>, settlement: Settlement) {
        let open = Open {
            next: Instant::now() + LOOK_FIRST,
            wait: LOOK_FIRST,
            output: None,
            settlement,
            pin,
        };
        self.0.lock().insert((open.pin.user, open.pin.id.clone()), open);
    }

    fn take(&self, pin: &Pin) -> Option<Settlement> {
        let open = self.0.lock().remove(&(pin.user, pin.id.clone()));
        open.map(|open| open.settlement)
    }

    /// Somebody read what the upstream says of it: if it is over, it is looked at soon.
    pub(crate) fn saw(&self, pin: &Pin, object: &[u8]) {
        let mut batches = self.0.lock();
        let Some(open) = batches.get_mut(&(pin.user, pin.id.clone())) else {
            return;
        };
        let state = dialect(&open.pin).and_then(|dialect| batch::state(dialect, object));
        if let Some(state) = state.filter(|state| state.is_over && state.id == pin.id) {
            open.output = state.output;
            open.next = Instant::now();
        }
    }

    /// Those that are to be looked at now, `most` of them; their next turn is set.
    fn due(&self, now: Instant, most: usize) -> Vec<Arc<Pin>> {
        let mut due = Vec::new();
        let mut batches = self.0.lock();
        for open in batches.values_mut().filter(|open| open.next <= now).take(most) {
            open.wait = (open.wait * 2).min(LOOK_SELDOM);
            // Not again while it is being read.
            open.next = now + open.wait + BATCH_RESULTS_TIMEOUT;
            due.push(Arc::clone(&open.pin));
        }
        due
    }

    /// It was looked at, and is not over yet.
    fn looked(&self, pin: &Pin) {
        if let Some(open) = self.0.lock().get_mut(&(pin.user, pin.id.clone())) {
            open.next = Instant::now() + open.wait;
        }
    }

    /// Those at an upstream that are this thing, or whose results are in it.
    fn in_thing(&self, upstream: UpstreamId, id: &str) -> Vec<Arc<Pin>> {
        let is_in =
            |open: &&Open| open.pin.upstream == upstream && (open.pin.id == id || open.output.as_deref() == Some(id));
        let batches = self.0.lock();
        batches
            .values()
            .filter(is_in)
            .map(|open| Arc::clone(&open.pin))
            .collect()
    }
}

fn dialect(pin: &Pin) -> Option<Dialect> {
    pin.job.as_ref()?.batch
}

/// What is deleted can no longer be read, and so not be billed: that is done first.
pub(crate) async fn before_deletion(gateway: &Arc<Inner>, upstream: UpstreamId, path: &str) -> Result<(), Fault> {
    let id = path.rsplit('/').next().unwrap_or_default();
    for pin in gateway.recall.batches.in_thing(upstream, id) {
        let looked = tokio::time::timeout(DELETION_WAIT, look(gateway, &pin)).await;
        gateway.recall.batches.looked(&pin);
        if looked.is_err() || !gateway.recall.batches.in_thing(upstream, id).is_empty() {
            let message = "the results of the batch are not accounted for yet; cancel it, or try again later";
            return Err(Fault::new(FaultKind::Malformed, message));
        }
    }
    Ok(())
}

/// Looks after what is not billed yet, until `shutdown`.
pub(crate) async fn look_after(gateway: &Arc<Inner>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    let mut looking = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(()) = looking.next(), if !looking.is_empty() => {}
            _ = tick.tick() => {
                let room = BATCH_READS_MAX - looking.len();
                for pin in gateway.recall.batches.due(Instant::now(), room) {
                    looking.push(look_in_time(gateway, pin));
                }
            }
        }
    }
}

async fn look_in_time(gateway: &Arc<Inner>, pin: Arc<Pin>) {
    if tokio::time::timeout(BATCH_RESULTS_TIMEOUT, look(gateway, &pin))
        .await
        .is_err()
    {
        tracing::warn!(id = pin.id, "a batch could not be read in time; it is tried again");
    }
    gateway.recall.batches.looked(&pin);
}

/// Asks the upstream how far the batch is, and bills it if it is over.
async fn look(gateway: &Arc<Inner>, pin: &Pin) {
    let Some(dialect) = dialect(pin) else { return };
    if gateway.clock.now().since(pin.made_at) > BATCH_KNOWN_FOR {
        return end(
            gateway,
            pin,
            dialect,
            Vec::new(),
            Some("the batch was never finished".to_owned()),
        )
        .await;
    }
    let snapshot = gateway.snapshot.load_full();
    let Some(place) = home(&snapshot, pin) else { return };
    let Some((status, source)) = get(gateway, place, &path_of(dialect, &pin.id)).await else {
        return;
    };
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => {
            let why = "the upstream does not know the batch any more".to_owned();
            return end(gateway, pin, dialect, Vec::new(), Some(why)).await;
        }
        _ => return,
    }
    let Ok(text) = collect(source, ANSWER_MAX, Overflow::Fail).await else {
        return;
    };
    if let Some(state) = batch::state(dialect, &text).filter(|state| state.is_over) {
        gateway.recall.batches.saw(pin, &text);
        let read = results::read(gateway, pin, place, (state, &text)).await;
        if let Some((answered, error)) = read {
            end(gateway, pin, dialect, answered, error).await;
        } else {
            tracing::warn!(
                id = pin.id,
                "the results of a batch could not be read; it is tried again"
            );
        }
    }
}

/// Asks an upstream for something.
async fn get(
    gateway: &Arc<Inner>,
    (upstream, credential): (&Arc<Upstream>, &Arc<Credential>),
    path: &str,
) -> Option<(StatusCode, Source)> {
    let ask = Ask {
        upstream,
        credential,
        method: Method::GET,
        path,
        query: None,
        client_headers: &HeaderMap::new(),
        body: Bytes::new(),
    };
    let (head, body) = ask.send(gateway).await.ok()?.into_parts();
    Some((head.status, Source::Upstream(body, None)))
}

/// Bills the batch, once: its requests one by one, then the whole, which costs nothing more.
async fn end(
    gateway: &Arc<Inner>,
    pin: &Pin,
    dialect: Dialect,
    answered: Vec<results::Billable>,
    error: Option<String>,
) {
    let Some(mut settlement) = gateway.recall.batches.take(pin) else {
        return;
    };
    let mut is_durable = results::bill(gateway, pin, &mut settlement, answered).await;
    settlement.turn_back(surface(dialect));
    let outcome = Outcome {
        ending: domain::Ending::Complete,
        status: StatusCode::OK.as_u16(),
        served: None,
        first_content: None,
        error,
    };
    is_durable &= match settlement.finish(&outcome) {
        Ok(settled) => settled.ticket.await.is_ok(),
        Err(_) => false,
    };
    if is_durable {
        super::jobs::billed(gateway, pin);
    } else {
        tracing::error!(id = pin.id, "a batch will be billed after a restart");
    }
}
