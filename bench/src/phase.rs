//! One phase: a load of a certain kind on one target, and what the target used for it.
//!
//! CPU time is read twice. At the last answer: what was used while clients waited. And, for a target that works on
//! after the answer, when its ledger has caught up: the whole price. Only the second one cannot be made smaller by
//! putting work off.

use std::io;
use std::time::{Duration, Instant};

use nix::unistd::getpid;
use serde::{Deserialize, Serialize};

use crate::accounting::{CpuTime, ProcessTree, machine_busy};
use crate::control;
use crate::driver::{Arrivals, Load, Summary, drive};
use crate::limits::SETTLE_TIME_MAX;
use crate::process::pause;
use crate::target::{CLIENT_KEY, Running, Target, UPSTREAM_ADDRESS};
use crate::wire::{Dialect, Shape, Size};

/// Content chunks of a measured stream.
pub const CHUNKS: u32 = 100;

/// Requests per second of the steady phases.
pub const STEADY_RATE: f64 = 1_000.0;

/// Streams opened per second in the paced phase; each lasts a second, so that about as many are open at a time.
const PACED_RATE: f64 = 20.0;

/// Pause between the chunks of a paced stream: 100 tokens a second, a fast model.
const PACE: Duration = Duration::from_millis(10);

const SETTLE_STEP: Duration = Duration::from_millis(100);

/// A process that uses less than this in a step does nothing but wait.
const QUIET: Duration = Duration::from_millis(2);

/// Quiet steps in a row that must do where no gauge tells the backlog: one second.
const QUIET_STEPS: u32 = 10;

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Phase {
    /// 550-byte bodies at 1000 requests per second.
    Steady,
    /// 550-byte bodies, 64 connections in a closed loop.
    Peak,
    /// 220 KB bodies at 1000 requests per second.
    LargeSteady,
    /// 220 KB bodies, 4 connections in a closed loop: what the peers were measured with.
    LargeFew,
    /// 220 KB bodies, 64 connections in a closed loop.
    LargePeak,
    /// Streams of 100 chunks, 10 ms apart.
    Paced,
    /// Streams of 100 chunks without a pause, 16 connections in a closed loop.
    Burst,
}

/// What one phase brought.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// What the driver saw.
    #[serde(flatten)]
    pub load: Summary,
    /// What the target used; none for the mock upstream itself.
    pub cpu: Option<Cpu>,
    /// Share of the machine's CPU time that went to programs outside this run, and to other guests of the host.
    pub foreign_share: f64,
}

/// CPU time of a target in one phase.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cpu {
    /// Seconds up to the last answer.
    pub at_last_answer: f64,
    /// Seconds until the ledger had caught up, for a target that has one.
    pub when_settled: Option<f64>,
    /// Share of user time up to the last answer.
    pub user_share: Option<f64>,
    /// How long after the last answer the ledger had caught up.
    pub settled_after: Option<f64>,
    /// How that was known.
    pub settled_by: Option<Evidence>,
}

/// How it is known that a ledger has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The gauge of the backlog was 0 and the process quiet.
    Gauge,
    /// There was no gauge, and the process was quiet for a second: a guess, and reported as one.
    Quiet,
}

/// Picks which part of the CPU time is meant: [`Cpu::answering`] or [`Cpu::whole`].
pub type Share = fn(&Cpu) -> Option<f64>;

impl Phase {
    /// All, in the order in which they are run.
    pub const ALL: [Self; 7] = [
        Self::Steady,
        Self::Peak,
        Self::LargeSteady,
        Self::LargeFew,
        Self::LargePeak,
        Self::Paced,
        Self::Burst,
    ];

    /// The answers that are asked for.
    pub fn shape(self) -> Shape {
        match self {
            Self::Paced | Self::Burst => Shape::Stream { chunks: CHUNKS },
            _ => Shape::Plain,
        }
    }

    /// The load on `target` for about `length`.
    pub fn load(self, target: Target, dialect: Dialect, length: Duration) -> Load {
        let size = match self {
            Self::LargeSteady | Self::LargeFew | Self::LargePeak => Size::Large,
            _ => Size::Small,
        };
        let closed = |connections| Arrivals::Closed {
            connections,
            duration: length,
        };
        let arrivals = match self {
            Self::Steady | Self::LargeSteady => Arrivals::open(STEADY_RATE, length),
            Self::Paced => Arrivals::open(PACED_RATE, length),
            Self::Peak | Self::LargePeak => closed(64),
            Self::LargeFew => closed(4),
            Self::Burst => closed(16),
        };
        let address = target.address();
        let request = dialect.http_request(&address.to_string(), CLIENT_KEY, size, self.shape());
        Load {
            address,
            request,
            expected: dialect.expected(self.shape()),
            arrivals,
        }
    }

    /// Runs the phase on a target that is up.
    ///
    /// # Errors
    /// When the target dies, its ledger does not catch up, or it answered more often than it asked the upstream:
    /// answers out of a cache are no measure. Wrong answers are no errors here; they are in the figures.
    pub fn measure(self, running: &Running, dialect: Dialect, length: Duration) -> anyhow::Result<Figures> {
        let pace = if self == Self::Paced { PACE } else { Duration::ZERO };
        configure_upstream(CHUNKS, pace)?;
        measure(running, &self.load(running.target, dialect, length), &mut || {})
    }
}

impl Figures {
    /// CPU microseconds per verified answer, by what `seconds` picks.
    pub fn per_answer_us(&self, seconds: Share) -> Option<f64> {
        per(self.cpu.as_ref().and_then(seconds), self.load.answered)
    }

    /// CPU microseconds per chunk of verified streams, by what `seconds` picks.
    pub fn per_chunk_us(&self, seconds: Share) -> Option<f64> {
        per(self.cpu.as_ref().and_then(seconds), self.load.chunks)
    }
}

impl Cpu {
    /// Up to the last answer.
    pub fn answering(&self) -> Option<f64> {
        Some(self.at_last_answer)
    }

    /// Everything that the answers cost: until the ledger has caught up, where there is one.
    pub fn whole(&self) -> Option<f64> {
        Some(self.when_settled.unwrap_or(self.at_last_answer))
    }
}

/// Sets the streams of the mock upstream.
///
/// # Errors
/// When it is not there.
pub fn configure_upstream(chunks: u32, pause: Duration) -> io::Result<()> {
    let path = format!("/__config?chunks={chunks}&pause_us={}&fault=none", pause.as_micros());
    control::get(UPSTREAM_ADDRESS, &path, "").map(|_| ())
}

/// Puts a load on a running target and reads what it used.
///
/// # Errors
/// See [`Phase::measure`].
pub fn measure(running: &Running, load: &Load, on_tick: &mut dyn FnMut()) -> anyhow::Result<Figures> {
    let tree = running
        .process
        .as_ref()
        .map(crate::process::Process::tree)
        .transpose()?;
    let ours = ProcessTree::of(getpid())?;
    let asked_before = upstream_answered()?;
    let (busy_before, ours_before) = (machine_busy()?, ours.cpu()?);
    let before = tree.as_ref().map(ProcessTree::cpu).transpose()?;
    let begun = Instant::now();
    let recording = drive(load, &mut |_| on_tick())?;
    let after = tree.as_ref().map(ProcessTree::cpu).transpose()?;
    let foreign_share = foreign_share(&ours, busy_before, &ours_before, begun)?;
    let cpu = match (tree, before, after) {
        (Some(tree), Some(before), Some(after)) => Some(account(running, &tree, &before, &after)?),
        _ => None,
    };
    let asked = upstream_answered()? - asked_before;
    let answered = recording.answered_count();
    anyhow::ensure!(
        asked >= answered,
        "{answered} answers, but the upstream was asked only {asked} times"
    );
    Ok(Figures {
        load: recording.summarise(),
        cpu,
        foreign_share,
    })
}

fn account(running: &Running, tree: &ProcessTree, before: &CpuTime, after: &CpuTime) -> anyhow::Result<Cpu> {
    let used = after.since(before);
    let mut cpu = Cpu {
        at_last_answer: used.total.as_secs_f64(),
        when_settled: None,
        user_share: used.user_share(),
        settled_after: None,
        settled_by: None,
    };
    if running.settles() {
        let begun = Instant::now();
        let (settled, evidence) = settle(running, tree)?;
        cpu.settled_by = Some(evidence);
        cpu.when_settled = Some(settled.since(before).total.as_secs_f64());
        cpu.settled_after = Some(begun.elapsed().as_secs_f64());
    }
    Ok(cpu)
}

/// Waits until the ledger has caught up; returns the CPU time used by then. The gauge is read only when the process is
/// quiet, and a gauge that is missing once is not asked for again, because answering is work too. What all readings but
/// the last one cost stays in the figure: a little to the gateway's disadvantage, never to its advantage.
fn settle(running: &Running, tree: &ProcessTree) -> anyhow::Result<(CpuTime, Evidence)> {
    let begun = Instant::now();
    let has_gauge = running.backlog().is_some();
    let mut last = tree.cpu()?;
    let mut quiet_steps = 0;
    while begun.elapsed() < SETTLE_TIME_MAX {
        pause(SETTLE_STEP);
        let now = tree.cpu()?;
        let quiet = now.total.saturating_sub(last.total) < QUIET;
        quiet_steps = if quiet { quiet_steps + 1 } else { 0 };
        if quiet && has_gauge && running.backlog() == Some(0) {
            return Ok((now, Evidence::Gauge));
        }
        if !has_gauge && quiet_steps >= QUIET_STEPS {
            return Ok((now, Evidence::Quiet));
        }
        // Read again, so that the gauge's own cost does not look like work.
        last = tree.cpu()?;
    }
    let seconds = SETTLE_TIME_MAX.as_secs();
    anyhow::bail!(
        "the ledger has not caught up within {seconds} s; backlog {:?}",
        running.backlog()
    )
}

fn foreign_share(ours: &ProcessTree, busy_before: Duration, ours_before: &CpuTime, begun: Instant) -> io::Result<f64> {
    let busy = machine_busy()?.saturating_sub(busy_before);
    let own = ours.cpu()?.since(ours_before).total;
    let cores = std::thread::available_parallelism()?.get() as f64;
    let capacity = begun.elapsed().as_secs_f64() * cores;
    Ok((busy.saturating_sub(own).as_secs_f64() / capacity).clamp(0.0, 1.0))
}

fn upstream_answered() -> anyhow::Result<u64> {
    let stats: serde_json::Value = serde_json::from_str(&control::get(UPSTREAM_ADDRESS, "/__stats", "")?)?;
    stats["answered"]
        .as_u64()
        .ok_or_else(|| anyhow::anyhow!("the mock upstream does not count"))
}

fn per(seconds: Option<f64>, count: u64) -> Option<f64> {
    (count > 0).then(|| seconds.map(|seconds| seconds * 1e6 / count as f64))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu: Option<Cpu>) -> Figures {
        let load = Summary {
            answered: 10,
            chunks: 1_000,
            ..Summary::default()
        };
        Figures {
            load,
            cpu,
            foreign_share: 0.0,
        }
    }

    #[test]
    fn settling_is_in_the_whole_price_only() {
        let cpu = Cpu {
            at_last_answer: 0.001,
            when_settled: Some(0.003),
            user_share: None,
            settled_after: None,
            settled_by: None,
        };
        let got = figures(Some(cpu));
        assert_eq!(got.per_answer_us(Cpu::answering), Some(100.0));
        assert_eq!(got.per_answer_us(Cpu::whole), Some(300.0));
        assert_eq!(got.per_chunk_us(Cpu::whole), Some(3.0));
    }

    #[test]
    fn nothing_answered_and_nothing_measured_are_no_figures() {
        let cpu = Cpu {
            at_last_answer: 1.0,
            when_settled: None,
            user_share: None,
            settled_after: None,
            settled_by: None,
        };
        let mut got = figures(Some(cpu));
        assert_eq!(got.per_answer_us(Cpu::whole), Some(100_000.0));
        got.load.answered = 0;
        assert_eq!(got.per_answer_us(Cpu::whole), None);
        assert_eq!(figures(None).per_answer_us(Cpu::whole), None);
    }

    #[test]
    fn large_phases_send_large_bodies_and_streams_expect_streams() {
        for phase in Phase::ALL {
            let load = phase.load(Target::Hyper, Dialect::OpenaiChat, Duration::from_secs(1));
            let large = matches!(phase, Phase::LargeSteady | Phase::LargeFew | Phase::LargePeak);
            assert_eq!(load.request.len() > 200_000, large, "{phase:?}");
            assert_eq!(
                load.is_streaming(),
                matches!(phase, Phase::Paced | Phase::Burst),
                "{phase:?}"
            );
        }
    }
}
