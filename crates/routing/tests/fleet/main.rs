//! A fleet of fifty upstreams with twenty credentials each, through outages, storms of 429 and slow hours.
//!
//! Everything that a call meets is drawn from a seed and happens in virtual time, so an hour takes seconds. What is
//! asserted is what an operator of many keys buys a gateway for: clients see answers, nothing is hammered, what has
//! recovered is used again, and each strategy keeps its promise while all of that goes on.
//!
//! A failing seed is in the message; compiled with `TOLLGATE_FLEET_SEED=n` only that one runs.

mod report;
mod world;

use std::time::Duration;

use domain::Timestamp;
use domain::declaration::Strategy;

use report::Report;
use world::{Fleet, Mood};

const SEEDS: [u64; 3] = [1, 2, 3];
/// Few enough that the tests end soon: an unoptimised choice among a thousand candidates takes a millisecond.
const CALLS_PER_SECOND: u64 = 2;
const HOUR: Duration = Duration::from_hours(1);

fn each_seed(mut test: impl FnMut(u64)) {
    let alone = option_env!("TOLLGATE_FLEET_SEED").and_then(|seed| seed.parse().ok());
    match alone {
        Some(seed) => test(seed),
        None => SEEDS.into_iter().for_each(&mut test),
    }
}

#[test]
fn clients_see_answers_while_one_is_well() {
    each_seed(|seed| {
        let fleet = Fleet::stormy(50, 20, Strategy::Weighted, seed);
        let report = fleet.run(CALLS_PER_SECOND, HOUR);
        println!("seed {seed}: {report}");
        let share = report.answered as f64 / report.calls as f64;
        assert!(
            share >= 0.999,
            "seed {seed}: {share:.5} of {} calls were answered",
            report.calls
        );
        assert_soon_answered(seed, fleet.blackout(), &report);
        assert_not_hammered(seed, &fleet, &report);
        assert_recovered(seed, &fleet, &report, CALLS_PER_SECOND);
    });
}

/// In an outage an upstream gets what it takes to notice it, and then a probe for each time that its breaker was open.
fn assert_not_hammered(seed: u64, fleet: &Fleet, report: &Report) {
    for outage in fleet.outages() {
        let probes = outage.length().as_secs() / 30 + 1;
        // Noticing takes as many failures as there were answers within the breaker's minute.
        let noticing = 5 + report.answers_before(&outage) + report.open_at(&outage);
        let tries = report.tries_in(&outage);
        // A call tries twice; a canary too, since the breaker opened under it.
        assert!(
            tries <= 2 * (noticing + probes),
            "seed {seed}: {tries} tries in {outage:?}, more than twice {noticing} + {probes}"
        );
    }
}

/// After an outage it takes the breaker's half minute and the next call that would go there anyway; chance may let that
/// wait for some times its usual gap.
fn assert_recovered(seed: u64, fleet: &Fleet, report: &Report, per_second: u64) {
    for outage in fleet.outages() {
        let most = Duration::from_secs(30) + 8 * Report::gap(fleet, &outage, per_second);
        // One that is asked no more is late when the run ends.
        let after = report
            .next_answer(&outage)
            .unwrap_or_else(|| report.left_after(&outage));
        assert!(after <= most, "seed {seed}: {after:?} after {outage:?}");
    }
}

/// Most calls want to go where nothing is well: so a breaker that did not open, a rest that was not kept and a recovery that
/// nobody noticed would show.
#[test]
fn who_would_get_most_calls_is_not_hammered_and_soon_back() {
    each_seed(|seed| {
        let fleet = Fleet::busy(seed);
        let report = fleet.run(10, Duration::from_mins(7));
        println!("seed {seed}: {report}");
        assert!(report.answered * 1_000 >= report.calls * 999, "seed {seed}: {report}");
        assert_not_hammered(seed, &fleet, &report);
        assert_recovered(seed, &fleet, &report, 10);
        for (storm, wait) in fleet.storms() {
            let seconds = storm.length().as_secs();
            let rests = match wait {
                Some(wait) => seconds / wait,
                // A second, two, four, and so on, each by chance a quarter shorter.
                None => u64::from((seconds * 4 / 3).ilog2()) + 1,
            };
            // The first, one after each rest, and two that were under way: a quarter of a second is two or three calls.
            let most = report.most_of_one(&storm);
            assert!(
                most <= rests + 3,
                "seed {seed}: {most} tries of one credential in {storm:?}"
            );
        }
    });
}

/// Fifty upstreams of twenty credentials, and one of the thousand is well. When all the others go at the same moment, the
/// first calls use up their tries on finding that out; afterwards nobody goes without an answer.
#[test]
fn clients_see_answers_while_one_candidate_is_well() {
    each_seed(|seed| {
        let fleet = Fleet::one_well(seed);
        let report = fleet.run(4, Duration::from_mins(6));
        println!("seed {seed}: {report}");
        assert_soon_answered(seed, fleet.start + Duration::from_mins(2), &report);
        assert!(report.answered * 1_000 >= report.calls * 990, "seed {seed}: {report}");
    });
}

/// Who came later than when it was to be found out that nearly all are down got an answer.
fn assert_soon_answered(seed: u64, since: Timestamp, report: &Report) {
    let found_out = since + Duration::from_secs(30);
    let late = report.unanswered.iter().filter(|at| **at >= found_out).count();
    assert_eq!(late, 0, "seed {seed}: {:?} since {since:?}", report.unanswered);
}

#[test]
fn each_upstream_has_its_share_while_all_are_well() {
    each_seed(|seed| {
        let fleet = Fleet::healthy(5, 4, Strategy::Weighted, seed);
        let report = fleet.run(40, HOUR / 2);
        for (node, answered) in fleet.nodes.iter().zip(&report.per_node) {
            let (got, expected) = (*answered as f64 / report.calls as f64, f64::from(node.weight) / 15.0);
            let weight = node.weight;
            assert!(
                (got / expected - 1.0).abs() < 0.05,
                "seed {seed}: weight {weight} got {got} of {expected}"
            );
        }
    });
}

#[test]
fn load_is_as_the_weights_say_while_all_are_well() {
    let (mut calls, mut per_weight) = (0, [0_u64; 6]);
    each_seed(|seed| {
        // What the credentials do is nothing to the shares of upstreams.
        let fleet = Fleet::healthy(50, 1, Strategy::Weighted, seed);
        let report = fleet.run(15, HOUR / 2);
        assert_eq!(report.answered, report.calls, "seed {seed}");
        calls += report.calls;
        for (node, answered) in fleet.nodes.iter().zip(&report.per_node) {
            per_weight[node.weight as usize] += answered;
        }
    });
    // Ten upstreams of each weight from 1 to 5.
    for (weight, answered) in (1..).zip(&per_weight[1..]) {
        let (got, expected) = (*answered as f64 / calls as f64, f64::from(weight) / 15.0);
        assert!(
            (got / expected - 1.0).abs() < 0.05,
            "weight {weight} got {got} of {expected}"
        );
    }
}

#[test]
fn lowest_latency_beats_round_robin_threefold_with_one_slow_in_ten() {
    each_seed(|seed| {
        let p99 = |strategy| {
            let mut fleet = Fleet::healthy(10, 2, strategy, seed);
            fleet.nodes[3].moods = vec![Mood::slow(fleet.start, HOUR)];
            let report = fleet.run(10, HOUR / 4);
            report.percentile(0.99)
        };
        let (round_robin, lowest) = (p99(Strategy::RoundRobin), p99(Strategy::LowestLatency));
        println!("seed {seed}: p99 {round_robin:?} by round_robin, {lowest:?} by lowest_latency");
        assert!(
            round_robin >= 3 * lowest,
            "seed {seed}: {round_robin:?} against {lowest:?}"
        );
    });
}

#[test]
fn lowest_latency_finds_out_that_a_slow_one_is_fast_again() {
    each_seed(|seed| {
        let mut fleet = Fleet::healthy(10, 2, Strategy::LowestLatency, seed);
        fleet.nodes[3].moods = vec![Mood::slow(fleet.start, HOUR / 6)];
        let report = fleet.run(10, HOUR / 2);
        let slow_end = fleet.start + HOUR / 6;
        let later = report
            .answers_of(3)
            .filter(|at| *at > slow_end + Duration::from_mins(3))
            .count();
        let fair = report.calls as usize / 10 * 17 / 30;
        assert!(later * 2 > fair, "seed {seed}: {later} calls of a fair share of {fair}");
    });
}

#[test]
fn sessions_move_only_when_they_must() {
    each_seed(|seed| {
        let fleet = Fleet::stormy(50, 20, Strategy::Sticky, seed);
        let report = fleet.run(CALLS_PER_SECOND, HOUR / 3);
        println!("seed {seed}: {report}");
        assert!(report.moved > 0, "seed {seed}: nobody had to move");
        assert!(
            report.kept > 4 * report.moved,
            "seed {seed}: {} kept, {} moved",
            report.kept,
            report.moved
        );
        assert_eq!(report.moved_for_nothing, 0, "seed {seed}");
    });
}

#[test]
fn a_seed_is_a_world() {
    let runs = [1, 1].map(|seed| Fleet::stormy(10, 3, Strategy::LeastUsed, seed).run(5, HOUR / 12));
    assert_eq!(runs[0].to_string(), runs[1].to_string());
    assert_eq!(runs[0].per_node, runs[1].per_node);
}
