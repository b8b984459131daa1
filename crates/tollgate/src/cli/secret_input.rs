//! A secret on its way in, without passing by the shell's history.

use std::io::{self, IsTerminal as _, Read as _};

use domain::Secret;

use crate::config::{Environment, Mistake, Mistakes};

use super::draft::place;

/// A secret read from stdin is one line; more than this is a wrong file.
const SECRET_MAX: u64 = 64 * 1024;

/// Where the secret comes from. At most one.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub(crate) struct SecretInput {
    /// Takes the key from this environment variable (or `.env`)
    #[arg(long, value_name = "VAR")]
    key_env: Option<String>,
    /// Reads the key from stdin
    #[arg(long)]
    key_stdin: bool,
    /// The key itself; stays in the shell's history
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
}

impl SecretInput {
    /// The secret, if one was given.
    pub(crate) fn given(&self, environment: &Environment) -> anyhow::Result<Option<Secret>> {
        if let Some(name) = &self.key_env {
            let value = environment.filled(name).map(Secret::new);
            let missing = || {
                Mistake::at(
                    place("--key-env"),
                    format!("the environment variable {name} is not set; set it"),
                )
            };
            return Ok(Some(value.ok_or_else(|| Mistakes::from(missing()))?));
        }
        if self.key_stdin {
            return from_stdin().map(Some);
        }
        Ok(self.key.as_ref().map(Secret::new))
    }

    /// The secret; asked for on a terminal if none was given.
    pub(crate) fn required(&self, environment: &Environment, what: &str) -> anyhow::Result<Secret> {
        if let Some(secret) = self.given(environment)? {
            return Ok(secret);
        }
        anyhow::ensure!(
            io::stdin().is_terminal(),
            "{what} is missing; give it by --key-env VAR, --key-stdin, or at the prompt of a terminal"
        );
        let typed = rpassword::prompt_password(format!("{what} (not shown): "))?;
        Ok(Secret::new(typed.trim()))
    }
}

fn from_stdin() -> anyhow::Result<Secret> {
    let mut text = String::new();
    io::stdin().lock().take(SECRET_MAX).read_to_string(&mut text)?;
    let secret = text.trim();
    anyhow::ensure!(!secret.is_empty(), "stdin holds no key; write it as one line");
    // A service account's key file is JSON over many lines.
    anyhow::ensure!(
        secret.starts_with('{') || !secret.contains('\n'),
        "stdin holds more than one line; write the key alone"
    );
    Ok(Secret::new(secret))
}
