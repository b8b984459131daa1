//! Every Rust file is reachable from a target, and none is called `mod.rs`.
//!
//! A file without a `mod` line is dead but looks alive. `name.rs` beside `name/` keeps a module findable by its name;
//! a row of editor tabs that all say `mod.rs` does not.

use super::Problem;
use crate::repo::Repo;

/// Problems: dead files and `mod.rs`.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, _) in repo.tree.texts_with("rs") {
        if path.ends_with("/mod.rs") {
            problems.push(Problem::of(
                path,
                "is called mod.rs: call it after its folder, beside the folder",
            ));
        }
        if !repo.sources.reaches(path) {
            problems.push(Problem::of(
                path,
                "is dead: no `mod` leads here from any target; declare it or delete it",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    #[test]
    fn dead_files_and_mod_rs_are_told() {
        let repo = Repo::of(&[
            ("a/Cargo.toml", "[package]\nname = \"a\""),
            ("a/src/lib.rs", "mod alive; mod old;"),
            ("a/src/alive.rs", ""),
            ("a/src/old/mod.rs", ""),
            ("a/src/dead.rs", ""),
        ]);
        assert_eq!(
            told(&check(&repo)),
            [
                "a/src/dead.rs: is dead: no `mod` leads here from any target; declare it or delete it",
                "a/src/old/mod.rs: is called mod.rs: call it after its folder, beside the folder",
            ]
        );
    }
}
