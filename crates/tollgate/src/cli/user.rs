//! `tollgate user`: who owns keys and money.

use domain::Money;
use domain::declaration::UserDecl;
use serde_json::json;
use store::{Origin, UserChange, UserRecord};

use super::context::Context;
use super::draft::Draft;
use super::output::{moment, word};
use super::resource::{self, Name};
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
                resource::removed(context, "user", &name.name, ", with their keys")
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
        let record = context.store_or_new().await?.users().add(&decl, Origin::Cli).await?;
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
    let balances = store.balances().list().await?;
    let balance_of = |user: &UserRecord| {
        let balance = balances.iter().find(|balance| balance.user == user.id);
        balance.map(|balance| balance.balance).unwrap_or_default()
    };
    let users: Vec<(UserRecord, Money)> = store
        .users()
        .list()
        .await?
        .into_iter()
        .map(|user| {
            let balance = balance_of(&user);
            (user, balance)
        })
        .collect();
    let headings = ["NAME", "POLICY", "BALANCE", "ORIGIN", "CREATED"];
    resource::list(context, headings, &users, cells, |(user, balance)| {
        let mut row = to_json(user);
        row["balance"] = json!(balance);
        row
    })
}

fn cells((user, balance): &(UserRecord, Money)) -> [String; 5] {
    [
        user.name.clone(),
        user.policy.map(word).unwrap_or_default(),
        balance.to_string(),
        user.origin.name().to_owned(),
        moment(user.created_at),
    ]
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
    let facts = [
        ("name", user.name.clone()),
        ("policy", user.policy.map_or_else(|| "as by default".to_owned(), word)),
        ("balance", balance.to_string()),
        (
            "keys",
            if keys.is_empty() {
                "-".to_owned()
            } else {
                keys.join(", ")
            },
        ),
        ("origin", user.origin.name().to_owned()),
        ("created", moment(user.created_at)),
    ];
    let mut value = to_json(&user);
    value["balance"] = json!(balance);
    value["keys"] = json!(keys);
    resource::show(context, &facts, &value)
}

fn to_json(user: &UserRecord) -> serde_json::Value {
    let value = json!({"name": user.name, "policy": user.policy});
    resource::stamped(value, user.origin, user.created_at, user.updated_at)
}
