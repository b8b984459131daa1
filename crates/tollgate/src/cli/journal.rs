//! `tollgate journal`: the local log of receipts, looked at from outside or booked again.

use std::sync::Arc;

use metering::Accounts;
use serde_json::json;
use store::{Adopted, Journal as Log, JournalReport, Settler, Store};

use super::context::Context;
use crate::config::Config;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Journal {
    /// Shows what it holds and what waits for the database
    Status,
    /// Books everything that is kept once more, after a database was restored; what is booked already is not booked twice
    Replay,
    /// Gives the journal to the database that is configured, without the receipts that are in it now
    ///
    /// A journal belongs to the database that it is booked into (and to its copies): its receipts name users by that one's
    /// numbers. With another database the server does not start, until it has a journal of its own or adopts this one.
    Adopt,
}

impl Journal {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (config, store) = context.config_and_store().await?;
        match self {
            Self::Status => status(context, &config, &store).await,
            Self::Replay => replay(context, &config, store).await,
            Self::Adopt => adopt(context, &config, store).await,
        }
    }
}

/// What it holds and what the database does not have yet; `None` where there is no journal.
pub(super) async fn report(config: &Config, store: &Store) -> anyhow::Result<Option<JournalReport>> {
    let dir = &config.storage.journal.dir;
    let Some(id) = Log::id_of(dir)? else { return Ok(None) };
    Ok(Some(Log::inspect(dir, store.journal_position(&id).await?)?))
}

/// Whose journal it is: in words, and the identity of the database as far as known.
async fn owner(config: &Config, store: &Store) -> anyhow::Result<(String, Option<String>)> {
    let dir = &config.storage.journal.dir;
    let bound = Log::binding(dir)?.map(|binding| binding.database);
    let words = match (&bound, store.check_journal(dir).await) {
        (_, Ok(())) => "this one".to_owned(),
        (Some(other), Err(_)) => format!("{other}, not this one ({})", store.identity()),
        (None, Err(_)) => format!("not known, not this one ({})", store.identity()),
    };
    Ok((words, bound))
}

async fn status(context: &Context, config: &Config, store: &Store) -> anyhow::Result<()> {
    let dir = config.storage.journal.dir.display().to_string();
    let Some(report) = report(config, store).await? else {
        return context.say(
            &format!("there is no journal in {dir} yet"),
            &json!({"dir": dir, "records": 0, "waiting": 0}),
        );
    };
    let held_by = report.held_by.as_deref().unwrap_or("nobody");
    let (whose, database) = owner(config, store).await?;
    let text = format!(
        "journal       {dir}\ndatabase      {whose}\nheld by       {held_by}\nsegments      {} ({} bytes)\nrecords       {}\nwaiting       {}\n\
         damaged       {} bytes\ntorn tails    {}\ndead letters  {}",
        report.segments,
        report.bytes,
        report.records,
        report.waiting,
        report.damaged_bytes,
        report.torn_files,
        report.dead_letters
    );
    let value = json!({
        "dir": dir, "id": report.id, "database": database, "held_by": report.held_by, "segments": report.segments, "bytes": report.bytes,
        "records": report.records, "waiting": report.waiting, "damaged_bytes": report.damaged_bytes,
        "torn_files": report.torn_files, "dead_letters": report.dead_letters,
    });
    context.say(&text, &value)
}

async fn replay(context: &Context, config: &Config, store: Store) -> anyhow::Result<()> {
    let dir = config.storage.journal.dir.display().to_string();
    let Some(report) = report(config, &store).await? else {
        anyhow::bail!("there is no journal in {dir}; is storage.journal.dir right?");
    };
    store.check_journal(&config.storage.journal.dir).await?;
    if let Some(id) = &report.id {
        store.rewind_journal(id).await?;
    }
    if let Some(process) = &report.held_by {
        let text = format!(
            "{} records are read again by the running server (process {process})",
            report.records
        );
        return context.say(&text, &json!({"records": report.records, "by": process}));
    }
    let journal = Arc::new(Log::open(&crate::serve::journal_options(config))?);
    let mut settler = Settler::start(store.clone(), journal, Arc::new(Accounts::new())).await?;
    let drained = settler.drain().await?;
    settler.note_position();
    drop(settler);
    store.close().await;
    let text = format!(
        "{} records were not in the database and are booked now; {} were booked already; {} were put aside",
        drained.booked, drained.repeated, drained.dead_letters
    );
    let value = json!({"booked": drained.booked, "repeated": drained.repeated, "dead_letters": drained.dead_letters});
    context.say(&text, &value)
}

async fn adopt(context: &Context, config: &Config, store: Store) -> anyhow::Result<()> {
    let dir = config.storage.journal.dir.display().to_string();
    let journal = Log::open(&crate::serve::journal_options(config))?;
    let adopted = Settler::adopt(&store, &journal).await?;
    let here = store.identity().to_owned();
    drop(journal);
    store.close().await;
    let Adopted::Now { from, left_behind } = adopted else {
        let text = format!("the journal {dir} belongs to this database already");
        return context.say(&text, &json!({"dir": dir, "database": here, "adopted": false}));
    };
    let text = format!(
        "the journal {dir} belongs to this database now, from its end on; {left_behind} receipts in it are not known to \
         be booked and never will be"
    );
    let value = json!({"dir": dir, "database": here, "adopted": true, "from": from, "left_behind": left_behind});
    context.say(&text, &value)
}
