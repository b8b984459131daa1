//! The environment, read here and nowhere else.
//!
//! | variable | stands for |
//! |---|---|
//! | `DATABASE_URL` | `storage.url` |
//! | `PORT` | the port of `server.listen` |
//! | `ENCRYPTION_KEY` | `security.encryption_key` |
//! | `ADMIN_TOKEN` | `security.admin_token` |
//! | `LOG_RETENTION_DAYS` | `logs.retention`, in days |
//! | `CORS_ORIGINS` | `server.cors_origins`, separated by commas |
//! | `ALLOW_KEY_REVEAL` | `security.allow_key_reveal` |
//! | `TOLLGATE_SECTION__KEY` | any key of `server`, `storage`, `security`, `logs`, `defaults`; deeper ones by more `__` |
//! | `ADMIN_PASSWORD`, `JWT_SECRET`, `REDIS_URL` | known, but of features that do not exist yet: a note says so |
//! | those of provider presets (`OPENAI_API_KEY` …) | upstreams of a server whose file declares none |
//!
//! An empty variable counts as one that is not set, as in a compose file. What a variable sets takes its way through
//! the same tree and the same checks as the file, so that its mistakes read alike.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::mistake::{Mistake, Mistakes};
use super::tree::{Node, Place};

/// Sections whose keys a variable may set: those of the process, not of resources.
const SECTIONS: [&str; 6] = ["server", "storage", "security", "logs", "defaults", "shared"];

/// What a variable with a name of its own sets.
struct Named {
    variable: &'static str,
    path: &'static [&'static str],
    /// The value as the configuration would have it.
    convert: fn(&str, &Node) -> String,
}

const NAMED: [Named; 7] = [
    Named {
        variable: "DATABASE_URL",
        path: &["storage", "url"],
        convert: as_is,
    },
    Named {
        variable: "PORT",
        path: &["server", "listen"],
        convert: with_port,
    },
    Named {
        variable: "ENCRYPTION_KEY",
        path: &["security", "encryption_key"],
        convert: as_is,
    },
    Named {
        variable: "ADMIN_TOKEN",
        path: &["security", "admin_token"],
        convert: as_is,
    },
    Named {
        variable: "LOG_RETENTION_DAYS",
        path: &["logs", "retention"],
        convert: in_days,
    },
    Named {
        variable: "CORS_ORIGINS",
        path: &["server", "cors_origins"],
        convert: as_is,
    },
    Named {
        variable: "ALLOW_KEY_REVEAL",
        path: &["security", "allow_key_reveal"],
        convert: as_is,
    },
];

/// Variables of features to come, and the feature.
const LATER: [(&str, &str); 3] = [
    ("ADMIN_PASSWORD", "the admin login"),
    ("JWT_SECRET", "the login of users"),
    ("REDIS_URL", "the shared cache"),
];

/// The variables of the process, and under them those of a `.env` file.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Things worth telling that stop nothing.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for Environment {
    /// Names only: values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// That of this process, and what `dot_env` adds to it if the file is there.
    ///
    /// # Errors
    /// A `.env` file that is there and cannot be read.
    pub fn of_process(dot_env: &Path) -> Result<Self, Mistakes> {
        let own = std::env::vars_os();
        let own = own.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut environment = Self {
            variables: own.collect(),
            notes: Vec::new(),
        };
        match std::fs::read_to_string(dot_env) {
            Ok(text) => environment.add_file(&text, &dot_env.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("{} cannot be read: {error}", dot_env.display());
                return Err(Mistake::at(Place::Nowhere, message).into());
            }
        }
        Ok(environment)
    }

    /// Exactly these variables: for tests.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            variables: variables.collect(),
            notes: Vec::new(),
        }
    }

    /// The variables that a file of `NAME=value` lines sets.
    pub fn of_text(text: &str, file: &str) -> Self {
        let mut environment = Self::default();
        environment.add_file(text, file);
        environment
    }

    /// The value of a variable, also if it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The value of a variable, unless it is empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    /// Lines of `NAME=value`, `export` and quotes allowed; `#` begins a comment. The process's own variables win.
    fn add_file(&mut self, text: &str, file: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let assigned = line.split_once('=').map(|(name, value)| (name.trim(), value));
            let read = match assigned {
                Some((name, value)) if is_name(name) => unquoted(value).map(|value| (name.to_owned(), value)),
                _ => Err("is not NAME=value"),
            };
            match read {
                Ok((name, value)) => drop(self.variables.entry(name).or_insert(value)),
                // The line may hold a secret: only its place is told.
                Err(why) => self
                    .notes
                    .push(format!("{file}:{}: {why}; the line is ignored", index + 1)),
            }
        }
    }

    /// Lays the variables that stand for keys over the file's tree. The longer names win, being the more exact ones.
    pub fn overlay(&self, tree: &mut Node) -> Vec<String> {
        for named in &NAMED {
            if let Some(value) = self.filled(named.variable) {
                let value = (named.convert)(value, tree);
                tree.set(named.path, Node::of_text(place(named.variable), value));
            }
        }
        for (name, value) in &self.variables {
            let Some(path) = path_of(name) else { continue };
            if value.trim().is_empty() {
                continue;
            }
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            tree.set(&path, Node::of_text(place(name), value.as_str()));
        }
        let later = LATER.iter().filter(|(name, _)| self.filled(name).is_some());
        let later = later.map(|(name, what)| format!("{name} is set, but {what} does not exist yet; it is ignored"));
        self.notes.iter().cloned().chain(later).collect()
    }
}

fn place(variable: &str) -> Place {
    Place::Named(Arc::from(format!("environment variable {variable}")))
}

/// `TOLLGATE_STORAGE__JOURNAL__DIR` → `storage`, `journal`, `dir`. Names without `__` are not ours: container platforms
/// set `TOLLGATE_PORT` and the like for a service of this name.
fn path_of(name: &str) -> Option<Vec<String>> {
    let path: Vec<String> = name
        .strip_prefix("TOLLGATE_")?
        .split("__")
        .map(str::to_ascii_lowercase)
        .collect();
    (path.len() > 1 && SECTIONS.contains(&path.first()?.as_str())).then_some(path)
}

fn as_is(value: &str, _: &Node) -> String {
    value.to_owned()
}

fn with_port(port: &str, tree: &Node) -> String {
    let listen = tree
        .get("server")
        .and_then(|server| server.get("listen"))
        .and_then(Node::text);
    let listen = listen.unwrap_or(super::file::LISTEN);
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    format!("{host}:{}", port.trim())
}

fn in_days(days: &str, _: &Node) -> String {
    let days = days.trim();
    if days.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{days}d")
    } else {
        days.to_owned()
    }
}

/// Whether a shell could have a variable of this name.
fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.is_empty() && name.bytes().all(inner)
}

fn unquoted(value: &str) -> Result<String, &'static str> {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let (inside, _) = rest
                .split_once(quote)
                .ok_or("has a quote that is not closed on this line")?;
            return Ok(inside.to_owned());
        }
    }
    Ok(value.split(" #").next().unwrap_or_default().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn overlaid(file: &str, variables: &[(&str, &str)]) -> (Node, Vec<String>) {
        let mut tree = yaml::parse(file).unwrap();
        let notes = Environment::of(variables.iter().copied()).overlay(&mut tree);
        (tree, notes)
    }

    fn text<'a>(tree: &'a Node, section: &str, key: &str) -> Option<&'a str> {
        tree.get(section)?.get(key)?.text()
    }

    #[test]
    fn variables_go_over_the_file() {
        let (tree, notes) = overlaid(
            "server: {listen: \"[::1]:80\"}\nstorage: {url: a}\n",
            &[
                ("PORT", "81"),
                ("DATABASE_URL", "b"),
                ("LOG_RETENTION_DAYS", "30"),
                ("REDIS_URL", "x"),
                ("ADMIN_TOKEN", ""),
            ],
        );
        assert_eq!(text(&tree, "server", "listen"), Some("[::1]:81"));
        assert_eq!(text(&tree, "storage", "url"), Some("b"));
        assert_eq!(text(&tree, "logs", "retention"), Some("30d"));
        assert_eq!(text(&tree, "security", "admin_token"), None);
        assert_eq!(
            notes,
            ["REDIS_URL is set, but the shared cache does not exist yet; it is ignored"]
        );
    }

    #[test]
    fn any_key_of_the_process_has_a_variable() {
        let (tree, _) = overlaid(
            "storage: {journal: {dir: a, keep: 7d}}\n",
            &[
                ("TOLLGATE_STORAGE__JOURNAL__DIR", "b"),
                ("TOLLGATE_PORT", "tcp://10.0.0.1:80"),
                ("PORT", "1"),
                ("TOLLGATE_SERVER__LISTEN", "0.0.0.0:2"),
                ("TOLLGATE_MODELS__X", "y"),
            ],
        );
        let journal = tree.get("storage").unwrap().get("journal").unwrap();
        assert_eq!(journal.get("dir").unwrap().text(), Some("b"));
        assert_eq!(journal.get("keep").unwrap().text(), Some("7d"));
        assert_eq!(text(&tree, "server", "listen"), Some("0.0.0.0:2"));
        assert!(tree.get("models").is_none());
    }

    #[test]
    fn a_dot_env_file_is_under_the_process() {
        let mut environment = Environment::of([("A", "own")]);
        environment.add_file(
            "# c\nA=file\nexport B=\"b # b\"\nC=c # comment\nD='d'\nnonsense\nE=\"sk-secret\nF='sk-secret\"\nG H=sk-secret\n=x\nI=i\n",
            ".env",
        );
        assert_eq!(
            ["A", "B", "C", "D", "E", "F", "I"].map(|name| environment.get(name)),
            [Some("own"), Some("b # b"), Some("c"), Some("d"), None, None, Some("i")]
        );
        assert_eq!(
            environment.notes,
            [
                ".env:6: is not NAME=value; the line is ignored",
                ".env:7: has a quote that is not closed on this line; the line is ignored",
                ".env:8: has a quote that is not closed on this line; the line is ignored",
                ".env:9: is not NAME=value; the line is ignored",
                ".env:10: is not NAME=value; the line is ignored",
            ]
        );
    }
}
