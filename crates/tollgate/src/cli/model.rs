//! `tollgate model`: names that clients use, beside those that upstreams serve by themselves.

use domain::declaration::ModelDecl;
use serde_json::json;
use store::{ModelRecord, Origin, Store};

use super::context::Context;
use super::draft::{Draft, place};
use super::output::{joined, word};
use super::resource::{self, Name};
use crate::config::check;
use crate::config::mistake::{Mistake, Mistakes};
use crate::config::tree::{Node, Value};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Model {
    /// Adds a model
    Add(Box<Add>),
    /// Lists all declared models
    List,
    /// Shows a model
    Show(Name),
    /// Changes a model
    Edit(Box<Edit>),
    /// Removes a model
    Remove(Name),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The name that clients use; may be a glob
    name: String,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    /// The model's name
    name: String,
    /// A new name
    #[arg(long = "name", value_name = "NAME")]
    new_name: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What a model is like. What is not given stays; what is given as '' goes back to the default.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Where it is served: UPSTREAM or UPSTREAM/MODEL, then any of ,weight=N ,priority=N; repeatable
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// A further name; repeatable
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Among its targets: round_robin, random, weighted, least_connections, least_used, lowest_latency, cheapest or sticky
    #[arg(long)]
    strategy: Option<String>,
    /// A model to turn to when no target answers; repeatable, in this order
    #[arg(long = "fallback", value_name = "MODEL")]
    fallbacks: Vec<String>,
    /// A refusal that makes a call turn to them too: context_length (the default) or content_policy; repeatable
    #[arg(long, value_name = "CAUSE")]
    fallback_on: Vec<String>,
    /// Whether a streamed answer that breaks off is gone on with by the next target that can
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    recovery: Option<String>,
    /// When a call that is not streamed is also sent to the next candidate, and how many may be, as after=800ms,budget=5%
    #[arg(long, value_name = "HEDGE")]
    hedge: Option<String>,
    /// Prices in $ per million tokens, as input=2.50,output=10.00,cache_read=1.25,cache_write_5m=…
    #[arg(long, value_name = "PRICES")]
    price: Option<String>,
    /// Whether it costs nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    free: Option<String>,
    /// The largest answer in tokens, where the catalog does not know
    #[arg(long, value_name = "TOKENS")]
    max_output: Option<String>,
    /// The context window in tokens, where the catalog does not know
    #[arg(long, value_name = "TOKENS")]
    context: Option<String>,
    /// What it can do and what not, as image=false,tools=true: tools, parallel_tools, schema, image, audio, document, video,
    /// thinking, prefill
    #[arg(long, value_name = "CAPABILITIES")]
    capabilities: Option<String>,
    /// Text for its conversations, instead of the process's; in force where `system_prompt.enabled` is true
    #[arg(long, value_name = "TEXT")]
    system_prompt: Option<String>,
    /// How that text meets instructions of the client: prepend or replace
    #[arg(long, value_name = "MODE", requires = "system_prompt")]
    system_prompt_mode: Option<String>,
    /// No text in its conversations, whatever the process says
    #[arg(long, conflicts_with = "system_prompt")]
    no_system_prompt: bool,
}

impl Settings {
    fn put(&self, draft: &mut Draft) -> Result<(), Mistakes> {
        if !self.targets.is_empty() {
            let targets: Result<Vec<Node>, Mistakes> = self.targets.iter().map(|target| read_target(target)).collect();
            draft.put(
                "targets",
                Node {
                    at: place("--target"),
                    value: Value::List(targets?),
                },
            );
        }
        draft.set_list("aliases", "--alias", &self.aliases);
        draft.set_list("fallbacks", "--fallback", &self.fallbacks);
        draft.set_list("fallback_on", "--fallback-on", &self.fallback_on);
        for (key, flag, value) in [
            ("strategy", "--strategy", &self.strategy),
            ("recovery", "--recovery", &self.recovery),
            ("free", "--free", &self.free),
            ("max_output", "--max-output", &self.max_output),
            ("context", "--context", &self.context),
        ] {
            match value.as_deref() {
                Some("") => draft.remove(key),
                value => draft.set(key, flag, value),
            }
        }
        self.put_prompt(draft);
        match self.capabilities.as_deref() {
            Some("") => draft.remove("capabilities"),
            Some(all) => draft.put("capabilities", fields("--capabilities", all.split(','))?),
            None => {}
        }
        match self.hedge.as_deref() {
            Some("") => draft.remove("hedge"),
            Some(hedge) => draft.put("hedge", fields("--hedge", hedge.split(','))?),
            None => {}
        }
        match self.price.as_deref() {
            Some("") => draft.remove("price"),
            Some(price) => draft.put("price", fields("--price", price.split(','))?),
            None => {}
        }
        Ok(())
    }
}

impl Settings {
    fn put_prompt(&self, draft: &mut Draft) {
        const FLAG: &str = "--system-prompt";
        let mut node = Node {
            at: place(FLAG),
            value: Value::Map(Vec::new()),
        };
        match self.system_prompt.as_deref() {
            Some("") => return draft.remove("system_prompt"),
            Some(text) => node.set(&["text"], Node::of_text(place(FLAG), text)),
            None if self.no_system_prompt => {
                node.set(&["disabled"], Node::of_text(place("--no-system-prompt"), "true"));
            }
            None => return,
        }
        if let Some(mode) = &self.system_prompt_mode {
            node.set(&["mode"], Node::of_text(place("--system-prompt-mode"), mode.as_str()));
        }
        draft.put("system_prompt", node);
    }
}

/// `UPSTREAM[/MODEL][,weight=N][,priority=N]`
fn read_target(text: &str) -> Result<Node, Mistakes> {
    let mut parts = text.split(',');
    let place_and_model = parts.next().unwrap_or_default();
    let (upstream, model) = place_and_model
        .split_once('/')
        .map_or((place_and_model, None), |(upstream, model)| (upstream, Some(model)));
    let mut node = fields("--target", parts)?;
    node.set(&["upstream"], Node::of_text(place("--target"), upstream));
    if let Some(model) = model {
        node.set(&["model"], Node::of_text(place("--target"), model));
    }
    Ok(node)
}

fn fields<'a>(flag: &str, parts: impl Iterator<Item = &'a str>) -> Result<Node, Mistakes> {
    let mut node = Node {
        at: place(flag),
        value: Value::Map(Vec::new()),
    };
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| Mistake::at(place(flag), format!("`{part}` is not NAME=VALUE")))?;
        node.set(&[key.trim()], Node::of_text(place(flag), value.trim()));
    }
    Ok(node)
}

impl Model {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => {
                let mut draft = Draft::named(&add.name);
                add.settings.put(&mut draft)?;
                let store = context.store_or_new().await?;
                let decl = finish(&draft, &store, None).await?;
                let record = store.models().add(&decl, Origin::Cli).await?;
                context.say(&format!("model {} is added", record.name), &to_json(&record))
            }
            Self::List => list(context).await,
            Self::Show(name) => show(context, &name.name).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Remove(name) => {
                context.store().await?.models().remove(&name.name).await?;
                resource::removed(context, "model", &name.name, "")
            }
        }
    }
}

impl Edit {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let record = store.models().get(&self.name).await?;
        let mut draft = Draft::of(&record.decl)?;
        draft.set("name", "--name", self.new_name.as_ref());
        self.settings.put(&mut draft)?;
        let decl = finish(&draft, &store, Some(&record.decl)).await?;
        let record = store.models().edit(&self.name, &decl).await?;
        context.say(&format!("model {} is changed", record.name), &to_json(&record))
    }
}

/// Targets may be upstreams that exist, and those that the model has already (inline ones have hidden upstreams).
async fn finish(draft: &Draft, store: &Store, stored: Option<&ModelDecl>) -> anyhow::Result<ModelDecl> {
    let mut upstreams = super::upstream::names(store).await?;
    let had = stored
        .into_iter()
        .flat_map(|decl| &decl.targets)
        .filter_map(|target| target.upstream.clone());
    upstreams.extend(had);
    let known: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let others = store.models().list().await?;
    let others: Vec<&ModelDecl> = others.iter().map(|record| &record.decl).collect();
    let others: Vec<&ModelDecl> = others
        .into_iter()
        .filter(|other| stored.is_none_or(|stored| !stored.name.eq_ignore_ascii_case(&other.name)))
        .collect();
    Ok(draft.finish(|listed, mistakes| {
        check::models(listed, &known, mistakes);
        check::fallbacks(listed, &others, mistakes);
    })?)
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let records = context.store().await?.models().list().await?;
    let headings = [
        "NAME",
        "ALIASES",
        "STRATEGY",
        "TARGETS",
        "INPUT $/M",
        "OUTPUT $/M",
        "ORIGIN",
    ];
    resource::list(context, headings, &records, cells, to_json)
}

fn cells(record: &ModelRecord) -> [String; 7] {
    let decl = &record.decl;
    let price =
        |amount: Option<domain::Money>| amount.map_or_else(|| "catalog".to_owned(), |amount| amount.to_string());
    let (input, output) = match (decl.free, &decl.price) {
        (true, _) => ("free".to_owned(), "free".to_owned()),
        (false, Some(declared)) => (
            price(Some(declared.input)),
            price(Some(declared.output.unwrap_or_default())),
        ),
        (false, None) => (price(None), price(None)),
    };
    [
        record.name.clone(),
        joined(&decl.aliases),
        decl.strategy.map_or_else(|| "default".to_owned(), word),
        targets(decl),
        input,
        output,
        record.origin.name().to_owned(),
    ]
}

fn targets(decl: &ModelDecl) -> String {
    let name = |upstream: Option<&str>, model: Option<&str>| {
        let upstream = upstream.unwrap_or("inline");
        model.map_or_else(|| upstream.to_owned(), |model| format!("{upstream}/{model}"))
    };
    let names: Vec<String> = decl
        .targets
        .iter()
        .map(|target| name(target.upstream.as_deref(), target.model.as_deref()))
        .collect();
    names.join(",")
}

async fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let record = context.store().await?.models().get(name).await?;
    let value = to_json(&record);
    resource::show(context, &resource::facts(&value), &value)
}

fn to_json(record: &ModelRecord) -> serde_json::Value {
    let mut value = serde_json::to_value(&record.decl).unwrap_or_else(|_| json!({}));
    value["name"] = json!(record.name);
    resource::stamped(value, record.origin, record.created_at, record.updated_at)
}
