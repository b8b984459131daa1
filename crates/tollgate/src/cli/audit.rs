//! `tollgate audit`: the proof that receipts, movements, balances and statistics agree.

use serde_json::json;

use super::context::Context;
use super::journal;

#[derive(Debug, clap::Args)]
pub(crate) struct Audit {}

impl Audit {
    /// # Errors
    /// Anything that does not agree: the exit code says so too.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (config, store) = context.config_and_store().await?;
        // Before the books are read: what is booked in between is then counted twice rather than not at all.
        let waiting = journal::report(&config, &store)
            .await?
            .map_or(0, |report| report.waiting);
        let audit = store.audit().await?;
        let totals = audit.totals;
        let mut text = format!(
            "{:>20}  receipts in {} batches, {} accounts\n\
             {:>20}  charged by receipts\n{:>20}  taken by movements\n{:>20}  given\n{:>20}  sum of all balances\n\
             {:>20}  worth of all usage\n{:>20}  uncollected\n{:>20}  quarantined\n{:>20}  unpriced\n{:>20}  estimated\n",
            totals.receipts,
            totals.batches,
            totals.accounts,
            totals.charged.to_string(),
            totals.moved.to_string(),
            totals.credited.to_string(),
            totals.balances.to_string(),
            totals.cost.to_string(),
            totals.uncollected.to_string(),
            totals.quarantined,
            totals.unpriced,
            totals.estimated
        );
        for found in &audit.discrepancies {
            text.extend([
                found.subject.as_str(),
                ": ",
                found.what,
                ": ",
                found.one.as_str(),
                " and ",
                found.other.as_str(),
                "\n",
            ]);
        }
        text.push_str(if audit.passes() {
            "the books agree"
        } else {
            "the books do not agree"
        });
        if waiting > 0 {
            text.extend([format!(
                "; {waiting} receipts still wait in the journal and are not in them (a running server books them within a \
                 second; without one, `tollgate journal replay` does)"
            )]);
        }
        let discrepancies: Vec<_> = audit
            .discrepancies
            .iter()
            .map(|found| json!({"subject": found.subject, "what": found.what, "one": found.one, "other": found.other}))
            .collect();
        let value = json!({
            "passes": audit.passes(), "receipts": totals.receipts, "waiting": waiting, "batches": totals.batches, "accounts": totals.accounts,
            "charged": totals.charged, "moved": totals.moved, "credited": totals.credited, "balances": totals.balances,
            "cost": totals.cost, "uncollected": totals.uncollected, "quarantined": totals.quarantined,
            "unpriced": totals.unpriced, "estimated": totals.estimated, "discrepancies": discrepancies, "more": audit.more,
        });
        context.say(&text, &value)?;
        let count = audit.discrepancies.len() as u64 + audit.more;
        anyhow::ensure!(
            audit.passes(),
            "{count} figures do not agree; restore the database from a backup and replay the journal"
        );
        Ok(())
    }
}
