//! No file names a folder of the machine that it was written on.
//!
//! Such a path works for one person and tells the others where that person keeps things.

use super::Problem;
use crate::repo::Repo;

/// Spelled in two parts, so that this file does not accuse itself.
const FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// Problems: lines with an absolute path of a developer's machine.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    repo.tree
        .texts()
        .flat_map(|(path, text)| {
            let broken = text
                .lines()
                .enumerate()
                .filter_map(|(index, line)| Some((index + 1, folder_in(line)?)));
            broken.map(|(line, folder)| {
                Problem::at(
                    path,
                    line,
                    format!("names `{folder}…`, a folder of one machine: make it relative, or an option"),
                )
            })
        })
        .collect()
}

/// An absolute path starts where a word does: `https://host/x/` and `../x/` are none.
fn folder_in(line: &str) -> Option<&'static str> {
    FOLDERS.iter().copied().find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "._-/*}~".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    #[test]
    fn absolute_paths_of_a_machine_are_told_with_their_line() {
        let text = format!("fine\nsee {}main", FOLDERS[0]);
        let found = told(&check(&Repo::of(&[("docs/x.md", &text)])));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("docs/x.md:2: names"), "{found:?}");
        assert!(folder_in(&format!("path = \"{}x\"", FOLDERS[1])).is_some());
    }

    #[test]
    fn relative_paths_and_addresses_are_not() {
        for line in [
            format!("..{}main", FOLDERS[0]),
            format!("https://a.example{}x", FOLDERS[2]),
            format!("$HOME/a{}", FOLDERS[0]),
        ] {
            assert_eq!(folder_in(&line), None, "{line}");
        }
    }
}
