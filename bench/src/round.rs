//! One round with one target: two lives of it. In the first, all phases, with an empty data folder. In the second, on
//! what the first left behind, the open streams: a fresh process, so that memory which earlier phases left in the
//! allocator cannot hide what the streams need.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::accounting::Memory;
use crate::driver::{Arrivals, Load, Summary, drive};
use crate::phase::{Figures, Phase, configure_upstream};
use crate::process::pause;
use crate::target::{CLIENT_KEY, Data, Running, Site, Target};
use crate::wire::{Dialect, Shape, Size};

/// Chunks of a stream that is held open, and the pause between them: a stream lives for 20 s.
const HELD_CHUNKS: u32 = 20;
const HELD_PAUSE: Duration = Duration::from_secs(1);

/// Held streams opened per second: 5,000 are open after 5 s, with three quarters of the first ones' life to come.
const HELD_RATE: f64 = 1_000.0;

/// How long a target is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(1);

/// How a round is run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Settings {
    /// Format of all calls.
    pub dialect: Dialect,
    /// How long one phase lasts.
    pub phase_length: Duration,
    /// Streams to hold open.
    pub held_streams: u32,
}

/// What one round with one target brought.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Counted from 1.
    pub number: u32,
    /// Which target.
    pub target: Target,
    /// Start of the process to first answer, with an empty data folder, in milliseconds.
    pub first_start_ms: Option<f64>,
    /// The same on the data of the first life.
    pub restart_ms: Option<f64>,
    /// Memory after the first answer.
    pub idle: Option<Memory>,
    /// Memory after all phases.
    pub used: Option<Memory>,
    /// The phases that were run.
    pub phases: BTreeMap<Phase, Figures>,
    /// Open streams; none where there is no process to look at.
    pub held: Option<Held>,
    /// Why the round ended early.
    pub failure: Option<String>,
}

/// Memory of open streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// Streams that were open at the same time.
    pub streams: u32,
    /// Resident bytes before the first one.
    pub before: u64,
    /// The most that was resident while all of them were open; 0 if they never were.
    pub open: u64,
    /// What the driver saw.
    pub load: Summary,
}

impl Round {
    /// Runs a round. A failure ends it early and is noted in it.
    pub fn run(number: u32, target: Target, site: &Site, settings: &Settings) -> Self {
        let mut round = Self {
            number,
            target,
            first_start_ms: None,
            restart_ms: None,
            idle: None,
            used: None,
            phases: BTreeMap::new(),
            held: None,
            failure: None,
        };
        let done = round.first_life(site, settings).and_then(|()| match target {
            Target::Direct => Ok(()),
            _ => round.second_life(site, settings),
        });
        round.failure = done.err().map(|error| format!("{error:#}"));
        round
    }

    /// Wrong answers of all loads, and one for a round that ended early.
    pub fn errors(&self) -> u64 {
        let phases: u64 = self.phases.values().map(|figures| figures.load.errors).sum();
        let held = self.held.as_ref().map_or(0, |held| held.load.errors);
        phases + held + u64::from(self.failure.is_some())
    }

    fn first_life(&mut self, site: &Site, settings: &Settings) -> anyhow::Result<()> {
        let (length, dialect) = (settings.phase_length, settings.dialect);
        let probe = Phase::Peak.load(self.target, dialect, length);
        let running = self.target.start(site, Data::Fresh, &probe)?;
        if running.process.is_some() {
            self.first_start_ms = Some(running.started_in.as_secs_f64() * 1e3);
        }
        pause(IDLE);
        self.idle = memory(&running)?;
        warm_up(&probe, length)?;
        for phase in Phase::ALL {
            self.phases.insert(phase, phase.measure(&running, dialect, length)?);
        }
        self.used = memory(&running)?;
        running.stop()
    }

    fn second_life(&mut self, site: &Site, settings: &Settings) -> anyhow::Result<()> {
        let probe = Phase::Peak.load(self.target, settings.dialect, settings.phase_length);
        let running = self.target.start(site, Data::Kept, &probe)?;
        self.restart_ms = Some(running.started_in.as_secs_f64() * 1e3);
        pause(IDLE);
        self.held = Some(hold(&running, settings)?);
        running.stop()
    }
}

impl Held {
    /// Resident bytes per open stream; none if not all of them were open at once.
    pub fn per_stream(&self) -> Option<f64> {
        (self.open > 0 && self.streams > 0)
            .then(|| self.open.saturating_sub(self.before) as f64 / f64::from(self.streams))
    }
}

/// Connections are made, code is paged in, pools are filled. Wrong answers show in the phases that follow.
fn warm_up(load: &Load, length: Duration) -> anyhow::Result<()> {
    let arrivals = Arrivals::Closed {
        connections: 8,
        duration: length / 4,
    };
    drive(
        &Load {
            arrivals,
            ..load.clone()
        },
        &mut |_| {},
    )?;
    Ok(())
}

/// Opens streams, reads memory while all of them are open, and lets every one of them come to its verified end.
fn hold(running: &Running, settings: &Settings) -> anyhow::Result<Held> {
    configure_upstream(HELD_CHUNKS, HELD_PAUSE)?;
    let streams = settings.held_streams;
    let shape = Shape::Stream { chunks: HELD_CHUNKS };
    let address = running.target.address();
    let load = Load {
        address,
        request: settings
            .dialect
            .http_request(&address.to_string(), CLIENT_KEY, Size::Small, shape),
        expected: settings.dialect.expected(shape),
        arrivals: Arrivals::Open {
            rate: HELD_RATE,
            count: u64::from(streams),
            connections_max: streams as usize,
        },
    };
    let before = memory(running)?.map_or(0, |memory| memory.resident);
    let open = Cell::new(0);
    let recording = drive(&load, &mut |progress| {
        if progress.arriving == u64::from(streams) {
            // A target that has died meanwhile shows in the streams that it cut.
            let resident = memory(running).ok().flatten().map_or(0, |memory| memory.resident);
            open.set(open.get().max(resident));
        }
    })?;
    Ok(Held {
        streams,
        before,
        open: open.get(),
        load: recording.summarise(),
    })
}

fn memory(running: &Running) -> std::io::Result<Option<Memory>> {
    running
        .process
        .as_ref()
        .map(|process| process.tree()?.memory())
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_costs_what_was_added_and_only_if_all_were_open() {
        let held = Held {
            streams: 10,
            before: 1_000,
            open: 21_000,
            load: Summary::default(),
        };
        assert_eq!(held.per_stream(), Some(2_000.0));
        assert_eq!(Held { open: 0, ..held }.per_stream(), None);
    }
}
