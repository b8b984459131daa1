//! `tollgate check`: is the configuration right, and what does it mean?

use domain::catalog;
use domain::declaration::{ModelDecl, UpstreamDecl};
use serde_json::json;

use super::context::Context;
use super::output::{self, Table, joined, word};
use crate::config::{Config, schema};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Prints the JSON Schema of the file instead
    #[arg(long)]
    schema: bool,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.schema {
            return output::print(&schema::text());
        }
        let config = context.config()?;
        let mut notes = config.notes.clone();
        notes.extend(
            config
                .found
                .iter()
                .map(|decl| format!("upstream `{}` is taken from the environment", decl.name)),
        );
        notes.extend(doubts(&config));
        let text = meaning(&config, &notes);
        context.say(&text, &json!({"ok": true, "file": config.file, "notes": notes}))
    }
}

/// What it means, for people.
fn meaning(config: &Config, notes: &[String]) -> String {
    let file = config
        .file
        .as_ref()
        .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let database = config.storage.url.split(':').next().unwrap_or_default();
    let mut text = format!(
        "{file} is right.\n\nlisten    {}\ndatabase  {database}\njournal   {} (sync: {})\n",
        config.server.listen,
        config.storage.journal.dir.display(),
        sync_word(config),
    );
    let upstreams = config.declared.upstreams.as_ref().unwrap_or(&config.found);
    if !upstreams.is_empty() {
        let mut table = Table::new(["UPSTREAM", "PROVIDER", "PRIORITY", "CREDENTIALS", "MODELS"]);
        for decl in upstreams {
            table.row(upstream_row(decl));
        }
        text.extend(["\n", &table.render()]);
    }
    if !config.declared.models.is_empty() {
        let mut table = Table::new(["MODEL", "ALIASES", "STRATEGY", "TARGETS"]);
        for decl in &config.declared.models {
            table.row(model_row(config, decl));
        }
        text.extend(["\n", &table.render()]);
    }
    if !config.declared.users.is_empty() {
        let mut table = Table::new(["USER", "POLICY", "OPENING CREDIT", "KEYS"]);
        for decl in &config.declared.users {
            let keys = config
                .declared
                .keys
                .iter()
                .filter(|key| key.user.eq_ignore_ascii_case(&decl.name));
            let keys: Vec<&str> = keys.map(|key| key.name.as_str()).collect();
            let policy = decl.policy.map_or_else(|| "default".to_owned(), word);
            let credit = decl.opening_credit.map(|credit| credit.to_string()).unwrap_or_default();
            table.row([decl.name.clone(), policy, credit, keys.join(",")]);
        }
        text.extend(["\n", &table.render()]);
    }
    if !notes.is_empty() {
        text.push('\n');
        text.extend(notes.iter().map(|note| format!("note: {note}\n")));
    }
    text.trim_end().to_owned()
}

fn sync_word(config: &Config) -> &'static str {
    match config.storage.journal.sync {
        crate::config::SyncMode::Os => "os",
        crate::config::SyncMode::Interval => "interval",
        crate::config::SyncMode::Always => "always",
    }
}

fn upstream_row(decl: &UpstreamDecl) -> [String; 5] {
    let provider = decl
        .provider
        .clone()
        .or_else(|| decl.dialect.map(|dialect| dialect.to_string()));
    let models = decl.models.as_deref().map_or_else(|| "preset".to_owned(), joined);
    [
        decl.name.clone(),
        provider.unwrap_or_default(),
        decl.priority.to_string(),
        decl.credentials.len().to_string(),
        models,
    ]
}

fn model_row(config: &Config, decl: &ModelDecl) -> [String; 4] {
    let targets: Vec<String> = decl
        .targets
        .iter()
        .map(|target| {
            let place = target
                .upstream
                .as_deref()
                .or(target.base_url.as_deref())
                .unwrap_or_default();
            format!("{place}/{}", target.model.as_deref().unwrap_or(&decl.name))
        })
        .collect();
    let strategy = word(decl.strategy.unwrap_or(config.defaults.strategy));
    [decl.name.clone(), joined(&decl.aliases), strategy, targets.join(", ")]
}

/// What is allowed and may still not be what was meant.
fn doubts(config: &Config) -> Vec<String> {
    let upstreams = config.declared.upstreams.as_ref().unwrap_or(&config.found);
    let keyless = upstreams
        .iter()
        .filter(|decl| decl.credentials.is_empty())
        .filter_map(|decl| {
            let provider = catalog::provider(decl.provider.as_deref()?)?;
            let needs_key = decl.base_url.is_none() && !provider.free && !provider.builtin;
            needs_key.then(|| {
                format!(
                    "upstream `{}` has no credential; {} will refuse its calls",
                    decl.name, provider.name
                )
            })
        });
    let unpriced = config.declared.models.iter().filter(|decl| decl.price.is_none() && !decl.free).flat_map(|model| {
        model.targets.iter().filter_map(move |target| {
            let name = target.model.as_deref().unwrap_or(&model.name);
            let upstream = upstreams.iter().find(|decl| Some(&decl.name) == target.upstream.as_ref());
            let provider = upstream.and_then(|decl| decl.provider.as_deref()).unwrap_or_default();
            let free = catalog::provider(provider).is_some_and(|provider| provider.free);
            let known = name.contains('*') || free || catalog::models().find(provider, name).is_some_and(|facts| facts.price.is_some());
            (!known).then(|| format!("no price is known for `{name}` of model `{}`; its calls cost nothing, and policy hard refuses them: add `price` or `free: true`", model.name))
        })
    });
    keyless.chain(unpriced).collect()
}
