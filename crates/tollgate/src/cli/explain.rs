//! `tollgate explain`: where a call would go, in which order, and why not elsewhere.
//!
//! Asked of the same code that decides for calls. What changes with traffic (open breakers, resting credentials) only the
//! running server knows: if one has this data open, it is asked by its own HTTP, with the admin token. Otherwise the
//! answer is made here from what is declared, and says so.

use admin::explain::{needs, surface};
use domain::{Snapshot, Timestamp};
use routing::{Asked, Board, Decision, dry_run};
use serde_json::json;

use super::context::Context;
use super::decision;
use super::local;
use crate::config::Config;
use crate::config::suggest::nearest;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The model's name, as a client would send it
    #[arg(long)]
    model: String,
    /// The name of a key: may it use the model, and with which credentials?
    #[arg(long)]
    key: Option<String>,
    /// The client's format: openai_chat, openai_responses, anthropic_messages or gemini
    #[arg(long, default_value = "openai_chat")]
    dialect: String,
    /// What is asked: chat, completions, embeddings, count_tokens or compact
    #[arg(long, default_value = "chat")]
    operation: String,
    /// What the request would need, separated by commas: tools, image, audio, document, video, schema
    #[arg(long, default_value = "", value_name = "CAPABILITIES")]
    needs: String,
    /// Tokens that its prompt would have
    #[arg(long, default_value_t = 0, value_name = "TOKENS")]
    tokens: u64,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let surface = surface(&self.operation, &self.dialect).map_err(anyhow::Error::msg)?;
        let needs = needs(&self.needs, self.tokens).map_err(anyhow::Error::msg)?;
        let config = context.config()?;
        let store = context.store().await?;
        let snapshot = crate::serve::world::snapshot(&store, &config).await?;
        let route = snapshot.route(&self.model).ok_or_else(|| self.unknown(&snapshot))?;
        let mut profile = None;
        if let Some(name) = &self.key {
            let record = store.keys().get(name).await?;
            let key = snapshot.keys.get(&record.hash);
            let key =
                key.ok_or_else(|| anyhow::anyhow!("key `{name}` is set aside; `tollgate key show {name}` says more"))?;
            anyhow::ensure!(
                key.may_use(&self.model),
                "key `{name}` may not use `{}`; add it: tollgate key edit {name} --model …",
                self.model
            );
            profile.clone_from(&key.profile);
        }
        let (decision, running) = match self.ask(&config).await {
            Ok(decision) => (decision, Ok(local::address(&config.server.listen))),
            Err(why) => {
                let now = Timestamp(jiff::Timestamp::now().as_microsecond());
                let asked = Asked {
                    needs,
                    profile: profile.as_deref(),
                    ..surface.into()
                };
                let board = Board::new();
                board.follow(&snapshot);
                (dry_run(&route, asked, &board, now, rand::random()), Err(why))
            }
        };
        let source = match &running {
            Ok(address) => format!("as the server at {address} sees it now"),
            Err(why) => format!("as declared, without open breakers and resting credentials: {why:#}"),
        };
        let mut value = serde_json::to_value(&decision)?;
        value["live"] = json!(running.is_ok());
        value["source"] = json!(source);
        context.say(&format!("{}\n\n{source}", decision::declared(&decision)), &value)
    }

    /// Asks the running server.
    async fn ask(&self, config: &Config) -> anyhow::Result<Decision> {
        let mut path = format!(
            "/api/explain?model={}&operation={}&dialect={}&needs={}&tokens={}",
            local::encoded(&self.model),
            self.operation,
            self.dialect,
            local::encoded(&self.needs),
            self.tokens
        );
        if let Some(key) = &self.key {
            path.push_str("&key=");
            path.push_str(&local::encoded(key));
        }
        Ok(serde_json::from_str(&local::ask_server(config, &path).await?)?)
    }

    fn unknown(&self, snapshot: &Snapshot) -> anyhow::Error {
        let names = snapshot
            .keys
            .values()
            .next()
            .map(|key| snapshot.model_names(key))
            .unwrap_or_default();
        let meant = nearest(&self.model, names)
            .map(|meant| format!("; did you mean `{meant}`?"))
            .unwrap_or_default();
        anyhow::anyhow!("no upstream serves `{}`{meant}", self.model)
    }
}
