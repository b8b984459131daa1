//! What is remembered beyond a call: where upstreams keep things for clients, and the conversations kept here.
//!
//! Calls write behind themselves: what is to be remembered is in memory at once, so that a client which comes back within
//! the same millisecond finds it, and goes to the database through one bounded queue. Calls read only when they name
//! something, and wait for the database only when memory has forgotten it: after a restart, or when another process made
//! it. The usual call does neither (`docs/adr/0017-pins-and-kept-conversations.md`).

pub(crate) mod batches;
mod cache;
mod items;
pub(crate) mod jobs;
mod keep;
mod resolve;
pub(crate) mod responses;
pub(crate) mod things;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{Fault, FaultKind, Pin, Timestamp, Turn, UserId};
use parking_lot::Mutex;
use store::{CONVERSATION_TURNS_MAX, Store, StoreError};

use crate::limits::CONVERSATION_BYTES_MAX;
use batches::{Batches, Censuses};
use cache::{Pins, Turns};
use jobs::Jobs;
pub(crate) use keep::{Maker, keep_turn, note_item, note_made};
pub(crate) use resolve::{Looked, RESPONSES, Recalled, Request, recall, set_input_aside};
use writer::{Queue, Write};

/// What is remembered beyond calls.
pub(crate) struct Recall {
    store: Store,
    /// How long a turn of a conversation is kept; zero: none is.
    keep: Duration,
    pins: Mutex<Pins>,
    /// The last items of responses: hints where to go on, in memory only.
    items: Mutex<Pins>,
    turns: Mutex<Turns>,
    queue: Queue,
    pub(crate) jobs: Jobs,
    pub(crate) batches: Batches,
    /// What files of requests are like that were uploaded here.
    pub(crate) censuses: Censuses,
}

impl fmt::Debug for Recall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recall")
    }
}

/// What is known of a thing that a request names.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// It was made for this user, there.
    Own(Arc<Pin>),
    /// It was made for somebody else.
    Foreign,
    /// Nobody made it here, or it was long ago.
    Unknown,
}

impl Recall {
    pub(crate) fn new(store: Store, keep: Duration) -> Self {
        Self {
            store,
            keep,
            pins: Mutex::default(),
            items: Mutex::default(),
            turns: Mutex::default(),
            queue: Queue::new(),
            jobs: Jobs::default(),
            batches: Batches::default(),
            censuses: Censuses::default(),
        }
    }

    /// Whether conversations are kept at all.
    pub(crate) const fn keeps_turns(&self) -> bool {
        !self.keep.is_zero()
    }

    /// Where a thing lives.
    pub(crate) async fn find(&self, user: UserId, id: &str, now: Timestamp) -> Result<Found, Fault> {
        let known = self.pins.lock().get(id).filter(|pin| pin.expires_at > now);
        if let Some(pin) = &known
            && pin.user == user
        {
            return Ok(Found::Own(Arc::clone(pin)));
        }
        let stored = self.store.pins().find(id, now).await.map_err(|error| away(&error))?;
        let is_foreign = known.is_some() || !stored.is_empty();
        match stored.into_iter().find(|pin| pin.user == user) {
            Some(pin) => {
                let pin = Arc::new(pin);
                self.pins.lock().put(&pin);
                Ok(Found::Own(pin))
            }
            None if is_foreign => Ok(Found::Foreign),
            None => Ok(Found::Unknown),
        }
    }

    /// Where an item of a response lives, if that was seen not long ago.
    fn item(&self, user: UserId, id: &str, now: Timestamp) -> Option<Arc<Pin>> {
        let known = self.items.lock().get(id);
        known.filter(|pin| pin.user == user && pin.expires_at > now)
    }

    /// Remembers where an item of a response lives.
    fn note_item(&self, pin: Pin) {
        self.items.lock().put(&Arc::new(pin));
    }

    /// Where a thing lives whose name is the right to it, whosever it is.
    pub(crate) async fn find_made(&self, id: &str, now: Timestamp) -> Result<Option<Arc<Pin>>, Fault> {
        let known = self.pins.lock().get(id).filter(|pin| pin.expires_at > now);
        if known.is_some() {
            return Ok(known);
        }
        let mut stored = self.store.pins().find(id, now).await.map_err(|error| away(&error))?;
        // Of two nobody knows which is meant.
        let only = if stored.len() == 1 { stored.pop() } else { None };
        Ok(only.map(Arc::new))
    }

    /// Remembers where a thing lives.
    pub(crate) fn pin(&self, pin: Pin) {
        let pin = Arc::new(pin);
        self.pins.lock().put(&pin);
        self.queue.push(Write::Pin(pin));
    }

    /// Remembers a thing that an answer named, unless the same thing at the same place is somebody else's: whoever can
    /// make an upstream repeat an id must not get what it names.
    pub(crate) async fn learn(&self, pin: Pin) {
        let is_taken = |other: &Pin| {
            other.user != pin.user && other.upstream == pin.upstream && other.credential == pin.credential
        };
        let known = self
            .pins
            .lock()
            .get(&pin.id)
            .filter(|known| known.expires_at > pin.made_at);
        if known.as_deref().is_some_and(is_taken) {
            return;
        }
        match self.store.pins().find(&pin.id, pin.made_at).await {
            Ok(stored) if stored.iter().any(is_taken) => {}
            Ok(_) => self.pin(pin),
            Err(error) => tracing::warn!(%error, "it is not remembered who made something"),
        }
    }

    /// Remembers where a thing lives, and does not return before that is in the database.
    pub(crate) async fn pin_now(&self, pin: Arc<Pin>) -> Result<(), Fault> {
        let saved = self.store.pins().save(std::slice::from_ref(&*pin)).await;
        saved.map_err(|error| away(&error))?;
        self.pins.lock().put(&pin);
        Ok(())
    }

    /// Forgets a thing that was deleted.
    pub(crate) fn unpin(&self, user: UserId, id: &str) {
        self.pins.lock().remove(id);
        self.queue.push(Write::Unpin(user, id.to_owned()));
    }

    /// Remembers a turn of a conversation.
    fn turn(&self, turn: Turn) {
        let turn = Arc::new(turn);
        if self.queue.push(Write::Turn(Arc::clone(&turn))) {
            self.turns.lock().put(turn);
        }
    }

    /// The conversation that ends with a turn, oldest turn first; `None`: there is no such turn, or it is not this user's.
    async fn conversation(&self, user: UserId, id: &str, now: Timestamp) -> Result<Option<Vec<Arc<Turn>>>, Fault> {
        let mut turns = self.remembered(user, id, now);
        let bytes: usize = turns.iter().map(|turn| turn.body.len()).sum();
        let missing = match turns.last() {
            None => Some(id.to_owned()),
            Some(turn) => turn.previous.clone(),
        };
        if let Some(missing) = missing {
            let left = CONVERSATION_BYTES_MAX.saturating_sub(bytes) as u64;
            let stored = self.store.turns().conversation(user, &missing, now, left).await;
            turns.extend(stored.map_err(|error| away(&error))?.into_iter().map(Arc::new));
        }
        match turns.last() {
            None => Ok(None),
            Some(turn) if turn.previous.is_some() => Err(Fault::new(
                FaultKind::NoSuchPrevious,
                format!(
                    "the beginning of the conversation of `{id}` was deleted or has expired, or it is too long; send the whole conversation"
                ),
            )),
            Some(_) => {
                turns.reverse();
                Ok(Some(turns))
            }
        }
    }

    /// A turn by itself.
    async fn alone(&self, user: UserId, id: &str, now: Timestamp) -> Result<Option<Arc<Turn>>, Fault> {
        let known = self.turns.lock().get(user, id).filter(|turn| turn.expires_at > now);
        if known.is_some() {
            return Ok(known);
        }
        let stored = self
            .store
            .turns()
            .find(user, id, now)
            .await
            .map_err(|error| away(&error))?;
        Ok(stored.map(Arc::new))
    }

    /// Keeps turns that were named as long as what was built on them just now.
    fn used(&self, user: UserId, ids: Vec<String>, now: Timestamp) {
        self.queue.push(Write::Touch(user, ids, now + self.keep));
    }

    /// The turn alone, where what was before it is gone.
    async fn last(&self, user: UserId, id: &str, now: Timestamp) -> Result<Option<Vec<Arc<Turn>>>, Fault> {
        if let Some(turn) = self.turns.lock().get(user, id) {
            return Ok(Some(vec![turn]));
        }
        let stored = self.store.turns().conversation(user, id, now, u64::MAX).await;
        let last = stored.map_err(|error| away(&error))?.into_iter().next();
        Ok(last.map(|turn| vec![Arc::new(turn)]))
    }

    /// What of it memory has, newest first.
    fn remembered(&self, user: UserId, id: &str, now: Timestamp) -> Vec<Arc<Turn>> {
        let known = self.turns.lock();
        let mut turns: Vec<Arc<Turn>> = Vec::new();
        let (mut next, mut bytes) = (Some(id.to_owned()), 0);
        while let Some(turn) = next.take().and_then(|id| known.get(user, &id)) {
            bytes += turn.body.len();
            if turn.expires_at <= now || bytes > CONVERSATION_BYTES_MAX || turns.len() == CONVERSATION_TURNS_MAX {
                break;
            }
            next.clone_from(&turn.previous);
            turns.push(turn);
        }
        turns
    }

    /// Writes what is to be remembered, until `shutdown` and then to the end of what waits.
    pub(crate) async fn write(&self, shutdown: tokio_util::sync::CancellationToken) {
        writer::run(&self.queue, &self.store, shutdown).await;
    }

    /// Deletes a turn, and does not return before it is gone.
    async fn forget(&self, user: UserId, id: &str) -> Result<(), Fault> {
        self.turns.lock().remove(user, id);
        self.queue.forget(user, id).await
    }
}

/// The database cannot be asked.
fn away(error: &StoreError) -> Fault {
    tracing::warn!(%error, "what a request names could not be looked up");
    Fault::new(
        FaultKind::Unavailable,
        "what the request names cannot be looked up at the moment; try again",
    )
    .retry_after(Duration::from_secs(1))
}

/// A thing that does not exist, or not for this caller: that is told in the same words.
pub(crate) fn no_such(what: &str, id: &str) -> Fault {
    const SHOWN_MAX: usize = 128;
    let shown: String = id.chars().take(SHOWN_MAX).collect();
    Fault::new(FaultKind::NoSuchObject, format!("{what} with id '{shown}' not found."))
}

pub(crate) fn no_such_previous(id: &str) -> Fault {
    const SHOWN_MAX: usize = 128;
    let shown: String = id.chars().take(SHOWN_MAX).collect();
    Fault::new(
        FaultKind::NoSuchPrevious,
        format!("Previous response with id '{shown}' not found."),
    )
}
