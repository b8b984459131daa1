//! Every member inherits versions and lints from the root.
//!
//! One place for a version means one version to review and to upgrade; lints that a crate forgot to inherit are lints
//! that do not hold there.

use super::Problem;
use crate::repo::Repo;

/// Problems: a dependency with a version of its own, or lints that are not the workspace's.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in repo.packages.iter().filter(|package| !package.own_workspace) {
        if !package.inherits_lints {
            problems.push(Problem::of(
                &package.manifest,
                "does not inherit the lints: add `[lints]` `workspace = true`",
            ));
        }
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.inherited) {
            let message = format!(
                "`{}` has a version of its own: put it in the root's [workspace.dependencies] and say {{ workspace = true }}",
                dependency.alias
            );
            problems.push(Problem::of(&package.manifest, message));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    fn problems(rest: &str) -> Vec<String> {
        told(&check(&Repo::of(&[(
            "x/Cargo.toml",
            &format!("[package]\nname = \"x\"\n{rest}"),
        )])))
    }

    #[test]
    fn what_is_inherited_is_fine() {
        let all = "[lints]\nworkspace = true\n[dependencies]\nserde = { workspace = true, features = [\"rc\"] }";
        assert_eq!(problems(all), [""; 0]);
    }

    #[test]
    fn own_versions_and_forgotten_lints_are_told() {
        let found = problems("[dependencies]\nserde = \"1\"");
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .any(|problem| problem.contains("`serde` has a version of its own")),
            "{found:?}"
        );
        assert!(found.iter().any(|problem| problem.contains("lints")), "{found:?}");
    }

    #[test]
    fn a_workspace_of_its_own_has_nothing_to_inherit() {
        assert_eq!(
            problems("[workspace]\n[dependencies]\nlibfuzzer-sys = \"0.4\""),
            [""; 0]
        );
    }
}
