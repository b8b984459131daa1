//! `tollgate credential`: secrets of upstreams. They go in and never come out again.

use domain::declaration::CredentialDecl;
use serde_json::json;
use store::{CredentialChange, CredentialRecord, Origin};

use super::context::Context;
use super::draft::Draft;
use super::output::moment;
use super::resource;
use super::secret_input::SecretInput;
use crate::config::check;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Credential {
    /// Adds a credential; asks for the key if none is given
    Add(Add),
    /// Lists the credentials of one upstream, or of all
    List(List),
    /// Shows a credential by its ends
    Show(Name),
    /// Changes a credential
    Edit(Edit),
    /// Removes a credential
    Remove(Name),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// The credential's name, unique within its upstream; or UPSTREAM/NAME
    name: String,
    /// Its upstream
    #[arg(long)]
    upstream: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this upstream
    #[arg(long)]
    upstream: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    #[command(flatten)]
    name: Name,
    /// Share under the strategy weighted
    #[arg(long, default_value = "1")]
    weight: String,
    #[command(flatten)]
    secret: SecretInput,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    name: Name,
    /// Share under the strategy weighted
    #[arg(long)]
    weight: Option<String>,
    #[command(flatten)]
    secret: SecretInput,
}

impl Name {
    /// Upstream and name.
    fn split(&self) -> anyhow::Result<(&str, &str)> {
        match (&self.upstream, self.name.split_once('/')) {
            (Some(upstream), _) => Ok((upstream, &self.name)),
            (None, Some(both)) => Ok(both),
            (None, None) => anyhow::bail!(
                "which upstream is not said; write UPSTREAM/{} or add --upstream",
                self.name
            ),
        }
    }
}

impl Credential {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(context).await,
            Self::List(only) => list(context, only.upstream).await,
            Self::Show(name) => show(context, &name).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Remove(name) => {
                let (upstream, name) = name.split()?;
                context.store().await?.credentials().remove(upstream, name).await?;
                resource::removed(context, "credential", &format!("{upstream}/{name}"), "")
            }
        }
    }
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (upstream, name) = self.name.split()?;
        let secret = self
            .secret
            .required(&context.sources(Vec::new())?.environment, "the API key")?;
        let decl = finish(name, secret.expose(), &self.weight)?;
        let record = context
            .store()
            .await?
            .credentials()
            .add(upstream, &decl, Origin::Cli)
            .await?;
        context.say(
            &format!("credential {upstream}/{} ({}) is added", record.name, record.masked),
            &to_json(&record),
        )
    }
}

impl Edit {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (upstream, name) = self.name.split()?;
        let secret = self.secret.given(&context.sources(Vec::new())?.environment)?;
        let key = secret.as_ref().map_or("unchanged", |secret| secret.expose());
        let decl = finish(name, key, self.weight.as_deref().unwrap_or("1"))?;
        let change = CredentialChange {
            key: secret.map(|_| decl.key),
            weight: self.weight.as_ref().map(|_| decl.weight),
        };
        let record = context
            .store()
            .await?
            .credentials()
            .edit(upstream, name, change)
            .await?;
        context.say(
            &format!("credential {upstream}/{} ({}) is changed", record.name, record.masked),
            &to_json(&record),
        )
    }
}

fn finish(name: &str, key: &str, weight: &str) -> anyhow::Result<CredentialDecl> {
    let mut draft = Draft::named(name);
    draft.set("key", "the key", Some(key));
    draft.set("weight", "--weight", Some(weight));
    Ok(draft.finish(check::credentials)?)
}

async fn list(context: &Context, upstream: Option<String>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let upstreams = match upstream {
        Some(name) => vec![name],
        None => super::upstream::names(&store).await?,
    };
    let mut records = Vec::new();
    for upstream in upstreams {
        let of_upstream = store.credentials().list(&upstream).await?;
        records.extend(of_upstream.into_iter().map(|record| (upstream.clone(), record)));
    }
    let headings = ["UPSTREAM", "NAME", "KEY", "WEIGHT", "ORIGIN", "CREATED"];
    resource::list(context, headings, &records, cells, |(upstream, record)| {
        let mut row = to_json(record);
        row["upstream"] = json!(upstream);
        row
    })
}

fn cells((upstream, record): &(String, CredentialRecord)) -> [String; 6] {
    [
        upstream.clone(),
        record.name.clone(),
        record.masked.clone(),
        record.weight.to_string(),
        record.origin.name().to_owned(),
        moment(record.created_at),
    ]
}

async fn show(context: &Context, name: &Name) -> anyhow::Result<()> {
    let (upstream, name) = name.split()?;
    let record = context.store().await?.credentials().get(upstream, name).await?;
    let facts = [
        ("name", format!("{upstream}/{}", record.name)),
        ("key", record.masked.clone()),
        ("weight", record.weight.to_string()),
        ("origin", record.origin.name().to_owned()),
        ("created", moment(record.created_at)),
    ];
    resource::show(context, &facts, &to_json(&record))
}

pub(super) fn to_json(record: &CredentialRecord) -> serde_json::Value {
    let value = json!({
        "name": record.name, "kind": record.kind.name(), "masked": record.masked, "weight": record.weight,
    });
    resource::stamped(value, record.origin, record.created_at, record.updated_at)
}
