//! Every Rust file opens with a `//!` header that says why it is there.
//!
//! The header is where a reader decides whether this is the right file. It comes first, before attributes and imports.

use super::Problem;
use crate::repo::Repo;

/// Fewer words than this cannot give a reason.
const WORDS_MIN: usize = 4;

/// Problems: files without a header, or with one that says nothing.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    repo.tree
        .texts_with("rs")
        .filter(|(_, text)| !has_header(text))
        .map(|(path, _)| {
            Problem::at(
                path,
                1,
                "has no header: open with `//!` and say in a sentence why this file exists",
            )
        })
        .collect()
}

fn has_header(text: &str) -> bool {
    if text.starts_with("#![doc = include_str!(") {
        return true;
    }
    let words = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .flat_map(str::split_whitespace);
    words.take(WORDS_MIN).count() == WORDS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        check(&Repo::of(&[("a/src/x.rs", text)])).is_empty()
    }

    #[test]
    fn a_sentence_is_a_header() {
        assert!(accepts("//! Prices are looked up here, once.\n\nuse std::fmt;\n"));
        assert!(accepts("#![doc = include_str!(\"../README.md\")]\n"));
    }

    #[test]
    fn nothing_late_or_empty_is_a_header() {
        assert!(!accepts("use std::fmt;\n//! Prices are looked up here, once.\n"));
        assert!(!accepts("//! placeholder\n"));
        assert!(!accepts("//!\n//!\n"));
        assert!(!accepts("// Prices are looked up here, once.\n"));
        assert!(!accepts(""));
    }
}
