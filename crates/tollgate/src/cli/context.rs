//! What commands share: the configuration, the database, the way they print.

use store::Store;

use super::Global;
use super::output::{self, Table};
use crate::config::tree::Place;
use crate::config::{Config, Environment, Flag, Mistake, Mistakes, Sources};
use crate::secrets::{self, Make};
use crate::serve::Migrate;

/// The file whose variables are added to the environment, if it is there.
const DOT_ENV: &str = ".env";

/// What commands share.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    global: Global,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> bool {
        self.global.json
    }

    /// Where the configuration comes from; `flags` are those of the command itself.
    pub(crate) fn sources(&self, flags: Vec<Flag>) -> anyhow::Result<Sources> {
        let environment = Environment::of_process(DOT_ENV.as_ref())?;
        let mut all = Vec::new();
        for set in &self.global.set {
            let Some((key, value)) = set.split_once('=') else {
                let at = Place::Named("flag --set".into());
                return Err(Mistakes::from(Mistake::at(at, "takes KEY=VALUE, such as logs.level=debug")).into());
            };
            all.push(Flag {
                key: key.to_owned(),
                value: value.to_owned(),
                name: "--set".to_owned(),
            });
        }
        all.extend(flags);
        Ok(Sources {
            file: self.global.config.clone(),
            environment,
            flags: all,
        })
    }

    /// The configuration.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        Ok(self.sources(Vec::new())?.load()?)
    }

    /// The configuration, with the secrets of the process.
    pub(crate) fn full_config(&self, make: Make) -> anyhow::Result<Config> {
        let mut config = self.config()?;
        secrets::complete(&mut config, make)?;
        Ok(config)
    }

    /// The database. Made if it is not there: resources may be declared before the first start.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        let config = self.full_config(Make::IfMissing)?;
        crate::serve::open_store(&config, Migrate::Yes).await
    }

    /// Prints a table for people, or the rows as JSON.
    pub(crate) fn list(&self, table: &Table, rows: Vec<serde_json::Value>) -> anyhow::Result<()> {
        if self.json() {
            print_json(&serde_json::Value::Array(rows))
        } else {
            output::print(&table.render())
        }
    }

    /// Prints a line for people, or a value as JSON.
    pub(crate) fn say(&self, text: &str, value: &serde_json::Value) -> anyhow::Result<()> {
        if self.json() {
            print_json(value)
        } else {
            output::print(&format!("{text}\n"))
        }
    }
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    output::print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}
