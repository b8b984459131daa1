//! What the commands of all resources share: a name, a listing, a view, the last word of a removal.
//!
//! A resource's own file says what stands in its columns and its JSON; how those are shown is said here, so that five
//! resources look like one program.

use domain::Timestamp;
use serde_json::{Value, json};
use store::Origin;

use super::context::Context;
use super::output::{Table, moment};

/// Which one.
#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Its name
    pub(super) name: String,
}

/// Lists records: a row of cells for people, an object of JSON for programs.
pub(super) fn list<R, const N: usize>(
    context: &Context,
    headings: [&str; N],
    records: &[R],
    cells: impl Fn(&R) -> [String; N],
    json: impl Fn(&R) -> Value,
) -> anyhow::Result<()> {
    let mut table = Table::new(headings);
    records.iter().map(cells).for_each(|cells| table.row(cells));
    context.list(&table, records.iter().map(json).collect())
}

/// Shows one record, a fact a line.
pub(super) fn show(context: &Context, facts: &[(&str, String)], value: &Value) -> anyhow::Result<()> {
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines: Vec<String> = facts
        .iter()
        .map(|(label, fact)| format!("{label:<width$}  {fact}").trim_end().to_owned())
        .collect();
    context.say(&lines.join("\n"), value)
}

/// The members of a JSON object as facts, by themselves.
pub(super) fn facts(value: &Value) -> Vec<(&str, String)> {
    let members = value.as_object().into_iter().flatten();
    members
        .map(|(key, value)| {
            (
                key.as_str(),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect()
}

/// Says that something is gone; `along` is what went with it.
pub(super) fn removed(context: &Context, what: &str, name: &str, along: &str) -> anyhow::Result<()> {
    context.say(&format!("{what} {name} is removed{along}"), &json!({"removed": name}))
}

/// Adds who made a record and when.
pub(super) fn stamped(mut value: Value, origin: Origin, created_at: Timestamp, updated_at: Timestamp) -> Value {
    value["origin"] = json!(origin.name());
    value["created_at"] = json!(moment(created_at));
    value["updated_at"] = json!(moment(updated_at));
    value
}
