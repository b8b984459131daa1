//! Every bound of the data plane in one place, each with its reason.

use std::time::Duration;

/// Connections served at once. Beyond it new ones wait in the kernel's queue; each costs about 20 KiB.
pub(crate) const CONNECTIONS_MAX: usize = 65_536;

/// A client has this long to send its request's head: slower ones hold a socket for nothing.
pub(crate) const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client may leave its answer unread this long before its connection is broken off: as long as an upstream may be
/// silent by default.
pub(crate) const CLIENT_UNREAD_MAX: Duration = Duration::from_mins(5);

/// A client may pause this long within its body before it is answered with 408.
pub(crate) const BODY_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A model's name may have this many bytes: twice the longest that can be declared, and far below what PostgreSQL takes
/// into an index.
pub(crate) const MODEL_NAME_MAX: usize = 512;

/// A whole (not streamed) answer may have this many bytes: far beyond any real one (images come to about 30 MiB),
/// and what one call can make the gateway hold.
pub(crate) const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// An upstream's error body is read up to here; the rest is cut: it is shown and classified, not relayed as content.
pub(crate) const ERROR_BODY_MAX: usize = 256 * 1024;

/// What a stream may say before its first content (role chunks, `message_start`, pings) is kept while failover is
/// still possible, up to here; then it is relayed as it comes.
pub(crate) const PRELUDE_MAX: usize = 256 * 1024;

/// After the terminal event, how long the end of the answer waits for what may trail it: providers send both at once.
pub(crate) const TRAIL_TIMEOUT: Duration = Duration::from_millis(100);

/// After the answer's end, how long to wait for the upstream to end its body so that the connection can be used
/// again.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an admission may wait for other calls of the same account to give back what they hold.
pub(crate) const HOLD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Idle connections kept per upstream address.
pub(crate) const IDLE_PER_HOST_MAX: usize = 1_024;

/// How long an idle upstream connection is kept: below the 60 s at which common load balancers close theirs, so that
/// a request rarely meets a connection that is being closed.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often idle upstream connections are looked through for ones that the upstream has closed: soon enough that their
/// sockets are not many, seldom enough to cost nothing.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Addresses of one name that are tried, in order.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Credentials whose tokens are kept at once; beyond it all are forgotten and fetched anew.
pub(crate) const TOKENS_MAX: usize = 4_096;

/// How long a token endpoint may take: real ones answer within a second.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A token endpoint's answer: Microsoft's are some 2 KiB.
pub(crate) const TOKEN_BODY_MAX: usize = 64 * 1024;

/// How long a token endpoint's refusal is believed without asking again.
pub(crate) const TOKEN_REFUSED_FOR: Duration = Duration::from_secs(1);

/// How long one process may have the right to renew an account: above what the token endpoint may take, so that nobody
/// else spends the same refresh token meanwhile; short enough that a process that died is missed for a moment only.
pub(crate) const ACCOUNT_LEASE: Duration = Duration::from_secs(30);

/// First and longest wait after a renewal that failed in passing. Renewals begin minutes ahead, so several tries fit in
/// before a call notices.
pub(crate) const ACCOUNT_BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// See [`ACCOUNT_BACKOFF_FIRST`].
pub(crate) const ACCOUNT_BACKOFF_MAX: Duration = Duration::from_mins(1);

/// How long a call waits for its account's renewal: above what the token endpoint may take, below the usual time to the
/// first content, which would blame the upstream.
pub(crate) const ACCOUNT_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a stop waits for renewals under way: what one of them brought back would be lost otherwise.
pub(crate) const ACCOUNT_DRAIN_MAX: Duration = Duration::from_secs(15);

/// Distinct outbound configurations (proxy, CA file, time limit) kept at once; beyond it the oldest make room.
pub(crate) const EGRESS_MAX: usize = 256;
