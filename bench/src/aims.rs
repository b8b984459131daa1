//! The aims that the gateway is held to, as ratios to the bare pass-through of the same round, and whether they are
//! met. Judged is the whole price, with the settler's share; the share that clients wait for is shown beside it.

use crate::phase::{Cpu, Figures, Phase, Share};
use crate::report::{Report, median};
use crate::round::Round;
use crate::target::Target;

/// An aim and what was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// What is aimed at.
    pub what: &'static str,
    /// Unit of the figures.
    pub unit: Unit,
    /// The largest value that is good enough.
    pub limit: f64,
    /// Without the settler's share, where that differs.
    pub answering: Option<f64>,
    /// With it: this is what is judged.
    pub whole: Option<f64>,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Times the bare pass-through.
    Ratio,
    /// Million bytes.
    Megabytes,
    /// 1024 bytes.
    Kibibytes,
    /// Milliseconds.
    Milliseconds,
}

/// How an aim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Met.
    Pass,
    /// Not met.
    Miss,
    /// There is no figure.
    NotMeasured,
}

impl Aim {
    /// Whether it is met.
    pub fn mark(&self) -> Mark {
        match self.whole {
            Some(got) if got <= self.limit => Mark::Pass,
            Some(_) => Mark::Miss,
            None => Mark::NotMeasured,
        }
    }
}

impl Unit {
    /// A figure with its unit.
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Ratio => format!("{figure:.2} ×"),
            Self::Megabytes => format!("{figure:.1} MB"),
            Self::Kibibytes => format!("{figure:.1} KiB"),
            Self::Milliseconds => format!("{figure:.0} ms"),
        }
    }
}

/// All aims, with what this report has to say about them. The figures about 220 KB come in two: with the four
/// connections that the peers were measured with, and with 64.
pub fn aims(report: &Report) -> Vec<Aim> {
    let answer: Picker = Figures::per_answer_us;
    let chunk: Picker = Figures::per_chunk_us;
    let ratio = |what, limit, phase, of: Picker| Aim {
        what,
        unit: Unit::Ratio,
        limit,
        answering: ratio_to_floor(report, phase, |figures| of(figures, Cpu::answering)),
        whole: ratio_to_floor(report, phase, |figures| of(figures, Cpu::whole)),
    };
    let plain = |what, unit, limit, of: fn(&Round) -> Option<f64>| Aim {
        what,
        unit,
        limit,
        answering: None,
        whole: median(rounds_of(report, Target::Tollgate).filter_map(of)),
    };
    vec![
        ratio("CPU per request at saturation (c=64)", 1.6, Phase::Peak, answer),
        ratio("CPU per request at 1000/s", 1.3, Phase::Steady, answer),
        ratio("CPU per 220 KB request (c=4)", 1.8, Phase::LargeFew, answer),
        ratio("CPU per 220 KB request (c=64)", 1.8, Phase::LargePeak, answer),
        ratio("CPU per chunk, paced", 1.25, Phase::Paced, chunk),
        ratio("CPU per chunk, burst", 1.25, Phase::Burst, chunk),
        plain("idle memory", Unit::Megabytes, 15.0, |round| {
            round.idle.map(|memory| memory.resident as f64 / 1e6)
        }),
        plain("memory per open stream", Unit::Kibibytes, 32.0, |round| {
            round.held.as_ref()?.per_stream().map(|bytes| bytes / 1024.0)
        }),
        plain("first answer, empty data folder", Unit::Milliseconds, 100.0, |round| {
            round.first_start_ms
        }),
        plain("first answer, data in place", Unit::Milliseconds, 100.0, |round| {
            round.restart_ms
        }),
    ]
}

type Picker = fn(&Figures, Share) -> Option<f64>;

/// Median over the rounds of gateway ÷ floor. Paired by round, so that a slow hour of the machine hits both.
fn ratio_to_floor(report: &Report, phase: Phase, of: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
    let figure = |round: &Round| round.phases.get(&phase).and_then(&of);
    median(rounds_of(report, Target::Tollgate).filter_map(|gateway| {
        let floor = rounds_of(report, Target::Hyper).find(|floor| floor.number == gateway.number)?;
        Some(figure(gateway)? / figure(floor)?)
    }))
}

fn rounds_of(report: &Report, target: Target) -> impl Iterator<Item = &Round> {
    report.rounds.iter().filter(move |round| round.target == target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{report, round};

    #[test]
    fn ratios_pair_gateway_and_floor_of_the_same_round() {
        // Round 2 was twice as slow for both: the ratio must not notice.
        let rounds = vec![
            round(1, Target::Hyper, 10.0, None),
            round(1, Target::Tollgate, 12.0, Some(15.0)),
            round(2, Target::Tollgate, 24.0, Some(30.0)),
            round(2, Target::Hyper, 20.0, None),
        ];
        let aims = aims(&report(rounds));
        let peak = &aims[0];
        assert_eq!(
            (peak.answering, peak.whole, peak.mark()),
            (Some(1.2), Some(1.5), Mark::Pass)
        );
        let steady = &aims[1];
        assert_eq!((steady.whole, steady.mark()), (Some(1.5), Mark::Miss));
    }

    #[test]
    fn without_the_floor_nothing_is_claimed() {
        let aims = aims(&report(vec![round(1, Target::Tollgate, 12.0, None)]));
        assert!(
            aims.iter()
                .filter(|aim| aim.unit == Unit::Ratio)
                .all(|aim| aim.mark() == Mark::NotMeasured)
        );
    }

    #[test]
    fn a_limit_itself_is_good_enough() {
        let aim = Aim {
            what: "",
            unit: Unit::Ratio,
            limit: 1.6,
            answering: None,
            whole: Some(1.6),
        };
        assert_eq!(aim.mark(), Mark::Pass);
    }
}
