//! A started program: its process group, its log, its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::accounting::ProcessTree;
use crate::limits::{LOG_TAIL_MAX, STOP_TIME_MAX};
use crate::stop;

/// A program that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// Stands still for a while.
pub fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "one blocking thread that has nothing else to do"
    )]
    std::thread::sleep(time);
}

impl Process {
    /// Starts a program in a process group of its own, with its output in `log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program not be started.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display())))?;
        let process = Self {
            child,
            log: log.to_owned(),
        };
        stop::note(process.group());
        Ok(process)
    }

    /// The program and its descendants.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn tree(&self) -> io::Result<ProcessTree> {
        ProcessTree::of(self.group())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_MAX)))?;
            let mut tail = Vec::new();
            file.take(LOG_TAIL_MAX).read_to_end(&mut tail)?;
            Ok(String::from_utf8_lossy(&tail).trim().to_owned())
        };
        read().unwrap_or_default()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// When it had to be killed, or had ended before with a failure.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Err(io::Error::other(format!(
                "had ended before it was stopped ({status}): {}",
                self.log_tail()
            )));
        }
        killpg(self.group(), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_TIME_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            pause(Duration::from_millis(5));
        }
        Err(io::Error::other(format!(
            "did not end within {} s of SIGTERM",
            STOP_TIME_MAX.as_secs()
        )))
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may be gone already, which is what is wanted.
        killpg(self.group(), Signal::SIGKILL).unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
        stop::forget(self.group());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, name: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = std::env::temp_dir().join(format!("tollgate-bench-{}-{name}", std::process::id()));
        Process::start(command, &log).unwrap()
    }

    #[test]
    fn dropping_kills_the_whole_group() {
        let process = shell("sleep 60 & sleep 60", "drop");
        let group = process.group();
        while living(group) < 3 {
            pause(Duration::from_millis(1));
        }
        drop(process);
        let deadline = Instant::now() + Duration::from_secs(10);
        while living(group) > 0 && Instant::now() < deadline {
            pause(Duration::from_millis(1));
        }
        assert_eq!(living(group), 0);
    }

    /// Processes of the group, without those that are dead and not yet reaped by whoever adopted them.
    fn living(group: Pid) -> usize {
        let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let fields = stat
                .rsplit_once(") ")?
                .1
                .split(' ')
                .map(str::to_owned)
                .collect::<Vec<_>>();
            (fields[0] != "Z" && fields[2] == group.to_string()).then_some(())
        });
        stats.count()
    }

    #[test]
    fn a_program_that_ended_by_itself_is_reported_with_its_last_words() {
        let mut process = shell("echo no port left; exit 3", "ended");
        while process.ended().unwrap().is_none() {
            pause(Duration::from_millis(1));
        }
        let said = process.stop().unwrap_err().to_string();
        assert!(said.contains("no port left") && said.contains('3'), "{said}");
    }

    #[test]
    fn stopping_waits_for_a_graceful_end() {
        let process = shell(
            "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
            "stop",
        );
        let log = process.log.clone();
        while !process.log_tail().contains("ready") {
            pause(Duration::from_millis(1));
        }
        assert!(process.stop().unwrap().success());
        assert!(std::fs::read_to_string(log).unwrap().contains("bye"));
    }
}
