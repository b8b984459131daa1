//! A start that did not come about, with everything that was said.

use std::process::ExitStatus;

use super::READY_MAX;
use super::output::tail;

/// A start that did not come about.
#[derive(Debug)]
pub struct Failure {
    /// How the process ended; `None` if it ran and did not become ready (it is killed then).
    pub exit: Option<ExitStatus>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Failure {
    pub(super) fn port_was_taken(&self) -> bool {
        let taken = |said: &str| said.to_ascii_lowercase().contains("address already in use");
        taken(&self.stderr) || taken(&self.stdout)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.exit {
            Some(exit) => write!(f, "it ended with {exit}")?,
            None => write!(f, "/readyz did not say yes within {READY_MAX:?}")?,
        }
        write!(
            f,
            "\n--- stdout\n{}\n--- stderr\n{}",
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }
}
