//! `tollgate user` and `tollgate balance`.

use serde_json::Value;

use crate::place::{Place, mode};

#[test]
fn users_live_their_life() {
    let place = Place::new();
    place.ok(&["user", "add", "Alice", "--policy", "hard", "--opening-credit", "10.50"]);
    let taken = place.refused(&["user", "add", "alice"]).to_lowercase();
    assert!(taken.contains("user `alice` exists already"), "{taken}");
    assert_eq!(
        place.refused(&["user", "add", "b", "--policy", "hrad"]),
        "--policy: `policy`: `hrad` is not known; did you mean `hard`?"
    );
    place.ok(&["balance", "add", "alice", "0.000000001"]);
    place.ok(&["balance", "adjust", "alice", "-2.50", "--note", "typed twice"]);
    assert!(place.refused(&["balance", "adjust", "alice", "1"]).contains("--note"));
    assert!(
        place
            .refused(&["balance", "add", "alice", "1e3"])
            .contains("is not a decimal number of dollars")
    );
    let shown = place.json(&["user", "show", "alice", "--json"]);
    assert_eq!(
        (&shown["policy"], &shown["balance"]),
        (&"hard".into(), &"8.000000001".into())
    );
    place.ok(&["user", "edit", "alice", "--name", "carol", "--policy", "default"]);
    let listed = place.json(&["user", "list", "--json"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["policy"]),
        (&"carol".into(), &Value::Null)
    );
    let movements = place.json(&["balance", "show", "carol", "--json"]);
    let kinds: Vec<&str> = movements["movements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["adjust", "credit", "opening"]);
    assert_eq!(place.json(&["audit", "--json"])["passes"], true);
    place.ok(&["user", "remove", "carol"]);
    assert_eq!(place.json(&["user", "list", "--json"]), Value::Array(Vec::new()));
    assert_eq!(
        (
            mode(&place.path("data")),
            mode(&place.path("data/tollgate.db")),
            mode(&place.path("data/secrets.env"))
        ),
        (0o700, 0o600, 0o600)
    );
}
