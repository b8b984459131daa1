//! Cleaning up the request log, and what is remembered beyond calls. The accounts are never touched.

use std::time::Duration;

use domain::Timestamp;
use store::Store;
use tokio_util::sync::CancellationToken;

/// How often: old rows may stay this much longer than asked for.
const EVERY: Duration = Duration::from_hours(1);

/// Clears what is older than `retention`, again and again.
pub(crate) async fn keep_clean(store: Store, retention: Duration, shutdown: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        if let Err(error) = store.credentials().forget_uses().await {
            tracing::warn!(%error, "old counts of credentials were not cleaned up; the next try is in an hour");
        }
        let now = Timestamp(jiff::Timestamp::now().as_microsecond());
        match store.requests().clear(now - retention).await {
            Ok(0) => {}
            Ok(cleared) => tracing::info!(cleared, "old entries left the request log"),
            Err(error) => tracing::warn!(%error, "the request log was not cleaned up; the next try is in an hour"),
        }
        forget(&store, now).await;
    }
}

/// Deletes what has expired of conversations and of the places of things.
async fn forget(store: &Store, now: Timestamp) {
    for (what, cleared) in [
        ("turns of conversations", store.turns().clear(now).await),
        ("places of things at upstreams", store.pins().clear(now).await),
    ] {
        match cleared {
            Ok(0) => {}
            Ok(cleared) => tracing::info!(cleared, "{what} expired"),
            Err(error) => tracing::warn!(%error, "{what} were not cleaned up; the next try is in an hour"),
        }
    }
}
