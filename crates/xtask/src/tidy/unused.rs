//! Every declared dependency is named somewhere in the package's sources.
//!
//! A dependency that nobody uses is compile time, audit work and attack surface for nothing, and cargo does not tell.
//! Searching for the name as a word can miss one that is only mentioned; it never accuses one that is used, except those
//! that are there for a feature only, which are listed here with their reason.

use super::Problem;
use crate::repo::Repo;

/// (package, dependency, why it is not named in the source)
const FOR_A_FEATURE: &[(&str, &str, &str)] = &[];

/// Problems: dependencies that no file of the package names.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in &repo.packages {
        let own = |path: &str| {
            repo.package_of(path)
                .is_some_and(|owner| owner.manifest == package.manifest)
        };
        let sources: Vec<&str> = repo
            .tree
            .texts_with("rs")
            .filter(|(path, _)| own(path))
            .map(|(_, text)| text)
            .collect();
        for dependency in &package.dependencies {
            let name = dependency.alias.replace('-', "_");
            let excused = FOR_A_FEATURE
                .iter()
                .any(|(who, what, _)| (*who, *what) == (&package.name, &dependency.alias));
            if !excused && !sources.iter().any(|text| has_word(text, &name)) {
                let message = format!(
                    "`{}` is declared but never named in the sources: remove it",
                    dependency.alias
                );
                problems.push(Problem::of(&package.manifest, message));
            }
        }
    }
    problems
}

fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    fn problems(source: &str) -> Vec<String> {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nserde-json = { workspace = true }";
        told(&check(&Repo::of(&[
            ("x/Cargo.toml", manifest),
            ("x/src/lib.rs", source),
        ])))
    }

    #[test]
    fn a_dependency_that_is_named_is_used() {
        assert_eq!(problems("use serde_json::Value;"), [""; 0]);
    }

    #[test]
    fn a_dependency_that_is_not_named_is_told() {
        assert_eq!(problems("use my_serde_json::Value;").len(), 1);
    }
}
