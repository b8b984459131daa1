//! `tollgate init`: a commented configuration and fresh secrets.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::context::Context;
use crate::config::DEFAULT_FILE;
use crate::secrets::{FILE, Fresh, Overwrite, data_dir, write_private};

/// The configuration that is written: every section, commented.
const TEMPLATE: &str = include_str!("init/tollgate.yaml");

/// What follows the secrets in `.env`.
const DOT_ENV_REST: &str = include_str!("init/env");

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Replaces files that are there; a replaced ENCRYPTION_KEY makes existing credentials unreadable. That of data/secrets.env is kept
    #[arg(long)]
    force: bool,
    /// The folder
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    dir: PathBuf,
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let files = [self.dir.join(DEFAULT_FILE), self.dir.join(".env")];
        if let Some(there) = files.iter().find(|file| file.exists())
            && !self.force
        {
            anyhow::bail!(
                "{} exists already; keep it, or replace it with --force",
                there.display()
            );
        }
        let [yaml, env] = files;
        let overwrite = if self.force { Overwrite::Yes } else { Overwrite::No };
        let write = |path: &Path, text: &str| {
            write_private(path, text, overwrite).with_context(|| format!("{} cannot be written", path.display()))
        };
        let kept_in = self
            .dir
            .join(data_dir(&context.sources(Vec::new())?.parse("")?))
            .join(FILE);
        let (secrets, whose) = match Fresh::kept(&kept_in)? {
            Some(kept) => (kept, format!(" with the secrets of {}", kept_in.display())),
            None => (Fresh::generate()?, String::new()),
        };
        write(&env, &format!("{}{DOT_ENV_REST}", secrets.file_text()))?;
        write(&yaml, TEMPLATE)?;
        let (yaml, env) = (yaml.display().to_string(), env.display().to_string());
        let text = format!(
            "{yaml} and {env} are written{whose}; next: put a provider's key into {env}, then `tollgate check` and `tollgate serve`"
        );
        context.say(&text, &json!({"written": [yaml, env]}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::SECTIONS;
    use crate::config::{Environment, Sources};

    #[test]
    fn what_is_written_is_right_and_complete() {
        let text = Fresh::generate().unwrap().file_text() + DOT_ENV_REST;
        let environment = Environment::of_text(&text, ".env");
        assert!(environment.notes.is_empty(), "{:?}", environment.notes);
        let sources = Sources {
            environment: environment.clone(),
            ..Sources::default()
        };
        sources.parse(TEMPLATE).unwrap();
        // With every comment that holds YAML taken in, too.
        let all: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
            .collect();
        let variables = [
            "OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "ALICE_KEY",
            "MASTER_KEY",
            "OAUTH_CLIENT_ID",
        ]
        .map(|name| (name, "sk-x-0123456789"));
        let key = environment.get("ENCRYPTION_KEY").unwrap();
        let environment = Environment::of(
            variables
                .into_iter()
                .chain([("ENCRYPTION_KEY", key), ("ADMIN_TOKEN", "t")]),
        );
        let config = Sources {
            environment,
            ..Sources::default()
        }
        .parse(&all)
        .unwrap_or_else(|mistakes| panic!("{mistakes}\n{all}"));
        assert!(config.declared.upstreams.is_some_and(|upstreams| upstreams.len() == 2));
        for section in SECTIONS {
            assert!(
                all.lines().any(|line| line.starts_with(&format!("{section}:"))),
                "{section} is missing"
            );
        }
    }
}
