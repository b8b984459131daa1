//! `tollgate balance`: money of users.

use anyhow::Context as _;
use domain::Money;
use serde_json::json;
use store::{Balance as Record, Store};

use super::context::Context;
use super::output::{Table, moment};
use super::resource;

/// Who the ledger says made a movement here.
const ACTOR: &str = "cli";

/// Movements shown where no number is given.
const MOVEMENTS: u64 = 10;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Balance {
    /// Shows the balance of a user with its last movements, or of everybody
    Show(Show),
    /// Adds money: `balance add alice 10.00`
    Add(Change),
    /// Corrects a balance, up or down: `balance adjust alice -2.50 --note 'typed twice'`
    Adjust(Change),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The user's name
    user: Option<String>,
    /// Movements to show
    #[arg(long, default_value_t = MOVEMENTS)]
    movements: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// The user's name
    user: String,
    /// Dollars with decimals
    #[arg(value_name = "DOLLARS", allow_negative_numbers = true)]
    amount: String,
    /// Why
    #[arg(long, default_value = "")]
    note: String,
}

impl Balance {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Show(Show {
                user: Some(user),
                movements,
            }) => show(context, &user, movements).await,
            Self::Show(Show { user: None, .. }) => show_all(context).await,
            Self::Add(change) => {
                let amount = change.amount()?;
                let store = context.store().await?;
                let user = store.users().get(&change.user).await?;
                let balance = store.balances().add(user.id, amount, &change.note, ACTOR).await?;
                told(context, &user.name, &balance)
            }
            Self::Adjust(change) => {
                let amount = change.amount()?;
                let store = context.store().await?;
                let user = store.users().get(&change.user).await?;
                let balance = store.balances().adjust(user.id, amount, &change.note, ACTOR).await?;
                told(context, &user.name, &balance)
            }
        }
    }
}

impl Change {
    fn amount(&self) -> anyhow::Result<Money> {
        let amount = self.amount.trim_start_matches('$');
        amount
            .parse()
            .map_err(|error| anyhow::anyhow!("`{}` {error}", self.amount))
    }
}

fn told(context: &Context, user: &str, balance: &Record) -> anyhow::Result<()> {
    let value = json!({"user": user, "balance": balance.balance});
    context.say(&format!("{user} has {}", balance.balance), &value)
}

async fn show(context: &Context, user: &str, movements: u64) -> anyhow::Result<()> {
    let store = context.store().await?;
    let user = store.users().get(user).await?;
    let balance = store.balances().show(user.id).await?;
    let movements = store.balances().movements(user.id, movements).await?;
    let mut table = Table::new(["AT", "KIND", "AMOUNT", "BY", "NOTE"]);
    for movement in &movements {
        table.row([
            moment(movement.at),
            movement.kind.name().to_owned(),
            movement.amount.to_string(),
            movement.actor.clone(),
            movement.note.clone(),
        ]);
    }
    let totals = store.usage().lifetime(user.id).await?;
    let rows: Vec<_> = movements
        .iter()
        .map(|movement| {
            json!({
                "at": moment(movement.at), "kind": movement.kind.name(), "amount": movement.amount,
                "by": movement.actor, "note": movement.note,
            })
        })
        .collect();
    let value = json!({
        "user": user.name, "balance": balance.balance, "charged": totals.charged, "calls": totals.calls, "movements": rows,
    });
    let text = format!(
        "{} has {}, after {} calls for {} in all\n\n{}",
        user.name,
        balance.balance,
        totals.calls,
        totals.charged,
        table.render()
    );
    context.say(text.trim_end(), &value)
}

async fn show_all(context: &Context) -> anyhow::Result<()> {
    let store = context.store().await?;
    let balances = by_name(&store).await?;
    resource::list(
        context,
        ["USER", "BALANCE"],
        &balances,
        |(user, balance)| [user.clone(), balance.to_string()],
        |(user, balance)| json!({"user": user, "balance": balance}),
    )
}

/// Names and balances of all users.
async fn by_name(store: &Store) -> anyhow::Result<Vec<(String, Money)>> {
    let balances = store.balances().list().await.context("the balances cannot be read")?;
    let of = |id| {
        balances
            .iter()
            .find(|balance| balance.user == id)
            .map(|balance| balance.balance)
            .unwrap_or_default()
    };
    Ok(store
        .users()
        .list()
        .await?
        .into_iter()
        .map(|user| (user.name, of(user.id)))
        .collect())
}
