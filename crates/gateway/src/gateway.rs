//! What all calls share.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::snapshot::Key;
use domain::{CredentialId, KeepDecisions, KeyId, Secret, Snapshot};
use http::HeaderValue;
use metering::{Accounts, KeyLimiter};
use parking_lot::RwLock;
use routing::Board;
use store::{Journal, KeyHasher, Store};
use tokio_util::sync::CancellationToken;

use crate::budget::{Arriving, Budget};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::realtime::Sessions;
use crate::recall::{Recall, batches, jobs};
use crate::stop::{Stage, Stop};
use crate::upstream::auth::accounts::{self, AccountTokens};
use crate::upstream::auth::tokens::Tokens;
use crate::upstream::client::UpstreamClient;
use crate::upstream::{AddressRules, Resolve};

/// What a gateway is made of.
#[derive(Debug)]
pub struct GatewayOptions {
    /// The world to begin with.
    pub snapshot: Arc<Snapshot>,
    /// Hashes presented keys as the store did.
    pub hasher: KeyHasher,
    /// Where receipts go.
    pub journal: Arc<Journal>,
    /// Balances, with the backlog already counted.
    pub accounts: Arc<Accounts>,
    /// Outbound addresses allowed beyond the public internet.
    pub address_rules: AddressRules,
    /// Finds addresses of host names.
    pub resolver: Arc<dyn Resolve>,
    /// `security.master_key`: authorises every request as a built-in unlimited user.
    pub master_key: Option<Secret>,
    /// `security.admin_token`: opens `/metrics`.
    pub admin_token: Option<Secret>,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// All request bodies together, in bytes.
    pub body_budget: usize,
    /// Whether files that requests name by their addresses are fetched for targets that want bytes.
    pub fetch_urls: bool,
    /// Origins of browsers that may call; `*` for any.
    pub cors_origins: Vec<String>,
    /// Proxies whose `x-forwarded-for` is believed when a key is bound to addresses.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Where it is remembered what lives on after its call.
    pub store: Store,
    /// How long conversations are kept; zero: not at all.
    pub keep_conversations: Duration,
    /// Of which calls it is kept why they went where they went.
    pub keep_decisions: KeepDecisions,
    /// Receipts journalled and not yet in the ledger, for `/metrics` and `/readyz`.
    pub backlog: BacklogProbe,
    /// A day (UTC, counted from the epoch), and how often each credential was used on it before this process began.
    pub credential_uses: (i64, HashMap<CredentialId, u64>),
}

/// Asks how many receipts wait for the ledger, and what the settler's last error was.
#[derive(Clone)]
pub struct BacklogProbe(pub Arc<dyn Fn() -> (u64, Option<String>) + Send + Sync>);

impl fmt::Debug for BacklogProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BacklogProbe")
    }
}

/// The data plane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

/// The shared state behind every call.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) hasher: KeyHasher,
    pub(crate) journal: Arc<Journal>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) board: Board,
    pub(crate) client: UpstreamClient,
    pub(crate) tokens: Tokens,
    pub(crate) account_tokens: AccountTokens,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) bodies: Budget,
    /// Those that are still on their way.
    pub(crate) arriving: Arriving,
    pub(crate) body_limit: usize,
    pub(crate) fetches_urls: bool,
    pub(crate) keep_decisions: KeepDecisions,
    pub(crate) master: Option<Master>,
    pub(crate) admin_token: Option<store::KeyHash>,
    pub(crate) cors_origins: Vec<HeaderValue>,
    pub(crate) trusted_proxies: Vec<ipnet::IpNet>,
    pub(crate) backlog: BacklogProbe,
    pub(crate) recall: Recall,
    pub(crate) sessions: Sessions,
    pub(crate) stop: Stop,
    /// Told when an attempt failed: the board may know something that is to be kept.
    pub(crate) failed: tokio::sync::Notify,
    limiters: RwLock<HashMap<KeyId, Arc<KeyLimiter>>>,
}

/// The built-in key that is `security.master_key`.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) hash: store::KeyHash,
    pub(crate) key: Arc<Key>,
}

impl Gateway {
    /// A gateway that is ready for calls.
    pub fn new(options: GatewayOptions) -> Self {
        let hasher = options.hasher;
        let master = options.master_key.map(|secret| Master {
            hash: hasher.hash(secret.expose()),
            key: Arc::new(Key::master()),
        });
        let admin_token = options.admin_token.map(|secret| hasher.hash(secret.expose()));
        let cors_origins = options
            .cors_origins
            .iter()
            .filter_map(|origin| HeaderValue::try_from(origin).ok())
            .collect();
        let (board, clock) = (Board::new(), Clock::start());
        let (day, uses) = options.credential_uses;
        board.follow(&options.snapshot);
        board.restore(&options.snapshot, day, uses, clock.now());
        let inner = Inner {
            snapshot: ArcSwap::new(options.snapshot),
            hasher,
            journal: options.journal,
            accounts: options.accounts,
            board,
            client: UpstreamClient::new(options.address_rules, options.resolver),
            tokens: Tokens::default(),
            account_tokens: AccountTokens::default(),
            store: options.store.clone(),
            metrics: Metrics::new(),
            clock,
            bodies: Budget::new(options.body_budget),
            // A body that is allowed by itself always may.
            arriving: Arriving::new((options.body_budget / 2).max(options.body_limit)),
            body_limit: options.body_limit,
            fetches_urls: options.fetch_urls,
            keep_decisions: options.keep_decisions,
            master,
            admin_token,
            cors_origins,
            trusted_proxies: options.trusted_proxies,
            backlog: options.backlog,
            recall: Recall::new(options.store, options.keep_conversations),
            sessions: Sessions::new(),
            stop: Stop::default(),
            failed: tokio::sync::Notify::new(),
            limiters: RwLock::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes a new world current. Calls under way keep theirs.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let mut limiters = self.inner.limiters.write();
        let known: std::collections::HashSet<KeyId> = snapshot.keys.values().map(|key| key.id).collect();
        limiters.retain(|id, _| *id == KeyId::MASTER || known.contains(id));
        drop(limiters);
        self.inner.board.follow(&snapshot);
        self.inner.board.adopt(&snapshot, self.inner.clock.now());
        self.inner.snapshot.store(snapshot);
    }

    /// The current world.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }

    /// Renews the tokens of accounts ahead of their end, until `shutdown`.
    pub async fn keep_accounts(&self, shutdown: impl Future<Output = ()>) {
        accounts::keep(Arc::clone(&self.inner), shutdown).await;
    }

    /// From now on `/readyz` says no, so that load balancers look elsewhere, and each connection ends with the request
    /// that it is at.
    pub fn drain(&self) {
        self.inner.stop.reach(Stage::Finishing);
    }

    /// Writes what is to be remembered beyond calls, until `shutdown` and then to the end of what waits. Runs once.
    pub async fn remember(&self, shutdown: CancellationToken) {
        self.inner.recall.write(shutdown).await;
    }

    /// Takes up the accounts of work that an earlier process left going in the background; tells of how many. To be done
    /// before the first call is admitted.
    ///
    /// # Errors
    /// The database is away.
    pub async fn resume(&self) -> Result<usize, store::StoreError> {
        jobs::resume(&self.inner).await
    }

    /// Looks after work in the background that is not billed yet, until `shutdown`.
    pub async fn look_after(&self, shutdown: CancellationToken) {
        tokio::join!(
            jobs::look_after(Arc::clone(&self.inner), shutdown.clone()),
            batches::look_after(&self.inner, shutdown)
        );
    }

    /// What routing knows of upstreams and credentials.
    pub fn board(&self) -> &Board {
        &self.inner.board
    }

    /// Waits until an attempt has failed since it was last asked.
    pub async fn attempt_failed(&self) {
        self.inner.failed.notified().await;
    }

    /// Calls being served.
    pub fn open_calls(&self) -> i64 {
        self.inner.metrics.open_calls()
    }
}

impl Inner {
    pub(crate) fn is_draining(&self) -> bool {
        self.stop.has_reached(Stage::Finishing)
    }

    /// The limiter of a key, made at its first call.
    pub(crate) fn limiter(&self, key: KeyId) -> Arc<KeyLimiter> {
        if let Some(limiter) = self.limiters.read().get(&key) {
            return Arc::clone(limiter);
        }
        let fresh = || Arc::new(KeyLimiter::new(self.clock.now()));
        Arc::clone(self.limiters.write().entry(key).or_insert_with(fresh))
    }
}

/// How long a graceful stop waits for streams, if nothing else is said.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(30);
