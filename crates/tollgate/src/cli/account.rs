//! `tollgate account`: accounts at providers that log in instead of having a key.

use std::collections::HashMap;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use admin::LoginFailure;
use domain::{CredentialId, Timestamp};
use gateway::oauth::Pasted;
use serde_json::{Value, json};
use store::{AccountRecord, AccountUse, Origin, Store};

use super::context::Context;
use super::output::{self, joined, moment};
use super::resource;
use crate::logins::{Logins, Wanted, What};
use crate::secrets::Make;

/// A pasted line is far shorter; more is a wrong file.
const PASTED_MAX: u64 = 16 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Account {
    /// Logs a new account in: prints an address to open, and takes the code that the provider shows
    Add(Add),
    /// Logs an account in anew, such as one that needs it
    Login(Add),
    /// Lists all accounts: plan, models, validity of the token, use
    List,
    /// Shows an account
    Show(Name),
    /// Removes an account and erases its tokens
    Remove(Name),
    /// Counts the use of accounts anew, of one or of all; what is booked stays
    ResetStats(Which),
    /// Clears the request log, from which use is counted; receipts and balances stay
    ClearHistory,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The account's name; asked for at a terminal
    name: Option<String>,
    /// Its kind, which is its plan: console, max, or one of your own
    #[arg(long)]
    mode: Option<String>,
    /// The upstream it belongs to [default: the only one of the provider; made where there is none]
    #[arg(long)]
    upstream: Option<String>,
    /// Reads the code from stdin instead of asking for it at the terminal
    #[arg(long)]
    code_stdin: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Its name, or UPSTREAM/NAME; asked for at a terminal
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only this one: its name, or UPSTREAM/NAME
    name: Option<String>,
}

impl Account {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(context, What::New).await,
            Self::Login(add) => add.run(context, What::Again).await,
            Self::List => list(context).await,
            Self::Show(name) => show(context, &name.given()?).await,
            Self::Remove(name) => remove(context, &name.given()?).await,
            Self::ResetStats(which) => reset_stats(context, which.name.as_deref()).await,
            Self::ClearHistory => clear_history(context).await,
        }
    }
}

impl Name {
    fn given(self) -> anyhow::Result<String> {
        self.name.map_or_else(|| asked_for("the account's name", ""), Ok)
    }
}

impl Add {
    async fn run(self, context: &Context, what: What) -> anyhow::Result<()> {
        let from_terminal = io::stdin().is_terminal();
        let name = self.name.map_or_else(|| asked_for("the account's name", ""), Ok)?;
        anyhow::ensure!(
            from_terminal || self.code_stdin,
            "the code is asked for at a terminal, and stdin is none; add --code-stdin to read it from there"
        );
        let store = context.store_or_new().await?;
        let config = context.full_config(Make::Never)?;
        let snapshot = crate::serve::world::snapshot(&store, &config).await?;
        let configured = snapshot.account_modes.iter().filter(|mode| mode.client_id.is_some());
        let names: Vec<&str> = configured.map(|mode| mode.name.as_str()).collect();
        let mode = match self.mode {
            None if what == What::New && names.len() > 1 && from_terminal => {
                Some(asked_for("its mode", &format!(" ({})", names.join(" or ")))?)
            }
            given => given,
        };
        let logins = Logins::new(store.clone(), &config, Origin::Cli);
        let wanted = Wanted {
            name,
            mode,
            upstream: self.upstream,
            what,
        };
        let begun = logins.begin(&snapshot, wanted).await.map_err(told)?;
        say(
            context,
            &format!(
                "Open this address, log in, and paste what the provider shows then:\n\n{}\n",
                begun.url
            ),
        )?;
        let pasted = Pasted::read(&code(self.code_stdin)?)?;
        anyhow::ensure!(
            pasted.state == begun.state,
            "that code is of another login (its state differs); begin again, and open the address just printed"
        );
        let record = logins.complete(&snapshot, &pasted).await.map_err(told)?;
        let done = if what == What::New { "added" } else { "logged in" };
        context.say(
            &format!(
                "account {}/{} is {done}; plan {}, its token is good until {} and renewed by the server",
                record.upstream_name,
                record.name,
                record.state.mode,
                moment(record.state.expires_at)
            ),
            &to_json(&record, None, &HashMap::new(), now()),
        )
    }
}

/// Lines on the way to the result: not between the JSON, where that is wanted.
fn say(context: &Context, text: &str) -> anyhow::Result<()> {
    if context.json() {
        output::complain(text);
        return Ok(());
    }
    output::print(&format!("{text}\n"))
}

fn told(failure: LoginFailure) -> anyhow::Error {
    match failure {
        LoginFailure::Refused(message) => anyhow::Error::msg(message),
        LoginFailure::Store(error) => error.into(),
    }
}

fn asked_for(what: &str, choices: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        io::stdin().is_terminal(),
        "{what} is missing; give it on the command line, or at the prompt of a terminal"
    );
    output::print(&format!("{what}{choices}: "))?;
    io::stdout().flush()?;
    let line = line()?;
    anyhow::ensure!(!line.is_empty(), "{what} is missing; nothing was typed");
    Ok(line)
}

/// The code is spent within seconds, but until then it is a secret.
fn code(from_stdin: bool) -> anyhow::Result<String> {
    if from_stdin {
        return line();
    }
    Ok(rpassword::prompt_password(
        "what the provider shows (not shown here): ",
    )?)
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), PASTED_MAX).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// What commands show of accounts.
struct View {
    records: Vec<AccountRecord>,
    uses: HashMap<CredentialId, AccountUse>,
    /// Models by mode.
    models: HashMap<String, Value>,
}

impl View {
    async fn of(context: &Context, store: &Store) -> anyhow::Result<Self> {
        let accounts = store.oauth_accounts();
        let (known, _) = domain::account::AccountMode::all(&context.config()?.accounts);
        let models = known.iter().map(|mode| (mode.name.clone(), json!(mode.models)));
        Ok(Self {
            records: accounts.list().await?,
            uses: accounts.uses().await?,
            models: models.collect(),
        })
    }

    fn json(&self, record: &AccountRecord) -> Value {
        to_json(record, self.uses.get(&record.id), &self.models, now())
    }
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let view = View::of(context, &context.store().await?).await?;
    let headings = [
        "UPSTREAM",
        "NAME",
        "PLAN",
        "STATUS",
        "TOKEN UNTIL",
        "CALLS",
        "FAILED",
        "TOKENS IN",
        "OUT",
        "MODELS",
    ];
    let cells = |record: &AccountRecord| {
        let counted = view.uses.get(&record.id).copied().unwrap_or_default();
        [
            record.upstream_name.clone(),
            record.name.clone(),
            record.state.mode.clone(),
            status(record, now()).to_owned(),
            moment(record.state.expires_at),
            counted.calls.to_string(),
            counted.failed.to_string(),
            counted.input_tokens.to_string(),
            counted.output_tokens.to_string(),
            models_cell(&view, record),
        ]
    };
    resource::list(context, headings, &view.records, cells, |record| view.json(record))
}

/// The plan's models in one cell.
fn models_cell(view: &View, record: &AccountRecord) -> String {
    match view.models.get(&record.state.mode) {
        Some(Value::Array(models)) => joined(&models.iter().filter_map(Value::as_str).collect::<Vec<_>>()),
        Some(_) => "*".to_owned(),
        None => String::new(),
    }
}

async fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let store = context.store().await?;
    let record = store.oauth_accounts().get(name).await?;
    let view = View::of(context, &store).await?;
    let counted = view.uses.get(&record.id).copied().unwrap_or_default();
    let last_used = counted.last_used.map(moment).unwrap_or_default();
    let trouble = record
        .trouble
        .as_ref()
        .map(|(what, at)| format!("{what} ({})", moment(*at)));
    let facts = [
        ("name", format!("{}/{}", record.upstream_name, record.name)),
        ("plan", record.state.mode.clone()),
        ("models", models_cell(&view, &record)),
        ("status", status(&record, now()).to_owned()),
        (
            "needs login",
            record.state.needs_login.clone().unwrap_or_else(|| "no".to_owned()),
        ),
        ("trouble", trouble.unwrap_or_else(|| "none".to_owned())),
        ("token from", moment(record.state.issued_at)),
        ("token until", moment(record.state.expires_at)),
        (
            "calls",
            format!("{} answered, {} attempts failed", counted.calls, counted.failed),
        ),
        (
            "tokens",
            format!("{} in, {} out", counted.input_tokens, counted.output_tokens),
        ),
        ("last used", last_used),
        ("counted since", moment(record.stats_since)),
        ("origin", record.origin.name().to_owned()),
        ("created", moment(record.created_at)),
    ];
    resource::show(context, &facts, &view.json(&record))
}

async fn remove(context: &Context, name: &str) -> anyhow::Result<()> {
    let store = context.store().await?;
    let record = store.oauth_accounts().get(name).await?;
    store.oauth_accounts().remove(record.id).await?;
    let full = format!("{}/{}", record.upstream_name, record.name);
    resource::removed(
        context,
        "account",
        &full,
        "; its tokens are erased here, and end at the provider by themselves",
    )
}

async fn reset_stats(context: &Context, name: Option<&str>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let accounts = store.oauth_accounts();
    let id = match name {
        Some(name) => Some(accounts.get(name).await?.id),
        None => None,
    };
    let reset = accounts.reset_stats(id, now()).await?;
    context.say(
        &format!("the use of {reset} accounts is counted anew"),
        &json!({"reset": reset}),
    )
}

async fn clear_history(context: &Context) -> anyhow::Result<()> {
    let cleared = context.store().await?.requests().clear(now()).await?;
    context.say(
        &format!("{cleared} entries left the request log; receipts and balances are as they were"),
        &json!({"cleared": cleared}),
    )
}

/// In one word.
fn status(record: &AccountRecord, now: Timestamp) -> &'static str {
    if record.state.needs_login.is_some() {
        "needs_login"
    } else if record.state.expires_at > now {
        "active"
    } else {
        "expired"
    }
}

fn to_json(
    record: &AccountRecord,
    counted: Option<&AccountUse>,
    models: &HashMap<String, Value>,
    now: Timestamp,
) -> Value {
    let counted = counted.copied().unwrap_or_default();
    let state = &record.state;
    json!({
        "name": record.name, "upstream": record.upstream_name, "plan": state.mode,
        "models": models.get(&state.mode), "status": status(record, now), "needs_login": state.needs_login,
        "trouble": record.trouble.as_ref().map(|(what, _)| what),
        "token": {"issued_at": moment(state.issued_at), "expires_at": moment(state.expires_at),
            "valid": state.expires_at > now, "generation": state.generation},
        "use": {"calls": counted.calls, "failed_attempts": counted.failed, "input_tokens": counted.input_tokens,
            "output_tokens": counted.output_tokens, "last_used": counted.last_used.map(moment),
            "since": moment(record.stats_since)},
        "origin": record.origin.name(), "created_at": moment(record.created_at),
    })
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
