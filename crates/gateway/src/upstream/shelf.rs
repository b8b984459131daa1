//! Connections to upstreams that are not in use.
//!
//! The last one used is taken first, so that those that are too many grow old and go. Nobody polls a connection that
//! lies here: one that the upstream has closed is found when it is taken, or by the sweep that comes by every few
//! seconds, so that its socket does not stay open for long.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::uri::{Authority, Scheme};
use parking_lot::Mutex;

use super::link::Link;
use crate::limits::{IDLE_PER_HOST_MAX, IDLE_TIMEOUT, SWEEP_EVERY};

/// Where a connection leads: scheme, host and port.
pub(super) type Place = (Scheme, Authority);

/// Idle connections of one kind of egress.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Per place, the one that was used last at the end.
    idle: Mutex<HashMap<Place, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

impl Shelf {
    /// An empty one, and the task that looks through it as long as it is there.
    pub(super) fn new() -> Arc<Self> {
        let shelf = Arc::new(Self::default());
        tokio::spawn(keep_swept(Arc::downgrade(&shelf)));
        shelf
    }

    /// The connection to `place` that was used last.
    pub(super) fn take(&self, place: &Place) -> Option<Box<Link>> {
        let newest = self.idle.lock().get_mut(place)?.pop()?;
        (newest.since.elapsed() < IDLE_TIMEOUT).then_some(newest.link)
    }

    /// Keeps a connection for the next call, if it can serve one.
    pub(super) fn put(&self, place: Place, mut link: Box<Link>) {
        if !link.is_idle() {
            return;
        }
        let since = Instant::now();
        let mut idle = self.idle.lock();
        let of_place = idle.entry(place).or_default();
        if of_place.len() < IDLE_PER_HOST_MAX {
            of_place.push(Idle { link, since });
        }
    }

    /// Drops what is too old or closed. Only what has lain here for `rest` is looked at, and outside the lock.
    fn sweep(&self, rest: Duration) {
        let places: Vec<Place> = self.idle.lock().keys().cloned().collect();
        for place in places {
            let mut rested = self.take_rested(&place, rest);
            rested.retain_mut(|idle| idle.since.elapsed() < IDLE_TIMEOUT && idle.link.is_idle());
            let mut idle = self.idle.lock();
            let of_place = idle.entry(place).or_default();
            rested.append(of_place);
            *of_place = rested;
        }
        self.idle.lock().retain(|_, of_place| !of_place.is_empty());
    }

    fn take_rested(&self, place: &Place, rest: Duration) -> Vec<Idle> {
        let mut idle = self.idle.lock();
        let Some(of_place) = idle.get_mut(place) else {
            return Vec::new();
        };
        let rested = of_place.partition_point(|idle| idle.since.elapsed() >= rest);
        let busy = of_place.split_off(rested);
        mem::replace(of_place, busy)
    }
}

#[cfg(test)]
impl Shelf {
    /// How many connections lie here, after a sweep of them all.
    pub(super) fn swept(&self) -> usize {
        self.sweep(Duration::ZERO);
        self.idle.lock().values().map(Vec::len).sum()
    }
}

async fn keep_swept(shelf: Weak<Shelf>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match shelf.upgrade() {
            Some(shelf) => shelf.sweep(SWEEP_EVERY),
            None => return,
        }
    }
}
