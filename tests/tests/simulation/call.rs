//! One call of the simulation: what the gateway's pipeline keeps of it, and what the client will do.

use std::sync::Arc;
use std::task::Wake;

use domain::{Ending, Timestamp, Usage};
use metering::{Hold, HoldBound, Permit};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;
use routing::{Attempts, Choice, InFlight};

/// What was drawn for a call beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub user: usize,
    pub at: Timestamp,
    pub body_bytes: u64,
    /// What the client allows, if it does.
    pub output_bound: Option<u64>,
    /// What the upstream will make of it.
    pub usage: Usage,
    pub stream: bool,
    /// Whether the upstream reports its usage.
    pub reports: bool,
    /// When the client hangs up, if it is not over by then.
    pub hangs_up: Option<Timestamp>,
    pub hold_bound: HoldBound,
}

/// A call under way. What is `Some` is what is held for it.
#[derive(Debug)]
pub(crate) struct Call {
    pub script: Script,
    pub permit: Option<Permit>,
    pub hold: Option<Hold>,
    pub attempts: Option<Attempts>,
    pub in_flight: Option<InFlight>,
    /// The running try and when it began.
    pub trying: Option<Choice>,
    /// No try may begin before.
    pub not_before: Timestamp,
    /// Failures of the upstream's making, per upstream.
    pub troubles: Vec<u32>,
    /// Upstreams that were silent.
    pub silent: Vec<bool>,
    /// Whether the running try probes a half-open upstream.
    pub probing: bool,
    /// Output tokens relayed so far.
    pub relayed: u64,
    /// Output tokens that the hold covers.
    pub covered: u64,
    pub ended: Option<Ending>,
}

impl Call {
    pub(crate) fn new(script: Script, upstreams: usize) -> Self {
        Self {
            script,
            permit: None,
            hold: None,
            attempts: None,
            in_flight: None,
            trying: None,
            not_before: script.at,
            troubles: vec![0; upstreams],
            silent: vec![false; upstreams],
            probing: false,
            relayed: 0,
            covered: 0,
            ended: None,
        }
    }

    /// Whether it waits for money.
    pub(crate) fn waits_for_hold(&self) -> bool {
        self.ended.is_none() && self.permit.is_some() && self.hold.is_none()
    }
}

/// Usage of a call with this body and bound: within both, as with a truthful upstream.
pub(crate) fn usage(body_bytes: u64, output_bound: u64, rng: &mut SmallRng) -> Usage {
    let input = rng.random_range(1..=body_bytes);
    let cache_read = rng.random_range(0..=body_bytes - input);
    Usage {
        input,
        cache_read,
        output: rng.random_range(0..=output_bound),
        ..Usage::default()
    }
}

/// Notes which call is to be polled again.
pub(crate) struct Bell {
    pub call: usize,
    pub rung: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.lock().push(self.call);
    }
}
