//! Answers that break off and are gone on with elsewhere: rows 8, 9, 10 and 14 of the sixteen faults with `recovery: true`,
//! in all four client formats, same-format and translated; what the upstreams saw, what is charged, and a healthy call
//! afterwards.

mod answers;
mod breaks;
mod candidates;
mod conversations;
mod faithful;
mod lab;
mod money;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, receipt_of};
use serde_json::json;
use testkit::client::Request;
use testkit::upstream::{At, How};

use crate::lab::{ADMIN, TAKES, World, attempts, whole};

#[test]
fn it_is_off_unless_it_is_asked_for_and_explained_where_it_is() {
    let world = World::new(Format::Chat, Format::Chat, "", [TAKES, ""]);
    let told = world.gateway.cli_ok(&["explain", "--model", "main"]);
    assert!(told.contains("gone on with by spare/small"), "{told}");
    let off = world.gateway.cli_ok(&["explain", "--model", "spare"]);
    assert!(!off.contains("recovery"), "{off}");
    world.spare.then(whole().cut(At::Events(40), How::Close));
    let response = Format::Chat
        .stream("spare")
        .bearer(CLIENT_KEY)
        .send(&world.gateway.url());
    world.assert_broken(&response);
    // What became of it is on record all the same.
    let receipt = receipt_of(&world.gateway, &response);
    let [attempt] = attempts(&receipt).try_into().expect("one attempt");
    assert_eq!(
        (&attempt["status"], &attempt["failure"]),
        (&json!(200), &json!("reset")),
        "{receipt}"
    );
    let metrics = || Request::get("/metrics").bearer(ADMIN).send(&world.gateway.url()).text();
    assert!(!metrics().contains("tollgate_recoveries_total{"), "{}", metrics());
    world.main.then(whole().cut(At::Events(40), How::Close));
    let (response, _) = world.ask();
    world.assert_all_tokens(&response);
    let counted = "tollgate_recoveries_total{code=\"continued\"} 1";
    assert!(metrics().contains(counted), "{}", metrics());
}
