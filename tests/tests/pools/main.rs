//! Pools of credentials, as an operator sees them: whose turn it is, what is left of a day, whose keys they are for, what
//! an answer says of a limit, and being taken out of service and put back, over restarts and beside a running server.

mod day;
mod lab;
mod rests;
mod service;
mod turns;

use std::time::Duration;

use blackbox::wait;
use serde_json::{Value, json};

use crate::lab::{World, secret};

#[test]
fn the_command_line_sets_what_the_file_can() {
    let world = World::new("openai", &[("k1", "")], "");
    let gateway = &world.gateway;
    let base = world.upstream.v1();
    gateway.cli_ok(&[
        "upstream",
        "add",
        "second",
        "--provider",
        "openai",
        "--base-url",
        &base,
        "--model",
        "x",
    ]);
    let key = secret("s1");
    gateway.cli_ok(&[
        "credential",
        "add",
        "second/s1",
        "--key",
        &key,
        "--profile",
        "team-c",
        "--daily-limit",
        "9",
        "--rotate-after",
        "4",
        "--pause-at",
        "90%",
    ]);
    let typo = gateway.cli(&["key", "add", "c", "--user", "alice", "--profile", "taem-c"]);
    assert!(
        String::from_utf8_lossy(&typo.stderr).contains("did you mean `team-c`?"),
        "{typo:?}"
    );
    let added = gateway.cli_json(&["key", "add", "c", "--user", "alice", "--profile", "team-c", "--json"]);
    let client = added["key"].as_str().expect("shown once").to_owned();
    wait::within(Duration::from_secs(5), "the server to see it", || {
        world.call(&client, "x").status() == 200
    });
    let shown = gateway.cli_json(&["credential", "show", "second/s1", "--json"]);
    assert_eq!(
        (
            &shown["daily_limit"],
            &shown["rotate_after"],
            &shown["profile"],
            &shown["pause_at"]
        ),
        (&json!(9), &json!(4), &json!("team-c"), &json!("90%"))
    );
    gateway.cli_ok(&[
        "credential",
        "edit",
        "second/s1",
        "--daily-limit",
        "none",
        "--weight",
        "2",
    ]);
    let shown = gateway.cli_json(&["credential", "show", "second/s1", "--json"]);
    assert_eq!(
        (&shown["daily_limit"], &shown["rotate_after"], &shown["weight"]),
        (&Value::Null, &json!(4), &json!(2))
    );
}
