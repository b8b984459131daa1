//! What operators force counts at once, for upstreams of the file too, and over a restart.

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, wait};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Upstream};

use super::{people, upstream};

const ADMIN: &str = "admin-token-of-the-operator-0123456789";

struct World {
    gateway: Tollgate,
    first: Upstream,
    /// Answers as long as it is there.
    _second: Upstream,
}

fn world() -> World {
    let (first, second) = (Upstream::start(), Upstream::start());
    let config = format!(
        "defaults: {{retries: 0}}\nupstreams:\n{}{}{}",
        upstream(
            "first",
            &first,
            ", models: [m], breaker: {failures: 2, window: 60s, open: 1h}"
        ),
        upstream("second", &second, ", models: [m], priority: 1"),
        people()
    );
    World {
        gateway: Setup::config(&config).env("ADMIN_TOKEN", ADMIN).start(),
        first,
        _second: second,
    }
}

fn answered_by(gateway: &Tollgate) -> String {
    let response = Format::Chat.call("m").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    response.header("x-tollgate-upstream").expect("a name").to_owned()
}

fn state(gateway: &Tollgate, name: &str) -> String {
    let accounts = Request::get("/api/accounts").bearer(ADMIN).send(&gateway.url()).json();
    let rows = accounts["accounts"].as_array().unwrap().clone();
    let row = rows.into_iter().find(|row| row["upstream"] == name).unwrap();
    row["breaker"].as_str().unwrap().to_owned()
}

#[test]
fn forced_open_is_asked_nothing_until_further_notice() {
    let mut world = world();
    let (gateway, first) = (&mut world.gateway, &world.first);
    assert_eq!(answered_by(gateway), "first");
    let set = |gateway: &Tollgate, to: &str| gateway.cli_ok(&["upstream", "edit", "first", "--breaker", to]);
    set(gateway, "open");
    wait::within(std::time::Duration::from_secs(5), "the decision to be in force", || {
        answered_by(gateway) == "second"
    });
    first.take_received();
    for _ in 0..5 {
        assert_eq!(answered_by(gateway), "second");
    }
    assert_eq!(state(gateway, "first"), "forced_open");
    let plan = gateway.cli_json(&["explain", "--model", "m", "--json"]);
    assert_eq!(plan["excluded"][0]["reason"], "forced_open", "{plan}");
    assert_eq!(
        gateway.cli_json(&["upstream", "show", "first", "--json"])["forced"],
        "open"
    );
    assert!(gateway.cli_ok(&["upstream", "list"]).contains("forced open"));

    // A file that is read again says nothing of it.
    let config = std::fs::read_to_string(gateway.path("tollgate.yaml")).unwrap();
    let changes = || {
        let logs = gateway.stdout() + &gateway.stderr();
        logs.matches("changes are in force").count()
    };
    let before = changes();
    gateway.write_config(&config.replace("failures: 2", "failures: 3"));
    wait::until("the file to be in force", || changes() > before);
    for _ in 0..5 {
        assert_eq!(answered_by(gateway), "second", "after a reload");
    }

    gateway.sigterm();
    gateway.wait_for_exit();
    let plan = gateway.cli_json(&["explain", "--model", "m", "--json"]);
    assert_eq!(
        plan["excluded"][0]["reason"], "forced_open",
        "without a server too: {plan}"
    );
    gateway.restart();
    for _ in 0..5 {
        assert_eq!(answered_by(gateway), "second", "after a restart");
    }
    assert!(first.take_received().is_empty(), "it was asked nothing");

    set(gateway, "auto");
    wait::within(std::time::Duration::from_secs(5), "the decision to end", || {
        answered_by(gateway) == "first"
    });
    assert_eq!(state(gateway, "first"), "closed");
}

#[test]
fn forced_closed_is_asked_whatever_it_does() {
    let world = world();
    let (gateway, first) = (&world.gateway, &world.first);
    first.always(Behaviour::status(503));
    wait::until("the breaker to open by itself", || {
        answered_by(gateway);
        state(gateway, "first") == "open"
    });
    gateway.cli_ok(&["upstream", "edit", "first", "--breaker", "closed"]);
    wait::until("the decision to be in force", || {
        state(gateway, "first") == "forced_closed"
    });
    first.take_received();
    for _ in 0..4 {
        assert_eq!(answered_by(gateway), "second", "it fails, so the next answers");
    }
    assert_eq!(first.take_received().len(), 4, "but it is asked each time");
    assert!(gateway.cli_ok(&["explain", "--model", "m"]).contains("forced closed"));
}

#[test]
fn only_the_decision_may_be_made_on_what_the_file_declares() {
    let world = world();
    let gateway = &world.gateway;
    let refused = gateway.cli(&["upstream", "edit", "first", "--breaker", "off"]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    let mixed = gateway.cli(&["upstream", "edit", "first", "--breaker", "open", "--priority", "9"]);
    assert_eq!(
        mixed.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&mixed.stderr)
    );
    assert_eq!(answered_by(gateway), "first");
}
