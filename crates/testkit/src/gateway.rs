//! The real binary as a process: a folder of its own, a port of its own, no environment but what the test gives, and
//! ways to end it gently and not.
//!
//! Black-box tests must see what an operator sees. So there is nothing here that reaches into the program: only its
//! command line, its signals, its files and its port.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::client::Request;

/// How long a start may take until `/readyz` says yes. The aim is 100 ms; this allows for a debug build on a machine
/// that compiles at the same time.
pub const READY_MAX: Duration = Duration::from_secs(30);
/// How long an ending may take after SIGTERM.
pub const EXIT_MAX: Duration = Duration::from_secs(30);

/// How often a state that has no bell is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of a log a failure shows.
const TAIL_LINES: usize = 40;
/// A free port can be taken by another process before ours binds it; then another is tried.
const PORT_TRIES: usize = 3;

/// What to start.
#[derive(Debug, Clone)]
pub struct Setup {
    config: Option<String>,
    command: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    port: Option<u16>,
    binary: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: None,
            command: vec!["serve".to_owned()],
            env: Vec::new(),
            files: Vec::new(),
            port: None,
            binary: None,
        }
    }
}

impl Setup {
    /// `tollgate serve` with this `tollgate.yaml`. The port is chosen and given by environment, which overrides the
    /// file.
    pub fn config(yaml: &str) -> Self {
        Self {
            config: Some(yaml.to_owned()),
            ..Self::default()
        }
    }

    /// `tollgate serve` without a configuration.
    pub fn without_config() -> Self {
        Self::default()
    }

    /// Runs another command than `serve`.
    pub fn command(mut self, arguments: &[&str]) -> Self {
        self.command = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Sets an environment variable, for the server and for `cli`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a file into the folder before the start.
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Uses this port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Runs this binary instead of the one beside the test.
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_owned());
        self
    }

    /// Starts it and waits until it is ready. Panics with its output if that does not happen.
    pub fn start(self) -> Tollgate {
        self.try_start()
            .unwrap_or_else(|failure| panic!("tollgate did not start: {failure}"))
    }

    /// Starts it and waits until it is ready; for starts that are expected to fail.
    pub fn try_start(self) -> Result<Tollgate, Failure> {
        let mut tollgate = self.prepare();
        for attempt in 1.. {
            match tollgate.launch() {
                Err(failure) if attempt < PORT_TRIES && failure.port_was_taken() => {}
                Err(failure) => return Err(failure),
                Ok(()) => break,
            }
            tollgate.port = tollgate.setup.port.unwrap_or_else(free_port);
        }
        Ok(tollgate)
    }

    /// Makes the folder with its files and starts nothing: for commands that need no server, and for a later `restart`.
    pub fn prepare(self) -> Tollgate {
        let dir = tempfile::Builder::new()
            .prefix("tollgate-test-")
            .tempdir()
            .expect("a temporary folder");
        if let Some(yaml) = &self.config {
            std::fs::write(dir.path().join("tollgate.yaml"), yaml).expect("the configuration is written");
        }
        for (name, content) in &self.files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder is made");
            std::fs::write(path, content).expect("the file is written");
        }
        let binary = self.binary.clone().unwrap_or_else(binary_beside_test);
        Tollgate {
            port: self.port.unwrap_or_else(free_port),
            child: None,
            setup: self,
            binary,
            dir,
            last_exit: None,
        }
    }
}

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
    fn port_was_taken(&self) -> bool {
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

    /// Replaces `tollgate.yaml` at once (by renaming, as editors and configuration tools do).
    pub fn write_config(&self, yaml: &str) {
        let new = self.path("tollgate.yaml.new");
        std::fs::write(&new, yaml).expect("the configuration is written");
        std::fs::rename(&new, self.path("tollgate.yaml")).expect("the configuration is replaced");
    }

    /// Runs a command beside the server: same binary, folder and environment.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, "")
    }

    /// Runs a command that reads `input` from stdin.
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.cli_child(arguments);
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input closes it; that is not our failure.
            io::Write::write_all(&mut stdin, input.as_bytes()).ok();
        }
        child.wait_with_output().expect("the command ends")
    }

    /// Starts a command that asks and is answered, with its three streams.
    pub fn cli_child(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()))
    }

    /// Runs a command that must succeed; its stdout.
    pub fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "tollgate {arguments:?}: {}\n{stdout}\n{stderr}",
            output.status
        );
        stdout
    }

    /// Runs a command that must succeed and print JSON.
    pub fn cli_json(&self, arguments: &[&str]) -> serde_json::Value {
        let stdout = self.cli_ok(arguments);
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("tollgate {arguments:?}: {error} in {stdout}"))
    }

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

    fn reap(&mut self) {
        if let Some(exit) = self
            .child
            .as_mut()
            .and_then(|child| child.try_wait().expect("our own child"))
        {
            self.last_exit = Some(exit);
            self.child = None;
        }
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

#[derive(Clone, Copy)]
enum Signal {
    Term,
    Hup,
}

#[expect(clippy::print_stderr, reason = "the harness shows it with the failed test")]
fn show(stderr: &str) {
    eprintln!("--- the last lines of tollgate's stderr\n{}", tail(stderr));
}

/// `TOLLGATE_BIN`, else the binary that Cargo put beside this test's executable.
pub fn binary_beside_test() -> PathBuf {
    if let Some(path) = std::env::var_os("TOLLGATE_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("this executable has a path");
    let folders = test.ancestors().skip(1).take(3);
    let candidates: Vec<PathBuf> = folders
        .flat_map(|folder| {
            [
                folder.join("tollgate"),
                folder.join("debug/tollgate"),
                folder.join("release/tollgate"),
            ]
        })
        .collect();
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    found.unwrap_or_else(|| {
        panic!(
            "no tollgate beside {}: run `cargo build -p tollgate`, or set TOLLGATE_BIN",
            test.display()
        )
    })
}

/// Ports below those that the system hands out (32768 and up on Linux): between a stop and the restart on the same port
/// no outgoing connection of another test can take it.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

fn free_port() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    (0..span)
        .map(|_| PORTS.start + (random() % span) as u16)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// Different in every call and every process.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn append(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
