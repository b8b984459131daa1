//! Commands beside the server, as an operator types them in its folder.

use std::io;
use std::process::{Child, Output, Stdio};

use super::Tollgate;

impl Tollgate {
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
}
