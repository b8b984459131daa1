//! What is declared, from the file and from the database, as the snapshot that calls see.

use std::sync::Arc;

use domain::Snapshot;
use domain::account::AccountMode;
use domain::declaration::UpstreamDecl;
use domain::snapshot::{Problem, Resources};
use store::{Applied, FileResources, Origin, Store, StoreError};

use crate::config::{Config, upstream_of};

/// The built-in provider, and the upstream that stands in where there is no other.
const DEMO: &str = "demo";

/// The current configuration and what calls see of it.
#[derive(Debug)]
pub(crate) struct World {
    store: Store,
    config: Config,
    snapshot: Arc<Snapshot>,
}

impl World {
    /// Applies the file and builds the first snapshot.
    pub(crate) async fn open(config: Config, store: &Store) -> anyhow::Result<Self> {
        let applied = apply(&config, store).await?;
        log_applied(&applied);
        let snapshot = Arc::new(snapshot(store, &config).await?);
        log_problems(&[], &snapshot.problems);
        Ok(Self {
            store: store.clone(),
            config,
            snapshot,
        })
    }

    /// What calls see.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Puts another configuration in force. On an error everything stays as it was.
    pub(crate) async fn adopt(&mut self, config: Config) -> Result<Arc<Snapshot>, StoreError> {
        log_applied(&apply(&config, &self.store).await?);
        self.rebuild(config).await
    }

    /// A new snapshot, if anybody changed anything since the last.
    pub(crate) async fn refresh(&mut self) -> Result<Option<Arc<Snapshot>>, StoreError> {
        if self.store.revision().await? == self.snapshot.revision {
            return Ok(None);
        }
        let config = self.config.clone();
        self.rebuild(config).await.map(Some)
    }

    async fn rebuild(&mut self, config: Config) -> Result<Arc<Snapshot>, StoreError> {
        let fresh = Arc::new(snapshot(&self.store, &config).await?);
        log_problems(&self.snapshot.problems, &fresh.problems);
        self.snapshot = Arc::clone(&fresh);
        self.config = config;
        Ok(fresh)
    }
}

/// Everything declared now.
pub(crate) async fn snapshot(store: &Store, config: &Config) -> Result<Snapshot, StoreError> {
    Ok(built(store.resources(config.defaults).await?, config))
}

/// What calls would see if this configuration were in force. Nothing is changed.
pub(crate) async fn snapshot_with(store: &Store, config: &Config) -> Result<Snapshot, StoreError> {
    let file = file_resources(config, store).await?;
    Ok(built(store.resources_with(file, config.defaults).await?, config))
}

fn built(mut resources: Resources, config: &Config) -> Snapshot {
    resources.system_prompt.clone_from(&config.system_prompt);
    resources.groups.clone_from(&config.groups);
    resources.request_timeout = Some(config.server.request_timeout.0);
    resources.providers.clone_from(&config.providers);
    // What is wrong with a mode was told when the configuration was read.
    (resources.account_modes, _) = AccountMode::all(&config.accounts);
    Snapshot::build(resources)
}

async fn apply(config: &Config, store: &Store) -> Result<Applied, StoreError> {
    store.apply_file(file_resources(config, store).await?).await
}

/// What belongs to the file.
async fn file_resources(config: &Config, store: &Store) -> Result<FileResources, StoreError> {
    let declared = &config.declared;
    let upstreams = match &declared.upstreams {
        Some(upstreams) => upstreams.clone(),
        None => found(config, store).await?,
    };
    let (users, keys, models) = (declared.users.clone(), declared.keys.clone(), declared.models.clone());
    Ok(FileResources {
        users,
        keys,
        upstreams,
        models,
    })
}

/// Upstreams where the file does not speak of them: those of the environment, unless somebody made one of that name;
/// and where there is none at all, the demonstration, so that a newcomer has an answer.
async fn found(config: &Config, store: &Store) -> Result<Vec<UpstreamDecl>, StoreError> {
    let others: Vec<_> = store
        .upstreams()
        .list()
        .await?
        .into_iter()
        .filter(|record| record.origin != Origin::File)
        .collect();
    let taken = |decl: &UpstreamDecl| others.iter().any(|other| other.name.eq_ignore_ascii_case(&decl.name));
    let mut upstreams: Vec<UpstreamDecl> = config.found.iter().filter(|decl| !taken(decl)).cloned().collect();
    if upstreams.is_empty() && others.is_empty() {
        upstreams.push(upstream_of(DEMO));
    }
    Ok(upstreams)
}

fn log_applied(applied: &Applied) {
    if !applied.is_empty() {
        let list = |names: &[String]| names.join(", ");
        tracing::info!(
            added = list(&applied.added),
            changed = list(&applied.changed),
            archived = list(&applied.archived),
            "the declared resources were applied"
        );
    }
}

/// Tells what was set aside, once.
fn log_problems(known: &[Problem], now: &[Problem]) {
    for problem in now.iter().filter(|problem| !known.contains(problem)) {
        tracing::error!(resource = problem.resource, "set aside: {}", problem.message);
    }
}
