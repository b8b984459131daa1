//! The database or the disk goes away under load: no call fails, nothing is given away, and afterwards the books are
//! complete to the last receipt.
//!
//! An outage counts only if it really was one, so each test waits until receipts pile up before it ends its outage.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use blackbox::books::{assert_exact, backlog, balance, nanos, readiness, settled};
use blackbox::format::{FORMATS, Format};
use blackbox::load::Load;
use blackbox::{CLIENT_KEY, audit, config, journal_records, wait};
use serde_json::Value;
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate, binary_beside_test};
use testkit::upstream::{Answer, Behaviour, Upstream, Usage};

const CLIENTS: usize = 8;
/// Nano-dollars of one call: 50 input tokens at $1, 10 output tokens at $5 per million.
const CALL: i64 = 50 * 1_000 + 10 * 5_000;
const OPENING: i64 = 100_000_000_000;

/// How long an outage lasts at least: the half minute, or just beyond the database's own patience (5 s).
fn outage() -> Duration {
    let long = std::env::var("TOLLGATE_TEST_LONG").is_ok_and(|long| long == "1");
    Duration::from_secs(if long { 30 } else { 6 })
}

struct World {
    _upstream: Upstream,
    gateway: Tollgate,
    load: Load,
}

impl World {
    /// A gateway with `more` configuration under load: half of the calls are streams. The upstream takes its time, so
    /// that the load is some hundred calls a second and not what the machine can bear.
    fn new(more: &str, setup: impl FnOnce(Setup) -> Setup) -> Self {
        let upstream = Upstream::start();
        let answer = Answer::tokens(10).usage(Usage::of(50, 10));
        upstream.always(Behaviour::answer(answer).head_after(Duration::from_millis(25)));
        let models = "models: [{name: gpt-4o, targets: [{upstream: openai-main, model: gpt-4o}], price: {input: 1.00, output: 5.00}}]\n";
        let yaml = config(&upstream, &format!("{models}{more}")).replace(
            "- {name: alice}",
            "- {name: alice, opening_credit: 100.00, policy: hard}",
        );
        let gateway = setup(Setup::config(&yaml)).start();
        let load = Load::start(&gateway.url(), CLIENTS, &requests());
        load.wait_for(50);
        Self {
            _upstream: upstream,
            gateway,
            load,
        }
    }

    /// Lets the outage last, and makes sure that it is one: receipts pile up while calls go on.
    fn endure(&self, length: Duration) {
        let (begun, before) = (Instant::now(), self.load.answers());
        wait::until("receipts to pile up", || backlog(&self.gateway) > 100);
        wait::lasts(length.saturating_sub(begun.elapsed()));
        let answers = self.load.answers() - before;
        let waiting = backlog(&self.gateway);
        assert!(answers > 100, "only {answers} answers during the outage");
        assert!(
            waiting as usize > answers / 2,
            "the database took receipts: {waiting} wait of {answers}"
        );
    }

    /// After the outage: calls go on, everything is booked, and all figures agree.
    fn finish(mut self) {
        self.load.wait_for(50);
        let seen = self.load.stop();
        seen.assert_no_failure();
        settled(&self.gateway);
        assert_exact(&self.gateway, &seen.answered, CALL, OPENING);
        assert!(self.gateway.stop().success());
        assert_exact(&self.gateway, &seen.answered, CALL, OPENING);
    }
}

/// A plain call and a stream.
fn requests() -> [Request; 2] {
    let (call, stream) = (Format::Chat.call("gpt-4o"), Format::Chat.stream("gpt-4o"));
    [call, stream].map(|request| request.bearer(CLIENT_KEY).timeout(wait::PATIENCE))
}

#[test]
fn a_locked_database_stops_nothing() {
    let world = World::new("", |setup| setup);
    let lock = Lock::take(&world.gateway.path("data/tollgate.db"));
    world.endure(outage());
    wait::until("the gateway to say so", || readiness(&world.gateway)["ledger"] != "ok");
    drop(lock);
    world.finish();
}

/// Another process that holds the database's write lock. Python has SQLite, and the SDK tests need Python anyway.
struct Lock {
    process: Child,
    stdin: Option<ChildStdin>,
}

impl Lock {
    fn take(database: &Path) -> Self {
        const HOLD: &str = "import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute('BEGIN EXCLUSIVE')
print('held', flush=True)
sys.stdin.read()
connection.execute('ROLLBACK')";
        let mut command = Command::new("python3");
        command
            .arg("-c")
            .arg(HOLD)
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 is there");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("python speaks");
        assert_eq!(line.trim(), "held");
        Self {
            stdin: process.stdin.take(),
            process,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.process.wait().ok();
    }
}

#[test]
fn a_database_that_is_moved_away_and_back_misses_nothing() {
    let world = World::new("", |setup| setup);
    let (data, away) = (world.gateway.path("data"), world.gateway.path("data/away"));
    std::fs::create_dir(&away).unwrap();
    for in_its_place in ["nothing", "a folder"] {
        // The file first, so that its log is never without it at the old place; back in the other order.
        let mut moved: Vec<PathBuf> = Vec::new();
        for name in ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm"] {
            if std::fs::rename(data.join(name), away.join(name)).is_ok() {
                moved.push(name.into());
            }
        }
        assert!(moved.contains(&"tollgate.db".into()), "{moved:?}");
        if in_its_place == "a folder" {
            std::fs::create_dir(data.join("tollgate.db")).unwrap();
        }
        world.endure(outage() / 3);
        wait::until("the gateway to say so", || readiness(&world.gateway)["ledger"] != "ok");
        if in_its_place == "a folder" {
            std::fs::remove_dir(data.join("tollgate.db")).unwrap();
        }
        assert!(
            !data.join("tollgate.db").exists(),
            "an empty database was made in place of the lost one"
        );
        for name in moved.iter().rev() {
            std::fs::rename(away.join(name), data.join(name)).unwrap();
        }
        wait::until("the gateway to see that it is back", || {
            readiness(&world.gateway)["ledger"] == "ok"
        });
    }
    world.finish();
}

#[test]
fn a_stopped_postgresql_stops_nothing() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let server = variable("TOLLGATE_TEST_POSTGRES");
    let pid = variable("TOLLGATE_TEST_POSTGRES_PID").and_then(|pid| pid.trim().parse::<i32>().ok());
    let (Some(server), Some(pid)) = (server, pid) else {
        assert!(
            !wait::in_ci(),
            "TOLLGATE_TEST_POSTGRES and TOLLGATE_TEST_POSTGRES_PID are not set: use scripts/postgres"
        );
        wait::leave_out("PostgreSQL being stopped: run this under scripts/postgres");
        return;
    };
    let name = format!("tollgate_outage_{}", std::process::id());
    psql(&server, &format!("CREATE DATABASE {name}"));
    let url = format!(
        "{}/{name}",
        server.rsplit_once('/').expect("the address names a database").0
    );
    {
        let world = World::new("", |setup| setup.env("DATABASE_URL", &url));
        let stopped = Stopped::tree(pid);
        world.endure(outage());
        drop(stopped);
        world.finish();
    }
    psql(&server, &format!("DROP DATABASE {name} WITH (FORCE)"));
}

fn psql(server: &str, sql: &str) {
    let output = Command::new("psql")
        .args([server, "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output();
    let output = output.expect("psql is there: it comes with PostgreSQL");
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A stopped process with its children; they go on when this is dropped, however the test ends.
struct Stopped(Vec<i32>);

impl Stopped {
    fn tree(parent: i32) -> Self {
        signal("STOP", &[parent]);
        // Stopped, it makes no more children.
        let children = children(parent);
        signal("STOP", &children);
        Self([vec![parent], children].concat())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

fn signal(name: &str, pids: &[i32]) {
    for pid in pids {
        Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .expect("kill is there");
    }
}

fn children(parent: i32) -> Vec<i32> {
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid="])
        .output()
        .expect("ps is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<i32>().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    pairs
        .filter(|(_, its_parent)| *its_parent == parent)
        .map(|(pid, _)| pid)
        .collect()
}

#[test]
fn a_full_disk_gives_nothing_away() {
    let mount = Command::new("unshare")
        .args(["-m", "true"])
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        wait::leave_out("a full disk: a small one can only be mounted by root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let world = World::new("storage: {journal: {dir: data/small/journal}}\n", |setup| {
        setup.binary(&small_disk(folder.path()))
    });
    // The process sees the small disk, we see it through the process.
    let disk = PathBuf::from(format!(
        "/proc/{}/root{}",
        world.gateway.pid(),
        world.gateway.path("data/small").display()
    ));
    wait::until("the disk to be full", || world.load.trouble() > 50);
    let status = |request: &Request| request.clone().bearer(CLIENT_KEY).send(&world.gateway.url());
    assert_eq!(status(&Request::get("/readyz")).status(), 503);
    for format in FORMATS {
        format.assert_refusal(&status(&format.call(format.model())), 503);
    }
    let answers_while_full = world.load.answers();
    std::fs::remove_file(disk.join("filler")).unwrap();
    wait::until("calls to work again", || world.load.answers() > answers_while_full + 20);

    let World {
        mut gateway,
        load,
        _upstream,
    } = world;
    let seen = load.stop();
    for refused in &seen.refused {
        Format::Chat.assert_refusal(refused, 503);
    }
    for broken in &seen.broken {
        let text = broken.text();
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        assert!(
            last.starts_with("data: {\"error\"") && broken.is_complete(),
            "a stream that was not recorded: {text}"
        );
    }
    settled(&gateway);
    let receipts = journal_records(&disk.join("journal"));
    let charged: Vec<&str> = receipts
        .iter()
        .filter(|receipt| receipt["charged"] == CALL)
        .filter_map(|receipt| receipt["call"].as_str())
        .collect();
    let unrecorded: Vec<_> = seen
        .answered
        .iter()
        .filter(|call| !charged.contains(&call.as_str()))
        .collect();
    assert!(
        unrecorded.is_empty(),
        "{} answers have no receipt: {unrecorded:?}",
        unrecorded.len()
    );
    assert_eq!(
        charged.len(),
        seen.answered.len(),
        "charged for answers that were withheld"
    );
    let report: Value = audit(&gateway);
    assert_eq!(nanos(&report["charged"]), charged.len() as i64 * CALL, "{report}");
    assert_eq!(balance(&gateway, "alice"), OPENING - charged.len() as i64 * CALL);
    assert!(gateway.stop().success());
}

/// A binary that serves with a disk of 192 KiB at `data/small`, a third of it taken already.
fn small_disk(folder: &Path) -> PathBuf {
    let script = format!(
        "#!/bin/sh
[ \"$1\" = serve ] || exec '{0}' \"$@\"
exec unshare -m sh -c 'mkdir -p -m 700 data/small && mount -t tmpfs -o size=192k,mode=0700 tmpfs data/small \\
    && head -c 65536 /dev/zero >data/small/filler && cd \"$PWD\" && exec \"$0\" \"$@\"' '{0}' \"$@\"
",
        binary_beside_test().display()
    );
    let path = folder.join("tollgate");
    // Written by a process of its own: a file that is open for writing anywhere here cannot be run.
    let mut writer = Command::new("sh");
    writer
        .args(["-c", "cat >\"$0\" && chmod 700 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped());
    let mut writer = writer.spawn().expect("sh is there");
    writer
        .stdin
        .take()
        .expect("stdin is a pipe")
        .write_all(script.as_bytes())
        .expect("sh reads");
    assert!(writer.wait().expect("sh ends").success());
    path
}
