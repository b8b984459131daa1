//! `tollgate replay`: why a call went where it went, and whether it would go there again.
//!
//! Read from the database beside the running server. The choice is made anew twice: from the record alone, which shows that
//! the record is complete and the program still decides as it did; and with a configuration (the present one, or a draft),
//! in the state of then, which shows what a change would have meant for this very call. So is what its failures led to:
//! each try ends as it ended then, and what is done next is worked out.

use std::path::PathBuf;

use domain::{CallId, Receipt, Snapshot};
use routing::Decision;
use routing::decision::{Again, Difference, read};
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
            walk: decided.walk_again()?,
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
    /// What its failures lead to, step by step; nothing where its first try was its answer.
    walk: Option<Vec<Again>>,
    what_if: Option<WhatIf>,
    file: String,
}

/// What another configuration makes of the call.
struct WhatIf {
    decision: Decision,
    differences: Vec<Difference>,
    walk: Option<Vec<Again>>,
}

impl Replayed {
    fn text(&self) -> String {
        let Self { file, decided, .. } = self;
        let what_if = match &self.what_if {
            Some(other) => format!("{}{}", told(&other.differences), walked(other.walk.as_deref())),
            None => format!("nothing, since no upstream serves `{}` there", in_line(&decided.model)),
        };
        format!(
            "call {}\n{}\n{}\nmade again from the record: {}{}\nmade with {file} as it is now: {what_if}",
            self.receipt.call,
            decision::decided(decided),
            decision::attempts(&self.receipt.attempts),
            told(&self.again),
            walked(self.walk.as_deref()),
        )
    }

    fn json(&self) -> serde_json::Value {
        let other = self.what_if.as_ref();
        let differences = other.map(|other| &other.differences);
        let walk = other.and_then(|other| other.walk.as_deref());
        json!({
            "call": self.receipt.call, "decision": self.decided, "attempts": admin::attempts(&self.receipt.attempts),
            "replay": {
                "same": self.again.is_empty(), "differences": self.again,
                "walk": self.walk, "walk_same": self.walk.as_deref().map(is_same),
            },
            "with": {
                "configuration": self.file, "same": differences.is_some_and(Vec::is_empty),
                "decision": other.map(|other| &other.decision), "differences": differences,
                "walk": walk, "walk_same": walk.map(is_same),
            },
        })
    }
}

/// What the same call would have met with these resources; `None` where they do not serve its model.
fn what_if(decided: &Decision, snapshot: &Snapshot) -> anyhow::Result<Option<WhatIf>> {
    let Some(route) = snapshot.route(&decided.model) else {
        return Ok(None);
    };
    let decision = decided.with(&route)?;
    Ok(Some(WhatIf {
        differences: decided.differences(&decision),
        walk: decided.walk_with(&route, &snapshot.defaults)?,
        decision,
    }))
}

/// Whether each step is what the call did.
fn is_same(walk: &[Again]) -> bool {
    walk.iter().all(|step| step.recorded.is_none())
}

/// What the failures lead to, below what is told of the choice.
fn walked(walk: Option<&[Again]>) -> String {
    match walk {
        None => String::new(),
        Some(walk) if is_same(walk) => format!("\n\nand then what it did:\n{}", decision::walk(walk).trim_end()),
        Some(walk) => format!(
            "\n\nand then something else than it did:\n{}",
            decision::walk(walk).trim_end()
        ),
    }
}

fn told(differences: &[Difference]) -> String {
    match differences {
        [] => "the same".to_owned(),
        differences => format!("another choice\n\n{}", decision::differences(differences)),
    }
}
