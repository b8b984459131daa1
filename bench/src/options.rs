//! The command line of `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::limits::CONNECTIONS_MAX;
use crate::round::Settings;
use crate::target::Target;
use crate::wire::Dialect;

const PHASE_SECONDS: f64 = 4.0;
const QUICK_SECONDS: f64 = 1.0;
const HELD_STREAMS: u32 = 5_000;
const QUICK_HELD_STREAMS: u32 = 200;

/// Compares Tollgate with a plain reverse proxy, with the least a Rust proxy can do, and with no proxy at all.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Short phases, one round, few open streams: to see whether everything works, not for figures.
    #[arg(long)]
    pub quick: bool,
    /// Only these targets, in this order; ratios need `hyper`, added latencies `direct`.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Target>,
    /// How often everything is repeated, in alternation [default: 3, with --quick 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// Length of a phase in seconds [default: 4, with --quick 1].
    #[arg(long, value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Streams to hold open [default: 5000, with --quick 200].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX as i64))]
    pub streams: Option<u32>,
    /// Format of the calls.
    #[arg(long, value_enum, default_value = "openai_chat")]
    pub dialect: Dialect,
    /// Where the results go, besides the tables on standard output and in `bench/out/latest.md`
    /// [default: bench/out/latest.json].
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// The gateway; without this it is built.
    #[arg(long)]
    pub bin: Option<PathBuf>,
    /// Cargo profile for building it.
    #[arg(long, env = "BENCH_PROFILE", default_value = "dist")]
    pub profile: String,
    /// Set by this program when it has put itself into a network namespace.
    #[arg(long, hide = true)]
    pub inside_namespace: bool,
}

impl Options {
    /// What is compared.
    pub fn targets(&self) -> Vec<Target> {
        if self.only.is_empty() {
            Target::DEFAULT.to_vec()
        } else {
            self.only.clone()
        }
    }

    /// How often.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// How a round is run.
    pub fn settings(&self) -> Settings {
        let seconds = self
            .seconds
            .unwrap_or(if self.quick { QUICK_SECONDS } else { PHASE_SECONDS });
        Settings {
            dialect: self.dialect,
            phase_length: Duration::from_secs_f64(seconds),
            held_streams: self
                .streams
                .unwrap_or(if self.quick { QUICK_HELD_STREAMS } else { HELD_STREAMS }),
        }
    }
}

/// A phase needs time for some answers; longer than a minute only heats the room.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be between 0.2 and 60".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn quick_is_a_default_that_explicit_options_override() {
        let parse = |line: &str| Options::try_parse_from(line.split(' ')).unwrap();
        let quick = parse("bench --quick --seconds 2 --only hyper,tollgate");
        assert_eq!(
            (quick.rounds(), quick.settings().phase_length),
            (1, Duration::from_secs(2))
        );
        assert_eq!(quick.targets(), [Target::Hyper, Target::Tollgate]);
        let full = parse("bench");
        assert_eq!((full.rounds(), full.settings().held_streams), (3, 5_000));
        assert_eq!(full.targets(), Target::DEFAULT);
        for wrong in [
            "bench --seconds 0",
            "bench --only apache",
            "bench --rounds 0",
            "bench --streams 99999",
        ] {
            assert!(Options::try_parse_from(wrong.split(' ')).is_err(), "{wrong}");
        }
    }
}
