//! `tollgate replay`: why a call went where it went, and whether it would go there again.
//!
//! Read from the database beside the running server. The choice is made anew twice: from the record alone, which shows that
//! the record is complete and the program still decides as it did; and with a configuration (the present one, or a draft),
//! in the state of then, which shows what a change would have meant for this very call.

use std::path::PathBuf;

use domain::{CallId, Receipt, Snapshot};
use routing::Decision;
use routing::decision::{Difference, read};
use serde_json::json;
use store::Store;

use super::context::Context;
use super::decision;
use super::output::in_line;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The call, as `x-request-id` of its answer and the request log name it
    call: String,
    /// A draft to make the choice with, instead of the configuration; the record is taken from the configuration's database,
    /// whatever `storage` the draft names
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
}

impl Replay {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = context.config()?;
        let store = context.store().await?;
        let receipt = self.receipt(&store, &shown(&config)).await?;
        let config = match &self.with {
            Some(draft) => context.at(draft).config()?,
            None => config,
        };
        let file = shown(&config);
        let kept = receipt.decision.as_ref();
        let kept = kept.ok_or_else(|| anyhow::anyhow!("call `{}`: {}", receipt.call, admin::explain::NOT_KEPT))?;
        let decided = read(kept.get())?;
        let snapshot = crate::serve::world::snapshot_with(&store, &config).await?;
        let replayed = Replayed {
            again: decided.differences(&decided.replay()?),
            what_if: what_if(&decided, &snapshot)?,
            decided,
            receipt,
            file,
        };
        context.say(replayed.text().trim_end(), &replayed.json())?;
        anyhow::ensure!(
            replayed.again.is_empty(),
            "the record leads to another choice than it tells of: a defect, or another program wrote it; please report it"
        );
        Ok(())
    }

    async fn receipt(&self, store: &Store, file: &str) -> anyhow::Result<Receipt> {
        let id: CallId = self
            .call
            .parse()
            .map_err(|_| anyhow::anyhow!("`{}` is no id of a call; `x-request-id` of its answer is", self.call))?;
        let record = store.requests().find(id).await?;
        record.map(|record| record.receipt).ok_or_else(|| {
            anyhow::anyhow!(
                "the database of {file} knows no call `{id}`; one that just ended is booked within a second, if the \
                 server runs; a draft that names another database is given by --with"
            )
        })
    }
}

fn shown(config: &Config) -> String {
    let file = config.file.as_ref();
    file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string())
}

/// What came of it.
struct Replayed {
    receipt: Receipt,
    decided: Decision,
    /// What the record leads to otherwise.
    again: Vec<Difference>,
    what_if: Option<(Decision, Vec<Difference>)>,
    file: String,
}

impl Replayed {
    fn text(&self) -> String {
        let Self { file, decided, .. } = self;
        let what_if = match &self.what_if {
            Some((_, differences)) => told(differences),
            None => format!("nothing, since no upstream serves `{}` there", in_line(&decided.model)),
        };
        format!(
            "call {}\n{}\n{}\nmade again from the record: {}\nmade with {file} as it is now: {what_if}",
            self.receipt.call,
            decision::decided(decided),
            decision::attempts(&self.receipt.attempts),
            told(&self.again),
        )
    }

    fn json(&self) -> serde_json::Value {
        let other = self.what_if.as_ref();
        let differences = other.map(|(_, differences)| differences);
        json!({
            "call": self.receipt.call, "decision": self.decided, "attempts": admin::attempts(&self.receipt.attempts),
            "replay": {"same": self.again.is_empty(), "differences": self.again},
            "with": {
                "configuration": self.file, "same": differences.is_some_and(Vec::is_empty),
                "decision": other.map(|(decision, _)| decision), "differences": differences,
            },
        })
    }
}

/// What the same call would have met with these resources; `None` where they do not serve its model.
fn what_if(decided: &Decision, snapshot: &Snapshot) -> anyhow::Result<Option<(Decision, Vec<Difference>)>> {
    let Some(route) = snapshot.route(&decided.model) else {
        return Ok(None);
    };
    let other = decided.with(&route)?;
    let differences = decided.differences(&other);
    Ok(Some((other, differences)))
}

fn told(differences: &[Difference]) -> String {
    match differences {
        [] => "the same".to_owned(),
        differences => format!("another choice\n\n{}", decision::differences(differences)),
    }
}
