//! `tollgate backup`: a copy of the database, taken while the server runs.

use std::path::PathBuf;

use serde_json::json;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The new file
    file: PathBuf,
}

impl Backup {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let backup = context.store().await?.backup(&self.file).await?;
        let path = backup.path.display().to_string();
        let text = format!(
            "{path} holds {} bytes; keep ENCRYPTION_KEY apart from it: it is needed to read it",
            backup.bytes
        );
        context.say(&text, &json!({"file": path, "bytes": backup.bytes}))
    }
}
