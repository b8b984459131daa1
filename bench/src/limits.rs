//! Every bound of this crate, each with its reason. A benchmark that grows without limit measures its own swapping.

use std::time::Duration;

/// Longest request or response head, in bytes. Heads here are below 1 KiB; a gateway may add some headers.
pub const HEAD_MAX: usize = 16 * 1024;

/// Most headers in one head. Twice what the chattiest provider sends.
pub const HEADERS_MAX: usize = 64;

/// Longest body that is kept, in bytes. The largest request is 220 KB, the largest answer a stream of 35 KB; the room
/// above lets a wrong answer be diagnosed instead of merely refused.
pub const BODY_MAX: usize = 2 * 1024 * 1024;

/// Longest line that announces an HTTP chunk, in bytes.
pub const CHUNK_LINE_MAX: usize = 256;

/// Most content chunks in a stream of the mock upstream: four digits number them.
pub const CHUNKS_MAX: u32 = 1_000;

/// Most connections of one load. Above the 5,000 open streams, below what 28,000 ephemeral ports allow.
pub const CONNECTIONS_MAX: usize = 16_000;

/// Most requests of an open loop that are due but wait for a free connection. Ten seconds' worth at 1000/s: a target
/// that is further behind than this is not going to catch up, and what is over counts as an error.
pub const WAITING_MAX: usize = 10_000;

/// A load stops issuing requests after this many errors: the target is broken, and the figures are void anyway.
pub const ERRORS_MAX: u64 = 1_000;

/// Most different kinds of error that are told apart; the rest is counted as `other`.
pub const ERROR_KINDS_MAX: usize = 32;

/// Most latency samples of one load. Ten times what the fastest target answers in one phase.
pub const SAMPLES_MAX: usize = 8_000_000;

/// How long one answer may take before it counts as an error.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a connection to loopback may take. A full accept queue costs one SYN retransmission of 1 s.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// How long a program may take from start to its first right answer.
pub const START_TIME_MAX: Duration = Duration::from_mins(1);

/// How long a program may take to end after SIGTERM before it is killed.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(15);

/// How long the ledger may take to catch up after a phase before that is an error.
pub const SETTLE_TIME_MAX: Duration = Duration::from_mins(2);

/// Open files that the run needs: 5,000 streams are 10,000 sockets in a gateway, and a reserve.
pub const OPEN_FILES: u64 = 20_000;

/// How much of a failed program's log is shown, in bytes.
pub const LOG_TAIL_MAX: u64 = 2_000;
