//! A note about work to be done names the issue where it is kept: a word in capitals, then `(#12): …`.
//!
//! A promise that only stands in a comment is kept by nobody.

use super::Problem;
use crate::repo::Repo;

/// Spelled in two parts, so that this file does not accuse itself.
const WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Where code and its configuration is; prose may talk about such notes.
const CODE: &[&str] = &[
    "rs", "toml", "sh", "py", "js", "ts", "tsx", "css", "html", "yml", "yaml", "sql",
];

/// Problems: notes without an issue.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let code = repo.tree.texts().filter(|(path, _)| is_code(path));
    code.flat_map(|(path, text)| {
        let broken = text.lines().enumerate().filter(|(_, line)| has_loose_promise(line));
        broken.map(|(index, _)| {
            Problem::at(
                path,
                index + 1,
                "promises work without an issue: name it, as in `(#12)`, or do it",
            )
        })
    })
    .collect()
}

fn is_code(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // Scripts under scripts/ and the Makefile have no extension.
    name.rsplit_once('.')
        .is_none_or(|(_, extension)| CODE.contains(&extension))
}

fn has_loose_promise(line: &str) -> bool {
    WORDS.iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + word.len()..];
            let inside = |c: char| c.is_alphanumeric() || c == '_';
            let whole = !before.is_some_and(inside) && !after.chars().next().is_some_and(inside);
            whole && !names_issue(after)
        })
    })
}

/// `(#12)` follows.
fn names_issue(after: &str) -> bool {
    let number = after
        .strip_prefix("(#")
        .and_then(|rest| rest.split_once(')'))
        .map(|(number, _)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    fn accepts(path: &str, line: &str) -> bool {
        check(&Repo::of(&[(path, line)])).is_empty()
    }

    #[test]
    fn a_promise_needs_an_issue() {
        let [to_do, fix_me] = [WORDS[0], WORDS[1]];
        assert!(accepts("a.rs", &format!("// {to_do}(#12): faster")));
        assert!(!accepts("a.rs", &format!("// {to_do}: faster")));
        assert!(!accepts("a.rs", &format!("// {fix_me}(#) later")));
        assert!(!accepts("scripts/run", &format!("# {fix_me}(someone)")));
    }

    #[test]
    fn words_that_only_contain_it_and_prose_are_left_alone() {
        assert!(accepts("a.rs", &format!("const {}_STATE: u8 = 1;", WORDS[0])));
        assert!(accepts("a.md", WORDS[0]));
    }

    #[test]
    fn the_line_is_told() {
        let found = told(&check(&Repo::of(&[("a.rs", &format!("ok\n// {}\n", WORDS[0]))])));
        assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
    }
}
