//! The database goes away under a running settler, in every way it can, and comes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{Money, UserId};
use metering::Accounts;
use sea_orm::ConnectionTrait as _;
use sea_orm::TransactionTrait as _;
use store::{Journal, SettlerWatch, Store};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::lab::{Books, Lab, append, assert_sound, eventually, on_both, receipts, user};

/// A settler that runs by itself.
struct Running {
    store: Store,
    journal: Arc<Journal>,
    accounts: Arc<Accounts>,
    watch: SettlerWatch,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(lab: &Lab) -> Self {
        let Books {
            store,
            journal,
            accounts,
            settler,
        } = Books::open(lab).await;
        let watch = settler.backlog();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(settler.run(async move { drop(stopped.await) }));
        Self {
            store,
            journal,
            accounts,
            watch,
            stop,
            task,
        }
    }

    fn append(&self, user: UserId, count: usize, nanos: i64) {
        for receipt in receipts(user, count, nanos) {
            append(&self.journal, &self.accounts, &receipt);
        }
    }

    async fn booked(&self, count: u64) {
        eventually("receipts are booked", async || {
            self.watch.status().receipts_waiting == 0
        })
        .await;
        assert_eq!(self.store.requests().count().await.unwrap(), count);
    }

    async fn failing(&self) {
        eventually("the outage is noticed", async || self.watch.status().error.is_some()).await;
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        assert_eq!(self.accounts.pending_total(), Money::ZERO);
    }
}

on_both! {
    async fn receipts_are_booked_soon_and_the_last_ones_at_the_end(lab) {
        let running = Running::start(&lab).await;
        let alice = user(&running.store, "alice", 1).await;
        running.append(alice, 10, 1);
        running.booked(10).await;
        running.append(alice, 10, 1);
        let store = running.store.clone();
        running.stop().await;
        assert_eq!(assert_sound(&store).await.receipts, 20);
    }

    async fn money_added_by_another_process_is_seen(lab) {
        let running = Running::start(&lab).await;
        let alice = user(&running.store, "alice", 1).await;
        eventually("the new user's balance", async || running.accounts.get(alice).view().balance == Money::from_dollars(1)).await;
        let other = lab.store().await;
        other.balances().add(alice, Money::from_dollars(9), "", "cli").await.unwrap();
        eventually("the credit", async || running.accounts.get(alice).view().balance == Money::from_dollars(10)).await;
        running.append(alice, 3, 1_000);
        running.booked(3).await;
        other.balances().adjust(alice, Money::from_dollars(-4), "mistake", "cli").await.unwrap();
        let expected = Money::from_nanos(6_000_000_000 - 3_000);
        eventually("the adjustment", async || running.accounts.get(alice).view().balance == expected).await;
        running.stop().await;
    }

    async fn a_lock_held_for_a_while_delays_and_loses_nothing(lab) {
        let running = Running::start(&lab).await;
        let alice = user(&running.store, "alice", 1).await;
        running.append(alice, 5, 1);
        running.booked(5).await;
        let raw = lab.raw().await;
        let lock = if lab.is_sqlite() {
            raw.execute_unprepared("BEGIN EXCLUSIVE").await.unwrap();
            None
        } else {
            let lock = raw.begin().await.unwrap();
            lock.execute_unprepared("LOCK TABLE receipts IN ACCESS EXCLUSIVE MODE").await.unwrap();
            Some(lock)
        };
        running.append(alice, 50, 1);
        // Longer than a batch takes to be tried.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(running.watch.status().receipts_waiting, 50);
        running.append(alice, 50, 1);
        match lock {
            Some(lock) => lock.rollback().await.unwrap(),
            None => drop(raw.execute_unprepared("ROLLBACK").await.unwrap()),
        }
        running.booked(105).await;
        assert_eq!(assert_sound(&running.store).await.charged.nanos(), 105);
        running.stop().await;
    }

    async fn a_rewound_journal_is_noticed_by_a_running_settler(lab) {
        let running = Running::start(&lab).await;
        let alice = user(&running.store, "alice", 1).await;
        running.append(alice, 5, 1);
        running.booked(5).await;
        lab.store().await.rewind_journal(running.journal.id()).await.unwrap();
        eventually("it is read again", async || running.watch.status().repeated == 5).await;
        eventually("all is booked", async || running.watch.status().receipts_waiting == 0).await;
        assert_eq!(running.accounts.get(alice).view().balance.nanos(), 1_000_000_000 - 5);
        assert_eq!(assert_sound(&running.store).await.receipts, 5);
        running.stop().await;
    }
}

/// The file and what SQLite keeps beside it.
fn with_companions(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", path.display())))
}

fn move_all(from: &Path, to: &Path) {
    for (from, to) in with_companions(from).iter().zip(with_companions(to)) {
        if from.exists() {
            std::fs::rename(from, to).unwrap();
        }
    }
}

fn remove_all(path: &Path) {
    for path in with_companions(path) {
        drop(std::fs::remove_file(path));
    }
}

#[tokio::test]
async fn a_file_that_is_moved_away_and_back_gets_everything() {
    let lab = Lab::sqlite();
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    running.append(alice, 5, 1);
    running.booked(5).await;
    let away = lab.dir.path().join("elsewhere.db");
    std::fs::rename(lab.file(), &away).unwrap();
    running.append(alice, 50, 1);
    running.failing().await;
    assert!(!lab.file().exists(), "an empty database was made in its place");
    assert!(running.store.revision().await.unwrap_err().is_away());
    assert!(
        running
            .store
            .balances()
            .add(alice, Money::from_dollars(1), "", "")
            .await
            .unwrap_err()
            .is_away()
    );
    assert_eq!(
        running.accounts.get(alice).view().available.nanos(),
        1_000_000_000 - 55,
        "calls go on being counted"
    );
    std::fs::rename(&away, lab.file()).unwrap();
    running.booked(55).await;
    assert_eq!(running.watch.status().error, None);
    assert_eq!(assert_sound(&running.store).await.charged.nanos(), 55);
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_moved_away_and_back_gets_everything() {
    let lab = Lab::sqlite();
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    running.append(alice, 5, 1);
    running.booked(5).await;
    let (folder, away) = (lab.dir.path().join("data"), lab.dir.path().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    running.append(alice, 50, 1);
    running.failing().await;
    std::fs::rename(&away, &folder).unwrap();
    running.booked(55).await;
    assert_eq!(assert_sound(&running.store).await.charged.nanos(), 55);
    running.stop().await;
}

#[tokio::test]
async fn a_copy_put_in_the_place_of_the_file_is_written_from_then_on() {
    let lab = Lab::sqlite();
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    running.append(alice, 5, 1);
    running.booked(5).await;
    let copy = lab.dir.path().join("copy.db");
    running.store.backup(&copy).await.unwrap();
    running.append(alice, 20, 1);
    running.booked(25).await;

    // The older copy lacks twenty receipts, which the journal still has.
    move_all(&lab.file(), &lab.dir.path().join("old.db"));
    std::fs::rename(&copy, lab.file()).unwrap();
    running.append(alice, 5, 1);
    running.booked(30).await;
    assert_eq!(running.accounts.get(alice).view().balance.nanos(), 1_000_000_000 - 30);
    assert_eq!(assert_sound(&running.store).await.charged.nanos(), 30);
    let store = running.store.clone();
    running.stop().await;
    store.close().await;
    let raw = lab.store().await;
    assert_eq!(
        raw.requests().count().await.unwrap(),
        30,
        "it is in the file at the path"
    );
}

#[tokio::test]
async fn another_database_in_the_place_of_the_file_is_not_written_to() {
    let lab = Lab::sqlite();
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    let stranger = Lab::sqlite();
    stranger.store().await.close().await;
    let away = lab.dir.path().join("elsewhere.db");
    running.append(alice, 1, 1);
    running.booked(1).await;
    move_all(&lab.file(), &away);
    std::fs::copy(stranger.file(), lab.file()).unwrap();
    running.append(alice, 5, 1);
    running.failing().await;
    let error = running.watch.status().error.unwrap();
    assert!(error.contains("another database"), "{error}");
    remove_all(&lab.file());
    move_all(&away, &lab.file());
    running.booked(6).await;
    assert_eq!(assert_sound(&running.store).await.receipts, 6);
    running.stop().await;
}

#[tokio::test]
async fn a_file_is_not_opened_with_the_log_of_another() {
    let lab = Lab::sqlite();
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    running.append(alice, 1, 1);
    running.booked(1).await;
    let copy = lab.dir.path().join("copy.db");
    running.store.backup(&copy).await.unwrap();
    let away = lab.dir.path().join("elsewhere.db");
    std::fs::rename(lab.file(), &away).unwrap();
    std::fs::rename(&copy, lab.file()).unwrap();
    running.append(alice, 5, 1);
    running.failing().await;
    let error = running.watch.status().error.unwrap();
    assert!(error.contains("-wal"), "{error}");
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", lab.file().display())).unwrap();
    }
    running.booked(6).await;
    assert_eq!(assert_sound(&running.store).await.receipts, 6);
    running.stop().await;
}

#[tokio::test]
async fn an_empty_file_in_the_place_of_the_database_is_not_taken_for_it() {
    let lab = Lab::sqlite();
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    running.append(alice, 1, 1);
    running.booked(1).await;
    let away = lab.dir.path().join("elsewhere.db");
    move_all(&lab.file(), &away);
    std::fs::write(lab.file(), b"").unwrap();
    running.append(alice, 5, 1);
    running.failing().await;
    let letters = lab.dir.path().join("journal/dead-letters.jsonl");
    assert!(!letters.exists(), "an outage is not a reason to put receipts aside");
    remove_all(&lab.file());
    move_all(&away, &lab.file());
    running.booked(6).await;
    assert_eq!(assert_sound(&running.store).await.receipts, 6);
    running.stop().await;
}

/// Stands before a PostgreSQL server, so that one test can stop it without stopping it for the others.
struct Gate {
    port: u16,
    server: String,
    open: Option<JoinHandle<()>>,
}

impl Gate {
    async fn before(url: &str) -> (Self, String) {
        let (login, rest) = url.rsplit_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut gate = Self {
            port,
            server: server.to_owned(),
            open: None,
        };
        gate.serve(listener);
        (gate, format!("{login}@127.0.0.1:{port}/{database}"))
    }

    fn serve(&mut self, listener: TcpListener) {
        let server = self.server.clone();
        self.open = Some(tokio::spawn(async move {
            // Connections end with this set, as those of a stopped server do.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        }));
    }

    async fn stop(&mut self) {
        let open = self.open.take().unwrap();
        open.abort();
        drop(open.await);
    }

    async fn start(&mut self) {
        self.serve(TcpListener::bind(("127.0.0.1", self.port)).await.unwrap());
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_and_started_gets_everything() {
    let Some(mut lab) = Lab::postgres().await else { return };
    let direct = lab.url.clone();
    let (mut gate, url) = Gate::before(&lab.url).await;
    lab.url = url;
    let running = Running::start(&lab).await;
    let alice = user(&running.store, "alice", 1).await;
    running.append(alice, 5, 1);
    running.booked(5).await;
    gate.stop().await;
    running.append(alice, 50, 1);
    running.failing().await;
    assert!(running.store.revision().await.unwrap_err().is_away());
    assert_eq!(running.watch.status().receipts_waiting, 50);
    // Meanwhile somebody pays.
    lab.url = direct;
    lab.store()
        .await
        .balances()
        .add(alice, Money::from_dollars(1), "", "cli")
        .await
        .unwrap();
    gate.start().await;
    running.booked(55).await;
    assert_eq!(running.watch.status().error, None);
    assert_eq!(running.accounts.get(alice).view().balance.nanos(), 2_000_000_000 - 55);
    assert_eq!(assert_sound(&running.store).await.charged.nanos(), 55);
    running.stop().await;
}
