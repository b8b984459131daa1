//! The command line: one file per command.
//!
//! Commands that change resources write to the database that the server reads; a running server sees the change within
//! a second. They lay their flags over a resource as the configuration does with variables, so one set of checks and
//! one wording of mistakes serves all three ways to declare a resource.
#![expect(
    clippy::doc_markdown,
    reason = "help texts are shown on a terminal, which knows no Markdown"
)]

mod account;
mod audit;
mod backup;
mod balance;
mod check;
mod completions;
mod context;
mod credential;
mod decision;
mod demo;
mod draft;
mod explain;
mod healthcheck;
mod init;
mod journal;
mod key;
mod local;
mod migrate;
mod model;
pub(crate) mod output;
mod replay;
mod resource;
mod secret_input;
mod serve;
mod unserved;
mod upstream;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Mistakes;
use context::Context;

/// An AI API gateway in one binary.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// The configuration file [default: tollgate.yaml, if it is there]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets a key of the configuration, over the file and the environment: `--set server.listen=0.0.0.0:4270`
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Prints JSON instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the gateway; works without any configuration
    Serve(serve::Serve),
    /// Serves with the built-in demo provider and throw-away data
    Demo(demo::Demo),
    /// Writes tollgate.yaml and fresh secrets (.env)
    Init(init::Init),
    /// Validates the configuration and prints what it means
    Check(check::Check),
    /// Says where a call would go, in which order, and why not elsewhere
    Explain(explain::Explain),
    /// Says why a call went where it went, and whether it would go there again
    ///
    /// The choice is made again from its record, and with a configuration: the one in force, or a draft (--with). The record
    /// is taken from the database of the one in force. `logs.decisions` says of which calls there is a record.
    Replay(replay::Replay),
    /// Users: who owns keys and money
    #[command(subcommand)]
    User(user::User),
    /// Keys: what clients authenticate with
    #[command(subcommand)]
    Key(key::Key),
    /// Upstreams: endpoints at providers
    #[command(subcommand)]
    Upstream(upstream::Upstream),
    /// Credentials of upstreams
    #[command(subcommand)]
    Credential(credential::Credential),
    /// Accounts at providers that log in instead of having a key
    #[command(subcommand)]
    Account(account::Account),
    /// Models: names that clients use
    #[command(subcommand)]
    Model(model::Model),
    /// Balances of users
    #[command(subcommand)]
    Balance(balance::Balance),
    /// Proves that receipts, movements, balances and statistics agree
    Audit(audit::Audit),
    /// The local log of receipts
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Brings the database's schema up to date
    Migrate(migrate::Migrate),
    /// Copies the database to a new file
    Backup(backup::Backup),
    /// Asks the local server whether it is ready
    Healthcheck(healthcheck::Healthcheck),
    /// Prints completions for a shell
    Completions(completions::Completions),
}

/// Runs the command line of this process. Exit codes: 0 done, 1 refused, 2 usage.
pub fn run() -> ExitCode {
    // Whatever is made here (database, journal, logs, backups) is for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    let cli = parse();
    let context = Context::new(cli.global);
    let done = match cli.command {
        Command::Serve(command) => crate::serve::runtime().and_then(|runtime| runtime.block_on(command.run(&context))),
        Command::Demo(command) => crate::serve::runtime().and_then(|runtime| runtime.block_on(command.run(&context))),
        other => small_runtime().and_then(|runtime| runtime.block_on(other.run(&context))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Reads the arguments, or ends the process with what is wrong with them.
fn parse() -> Cli {
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    if let Some(edit) = changing_nothing(&mut command, &matches) {
        let told = "there is nothing to change; say what by an option (--help lists them)";
        edit.error(ErrorKind::MissingRequiredArgument, told).exit();
    }
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command that edits, where it is told nothing but what.
fn changing_nothing<'a>(command: &'a mut clap::Command, matches: &ArgMatches) -> Option<&'a mut clap::Command> {
    let (resource, matches) = matches.subcommand()?;
    let (_, given) = matches.subcommand().filter(|(name, _)| *name == "edit")?;
    let edit = command.find_subcommand_mut(resource)?.find_subcommand_mut("edit")?;
    // A credential is named by its upstream, too.
    let is_address = |id: &str| id == "name" || (resource == "credential" && id == "upstream");
    let is_given = |id: &str| {
        let source = given.value_source(id);
        source.is_some_and(|source| source != ValueSource::DefaultValue)
    };
    let mut options = edit.get_arguments().filter(|argument| !argument.is_global_set());
    if options.any(|option| !is_address(option.get_id().as_str()) && is_given(option.get_id().as_str())) {
        return None;
    }
    drop(options);
    Some(edit)
}

impl Command {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Serve(command) => command.run(context).await,
            Self::Demo(command) => command.run(context).await,
            Self::Init(command) => command.run(context),
            Self::Check(command) => command.run(context).await,
            Self::Explain(command) => command.run(context).await,
            Self::Replay(command) => command.run(context).await,
            Self::User(command) => command.run(context).await,
            Self::Key(command) => command.run(context).await,
            Self::Upstream(command) => command.run(context).await,
            Self::Credential(command) => command.run(context).await,
            Self::Account(command) => command.run(context).await,
            Self::Model(command) => command.run(context).await,
            Self::Balance(command) => command.run(context).await,
            Self::Audit(command) => command.run(context).await,
            Self::Journal(command) => command.run(context).await,
            Self::Migrate(command) => command.run(context).await,
            Self::Backup(command) => command.run(context).await,
            Self::Healthcheck(command) => command.run(context).await,
            Self::Completions(command) => command.run(),
        }
    }
}

/// One thread is enough for one statement.
fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Says what went wrong. Mistakes of the configuration stand alone on their lines, so that editors can jump to them.
fn report(error: &anyhow::Error) {
    match error.downcast_ref::<Mistakes>() {
        Some(mistakes) => output::complain(&mistakes.to_string()),
        None => output::complain(&format!("tollgate: {error:#}").replace('\n', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_edit_says_what_is_to_change() {
        let changes_nothing = |line: &str| {
            let mut command = Cli::command();
            let matches = command.try_get_matches_from_mut(line.split(' ')).unwrap();
            changing_nothing(&mut command, &matches).is_some()
        };
        for line in [
            "tollgate key edit laptop",
            "tollgate user edit alice --json",
            "tollgate model edit m -c x.yaml --set a=b",
            "tollgate upstream edit u",
            "tollgate credential edit k --upstream u",
        ] {
            assert!(changes_nothing(line), "{line}");
        }
        for line in [
            "tollgate key edit laptop --rpm 5",
            "tollgate key edit laptop --name desk",
            "tollgate user edit alice --policy hard",
            "tollgate upstream edit u --breaker open",
            "tollgate credential edit k --upstream u --activate",
            "tollgate key list",
            "tollgate serve",
        ] {
            assert!(!changes_nothing(line), "{line}");
        }
    }
}
