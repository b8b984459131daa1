//! Text on stdout and stderr: the only place that prints.

use std::borrow::Cow;
use std::io::{self, Write as _};

/// Prints to stdout. Names come from callers too, and a terminal obeys what it is told: characters that steer it are shown
/// instead, but for the ends of lines and tabs.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(harmless(text, &['\n', '\t']).as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints a line to stderr. If even that is closed, nobody is there to be told.
pub(crate) fn complain(text: &str) {
    writeln!(io::stderr().lock(), "{}", harmless(text, &['\n', '\t'])).ok();
}

/// A text within a line, with every character shown that would steer the terminal or begin a line of its own.
pub(crate) fn in_line(text: &str) -> Cow<'_, str> {
    harmless(text, &[])
}

fn harmless<'a>(text: &'a str, allowed: &[char]) -> Cow<'a, str> {
    // Beside the control characters: those that turn the direction of what follows.
    let steers = |c: char| {
        (c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) && !allowed.contains(&c)
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether the reader of our output went away (`tollgate key list | head -1`), which is no failure.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Columns aligned for people.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned).to_vec()],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.map(|cell| in_line(&cell).into_owned());
        self.rows.push(cells.into());
    }

    /// The lines. An empty cell is a dash, so that columns can be counted.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| shown(cell).chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let cell = shown(cell);
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn shown(cell: &str) -> &str {
    if cell.is_empty() { "-" } else { cell }
}

/// A moment as RFC 3339 to the second.
pub(crate) fn moment(at: domain::Timestamp) -> String {
    jiff::Timestamp::from_second(at.unix_secs())
        .map(|at| at.to_string())
        .unwrap_or_default()
}

/// The word that a value of a closed set has in the configuration.
pub(crate) fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// A list in one cell.
pub(crate) fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["NAME", "NOTE"]);
        table.row(["ä".to_owned(), String::new()]);
        table.row(["longer".to_owned(), "x".to_owned()]);
        assert_eq!(table.render(), "NAME    NOTE\nä       -\nlonger  x\n");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new(["NAME"]);
        table.row(["a\u{1b}[2J\nTRY 1\u{202e}".to_owned()]);
        assert_eq!(table.render(), "NAME\na\\u{1b}[2J\\nTRY 1\\u{202e}\n");
        assert_eq!(harmless("line\nnext\u{7}\tx", &['\n', '\t']), "line\nnext\\u{7}\tx");
        assert!(matches!(in_line("ordinary – ä"), Cow::Borrowed(_)));
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(
            moment(domain::Timestamp::from_secs(1_798_761_600)),
            "2027-01-01T00:00:00Z"
        );
    }
}
