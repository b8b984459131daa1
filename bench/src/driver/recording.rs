//! What a load brought. Samples are kept as they come and sorted only when the load is over and the target's CPU time
//! has been read, so that sorting is in nobody's figure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{ERROR_KINDS_MAX, SAMPLES_MAX};
use crate::wire::Shape;

/// The raw results of a load.
#[derive(Debug)]
pub struct Recording {
    shape: Shape,
    answered: u64,
    failures: BTreeMap<String, u64>,
    reconnects: u64,
    took: Duration,
    latency: Vec<u64>,
    first_body: Vec<u64>,
    gap: Vec<u64>,
}

/// The results of a load, ready for a report.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Verified answers.
    pub answered: u64,
    /// Answers that were wrong or did not come.
    pub errors: u64,
    /// How many of each kind.
    pub error_kinds: BTreeMap<String, u64>,
    /// Content chunks of verified streams.
    pub chunks: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Verified answers per second.
    pub per_second: f64,
    /// Connections that the target closed between two requests; the request was sent again.
    pub reconnects: u64,
    /// From due to the last byte.
    pub latency_us: Quantiles,
    /// Of streams: from due to the first byte of the body.
    pub first_body_us: Quantiles,
    /// Of streams: the longest pause within each.
    pub gap_us: Quantiles,
}

/// A distribution, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// All but one in a hundred are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// The times of one answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) latency: Duration,
    pub(super) first_body: Duration,
    pub(super) gap: Duration,
}

impl Recording {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            answered: 0,
            failures: BTreeMap::new(),
            reconnects: 0,
            took: Duration::ZERO,
            latency: Vec::new(),
            first_body: Vec::new(),
            gap: Vec::new(),
        }
    }

    /// Wrong or missing answers so far.
    pub fn errors(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests that are over.
    pub fn finished(&self) -> u64 {
        self.answered + self.errors()
    }

    /// Verified answers so far.
    pub fn answered_count(&self) -> u64 {
        self.answered
    }

    /// Sorts the samples and counts.
    pub fn summarise(mut self) -> Summary {
        let seconds = self.took.as_secs_f64();
        Summary {
            answered: self.answered,
            errors: self.errors(),
            chunks: self.answered * u64::from(self.shape.chunks()),
            seconds,
            per_second: if seconds > 0.0 {
                self.answered as f64 / seconds
            } else {
                0.0
            },
            reconnects: self.reconnects,
            latency_us: Quantiles::of(&mut self.latency),
            first_body_us: Quantiles::of(&mut self.first_body),
            gap_us: Quantiles::of(&mut self.gap),
            error_kinds: self.failures,
        }
    }

    pub(super) fn answered(&mut self, times: &Times) {
        self.answered += 1;
        if self.latency.len() < SAMPLES_MAX {
            self.latency.push(nanos(times.latency));
            if matches!(self.shape, Shape::Stream { .. }) {
                self.first_body.push(nanos(times.first_body));
                self.gap.push(nanos(times.gap));
            }
        }
    }

    pub(super) fn failed(&mut self, why: &str) {
        let known = self.failures.contains_key(why) || self.failures.len() < ERROR_KINDS_MAX;
        *self
            .failures
            .entry(if known { why } else { "other" }.to_owned())
            .or_default() += 1;
    }

    pub(super) fn reconnected(&mut self) {
        self.reconnects += 1;
    }

    pub(super) fn end(&mut self, took: Duration) {
        self.took = took;
    }
}

impl Quantiles {
    /// The quantiles of nanoseconds, by nearest rank; zeros of nothing.
    fn of(nanos: &mut [u64]) -> Self {
        nanos.sort_unstable();
        let at = |share: f64| {
            let rank = (nanos.len() as f64 * share).ceil() as usize;
            nanos
                .get(rank.saturating_sub(1))
                .map_or(0.0, |&nanos| nanos as f64 / 1_000.0)
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut samples: Vec<u64> = (1..=200).rev().map(|us| us * 1_000).collect();
        let got = Quantiles::of(&mut samples);
        assert_eq!(
            got,
            Quantiles {
                p50: 100.0,
                p90: 180.0,
                p99: 198.0,
                max: 200.0
            }
        );
        assert_eq!(Quantiles::of(&mut []), Quantiles::default());
        assert_eq!(
            Quantiles::of(&mut [7_000]),
            Quantiles {
                p50: 7.0,
                p90: 7.0,
                p99: 7.0,
                max: 7.0
            }
        );
    }

    #[test]
    fn only_verified_streams_count_as_chunks() {
        let mut recording = Recording::new(Shape::Stream { chunks: 10 });
        recording.answered(&Times::default());
        recording.failed("cut");
        let summary = recording.summarise();
        assert_eq!((summary.answered, summary.chunks, summary.errors), (1, 10, 1));
    }

    #[test]
    fn kinds_of_error_are_bounded_and_none_is_lost() {
        let mut recording = Recording::new(Shape::Plain);
        (0..ERROR_KINDS_MAX + 5).for_each(|number| recording.failed(&number.to_string()));
        recording.failed("0");
        let summary = recording.summarise();
        assert_eq!(summary.errors, ERROR_KINDS_MAX as u64 + 6);
        assert_eq!((summary.error_kinds["0"], summary.error_kinds["other"]), (2, 5));
    }
}
