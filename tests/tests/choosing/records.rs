//! Every choice that somebody may ask about can be explained afterwards, made again, and tried with another configuration.

use blackbox::format::Format;
use blackbox::postgres::Database;
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, wait};
use serde_json::Value;
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Refusal, Upstream};

use super::{people, upstream};

const ADMIN: &str = "admin-token-of-the-operator-0123456789";

struct World {
    gateway: Tollgate,
    first: Upstream,
    second: Upstream,
    config: String,
}

fn config(more: &str, strategy: &str, first: &Upstream, second: &Upstream) -> String {
    format!(
        "{more}defaults: {{retries: 0, strategy: {strategy}}}\nupstreams:\n{}{}{}",
        upstream("first", first, ", models: [m], weight: 7"),
        upstream("second", second, ", models: [m], priority: 1"),
        people()
    )
}

fn world(more: &str, database: Option<&str>) -> World {
    let (first, second) = (Upstream::start(), Upstream::start());
    let config = config(more, "round_robin", &first, &second);
    let mut setup = Setup::config(&config).env("ADMIN_TOKEN", ADMIN);
    if let Some(url) = database {
        setup = setup.env("DATABASE_URL", url);
    }
    World {
        gateway: setup.start(),
        first,
        second,
        config,
    }
}

/// Makes a call; its id, which upstream answered, and after how many tries.
fn call(gateway: &Tollgate) -> (String, String, String) {
    let response = Format::Chat.call("m").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(response.status(), 200, "{}", response.text());
    let header = |name: &str| response.header(name).expect("a header").to_owned();
    (
        header("x-request-id"),
        header("x-tollgate-upstream"),
        header("x-tollgate-attempts"),
    )
}

/// The log detail of a call, once it is booked.
fn detail(gateway: &Tollgate, call: &str) -> Value {
    let path = format!("/api/requests/{call}");
    let mut found = Value::Null;
    wait::until("the call to be booked", || {
        let response = Request::get(&path).bearer(ADMIN).send(&gateway.url());
        let is_booked = response.status() == 200;
        if is_booked {
            found = response.json();
        }
        is_booked
    });
    found
}

fn failed_over(world: &World) -> String {
    world.first.then(Behaviour::status(503));
    let (id, by, tries) = call(&world.gateway);
    assert_eq!((by.as_str(), tries.as_str()), ("second", "2"));
    id
}

#[test]
fn a_call_that_failed_over_can_be_explained_and_replayed() {
    explained_and_replayed(None);
}

#[test]
fn so_it_can_with_postgres() {
    if let Some(database) = Database::create("records") {
        explained_and_replayed(Some(&database.url()));
    }
}

fn explained_and_replayed(database: Option<&str>) {
    let world = world("", database);
    let gateway = &world.gateway;
    let id = failed_over(&world);

    let detail = detail(gateway, &id);
    let decision = &detail["decision"];
    let order: Vec<&str> = decision["order"].as_array().unwrap().iter().map(upstream_of).collect();
    assert_eq!(order, ["first", "second"], "{detail}");
    assert_eq!(decision["order"][0]["weight"], 7);
    assert_eq!(decision["strategy"], "round_robin");
    assert_eq!(decision["excluded"].as_array().unwrap().len(), 0);
    assert_eq!(detail["replay"]["same"], true);
    let attempts = detail["attempts"].as_array().unwrap();
    assert_eq!(
        (&attempts[0]["status"], &attempts[0]["failure"]),
        (&503.into(), &"overloaded".into())
    );
    assert_eq!(
        (&attempts[1]["status"], &attempts[1]["failure"]),
        (&200.into(), &Value::Null)
    );

    // The same words as beforehand.
    let explained = gateway.cli_json(&["explain", "--model", "m", "--json"]);
    // What failures led to is only of a call.
    for key in decision.as_object().unwrap().keys().filter(|key| *key != "walk") {
        assert!(explained.get(key).is_some(), "{key} is in {explained}");
    }

    let text = gateway.cli_ok(&["replay", &id]);
    assert!(text.contains("made again from the record: the same"), "{text}");
    assert!(
        text.contains("made with tollgate.yaml as it is now: the same"),
        "{text}"
    );
    assert!(text.contains("503 overloaded"), "{text}");
    assert!(
        text.contains("and then what it did:") && text.contains("another upstream"),
        "{text}"
    );

    // What if the other had gone before?
    let draft = world
        .config
        .replace("models: [m], priority: 1", "models: [m], priority: -1");
    std::fs::write(gateway.path("draft.yaml"), draft).unwrap();
    let what_if = gateway.cli_json(&["replay", &id, "-c", "draft.yaml", "--json"]);
    assert_eq!(what_if["replay"]["same"], true, "{what_if}");
    assert_eq!(what_if["with"]["same"], false);
    assert_eq!(what_if["with"]["decision"]["order"][0]["upstream"], "second");
    assert_eq!(what_if["with"]["differences"][0]["after"]["tried"], 2);
    let text = gateway.cli_ok(&["replay", &id, "-c", "draft.yaml"]);
    assert!(
        text.contains("made with draft.yaml as it is now: another choice"),
        "{text}"
    );
    // And its failures: the first one's would not have been met.
    let did = [
        step("first", "first", Some("503 overloaded"), false),
        step("other", "second", Some("answered"), false),
    ];
    assert_eq!(
        (walk(&what_if["replay"]), &what_if["replay"]["walk_same"]),
        (did.to_vec(), &true.into())
    );
    let foreseen = step("first", "second", Some("answered"), true);
    assert_eq!(
        (walk(&what_if["with"]), &what_if["with"]["walk_same"]),
        (vec![foreseen], &false.into())
    );
    // With another try at the first one it is not known how that would have ended.
    std::fs::write(
        gateway.path("patient.yaml"),
        world.config.replace("retries: 0", "retries: 1"),
    )
    .unwrap();
    let patient = gateway.cli_json(&["replay", &id, "-c", "patient.yaml", "--json"]);
    let foreseen = [
        step("first", "first", Some("503 overloaded"), false),
        step("same", "first", None, true),
    ];
    assert_eq!(
        (&patient["with"]["same"], walk(&patient["with"])),
        (&true.into(), foreseen.to_vec())
    );
    // The draft was looked at, not applied.
    assert_eq!(call(gateway).1, "first");

    // A draft that keeps its data elsewhere: the record is here, and nothing is made there.
    let elsewhere = "storage: {url: \"sqlite://elsewhere/other.db\", journal: {dir: elsewhere/journal}}";
    let draft = std::fs::read_to_string(gateway.path("draft.yaml")).unwrap();
    std::fs::write(gateway.path("draft.yaml"), format!("{draft}{elsewhere}\n")).unwrap();
    let with = gateway.cli_json(&["replay", &id, "--with", "draft.yaml", "--json"]);
    assert_eq!(with["with"]["configuration"], "draft.yaml", "{with}");
    assert_eq!(with["with"]["decision"]["order"][0]["upstream"], "second", "{with}");
    if database.is_none() {
        let refused = gateway.cli(&["replay", &id, "-c", "draft.yaml"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("elsewhere/other.db"),
            "{said}"
        );
    }
    assert!(!gateway.path("elsewhere").exists(), "a reader makes nothing");

    for shown in [detail.to_string(), what_if.to_string(), text] {
        assert!(!shown.contains(UPSTREAM_KEY) && !shown.contains(CLIENT_KEY), "{shown}");
    }
    drop(world.second);
}

/// A step of a walk: what, where, how it ended, and whether the call did something else.
type Step = (String, String, Option<String>, bool);

fn step(next: &str, upstream: &str, came: Option<&str>, differs: bool) -> Step {
    (next.to_owned(), upstream.to_owned(), came.map(str::to_owned), differs)
}

fn walk(replayed: &Value) -> Vec<Step> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let steps = replayed["walk"]
        .as_array()
        .unwrap_or_else(|| panic!("no walk: {replayed}"));
    let told = |one: &Value| {
        let at = text(&one["upstream"]).unwrap_or_default();
        (
            text(&one["next"]).unwrap(),
            at,
            text(&one["came"]),
            !one["recorded"].is_null(),
        )
    };
    steps.iter().map(told).collect()
}

fn upstream_of(candidate: &Value) -> &str {
    candidate["upstream"].as_str().unwrap()
}

#[test]
fn what_was_not_well_is_in_the_record_of_a_call_that_went_elsewhere() {
    let world = world("", None);
    world.first.then(Behaviour::refuse(Refusal::rate_limited(Some(600))));
    assert_eq!(call(&world.gateway).1, "second");
    let (id, by, tries) = call(&world.gateway);
    assert_eq!((by.as_str(), tries.as_str()), ("second", "1"));
    let decision = &detail(&world.gateway, &id)["decision"];
    let excluded = &decision["excluded"][0];
    assert_eq!(
        (upstream_of(excluded), &excluded["reason"]),
        ("first", &"cooldown".into())
    );
    assert_eq!(excluded["state"]["rest"]["why"], "named", "{decision}");
    let text = world.gateway.cli_ok(&["replay", &id]);
    assert!(text.contains("cooldown until"), "{text}");
    assert!(text.contains("made again from the record: the same"), "{text}");
}

#[test]
fn the_setting_says_of_which_calls_there_is_a_record() {
    let all = world("logs: {decisions: all}\n", None);
    let id = call(&all.gateway).0;
    assert_eq!(detail(&all.gateway, &id)["replay"]["same"], true);

    let none = world("logs: {decisions: off}\n", None);
    let id = failed_over(&none);
    let detail = detail(&none.gateway, &id);
    assert_eq!(
        (&detail["decision"], &detail["replay"]["same"]),
        (&Value::Null, &Value::Null)
    );
    let refused = |arguments: &[&str]| {
        let output = none.gateway.cli(arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["replay", &id]).contains("no decision is kept of this call"));
    assert!(refused(&["replay", "nonsense"]).contains("is no id of a call"));
    let unknown = refused(&["replay", "01890a5d-ac96-774b-bcce-b302099a8057"]);
    assert!(unknown.contains("knows no call"), "{unknown}");
    for path in [
        "/api/requests/nonsense",
        "/api/requests/01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        assert_eq!(Request::get(path).bearer(ADMIN).send(&none.gateway.url()).status(), 404);
        assert_eq!(
            Request::get(path).bearer(CLIENT_KEY).send(&none.gateway.url()).status(),
            401
        );
    }
}
