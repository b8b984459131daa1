//! What the process writes. It goes into files of its folder, so that a test may read it while the process runs and after it
//! was killed.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Instant;

use super::{LOOK_EVERY, READY_MAX, Tollgate};

/// How much of a log a failure shows.
const TAIL_LINES: usize = 40;

impl Tollgate {
    /// What it has written to stdout, over all its runs.
    pub fn stdout(&self) -> String {
        read(&self.path("stdout.log"))
    }

    /// What it has written to stderr, over all its runs.
    pub fn stderr(&self) -> String {
        read(&self.path("stderr.log"))
    }

    /// Waits until stdout or stderr contains `text`.
    pub fn wait_for_output(&self, text: &str) {
        let deadline = Instant::now() + READY_MAX;
        while !self.stdout().contains(text) && !self.stderr().contains(text) {
            assert!(
                Instant::now() < deadline,
                "tollgate did not write {text:?}\n--- stdout\n{}\n--- stderr\n{}",
                tail(&self.stdout()),
                tail(&self.stderr())
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

pub(super) fn append(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[expect(clippy::print_stderr, reason = "the harness shows it with the failed test")]
pub(super) fn show(stderr: &str) {
    eprintln!("--- the last lines of tollgate's stderr\n{}", tail(stderr));
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
