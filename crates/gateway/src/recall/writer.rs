//! The one writer behind the calls.
//!
//! What is to be remembered waits in a queue that is bounded by number and by bytes. While the database is away it fills;
//! what then finds no room is not remembered, which is said in the log: a conversation that cannot be continued is a
//! lesser evil than a gateway without memory. Order is kept, so that what is deleted stays deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Fault, FaultKind, Pin, Timestamp, Turn, UserId};
use parking_lot::Mutex;
use store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::limits::{DELETE_WAIT_MAX, WRITES_BATCH_MAX, WRITES_BYTES_MAX, WRITES_MAX, WRITES_SHUTDOWN_MAX};

/// First and longest wait while the database is away.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What is to be written.
#[derive(Debug)]
pub(super) enum Write {
    Pin(Arc<Pin>),
    Unpin(UserId, String),
    Billed(UserId, String),
    Turn(Arc<Turn>),
    /// Turns that are kept until then at least.
    Touch(UserId, Vec<String>, Timestamp),
    Forget(UserId, String, oneshot::Sender<()>),
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Turn(turn) => turn.body.len(),
            Self::Pin(_) | Self::Touch(..) | Self::Unpin(..) | Self::Billed(..) | Self::Forget(..) => 0,
        }
    }
}

/// What waits.
pub(super) struct Queue {
    sender: mpsc::Sender<Write>,
    receiver: Mutex<Option<mpsc::Receiver<Write>>>,
    bytes: AtomicUsize,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WRITES_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Hands it to the writer; false where there is no room.
    pub(super) fn push(&self, write: Write) -> bool {
        let bytes = write.bytes();
        let waiting = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let has_room = waiting + bytes <= WRITES_BYTES_MAX || bytes == 0;
        if has_room && self.sender.try_send(write).is_ok() {
            return true;
        }
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        tracing::warn!("too much waits for the database: something that a client may name later is not remembered");
        false
    }

    /// Deletes a turn after all that was handed over before.
    pub(super) async fn forget(&self, user: UserId, id: &str) -> Result<(), Fault> {
        let (done, is_done) = oneshot::channel();
        let busy = || {
            Fault::new(FaultKind::Unavailable, "it cannot be deleted at the moment; try again")
                .retry_after(Duration::from_secs(1))
        };
        let write = Write::Forget(user, id.to_owned(), done);
        self.sender.try_send(write).map_err(|_| busy())?;
        match tokio::time::timeout(DELETE_WAIT_MAX, is_done).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }
}

/// Writes what is handed over, until `shutdown` and then to the end of what waits.
pub(super) async fn run(queue: &Queue, store: &Store, shutdown: CancellationToken) {
    let Some(mut receiver) = queue.receiver.lock().take() else {
        return;
    };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = receiver.recv_many(&mut batch, WRITES_BATCH_MAX) => if count == 0 { return },
            () = shutdown.cancelled() => break,
        }
        write(queue, store, &mut batch, &shutdown).await;
    }
    receiver.close();
    let rest = async {
        while receiver.recv_many(&mut batch, WRITES_BATCH_MAX).await > 0 {
            write(queue, store, &mut batch, &shutdown).await;
        }
    };
    if tokio::time::timeout(WRITES_SHUTDOWN_MAX, rest).await.is_err() {
        tracing::warn!("the database was away: some things that clients may name later are not remembered");
    }
}

/// Writes a batch, in order, what is alike together.
async fn write(queue: &Queue, store: &Store, batch: &mut Vec<Write>, shutdown: &CancellationToken) {
    let mut wait = RETRY_FIRST;
    let mut begin = 0;
    while let Some(first) = batch.get(begin) {
        let alike = batch
            .get(begin..)
            .unwrap_or_default()
            .iter()
            .take_while(|write| std::mem::discriminant(*write) == std::mem::discriminant(first))
            .count();
        let piece = batch.get(begin..begin + alike).unwrap_or_default();
        match apply(store, piece).await {
            Err(error) if error.is_away() && !shutdown.is_cancelled() => {
                tracing::warn!(%error, "what clients may name later waits for the database");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
                continue;
            }
            Err(error) => tracing::error!(%error, "something that a client may name later is not remembered"),
            Ok(()) => {}
        }
        wait = RETRY_FIRST;
        begin += alike;
    }
    let bytes: usize = batch.iter().map(Write::bytes).sum();
    queue.bytes.fetch_sub(bytes, Ordering::AcqRel);
    for write in batch.drain(..) {
        if let Write::Forget(_, _, done) = write
            && done.send(()).is_err()
        {
            tracing::debug!("whoever waited for a deletion has gone");
        }
    }
}

/// Writes what is alike.
async fn apply(store: &Store, writes: &[Write]) -> Result<(), StoreError> {
    let (mut pins, mut turns) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            Write::Pin(pin) => pins.push(Pin::clone(pin)),
            Write::Turn(turn) => turns.push(Turn::clone(turn)),
            Write::Unpin(user, id) => store.pins().remove(*user, id).await?,
            Write::Billed(user, id) => store.pins().billed(*user, id).await?,
            Write::Touch(user, ids, expires_at) => store.turns().touch(*user, ids, *expires_at).await?,
            Write::Forget(user, id, _) => {
                store.turns().remove(*user, id).await?;
            }
        }
    }
    if !pins.is_empty() {
        store.pins().save(&pins).await?;
    }
    if !turns.is_empty() {
        store.turns().save(&turns).await?;
    }
    Ok(())
}
