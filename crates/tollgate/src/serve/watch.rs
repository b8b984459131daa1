//! Following changes: of the file, told by the system or by SIGHUP; of the database, found by its revision.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway::Gateway;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Setup;
use super::world::World;
use crate::config::{Config, Server};

/// A command's change is in force within a second: this, and the time to build a snapshot.
const POLL: Duration = Duration::from_millis(500);

/// Editors write a file in several steps; the last one counts.
const SETTLE: Duration = Duration::from_millis(150);

/// One pending notice is as good as many.
const NOTICES_MAX: usize = 1;

/// What Kubernetes renames when it replaces the files of a mounted folder.
const KUBERNETES_LINK: &str = "..data";

/// What is followed, and who is told.
pub(crate) struct Followed {
    pub(crate) setup: Setup,
    /// SIGHUP; waited for before anybody can find the server, because by default it ends a process.
    pub(crate) hangup: Signal,
    pub(crate) file: PathBuf,
    /// The file as it was when the configuration in force was read.
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) world: World,
    pub(crate) gateway: Gateway,
    pub(crate) shutdown: CancellationToken,
}

/// Follows until the server stops.
pub(crate) async fn follow(mut followed: Followed) {
    let (notice, mut notices) = mpsc::channel(NOTICES_MAX);
    let _watcher = match watch(&followed.file, notice) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "changes of the configuration file are not noticed; send SIGHUP after one");
            None
        }
    };
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = State {
        text: followed.text.take(),
        pending: None,
        database_away: false,
    };
    // What changed between the start and the watching made no event.
    followed.look(&mut state).await;
    loop {
        tokio::select! {
            () = followed.shutdown.cancelled() => return,
            _ = followed.hangup.recv() => {
                tracing::info!("SIGHUP: reading the configuration again");
                followed.reload(&mut state).await;
            }
            Some(()) = notices.recv() => {
                tokio::time::sleep(SETTLE).await;
                followed.look(&mut state).await;
            }
            _ = poll.tick() => followed.poll(&mut state).await,
        }
    }
}

struct State {
    /// The file as it was read last: an event without a change is none.
    text: Option<Vec<u8>>,
    /// A configuration that is right and waits for the database.
    pending: Option<Config>,
    database_away: bool,
}

impl Followed {
    /// Reads the configuration again if the file is another than before.
    async fn look(&mut self, state: &mut State) {
        let text = read(&self.file);
        if text != state.text {
            state.text = text;
            self.reload(state).await;
        }
    }

    /// Reads the configuration again. One that is wrong changes nothing.
    async fn reload(&mut self, state: &mut State) {
        let loaded = self.setup.load().map(|loaded| loaded.config);
        let mut config = match loaded.and_then(|config| self.not_lost(config)) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(
                    "the new configuration is refused, the old one serves on: {}",
                    format!("{error:#}").replace('\n', "; ")
                );
                return;
            }
        };
        // The secrets of a running process do not change.
        config
            .security
            .encryption_key
            .clone_from(&self.world.config().security.encryption_key);
        config
            .security
            .admin_token
            .clone_from(&self.world.config().security.admin_token);
        tell_what_waits(self.world.config(), &config);
        state.pending = Some(config);
        self.poll(state).await;
    }

    /// Refuses a file that vanished or was emptied: far more often it is being written, or was lost, than nothing is
    /// wanted any more; and to believe it would archive every upstream, user and key.
    fn not_lost(&self, new: Config) -> anyhow::Result<Config> {
        let file = self.file.display();
        match &new.file {
            _ if self.world.config().blank || !new.blank => Ok(new),
            None => anyhow::bail!("{file} is gone; put it back, or restart to serve without it"),
            Some(_) => anyhow::bail!("{file} is empty; write it again, or write {{}} into it to declare nothing"),
        }
    }

    async fn poll(&mut self, state: &mut State) {
        let changed = match state.pending.take() {
            Some(config) => match self.world.adopt(config.clone()).await {
                Err(error) if error.is_away() => {
                    state.pending = Some(config);
                    Err(error)
                }
                Err(error) => {
                    tracing::error!("the new configuration is refused, the old one serves on: {error}");
                    return;
                }
                adopted => adopted.map(Some),
            },
            None => self.world.refresh().await,
        };
        match changed {
            Ok(snapshot) => {
                if std::mem::take(&mut state.database_away) {
                    tracing::info!("the database is back");
                }
                if let Some(snapshot) = snapshot {
                    self.gateway.publish(Arc::clone(&snapshot));
                    // Afterwards: whoever reads it may rely on it.
                    tracing::info!(
                        revision = snapshot.revision,
                        upstreams = snapshot.upstreams.len(),
                        keys = snapshot.keys.len(),
                        "changes are in force"
                    );
                }
            }
            Err(error) if !state.database_away => {
                state.database_away = true;
                tracing::warn!(%error, "changes cannot be read; calls go on with what is known");
            }
            Err(_) => {}
        }
    }
}

/// What a running process cannot change is named, so that nobody waits for it.
fn tell_what_waits(old: &Config, new: &Config) {
    let server = Server {
        request_timeout: old.server.request_timeout,
        ..new.server.clone()
    } != old.server;
    let parts = [
        ("server", server),
        ("storage", new.storage != old.storage),
        ("security", new.security != old.security),
        ("logs", new.logs != old.logs),
    ];
    for (section, _) in parts.iter().filter(|(_, changed)| *changed) {
        tracing::warn!("`{section}` changed in the configuration; restart to put that in force");
    }
}

/// The file's bytes; `None` where there is none.
pub(crate) fn read(file: &Path) -> Option<Vec<u8>> {
    std::fs::read(file).ok()
}

/// Watches the folder, not the file: a file that is replaced by renaming is another file.
fn watch(file: &Path, notice: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let concerns = move |event: &Event| {
        event
            .paths
            .iter()
            .filter_map(|path| path.file_name())
            .any(|changed| Some(changed) == name.as_deref() || changed == KUBERNETES_LINK)
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| !event.kind.is_access() && concerns(&event)) {
            // Full: a notice is pending already.
            notice.try_send(()).ok();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
