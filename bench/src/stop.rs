//! No program may outlive the run, whichever way the run ends: a proxy that is left behind holds its port and would
//! be measured in place of the next one. Every started process group is noted here; it is killed when its owner is
//! dropped, or by a thread that waits for SIGINT and SIGTERM.

use std::io;
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Exit code of a process that was ended by SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Notes a process group that must not be left behind.
pub fn note(group: Pid) {
    RUNNING.lock().push(group);
}

/// The group has ended: nothing to do any more.
pub fn forget(group: Pid) {
    RUNNING.lock().retain(|noted| *noted != group);
}

/// From now on SIGINT and SIGTERM kill what was started, then end this process.
///
/// Handlers, not a blocked signal mask that a thread waits on: started programs would inherit the mask, and then
/// could not be asked to end.
///
/// # Errors
/// When there is no thread or no handler to be had.
pub fn on_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        kill_all();
        #[expect(
            clippy::exit,
            reason = "the main thread is in the middle of a measurement that is void now"
        )]
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

/// A group that is gone already is what was wanted, so errors do not matter.
fn kill_all() {
    for group in RUNNING.lock().drain(..) {
        killpg(group, Signal::SIGKILL).unwrap_or_default();
    }
}
