//! Configuration: the file, the environment and the flags, made into one thing that is known to be right.
//!
//! All three are laid over each other as trees of text with places ([`tree`]) before any type reads them, so that a
//! mistake in an environment variable is found by the same checks and told in the same words as one in the file.
//! serde alone would give up at the first mistake and forget where it was.

pub mod check;
pub mod environment;
pub mod expand;
pub mod file;
pub mod later;
pub mod mistake;
pub mod read;
pub mod schema;
pub mod size;
pub mod suggest;
pub mod tree;
pub mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::account::AccountDecl;
use domain::declaration::{
    BreakerDecl, CooldownDecl, CredentialDecl, Defaults, HealthDecl, KeyDecl, ModelDecl, TimeoutsDecl, UpstreamDecl,
    UserDecl,
};
use domain::{Groups, Provider, Secret, SystemPromptDecl, catalog};
use gateway::AddressRules;
use serde::Deserialize;

pub use environment::Environment;
pub use file::{LogFormat, Logs, Security, Server, Storage, SyncMode};
pub use mistake::{Mistake, Mistakes};

use file::KeyEntry;
use tree::{Node, Place};

/// The file that is read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "tollgate.yaml";

/// A configuration larger than this is none: read whole, it would only fill memory.
const FILE_MAX: u64 = 16 << 20;

/// The name of the credential of an upstream that was found in the environment.
const FOUND_CREDENTIAL: &str = "env";

/// How serde begins its message about a type that is one of several. Those are checked in `check_switches`.
const UNTAGGED: &str = "data did not match any variant";

/// A configuration that passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: Option<PathBuf>,
    /// There is no file, or not a word in it. `{}` is a word: who means nothing can say so.
    pub blank: bool,
    /// How clients reach it.
    pub server: Server,
    /// Where accounts and receipts are kept.
    pub storage: Storage,
    /// Secrets of the process.
    pub security: Security,
    /// Logs.
    pub logs: Logs,
    /// What a resource does where it does not say.
    pub defaults: Defaults,
    /// Text that the operator puts into conversations.
    pub system_prompt: SystemPromptDecl,
    /// Where families of models' names belong.
    pub groups: Groups,
    /// Provider presets of the operator's own.
    pub providers: Vec<Arc<Provider>>,
    /// What the operator says about kinds of accounts.
    pub accounts: Vec<AccountDecl>,
    /// Resources that belong to the file.
    pub declared: Declared,
    /// Upstreams for the providers whose keys are in the environment, where the file does not speak of upstreams.
    pub found: Vec<UpstreamDecl>,
    /// Where each resource's name stands, for mistakes that only the database knows of.
    pub names: Vec<DeclaredName>,
    /// The fallbacks of models that may be right, in the same way: whether anybody serves them, all resources say together.
    pub fallbacks: Vec<DeclaredName>,
    /// Names of pools of credentials.
    pub profiles: Vec<String>,
    /// Things worth telling that stop nothing.
    pub notes: Vec<String>,
}

/// A resource's name in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredName {
    /// `upstreams`, `models`, `users` or `keys`.
    pub section: &'static str,
    /// The name.
    pub name: String,
    /// What a mistake about it begins with: place and path.
    pub mistake: Mistake,
}

/// Resources that belong to the file.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// `None`: the file does not speak of upstreams, so those of the environment are taken.
    pub upstreams: Option<Vec<UpstreamDecl>>,
    /// Models.
    pub models: Vec<ModelDecl>,
    /// Users.
    pub users: Vec<UserDecl>,
    /// Keys.
    pub keys: Vec<KeyDecl>,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named on the command line; `None`: [`DEFAULT_FILE`], if it is there.
    pub file: Option<PathBuf>,
    /// Variables.
    pub environment: Environment,
    /// Flags: key, value, and the flag's name.
    pub flags: Vec<Flag>,
}

/// A flag that stands for a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key, as `server.listen`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The flag's name, as `--listen`.
    pub name: String,
}

impl Sources {
    /// Reads everything and checks it.
    ///
    /// # Errors
    /// Every mistake that was found, with its place.
    pub fn load(&self) -> Result<Config, Mistakes> {
        let (file, text) = self.read_file()?;
        let shown = file.as_ref().map(|path| path.display().to_string());
        let config = self.parse(&text).map_err(|mut mistakes| {
            // A variable that is missing may stand in a line that could not be read.
            let unread = self.environment.notes.iter();
            mistakes
                .all
                .extend(unread.map(|note| Mistake::at(Place::Nowhere, note)));
            match shown {
                Some(shown) => mistakes.in_file(shown),
                None => mistakes,
            }
        })?;
        Ok(Config { file, ..config })
    }

    fn read_file(&self) -> Result<(Option<PathBuf>, String), Mistakes> {
        let path = self.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match read_text(&path) {
            Ok(text) => Ok((Some(path), text)),
            Err(error) if self.file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok((None, String::new()))
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                Err(Mistake::at(Place::Nowhere, message).into())
            }
        }
    }

    /// Reads this text as the file, with the environment and the flags over it.
    ///
    /// # Errors
    /// Every mistake that was found, with its place.
    pub fn parse(&self, text: &str) -> Result<Config, Mistakes> {
        let mut tree = yaml::parse(text)?;
        let blank = !matches!(tree.value, tree::Value::Map(_));
        if blank {
            if !tree.is_nothing() {
                return Err(Mistake::at(tree.at, "the file must be a mapping, such as `server: {…}`").into());
            }
            tree = Node::empty();
        }
        let mut mistakes = Mistakes::default();
        expand::expand(&mut tree, &self.environment, &mut mistakes);
        let notes = self.environment.overlay(&mut tree);
        for flag in &self.flags {
            let path: Vec<&str> = flag.key.split('.').collect();
            tree.set(
                &path,
                Node::of_text(Place::Named(format!("flag {}", flag.name).into()), flag.value.as_str()),
            );
        }
        later::refuse(&mut tree, &mut mistakes);
        let config = read_tree(&tree, &self.environment, notes, &mut mistakes);
        mistakes.all.retain(|mistake| !mistake.message.starts_with(UNTAGGED));
        mistakes.or(Config { blank, ..config })
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_MAX {
        return Err(std::io::Error::other(format!(
            "it is larger than {} MiB",
            FILE_MAX >> 20
        )));
    }
    std::fs::read_to_string(path)
}

/// A resource and where it was declared.
#[derive(Debug)]
pub struct Listed<'a, T> {
    /// Its node.
    pub node: &'a Node,
    /// Its path, as `upstreams[0]`.
    pub path: String,
    /// What it says.
    pub decl: T,
}

fn read_tree(tree: &Node, environment: &Environment, notes: Vec<String>, mistakes: &mut Mistakes) -> Config {
    for entry in tree.entries() {
        if !file::SECTIONS.contains(&entry.key.as_str()) {
            mistakes.push(read::unknown_key(entry, "", &file::SECTIONS));
        }
    }
    let server = section(tree, "server", mistakes);
    let storage = section(tree, "storage", mistakes);
    let security = section(tree, "security", mistakes);
    let logs = section(tree, "logs", mistakes);
    let defaults = section(tree, "defaults", mistakes);
    let system_prompt: SystemPromptDecl = section(tree, "system_prompt", mistakes);
    let groups: Groups = section(tree, "groups", mistakes);
    let profiles: Vec<String> = section(tree, "profiles", mistakes);
    check_switches(tree, mistakes);
    let providers: Vec<Listed<'_, Provider>> = list(tree, "providers", mistakes);
    let accounts: Vec<Listed<'_, AccountDecl>> = list(tree, "accounts", mistakes);
    let upstreams: Vec<Listed<'_, UpstreamDecl>> = list(tree, "upstreams", mistakes);
    let models: Vec<Listed<'_, ModelDecl>> = list(tree, "models", mistakes);
    let users: Vec<Listed<'_, UserDecl>> = list(tree, "users", mistakes);
    let keys: Vec<Listed<'_, KeyEntry>> = list(tree, "keys", mistakes);
    check::process(tree, &server, &storage, &security, &logs, &defaults, mistakes);
    check::providers(&providers, mistakes);
    let own: Vec<&Provider> = providers.iter().map(|listed| &listed.decl).collect();
    check::accounts(&accounts, &own, mistakes);
    check::upstreams(&upstreams, &own, mistakes);
    let rules = AddressRules {
        allow: security.allow_upstream_cidrs.clone(),
    };
    check::upstream_addresses(&upstreams, &rules, mistakes);
    check::target_addresses(&models, &rules, mistakes);
    check::groups(tree, &groups, &upstreams, mistakes);
    let found = if tree.get("upstreams").is_none() {
        found(environment, &own)
    } else {
        Vec::new()
    };
    let names = check::names_in(tree, "upstreams")
        .into_iter()
        .chain(found.iter().map(|decl| decl.name.as_str()));
    check::models(&models, &names.collect::<Vec<_>>(), mistakes);
    check::fallbacks(&models, &[], mistakes);
    check::users(&users, mistakes);
    check::keys(&keys, &check::names_in(tree, "users"), mistakes);
    check::profiles(tree, &profiles, &upstreams, &keys, mistakes);
    Config {
        file: None,
        blank: false,
        server,
        storage,
        security,
        logs,
        defaults,
        system_prompt,
        groups,
        providers: taken(providers).map(Arc::new).collect(),
        accounts: taken(accounts).collect(),
        declared: Declared {
            upstreams: tree.get("upstreams").map(|_| taken(upstreams).collect()),
            models: taken(models).collect(),
            users: taken(users).collect(),
            keys: taken(keys).map(KeyDecl::from).collect(),
        },
        found,
        names: declared_names(tree),
        fallbacks: declared_fallbacks(tree),
        profiles,
        notes,
    }
}

/// An upstream for each provider whose key is in the environment. The operator's own presets go first.
fn found(environment: &Environment, own: &[&Provider]) -> Vec<UpstreamDecl> {
    let builtin = catalog::providers().iter().map(|provider| &**provider);
    let builtin = builtin.filter(|provider| !own.iter().any(|own| own.name.eq_ignore_ascii_case(&provider.name)));
    own.iter()
        .copied()
        .chain(builtin)
        .filter_map(|provider| {
            let key = provider.env.iter().find_map(|name| environment.filled(name))?;
            let key = Secret::new(key.trim());
            let credential = CredentialDecl::new(FOUND_CREDENTIAL, key);
            Some(UpstreamDecl {
                credentials: vec![credential],
                ..upstream_of(&provider.name)
            })
        })
        .collect()
}

/// An upstream that is what its provider's preset says.
pub fn upstream_of(provider: &str) -> UpstreamDecl {
    UpstreamDecl {
        name: provider.to_owned(),
        provider: Some(provider.to_owned()),
        base_url: None,
        dialect: None,
        variables: BTreeMap::new(),
        group: None,
        priority: 0,
        weight: 1,
        strategy: None,
        credentials: Vec::new(),
        models: None,
        headers: BTreeMap::new(),
        params: BTreeMap::new(),
        proxy: None,
        ca: None,
        timeouts: TimeoutsDecl::default(),
        breaker: None,
        cooldown: None,
        health: None,
    }
}

fn declared_names(tree: &Node) -> Vec<DeclaredName> {
    let mut names = Vec::new();
    for section in ["upstreams", "models", "users", "keys"] {
        let elements = tree.get(section).map_or(&[][..], Node::elements);
        for (index, node) in elements.iter().enumerate() {
            if let Some(name) = node.get("name").and_then(Node::text) {
                let mistake = Mistake::of(node.place_of("name"), format!("{section}[{index}].name"), "");
                names.push(DeclaredName {
                    section,
                    name: name.to_owned(),
                    mistake,
                });
            }
        }
    }
    names
}

fn declared_fallbacks(tree: &Node) -> Vec<DeclaredName> {
    let models = tree.get("models").map_or(&[][..], Node::elements);
    let mut fallbacks = Vec::new();
    for (model, node) in models.iter().enumerate() {
        let elements = node.get("fallbacks").map_or(&[][..], Node::elements);
        for (index, node) in elements.iter().enumerate() {
            if let Some(name) = node.text() {
                let path = format!("models[{model}].fallbacks[{index}]");
                fallbacks.push(DeclaredName {
                    section: "models",
                    name: name.to_owned(),
                    mistake: Mistake::of(node.at.clone(), path, ""),
                });
            }
        }
    }
    fallbacks
}

fn taken<T>(listed: Vec<Listed<'_, T>>) -> impl Iterator<Item = T> {
    listed.into_iter().map(|listed| listed.decl)
}

fn section<'a, T: Default + Deserialize<'a>>(tree: &'a Node, name: &str, mistakes: &mut Mistakes) -> T {
    tree.get(name)
        .and_then(|node| read::read(node, name, mistakes))
        .unwrap_or_default()
}

fn list<'a, T: Deserialize<'a>>(tree: &'a Node, name: &str, mistakes: &mut Mistakes) -> Vec<Listed<'a, T>> {
    let Some(node) = tree.get(name) else { return Vec::new() };
    if !matches!(node.value, tree::Value::List(_)) {
        if !node.is_nothing() {
            mistakes.push(Mistake::of(
                node.at.clone(),
                name,
                "takes a list; begin each element with `- `",
            ));
        }
        return Vec::new();
    }
    let elements = node.elements().iter().enumerate();
    elements
        .filter_map(|(index, node)| {
            let path = format!("{name}[{index}]");
            read::read(node, &path, mistakes).map(|decl| Listed { node, path, decl })
        })
        .collect()
}

/// `breaker`, `cooldown` and `health` take a mapping or the word `off`. serde tries both and says only that neither fits, so the
/// mapping is read beforehand, for its mistakes.
fn check_switches(tree: &Node, mistakes: &mut Mistakes) {
    for (index, upstream) in tree.get("upstreams").map_or(&[][..], Node::elements).iter().enumerate() {
        for key in ["breaker", "cooldown", "health"] {
            let Some(node) = upstream.get(key) else { continue };
            let path = format!("upstreams[{index}].{key}");
            match node.text() {
                Some("off") => {}
                Some(_) if !node.is_nothing() => {
                    mistakes.push(Mistake::of(
                        node.at.clone(),
                        path,
                        "takes settings, such as {…: …}, or off",
                    ));
                }
                _ if key == "breaker" => drop(read::read::<BreakerDecl>(node, &path, mistakes)),
                _ if key == "health" => drop(read::read::<HealthDecl>(node, &path, mistakes)),
                _ => drop(read::read::<CooldownDecl>(node, &path, mistakes)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
