//! `tollgate explain`: where a call would go, in which order, and why not elsewhere.
//!
//! Asked of the same code that decides for calls. What changes with traffic (open breakers, resting credentials) only the
//! running server knows: if one has this data open, it is asked by its own HTTP, with the admin token. Otherwise the
//! answer is made here from what is declared, and says so.

use admin::explain::{Candidate, Explanation, surface};
use domain::{Snapshot, Timestamp};
use routing::{Board, preview};
use serde_json::json;
use store::Journal;

use super::context::Context;
use super::local;
use super::output::{Table, word};
use crate::config::Config;
use crate::config::suggest::nearest;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The model's name, as a client would send it
    #[arg(long)]
    model: String,
    /// The name of a key: may it use the model?
    #[arg(long)]
    key: Option<String>,
    /// The client's format: openai_chat, openai_responses, anthropic_messages or gemini
    #[arg(long, default_value = "openai_chat")]
    dialect: String,
    /// What is asked: chat, completions, embeddings or count_tokens
    #[arg(long, default_value = "chat")]
    operation: String,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let surface = surface(&self.operation, &self.dialect).map_err(anyhow::Error::msg)?;
        let config = context.config()?;
        let store = context.store().await?;
        let snapshot = crate::serve::world::snapshot(&store, &config).await?;
        let route = snapshot.route(&self.model).ok_or_else(|| self.unknown(&snapshot))?;
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
        }
        let (explanation, running) = match self.ask(&config).await {
            Ok(explanation) => (explanation, Ok(local::address(&config.server.listen))),
            Err(why) => {
                let now = Timestamp(jiff::Timestamp::now().as_microsecond());
                let plan = preview(&route, surface, &Board::new(), now, &mut rand::rng());
                (Explanation::of(&route, &plan), Err(why))
            }
        };
        let source = match &running {
            Ok(address) => format!("as the server at {address} sees it now"),
            Err(why) => format!("as declared, without open breakers and resting credentials: {why:#}"),
        };
        let mut value = serde_json::to_value(&explanation)?;
        value["live"] = json!(running.is_ok());
        value["source"] = json!(source);
        context.say(&format!("{}\n\n{source}", text(&explanation)), &value)
    }

    /// Asks the running server. The token goes to nobody else: only a server that has our data open is asked.
    async fn ask(&self, config: &Config) -> anyhow::Result<Explanation> {
        let journal = &config.storage.journal.dir;
        anyhow::ensure!(Journal::holder(journal).is_some(), "no server runs on this data");
        let token = config.security.admin_token.as_ref();
        let token = token.ok_or_else(|| anyhow::anyhow!("set ADMIN_TOKEN, for the server too, to ask it"))?;
        let address = local::address(&config.server.listen);
        let path = format!(
            "/api/explain?model={}&operation={}&dialect={}",
            local::encoded(&self.model),
            self.operation,
            self.dialect
        );
        let answer = local::get(&address, &path, Some(token)).await?;
        anyhow::ensure!(
            answer.status == 200,
            "{address} says {}: {}",
            answer.status,
            answer.body
        );
        Ok(serde_json::from_str(&answer.body)?)
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

fn text(explanation: &Explanation) -> String {
    let Explanation {
        model,
        surface,
        strategy,
        order,
        excluded,
        last_resort,
    } = explanation;
    let mut text = format!("{model} as {surface}, strategy {}\n\n", word(strategy));
    let mut table = Table::new([
        "TRY",
        "UPSTREAM",
        "CREDENTIAL",
        "MODEL THERE",
        "PRIORITY",
        "WEIGHT",
        "$ PER MILLION",
    ]);
    for (index, one) in order.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            one.upstream.clone(),
            one.credential.clone(),
            one.model.clone(),
            one.priority.to_string(),
            one.weight.to_string(),
            price(one),
        ]);
    }
    text.push_str(&if order.is_empty() {
        "nothing can be tried\n".to_owned()
    } else {
        table.render()
    });
    if *last_resort {
        text.push_str("tried although it is in trouble, because there is no other\n");
    }
    if !excluded.is_empty() {
        let mut table = Table::new(["NOT", "CREDENTIAL", "MODEL THERE", "BECAUSE"]);
        for one in excluded {
            table.row([
                one.upstream.clone(),
                one.credential.clone(),
                one.model.clone(),
                because(one, surface),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text.trim_end().to_owned()
}

fn because(excluded: &Candidate, surface: &str) -> String {
    let reason = excluded.reason.as_deref().unwrap_or_default();
    match (reason, &excluded.until) {
        ("dialect", _) => format!("dialect: it offers {surface} in no format that can be translated"),
        ("plan", _) => "plan: the account's plan does not have the model".to_owned(),
        ("needs_login", _) => {
            let (upstream, name) = (&excluded.upstream, &excluded.credential);
            format!("needs_login: log it in with `tollgate account login {upstream}/{name}`")
        }
        (reason, Some(until)) => format!("{reason} until {until}"),
        (reason, None) => reason.to_owned(),
    }
}

fn price(candidate: &Candidate) -> String {
    match candidate.price {
        Some(price) if price.free => "free".to_owned(),
        Some(price) => format!("{} in, {} out", price.input, price.output),
        None => "not known".to_owned(),
    }
}
