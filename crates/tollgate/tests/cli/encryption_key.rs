//! A database and the key that it is sealed under: another one is refused with the mend, and never made in its place.

use crate::place::{ENCRYPTION_KEY, Place, text};

#[test]
fn another_encryption_key_is_refused_with_the_mend() {
    let place = Place::new();
    place.ok(&["migrate"]);
    let other = [("ENCRYPTION_KEY", ENCRYPTION_KEY), ("ADMIN_TOKEN", "t")];
    let output = place.run_with(&other, &["user", "list"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("ENCRYPTION_KEY"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_key_that_does_not_open_the_database_is_told_with_the_one_that_may() {
    let place = Place::new();
    place.ok(&["user", "add", "u"]);
    std::fs::write(place.path(".env"), format!("ENCRYPTION_KEY={ENCRYPTION_KEY}\n")).unwrap();
    for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"], &["user", "list"]] {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("sealed under another ENCRYPTION_KEY") && said.contains("data/secrets.env holds another"),
            "{command:?}: {said}"
        );
        assert!(!said.contains(ENCRYPTION_KEY));
    }
    // Without the file, no new key is made for the old database.
    std::fs::remove_file(place.path("data/secrets.env")).unwrap();
    std::fs::remove_file(place.path(".env")).unwrap();
    for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"], &["user", "list"]] {
        let said = place.refused(command);
        assert!(said.contains("restore data/secrets.env"), "{command:?}: {said}");
        assert!(!place.path("data/secrets.env").exists());
    }
}

#[test]
fn a_given_key_is_not_replaced_by_one_that_is_kept() {
    let place = Place::new();
    let given = [("ENCRYPTION_KEY", ENCRYPTION_KEY)];
    let output = place.run_with(&given, &["user", "add", "u"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kept = std::fs::read_to_string(place.path("data/secrets.env")).unwrap();
    assert!(
        kept.contains("ADMIN_TOKEN=") && !kept.contains("ENCRYPTION_KEY="),
        "{kept}"
    );
    assert!(
        place
            .refused(&["user", "list"])
            .contains("there is no ENCRYPTION_KEY, in data/secrets.env neither")
    );
}
