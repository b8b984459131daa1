//! A server from its parts: opened in the order in which they need each other, stopped in the opposite one.
//!
//! Nothing is decided here. The journal is opened before the first connection is accepted, so that a second process on
//! the same data is refused at once; the settler has counted the journal's backlog before that, so that nobody spends
//! money twice over a restart; and it stops last, when no call is left that could write a receipt.

mod credentials;
mod first_start;
mod logs;
mod retention;
mod signals;
mod watch;
pub(crate) mod world;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use domain::{CredentialId, NamedRests, Timestamp};
use gateway::{AddressRules, BacklogProbe, Gateway, GatewayOptions, ServeOptions, SystemResolver};
use metering::Accounts;
use store::{Journal, JournalOptions, KeyRing, Origin, Settler, Store, StoreError, StoreOptions, VaultError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::output;
use crate::config::{Config, DEFAULT_FILE, Sources, SyncMode};
use crate::logins::{self, Logins};
use crate::secrets::{self, Make};
use world::World;

/// A journal's segment: large enough that files stay few, small enough that booked ones go soon.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Reads the sources anew: at the start, and again when the file changes.
type ReadSources = Arc<dyn Fn() -> anyhow::Result<Sources> + Send + Sync>;

/// What to serve.
#[derive(Clone)]
pub(crate) struct Setup {
    sources: ReadSources,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Setup")
    }
}

impl Setup {
    /// `sources` is asked again on every reload.
    pub(crate) fn new(sources: impl Fn() -> anyhow::Result<Sources> + Send + Sync + 'static) -> Self {
        Self {
            sources: Arc::new(sources),
        }
    }

    /// The configuration as it is now.
    fn load(&self) -> anyhow::Result<Loaded> {
        let sources = (self.sources)()?;
        let file = sources.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let text = watch::read(&file);
        let config = sources.load()?;
        Ok(Loaded { config, file, text })
    }
}

/// A configuration and where it came from.
struct Loaded {
    config: Config,
    /// The file that it depends on, there or not.
    file: PathBuf,
    /// What the file said just before it was read: compared with what it says later.
    text: Option<Vec<u8>>,
}

/// The runtime of a server: as many workers as cores.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// How the journal is opened.
pub(crate) fn journal_options(config: &Config) -> JournalOptions {
    let journal = &config.storage.journal;
    let sync = match journal.sync {
        SyncMode::Os => store::Sync::Os,
        SyncMode::Interval => store::Sync::Interval,
        SyncMode::Always => store::Sync::Always,
    };
    JournalOptions {
        dir: journal.dir.clone(),
        sync,
        keep: journal.keep.0,
        segment_bytes: SEGMENT_BYTES,
    }
}

/// Serves until a signal says stop.
pub(crate) async fn run(setup: Setup) -> anyhow::Result<()> {
    let Loaded { mut config, file, text } = setup.load()?;
    secrets::complete(&mut config, Make::IfMissing)?;
    let _logs = logs::start(&config.logs)?;
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    let hangup = signal(SignalKind::hangup())?;
    let shutdown = CancellationToken::new();
    signals::cancel_on_stop(shutdown.clone())?;
    let listener = bind(&config.server.listen).await?;
    let url = url_of(&config.server.listen, &listener)?;
    let store = open_store(&config, Opening::OrMake).await?;
    // Locks its folder: a second server is refused before it changes anything.
    let journal = Arc::new(Journal::open(&journal_options(&config))?);
    // So is one whose journal belongs to another database.
    Settler::bind(&store, &journal).await?;
    let mut world = World::open(config.clone(), &store).await?;
    if first_start::greet(&store, &world, &url).await? {
        world.refresh().await?;
    }
    // After the file is applied: the opening credits that it gives must count from the first call on.
    let parts = Parts::open(store, journal).await?;
    let gateway = parts.gateway(&config, &world);
    let owed = gateway.resume().await?;
    if owed > 0 {
        tracing::info!(owed, "responses in the background are not billed yet");
    }
    let booked = tokio::spawn(parts.settler.run(shutdown_of(&parts.stop_settling)));
    let stop_remembering = CancellationToken::new();
    let remembered = {
        let (gateway, stop) = (gateway.clone(), stop_remembering.clone());
        tokio::spawn(async move { gateway.remember(stop).await })
    };
    let looked_after = {
        let (gateway, stop) = (gateway.clone(), shutdown.clone());
        tokio::spawn(async move { gateway.look_after(stop).await })
    };

    let control = admin::router(admin::AdminOptions {
        store: parts.store.clone(),
        accounts: Arc::clone(&parts.accounts),
        current: current(&gateway),
        logins: logins::for_api(Logins::new(parts.store.clone(), &config, Origin::Api), &gateway),
        admin_token: config.security.admin_token.clone(),
        master_key: config.security.master_key.clone(),
    });
    let follow = tokio::spawn(watch::follow(watch::Followed {
        setup,
        hangup,
        file,
        text,
        world,
        gateway: gateway.clone(),
        shutdown: shutdown.clone(),
    }));
    let keep = tokio::spawn(credentials::keep(
        gateway.clone(),
        parts.store.clone(),
        shutdown.clone(),
    ));
    let (keeping, stopping) = (gateway.clone(), shutdown_of(&shutdown));
    let accounts = tokio::spawn(async move { keeping.keep_accounts(stopping).await });
    let clean = tokio::spawn(retention::keep_clean(
        parts.store.clone(),
        config.logs.retention.0,
        shutdown.clone(),
    ));
    let look_after = tokio::spawn(gateway.clone().look_after_upstreams(shutdown.clone()));
    tracing::info!(%url, version = env!("CARGO_PKG_VERSION"), "ready");

    let served = gateway::serve(
        gateway,
        ServeOptions {
            listener,
            control,
            shutdown: shutdown.clone(),
            drain_limit: None,
        },
    );
    let all_ended = served.await;
    tracing::info!(all_ended, "no more calls; booking the last receipts");
    shutdown.cancel();
    // Tasks that only watch: whether they ended well no longer matters.
    drop((
        follow.await,
        keep.await,
        clean.await,
        accounts.await,
        look_after.await,
        looked_after.await,
    ));
    stop_remembering.cancel();
    drop(remembered.await);
    parts.stop_settling.cancel();
    booked
        .await
        .context("the settler broke; its receipts are safe in the journal")?;
    parts.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What is open while serving.
struct Parts {
    store: Store,
    journal: Arc<Journal>,
    accounts: Arc<Accounts>,
    settler: Settler,
    /// What providers named before of credentials' rests.
    named_rests: Vec<(CredentialId, i64, NamedRests)>,
    /// A day, and how often each credential was used on it before.
    credential_uses: (i64, HashMap<CredentialId, u64>),
    stop_settling: CancellationToken,
}

impl Parts {
    async fn open(store: Store, journal: Arc<Journal>) -> anyhow::Result<Self> {
        let accounts = Arc::new(Accounts::new());
        let mut settler = Settler::start(store.clone(), Arc::clone(&journal), Arc::clone(&accounts)).await?;
        let today = now().day();
        let mut uses = settler.uses_waiting(today)?;
        for (credential, booked) in store.credentials().uses(today).await? {
            *uses.entry(credential).or_default() += booked;
        }
        let named_rests = store.credentials().named_rests().await?;
        Ok(Self {
            store,
            named_rests,
            journal,
            accounts,
            settler,
            credential_uses: (today, uses),
            stop_settling: CancellationToken::new(),
        })
    }

    fn gateway(&self, config: &Config, world: &World) -> Gateway {
        let watch = self.settler.backlog();
        let backlog = move || {
            let status = watch.status();
            (status.receipts_waiting, status.error)
        };
        let gateway = Gateway::new(GatewayOptions {
            snapshot: world.snapshot(),
            hasher: self.store.hasher(),
            journal: Arc::clone(&self.journal),
            accounts: Arc::clone(&self.accounts),
            address_rules: AddressRules {
                allow: config.security.allow_upstream_cidrs.clone(),
            },
            resolver: Arc::new(SystemResolver),
            master_key: config.security.master_key.clone(),
            admin_token: config.security.admin_token.clone(),
            body_limit: config.server.body_limit.0 as usize,
            body_budget: config.server.body_budget.0 as usize,
            fetch_urls: config.server.fetch_urls,
            cors_origins: config.server.cors_origins.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            store: self.store.clone(),
            keep_conversations: config.storage.conversations.keep.0,
            keep_decisions: config.logs.decisions,
            backlog: BacklogProbe(Arc::new(backlog)),
            credential_uses: self.credential_uses.clone(),
        });
        let (board, named) = (gateway.board(), self.named_rests.iter().cloned());
        board.restore_named(&gateway.snapshot(), named, now());
        gateway
    }
}

/// What becomes of a database that is not there, and of an older schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It is made; an older schema is brought up to date.
    OrMake,
    /// Both are refused: who looks at the wrong place must not be told that all is well, and who only looks must not change
    /// under a running server what that one works with.
    AsItIs,
}

/// Opens the database of a configuration whose secrets are complete.
pub(crate) async fn open_store(config: &Config, opening: Opening) -> anyhow::Result<Store> {
    let key = config
        .security
        .encryption_key
        .as_ref()
        .context("there is no ENCRYPTION_KEY; set it")?;
    if opening == Opening::OrMake
        && let Some(path) = secrets::sqlite_path(&config.storage.url)
    {
        secrets::private_dir(path.parent().unwrap_or("".as_ref()))?;
    }
    let ring = KeyRing::parse(key.expose())?;
    let options = StoreOptions {
        url: config.storage.url.clone(),
        ring,
        max_connections: 0,
        migrate: opening == Opening::OrMake,
    };
    let opened = match opening {
        Opening::OrMake => Store::open(&options).await,
        Opening::AsItIs => Store::open_existing(&options).await,
    };
    opened.map_err(|error| match secrets::other_kept(config) {
        Some(kept) if is_other_key(&error) => {
            let kept = kept.display();
            let mend = format!("{kept} holds another ENCRYPTION_KEY than the one given; give that one in its place");
            anyhow::Error::new(error).context(mend)
        }
        _ => error.into(),
    })
}

/// Whether the database was sealed under another `ENCRYPTION_KEY`.
pub(crate) fn is_other_key(error: &StoreError) -> bool {
    matches!(error, StoreError::Vault(VaultError::OtherKey { .. }))
}

/// What the control plane may ask of the data plane.
fn current(gateway: &Gateway) -> admin::Current {
    let (one, other, third, fourth) = (gateway.clone(), gateway.clone(), gateway.clone(), gateway.clone());
    admin::Current {
        snapshot: Arc::new(move || one.snapshot()),
        standing: Arc::new(move || (other.board().upstreams(now()), other.board().credentials(now()))),
        decide: Arc::new(move |route, asked| routing::dry_run(route, asked, third.board(), now(), rand::random())),
        checkup: Arc::new(move |of| {
            let gateway = fourth.clone();
            Box::pin(async move {
                let done = gateway.checkup(&of.upstream, of.credential.as_deref(), of.model.as_deref());
                done.await.map(shown)
            })
        }),
    }
}

fn shown(checkup: gateway::Checkup) -> admin::checkup::Checkup {
    let ok = checkup.is_well();
    let steps = checkup.steps.into_iter().map(|step| admin::checkup::Step {
        name: step.name.to_owned(),
        ok: step.found.is_ok(),
        took_us: u64::try_from(step.took.as_micros()).unwrap_or(u64::MAX),
        found: step.found.unwrap_or_else(|wrong| wrong),
    });
    admin::checkup::Checkup {
        ok,
        steps: steps.collect(),
        upstream: checkup.upstream,
        credential: checkup.credential,
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

fn shutdown_of(token: &CancellationToken) -> impl Future<Output = ()> + Send + use<> {
    token.clone().cancelled_owned()
}

async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(listen).await;
    bound
        .with_context(|| format!("cannot listen on {listen}; stop what uses the port, or choose another with --listen"))
}

/// Where people of this machine find it.
fn url_of(listen: &str, listener: &TcpListener) -> anyhow::Result<String> {
    let port = listener.local_addr()?.port();
    let host = match listen.rsplit_once(':').map_or(listen, |(host, _)| host) {
        "0.0.0.0" | "[::]" => "127.0.0.1",
        host => host,
    };
    Ok(format!("http://{host}:{port}"))
}

/// Tells people at the terminal, apart from the log.
fn tell(text: &str) -> anyhow::Result<()> {
    output::print(text)
}
