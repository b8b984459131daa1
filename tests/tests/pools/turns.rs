//! Whose turn it is, and whose keys a credential is for.

use testkit::upstream::{Behaviour, Match, Refusal};

use crate::lab::{COMMON, TEAM_A, TEAM_B, World, pair, secret};

#[test]
fn credentials_take_turns_of_the_length_that_they_say() {
    let world = World::new("openai", &[("k1", ", rotate_after: 3"), ("k2", "")], "");
    let turns: Vec<_> = (0..8).map(|_| world.served()).collect();
    assert_eq!(turns, ["k1", "k1", "k1", "k2", "k1", "k1", "k1", "k2"]);
}

#[test]
fn a_key_of_a_profile_uses_its_credentials_and_never_anothers() {
    let world = World::new("openai", &[("k1", ", profile: team-a"), ("k2", "")], "");
    assert_eq!(world.served_to(TEAM_A), "k1");
    assert_eq!(world.served_to(TEAM_A), "k1");
    assert_eq!(world.served_to(COMMON), "k2");
    assert_eq!(world.served_to(TEAM_B), "503", "none has that profile");
    world.upstream.rule(
        Match::credential(&secret("k1")),
        Behaviour::refuse(Refusal::rate_limited(Some(60))),
    );
    assert_eq!(world.call(TEAM_A, "m").status(), 429);
    assert_eq!(world.call(TEAM_A, "m").status(), 429);
    let asked: Vec<_> = world
        .upstream
        .take_received()
        .into_iter()
        .filter_map(|call| call.credential)
        .collect();
    assert_eq!(asked, [secret("k1")], "another's was not asked, and its own not twice");
    assert_eq!(world.excluded("a"), [pair("k1", "cooldown"), pair("k2", "profile")]);
    assert_eq!(world.excluded("common"), [pair("k1", "profile")]);
}
