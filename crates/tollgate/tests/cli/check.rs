//! `tollgate check`, and what every command says of a configuration that is wrong.

use crate::place::{Place, text};

#[test]
fn check_names_file_line_column_and_mend() {
    let place = Place::with("server:\n  listn: 127.0.0.1:1\n");
    let complaint = place.refused(&["check"]);
    assert_eq!(
        complaint,
        "tollgate.yaml:2:3: `server.listn`: there is no key `listn` here; did you mean `listen`?"
    );
    assert_eq!(
        place.refused(&["user", "list"]),
        complaint,
        "every command reads the configuration"
    );
    let output = Place::new().run_with(&[("PORT", "none")], &["check"], "");
    assert!(text(&output.stderr).starts_with("environment variable PORT: `server.listen`"));
    let output = Place::new().run_with(&[("PORT", "1")], &["check", "--set", "server.listen=1"], "");
    assert!(
        text(&output.stderr).starts_with("flag --set: `server.listen`"),
        "a flag goes over the environment"
    );
    assert!(
        place
            .refused(&["check", "-c", "other.yaml"])
            .contains("other.yaml cannot be read")
    );
}

#[test]
fn a_level_of_logs_that_is_none_is_refused() {
    let place = Place::with("server: {listen: 127.0.0.1:0}\nlogs: {level: loud}\n");
    for command in [&["check"][..], &["serve"], &["user", "list"]] {
        let said = place.refused(command);
        assert!(
            said.starts_with("tollgate.yaml:2:15: `logs.level`: is not a level"),
            "{command:?}: {said}"
        );
    }
    let output = Place::new().run(&["serve", "--log-level", "loud"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("--log-level") && said.contains("error, warn, info, debug or trace"),
        "{said}"
    );
}

#[test]
fn lines_of_the_env_file_that_cannot_be_read_are_told() {
    let place = Place::with("users: [{name: u}]\n");
    std::fs::write(place.path(".env"), "A=a\nnonsense\nMY_KEY=\"sk-verysecret\n").unwrap();
    let unclosed = ".env:3: has a quote that is not closed on this line; the line is ignored";
    let said = place.ok(&["check"]);
    assert!(said.contains(&format!("note: {unclosed}")), "{said}");
    let said = text(&place.run(&["key", "add", "k", "--user", "u"]).stderr);
    assert_eq!(said.matches(unclosed).count(), 1, "{said}");
    assert!(
        said.contains("tollgate: .env:2: is not NAME=value; the line is ignored"),
        "{said}"
    );
    // Where such a line is why something is missing, it is told with what is missing.
    std::fs::write(place.path("tollgate.yaml"), "security: {admin_token: \"${MY_KEY}\"}\n").unwrap();
    for command in [&["check"][..], &["serve"], &["user", "list"]] {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("MY_KEY") && said.contains(unclosed),
            "{command:?}: {said}"
        );
        assert!(!said.contains("verysecret"));
    }
}

#[test]
fn check_finds_names_that_were_made_elsewhere() {
    let place = Place::new();
    place.ok(&["user", "add", "Bob"]);
    std::fs::write(
        place.path("tollgate.yaml"),
        "users:\n  - {name: alice}\n  - {name: bob}\n",
    )
    .unwrap();
    assert_eq!(
        place.refused(&["check"]),
        "tollgate.yaml:3:12: `users[1].name`: the name `bob` is taken by one that was made elsewhere (cli); choose another, or remove that one first"
    );
    place.ok(&["user", "remove", "bob"]);
    assert!(!place.ok(&["check"]).contains("not compared"));
    std::fs::write(place.path("data/tollgate.db"), "no database").unwrap();
    assert!(
        place
            .ok(&["check"])
            .contains("names were not compared with the database")
    );
}

#[test]
fn check_says_what_it_means() {
    let place = Place::with(
        "upstreams:\n  - {name: a, provider: openai}\nmodels:\n  - {name: m, targets: [{upstream: a, model: unheard-of}]}\n\
         users: [{name: u, opening_credit: 1.5, policy: hard}]\nkeys: [{name: k, user: u, key: sk-verysecret}]\n",
    );
    let said = place.ok(&["check"]);
    for part in [
        "a         openai",
        "m      -        round_robin  a/unheard-of",
        "u     hard    1.50",
        "no price is known for `unheard-of`",
        "upstream `a` has no credential",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(!said.contains("verysecret"));
    let said = Place::new().run_with(&[("OPENAI_API_KEY", "sk-x")], &["check"], "");
    assert!(
        text(&said.stdout).starts_with("there is no tollgate.yaml; what the environment and the flags say is right."),
        "{}",
        text(&said.stdout)
    );
    assert!(text(&said.stdout).contains("upstream `openai` is taken from the environment"));
}

#[test]
fn the_printed_schema_is_the_committed_one() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tollgate.schema.json");
    assert_eq!(
        Place::new().ok(&["check", "--schema"]),
        std::fs::read_to_string(committed).unwrap()
    );
}
