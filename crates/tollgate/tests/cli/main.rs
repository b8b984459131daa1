//! The command line from outside, where no server is needed: the real binary in a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod check;
mod database;
mod encryption_key;
mod init;
mod key;
mod place;
mod upstream;
mod user;

use crate::place::Place;

#[test]
fn exit_codes_tell_refusals_from_usage() {
    let place = Place::new();
    assert_eq!(place.run(&["--version"]).status.code(), Some(0));
    assert_eq!(place.run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(place.run(&["key", "add"]).status.code(), Some(2));
    assert_eq!(place.run(&["user", "show", "nobody"]).status.code(), Some(1));
}

#[test]
fn without_a_server_the_journal_is_empty_and_nobody_is_healthy() {
    let place = Place::new();
    place.ok(&["migrate"]);
    assert!(place.ok(&["journal", "status"]).contains("no journal"));
    assert!(place.refused(&["journal", "replay"]).contains("no journal"));
    assert!(
        place
            .refused(&["healthcheck", "--set", "server.listen=127.0.0.1:9"])
            .contains("cannot be reached")
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            Place::new().ok(&["completions", shell]).contains("healthcheck"),
            "{shell}"
        );
    }
}
