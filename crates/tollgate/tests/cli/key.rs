//! `tollgate key`: a key is shown once.

use crate::place::Place;

#[test]
fn a_key_is_shown_once() {
    let place = Place::new();
    place.ok(&["user", "add", "u"]);
    let said = place.ok(&[
        "key",
        "add",
        "k",
        "--user",
        "u",
        "--model",
        "gpt-*",
        "--rpm",
        "60",
        "--expires",
        "2127-01-01",
        "--passthrough",
    ]);
    let key = said.lines().next().unwrap().to_owned();
    assert!(key.starts_with("sk-tg-") && key.len() >= 6 + 43, "{key}");
    let shown = place.json(&["key", "show", "k", "--json"]);
    assert_eq!(
        (&shown["limits"]["rpm"], &shown["passthrough"], &shown["models"][0]),
        (&60.into(), &true.into(), &"gpt-*".into())
    );
    for command in [&["key", "list"][..], &["key", "show", "k"], &["key", "list", "--json"]] {
        assert!(!place.ok(command).contains(&key), "{command:?}");
    }
    let database = std::fs::read(place.path("data/tollgate.db")).unwrap();
    let needle = &key.as_bytes()[6..];
    assert!(
        !database.windows(needle.len()).any(|window| window == needle),
        "the key is in the database"
    );
    place.ok(&["key", "edit", "k", "--tpm", "1000", "--expires", "never", "--model", ""]);
    let shown = place.json(&["key", "show", "k", "--json"]);
    assert_eq!(
        (&shown["limits"]["rpm"], &shown["limits"]["tpm"]),
        (&60.into(), &1000.into())
    );
    assert_eq!((shown.get("expires"), shown.get("models")), (None, None));
    assert_eq!(
        place.refused(&["key", "edit", "k", "--expires", "soon"]),
        "--expires: `expires`: is neither a date such as 2027-01-01 nor a time such as 2027-01-01T12:00:00Z"
    );
    assert!(
        place
            .refused(&["key", "add", "k2", "--user", "nobody"])
            .contains("there is no user `nobody`")
    );
}
