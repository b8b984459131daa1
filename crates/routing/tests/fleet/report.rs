//! What came of a run: who was tried when, and what the promises of choosing are measured by.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use domain::Timestamp;

use super::world::{Fleet, Outage};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    pub(crate) credential: usize,
    pub(crate) at: Timestamp,
    pub(crate) ends: Timestamp,
    pub(crate) answered: bool,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    /// When those came that were not.
    pub(crate) unanswered: Vec<Timestamp>,
    /// Calls answered by each upstream.
    pub(crate) per_node: Vec<u64>,
    /// Sessions that met their home, that could not, and that could have.
    pub(crate) kept: u64,
    pub(crate) moved: u64,
    pub(crate) moved_for_nothing: u64,
    pub(crate) latencies: Vec<Duration>,
    pub(crate) tries: Vec<Vec<Try>>,
}

impl Report {
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    }

    pub(crate) fn tries_in(&self, outage: &Outage) -> u64 {
        let within = |one: &&Try| one.at >= outage.mood.from && one.at < outage.mood.until;
        self.tries[outage.node].iter().filter(within).count() as u64
    }

    /// The most tries that one credential got while it was bad.
    pub(crate) fn most_of_one(&self, outage: &Outage) -> u64 {
        let mut by_credential = HashMap::<usize, u64>::new();
        let within = |one: &&Try| one.at >= outage.mood.from && one.at < outage.mood.until;
        for one in self.tries[outage.node].iter().filter(within) {
            *by_credential.entry(one.credential).or_default() += 1;
        }
        by_credential.into_values().max().unwrap_or_default()
    }

    /// Answers within the breaker's window before an outage.
    pub(crate) fn answers_before(&self, outage: &Outage) -> u64 {
        let from = outage.mood.from;
        let within = |one: &&Try| one.answered && one.ends <= from && from.since(one.ends) < Duration::from_mins(1);
        self.tries[outage.node].iter().filter(within).count() as u64
    }

    /// Tries under way when an outage begins, or when its breaker may open: silence takes twenty seconds to be noticed.
    pub(crate) fn open_at(&self, outage: &Outage) -> u64 {
        let first_end = self.tries[outage.node]
            .iter()
            .find(|one| one.at >= outage.mood.from)
            .map(|one| one.ends);
        let noticed = first_end.unwrap_or(outage.mood.from);
        let under_way = |one: &&Try| one.at <= noticed && one.ends >= outage.mood.from;
        self.tries[outage.node].iter().filter(under_way).count() as u64
    }

    /// How long it takes on average until a call would go to an upstream that is well.
    pub(crate) fn gap(fleet: &Fleet, outage: &Outage, per_second: u64) -> Duration {
        let weights: u64 = fleet.nodes.iter().map(|node| u64::from(node.weight)).sum();
        let own = u64::from(fleet.nodes[outage.node].weight);
        Duration::from_secs(weights).div_f64((own * per_second) as f64)
    }

    /// How long after an outage the upstream answered again; `None` where nothing did until the end.
    pub(crate) fn next_answer(&self, outage: &Outage) -> Option<Duration> {
        let answer = self.answers_of(outage.node).find(|at| *at >= outage.mood.until)?;
        Some(answer.since(outage.mood.until))
    }

    /// How long the run went on after an outage.
    pub(crate) fn left_after(&self, outage: &Outage) -> Duration {
        let last = self.tries.iter().flatten().map(|one| one.at).max();
        last.unwrap_or_default().max(outage.mood.until).since(outage.mood.until)
    }

    pub(crate) fn answers_of(&self, node: usize) -> impl Iterator<Item = Timestamp> {
        self.tries[node].iter().filter(|one| one.answered).map(|one| one.ends)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tries: usize = self.tries.iter().map(Vec::len).sum();
        write!(
            f,
            "{} of {} calls answered, {tries} tries, p50 {:?}, p99 {:?}; sessions kept {}, moved {}",
            self.answered,
            self.calls,
            self.percentile(0.5),
            self.percentile(0.99),
            self.kept,
            self.moved
        )
    }
}
