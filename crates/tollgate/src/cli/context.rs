//! What commands share: the configuration, the database, the way they print.

use std::path::Path;
use std::sync::Once;

use store::{Store, StoreError};

use super::Global;
use super::output::{self, Table};
use crate::config::tree::Place;
use crate::config::{Config, Environment, Flag, Mistake, Mistakes, Sources};
use crate::secrets::{self, Make};
use crate::serve::Opening;

/// The file whose variables are added to the environment, if it is there.
const DOT_ENV: &str = ".env";

/// Lines of `.env` that could not be read are told once, however often a command asks for its configuration.
static TOLD: Once = Once::new();

/// What commands share.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    global: Global,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    /// The same with another file.
    pub(crate) fn at(&self, file: &Path) -> Self {
        let config = Some(file.to_owned());
        Self {
            global: Global {
                config,
                ..self.global.clone()
            },
        }
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
        let sources = self.sources(Vec::new())?;
        let config = sources.load()?;
        TOLD.call_once(|| {
            for note in &sources.environment.notes {
                output::complain(&format!("tollgate: {note}"));
            }
        });
        Ok(config)
    }

    /// The configuration, with the secrets of the process.
    pub(crate) fn full_config(&self, make: Make) -> anyhow::Result<Config> {
        let mut config = self.config()?;
        secrets::complete(&mut config, make)?;
        Ok(config)
    }

    /// The database, which must be there and have the schema of this program.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        Ok(self.config_and_store().await?.1)
    }

    /// The same, with the configuration and its secrets.
    pub(crate) async fn config_and_store(&self) -> anyhow::Result<(Config, Store)> {
        let mut config = self.config()?;
        store::check_there(&config.storage.url)?;
        secrets::complete(&mut config, Make::Never)?;
        let store = crate::serve::open_store(&config, Opening::AsItIs).await?;
        Ok((config, store))
    }

    /// The database, made if it is not there: resources may be declared before the first start. That it was made is said,
    /// because it may be the wrong place.
    pub(crate) async fn store_or_new(&self) -> anyhow::Result<Store> {
        let missing = match self.store().await {
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::NoDatabase(_))) => error,
            opened => return opened,
        };
        drop(missing);
        let config = self.full_config(Make::IfMissing)?;
        let store = crate::serve::open_store(&config, Opening::OrMake).await?;
        output::complain(&format!(
            "tollgate: a new database was made at {}",
            store::shown(&config.storage.url)
        ));
        Ok(store)
    }

    /// The same, with a schema that is brought up to date if it is older.
    pub(crate) async fn store_up_to_date(&self) -> anyhow::Result<Store> {
        match self.store().await {
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Schema(_))) => {
                let config = self.full_config(Make::Never)?;
                crate::serve::open_store(&config, Opening::OrMake).await
            }
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::NoDatabase(_))) => self.store_or_new().await,
            opened => opened,
        }
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
