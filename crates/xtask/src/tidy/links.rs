//! Relative links in the documents lead somewhere.
//!
//! The documents name files of the code; a file that moves shall take its mentions along.

use super::Problem;
use crate::repo::Repo;
use crate::tree;

/// Problems: links to files that are not there.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in repo.tree.texts_with("md") {
        for (line, target) in links(text) {
            let found =
                tree::join(tree::folder(path), target).is_some_and(|file| file.is_empty() || repo.tree.exists(&file));
            if !found {
                problems.push(Problem::at(
                    path,
                    line,
                    format!("links to `{target}`, which is not there"),
                ));
            }
        }
    }
    problems
}

/// Targets of `[text](target)` outside code blocks, without addresses and without the `#part`.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let targets = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target);
        let files = targets.map(|target| target.split('#').next().unwrap_or(target));
        found.extend(
            files
                .filter(|target| !target.is_empty() && !target.contains(':'))
                .map(|target| (index + 1, target)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    #[test]
    fn links_lead_to_files_folders_and_elsewhere() {
        let text =
            "[a](adr/1.md#why) [b](adr) [c](https://example.com) [d](#here) [e](../README.md)\n```\n[f](no)\n```\n";
        let repo = Repo::of(&[("docs/A.md", text), ("docs/adr/1.md", ""), ("README.md", "")]);
        assert_eq!(told(&check(&repo)), [""; 0]);
    }

    #[test]
    fn a_link_to_nothing_is_told() {
        let repo = Repo::of(&[("docs/A.md", "fine\nsee [it](adr/2.md) and [out](../../x)\n")]);
        let lost = [
            "docs/A.md:2: links to `adr/2.md`, which is not there",
            "docs/A.md:2: links to `../../x`, which is not there",
        ];
        assert_eq!(told(&check(&repo)), lost);
    }
}
