//! Other models in a model's place: on failure, on a refusal that they may not share, and never otherwise.

use domain::declaration::RefusalCause;
use domain::snapshot::Route;

use super::*;
use crate::testing::snapshot_of;
use crate::{Board, plan};

/// `m` at `u1`, with these fallbacks: `larger` at `u2` and `smaller` at `u3`; each on its own upstream.
fn chain(more: &Value) -> Arc<Route> {
    let mut asked = json!({"name": "m", "targets": [{"upstream": "u1"}], "context": 8_000});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let models = [
        asked,
        json!({"name": "larger", "targets": [{"upstream": "u2"}], "context": 200_000, "fallbacks": ["last"]}),
        json!({"name": "smaller", "targets": [{"upstream": "u3", "priority": -5}], "context": 4_000}),
        json!({"name": "last", "targets": [{"upstream": "u4"}]}),
    ];
    snapshot_of(&vec![json!({"breaker": "off"}); 4], &models)
        .route("m")
        .unwrap()
}

fn both() -> Arc<Route> {
    chain(&json!({"fallbacks": ["smaller", "larger"]}))
}

#[test]
fn fallbacks_follow_in_their_order_whatever_their_priority() {
    let log = run(
        &both(),
        |_, upstream, _| if upstream == 4 { Ok(()) } else { Err(status(401)) },
    );
    assert_eq!(
        log.upstreams(),
        [1, 3, 2, 4],
        "its own list, then those of its fallbacks"
    );
}

#[test]
fn a_server_error_is_tried_again_before_another_model_answers() {
    let log = run(&both(), first(1, &status(500)));
    assert_eq!(log.upstreams(), [1, 1]);
    let log = run(&both(), primary_fails(&status(503)));
    assert_eq!(log.upstreams(), [1, 1, 3], "twice, since another is healthy");
}

#[test]
fn a_limit_is_not_waited_for_while_another_model_is_there() {
    let log = run(&both(), primary_fails(&after(status(429), 2_000)));
    assert_eq!((log.upstreams(), log.took), (vec![1, 3], 20));
}

#[test]
fn silence_turns_to_another_model_after_one_limit() {
    let log = run(&both(), primary_fails(&failure(FailureClass::Silence)));
    assert_eq!(log.upstreams(), [1, 3]);
}

#[test]
fn an_open_breaker_turns_to_another_model_at_once() {
    let models = [
        json!({"name": "m", "targets": [{"upstream": "u1"}], "fallbacks": ["n"]}),
        json!({"name": "n", "targets": [{"upstream": "u2"}]}),
    ];
    let route = snapshot_of(&[json!({}), json!({})], &models).route("m").unwrap();
    let board = Board::new();
    for call in 0..3 {
        Call::new(&route, &board)
            .at(at(call * 2_000))
            .run(primary_fails(&status(503)));
    }
    let log = Call::new(&route, &board).at(at(7_000)).run(primary_fails(&status(503)));
    assert_eq!(log.upstreams(), [2], "no last resort while a fallback is well");
    let log = Call::new(&route, &board).at(at(60_000)).run(|_, _, _| Ok(()));
    assert_eq!(log.upstreams(), [1], "and back as soon as it may be probed");
}

/// Where a call goes after the model that was asked refused it for this cause.
fn after_refusal(route: &Route, cause: RefusalCause) -> Option<usize> {
    let board = Board::new();
    let mut attempts = Attempts::new(
        plan(route, CHAT, &board, START, &mut rng(1)),
        &Defaults::default(),
        at(600_000),
    );
    let Step::Try(choice) = attempts.next(route, &board, START) else {
        panic!("nothing to try")
    };
    attempts.served(route, choice, &board, at(10));
    if !attempts.refused(route, choice, cause) {
        return None;
    }
    match attempts.next(route, &board, at(10)) {
        Step::Try(choice) => Some(route.targets[choice.target].upstream.id.0 as usize),
        other => panic!("{other:?}"),
    }
}

#[test]
fn too_long_a_request_goes_to_a_larger_model_only() {
    assert_eq!(
        after_refusal(&both(), RefusalCause::ContextLength),
        Some(2),
        "not to the smaller one"
    );
    let smaller = chain(&json!({"fallbacks": ["smaller"]}));
    assert_eq!(after_refusal(&smaller, RefusalCause::ContextLength), None);
    let unknown = chain(&json!({"fallbacks": ["last"]}));
    assert_eq!(
        after_refusal(&unknown, RefusalCause::ContextLength),
        None,
        "nothing is known of its window"
    );
    assert_eq!(after_refusal(&chain(&json!({})), RefusalCause::ContextLength), None);
}

#[test]
fn a_policy_is_gone_round_only_where_that_was_asked_for() {
    assert_eq!(after_refusal(&both(), RefusalCause::ContentPolicy), None);
    let asked = chain(&json!({"fallbacks": ["smaller"], "fallback_on": ["content_policy"]}));
    assert_eq!(after_refusal(&asked, RefusalCause::ContentPolicy), Some(3));
    assert_eq!(
        after_refusal(&asked, RefusalCause::ContextLength),
        None,
        "the list replaces the default"
    );
}

#[test]
fn another_target_of_the_same_model_is_not_asked_again() {
    let models = [
        json!({"name": "m", "targets": [{"upstream": "u1"}, {"upstream": "u2"}], "fallbacks": ["n"], "context": 1}),
        json!({"name": "n", "targets": [{"upstream": "u3"}], "context": 2}),
    ];
    let route = snapshot_of(&[json!({}), json!({}), json!({})], &models)
        .route("m")
        .unwrap();
    assert_eq!(after_refusal(&route, RefusalCause::ContextLength), Some(3));
}

#[test]
fn after_an_outage_the_model_itself_answers_again_within_half_a_minute() {
    let models = [
        json!({"name": "m", "targets": [{"upstream": "u1"}], "fallbacks": ["n"]}),
        json!({"name": "n", "targets": [{"upstream": "u2"}]}),
    ];
    let route = snapshot_of(&[json!({}), json!({})], &models).route("m").unwrap();
    let board = Board::new();
    let mut back = None;
    for call in 0..30_u64 {
        let ms = call * 4_000;
        let log = Call::new(&route, &board).at(at(ms)).run(|_, upstream, _| {
            if upstream == 1 && ms < 60_000 {
                Err(status(503))
            } else {
                Ok(())
            }
        });
        assert_eq!(log.status(), 200, "all are answered");
        if ms >= 60_000 && log.upstreams() == [1] {
            back = back.or(Some(ms - 60_000));
        }
    }
    assert!(back.is_some_and(|after| after <= 30_000), "{back:?}");
}

#[test]
fn a_refusing_model_is_not_asked_again_as_the_last_resort() {
    let models = [
        json!({"name": "m", "targets": [{"upstream": "u1"}, {"upstream": "u2"}], "context": 8_000, "fallbacks": ["n"]}),
        json!({"name": "n", "targets": [{"upstream": "u3"}], "context": 200_000}),
    ];
    let route = snapshot_of(&vec![json!({"breaker": "off"}); 3], &models)
        .route("m")
        .unwrap();
    let board = Board::new();
    // Nobody named how long it lasts, so without the refusal it would be tried at the end all the same.
    testing::fail(&route, &board, (1, 0), &status(429), START);
    let mut attempts = Attempts::new(
        plan(&route, CHAT, &board, START, &mut rng(1)),
        &Defaults::default(),
        at(600_000),
    );
    let mut tried = Vec::new();
    let mut now = START;
    for _ in 0..20 {
        match attempts.next(&route, &board, now) {
            Step::Try(choice) if choice.target == 0 => {
                tried.push(0);
                attempts.served(&route, choice, &board, now);
                assert!(attempts.refused(&route, choice, RefusalCause::ContextLength));
            }
            Step::Try(choice) => {
                tried.push(choice.target);
                attempts.failed(&route, choice, &status(401), &board, now, &mut rng(1));
            }
            Step::Wait { until } => now = until,
            Step::GiveUp(_) => break,
        }
    }
    assert_eq!(tried, [0, 2]);
}

#[test]
fn a_guess_of_the_length_turns_to_no_other_model() {
    let route = both();
    let board = Board::new();
    let order = |tokens: u64, least_tokens: u64| -> Vec<u8> {
        let asked = crate::Asked {
            needs: domain::Needs {
                tokens,
                least_tokens,
                ..domain::Needs::default()
            },
            ..CHAT.into()
        };
        let plan = plan(&route, asked, &board, START, &mut rng(1));
        plan.order
            .iter()
            .map(|choice| route.targets[choice.target].tier)
            .collect()
    };
    assert_eq!(order(10_000, 3_000), [0, 1, 2, 3]);
    assert_eq!(order(10_000, 9_000), [2, 3], "for certain too long for the first two");
}
