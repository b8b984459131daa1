//! A folder of its own for the binary, and what it says in there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A folder, and the binary run in it with an empty environment.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn with(yaml: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.dir.path().join("tollgate.yaml"), yaml).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
        let mut command = assert_cmd::Command::cargo_bin("tollgate").unwrap();
        command
            .current_dir(self.dir.path())
            .env_clear()
            .envs(environment.iter().copied())
            .args(arguments)
            .write_stdin(input);
        command.output().unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[], arguments, "")
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// The one line on stderr of a command that is refused.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        assert!(output.stdout.is_empty());
        let complaint = text(&output.stderr);
        assert_eq!(complaint.trim_end().lines().count(), 1, "{complaint}");
        complaint.trim_end().to_owned()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
