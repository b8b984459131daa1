//! `tollgate init`: files that are right, and secrets that are not lost.

use crate::place::{Place, mode};

#[test]
fn init_writes_once_and_what_it_writes_is_right() {
    let place = Place::new();
    place.ok(&["init"]);
    assert_eq!(
        (mode(&place.path(".env")), mode(&place.path("tollgate.yaml"))),
        (0o600, 0o600)
    );
    let first = std::fs::read_to_string(place.path(".env")).unwrap();
    assert!(place.refused(&["init"]).contains("exists already"));
    assert!(place.ok(&["check"]).starts_with("tollgate.yaml is right."));
    place.ok(&["init", "--force"]);
    assert_ne!(first, std::fs::read_to_string(place.path(".env")).unwrap());
    // The secrets of `.env` are used: none are made beside the database.
    place.ok(&["migrate"]);
    assert!(!place.path("data/secrets.env").exists());
}

#[test]
fn init_takes_over_the_secrets_of_a_first_start() {
    let place = Place::new();
    place.ok(&["user", "add", "u"]);
    let kept = std::fs::read_to_string(place.path("data/secrets.env")).unwrap();
    let said = place.ok(&["init"]);
    assert!(said.contains("with the secrets of ./data/secrets.env"), "{said}");
    let env = std::fs::read_to_string(place.path(".env")).unwrap();
    assert!(env.starts_with(&kept), "the same secrets");
    place.ok(&["check"]);
    assert!(place.ok(&["user", "list"]).contains('u'));
    // With another folder, what is in this one does not matter.
    place.ok(&["init", "--dir", "data"]);
    let other = std::fs::read_to_string(place.path("data/.env")).unwrap();
    assert_ne!(kept, other[..kept.len()]);
}
