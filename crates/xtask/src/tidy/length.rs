//! No file has more than 800 lines beside its tests.
//!
//! In the gateways that we looked at, giant files sit where an abstraction is missing. The number is a ratchet: a file
//! that is over it for a good reason is listed with its length, may shrink, and may not grow.

use super::Problem;
use crate::repo::Repo;

const LINES_MAX: usize = 800;

/// (file, lines without tests that it may have, why)
type Ratchet = &'static [(&'static str, usize, &'static str)];

const RATCHET: Ratchet = &[];

/// Problems: files that are too long, and ratchet entries that are looser than needed.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    against(repo, RATCHET)
}

fn against(repo: &Repo, ratchet: Ratchet) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, file) in repo.sources.iter().filter(|(_, file)| !file.test) {
        let lines = repo
            .tree
            .text(path)
            .map_or(0, |text| text.lines().count())
            .saturating_sub(file.test_lines);
        let listed = ratchet
            .iter()
            .find(|(listed, ..)| *listed == path)
            .map(|(_, lines, _)| *lines);
        match listed {
            Some(allowed) if lines < allowed => {
                problems.push(Problem::of(
                    path,
                    format!("has shrunk to {lines} lines: tighten its ratchet in length.rs"),
                ));
            }
            _ if lines > listed.unwrap_or(LINES_MAX) => {
                let limit = listed.unwrap_or(LINES_MAX);
                problems.push(Problem::of(
                    path,
                    format!("has {lines} lines without tests, the limit is {limit}: split it"),
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

    fn repo(lines: usize) -> Repo {
        let text = "fn f() {}\n".repeat(lines) + "#[cfg(test)]\nmod tests {\n" + &"fn t() {}\n".repeat(500) + "}\n";
        Repo::of(&[
            ("a/Cargo.toml", "[package]\nname = \"a\""),
            ("a/src/lib.rs", &text),
            ("a/tests/t.rs", &text),
        ])
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(told(&against(&repo(LINES_MAX), &[])), [""; 0]);
    }

    #[test]
    fn one_line_too_many_is_told() {
        let found = told(&against(&repo(LINES_MAX + 1), &[]));
        assert_eq!(
            found,
            ["a/src/lib.rs: has 801 lines without tests, the limit is 800: split it"]
        );
    }

    #[test]
    fn the_ratchet_turns_one_way() {
        let listed: Ratchet = &[("a/src/lib.rs", 900, "a table")];
        assert_eq!(told(&against(&repo(900), listed)), [""; 0]);
        assert_eq!(against(&repo(901), listed).len(), 1);
        assert!(told(&against(&repo(899), listed))[0].contains("tighten"));
    }
}
