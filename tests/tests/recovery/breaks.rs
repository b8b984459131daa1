//! The ways in which an answer breaks off, and what is a break.

use std::time::Duration;

use blackbox::format::Format;
use blackbox::wait::PATIENCE;
use blackbox::{receipt_of, receipts};
use serde_json::json;
use testkit::upstream::{Answer, At, Behaviour, How};

use crate::answers::said;
use crate::lab::{LIMIT, REFUSES, TAKES, TOKENS, World, each, each_with_limit, whole};

/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1_500);

/// The fault at the main upstream, and a fallback that takes up the answer. Answers are cut by closing: a reset may overtake
/// what was sent before it, and then nobody has seen where it was to be cut.
fn taken_up(idle: Duration, fault: impl Fn() -> Behaviour + Sync) {
    each_with_limit(idle, "", [TAKES, ""], |world| {
        world.main.then(fault());
        let (response, took) = world.ask();
        world.assert_all_tokens(&response);
        assert!(took < idle + SLACK, "{:?}: after {took:?}", world.format);
        assert_eq!(world.asked(), [1, 1, 0], "{:?}", world.format);
        let given = world.spare.received()[0].prefill().expect("it is given the beginning");
        assert!(given.starts_with("t0 t1 ") && given.trim_end() == given, "{given:?}");
        let receipt = world.assert_billed(&response, "continued");
        assert_eq!(receipt["usage_source"], "reported", "{receipt}");
        assert_eq!(receipts(&world.gateway).len(), 1, "one call, one receipt");
    });
}

#[test]
fn r08_cut_after_forty_tokens() {
    taken_up(PATIENCE, || whole().cut(At::Events(40), How::Close));
}

#[test]
fn r09_stalls_after_twenty_tokens() {
    taken_up(LIMIT, || whole().cut(At::Events(20), How::Stall));
}

#[test]
fn r10_tenth_event_malformed() {
    taken_up(PATIENCE, || whole().malformed(10));
}

#[test]
fn an_error_in_the_middle_of_the_stream() {
    taken_up(PATIENCE, || whole().error_after(20));
}

/// All was said, and the connection breaks before the terminator: nobody is asked for more.
#[test]
fn what_was_said_to_its_end_is_whole() {
    // A reset would take along what was not read yet.
    for how in [How::Close, How::End] {
        each(TAKES, [TAKES, TAKES], |world| {
            let at = match (world.upstream, world.format) {
                // Its end is the answer itself: without it nothing is complete. OpenAI's preset speaks it to Anthropic's.
                (Format::Responses, _) | (Format::Chat, Format::Anthropic) => return,
                (Format::Gemini, _) => At::Events(usize::MAX),
                (Format::Chat | Format::Anthropic, _) => At::Terminator,
            };
            world.main.then(whole().cut(at, how));
            let (response, _) = world.ask();
            world.assert_all_tokens(&response);
            let receipt = receipt_of(&world.gateway, &response);
            assert_eq!(
                world.asked(),
                [1, 0, 0],
                "{:?} of {:?}, {how:?}: {receipt}",
                world.format,
                world.upstream
            );
            assert_eq!(
                (&receipt["ending"], &receipt["usage_source"]),
                (&json!("complete"), &json!("reported")),
                "{receipt}"
            );
            assert!(receipt["attempts"][0]["failure"].is_null(), "{receipt}");
        });
    }
}

#[test]
fn what_the_client_has_not_seen_begins_again() {
    let blank = |how| {
        let mut answer = Answer::tokens(TOKENS);
        answer.pieces = vec![" ".to_owned(); 40];
        Behaviour::answer(answer).cut(At::Events(20), how)
    };
    // Who fell silent is not asked again in the same call, who was cut off is.
    each("", [REFUSES, ""], |world| {
        world.main.then(blank(How::Reset));
        let (response, _) = world.ask();
        assert!(
            said(world.format, &response).trim_start().starts_with("t0 t1 "),
            "{:?}",
            world.format
        );
        assert_eq!(world.asked(), [2, 0, 0], "{:?}", world.format);
    });
    each_with_limit(LIMIT, "", [REFUSES, ""], |world| {
        world.main.then(blank(How::Stall));
        let (response, _) = world.ask();
        let said = said(world.format, &response);
        assert!(
            said.trim_start().starts_with("t0 t1 ") && said.ends_with("t59 "),
            "{said:?}"
        );
        world.assert_billed(&response, "restarted");
        assert_eq!(world.spare.received()[0].prefill(), None, "{:?}", world.format);
    });
}

/// A provider's word that it failed is no end, whatever it says beside it (`OpenRouter`).
#[test]
fn a_failure_that_is_told_as_an_end_is_a_break() {
    const BOTH: &str = "data: {\"error\":{\"code\":502,\"message\":\"Provider disconnected\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    const WORD: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    for failure in [BOTH, WORD] {
        let world = World::new(Format::Chat, Format::Chat, "", [TAKES, ""]);
        world.main.then(whole().insert(20, failure));
        let (response, _) = world.ask();
        world.assert_all_tokens(&response);
        world.assert_billed(&response, "continued");
    }
}
