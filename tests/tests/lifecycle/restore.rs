//! A backup that is put back: the journal gives the database what it lacks.

use std::collections::HashSet;

use blackbox::books::{assert_exact, balance, nanos, settled};
use blackbox::format::Format;
use blackbox::{CLIENT_KEY, audit, config};
use testkit::client::Response;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Upstream, Usage};

/// Nano-dollars of one call: 50 input tokens at $1, 10 output tokens at $5 per million.
const CALL: i64 = 50 * 1_000 + 10 * 5_000;
const OPENING: i64 = 1_000_000_000;

fn start(upstream: &Upstream) -> Tollgate {
    upstream.always(Behaviour::answer(Answer::text("hi").usage(Usage::of(50, 10))));
    let models = "models: [{name: gpt-4o, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    let yaml =
        config(upstream, models).replace("- {name: alice}", "- {name: alice, opening_credit: 1.00, policy: hard}");
    Setup::config(&yaml).start()
}

fn calls(gateway: &Tollgate, count: usize) -> HashSet<String> {
    let id = |response: Response| {
        assert_eq!(response.status(), 200, "{}", response.text());
        response.header("x-request-id").expect("an id").to_owned()
    };
    (0..count)
        .map(|_| id(Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url())))
        .collect()
}

#[test]
fn a_backup_opens_and_proves_its_books() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    calls(&gateway, 5);
    settled(&gateway);
    gateway.cli_ok(&["backup", "data/copy.db"]);
    calls(&gateway, 3);
    settled(&gateway);
    let copy = |arguments: &[&str]| {
        gateway.cli_json(&[arguments, &["--json", "--set", "storage.url=sqlite://data/copy.db"]].concat())
    };
    let report = copy(&["audit"]);
    assert_eq!(
        (report["passes"].as_bool(), report["receipts"].as_i64()),
        (Some(true), Some(5)),
        "{report}"
    );
    assert_eq!(
        nanos(&copy(&["balance", "show", "alice"])["balance"]),
        OPENING - 5 * CALL
    );
    assert_eq!(balance(&gateway, "alice"), OPENING - 8 * CALL);
    let again = gateway.cli(&["backup", "data/copy.db"]);
    assert_eq!(again.status.code(), Some(1), "a backup is never overwritten");
}

#[test]
fn what_a_restored_database_lacks_is_booked_from_the_journal() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let mut answered = calls(&gateway, 5);
    settled(&gateway);
    gateway.cli_ok(&["backup", "data/copy.db"]);
    answered.extend(calls(&gateway, 20));
    assert!(gateway.stop().success());
    assert_exact(&gateway, &answered, CALL, OPENING);

    for name in ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm"] {
        std::fs::remove_file(gateway.path("data").join(name)).ok();
    }
    std::fs::rename(gateway.path("data/copy.db"), gateway.path("data/tollgate.db")).unwrap();
    gateway.restart();
    settled(&gateway);
    assert_exact(&gateway, &answered, CALL, OPENING);
    // Nobody could spend twice what the backup did not know of.
    answered.extend(calls(&gateway, 5));
    assert!(gateway.stop().success());
    assert_exact(&gateway, &answered, CALL, OPENING);
    assert_eq!(audit(&gateway)["receipts"], 30);
}

#[test]
fn a_torn_journal_and_a_foreign_key_stop_nothing_that_is_right() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let mut answered = calls(&gateway, 3);
    gateway.kill9();
    // Half a record at the end: what a power cut leaves.
    let segment = std::fs::read_dir(gateway.path("data/journal"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let segment = segment
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend_from_slice(&[200, 0, 0, 0, 1, 2, 3, 4, b'{', b'"', b'c']);
    std::fs::write(&segment, bytes).unwrap();
    gateway.restart();
    answered.extend(calls(&gateway, 3));
    settled(&gateway);
    assert_exact(&gateway, &answered, CALL, OPENING);
    assert!(gateway.stop().success());

    // Another ENCRYPTION_KEY: refused with the mend, and the right one works again.
    gateway.set_env("ENCRYPTION_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let failure = gateway.try_restart().expect_err("refused");
    assert!(
        failure.exit.and_then(|exit| exit.code()) == Some(1) && failure.stderr.contains("ENCRYPTION_KEY"),
        "{failure}"
    );
    gateway.set_env("ENCRYPTION_KEY", "");
    gateway.restart();
    answered.extend(calls(&gateway, 1));
    settled(&gateway);
    assert_exact(&gateway, &answered, CALL, OPENING);
}

/// Serves from another database, with the journal of the first.
fn moved_to(url: &str) {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    calls(&gateway, 10);
    settled(&gateway);
    assert!(gateway.stop().success());

    gateway.set_env("DATABASE_URL", url);
    let failure = gateway.try_restart().expect_err("refused");
    let said = &failure.stderr;
    assert_eq!(failure.exit.and_then(|exit| exit.code()), Some(1), "{failure}");
    assert!(
        said.contains("belongs to database") && said.contains("0 of its 10 receipts"),
        "{said}"
    );
    assert!(
        said.contains("storage.journal.dir") && said.contains("tollgate journal adopt"),
        "{said}"
    );
    let status = gateway.cli_ok(&["journal", "status"]);
    assert!(status.contains("not this one"), "{status}");
    let replayed = gateway.cli(&["journal", "replay"]);
    assert_eq!(replayed.status.code(), Some(1), "{replayed:?}");
    assert_eq!(audit(&gateway)["receipts"], 0, "nothing was booked");

    let adopted = gateway.cli_json(&["journal", "adopt", "--json"]);
    assert_eq!(
        (&adopted["adopted"], &adopted["left_behind"]),
        (&true.into(), &0.into()),
        "{adopted}"
    );
    gateway.restart();
    calls(&gateway, 3);
    settled(&gateway);
    assert_eq!(
        balance(&gateway, "alice"),
        OPENING - 3 * CALL,
        "only what was called here"
    );
    assert_eq!(audit(&gateway)["receipts"], 3);
    let replayed = gateway.cli_json(&["journal", "status", "--json"]);
    assert_eq!(replayed["waiting"], 0, "{replayed}");
    assert!(gateway.stop().success());

    gateway.set_env("DATABASE_URL", "");
    let failure = gateway.try_restart().expect_err("refused");
    assert!(failure.stderr.contains("belongs to database"), "{failure}");
    assert_eq!(
        balance(&gateway, "alice"),
        OPENING - 10 * CALL,
        "the first keeps what it had"
    );
}

#[test]
fn another_file_is_not_given_the_receipts_of_the_first() {
    moved_to("sqlite://data/other.db");
}

#[test]
fn another_server_is_not_given_the_receipts_of_the_file() {
    if let Some(database) = blackbox::postgres::Database::create("moved") {
        moved_to(&database.url());
    }
}
