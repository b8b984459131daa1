//! `tollgate user`: who owns keys and money.

use domain::declaration::UserDecl;
use serde_json::json;
use store::{Origin, UserChange, UserRecord};

use super::context::Context;
use super::draft::Draft;
use super::output::{Table, moment};
use crate::config::check;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum User {
    /// Adds a user
    Add(Add),
    /// Lists all users
    List,
    /// Shows one user with balance and keys
    Show(Name),
    /// Changes a user
    Edit(Edit),
    /// Removes a user and their keys; the accounts stay
    Remove(Name),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// The user's name
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The user's name
    name: String,
    /// What happens when the money ends: unlimited, soft or hard [default: that of the configuration]
    #[arg(long)]
    policy: Option<String>,
    /// Dollars to begin with, such as 10.00
    #[arg(long, value_name = "DOLLARS")]
    opening_credit: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    /// The user's name
    name: String,
    /// A new name
    #[arg(long = "name", value_name = "NAME")]
    new_name: Option<String>,
    /// unlimited, soft, hard, or default
    #[arg(long)]
    policy: Option<String>,
}

impl User {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(context).await,
            Self::List => list(context).await,
            Self::Show(name) => show(context, &name.name).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Remove(name) => {
                context.store().await?.users().remove(&name.name).await?;
                context.say(
                    &format!("user {} is removed, with their keys", name.name),
                    &json!({"removed": name.name}),
                )
            }
        }
    }
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut draft = Draft::named(&self.name);
        draft.set("policy", "--policy", self.policy);
        draft.set("opening_credit", "--opening-credit", self.opening_credit);
        let decl: UserDecl = draft.finish(check::users)?;
        let record = context.store().await?.users().add(&decl, Origin::Cli).await?;
        let next = format!("give them a key: tollgate key add NAME --user {}", record.name);
        context.say(&format!("user {} is added; {next}", record.name), &to_json(&record))
    }
}

impl Edit {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut draft = Draft::named(self.new_name.as_deref().unwrap_or(&self.name));
        let policy = self.policy.as_deref();
        draft.set("policy", "--policy", policy.filter(|policy| *policy != "default"));
        let decl: UserDecl = draft.finish(check::users)?;
        let change = UserChange {
            name: self.new_name,
            policy: policy.map(|_| decl.policy),
        };
        let record = context.store().await?.users().edit(&self.name, change).await?;
        context.say(&format!("user {} is changed", record.name), &to_json(&record))
    }
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let store = context.store().await?;
    let mut table = Table::new(["NAME", "POLICY", "BALANCE", "ORIGIN", "CREATED"]);
    let mut rows = Vec::new();
    let balances = store.balances().list().await?;
    for user in store.users().list().await? {
        let balance = balances
            .iter()
            .find(|balance| balance.user == user.id)
            .map(|balance| balance.balance)
            .unwrap_or_default();
        table.row([
            user.name.clone(),
            user.policy.map(super::output::word).unwrap_or_default(),
            balance.to_string(),
            user.origin.name().to_owned(),
            moment(user.created_at),
        ]);
        let mut row = to_json(&user);
        row["balance"] = json!(balance);
        rows.push(row);
    }
    context.list(&table, rows)
}

async fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let store = context.store().await?;
    let user = store.users().get(name).await?;
    let balance = store.balances().show(user.id).await?.balance;
    let keys: Vec<String> = store
        .keys()
        .of_user(user.id)
        .await?
        .into_iter()
        .map(|key| key.name)
        .collect();
    let policy = user
        .policy
        .map_or_else(|| "as by default".to_owned(), super::output::word);
    let text = format!(
        "name     {}\npolicy   {policy}\nbalance  {balance}\nkeys     {}\norigin   {}\ncreated  {}",
        user.name,
        if keys.is_empty() {
            "-".to_owned()
        } else {
            keys.join(", ")
        },
        user.origin.name(),
        moment(user.created_at)
    );
    let mut value = to_json(&user);
    value["balance"] = json!(balance);
    value["keys"] = json!(keys);
    context.say(&text, &value)
}

fn to_json(user: &UserRecord) -> serde_json::Value {
    json!({
        "name": user.name, "policy": user.policy, "origin": user.origin.name(),
        "created_at": moment(user.created_at), "updated_at": moment(user.updated_at),
    })
}
