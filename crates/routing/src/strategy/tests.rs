//! What each strategy promises. What holds for all of them is tested with the plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::Strategy;
use domain::snapshot::Route;
use domain::{Forced, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{CHAT, START, at, failure, rng, route, snapshot_of};
use crate::{Asked, Board, Choice, InFlight, plan};

fn first_at(route: &Route, board: &Board, asked: impl Into<Asked<'static>>, now: Timestamp, seed: u64) -> Choice {
    plan(route, asked, board, now, &mut rng(seed)).order[0]
}

fn first(route: &Route, board: &Board, asked: impl Into<Asked<'static>>) -> usize {
    first_at(route, board, asked, START, 1).target
}

fn open(route: &Route, board: &Board, target: usize) -> InFlight {
    let upstream = &route.targets[target].upstream;
    board.begin(upstream, &upstream.credentials[0], START)
}

// ===== least_used =====

#[test]
fn least_used_levels_out_what_was_used() {
    let route = route(Strategy::LeastUsed, &[json!({}), json!({}), json!({})]);
    let board = Board::new();
    // The first is away for a while and then has catching up to do.
    board.force(route.targets[0].upstream.id, Some(Forced::Open));
    for _ in 0..20 {
        assert_ne!(first(&route, &board, CHAT), 0);
    }
    board.force(route.targets[0].upstream.id, None);
    let after: Vec<usize> = (0..13).map(|_| first(&route, &board, CHAT)).collect();
    assert_eq!(after[..10], [0; 10], "it has none of the twenty");
    assert!(
        after[10..].contains(&1) && after[10..].contains(&2),
        "then all alike: {after:?}"
    );
}

#[test]
fn old_uses_are_forgotten() {
    let route = route(Strategy::LeastUsed, &[json!({}), json!({})]);
    let board = Board::new();
    board.force(route.targets[0].upstream.id, Some(Forced::Open));
    for _ in 0..64 {
        first(&route, &board, CHAT);
    }
    board.force(route.targets[0].upstream.id, None);
    let next_day = START + Duration::from_hours(24);
    let mut counts = [0; 2];
    for seed in 0..20 {
        counts[first_at(&route, &board, CHAT, next_day, seed).target] += 1;
    }
    assert_eq!(counts, [10, 10], "not all of a day is caught up with");
}

#[test]
fn credentials_are_levelled_out_too() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 4, "strategy": "least_used"})]);
    let board = Board::new();
    let mut counts = [0; 4];
    for seed in 0..400 {
        counts[first_at(&route, &board, CHAT, at(seed), seed).credential] += 1;
    }
    assert_eq!(counts, [100; 4]);
}

// ===== lowest_latency =====

/// Makes calls one after another; each upstream takes this long.
fn calls(route: &Route, board: &Board, took_ms: &[u64], calls: usize, start: Timestamp) -> Vec<usize> {
    let (mut rng, mut now) = (rng(5), start);
    let mut firsts = vec![0; took_ms.len()];
    for _ in 0..calls {
        let choice = plan(route, CHAT, board, now, &mut rng).order[0];
        let took = Duration::from_millis(took_ms[choice.target]);
        now = now + took;
        board.answered(route, choice, took, now);
        firsts[choice.target] += 1;
    }
    firsts
}

#[test]
fn the_slow_one_is_left_and_looked_at_now_and_then() {
    let route = route(Strategy::LowestLatency, &vec![json!({}); 10]);
    let board = Board::new();
    let took = [vec![5_000], vec![200; 9]].concat();
    let firsts = calls(&route, &board, &took, 2_000, START);
    // 2,000 calls take about seven minutes, and every minute somebody looks.
    assert!((1..=10).contains(&firsts[0]), "{firsts:?}");
    assert!(
        firsts[1..].iter().all(|count| *count > 20),
        "the others share: {firsts:?}"
    );
}

#[test]
fn calls_of_the_same_moment_do_not_all_go_to_the_best() {
    let route = route(Strategy::LowestLatency, &vec![json!({}); 5]);
    let board = Board::new();
    for target in 0..5 {
        let took = Duration::from_millis(100 * (target as u64 + 1));
        board.answered(&route, Choice { target, credential: 0 }, took, START);
    }
    let mut counts = [0; 5];
    for seed in 0..1_000 {
        counts[first_at(&route, &board, CHAT, START, seed).target] += 1;
    }
    // Of ten pairs the best is in four, the next in three that it wins, and the worst wins none.
    for (count, expected) in counts.into_iter().zip([400_i32, 300, 200, 100, 0]) {
        assert!((count - expected).abs() < 60, "{counts:?}");
    }
}

#[test]
fn a_failure_counts_as_slow_however_fast_it_was() {
    let route = route(Strategy::LowestLatency, &[json!({}), json!({})]);
    let board = Board::new();
    let of = |target| Choice { target, credential: 0 };
    board.answered(&route, of(1), Duration::from_secs(2), START);
    board.wasted(
        &route,
        of(0),
        domain::FailureClass::Server,
        Duration::from_millis(3),
        START,
    );
    assert_eq!(first(&route, &board, CHAT), 1);
    let limited = failure(domain::FailureClass::RateLimited).class;
    board.wasted(&route, of(1), limited, Duration::from_millis(3), START);
    assert_eq!(first(&route, &board, CHAT), 1, "a limit says nothing about speed");
}

#[test]
fn open_calls_count_before_they_are_answered() {
    let route = route(Strategy::LowestLatency, &[json!({}), json!({})]);
    let board = Board::new();
    let of = |target| Choice { target, credential: 0 };
    board.answered(&route, of(0), Duration::from_millis(100), START);
    board.answered(&route, of(1), Duration::from_millis(250), START);
    let mut hanging = Vec::new();
    assert_eq!(first(&route, &board, CHAT), 0);
    hanging.extend([open(&route, &board, 0), open(&route, &board, 0)]);
    assert_eq!(first(&route, &board, CHAT), 1, "three times 100 is more than 250");
}

#[test]
fn what_is_new_is_tried_by_one_at_a_time() {
    let route = route(Strategy::LowestLatency, &[json!({}), json!({})]);
    let board = Board::new();
    board.answered(
        &route,
        Choice {
            target: 0,
            credential: 0,
        },
        Duration::from_millis(10),
        START,
    );
    assert_eq!(first(&route, &board, CHAT), 1, "nothing is known of it");
    let trying = open(&route, &board, 1);
    assert_eq!(first(&route, &board, CHAT), 0, "somebody is finding out");
    drop(trying);
    assert_eq!(first(&route, &board, CHAT), 1);
}

// ===== cheapest =====

fn priced(prices: &[(&str, &str)]) -> (Arc<Route>, Board) {
    let upstreams = vec![json!({}); prices.len()];
    let models: Vec<Value> = prices
        .iter()
        .zip(1..)
        .map(|((input, output), id)| {
            let mut model =
                json!({"name": format!("p{id}"), "targets": [{"upstream": format!("u{id}"), "model": "x"}]});
            if !input.is_empty() {
                model["price"] = json!({"input": input, "output": output});
            }
            model
        })
        .collect();
    let snapshot = snapshot_of(&upstreams, &models);
    let targets = (1..=prices.len()).map(|id| snapshot.route(&format!("p{id}")).unwrap().targets[0].clone());
    let route = Route {
        model: "m".to_owned(),
        strategy: Strategy::Cheapest,
        targets: targets.collect(),
        price: None,
        system_prompt: None,
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
        bounds: domain::snapshot::RouteBounds::default(),
        stamp: domain::snapshot::RouteStamp::default(),
    };
    (Arc::new(route), Board::new())
}

fn sized(input_tokens: u64, output_tokens: u64) -> Asked<'static> {
    Asked {
        input_tokens,
        output_tokens,
        ..Asked::from(CHAT)
    }
}

#[test]
fn the_cheapest_for_this_request_goes_first() {
    let (route, board) = priced(&[("1.00", "30.00"), ("5.00", "5.00"), ("", ""), ("50.00", "50.00")]);
    assert_eq!(
        first(&route, &board, sized(100_000, 10)),
        0,
        "much to read, little to write"
    );
    assert_eq!(first(&route, &board, sized(100, 1_000)), 1, "the other way round");
    let order = plan(&route, sized(1, 1), &board, START, &mut rng(1)).order;
    assert_eq!(
        order.iter().map(|choice| choice.target).collect::<Vec<_>>(),
        [1, 0, 3, 2],
        "no price known: last"
    );
}

#[test]
fn equal_prices_take_turns() {
    let (route, board) = priced(&[("1.00", "2.00"), ("1.00", "2.00")]);
    let turns: Vec<usize> = (0..4).map(|_| first(&route, &board, sized(10, 10))).collect();
    assert_eq!(turns, [0, 1, 0, 1]);
}

#[test]
fn credentials_of_one_upstream_take_turns_where_all_cost_the_same() {
    let route = route(Strategy::Cheapest, &[json!({"keys": 2, "strategy": "cheapest"})]);
    let board = Board::new();
    let turns = [1, 2, 3, 4].map(|seed| first_at(&route, &board, CHAT, START, seed).credential);
    assert_eq!(turns, [0, 1, 0, 1]);
}

// ===== sticky =====

fn session(number: u64) -> Asked<'static> {
    Asked {
        affinity: Some(number.wrapping_mul(0x5851_f42d_4c95_7f2d)),
        ..Asked::from(CHAT)
    }
}

fn homes(route: &Route, board: &Board, sessions: u64) -> Vec<usize> {
    (0..sessions)
        .map(|number| first(route, board, session(number)))
        .collect()
}

#[test]
fn a_session_stays_where_it_is() {
    let route = route(Strategy::Sticky, &vec![json!({}); 5]);
    let board = Board::new();
    let home = homes(&route, &board, 200);
    assert_eq!(homes(&route, &board, 200), home);
    assert_eq!(homes(&route, &Board::new(), 200), home, "another replica agrees");
    let mut counts = BTreeMap::new();
    for target in &home {
        *counts.entry(target).or_insert(0) += 1;
    }
    assert!(
        counts.len() == 5 && counts.values().all(|count| *count > 20),
        "{counts:?}"
    );
}

#[test]
fn only_those_of_a_lost_one_move_and_they_come_back() {
    let route = route(Strategy::Sticky, &vec![json!({}); 5]);
    let board = Board::new();
    let home = homes(&route, &board, 500);
    board.force(route.targets[2].upstream.id, Some(Forced::Open));
    let meanwhile = homes(&route, &board, 500);
    for (before, then) in home.iter().zip(&meanwhile) {
        assert!(
            if *before == 2 { *then != 2 } else { then == before },
            "{before} became {then}"
        );
    }
    let refuges: std::collections::BTreeSet<_> = home
        .iter()
        .zip(&meanwhile)
        .filter(|(before, _)| **before == 2)
        .map(|(_, then)| then)
        .collect();
    assert_eq!(refuges.len(), 4, "they spread over all others");
    board.force(route.targets[2].upstream.id, None);
    assert_eq!(homes(&route, &board, 500), home);
}

#[test]
fn few_sessions_move_when_one_is_added() {
    let before = homes(&route(Strategy::Sticky, &vec![json!({}); 4]), &Board::new(), 1_000);
    let after = homes(&route(Strategy::Sticky, &vec![json!({}); 5]), &Board::new(), 1_000);
    let moved: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .collect();
    assert!(moved.iter().all(|(_, after)| **after == 4), "only to the new one");
    assert!((120..280).contains(&moved.len()), "about a fifth: {}", moved.len());
}

#[test]
fn weights_are_shares_of_sessions() {
    let decls = [json!({"weight": 3}), json!({"weight": 1})];
    let home = homes(&route(Strategy::Sticky, &decls), &Board::new(), 4_000);
    let share = home.iter().filter(|target| **target == 0).count() as f64 / 4_000.0;
    assert!((share - 0.75).abs() < 0.03, "{share}");
}

#[test]
fn a_popular_session_does_not_drown_its_home() {
    let route = route(Strategy::Sticky, &vec![json!({}); 4]);
    let board = Board::new();
    let mut opened = Vec::new();
    let mut counts = [0_u32; 4];
    for _ in 0..200 {
        let target = first(&route, &board, session(7));
        opened.push(open(&route, &board, target));
        counts[target] += 1;
        let most = (f64::from(counts.iter().sum::<u32>()) / 4.0 * 1.25).ceil().max(8.0);
        assert!(
            counts.iter().all(|count| f64::from(*count) <= most),
            "{counts:?} over {most}"
        );
    }
    let home = first(&route, &Board::new(), session(7));
    assert_eq!(
        counts.iter().max(),
        Some(&counts[home]),
        "its home has the most all the same"
    );
    drop(opened);
    assert_eq!(first(&route, &board, session(7)), home);
}

#[test]
fn without_anything_in_common_it_draws() {
    let route = route(Strategy::Sticky, &[json!({}), json!({})]);
    let board = Board::new();
    let firsts: Vec<usize> = (0..100)
        .map(|seed| first_at(&route, &board, CHAT, START, seed).target)
        .collect();
    assert!(firsts.contains(&0) && firsts.contains(&1));
}

#[test]
fn credentials_keep_their_sessions_too() {
    let route = route(Strategy::RoundRobin, &[json!({"keys": 5, "strategy": "sticky"})]);
    let board = Board::new();
    let home = |number| first_at(&route, &board, session(number), START, number).credential;
    let homes: Vec<usize> = (0..100).map(home).collect();
    assert_eq!((0..100).map(home).collect::<Vec<_>>(), homes);
    assert!((0..5).all(|credential| homes.contains(&credential)), "{homes:?}");
}

proptest! {
    #[test]
    fn crowding_is_never_everybody(open in proptest::collection::vec(0_u32..500, 1..100)) {
        let mut crowd = Crowd::default();
        for open in &open {
            crowd.add(*open);
        }
        prop_assert!(open.iter().any(|open| !crowd.is_crowded(*open)));
        let mean = f64::from(open.iter().sum::<u32>() + 1) / open.len() as f64;
        for open in open.iter().filter(|open| !crowd.is_crowded(**open)) {
            prop_assert!(f64::from(*open + 1) <= (mean * 1.25).ceil().max(8.0));
        }
    }
}
