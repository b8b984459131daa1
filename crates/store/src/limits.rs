//! The bounds of this crate, in one place, each with its reason.

use std::time::Duration;

/// Receipts booked in one transaction. Beyond this the cost per receipt no longer falls, and a transaction that holds
/// the only writer for more than some ten milliseconds makes people's commands wait.
pub(crate) const BATCH_RECORDS_MAX: usize = 2_000;

/// Bytes of receipts booked in one transaction: bounds the settler's memory where receipts are long.
pub(crate) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a receipt waits for others before it is booked. A balance read from the database by another process is at
/// most this old (the gateway's own view is exact at once); a shorter wait costs CPU at low rates, because every batch
/// has a fixed price of about 1.5 ms: at 1,000 calls a second a wait of 100 ms makes 20 µs of each receipt, one of 400 ms
/// makes 8.
pub(crate) const BATCH_WAIT: Duration = Duration::from_millis(400);

/// How often changes of balances that others made (the command line) are looked for.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(500);

/// First and longest wait while the database is away.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(50);
/// See [`RETRY_FIRST`].
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long a shutdown waits for the last receipts to be booked. They are safe in the journal either way.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The largest record of the journal. A receipt is about a kilobyte; one with a dozen attempts and a provider's
/// impossible usage object stays far below. A length beyond it in a file is damage, not a record.
pub(crate) const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that wait in the journal for the database, at most. Some nine million receipts: hours of a database outage at
/// full load. Beyond it new calls are refused (503) rather than filling the disk that everything else needs.
pub(crate) const JOURNAL_BACKLOG_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Bytes of booked segments that are kept for replay, at most, however long `keep` says.
pub(crate) const JOURNAL_KEPT_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// How often a journal that failed to write tries again.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(100);

/// How often the disk is told to keep what was written, under `sync: interval`.
pub(crate) const SYNC_EVERY: Duration = Duration::from_millis(200);

/// Answers that wait for one group commit under `sync: always`. Above the number of open calls of any one process; a
/// wait list that is longer means that the disk hangs, and then a refusal is the truth.
pub(crate) const SYNC_WAITERS_MAX: usize = 65_536;

/// Rows bound by one INSERT of receipts. 256 rows of ten columns stay far below the 32,766 parameters of SQLite and
/// the 65,535 of PostgreSQL, and the statement below a size that would crowd the statement cache.
pub(crate) const INSERT_ROWS_MAX: usize = 256;

/// An amount beyond this on one receipt is damage, not a price: a million dollars. Keeps every sum far from the end of
/// 64 bits.
pub const AMOUNT_NANOS_MAX: i64 = 1_000_000_000_000_000;

/// Tokens beyond this in one bucket of one receipt are damage, not a count.
pub(crate) const TOKENS_MAX: u64 = 1_000_000_000_000;

/// Rows of the request log that one clean-up statement touches: bounds how long the writer is held.
pub(crate) const CLEAR_ROWS_MAX: i64 = 2_000;

/// Pins kept at once; beyond it those that expire first are forgotten. A row is some 200 bytes.
pub(crate) const PINS_MAX: i64 = 2_000_000;

/// Pins saved by one statement: eight columns each stay far below the parameters that either database takes.
pub(crate) const PIN_ROWS_MAX: usize = 64;

/// Work in the background that may be owed for at once, and is looked after by a server that starts.
pub(crate) const JOBS_MAX: u64 = 10_000;

/// Turns of conversations kept at once; beyond it those that expire first are deleted.
pub(crate) const TURNS_MAX: i64 = 1_000_000;

/// Bytes of all kept turns together, as they were said; beyond it those that expire first are deleted.
pub(crate) const TURNS_BYTES_MAX: i64 = 16 * 1024 * 1024 * 1024;

/// Turns that one conversation is followed back, at most: agents make some hundreds.
pub const CONVERSATION_TURNS_MAX: usize = 2_000;

/// How much longer a turn must have been kept by its later ones before its expiry is moved: else each turn would write
/// all turns before it.
pub(crate) const TOUCH_EVERY: Duration = Duration::from_hours(24);

/// Rows that any listing returns at most.
pub(crate) const LIST_ROWS_MAX: u64 = 10_000;

/// The bit that every number drawn for a user has: older ones were counted up from 1.
pub(crate) const USER_ID_FIRST: i64 = 1 << 40;

/// Numbers of users are below: JavaScript reads larger ones inexactly.
pub(crate) const USER_ID_END: i64 = 1 << 53;

/// The longest name of a resource, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 200;

/// The longest note on a movement, in characters.
pub(crate) const NOTE_CHARS_MAX: usize = 1_000;

/// What is kept of why an account could not be renewed, in characters.
pub(crate) const TROUBLE_CHARS_MAX: usize = 300;

/// Logins of accounts under way at once: people do them one by one.
pub(crate) const LOGINS_MAX: i64 = 64;

/// How long a statement waits for another process that holds SQLite's write lock.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How long to wait for a connection to PostgreSQL, and so how long an attempt to reach one that is stopped takes.
pub(crate) const ACQUIRE_WAIT: Duration = Duration::from_secs(2);

/// Connections to PostgreSQL where nothing is said: the settler, one for people, one for reading, one spare.
pub(crate) const POSTGRES_CONNECTIONS_MAX: u32 = 4;

/// Reading connections to SQLite; each is a thread.
pub(crate) const SQLITE_READERS_MAX: u32 = 2;

/// Discrepancies that an audit spells out; more are counted.
pub(crate) const DISCREPANCIES_MAX: usize = 1_000;
