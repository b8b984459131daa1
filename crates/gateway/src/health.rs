//! Looking after upstreams while nobody calls.
//!
//! Breakers and cooldowns learn from calls alone, so an upstream that nobody asked since its outage is found out by the
//! next caller, and one that has recovered waits for a canary. Where an operator wants it (`upstreams[].health`), each
//! upstream is probed now and then; what a probe finds counts on the board exactly as a call's outcome would. Probes are
//! not calls: they have no receipt and nobody pays for them but the operator.
//!
//! How *we* are is another question: `/health` and its like are in `operate.rs`.

mod checkup;
mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::HealthDecl;
use domain::snapshot::Upstream;
use domain::{Timestamp, UpstreamId};
use rand::Rng as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use checkup::{Checkup, CheckupStep};

use crate::gateway::{Gateway, Inner};
use crate::limits::PROBES_MAX;

/// How often it is looked whether a probe is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When each upstream is to be probed next, and with which of its credentials.
#[derive(Debug, Clone, Copy)]
struct Turn {
    due: Timestamp,
    credential: usize,
}

impl Gateway {
    /// Probes upstreams as they are declared, until told to stop.
    pub async fn look_after_upstreams(self, shutdown: CancellationToken) {
        let mut turns = HashMap::new();
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            while probes.try_join_next().is_some() {}
            for (upstream, credential, health) in self.inner.due(&mut turns) {
                if probes.len() >= PROBES_MAX {
                    break;
                }
                let gateway = Arc::clone(&self.inner);
                probes.spawn(async move { probe::run(&gateway, &upstream, credential, health.probe).await });
            }
        }
    }
}

impl Inner {
    /// The upstreams whose turn it is. Each begins at a random moment of its period, so that several replicas, and the
    /// many upstreams of one, do not ask all at once.
    fn due(&self, turns: &mut HashMap<UpstreamId, Turn>) -> Vec<(Arc<Upstream>, usize, HealthDecl)> {
        let (now, snapshot) = (self.clock.now(), self.snapshot.load());
        turns.retain(|id, _| snapshot.upstreams.iter().any(|upstream| upstream.id == *id));
        let mut due = Vec::new();
        for upstream in &snapshot.upstreams {
            let Some(health) = upstream.health.filter(|_| !upstream.provider.builtin) else {
                turns.remove(&upstream.id);
                continue;
            };
            let turn = turns.entry(upstream.id).or_insert_with(|| Turn {
                due: now + health.every.0.mul_f64(rand::rng().random_range(0.0..1.0)),
                credential: 0,
            });
            if now >= turn.due {
                due.push((Arc::clone(upstream), turn.credential, health));
                turn.due = now + health.every.0;
                turn.credential = turn.credential.wrapping_add(1);
            }
        }
        due
    }
}
