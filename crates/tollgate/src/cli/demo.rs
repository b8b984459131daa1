//! `tollgate demo`: everything, with nothing of one's own: the built-in provider, sample users, throw-away data.

use std::path::Path;

use super::context::Context;
use crate::config::{Environment, Flag, Sources};
use crate::serve::{self, Setup};

/// What is declared in it.
const CONFIGURATION: &str = include_str!("demo/tollgate.yaml");

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Address and port
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

impl Demo {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let dir = tempfile::Builder::new().prefix("tollgate-demo-").tempdir()?;
        let own = context.sources(Vec::new())?;
        let file = dir.path().join("tollgate.yaml");
        std::fs::write(&file, CONFIGURATION)?;
        let sources = sources(own, dir.path(), self.listen);
        serve::run(Setup::new(move || Ok(sources.clone()))).await
    }
}

/// Of the caller's environment only what concerns the process: keys of providers stay out of a demonstration.
fn sources(own: Sources, dir: &Path, listen: Option<String>) -> Sources {
    let passed = [
        "PORT",
        "TOLLGATE_SERVER__LISTEN",
        "TOLLGATE_LOGS__LEVEL",
        "TOLLGATE_LOGS__FORMAT",
        "ADMIN_TOKEN",
    ];
    let passed = passed
        .into_iter()
        .filter_map(|name| Some((name, own.environment.filled(name)?)));
    let environment = Environment::of(passed);
    let flag = |key: &str, value: String| Flag {
        key: key.to_owned(),
        value,
        name: "demo".to_owned(),
    };
    let mut flags = own.flags;
    flags.push(flag(
        "storage.url",
        format!("sqlite://{}/data/tollgate.db", dir.display()),
    ));
    flags.push(flag(
        "storage.journal.dir",
        dir.join("data/journal").display().to_string(),
    ));
    flags.extend(listen.map(|listen| flag("server.listen", listen)));
    Sources {
        file: Some(dir.join("tollgate.yaml")),
        environment,
        flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_is_right_whatever_the_environment() {
        let own = Sources {
            environment: Environment::of([("OPENAI_API_KEY", "sk-x"), ("DATABASE_URL", "mysql://x")]),
            ..Sources::default()
        };
        let config = sources(own, Path::new("/tmp/d"), None).parse(CONFIGURATION).unwrap();
        assert_eq!(config.storage.url, "sqlite:///tmp/d/data/tollgate.db");
        assert!(config.found.is_empty());
        assert!(config.declared.keys.is_empty(), "a key that everybody knows is none");
    }
}
