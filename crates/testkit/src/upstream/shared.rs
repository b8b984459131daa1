//! What the server's thread and the test share: the script, and the record with its bell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::asked::Asked;
use super::behaviour::Behaviour;
use super::received::{Counts, Ending, Log, Received};
use super::request::Request;
use super::script::Script;

/// Script and record, under one lock, so that the behaviour of call n is decided by the script as it stood then.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    started: Instant,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    log: Log,
    last_call: u64,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            bell: Condvar::new(),
            started: Instant::now(),
        })
    }

    pub(crate) fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.state.lock().script)
    }

    pub(crate) fn log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.state.lock().log)
    }

    /// A connection was accepted; its number.
    pub(crate) fn connected(&self) -> u64 {
        let mut state = self.state.lock();
        state.log.counts.connections += 1;
        self.bell.notify_all();
        state.log.counts.connections
    }

    /// A request has come whole: it is recorded, and the script says what it meets.
    pub(crate) fn begin(self: &Arc<Self>, connection: u64, request: Request, asked: &Asked) -> (Call, Arc<Behaviour>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.last_call += 1;
        let received = Received::new(state.last_call, connection, self.started.elapsed(), request, asked);
        let behaviour = state.script.pick(&received, asked.operation);
        state.log.begin(received);
        self.bell.notify_all();
        (
            Call {
                shared: self.clone(),
                number: state.last_call,
                ended: Mutex::new(false),
            },
            behaviour,
        )
    }

    /// Waits until `done` holds, at most until `deadline`; the last counts either way.
    pub(crate) fn wait(&self, limit: Duration, done: impl Fn(&Log) -> bool) -> Result<Counts, Counts> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while !done(&state.log) {
            if self.bell.wait_until(&mut state, deadline).timed_out() {
                let counts = state.log.counts;
                return if done(&state.log) { Ok(counts) } else { Err(counts) };
            }
        }
        Ok(state.log.counts)
    }
}

/// One call under way. Dropped without an ending (the upstream was told to drop its connections) it counts as cut,
/// so that the counts always add up.
#[derive(Debug)]
pub(crate) struct Call {
    shared: Arc<Shared>,
    pub(crate) number: u64,
    ended: Mutex<bool>,
}

impl Call {
    pub(crate) fn sent(&self, body_bytes: usize) {
        self.shared.state.lock().log.sent(self.number, body_bytes);
        self.shared.bell.notify_all();
    }

    /// A message came within the session.
    pub(crate) fn heard(&self, message: String) {
        self.shared.state.lock().log.heard(self.number, message);
        self.shared.bell.notify_all();
    }

    pub(crate) fn end(&self, ending: Ending) {
        if !std::mem::replace(&mut *self.ended.lock(), true) {
            self.shared.state.lock().log.end(self.number, ending);
            self.shared.bell.notify_all();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Ending::Cut);
    }
}
