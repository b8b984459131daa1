//! The load driver: one thread, epoll, a nanosecond timer, keep-alive connections, every answer verified.
//!
//! In an open loop requests are due at a constant rate whatever the target does, and latency runs from the moment a
//! request was *due*, not from when it could be sent: a target that stalls cannot hide its stalls by keeping the
//! driver waiting. In a closed loop each connection asks again as soon as it has its answer.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use crate::limits::{ANSWER_TIME_MAX, CONNECTIONS_MAX, ERRORS_MAX, WAITING_MAX};
use crate::wire::{Expected, Shape};

mod connection;
mod recording;

use connection::{Connection, Event};
pub use recording::{Quantiles, Recording, Summary};

/// What to ask, of whom, and how often.
#[derive(Debug, Clone)]
pub struct Load {
    /// The target.
    pub address: SocketAddr,
    /// A whole HTTP request, head and body.
    pub request: Bytes,
    /// The right answer.
    pub expected: Expected,
    /// When requests are sent.
    pub arrivals: Arrivals,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Arrivals {
    /// Each connection asks again as soon as it has its answer.
    Closed {
        /// Connections, each with one request at a time.
        connections: usize,
        /// After this no new request is sent.
        duration: Duration,
    },
    /// Requests are due at a constant rate.
    Open {
        /// Requests per second.
        rate: f64,
        /// Requests in all.
        count: u64,
        /// What is due beyond this many at a time has to wait.
        connections_max: usize,
    },
}

/// Where a load stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Answers whose first body byte is there and whose last is not.
    pub arriving: u64,
    /// Requests that are over, well or badly.
    pub finished: u64,
}

/// The timer's mark among the connections' numbers.
const TIMER: u64 = u64::MAX;
const TICK: Duration = Duration::from_millis(100);
const READ_BUFFER: usize = 64 * 1024;
const EVENTS: usize = 256;
/// Connections that an open loop makes before it begins; more are made when they are needed.
const CONNECTED_AHEAD: usize = 16;

/// Runs a load to its end: until the last request is answered or has timed out. `on_tick` is called ten times a second.
///
/// # Errors
/// When the machine refuses epoll or a timer, or the load asks for too many connections. A target's failures are no
/// errors of the driver: they are in the recording.
pub fn drive(load: &Load, on_tick: &mut dyn FnMut(Progress)) -> io::Result<Recording> {
    let mut driver = Driver::new(load)?;
    driver.connect_ahead();
    driver.run(on_tick)
}

struct Driver<'a> {
    load: &'a Load,
    epoll: Epoll,
    timer: TimerFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    waiting: VecDeque<Instant>,
    recording: Recording,
    begun: Instant,
    next_tick: Instant,
    issued: u64,
}

impl<'a> Driver<'a> {
    fn new(load: &'a Load) -> io::Result<Self> {
        let count = load.arrivals.connections();
        if count == 0 || count > CONNECTIONS_MAX {
            return Err(io::Error::other(format!(
                "{count} connections; 1 to {CONNECTIONS_MAX} are possible"
            )));
        }
        // Without this the kernel may deliver the timer 50 µs late to save wake-ups.
        nix::sys::prctl::set_timerslack(1)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let begun = Instant::now();
        Ok(Self {
            load,
            epoll,
            timer,
            connections: (0..count).map(Connection::new).collect(),
            idle: (0..count).rev().collect(),
            waiting: VecDeque::new(),
            recording: Recording::new(load.expected.shape()),
            begun,
            next_tick: begun + TICK,
            issued: 0,
        })
    }

    /// Connects before the clock starts, so that no handshake is in the latencies of a steady load.
    fn connect_ahead(&mut self) {
        let ahead = match self.load.arrivals {
            Arrivals::Closed { connections, .. } => connections,
            Arrivals::Open { connections_max, .. } => connections_max.min(CONNECTED_AHEAD),
        };
        for index in self.idle.iter().rev().take(ahead) {
            // A refusal is counted when the connection is needed.
            self.connections[*index]
                .connect(self.load.address, &self.epoll)
                .unwrap_or_default();
        }
        self.begun = Instant::now();
        self.next_tick = self.begun + TICK;
    }

    fn run(mut self, on_tick: &mut dyn FnMut(Progress)) -> io::Result<Recording> {
        let mut buffer = vec![0; READ_BUFFER];
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let now = Instant::now();
            self.send_waiting();
            let issuing = self.issue(now)?;
            if !issuing && self.waiting.is_empty() && self.idle.len() == self.connections.len() {
                self.recording.end(now - self.begun);
                return Ok(self.recording);
            }
            if now >= self.next_tick {
                self.tick(now);
                on_tick(self.progress());
            }
            let happened = match self.epoll.wait(&mut events, TICK.as_millis() as u16) {
                Err(nix::errno::Errno::EINTR) => 0,
                happened => happened?,
            };
            for event in &events[..happened] {
                if event.data() != TIMER {
                    self.handle(event.data() as usize, event.events(), &mut buffer);
                }
            }
        }
    }

    /// Sends what is due; says whether there is more to come.
    fn issue(&mut self, now: Instant) -> io::Result<bool> {
        if self.recording.errors() >= ERRORS_MAX {
            self.waiting.clear();
            self.timer.unset()?;
            return Ok(false);
        }
        match self.load.arrivals {
            Arrivals::Closed { duration, .. } => {
                let issuing = now < self.begun + duration;
                if issuing {
                    for index in std::mem::take(&mut self.idle) {
                        self.send(index, Instant::now());
                    }
                }
                Ok(issuing)
            }
            Arrivals::Open { rate, count, .. } => self.issue_due(now, rate, count),
        }
    }

    fn issue_due(&mut self, now: Instant, rate: f64, count: u64) -> io::Result<bool> {
        while self.issued < count {
            let due = self.begun + Duration::from_secs_f64(self.issued as f64 / rate);
            if due > now {
                let wake = Expiration::OneShot(TimeSpec::from_duration(due - now));
                self.timer.set(wake, TimerSetTimeFlags::empty())?;
                return Ok(true);
            }
            self.issued += 1;
            match self.idle.pop() {
                Some(index) => self.send(index, due),
                None if self.waiting.len() < WAITING_MAX => self.waiting.push_back(due),
                None => self.recording.failed("too far behind"),
            }
        }
        self.timer.unset()?;
        Ok(false)
    }

    /// Sends what was due while every connection was busy. One pass: what fails at once is not tried in a circle.
    fn send_waiting(&mut self) {
        for _ in 0..self.idle.len().min(self.waiting.len()) {
            if let (Some(index), Some(due)) = (self.idle.pop(), self.waiting.pop_front()) {
                self.send(index, due);
            }
        }
    }

    fn send(&mut self, index: usize, due: Instant) {
        let connection = &mut self.connections[index];
        match connection.send(self.load, &self.epoll, due) {
            Ok(()) => {}
            Err(failure) => {
                self.finish(index, Err(failure));
            }
        }
    }

    fn handle(&mut self, index: usize, happened: EpollFlags, buffer: &mut [u8]) {
        let connection = &mut self.connections[index];
        if happened.contains(EpollFlags::EPOLLOUT)
            && let Err(failure) = connection.write(self.load, &self.epoll)
        {
            self.lost(index, &failure);
            return;
        }
        if happened
            .intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP)
        {
            match self.connections[index].read(buffer) {
                Event::Nothing => {}
                Event::Answered => self.finish(index, Ok(())),
                Event::Lost(why) => self.lost(index, &why),
                Event::Broken(why) => self.finish(index, Err(why)),
            }
        }
    }

    /// The connection is gone in the middle of a request. If it had served before and not a byte of the answer has
    /// come, that is the ordinary race of keep-alive: the target closed it while the request was on its way.
    fn lost(&mut self, index: usize, why: &str) {
        let connection = &mut self.connections[index];
        if connection.may_retry() {
            self.recording.reconnected();
            match connection.send_again(self.load, &self.epoll) {
                Ok(()) => {}
                Err(failure) => self.finish(index, Err(failure)),
            }
        } else {
            self.finish(index, Err(why.to_owned()));
        }
    }

    fn finish(&mut self, index: usize, outcome: Result<(), String>) {
        let connection = &mut self.connections[index];
        let verdict = outcome.and_then(|()| {
            let answer = connection.answer();
            self.load
                .expected
                .check(answer.status(), answer.body())
                .map_err(|mismatch| mismatch.to_string())
        });
        match &verdict {
            Ok(()) => self.recording.answered(&connection.times(Instant::now())),
            Err(failure) => self.recording.failed(failure),
        }
        connection.finish(verdict.is_ok());
        self.idle.push(index);
    }

    fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        for index in 0..self.connections.len() {
            if self.connections[index]
                .waited(now)
                .is_some_and(|waited| waited > ANSWER_TIME_MAX)
            {
                self.finish(index, Err("timeout".to_owned()));
            }
        }
    }

    fn progress(&self) -> Progress {
        let arriving = self
            .connections
            .iter()
            .filter(|connection| connection.is_arriving())
            .count();
        Progress {
            arriving: arriving as u64,
            finished: self.recording.finished(),
        }
    }
}

impl Arrivals {
    /// An open loop for this long, with room for a second's worth of answers that are late.
    pub fn open(rate: f64, duration: Duration) -> Self {
        let count = (rate * duration.as_secs_f64()).round() as u64;
        Self::Open {
            rate,
            count,
            connections_max: 256,
        }
    }

    fn connections(&self) -> usize {
        match *self {
            Self::Closed { connections, .. } => connections,
            Self::Open { connections_max, .. } => connections_max,
        }
    }
}

impl Load {
    /// Whether answers come as streams.
    pub fn is_streaming(&self) -> bool {
        matches!(self.expected.shape(), Shape::Stream { .. })
    }
}
