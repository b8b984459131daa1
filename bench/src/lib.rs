//! Load and comparison, with nothing of Tollgate linked in: the gateway is measured from outside, as a process, so
//! that a change of its code cannot change the yardstick.
//!
//! The figure to steer by is CPU time per verified answer. On a shared machine latency and throughput move with the
//! neighbours; the CPU time that a process needed for the same answers moves far less, and the ratio to the bare
//! pass-through that ran minutes before and after it less still. Latency and throughput are printed too, for what
//! they are worth.
//!
//! From the wire upwards: [`wire`] says what is asked and what must come back, byte for byte; [`framing`] reads
//! HTTP/1.1; [`upstream`] answers as a provider would, [`driver`] asks and verifies, [`floor`] is the least a Rust
//! proxy can do. [`process`] and [`accounting`] start programs and read what they used; [`target`] knows how each one
//! is started, [`phase`] what is done to it, [`round`] in which order; [`report`] and [`aims`] turn it into tables.
//! [`options`], [`prepare`] and [`stop`] belong to the command itself.

pub mod accounting;
pub mod aims;
pub mod control;
pub mod driver;
pub mod floor;
pub mod framing;
pub mod limits;
pub mod options;
pub mod phase;
pub mod prepare;
pub mod process;
pub mod report;
pub mod round;
pub mod stop;
pub mod target;
pub mod upstream;
pub mod wire;

#[cfg(test)]
mod agreement;
