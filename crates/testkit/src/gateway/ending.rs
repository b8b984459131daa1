//! Ending the process, gently and not.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::output::tail;
use super::{LOOK_EVERY, Tollgate};

/// How long an ending may take after SIGTERM.
pub const EXIT_MAX: Duration = Duration::from_secs(30);

impl Tollgate {
    /// `kill -9`, and waits until it is dead.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            self.last_exit = Some(child.wait().expect("a killed child ends"));
        }
    }

    /// Sends SIGTERM and returns at once.
    pub fn sigterm(&self) {
        self.signal(Signal::Term);
    }

    /// Sends SIGHUP and returns at once.
    pub fn sighup(&self) {
        self.signal(Signal::Hup);
    }

    /// Sends SIGTERM and waits for the end, which must come.
    pub fn stop(&mut self) -> ExitStatus {
        self.sigterm();
        self.wait_for_exit()
    }

    /// Waits until it has ended by itself. Panics after `EXIT_MAX`.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + EXIT_MAX;
        loop {
            self.reap();
            if let (None, Some(exit)) = (&self.child, self.last_exit) {
                return exit;
            }
            assert!(
                Instant::now() < deadline,
                "tollgate did not end\n--- stderr\n{}",
                tail(&self.stderr())
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process number");
        let signal = match signal {
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Hup => rustix::process::Signal::HUP,
        };
        rustix::process::kill_process(pid, signal).expect("our own child takes signals");
    }

    pub(super) fn reap(&mut self) {
        if let Some(exit) = self
            .child
            .as_mut()
            .and_then(|child| child.try_wait().expect("our own child"))
        {
            self.last_exit = Some(exit);
            self.child = None;
        }
    }
}

#[derive(Clone, Copy)]
enum Signal {
    Term,
    Hup,
}
