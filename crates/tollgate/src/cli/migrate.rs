//! `tollgate migrate`: brings the database's schema up to date, without serving.

use serde_json::json;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {}

impl Migrate {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store_up_to_date().await?;
        let revision = store.revision().await?;
        store.close().await;
        context.say("the schema is up to date", &json!({"revision": revision}))
    }
}
