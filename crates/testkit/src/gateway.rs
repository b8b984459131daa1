//! The real binary as a process: a folder of its own, a port of its own, no environment but what the test gives, and
//! ways to end it gently and not.
//!
//! Black-box tests must see what an operator sees. So there is nothing here that reaches into the program: only its
//! command line, its signals, its files and its port.

mod binary;
mod commands;
mod ending;
mod failure;
mod output;
mod port;
mod setup;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::client::Request;
pub use binary::binary_beside_test;
pub use ending::EXIT_MAX;
pub use failure::Failure;
use output::{append, show};
pub use setup::Setup;

/// How long a start may take until `/readyz` says yes. The aim is 100 ms; this allows for a debug build on a machine
/// that compiles at the same time.
pub const READY_MAX: Duration = Duration::from_secs(30);

/// How often a state that has no bell is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A running (or killed, or stopped) Tollgate in its own folder; dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Tollgate {
    setup: Setup,
    binary: PathBuf,
    port: u16,
    child: Option<Child>,
    last_exit: Option<ExitStatus>,
    dir: tempfile::TempDir,
}

impl Tollgate {
    /// Starts `tollgate serve` with this `tollgate.yaml` and waits until it is ready.
    pub fn start(config_yaml: &str) -> Self {
        Setup::config(config_yaml).start()
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that it runs in: `tollgate.yaml`, `data/`, `stdout.log`, `stderr.log`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file of that folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is running").id()
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.reap();
        self.child.is_some()
    }

    /// Replaces `tollgate.yaml` at once (by renaming, as editors and configuration tools do).
    pub fn write_config(&self, yaml: &str) {
        let new = self.path("tollgate.yaml.new");
        std::fs::write(&new, yaml).expect("the configuration is written");
        std::fs::rename(&new, self.path("tollgate.yaml")).expect("the configuration is replaced");
    }

    /// Starts it again in the same folder, on the same port, and waits until it is ready; kills it first if it runs.
    pub fn restart(&mut self) {
        self.try_restart()
            .unwrap_or_else(|failure| panic!("tollgate did not start again: {failure}"));
    }

    /// Like `restart`, for starts that are expected to fail.
    pub fn try_restart(&mut self) -> Result<(), Failure> {
        self.kill9();
        self.launch()
    }

    /// Sets an environment variable for the next start and for `cli`.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.setup.env.retain(|(existing, _)| existing != name);
        self.setup.env.push((name.to_owned(), value.to_owned()));
    }

    /// The environment is the test's alone: an `OPENAI_API_KEY` of the developer must not become an upstream.
    fn command(&self) -> Command {
        const PASSED_ON: [&str; 6] = ["PATH", "LANG", "TZ", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];
        let mut command = Command::new(&self.binary);
        command.current_dir(self.dir()).env_clear();
        command.envs(
            PASSED_ON
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command.env("HOME", self.dir());
        command.env("TOLLGATE_SERVER__LISTEN", format!("127.0.0.1:{}", self.port));
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn launch(&mut self) -> Result<(), Failure> {
        let mut command = self.command();
        command.args(&self.setup.command).stdin(Stdio::null());
        command
            .stdout(append(&self.path("stdout.log")))
            .stderr(append(&self.path("stderr.log")));
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        self.last_exit = None;
        self.child = Some(child);
        let deadline = Instant::now() + READY_MAX;
        while !self.is_ready() {
            if !self.is_running() || Instant::now() > deadline {
                let exit = self.last_exit;
                self.kill9();
                return Err(Failure {
                    exit,
                    stdout: self.stdout(),
                    stderr: self.stderr(),
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        Request::get("/readyz")
            .timeout(Duration::from_secs(2))
            .send(&self.url())
            .status()
            == 200
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            show(&self.stderr());
        }
    }
}
