//! `tollgate healthcheck`: asks the local server whether it is ready. For containers, whose images have no curl.

use serde_json::{Value, json};

use super::context::Context;
use super::local;

#[derive(Debug, clap::Args)]
pub(crate) struct Healthcheck {}

impl Healthcheck {
    /// # Errors
    /// The server is not there or not ready: the exit code says so.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let address = local::address(&context.config()?.server.listen);
        let local::Answer { status, body } = local::get(&address, "/readyz", None).await?;
        let said: Value = serde_json::from_str(&body).unwrap_or_default();
        let why = said["status"].as_str().unwrap_or("it answers not as Tollgate does");
        anyhow::ensure!(status == 200, "{address} is not ready ({status}): {why}");
        context.say(
            &format!("{address} is ready"),
            &json!({"ready": true, "address": address}),
        )
    }
}
