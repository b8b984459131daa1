//! Turns rounds into tables: medians over the rounds, latencies as differences to the mock upstream of the same round.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::aims::{Mark, aims};
use crate::phase::{Cpu, Evidence, Figures, Phase, Share};
use crate::round::{Round, Settings};
use crate::target::Target;

/// Above this share of the machine for other programs a run is marked as noisy. Measured: two copies of the same
/// program differed by up to 40 % when a compiler ran beside them.
const FOREIGN_SHARE_MAX: f64 = 0.05;

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where and from what.
    pub conditions: Conditions,
    /// How.
    pub settings: Settings,
    /// In the order in which they were run.
    pub rounds: Vec<Round>,
}

/// What the figures depend on besides the programs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Conditions {
    /// UTC, as `date` writes it.
    pub date: String,
    /// Name of the processor.
    pub processor: String,
    /// Cores that this run could use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the checkout, marked when it had changes.
    pub commit: String,
    /// Cargo profile of driver, mock upstream and floor.
    pub profile: String,
    /// Where the gateway came from: a ratio of binaries that were built differently says little.
    pub gateway: String,
    /// Whether the run had a network namespace of its own.
    pub own_namespace: bool,
}

impl Conditions {
    /// Those of this machine, now; what cannot be found out is empty.
    pub fn here(profile: &str, gateway: &str, own_namespace: bool) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            processor: processor.map(|(_, name)| name.to_owned()).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: output("uname", &["-r"]),
            commit: output(
                "git",
                &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"],
            ),
            profile: profile.to_owned(),
            gateway: gateway.to_owned(),
            own_namespace,
        }
    }
}

impl Report {
    /// Wrong answers and failed rounds.
    pub fn errors(&self) -> u64 {
        self.rounds.iter().map(Round::errors).sum()
    }

    /// All tables.
    pub fn markdown(&self) -> String {
        let mut text = self.preamble();
        text += &self.cpu_table();
        text += &self.other_table();
        text += &self.aims_table();
        text += &self.failures();
        text
    }

    fn preamble(&self) -> String {
        let at = &self.conditions;
        let rounds = self.rounds.iter().map(|round| round.number).max().unwrap_or(0);
        let namespace = if at.own_namespace {
            "in a network namespace of its own"
        } else {
            "in the host's network"
        };
        let mut text = format!(
            "{}; {} cores, {}, Linux {}; commit {}, profile {}, gateway {}; {namespace}.\n{rounds} alternating round(s) \
             of {} s a phase, {:?}; medians. Other work on the machine: at most {:.0} % of its CPU time in any \
             phase.\n\n",
            at.date,
            at.cores,
            at.processor,
            at.kernel,
            at.commit,
            at.profile,
            at.gateway,
            self.settings.phase_length.as_secs_f64(),
            self.settings.dialect,
            self.foreign_share_max() * 100.0,
        );
        if self.foreign_share_max() > FOREIGN_SHARE_MAX {
            text += "**Noisy: other work took so much of the machine that these figures must not be quoted, nor the \
                     marks relied on.**\n\n";
        }
        if self.cpu_times().any(|cpu| cpu.settled_by == Some(Evidence::Quiet)) {
            text += "The gateway showed no backlog gauge: \"until the ledger caught up\" means until its process had \
                     been quiet for a second.\n\n";
        }
        text
    }

    fn foreign_share_max(&self) -> f64 {
        let phases = self.rounds.iter().flat_map(|round| round.phases.values());
        phases.map(|figures| figures.foreign_share).fold(0.0, f64::max)
    }

    fn cpu_times(&self) -> impl Iterator<Item = &Cpu> {
        self.rounds
            .iter()
            .flat_map(|round| round.phases.values())
            .filter_map(|figures| figures.cpu.as_ref())
    }

    fn cpu_table(&self) -> String {
        let mut text = String::from(
            "CPU time of the target, user + system, in µs\n\n| target | request at 1000/s | request c=64 | (min–max) | \
             user % | 220 KB at 1000/s | 220 KB c=4 | 220 KB c=64 | chunk paced | chunk burst \
             |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for target in self.targets().filter(|target| *target != Target::Direct) {
            let settles = self.of(target).any(|round| round.phases.values().any(has_settled));
            if settles {
                self.cpu_row(&mut text, target, ", up to the last answer", Cpu::answering);
                self.cpu_row(&mut text, target, ", until the ledger caught up", Cpu::whole);
            } else {
                self.cpu_row(&mut text, target, "", Cpu::answering);
            }
        }
        text + "\n"
    }

    fn cpu_row(&self, text: &mut String, target: Target, suffix: &str, seconds: Share) {
        let answer = |phase| self.median_of(target, phase, |figures| figures.per_answer_us(seconds));
        let chunk = |phase| self.median_of(target, phase, |figures| figures.per_chunk_us(seconds));
        let peaks: Vec<f64> = self
            .figures(target, Phase::Peak)
            .filter_map(|f| f.per_answer_us(seconds))
            .collect();
        let least = peaks.iter().copied().reduce(f64::min);
        let most = peaks.iter().copied().reduce(f64::max);
        let user = self.median_of(target, Phase::Peak, |figures| {
            figures.cpu?.user_share.map(|share| share * 100.0)
        });
        let cells = [
            format!("{}{suffix}", target.title()),
            cell(answer(Phase::Steady), 1),
            cell(answer(Phase::Peak), 1),
            format!("{}–{}", cell(least, 1), cell(most, 1)),
            cell(user, 0),
            cell(answer(Phase::LargeSteady), 0),
            cell(answer(Phase::LargeFew), 0),
            cell(answer(Phase::LargePeak), 0),
            cell(chunk(Phase::Paced), 1),
            cell(chunk(Phase::Burst), 2),
        ];
        row(text, &cells);
    }

    fn other_table(&self) -> String {
        let mut text = String::from(
            "Everything else; of `direct`, latencies are absolute, of the others what they add to it\n\n| target | max \
             req/s c=64 | p50 at 1000/s, µs | p99, µs | stream's first byte p50, µs | longest chunk gap p99, ms | idle \
             MB | peak MB | first start, ms | restart, ms | KiB per open stream | errors \
             |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for target in self.targets() {
            let peak = self.median_of(target, Phase::Peak, |figures| Some(figures.load.per_second));
            let gap = self.median_of(target, Phase::Paced, |figures| Some(figures.load.gap_us.p99 / 1e3));
            let of_rounds = |of: fn(&Round) -> Option<f64>| median(self.of(target).filter_map(of));
            let errors: u64 = self.of(target).map(Round::errors).sum();
            let cells = [
                target.title().to_owned(),
                cell(peak, 0),
                cell(
                    self.added(target, Phase::Steady, |figures| figures.load.latency_us.p50),
                    0,
                ),
                cell(
                    self.added(target, Phase::Steady, |figures| figures.load.latency_us.p99),
                    0,
                ),
                cell(
                    self.added(target, Phase::Paced, |figures| figures.load.first_body_us.p50),
                    0,
                ),
                cell(gap, 1),
                cell(
                    of_rounds(|round| round.idle.map(|memory| memory.resident as f64 / 1e6)),
                    1,
                ),
                cell(of_rounds(peak_bytes).map(|bytes| bytes / 1e6), 1),
                cell(of_rounds(|round| round.first_start_ms), 0),
                cell(of_rounds(|round| round.restart_ms), 0),
                cell(
                    of_rounds(|round| round.held.as_ref()?.per_stream().map(|bytes| bytes / 1024.0)),
                    1,
                ),
                errors.to_string(),
            ];
            row(&mut text, &cells);
        }
        let held = self.settings.held_streams;
        writeln!(text, "\nOpen streams: {held} at a time. MB are 10⁶ bytes.\n").expect("writing to a string");
        text
    }

    fn aims_table(&self) -> String {
        if !self.targets().any(|target| target == Target::Tollgate) {
            return String::new();
        }
        let mut text = String::from(
            "Aims; ratios are to bare hyper of the same round\n\n| aim | at most | up to the last answer | whole | \
             |\n|---|---|---|---|---|\n",
        );
        for aim in aims(self) {
            let show = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), |figure| aim.unit.show(figure));
            let mark = match aim.mark() {
                Mark::Pass => "pass",
                Mark::Miss => "**miss**",
                Mark::NotMeasured => "not measured",
            };
            let cells = [
                aim.what.to_owned(),
                aim.unit.show(aim.limit),
                show(aim.answering),
                show(aim.whole),
            ];
            row(&mut text, &[cells.as_slice(), &[mark.to_owned()]].concat());
        }
        text + "\n"
    }

    /// What went wrong, in words; empty if nothing did.
    fn failures(&self) -> String {
        let mut text = String::new();
        for round in &self.rounds {
            let mut say = |what: &str, kinds: &std::collections::BTreeMap<String, u64>| {
                for (kind, count) in kinds {
                    writeln!(
                        text,
                        "- round {}, {:?}, {what}: {count} × {kind}",
                        round.number, round.target
                    )
                    .expect("writing to a string");
                }
            };
            for (phase, figures) in &round.phases {
                say(&format!("{phase:?}"), &figures.load.error_kinds);
            }
            if let Some(held) = &round.held {
                say("open streams", &held.load.error_kinds);
            }
            if let Some(failure) = &round.failure {
                writeln!(text, "- round {}, {:?} failed: {failure}", round.number, round.target)
                    .expect("writing to a string");
            }
        }
        if text.is_empty() {
            text
        } else {
            format!("Errors: the figures above are void where they happened\n\n{text}\n")
        }
    }

    /// Targets in the order in which they were first run.
    fn targets(&self) -> impl Iterator<Item = Target> {
        let mut seen = Vec::new();
        for round in &self.rounds {
            if !seen.contains(&round.target) {
                seen.push(round.target);
            }
        }
        seen.into_iter()
    }

    fn of(&self, target: Target) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |round| round.target == target)
    }

    fn figures(&self, target: Target, phase: Phase) -> impl Iterator<Item = &Figures> {
        self.of(target).filter_map(move |round| round.phases.get(&phase))
    }

    fn median_of(&self, target: Target, phase: Phase, of: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        median(self.figures(target, phase).filter_map(of))
    }

    /// What a target adds to the mock upstream of the same round; of the upstream itself the figure as it is.
    fn added(&self, target: Target, phase: Phase, of: impl Fn(&Figures) -> f64) -> Option<f64> {
        if target == Target::Direct {
            return self.median_of(target, phase, |figures| Some(of(figures)));
        }
        median(self.of(target).filter_map(|round| {
            let direct = self.of(Target::Direct).find(|direct| direct.number == round.number)?;
            Some(of(round.phases.get(&phase)?) - of(direct.phases.get(&phase)?))
        }))
    }
}

/// The middle value, or the mean of the two in the middle; none of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

fn has_settled(figures: &Figures) -> bool {
    figures.cpu.is_some_and(|cpu| cpu.when_settled.is_some())
}

/// The peak of the phases; what the open streams need is a column of its own.
fn peak_bytes(round: &Round) -> Option<f64> {
    round.used.map(|memory| memory.peak as f64)
}

fn cell(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.decimals$}"))
}

fn row(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a string");
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::driver::{Quantiles, Summary};
    use crate::wire::Dialect;

    /// A round in which every phase needed so many µs per answer, and had that many µs of latency.
    pub(crate) fn round(number: u32, target: Target, answering_us: f64, whole_us: Option<f64>) -> Round {
        let cpu = Cpu {
            at_last_answer: answering_us / 1e6,
            when_settled: whole_us.map(|us| us / 1e6),
            user_share: Some(0.5),
            settled_after: None,
            settled_by: whole_us.map(|_| Evidence::Gauge),
        };
        let latency_us = Quantiles {
            p50: answering_us,
            p99: answering_us * 2.0,
            ..Quantiles::default()
        };
        let load = Summary {
            answered: 1,
            chunks: 100,
            latency_us,
            ..Summary::default()
        };
        let figures = Figures {
            load,
            cpu: Some(cpu),
            foreign_share: 0.25,
        };
        Round {
            number,
            target,
            first_start_ms: Some(50.0),
            restart_ms: Some(40.0),
            idle: None,
            used: None,
            phases: Phase::ALL.into_iter().map(|phase| (phase, figures.clone())).collect(),
            held: None,
            failure: None,
        }
    }

    pub(crate) fn report(rounds: Vec<Round>) -> Report {
        let settings = Settings {
            dialect: Dialect::OpenaiChat,
            phase_length: Duration::from_secs(1),
            held_streams: 5_000,
        };
        Report {
            conditions: Conditions::default(),
            settings,
            rounds,
        }
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn added_latency_is_the_difference_within_a_round() {
        let report = report(vec![
            round(1, Target::Direct, 100.0, None),
            round(1, Target::Nginx, 150.0, None),
            round(2, Target::Direct, 1_000.0, None),
            round(2, Target::Nginx, 1_060.0, None),
        ]);
        let p50 = |target| report.added(target, Phase::Steady, |figures| figures.load.latency_us.p50);
        assert_eq!(p50(Target::Nginx), Some(55.0));
        assert_eq!(p50(Target::Direct), Some(550.0));
    }

    #[test]
    fn a_gateway_that_settles_has_two_rows() {
        let text = report(vec![round(1, Target::Tollgate, 12.0, Some(15.0))]).markdown();
        assert!(
            text.contains("| **Tollgate**, up to the last answer | 12.0 | 12.0 |"),
            "{text}"
        );
        assert!(
            text.contains("| **Tollgate**, until the ledger caught up | 15.0 | 15.0 |"),
            "{text}"
        );
        assert!(text.contains("25 % of its CPU"), "{text}");
    }

    #[test]
    fn noise_and_guesses_are_said_aloud() {
        let mut quiet = round(1, Target::Tollgate, 12.0, Some(15.0));
        quiet
            .phases
            .values_mut()
            .for_each(|figures| figures.foreign_share = 0.01);
        let text = report(vec![quiet.clone()]).markdown();
        assert!(!text.contains("Noisy") && !text.contains("no backlog gauge"), "{text}");
        let mut doubtful = quiet;
        if let Some(figures) = doubtful.phases.get_mut(&Phase::Burst) {
            figures.foreign_share = 0.5;
            figures.cpu = figures.cpu.map(|cpu| Cpu {
                settled_by: Some(Evidence::Quiet),
                ..cpu
            });
        }
        let text = report(vec![doubtful]).markdown();
        assert!(text.contains("Noisy") && text.contains("no backlog gauge"), "{text}");
    }

    #[test]
    fn wrong_answers_and_failed_rounds_are_counted_and_named() {
        let mut bad = round(1, Target::Hyper, 1.0, None);
        if let Some(figures) = bad.phases.get_mut(&Phase::Burst) {
            figures.load.errors = 3;
            figures.load.error_kinds = BTreeMap::from([("41 of 100 chunks".to_owned(), 3)]);
        }
        let failed = Round {
            failure: Some("ended".to_owned()),
            phases: BTreeMap::new(),
            ..bad.clone()
        };
        let report = report(vec![bad, failed]);
        assert_eq!(report.errors(), 4);
        let text = report.markdown();
        assert!(
            text.contains("Burst: 3 × 41 of 100 chunks") && text.contains("failed: ended"),
            "{text}"
        );
        assert!(!text.contains("Aims"), "{text}");
    }
}
