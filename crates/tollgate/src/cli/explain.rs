//! `tollgate explain`: where a call would go, in which order, and why not elsewhere.
//!
//! Asked of the same code that decides for calls. What changes with traffic (open breakers, resting credentials) only the
//! running server knows: if one has this data open, it is asked by its own HTTP, with the admin token. Otherwise the
//! answer is made here from what is declared, and says so.

use admin::explain::{Candidate, Explanation, needs, surface};
use domain::{Forced, Snapshot, Timestamp};
use routing::{Asked, Board, preview};
use serde_json::json;

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
        let (explanation, running) = match self.ask(&config).await {
            Ok(explanation) => (explanation, Ok(local::address(&config.server.listen))),
            Err(why) => {
                let now = Timestamp(jiff::Timestamp::now().as_microsecond());
                let asked = Asked {
                    needs,
                    profile: profile.as_deref(),
                    ..surface.into()
                };
                let board = Board::new();
                board.follow(&snapshot);
                let plan = preview(&route, asked, &board, now, &mut rand::rng());
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

    /// Asks the running server.
    async fn ask(&self, config: &Config) -> anyhow::Result<Explanation> {
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

fn text(explanation: &Explanation) -> String {
    let Explanation {
        model,
        surface,
        strategy,
        group,
        order,
        excluded,
        last_resort,
        recovery,
    } = explanation;
    let by_group = group
        .as_ref()
        .map_or_else(String::new, |group| format!(", by the group {group}"));
    let mut text = format!("{model} as {surface}, strategy {}{by_group}\n\n", word(strategy));
    let mut table = Table::new([
        "TRY",
        "UPSTREAM",
        "CREDENTIAL",
        "MODEL THERE",
        "PRIORITY",
        "WEIGHT",
        "$ PER MILLION",
        "CONTEXT",
        "CANNOT",
    ]);
    for (index, one) in order.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            one.upstream.clone(),
            one.credential.clone(),
            model_there(one),
            one.priority.to_string(),
            one.weight.to_string(),
            price(one),
            context_window(one),
            one.cannot.join(", "),
        ]);
    }
    text.push_str(&if order.is_empty() {
        "nothing can be tried\n".to_owned()
    } else {
        table.render()
    });
    let mut closed: Vec<&str> = forced_closed(order).collect();
    closed.dedup();
    if !closed.is_empty() {
        let names = closed.join(", ");
        text.extend(["forced closed, so asked whatever they do: ", &names, "\n"]);
    }
    if *last_resort {
        text.push_str("tried although it is in trouble, because there is no other\n");
    }
    if *recovery {
        text.push_str(&goes_on(order));
    }
    if !excluded.is_empty() {
        let mut table = Table::new(["NOT", "CREDENTIAL", "MODEL THERE", "BECAUSE"]);
        for one in excluded {
            table.row([
                one.upstream.clone(),
                one.credential.clone(),
                model_there(one),
                because(one, surface),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text.trim_end().to_owned()
}

/// What becomes of a stream that breaks off after the client has seen text.
fn goes_on(order: &[Candidate]) -> String {
    let can = |one: &&Candidate| one.can.iter().any(|word| word == "prefill");
    let mut places: Vec<String> = order
        .iter()
        .filter(can)
        .map(|one| format!("{}/{}", one.upstream, one.model))
        .collect();
    places.dedup();
    if places.is_empty() {
        return "recovery: on, but none of them is known to go on with a text (capability prefill)\n".to_owned();
    }
    format!(
        "recovery: a stream that breaks off is gone on with by {}\n",
        places.join(", ")
    )
}

/// A fallback's targets are the only ones that belong to another model.
fn model_there(one: &Candidate) -> String {
    match &one.fallback {
        Some(fallback) => format!("{} (fallback {fallback})", one.model),
        None => one.model.clone(),
    }
}

fn forced_closed(order: &[Candidate]) -> impl Iterator<Item = &str> {
    let is_closed = |one: &&Candidate| one.forced == Some(Forced::Closed);
    order.iter().filter(is_closed).map(|one| one.upstream.as_str())
}

fn because(excluded: &Candidate, surface: &str) -> String {
    let reason = excluded.reason.as_deref().unwrap_or_default();
    match (reason, &excluded.until) {
        ("forced_open", _) => {
            "forced_open: an operator says so; `tollgate upstream edit NAME --breaker auto` ends it".to_owned()
        }
        ("dialect", _) => format!("dialect: it offers {surface} in no format that can be translated"),
        ("capability", _) => format!("capability: {}", excluded.lacks.as_deref().unwrap_or_default()),
        ("profile", _) => "profile: its credential is for keys of another profile".to_owned(),
        ("deactivated", _) => format!(
            "deactivated: tollgate credential edit {}/{} --activate",
            excluded.upstream, excluded.credential
        ),
        ("plan", _) => "plan: the account's plan does not have the model".to_owned(),
        ("needs_login", _) => {
            let (upstream, name) = (&excluded.upstream, &excluded.credential);
            format!("needs_login: log it in with `tollgate account login {upstream}/{name}`")
        }
        (reason, Some(until)) => format!("{reason} until {until}"),
        (reason, None) => reason.to_owned(),
    }
}

fn context_window(candidate: &Candidate) -> String {
    match candidate.context {
        0 => "not known".to_owned(),
        tokens => tokens.to_string(),
    }
}

fn price(candidate: &Candidate) -> String {
    match candidate.price {
        Some(price) if price.free => "free".to_owned(),
        Some(price) => format!("{} in, {} out", price.input, price.output),
        None => "not known".to_owned(),
    }
}
