//! The configuration reader: no panic, places that exist, no secret in a mistake.

use tollgate::config::tree::Place;
use tollgate::config::{Environment, Flag, Mistakes, Sources};

/// Stands in variables only.
const PLANTED: &str = "planted-7Qx9ZkVb3LmN8pRt";

/// The claims. A NUL separates the file, the lines of `.env`, and the lines of flags (`key=value`).
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.contains("planted") {
        return;
    }
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let variables = format!(
        "SECRET={PLANTED}\nOPENAI_API_KEY={PLANTED}\nADMIN_TOKEN={PLANTED}\n{}",
        parts.next().unwrap_or_default()
    );
    let flags = parts.next().unwrap_or_default().lines().filter_map(flag);
    let sources = Sources {
        file: None,
        environment: Environment::of_text(&variables, ".env"),
        flags: flags.collect(),
    };
    match sources.parse(file) {
        Ok(config) => {
            let shown = format!("{config:?}");
            // A variable that the file itself puts into a name is no secret any more.
            assert!(file.contains("${") || !shown.contains(PLANTED), "{shown}");
        }
        Err(mistakes) => check_mistakes(file, &mistakes),
    }
}

fn flag(line: &str) -> Option<Flag> {
    let (key, value) = line.split_once('=')?;
    Some(Flag {
        key: key.to_owned(),
        value: value.to_owned(),
        name: "--set".to_owned(),
    })
}

fn check_mistakes(file: &str, mistakes: &Mistakes) {
    assert!(!mistakes.all.is_empty(), "refused without a reason");
    let lines: Vec<usize> = lines(file).map(|line| line.chars().count()).collect();
    for mistake in &mistakes.all {
        assert!(!mistake.message.is_empty());
        let shown = format!("{mistake:?}");
        assert!(!shown.contains(PLANTED), "{shown}");
        if let Place::File { line, column } = mistake.at {
            let length = line.checked_sub(1).and_then(|line| lines.get(line));
            let length = length.unwrap_or_else(|| panic!("{mistake:?} of {} lines in {file:?}", lines.len()));
            assert!(
                (1..=length + 1).contains(&column),
                "{mistake:?} of {length} columns in {file:?}"
            );
        }
    }
    assert!(!mistakes.to_string().contains(PLANTED));
}

/// Lines as YAML has them: they end in `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("\r\n").flat_map(|part| part.split(['\n', '\r']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate::config::Mistake;

    #[test]
    fn every_line_end_counts() {
        assert_eq!(lines("a\r\nb\rc\n").collect::<Vec<_>>(), ["a", "b", "c", ""]);
        assert_eq!(lines("a\r\r").collect::<Vec<_>>(), ["a", "", ""]);
    }

    #[test]
    #[should_panic(expected = "of 2 lines")]
    fn a_place_behind_the_end_is_told() {
        let at = Place::File { line: 3, column: 1 };
        check_mistakes("a\nb", &Mistake::at(at, "x").into());
    }

    #[test]
    #[should_panic(expected = "planted")]
    fn a_secret_in_a_mistake_is_told() {
        check_mistakes("", &Mistake::at(Place::Nowhere, PLANTED).into());
    }
}
