//! A database that another version of the program wrote: who may change it, and what the others say.

use std::process::{Command, Output};

use blackbox::{CLIENT_KEY, config};
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::{Behaviour, Upstream};

/// Commands that look, and one that changes.
const OTHERS: [&[&str]; 9] = [
    &["balance", "show", "alice"],
    &["audit"],
    &["replay", "0190a0a0-0000-7000-8000-000000000000"],
    &["explain", "--model", "gpt-4o"],
    &["journal", "status"],
    &["journal", "replay"],
    &["user", "list"],
    &["credential", "list"],
    &["user", "add", "bob"],
];

/// Takes back the newest step of the schema, so that it can be done again. A new step comes with its own.
const UNDO: &str = "ALTER TABLE pins DROP COLUMN operators_bytes";

/// Runs SQL on the database of a gateway.
fn sql(gateway: &Tollgate, script: &str) -> String {
    const RUN: &str = "import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
for statement in sys.argv[2].split(';'):
    for row in connection.execute(statement):
        print(row[0])
";
    let file = gateway.path("data/tollgate.db");
    let done = Command::new("python3").args(["-c", RUN]).arg(file).arg(script).output();
    let done = done.expect("python3 is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn schema(gateway: &Tollgate) -> String {
    sql(gateway, "SELECT schema FROM meta")
}

fn complaint(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn serves(gateway: &Tollgate) -> bool {
    let hello = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]});
    let answer = Request::post("/v1/chat/completions", &hello)
        .bearer(CLIENT_KEY)
        .send(&gateway.url());
    answer.status() == 200
}

#[test]
fn only_who_may_brings_an_older_schema_up_to_date() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::text("hello"));
    let mut gateway = Tollgate::start(&config(&upstream, ""));
    let newest = schema(&gateway);
    let older = (newest.parse::<u32>().expect("a number") - 1).to_string();
    // The server stands for an older one: it runs, and the schema is that of the version before.
    sql(&gateway, &format!("UPDATE meta SET schema = {older}"));
    for command in OTHERS {
        let done = gateway.cli(command);
        let told = complaint(&done);
        assert!(!done.status.success(), "{command:?} went on");
        assert!(
            told.contains(&format!("schema {older}")) && told.contains("`tollgate migrate`"),
            "{command:?}: {told}"
        );
        assert_eq!(schema(&gateway), older, "{command:?} changed it");
    }
    assert!(serves(&gateway));

    sql(&gateway, UNDO);
    gateway.cli_ok(&["migrate"]);
    assert_eq!(schema(&gateway), newest);
    assert!(serves(&gateway), "an older server goes on");
    gateway.cli_ok(&["user", "list"]);

    assert!(gateway.stop().success());
    sql(&gateway, &format!("UPDATE meta SET schema = {older}"));
    sql(&gateway, UNDO);
    gateway.restart();
    assert_eq!(
        schema(&gateway),
        newest,
        "the start of the server brings it up to date too"
    );
}

#[test]
fn a_newer_schema_is_left_alone_by_everybody() {
    let upstream = Upstream::start();
    let mut gateway = Tollgate::start(&config(&upstream, ""));
    gateway.stop();
    sql(&gateway, "UPDATE meta SET schema = 999");
    for command in OTHERS.iter().chain(&[&["migrate"][..]]) {
        let done = gateway.cli(command);
        let told = complaint(&done);
        assert!(
            !done.status.success() && told.contains("a newer tollgate wrote it"),
            "{command:?}: {told}"
        );
    }
    assert!(gateway.try_restart().is_err(), "the server does not start either");
    assert_eq!(schema(&gateway), "999");
}
