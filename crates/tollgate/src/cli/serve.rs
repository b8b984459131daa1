//! `tollgate serve`: the gateway.

use super::context::Context;
use crate::config::{Flag, check};
use crate::serve::{self, Setup};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Serve {
    /// Address and port, such as 0.0.0.0:4270
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// sqlite://… or postgres://…
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// error, warn, info, debug or trace; also per part: info,gateway=debug
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    log_level: Option<String>,
    /// json or text
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

fn level(text: &str) -> Result<String, &'static str> {
    if check::is_level(text) {
        Ok(text.to_owned())
    } else {
        Err(check::NO_LEVEL)
    }
}

impl Serve {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let flags = self.flags();
        let context = context.clone();
        serve::run(Setup::new(move || context.sources(flags.clone()))).await
    }

    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("server.listen", "--listen", &self.listen),
            ("storage.url", "--database-url", &self.database_url),
            ("logs.level", "--log-level", &self.log_level),
            ("logs.format", "--log-format", &self.log_format),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(key, name, value)| Some((key, name, value.clone()?)));
        given
            .map(|(key, name, value)| Flag {
                key: key.to_owned(),
                value,
                name: name.to_owned(),
            })
            .collect()
    }
}
