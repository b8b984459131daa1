//! Secrets of the process: made once, kept where only the operator can read them.
//!
//! A server without configuration still needs a key to seal credentials with and a token for the operator. They are
//! generated at the first start and kept beside the database in `secrets.env`: losing them together is right, because
//! neither is of use without the other. `init` writes the same two into `.env` instead; where a first start has made them
//! already, it takes those over, since a database that was sealed opens with nothing else.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::Secret;
use store::{KeyRing, Keys};

use crate::config::{Config, Environment};

/// The file's name, beside the database.
pub const FILE: &str = "secrets.env";

/// Values for `ENCRYPTION_KEY` and `ADMIN_TOKEN`.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// Seals credentials.
    pub encryption_key: Secret,
    /// Opens the operator's views.
    pub admin_token: Secret,
}

impl Fresh {
    /// Makes them.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> anyhow::Result<Self> {
        let token = Keys::generate()?;
        let token = token.expose().trim_start_matches("sk-tg-");
        let admin_token = Secret::new(format!("tg-admin-{token}"));
        Ok(Self {
            encryption_key: KeyRing::generate()?,
            admin_token,
        })
    }

    /// Those that a first start left in this file; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or is damaged.
    pub fn kept(path: &Path) -> anyhow::Result<Option<Self>> {
        let Some(kept) = read(path)? else { return Ok(None) };
        let Self {
            encryption_key,
            admin_token,
        } = Self::generate()?;
        let taken = Self {
            encryption_key: kept.filled("ENCRYPTION_KEY").map_or(encryption_key, Secret::new),
            admin_token: kept.filled("ADMIN_TOKEN").map_or(admin_token, Secret::new),
        };
        KeyRing::parse(taken.encryption_key.expose())
            .with_context(|| format!("{} is damaged; restore it", path.display()))?;
        Ok(Some(taken))
    }

    /// The lines of `.env` and `secrets.env`.
    pub fn file_text(&self) -> String {
        format!(
            "# Secrets of Tollgate. Keep a copy apart from the backups of the database: without ENCRYPTION_KEY nobody\n\
             # can read the credentials in it, and its client keys stop working.\n\
             ENCRYPTION_KEY={}\n\
             ADMIN_TOKEN={}\n",
            self.encryption_key.expose(),
            self.admin_token.expose()
        )
    }

    /// The lines of `secrets.env` where the key comes from elsewhere: one that seals nothing would only mislead.
    fn token_text(&self) -> String {
        format!(
            "# A secret of Tollgate; ENCRYPTION_KEY is given elsewhere.\nADMIN_TOKEN={}\n",
            self.admin_token.expose()
        )
    }
}

/// Whether the database is a file that has something in it.
fn has_database(config: &Config) -> bool {
    let file = sqlite_path(&config.storage.url).and_then(|path| std::fs::metadata(path).ok());
    file.is_some_and(|file| file.len() > 0)
}

/// Fills in `encryption_key` and `admin_token` where the configuration has none: from `secrets.env`, which is made if
/// it is not there and `make` says so.
///
/// # Errors
/// A file that cannot be read or made, or secrets that are missing and may not be made.
pub fn complete(config: &mut Config, make: Make) -> anyhow::Result<()> {
    let given = |secret: &Option<Secret>| secret.as_ref().is_some_and(|secret| !secret.expose().is_empty());
    if given(&config.security.encryption_key) && given(&config.security.admin_token) {
        return Ok(());
    }
    let path = data_dir(config).join(FILE);
    let key_is_given = given(&config.security.encryption_key);
    anyhow::ensure!(
        key_is_given || path.exists() || !has_database(config),
        "there is no ENCRYPTION_KEY for the database that is there; give the one that it was made with, or restore {}",
        path.display()
    );
    let kept = read_or_make(&path, make, key_is_given)?;
    let take = |secret: &mut Option<Secret>, name: &str| {
        if !given(secret) {
            *secret = kept.filled(name).map(Secret::new);
        }
    };
    take(&mut config.security.encryption_key, "ENCRYPTION_KEY");
    take(&mut config.security.admin_token, "ADMIN_TOKEN");
    let (path_exists, path) = (path.exists(), path.display());
    match &config.security.encryption_key {
        Some(key) => KeyRing::parse(key.expose())
            .map(drop)
            .with_context(|| format!("{path} is damaged; restore it")),
        None if path_exists => anyhow::bail!("there is no ENCRYPTION_KEY, in {path} neither; set it"),
        None => anyhow::bail!("there is no ENCRYPTION_KEY; set it, or start `tollgate serve` once, which makes {path}"),
    }
}

/// Whether missing secrets are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Yes: this is, or may be, the first start.
    IfMissing,
    /// No: a command that needs what exists.
    Never,
}

fn read_or_make(path: &Path, make: Make, key_is_given: bool) -> anyhow::Result<Environment> {
    let none = Path::new("");
    if make == Make::IfMissing && !path.exists() {
        private_dir(path.parent().unwrap_or(none))?;
        let fresh = Fresh::generate()?;
        let text = if key_is_given {
            fresh.token_text()
        } else {
            fresh.file_text()
        };
        match write_private(path, &text, Overwrite::No) {
            // Another process was faster: its secrets count.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => written.with_context(|| format!("{} cannot be written", path.display()))?,
        }
    }
    Ok(read(path)?.unwrap_or_default())
}

fn read(path: &Path) -> anyhow::Result<Option<Environment>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Environment::of_text(&text, FILE))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// The file beside the database, where it holds another `ENCRYPTION_KEY` than the configuration gives.
pub fn other_kept(config: &Config) -> Option<PathBuf> {
    let path = data_dir(config).join(FILE);
    let kept = read(&path).ok()??;
    let given = config.security.encryption_key.as_ref().map(Secret::expose);
    let other = kept.filled("ENCRYPTION_KEY").is_some_and(|key| Some(key) != given);
    other.then_some(path)
}

/// The folder of the database; with PostgreSQL the one around the journal.
pub fn data_dir(config: &Config) -> PathBuf {
    let beside = match sqlite_path(&config.storage.url) {
        Some(path) => path.parent().map(Path::to_path_buf),
        None => config.storage.journal.dir.parent().map(Path::to_path_buf),
    };
    beside
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from("."))
}

/// The file of a `sqlite:` URL; `None` for other databases and for memory.
pub fn sqlite_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let path = rest.split('?').next().unwrap_or_default();
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path))
}

/// Makes a folder that only its owner may enter. One that exists is left as it is.
///
/// # Errors
/// A folder that cannot be made.
pub fn private_dir(dir: &Path) -> anyhow::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("the folder {} cannot be made", dir.display()))
}

/// Whether a file that is there is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Replaced.
    Yes,
    /// Kept: an error.
    No,
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// What the file system says.
pub fn write_private(path: &Path, text: &str, overwrite: Overwrite) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    let placed = written.and_then(|()| match overwrite {
        Overwrite::Yes => std::fs::rename(&draft, path),
        Overwrite::No => place_new(&draft, path),
    });
    if placed.is_err() || overwrite == Overwrite::No {
        // Only the draft's name goes; a linked file stays.
        std::fs::remove_file(&draft).ok();
    }
    placed
}

/// Puts a draft in its place unless something is there. Not every file system has links; there a race of two first
/// starts is possible and harmless: the loser reads what the winner wrote.
fn place_new(draft: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            std::fs::copy(draft, path).map(drop)
        }
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Sources;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let text = format!("storage: {{url: \"sqlite://{}/tollgate.db\"}}", data.display());
        let mut first = Sources::default().parse(&text).unwrap();
        assert!(complete(&mut first.clone(), Make::Never).is_err());
        complete(&mut first, Make::IfMissing).unwrap();
        assert_eq!((mode(&data), mode(&data.join(FILE))), (0o700, 0o600));
        let mut second = Sources::default().parse(&text).unwrap();
        complete(&mut second, Make::IfMissing).unwrap();
        assert_eq!(first.security, second.security);
        assert!(first.security.admin_token.is_some());
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn given_secrets_are_not_replaced() {
        let key = Fresh::generate().unwrap().encryption_key;
        let text = format!("security: {{encryption_key: \"{}\", admin_token: t}}", key.expose());
        let mut config = Sources::default().parse(&text).unwrap();
        complete(&mut config, Make::Never).unwrap();
        assert_eq!(config.security.encryption_key, Some(key));
    }

    #[test]
    fn the_data_folder_is_that_of_the_database() {
        let dir = |text: &str| data_dir(&Sources::default().parse(text).unwrap());
        assert_eq!(dir(""), Path::new("data"));
        assert_eq!(
            dir("storage: {url: 'sqlite:///var/x/t.db?mode=rwc'}"),
            Path::new("/var/x")
        );
        assert_eq!(
            dir("storage: {url: 'postgres://h/d', journal: {dir: /srv/t/journal}}"),
            Path::new("/srv/t")
        );
        assert_eq!(dir("storage: {url: 'sqlite://t.db'}"), Path::new("."));
    }
}
