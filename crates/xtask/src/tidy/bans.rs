//! The `clippy.toml` of the pure crates says everything that the root's says, and the same in all of them.
//!
//! Clippy reads the nearest `clippy.toml` and nothing above it. A ban that is added at the root only would silently not
//! hold in the crates where it matters most.

use toml::{Table, Value};

use super::{Problem, purity::PURE};
use crate::repo::Repo;

const ROOT: &str = "clippy.toml";

/// Problems: a pure crate without the file, one that differs from the first, or one that lacks an entry of the root's.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut first: Option<(String, &str)> = None;
    for package in repo
        .packages
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
    {
        let path = format!("{}/{ROOT}", package.folder);
        let Some(text) = repo.tree.text(&path) else {
            problems.push(Problem::of(&path, "is missing: copy it from another pure crate"));
            continue;
        };
        match &first {
            Some((other, expected)) if *expected != text => {
                problems.push(Problem::of(
                    &path,
                    format!("differs from {other}: a rule of purity holds in all of them"),
                ));
            }
            Some(_) => {}
            None => first = Some((path, text)),
        }
    }
    if let Some((path, text)) = first {
        problems.extend(forgotten(repo.tree.text(ROOT).unwrap_or_default(), &path, text));
    }
    problems
}

fn forgotten(root: &str, path: &str, pure: &str) -> Vec<Problem> {
    let (root, pure) = match (root.parse::<Table>(), pure.parse::<Table>()) {
        (Ok(root), Ok(pure)) => (root, pure),
        (Err(error), _) => return vec![Problem::of(ROOT, error.message())],
        (_, Err(error)) => return vec![Problem::of(path, error.message())],
    };
    let mut problems = Vec::new();
    for (key, value) in &root {
        match (value, pure.get(key)) {
            (Value::Array(wanted), Some(Value::Array(there))) => {
                let missing = wanted.iter().filter(|entry| !there.contains(entry));
                problems.extend(missing.map(|entry| {
                    Problem::of(
                        path,
                        format!(
                            "lacks an entry of the root's `{key}`: {}",
                            entry.get("path").unwrap_or(entry)
                        ),
                    )
                }));
            }
            (wanted, there) if there != Some(wanted) => {
                problems.push(Problem::of(
                    path,
                    format!("does not say `{key}` as the root's {ROOT} does"),
                ));
            }
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    const ROOT_TEXT: &str = "allow-unwrap-in-tests = true\ndisallowed-methods = [{ path = \"std::env::var\" }]\n";

    fn problems(domain: Option<&str>, routing: &str) -> Vec<String> {
        let mut files = vec![
            (ROOT, ROOT_TEXT),
            ("d/Cargo.toml", "[package]\nname = \"domain\""),
            ("r/Cargo.toml", "[package]\nname = \"routing\""),
            ("r/clippy.toml", routing),
        ];
        files.extend(domain.map(|text| ("d/clippy.toml", text)));
        told(&check(&Repo::of(&files)))
    }

    #[test]
    fn more_bans_than_the_root_are_welcome() {
        let more = ROOT_TEXT.replace("[{", "[{ path = \"std::fs::read\" }, {");
        assert_eq!(problems(Some(&more), &more), [""; 0]);
    }

    #[test]
    fn a_missing_file_is_told() {
        assert!(problems(None, ROOT_TEXT)[0].contains("d/clippy.toml: is missing"));
    }

    #[test]
    fn files_that_drift_apart_are_told() {
        let found = problems(Some(ROOT_TEXT), &format!("{ROOT_TEXT}# more\n"));
        assert_eq!(
            found,
            ["r/clippy.toml: differs from d/clippy.toml: a rule of purity holds in all of them"]
        );
    }

    #[test]
    fn a_ban_or_a_setting_that_was_forgotten_is_told() {
        let found = problems(Some("disallowed-methods = []"), "disallowed-methods = []");
        assert_eq!(found.len(), 2);
        assert!(
            found.iter().any(|problem| problem.contains("std::env::var")),
            "{found:?}"
        );
        assert!(
            found.iter().any(|problem| problem.contains("allow-unwrap-in-tests")),
            "{found:?}"
        );
    }
}
