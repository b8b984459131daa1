//! `tollgate credential`: secrets of upstreams. They go in and never come out again.

use domain::Secret;
use domain::declaration::CredentialDecl;
use serde_json::{Value, json};
use store::{CredentialChange, CredentialRecord, Origin};

use super::context::Context;
use super::draft::Draft;
use super::local;
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
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    secret: SecretInput,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    terms: Terms,
    /// Puts it back into service, after repeated refusals or without credit
    #[arg(long)]
    activate: bool,
    #[command(flatten)]
    secret: SecretInput,
}

/// How a credential may be used. What is not given stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Terms {
    /// Share under the strategy weighted [default: 1]
    #[arg(long)]
    weight: Option<String>,
    /// Requests per day (UTC) at most; none
    #[arg(long, value_name = "N")]
    daily_limit: Option<String>,
    /// Requests in a row before the next credential's turn, under round_robin; none
    #[arg(long, value_name = "N")]
    rotate_after: Option<String>,
    /// Only keys of this profile use it; none
    #[arg(long)]
    profile: Option<String>,
    /// Leave the account alone while this much of its 5-hour or 7-day allowance is used, such as 90%; none
    #[arg(long, value_name = "SHARE")]
    pause_at: Option<String>,
}

impl Terms {
    fn put(&self, draft: &mut Draft) {
        draft.set("weight", "--weight", self.weight.as_ref());
        draft.set_or_remove("daily_limit", "--daily-limit", self.daily_limit.as_deref());
        draft.set_or_remove("rotate_after", "--rotate-after", self.rotate_after.as_deref());
        draft.set_or_remove("profile", "--profile", self.profile.as_deref());
        draft.set_or_remove("pause_at", "--pause-at", self.pause_at.as_deref());
    }

    const fn is_empty(&self) -> bool {
        let Self {
            weight,
            daily_limit,
            rotate_after,
            profile,
            pause_at,
        } = self;
        weight.is_none() && daily_limit.is_none() && rotate_after.is_none() && profile.is_none() && pause_at.is_none()
    }
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
        let mut draft = Draft::named(name);
        draft.set("key", "the key", Some(secret.expose()));
        self.terms.put(&mut draft);
        let decl: CredentialDecl = draft.finish(check::credentials)?;
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
        let store = context.store().await?;
        let mut record = store.credentials().get(upstream, name).await?;
        let only_activated = self.activate && self.terms.is_empty() && secret.is_none();
        if !only_activated {
            let mut draft = Draft::of(&record.terms)?;
            draft.set("name", "NAME", Some(name));
            draft.set(
                "key",
                "the key",
                Some(secret.as_ref().map_or("unchanged", Secret::expose)),
            );
            draft.set("weight", "--weight", Some(record.weight));
            self.terms.put(&mut draft);
            let decl: CredentialDecl = draft.finish(check::credentials)?;
            let change = CredentialChange {
                terms: Some(decl.terms()),
                weight: Some(decl.weight),
                key: secret.map(|_| decl.key),
            };
            record = store.credentials().edit(upstream, name, change).await?;
        }
        if self.activate {
            record = store.credentials().activate(upstream, name).await?;
        }
        let done = if only_activated { "back in service" } else { "changed" };
        context.say(
            &format!("credential {upstream}/{} ({}) is {done}", record.name, record.masked),
            &to_json(&record),
        )
    }
}

async fn list(context: &Context, upstream: Option<String>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let upstreams = match upstream {
        Some(name) => vec![name],
        None => super::upstream::names(&store).await?,
    };
    let standing = Standing::ask(context).await;
    let mut rows = Vec::new();
    for upstream in upstreams {
        for record in store.credentials().list(&upstream).await? {
            let state = state(&record, standing.of(&upstream, &record.name));
            rows.push((upstream.clone(), record, state));
        }
    }
    let headings = [
        "UPSTREAM", "NAME", "KEY", "WEIGHT", "PROFILE", "STATE", "ORIGIN", "CREATED",
    ];
    resource::list(context, headings, &rows, cells, |(upstream, record, state)| {
        let mut row = to_json(record);
        row["upstream"] = json!(upstream);
        row["state"] = json!(state);
        row
    })
}

fn cells((upstream, record, state): &(String, CredentialRecord, String)) -> [String; 8] {
    [
        upstream.clone(),
        record.name.clone(),
        record.masked.clone(),
        record.weight.to_string(),
        record.terms.profile.clone().unwrap_or_default(),
        state.clone(),
        record.origin.name().to_owned(),
        moment(record.created_at),
    ]
}

async fn show(context: &Context, name: &Name) -> anyhow::Result<()> {
    let (upstream, name) = name.split()?;
    let record = context.store().await?.credentials().get(upstream, name).await?;
    let standing = Standing::ask(context).await;
    let live = standing.of(upstream, &record.name);
    let none = || "none".to_owned();
    let terms = &record.terms;
    let mut facts = vec![
        ("name", format!("{upstream}/{}", record.name)),
        ("key", record.masked.clone()),
        ("weight", record.weight.to_string()),
        ("profile", terms.profile.clone().unwrap_or_else(none)),
        (
            "daily limit",
            terms.daily_limit.map_or_else(none, |limit| limit.to_string()),
        ),
        ("rotate after", terms.rotate_after.unwrap_or(1).to_string()),
        ("pause at", terms.pause_at.map_or_else(none, |share| share.to_string())),
        ("state", state(&record, live)),
    ];
    if let Some(out) = &record.state.deactivated {
        facts.push(("since", moment(out.at)));
        facts.push(("because", out.reason.clone()));
        facts.push((
            "mend",
            format!("tollgate credential edit {upstream}/{} --activate", record.name),
        ));
    }
    if let Some(live) = live {
        facts.push(("used today", live["uses_today"].to_string()));
        for (label, window) in [("5 hours", "five_hours"), ("7 days", "seven_days")] {
            let window = &live["windows"][window];
            if let Some(resets) = window["resets_at"].as_str() {
                facts.push((
                    label,
                    format!("{} % used, whole again {resets}", window["used_percent"]),
                ));
            }
        }
    }
    facts.push(("origin", record.origin.name().to_owned()));
    facts.push(("created", moment(record.created_at)));
    let mut value = to_json(&record);
    value["state"] = json!(state(&record, live));
    value["live"] = live.cloned().unwrap_or_default();
    resource::show(context, &facts, &value)
}

/// How credentials stand at the running server; empty where none can be asked.
struct Standing(Vec<Value>);

impl Standing {
    async fn ask(context: &Context) -> Self {
        let asked = async {
            let answer = local::ask_server(&context.config()?, "/api/accounts").await?;
            let answer: Value = serde_json::from_str(&answer)?;
            anyhow::Ok(answer["accounts"].as_array().cloned().unwrap_or_default())
        };
        Self(asked.await.unwrap_or_default())
    }

    fn of(&self, upstream: &str, name: &str) -> Option<&Value> {
        let same = |live: &Value, key: &str, value: &str| {
            live[key].as_str().is_some_and(|own| own.eq_ignore_ascii_case(value))
        };
        self.0
            .iter()
            .find(|live| same(live, "upstream", upstream) && same(live, "name", name))
    }
}

/// In one phrase: as the server says, where it can be asked, else as the database does.
fn state(record: &CredentialRecord, live: Option<&Value>) -> String {
    if record.state.deactivated.is_some() {
        return "deactivated".to_owned();
    }
    match live.and_then(|live| Some((live["state"].as_str()?, live["rests_until"].as_str()))) {
        Some((state, Some(until))) => format!("{state} until {until}"),
        Some((state, None)) => state.to_owned(),
        None if record.state.out_of_credit.is_some() => "out_of_credit".to_owned(),
        None => "in service".to_owned(),
    }
}

pub(super) fn to_json(record: &CredentialRecord) -> Value {
    let mut value = serde_json::to_value(&record.terms).unwrap_or_else(|_| json!({}));
    value["name"] = json!(record.name);
    value["kind"] = json!(record.kind.name());
    value["masked"] = json!(record.masked);
    value["weight"] = json!(record.weight);
    value["out_of_credit_since"] = json!(record.state.out_of_credit.map(moment));
    value["deactivated"] = json!(
        record
            .state
            .deactivated
            .as_ref()
            .map(|out| { json!({"at": moment(out.at), "reason": out.reason}) })
    );
    resource::stamped(value, record.origin, record.created_at, record.updated_at)
}
