//! The scripted upstream: a provider in a thread, that answers, stumbles, stalls and hangs up as it is told, and writes
//! down what it received.
//!
//! HTTP is spoken by hand. A server library would decide about chunk boundaries, header spelling, keep-alive and the
//! manner of closing, and those are just what the tests are about.
//!
//! ```no_run
//! use testkit::upstream::{Behaviour, Match, Upstream};
//! let upstream = Upstream::start();
//! upstream.then(Behaviour::status(429));                 // the next call
//! upstream.then(Behaviour::text("hi").reset_after(3));   // the one after
//! upstream.rule(Match::credential("sk-bad"), Behaviour::status(401));
//! // … calls to upstream.url() …
//! let calls = upstream.wait_for_calls(2);
//! assert_eq!(calls[0].credential.as_deref(), Some("sk-good"));
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

mod answer;
mod anthropic;
mod asked;
mod behaviour;
mod blackhole;
mod conn;
mod control;
mod fault;
mod gemini;
mod json;
mod layout;
mod openai;
mod play;
mod received;
mod refusal;
mod rendered;
mod request;
mod responses;
mod script;
mod server;
mod shared;
mod talk;
mod tasks;

pub use answer::{Answer, Reporting, Stop, ToolCall, Usage};
pub use asked::{Dialect, Operation};
pub use behaviour::{Behaviour, Chunking, Framing, Hold, Raw, Reply};
pub use blackhole::Blackhole;
pub use fault::{At, Cut, Edit, Gate, HeadFault, How};
pub use received::{Counts, Ending, RECEIVED_MAX, Received};
pub use refusal::{Reason, Refusal};
pub use script::{Match, Rule, Script};
pub use talk::{Talk, Turn};

use asked::Asked;
use rendered::Rendered;
use server::{Command, Server};
use shared::Shared;

/// How long the `wait_…` functions wait: far above what any test needs, so that reaching it means that it never comes.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// The sound that speech is answered with.
pub const fn sound() -> &'static [u8] {
    tasks::sound()
}

/// The moment that all answers claim to be made at, in seconds since 1970.
const CREATED: u64 = 1_790_000_000;

/// A running scripted upstream; dropping it ends it.
#[derive(Debug)]
pub struct Upstream {
    server: Server,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Starts one on a free port of 127.0.0.1. It answers every known path with `Answer::default()`.
    pub fn start() -> Self {
        let shared = Shared::new();
        Self {
            server: Server::start(shared.clone(), control::Control::Off),
            shared,
        }
    }

    /// Starts one that also takes its script over HTTP: see `scripted-upstream`.
    pub fn start_controlled(address: SocketAddr) -> Self {
        let shared = Shared::new();
        Self {
            server: Server::start_at(address, shared.clone(), control::Control::On),
            shared,
        }
    }

    /// Starts one that refuses connections (the port is held) until `accept_connections`.
    pub fn start_refusing() -> Self {
        let upstream = Self::start();
        upstream.refuse_connections();
        upstream
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// `http://127.0.0.1:port/v1`, the base URL of OpenAI-compatible upstreams.
    pub fn v1(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on, calls that nothing else is said for meet `behaviour`.
    pub fn always(&self, behaviour: Behaviour) {
        self.shared.script(|script| script.default = Arc::new(behaviour));
    }

    /// The next call (after those already queued) meets `behaviour`.
    pub fn then(&self, behaviour: Behaviour) {
        self.shared.script(|script| script.queue.push_back(Arc::new(behaviour)));
    }

    /// Calls that fit always meet `behaviour`. A second rule for the same calls replaces the first.
    pub fn rule(&self, calls: Match, behaviour: Behaviour) {
        self.shared
            .script(|script| script.rule(calls).default = Some(Arc::new(behaviour)));
    }

    /// The next call that fits meets `behaviour`.
    pub fn rule_then(&self, calls: Match, behaviour: Behaviour) {
        self.shared
            .script(|script| script.rule(calls).queue.push_back(Arc::new(behaviour)));
    }

    /// Forgets the script and follows this one.
    pub fn follow(&self, script: Script) {
        self.shared.script(|current| *current = script);
    }

    /// How many queued behaviours are left, those of rules included: 0 says that all was used.
    pub fn queued(&self) -> usize {
        self.shared
            .script(|script| script.queue.len() + script.rules.iter().map(|rule| rule.queue.len()).sum::<usize>())
    }

    /// Closes the port, so that connecting is refused; idle connections are closed, running calls go on. Returns when
    /// that is so.
    pub fn refuse_connections(&self) {
        self.server.command(Command::Refuse);
    }

    /// Opens the same port again.
    pub fn accept_connections(&self) {
        self.server.command(Command::Accept);
    }

    /// Resets every connection, running calls included.
    pub fn reset_connections(&self) {
        self.server.command(Command::ResetAll);
    }

    /// The next `count` connections are reset as soon as they are accepted.
    pub fn reset_next_connections(&self, count: usize) {
        self.server.command(Command::ResetNext(count));
    }

    /// What was received so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.shared.log(|log| log.calls.iter().cloned().collect())
    }

    /// What was received so far, handed over and forgotten; the counts stay.
    pub fn take_received(&self) -> Vec<Received> {
        self.shared.log(|log| log.calls.drain(..).collect())
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.shared.log(|log| log.counts)
    }

    /// Waits until the counts satisfy `done`. Panics after `WAIT_MAX`, with `what` and the counts.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Counts) -> bool) -> Counts {
        self.shared
            .wait(WAIT_MAX, |log| done(&log.counts))
            .unwrap_or_else(|counts| panic!("waited {WAIT_MAX:?} for {what}; the upstream counted {counts:?}"))
    }

    /// Waits until `count` calls have come in all; those received so far.
    pub fn wait_for_calls(&self, count: u64) -> Vec<Received> {
        self.wait_until(&format!("{count} calls"), |counts| counts.started >= count);
        self.received()
    }

    /// Waits until `count` answers were handed to the socket whole.
    pub fn wait_for_completed(&self, count: u64) -> Counts {
        self.wait_until(&format!("{count} completed calls"), |counts| counts.completed >= count)
    }

    /// Waits until `count` clients have gone away.
    pub fn wait_for_client_gone(&self, count: u64) -> Counts {
        self.wait_until(&format!("{count} clients to leave"), |counts| {
            counts.client_gone >= count
        })
    }

    /// Waits until no call is running.
    pub fn wait_for_rest(&self) -> Counts {
        self.wait_until("all calls to end", |counts| counts.running() == 0)
    }

    /// Waits until some received call satisfies `fits`, and gives it back.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Received) -> bool) -> Received {
        let found = self.shared.wait(WAIT_MAX, |log| log.calls.iter().any(&fits));
        found.unwrap_or_else(|counts| panic!("waited {WAIT_MAX:?} for {what}; the upstream counted {counts:?}"));
        self.received()
            .into_iter()
            .find(fits)
            .expect("it was there a moment ago")
    }
}

/// The answer on the wire.
fn answered(call: u64, asked: &Asked, answer: &Answer) -> Rendered {
    match asked.dialect {
        Dialect::OpenaiChat => openai::render(call, asked, answer),
        Dialect::OpenaiResponses => responses::render(call, asked, answer),
        Dialect::AnthropicMessages => anthropic::render(call, asked, answer),
        Dialect::Gemini => gemini::render(call, asked, answer),
    }
}
