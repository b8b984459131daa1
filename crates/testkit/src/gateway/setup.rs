//! What to start: configuration, environment, files and the command, and the start itself.

use std::path::{Path, PathBuf};

use super::Tollgate;
use super::binary::binary_beside_test;
use super::failure::Failure;
use super::port::free_port;

/// A free port can be taken by another process before ours binds it; then another is tried.
const PORT_TRIES: usize = 3;

/// What to start.
#[derive(Debug, Clone)]
pub struct Setup {
    pub(super) config: Option<String>,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) port: Option<u16>,
    pub(super) binary: Option<PathBuf>,
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
