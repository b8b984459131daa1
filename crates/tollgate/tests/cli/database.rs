//! Which database a command works on: a look at the wrong place makes none, a new one is announced, a copy is one too.

use crate::place::{ENCRYPTION_KEY, Place, mode, text};

#[test]
fn a_look_at_the_wrong_place_fails_and_leaves_nothing_there() {
    let place = Place::new();
    for command in [
        &["audit"][..],
        &["user", "list"],
        &["user", "show", "u"],
        &["user", "edit", "u", "--policy", "hard"],
        &["user", "remove", "u"],
        &["key", "list"],
        &["key", "add", "k", "--user", "u"],
        &["upstream", "list"],
        &["credential", "list"],
        &["credential", "add", "o/second", "--key", "sk-verysecretindeed0123"],
        &["model", "list"],
        &["account", "list"],
        &["account", "clear-history"],
        &["balance", "show", "u"],
        &["balance", "add", "u", "1.00"],
        &["explain", "--model", "m"],
        &["replay", "018f0000-0000-7000-8000-000000000000"],
        &["journal", "status"],
        &["journal", "replay"],
        &["backup", "copy.db"],
    ] {
        let said = place.refused(command);
        assert!(
            said.contains("there is no database of tollgate at data/tollgate.db") && said.contains("tollgate serve"),
            "{command:?}: {said}"
        );
    }
    let typo = [("DATABASE_URL", "sqlite://dta/tollgate.db")];
    let output = place.run_with(&typo, &["audit"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(
        text(&output.stderr).contains("dta/tollgate.db"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    // An empty file is none either.
    std::fs::write(place.path("empty.db"), "").unwrap();
    let empty = [
        ("DATABASE_URL", "sqlite://empty.db"),
        ("ENCRYPTION_KEY", ENCRYPTION_KEY),
    ];
    let output = place.run_with(&empty, &["audit"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(
        text(&output.stderr).contains("there is no database"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_is_added_before_the_first_start_makes_a_database_and_says_so() {
    for first in [
        &["user", "add", "u"][..],
        &[
            "upstream",
            "add",
            "o",
            "--provider",
            "openai",
            "--key",
            "sk-verysecretindeed0123",
        ],
        &["migrate"],
    ] {
        let place = Place::new();
        let said = |arguments: &[&str]| {
            let output = place.run(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
            text(&output.stderr)
        };
        assert_eq!(
            said(first),
            "tollgate: a new database was made at data/tollgate.db\n",
            "{first:?}"
        );
        assert_eq!(said(&["user", "add", "v"]), "");
        assert_eq!(place.json(&["audit", "--json"])["passes"], true);
    }
}

#[test]
fn a_backup_is_a_database() {
    let place = Place::new();
    place.ok(&["user", "add", "u", "--opening-credit", "1"]);
    place.ok(&["backup", "copy.db"]);
    assert_eq!(mode(&place.path("copy.db")), 0o600);
    assert!(place.refused(&["backup", "copy.db"]).contains("exists already"));
    std::fs::copy(place.path("data/secrets.env"), place.path("secrets.env")).unwrap();
    let listed = place.run_with(&[("DATABASE_URL", "sqlite://copy.db")], &["user", "list", "--json"], "");
    assert!(text(&listed.stdout).contains("\"1.00\""), "{}", text(&listed.stderr));
}
