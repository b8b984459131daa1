//! Waiting for what has no bell: looked at often, given up late.
//!
//! A limit here is never a measure of the product: it is so far beyond what a busy machine needs that reaching it means
//! that the thing never happens.

use std::io::Write as _;
use std::process::Output;
use std::time::{Duration, Instant};

use testkit::gateway::Tollgate;

/// How long a thing may take before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `done`. Panics after [`PATIENCE`].
pub fn until(what: &str, done: impl FnMut() -> bool) {
    within(PATIENCE, what, done);
}

/// Waits until `done`, which must come within `limit`.
pub fn within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Lets time pass because the test is about its passing: an outage of this length.
pub fn lasts(length: Duration) {
    std::thread::sleep(length);
}

/// Runs a command that may, if the product is wrong, never end.
pub fn cli(gateway: &Tollgate, arguments: &[&str]) -> Output {
    std::thread::scope(|scope| {
        let (told, ended) = std::sync::mpsc::channel();
        scope.spawn(move || told.send(gateway.cli(arguments)).ok());
        if let Ok(output) = ended.recv_timeout(PATIENCE) {
            return output;
        }
        // The scope would wait for the command: ending the process is the only way to tell anybody.
        leave_out(&format!("`tollgate {arguments:?}` did not end within {PATIENCE:?}"));
        std::process::abort();
    })
}

/// Says on stderr that something was not tested, and why.
pub fn leave_out(why: &str) {
    writeln!(std::io::stderr(), "left out: {why}").ok();
}

/// Whether this runs where nothing may be left out.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}
