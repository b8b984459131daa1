//! `tollgate upstream`: endpoints at providers.

use admin::checkup::Checkup;
use domain::declaration::{CredentialDecl, Switch, UpstreamDecl};
use domain::{Forced, Provider};
use gateway::AddressRules;
use serde_json::json;
use store::{Origin, Store, UpstreamRecord};

use super::context::Context;
use super::draft::{Draft, pair};
use super::local;
use super::output::{Table, joined};
use super::resource::{self, Name};
use super::secret_input::SecretInput;
use crate::config::check;

/// The name of the credential that is given together with a new upstream.
const FIRST_CREDENTIAL: &str = "default";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Upstream {
    /// Adds an upstream, with its first credential
    Add(Box<Add>),
    /// Lists all upstreams
    List,
    /// Shows an upstream with its credentials
    Show(Name),
    /// Changes an upstream
    Edit(Box<Edit>),
    /// Removes an upstream and its credentials
    Remove(Name),
    /// Tries the way to an upstream step by step: name, connection, TLS, key, one call (asks the running server)
    Test(Test),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The upstream's name
    name: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    secret: SecretInput,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    /// The upstream's name
    name: String,
    /// A new name
    #[arg(long = "name", value_name = "NAME")]
    new_name: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// The upstream's name
    name: String,
    /// With this credential, instead of the first
    #[arg(long)]
    credential: Option<String>,
    /// A model's name there, instead of the cheapest
    #[arg(long)]
    model: Option<String>,
}

/// What an upstream is like. What is not given stays; what is given as '' goes back to the default.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// A provider preset, such as openai, anthropic, gemini or openai-compatible
    #[arg(long)]
    provider: Option<String>,
    /// Where the API begins, instead of the preset's
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The wire format: openai_chat, openai_responses, anthropic_messages, gemini or bedrock_converse
    #[arg(long)]
    dialect: Option<String>,
    /// What the preset leaves open, as NAME=VALUE, such as region=eu-west-1; repeatable
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = pair)]
    variables: Vec<(String, String)>,
    /// The group that it belongs to, see `groups` of the file; otherwise a label
    #[arg(long)]
    group: Option<String>,
    /// Lower is tried first
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<String>,
    /// Share under the strategy weighted
    #[arg(long)]
    weight: Option<String>,
    /// Among its credentials: round_robin, random, weighted, least_connections, least_used, lowest_latency or sticky
    #[arg(long)]
    strategy: Option<String>,
    /// A model it serves, or a glob; repeatable
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// A header for every request, as NAME=VALUE; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// A field for every JSON body, as NAME=VALUE; repeatable
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// A proxy to reach it by
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// A PEM file of certificate authorities to trust for it
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// To an open connection, such as 10s
    #[arg(long, value_name = "PERIOD")]
    connect_timeout: Option<String>,
    /// To the first content of an answer
    #[arg(long, value_name = "PERIOD")]
    first_byte_timeout: Option<String>,
    /// Between two pieces of a stream
    #[arg(long, value_name = "PERIOD")]
    idle_timeout: Option<String>,
    /// For a whole call
    #[arg(long, value_name = "PERIOD")]
    total_timeout: Option<String>,
    /// The breaker: on or off; or, by hand and until further notice: open (ask it nothing), closed (ask it whatever it
    /// does), auto (as it finds out by itself)
    #[arg(long, value_parser = ["on", "off", "open", "closed", "auto"])]
    breaker: Option<String>,
    /// Cooldown after a 429: off, or the longest one, such as 1h
    #[arg(long, value_name = "PERIOD")]
    cooldown: Option<String>,
    /// What it is asked while nobody calls: off, models or call
    #[arg(long, value_name = "PROBE", value_parser = ["off", "models", "call"])]
    health: Option<String>,
    /// How often
    #[arg(long, value_name = "PERIOD")]
    health_every: Option<String>,
}

impl Settings {
    fn put(&self, draft: &mut Draft) {
        let mut texts = vec![
            ("provider", "--provider", &self.provider),
            ("base_url", "--base-url", &self.base_url),
            ("dialect", "--dialect", &self.dialect),
            ("group", "--group", &self.group),
            ("priority", "--priority", &self.priority),
            ("weight", "--weight", &self.weight),
            ("strategy", "--strategy", &self.strategy),
            ("proxy", "--proxy", &self.proxy),
            ("ca", "--ca", &self.ca),
            ("health.probe", "--health", &self.health),
            ("health.every", "--health-every", &self.health_every),
            ("timeouts.connect", "--connect-timeout", &self.connect_timeout),
            ("timeouts.first_byte", "--first-byte-timeout", &self.first_byte_timeout),
            ("timeouts.idle", "--idle-timeout", &self.idle_timeout),
            ("timeouts.total", "--total-timeout", &self.total_timeout),
        ];
        texts.retain(|(.., value)| value.is_some());
        for (key, flag, value) in texts {
            match value.as_deref() {
                Some("") if !key.contains('.') => draft.remove(key),
                value => draft.set(key, flag, value),
            }
        }
        draft.set_list("models", "--model", &self.models);
        draft.set_entries("variables", "--variable", &self.variables);
        draft.set_entries("headers", "--header", &self.headers);
        draft.set_entries("params", "--param", &self.params);
        match self.breaker.as_deref() {
            Some("on") => draft.remove("breaker"),
            Some("open" | "closed" | "auto") => {}
            breaker => draft.set("breaker", "--breaker", breaker),
        }
        match self.cooldown.as_deref() {
            Some("off") => draft.set("cooldown", "--cooldown", Some("off")),
            Some("on") => draft.remove("cooldown"),
            max => draft.set("cooldown.max", "--cooldown", max),
        }
    }
}

/// What an operator decides on a breaker; nothing: it may find out by itself again.
struct Decision(Option<Forced>);

impl Settings {
    /// What is decided on the breaker by hand, if anything is. It is state, not part of the declaration.
    fn decided(&self) -> Option<Decision> {
        let word = self.breaker.as_deref()?;
        let forced = Forced::from_name(word);
        (word == "auto" || forced.is_some()).then_some(Decision(forced))
    }
}

impl Upstream {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(context).await,
            Self::List => list(context).await,
            Self::Show(name) => show(context, &name.name).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Remove(name) => {
                context.store().await?.upstreams().remove(&name.name).await?;
                resource::removed(context, "upstream", &name.name, ", with its credentials")
            }
            Self::Test(test) => test.run(context).await,
        }
    }
}

impl Test {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = context.config()?;
        let token = config.security.admin_token.as_ref();
        let token = token.ok_or_else(|| anyhow::anyhow!("set ADMIN_TOKEN, for the server too, to ask it"))?;
        let address = local::address(&config.server.listen);
        let named = [("credential", &self.credential), ("model", &self.model)];
        let query: Vec<String> = named
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", local::encoded(value.as_deref()?))))
            .collect();
        let path = format!(
            "/api/admin/upstreams/{}/test?{}",
            local::encoded(&self.name),
            query.join("&")
        );
        let answer = local::post(&address, &path, token).await?.told(&address)?;
        let checkup: Checkup = serde_json::from_str(&answer)?;
        let mut table = Table::new(["STEP", "", "MS", "FOUND"]);
        for step in &checkup.steps {
            let mark = if step.ok { "ok" } else { "failed" };
            let took = format!("{}.{}", step.took_us / 1_000, step.took_us / 100 % 10);
            table.row([step.name.clone(), mark.to_owned(), took, step.found.clone()]);
        }
        let text = format!("{} with {}\n\n{}", checkup.upstream, checkup.credential, table.render());
        context.say(&text, &serde_json::to_value(&checkup)?)?;
        anyhow::ensure!(checkup.ok, "upstream {} cannot be used so", checkup.upstream);
        Ok(())
    }
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let secret = self.secret.given(&context.sources(Vec::new())?.environment)?;
        let mut draft = Draft::named(&self.name);
        self.settings.put(&mut draft);
        let mut decl = finish(&draft, context)?;
        if let Some(key) = secret {
            decl.credentials.push(CredentialDecl::new(FIRST_CREDENTIAL, key));
        }
        let store = context.store_or_new().await?;
        let mut record = store.upstreams().add(&decl, Origin::Cli).await?;
        if let Some(Decision(forced)) = self.settings.decided() {
            store.upstreams().force(&record.name, forced).await?;
            record = store.upstreams().get(&record.name).await?;
        }
        let next = match record.credentials.len() {
            0 => format!(
                "; if it needs a key: tollgate credential add NAME --upstream {}",
                record.name
            ),
            _ => String::new(),
        };
        context.say(&format!("upstream {} is added{next}", record.name), &to_json(&record))
    }
}

impl Edit {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let record = store.upstreams().get(&self.name).await?;
        let mut draft = Draft::of(&record.decl)?;
        draft.set("name", "--name", self.new_name.as_ref());
        self.settings.put(&mut draft);
        let decl = finish(&draft, context)?;
        let decided = self.settings.decided();
        // One of the file's may be closed off too; only its declaration is the file's.
        let mut record = if decided.is_some() && decl == record.decl {
            record
        } else {
            store.upstreams().edit(&self.name, &decl).await?
        };
        if let Some(Decision(forced)) = decided {
            store.upstreams().force(&record.name, forced).await?;
            record = store.upstreams().get(&record.name).await?;
        }
        context.say(&format!("upstream {} is changed", record.name), &to_json(&record))
    }
}

/// Presets of the operator's own stand in the configuration file.
fn finish(draft: &Draft, context: &Context) -> anyhow::Result<UpstreamDecl> {
    let config = context.config()?;
    let own: Vec<&Provider> = config.providers.iter().map(|provider| &**provider).collect();
    let rules = AddressRules {
        allow: config.security.allow_upstream_cidrs.clone(),
    };
    Ok(draft.finish(|listed, mistakes| {
        check::upstreams(listed, &own, mistakes);
        check::upstream_addresses(listed, &rules, mistakes);
    })?)
}

/// Names of all upstreams, for checks of targets.
pub(super) async fn names(store: &Store) -> anyhow::Result<Vec<String>> {
    Ok(store
        .upstreams()
        .list()
        .await?
        .into_iter()
        .map(|record| record.name)
        .collect())
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let records = context.store().await?.upstreams().list().await?;
    let headings = [
        "NAME",
        "PROVIDER",
        "BASE URL",
        "PRIORITY",
        "CREDENTIALS",
        "MODELS",
        "BREAKER",
        "ORIGIN",
    ];
    resource::list(context, headings, &records, cells, to_json)
}

fn cells(record: &UpstreamRecord) -> [String; 8] {
    let decl = &record.decl;
    [
        record.name.clone(),
        decl.provider
            .clone()
            .or_else(|| decl.dialect.map(|dialect| dialect.to_string()))
            .unwrap_or_default(),
        decl.base_url.clone().unwrap_or_else(|| "preset".to_owned()),
        decl.priority.to_string(),
        record.credentials.len().to_string(),
        decl.models.as_deref().map_or_else(|| "preset".to_owned(), joined),
        breaker(record),
        record.origin.name().to_owned(),
    ]
}

fn breaker(record: &UpstreamRecord) -> String {
    match (record.forced, record.decl.breaker) {
        (Some(forced), _) => format!("forced {}", forced.name()),
        (None, Some(Switch::Off(_))) => "off".to_owned(),
        (None, _) => "auto".to_owned(),
    }
}

async fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let record = context.store().await?.upstreams().get(name).await?;
    let value = to_json(&record);
    let mut facts = resource::facts(&value);
    facts.retain(|(key, _)| *key != "credentials");
    let credentials = record
        .credentials
        .iter()
        .map(|one| format!("{} ({})", one.name, one.masked));
    facts.push(("credentials", credentials.collect::<Vec<_>>().join(", ")));
    resource::show(context, &facts, &value)
}

/// Header values may be secrets: their names are enough.
fn to_json(record: &UpstreamRecord) -> serde_json::Value {
    let mut value = serde_json::to_value(&record.decl).unwrap_or_else(|_| json!({}));
    if !record.decl.headers.is_empty() {
        value["headers"] = json!(record.decl.headers.keys().collect::<Vec<_>>());
    }
    if record.decl.proxy.is_some() {
        value["proxy"] = json!(true);
    }
    if let Some(forced) = record.forced {
        value["forced"] = json!(forced);
    }
    value["name"] = json!(record.name);
    value["credentials"] = record.credentials.iter().map(super::credential::to_json).collect();
    resource::stamped(value, record.origin, record.created_at, record.updated_at)
}
