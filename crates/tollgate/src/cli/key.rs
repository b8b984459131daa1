//! `tollgate key`: what clients authenticate with. A key is shown once, when it is made.

use domain::declaration::KeyDecl;
use serde_json::json;
use store::{KeyChange, KeyRecord, Keys, NewKey, Origin};

use super::context::Context;
use super::draft::{Draft, NONE, place};
use super::output::{joined, moment};
use super::resource::{self, Name};
use super::secret_input::SecretInput;
use crate::config::file::KeyEntry;
use crate::config::{Mistake, Mistakes, check};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Key {
    /// Adds a key and prints it, once
    Add(Box<Add>),
    /// Lists all keys
    List(List),
    /// Shows what a key may do
    Show(Name),
    /// Changes what a key may do
    Edit(Box<Edit>),
    /// Removes a key: it is refused from then on
    Remove(Name),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this user
    #[arg(long)]
    user: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The key's name
    name: String,
    /// Its owner
    #[arg(long)]
    user: String,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    secret: SecretInput,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    /// The key's name
    name: String,
    /// A new name
    #[arg(long = "name", value_name = "NAME")]
    new_name: Option<String>,
    /// Another owner
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    terms: Terms,
}

/// What a key may do. What is not given stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Terms {
    /// A model it may use, or a glob; repeatable [default: all; '' for all again]
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Requests per minute; 0 for the configuration's default
    #[arg(long)]
    rpm: Option<String>,
    /// Tokens per minute; 0 for the configuration's default
    #[arg(long)]
    tpm: Option<String>,
    /// Calls at the same time; 0 for the configuration's default
    #[arg(long)]
    concurrency: Option<String>,
    /// The date or time from which it is refused, such as 2027-01-01; never
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// A network it may be used from, such as 10.0.0.0/8; repeatable [default: any; '' for any again]
    #[arg(long = "address", value_name = "NETWORK")]
    addresses: Vec<String>,
    /// Whether it may use provider paths beyond the metered operations: they see your whole account there
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    passthrough: Option<String>,
    /// The profile whose credentials it uses, and no others; none
    #[arg(long)]
    profile: Option<String>,
}

impl Terms {
    fn put(&self, draft: &mut Draft) {
        draft.set_list("models", "--model", &self.models);
        draft.set("limits.rpm", "--rpm", self.rpm.as_ref());
        draft.set("limits.tpm", "--tpm", self.tpm.as_ref());
        draft.set("limits.concurrency", "--concurrency", self.concurrency.as_ref());
        match self.expires.as_deref() {
            Some("never") => draft.remove("expires"),
            expires => draft.set("expires", "--expires", expires),
        }
        draft.set_list("addresses", "--address", &self.addresses);
        draft.set("passthrough", "--passthrough", self.passthrough.as_ref());
        draft.set_or_remove("profile", "--profile", self.profile.as_deref());
    }
}

impl Key {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(context).await,
            Self::List(only) => list(context, only.user).await,
            Self::Show(name) => show(context, &name.name).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Remove(name) => {
                context.store().await?.keys().remove(&name.name).await?;
                resource::removed(context, "key", &name.name, "")
            }
        }
    }
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let given = self.secret.given(&context.sources(Vec::new())?.environment)?;
        let own = given.is_some();
        let key = match given {
            Some(key) => key,
            None => Keys::generate()?,
        };
        let mut draft = Draft::named(&self.name);
        draft.set("user", "--user", Some(&self.user));
        draft.set("key", "--key", Some(key.expose()));
        self.terms.put(&mut draft);
        let decl = finish(&draft, &self.user)?;
        known_profile(context, self.terms.profile.as_deref()).await?;
        let new = NewKey {
            name: decl.name,
            user: decl.user,
            key: Some(decl.key),
            terms: decl.terms,
        };
        let (record, key) = context.store().await?.keys().add(new, Origin::Cli).await?;
        let mut value = to_json(&record);
        if own {
            return context.say(&format!("key {} is added", record.name), &value);
        }
        value["key"] = json!(key.expose());
        let text = format!(
            "{}\nkey {} of {} is added; it is shown this once",
            key.expose(),
            record.name,
            record.user_name
        );
        context.say(&text, &value)
    }
}

impl Edit {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let record = store.keys().get(&self.name).await?;
        let mut draft = Draft::of(&record.terms)?;
        let user = self.user.as_deref().unwrap_or(&record.user_name);
        draft.set("name", "--name", Some(self.new_name.as_deref().unwrap_or(&record.name)));
        draft.set("user", "--user", Some(user));
        draft.set("key", "--key", Some("unchanged"));
        self.terms.put(&mut draft);
        let decl = finish(&draft, user)?;
        known_profile(context, self.terms.profile.as_deref()).await?;
        let change = KeyChange {
            name: self.new_name,
            user: self.user,
            terms: Some(decl.terms),
        };
        let record = store.keys().edit(&self.name, change).await?;
        context.say(&format!("key {} is changed", record.name), &to_json(&record))
    }
}

/// Whether the owner exists is the database's to say, in the transaction that writes.
fn finish(draft: &Draft, user: &str) -> anyhow::Result<KeyDecl> {
    let entry = draft.finish::<KeyEntry>(|listed, mistakes| check::keys(listed, &[user], mistakes))?;
    Ok(entry.into())
}

/// Refuses a profile that nobody speaks of: it would leave the key without any credential. Known are those that the file
/// lists and those that a credential has.
async fn known_profile(context: &Context, profile: Option<&str>) -> anyhow::Result<()> {
    let Some(profile) = profile.filter(|profile| *profile != NONE) else {
        return Ok(());
    };
    let mut known = context.config()?.profiles;
    for upstream in context.store().await?.upstreams().list().await? {
        known.extend(
            upstream
                .credentials
                .into_iter()
                .filter_map(|credential| credential.terms.profile),
        );
    }
    match check::unknown_profile(profile, &known) {
        Some(problem) => Err(Mistakes::from(Mistake::of(place("--profile"), "profile", problem)).into()),
        None => Ok(()),
    }
}

async fn list(context: &Context, user: Option<String>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let keys = match user {
        Some(user) => store.keys().of_user(store.users().get(&user).await?.id).await?,
        None => store.keys().list().await?,
    };
    let headings = ["NAME", "USER", "KEY", "MODELS", "EXPIRES", "ORIGIN", "CREATED"];
    resource::list(context, headings, &keys, cells, to_json)
}

fn cells(key: &KeyRecord) -> [String; 7] {
    [
        key.name.clone(),
        key.user_name.clone(),
        key.prefix.clone(),
        joined_or(&key.terms.models, "all"),
        expires(key),
        key.origin.name().to_owned(),
        moment(key.created_at),
    ]
}

fn joined_or<T: ToString>(values: &[T], empty: &str) -> String {
    if values.is_empty() {
        empty.to_owned()
    } else {
        joined(values)
    }
}

fn expires(key: &KeyRecord) -> String {
    key.terms.expires.clone().unwrap_or_else(|| "never".to_owned())
}

async fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let key = context.store().await?.keys().get(name).await?;
    let terms = &key.terms;
    let limit = |limit: u32| {
        if limit == 0 {
            "default".to_owned()
        } else {
            limit.to_string()
        }
    };
    let facts = [
        ("name", key.name.clone()),
        ("user", key.user_name.clone()),
        ("key", key.prefix.clone()),
        ("models", joined_or(&terms.models, "all")),
        ("rpm", limit(terms.limits.rpm)),
        ("tpm", limit(terms.limits.tpm)),
        ("concurrency", limit(terms.limits.concurrency)),
        ("expires", expires(&key)),
        ("addresses", joined_or(&terms.addresses, "any")),
        ("passthrough", terms.passthrough.to_string()),
        ("profile", terms.profile.clone().unwrap_or_else(|| NONE.to_owned())),
        ("origin", key.origin.name().to_owned()),
        ("created", moment(key.created_at)),
    ];
    resource::show(context, &facts, &to_json(&key))
}

fn to_json(key: &KeyRecord) -> serde_json::Value {
    let mut value = serde_json::to_value(&key.terms).unwrap_or_else(|_| json!({}));
    value["name"] = json!(key.name);
    value["user"] = json!(key.user_name);
    value["prefix"] = json!(key.prefix);
    resource::stamped(value, key.origin, key.created_at, key.updated_at)
}
