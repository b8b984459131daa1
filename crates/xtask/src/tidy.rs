//! The rules of the house, each a function from the repository to what breaks it, one file per rule.
//!
//! A rule needs a reason that a newcomer accepts at once, and a message that says what to do. Rules that rustc or
//! clippy can check are not repeated here.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::repo::Repo;

mod bans;
mod cages;
mod edges;
pub(crate) mod generated;
mod headers;
mod length;
mod links;
mod machine_paths;
mod manifests;
mod modules;
mod promises;
mod purity;
mod unused;

/// A place that breaks a rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    message: String,
}

/// One rule.
type Check = fn(&Repo) -> Vec<Problem>;

/// Every rule that needs nothing but the files. Freshness of generated files comes after them, because it builds things.
const CHECKS: &[(&str, Check)] = &[
    ("readable", readable),
    ("edges", edges::check),
    ("cages", cages::check),
    ("purity", purity::check),
    ("bans", bans::check),
    ("manifests", manifests::check),
    ("unused", unused::check),
    ("headers", headers::check),
    ("modules", modules::check),
    ("length", length::check),
    ("promises", promises::check),
    ("machine_paths", machine_paths::check),
    ("links", links::check),
];

/// Checks the repository below `root` and tells every problem, one line each.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let repo = Repo::load(root)?;
    let mut found: Vec<(&str, Problem)> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&repo).into_iter().map(move |problem| (*name, problem)))
        .collect();
    found.extend(
        generated::check(&repo.tree, root)
            .into_iter()
            .map(|problem| ("generated", problem)),
    );
    found.sort_by(|(_, left), (_, right)| left.cmp(right));
    let mut out = std::io::stdout().lock();
    for (name, problem) in &found {
        writeln!(out, "{problem} [{name}]")?;
    }
    let rules = CHECKS.len() + 1;
    match found.len() {
        0 => writeln!(out, "tidy: {rules} rules hold")?,
        n => writeln!(out, "tidy: {n} problem{}", if n == 1 { "" } else { "s" })?,
    }
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What could not even be read: a manifest that is not TOML, a source that is not Rust.
fn readable(repo: &Repo) -> Vec<Problem> {
    repo.problems.iter().chain(&repo.sources.problems).cloned().collect()
}

impl Problem {
    /// A problem of a file as a whole.
    pub(crate) fn of(path: &str, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }

    /// A problem at a line, counted from 1.
    pub(crate) fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// For the tests of the rules: the problems as text.
#[cfg(test)]
fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_content_with_an_empty_repository() {
        let repo = Repo::of(&[]);
        for (name, check) in CHECKS {
            assert_eq!(told(&check(&repo)), [""; 0], "{name}");
        }
    }

    #[test]
    fn unreadable_files_are_told() {
        let repo = Repo::of(&[("a/Cargo.toml", "[package]\nname = \"a\""), ("a/src/lib.rs", "fn {")]);
        assert_eq!(readable(&repo).len(), 1);
    }
}
