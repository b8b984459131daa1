//! `tollgate check`: is the configuration right, and what does it mean?

use domain::account::AccountMode;
use domain::catalog;
use domain::declaration::{ModelDecl, UpstreamDecl};
use domain::system_prompt::{self, SYSTEM_PROMPT_CHARS_MAX};
use serde_json::json;
use store::Origin;

use super::context::Context;
use super::output::{self, Table, joined, word};
use super::unserved::{self, Elsewhere};
use crate::config::{Config, DEFAULT_FILE, Mistake, Mistakes, schema};
use crate::secrets::{self, Make};
use crate::serve::Opening;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Prints the JSON Schema of the file instead
    #[arg(long)]
    schema: bool,
}

impl Check {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.schema {
            return output::print(&schema::text());
        }
        // Notes are part of what it prints, so they are not told apart.
        let config = context.sources(Vec::new())?.load()?;
        let mut notes = config.notes.clone();
        notes.extend(compare(&config).await?);
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

/// Refuses names that the database knows from elsewhere, and fallbacks that neither it nor the file serves or that lead through
/// it back to their model. A database that is
/// not there yet knows none; one that cannot be read is a note, because the file itself is not wrong. Where nothing is known
/// of a database, such fallbacks are notes too.
async fn compare(config: &Config) -> anyhow::Result<Vec<String>> {
    if secrets::sqlite_path(&config.storage.url).is_some_and(|path| !path.exists()) {
        return Ok(unserved_here(config));
    }
    let not_compared = |error: &anyhow::Error| {
        let mut notes = vec![format!("names were not compared with the database: {error:#}")];
        notes.extend(unserved_here(config));
        Ok(notes)
    };
    let mut complete = config.clone();
    match secrets::complete(&mut complete, Make::Never) {
        // The first start makes them; for a file that is there already, it is too late.
        Err(error) if secrets::sqlite_path(&config.storage.url).is_none() => return not_compared(&error),
        completed => completed?,
    }
    let (taken, elsewhere) = match from_elsewhere(&complete).await {
        Ok(found) => found,
        // With that nothing can be served.
        Err(error) if error.downcast_ref().is_some_and(crate::serve::is_other_key) => return Err(error),
        Err(error) => return not_compared(&error),
    };
    let mut mistakes = Mistakes {
        file: shown_file(config),
        all: unserved::fallbacks(config, &elsewhere),
    };
    mistakes.all.extend(unserved::circles(config, &elsewhere));
    for declared in &config.names {
        let same = |(section, name, _): &&(&str, String, Origin)| {
            *section == declared.section && name.eq_ignore_ascii_case(&declared.name)
        };
        if let Some((.., origin)) = taken.iter().find(same) {
            let message = format!(
                "the name `{}` is taken by one that was made elsewhere ({}); choose another, or remove that one first",
                declared.name,
                origin.name()
            );
            mistakes.push(Mistake {
                message,
                ..declared.mistake.clone()
            });
        }
    }
    Ok(mistakes.or(Vec::new())?)
}

fn shown_file(config: &Config) -> Option<String> {
    config.file.as_ref().map(|file| file.display().to_string())
}

/// Fallbacks that the file does not serve: whoever makes models by command or API may.
fn unserved_here(config: &Config) -> Vec<String> {
    let unserved = unserved::fallbacks(config, &Elsewhere::default());
    let told = |mistake| {
        let told = Mistakes {
            file: shown_file(config),
            all: vec![mistake],
        };
        format!("{told} (models that are made by command or API are not known here)")
    };
    unserved.into_iter().map(told).collect()
}

type Taken = Vec<(&'static str, String, Origin)>;

/// The names that are taken elsewhere than in the file, and what is served there.
async fn from_elsewhere(config: &Config) -> anyhow::Result<(Taken, Elsewhere)> {
    let store = crate::serve::open_store(config, Opening::AsItIs).await?;
    let (mut taken, mut elsewhere) = (Taken::new(), Elsewhere::default());
    for record in store.upstreams().list().await? {
        taken.push(("upstreams", record.name, record.origin));
        if record.origin != Origin::File {
            elsewhere.upstreams.push(record.decl);
        }
    }
    for record in store.models().list().await? {
        taken.push(("models", record.name, record.origin));
        if record.origin != Origin::File {
            elsewhere.models.push(record.decl);
        }
    }
    let users = store.users().list().await?;
    taken.extend(users.into_iter().map(|user| ("users", user.name, user.origin)));
    let keys = store.keys().list().await?;
    taken.extend(keys.into_iter().map(|key| ("keys", key.name, key.origin)));
    taken.retain(|(.., origin)| *origin != Origin::File);
    store.close().await;
    Ok((taken, elsewhere))
}

/// What it means, for people.
fn meaning(config: &Config, notes: &[String]) -> String {
    let file = config.file.as_ref().map_or_else(
        || format!("there is no {DEFAULT_FILE}; what the environment and the flags say"),
        |file| file.display().to_string(),
    );
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

/// System prompts that are longer than what is used of them.
fn cut_prompts(config: &Config) -> Vec<String> {
    let told = |whose: &str, text: &str| {
        let excess = system_prompt::excess(text)?;
        Some(format!(
            "{whose} is cut at {SYSTEM_PROMPT_CHARS_MAX} characters: it has {excess} too many"
        ))
    };
    let process = told("`system_prompt`", &config.system_prompt.text);
    let models = config.declared.models.iter().filter_map(|decl| {
        let text = &decl.system_prompt.as_ref()?.text;
        told(&format!("the system prompt of model `{}`", decl.name), text)
    });
    process.into_iter().chain(models).collect()
}

/// Whether accounts may log in for an upstream: then it needs no key.
fn has_accounts(config: &Config, decl: &UpstreamDecl) -> bool {
    let (modes, _) = AccountMode::all(&config.accounts);
    let fits = |mode: &AccountMode| {
        let provider = decl.provider.as_deref().unwrap_or_default();
        mode.client_id.is_some() && mode.provider.eq_ignore_ascii_case(provider)
    };
    modes.iter().any(|mode| fits(mode))
}

/// What is allowed and may still not be what was meant.
fn doubts(config: &Config) -> Vec<String> {
    let upstreams = config.declared.upstreams.as_ref().unwrap_or(&config.found);
    let keyless = upstreams
        .iter()
        .filter(|decl| decl.credentials.is_empty() && !has_accounts(config, decl))
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
    let nobody = config.groups.0.keys().filter(|group| {
        let in_it = |decl: &&UpstreamDecl| decl.group.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(group));
        !upstreams.iter().any(|decl| in_it(&decl))
    });
    let nobody = nobody.map(|group| {
        format!("no upstream of this file is in the group `{group}`; without one its models go nowhere: add `group: {group}` to those that serve them")
    });
    keyless
        .chain(unpriced)
        .chain(nobody)
        .chain(cut_prompts(config))
        .collect()
}
