//! A database of its own for each test, a journal, and the means to do to them what happens in production.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::UserDecl;
use domain::{
    AttemptRecord, CallId, CredentialId, Dialect, Ending, KeyId, Money, Operation, Rates, Receipt, Timestamp,
    UpstreamId, Usage, UsageSource, UserId,
};
use metering::Accounts;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use store::{Journal, JournalOptions, KeyRing, Origin, Settler, Store, StoreOptions, Sync};
use tempfile::TempDir;

/// `ENCRYPTION_KEY` of the tests.
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another one.
pub(crate) const OTHER_KEY: &str = "HxscGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIBAAA=";

/// Runs an `async fn(Lab)` on both databases.
macro_rules! on_both {
    ($(async fn $name:ident($lab:ident) $body:block)*) => {
        $(mod $name {
            use super::*;

            async fn body($lab: $crate::lab::Lab) $body

            #[tokio::test]
            async fn sqlite() {
                body($crate::lab::Lab::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(lab) = $crate::lab::Lab::postgres().await {
                    body(lab).await;
                }
            }
        })*
    };
}
pub(crate) use on_both;

/// A place for one database and one journal.
pub(crate) struct Lab {
    pub dir: TempDir,
    pub url: String,
    /// The server, for PostgreSQL.
    server: Option<String>,
}

/// What undoes each step of the schema after the first.
const UNDONE: &[&[&str]] = &[
    &["DROP TABLE pins", "DROP TABLE turns"],
    &[
        "DROP TABLE credential_states",
        "DROP TABLE credential_days",
        "ALTER TABLE credentials DROP COLUMN terms",
    ],
    &[
        "DROP TABLE oauth_accounts",
        "DROP TABLE oauth_logins",
        "ALTER TABLE credentials DROP COLUMN kind",
    ],
    &["ALTER TABLE credential_states DROP COLUMN rests"],
    &["ALTER TABLE pins DROP COLUMN operators_bytes"],
];

impl Lab {
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("data/tollgate.db").display());
        Self { dir, url, server: None }
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let Some(server) = variable("TOLLGATE_TEST_POSTGRES") else {
            assert!(
                variable("CI").is_none(),
                "TOLLGATE_TEST_POSTGRES is not set; run the tests by scripts/postgres"
            );
            println!("skipped on PostgreSQL: TOLLGATE_TEST_POSTGRES is not set");
            return None;
        };
        let name = format!("t{}", uuid::Uuid::now_v7().simple());
        let admin = Database::connect(&server).await.unwrap();
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        admin.close().await.unwrap();
        let url = at_database(&server, &name);
        Some(Self {
            dir: tempfile::tempdir().unwrap(),
            url,
            server: Some(server),
        })
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("data/tollgate.db")
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            url: self.url.clone(),
            ring: KeyRing::parse(KEY).unwrap(),
            max_connections: 0,
            migrate: true,
        }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.options()).await.unwrap()
    }

    /// A connection behind the store's back.
    pub(crate) async fn raw(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(self.url.clone());
        options.max_connections(1).sqlx_logging(false);
        Database::connect(options).await.unwrap()
    }

    /// SQL behind the store's back.
    pub(crate) async fn exec(&self, sql: &str) {
        let raw = self.raw().await;
        raw.execute_unprepared(sql).await.unwrap();
        raw.close().await.unwrap();
    }

    /// The newest schema.
    pub(crate) const VERSIONS: usize = UNDONE.len() + 1;

    /// Makes the schema that of this version again. The store must be closed.
    pub(crate) async fn age(&self, version: usize) {
        for undo in UNDONE[version - 1..].iter().rev().copied().flatten() {
            self.exec(undo).await;
        }
        self.exec(&format!("UPDATE meta SET schema = {version}")).await;
    }

    pub(crate) fn journal_options(&self) -> JournalOptions {
        let dir = self.dir.path().join("journal");
        JournalOptions {
            dir,
            sync: Sync::Os,
            keep: Duration::from_hours(1),
            segment_bytes: 1024 * 1024,
        }
    }

    pub(crate) fn journal(&self) -> Arc<Journal> {
        Arc::new(Journal::open(&self.journal_options()).unwrap())
    }

    /// A copy of the whole database, as a backup would be. The store must be closed.
    pub(crate) async fn copy(&self) -> Copy {
        let Some(server) = &self.server else {
            let copy = self.dir.path().join("copy.db");
            std::fs::copy(self.file(), &copy).unwrap();
            return Copy::File(copy);
        };
        let name = format!("c{}", uuid::Uuid::now_v7().simple());
        let admin = Database::connect(server).await.unwrap();
        let from = self.url.rsplit('/').next().unwrap();
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE {from}"))
            .await
            .unwrap();
        admin.close().await.unwrap();
        Copy::Database(name)
    }

    /// Puts a copy in the place of the database. The store must be closed.
    pub(crate) fn restore(&mut self, copy: &Copy) {
        match copy {
            Copy::File(path) => {
                std::fs::remove_file(self.file()).unwrap();
                for end in ["-wal", "-shm"] {
                    drop(std::fs::remove_file(format!("{}{end}", self.file().display())));
                }
                std::fs::copy(path, self.file()).unwrap();
            }
            Copy::Database(name) => self.url = at_database(self.server.as_ref().unwrap(), name),
        }
    }
}

/// A backup.
pub(crate) enum Copy {
    File(PathBuf),
    Database(String),
}

/// A store with a settler that is driven by hand.
pub(crate) struct Books {
    pub store: Store,
    pub journal: Arc<Journal>,
    pub accounts: Arc<Accounts>,
    pub settler: Settler,
}

impl Books {
    pub(crate) async fn open(lab: &Lab) -> Self {
        let store = lab.store().await;
        let journal = lab.journal();
        let accounts = Arc::new(Accounts::new());
        let settler = Settler::start(store.clone(), Arc::clone(&journal), Arc::clone(&accounts))
            .await
            .unwrap();
        Self {
            store,
            journal,
            accounts,
            settler,
        }
    }

    /// Journals receipts as the gateway does: append, then the charge is pending.
    pub(crate) fn append(&self, receipts: &[Receipt]) {
        for receipt in receipts {
            append(&self.journal, &self.accounts, receipt);
        }
    }

    /// Ends as a killed process does: without another word to anyone.
    pub(crate) async fn close(self) {
        drop(self.settler);
        drop(self.journal);
        self.store.close().await;
    }
}

pub(crate) fn append(journal: &Journal, accounts: &Accounts, receipt: &Receipt) {
    drop(journal.append(&serde_json::to_vec(receipt).unwrap()).unwrap());
    accounts.add_backlog(receipt.user, receipt.charged);
}

/// A user with some dollars.
pub(crate) async fn user(store: &Store, name: &str, dollars: i32) -> UserId {
    let opening_credit = (dollars != 0).then(|| Money::from_dollars(dollars));
    let decl = UserDecl {
        name: name.to_owned(),
        opening_credit,
        policy: None,
    };
    store.users().add(&decl, Origin::Cli).await.unwrap().id
}

/// A receipt that charges so many nano-dollars.
pub(crate) fn receipt(user: UserId, nanos: i64) -> Receipt {
    let attempt = AttemptRecord {
        upstream: UpstreamId(1),
        upstream_name: "openai".to_owned(),
        credential: CredentialId(1),
        credential_name: "k1".to_owned(),
        model: "gpt-4o".to_owned(),
        status: Some(200),
        failure: None,
        started_ms: 0,
        took_ms: 5,
        dialect: None,
        losses: Vec::new(),
        recovered: None,
        broke: None,
        hedge: false,
        cancelled: false,
    };
    Receipt {
        call: CallId(uuid::Uuid::now_v7()),
        session: None,
        started_at: Timestamp::from_secs(1_000_000),
        finished_at: Timestamp::from_secs(1_000_001),
        user,
        key: KeyId(1),
        operation: Operation::Chat,
        dialect: Dialect::OpenaiChat,
        stream: false,
        model: "gpt-4o".to_owned(),
        upstream: Some(UpstreamId(1)),
        credential: Some(CredentialId(1)),
        answered_model: None,
        status: 200,
        ending: Ending::Complete,
        usage: Usage {
            input: 10,
            output: 3,
            ..Usage::default()
        },
        usage_source: UsageSource::Reported,
        usage_raw: None,
        rates: Some(Rates::default()),
        cost: Money::from_nanos(nanos),
        charged: Money::from_nanos(nanos),
        uncollected: Money::ZERO,
        attempts: vec![attempt],
        decision: None,
        first_content_ms: Some(3),
        took_ms: 9,
        error: None,
    }
}

pub(crate) fn receipts(user: UserId, count: usize, nanos: i64) -> Vec<Receipt> {
    (0..count).map(|_| receipt(user, nanos)).collect()
}

/// Waits for something that another task is about to bring about. The bound is for a test that fails, not a pace.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    for _ in 0..1_500 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come about: {what}");
}

/// The accounts agree, and say so.
pub(crate) async fn assert_sound(store: &Store) -> store::AuditTotals {
    let audit = store.audit().await.unwrap();
    assert!(audit.passes(), "{:#?}", audit.discrepancies);
    audit.totals
}

fn at_database(server: &str, name: &str) -> String {
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test bench is told by its environment where PostgreSQL is"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
