//! Every bound of the data plane in one place, each with its reason.

use std::time::Duration;

/// Connections served at once. Beyond it new ones wait in the kernel's queue; each costs about 20 KiB.
pub(crate) const CONNECTIONS_MAX: usize = 65_536;

/// A client has this long to send its request's head: slower ones hold a socket for nothing.
pub(crate) const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that has begun a request when the process is told to stop has this long to send the rest: what is on its way
/// arrives in that time, and who does not send holds the stop up no longer. A body may go on as long as it never pauses longer.
pub(crate) const STOP_UNSENT_MAX: Duration = Duration::from_secs(1);

/// What is cut off at the end of a stop has this long to be told so: a few bytes, and a flush of the journal.
pub(crate) const STOP_CUT_MAX: Duration = Duration::from_secs(2);

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

/// How often the answer of one call is gone on with by another attempt: whoever breaks off again and again is not the
/// upstream's accident any more, and each one is paid for.
pub(crate) const RECOVERIES_MAX: u32 = 3;

/// After the terminal event, how long the end of the answer waits for what may trail it: providers send both at once.
pub(crate) const TRAIL_TIMEOUT: Duration = Duration::from_millis(100);

/// After an answer that is whole but for its terminator, with its usage, how long that is waited for: some providers send
/// none and leave the connection open.
pub(crate) const TERMINATOR_TIMEOUT: Duration = Duration::from_secs(1);

/// The same where the usage, too, may still come: providers count within a second or so of the last token.
pub(crate) const USAGE_TIMEOUT: Duration = Duration::from_secs(5);

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

/// A probe of an upstream must be answered within this time, whatever calls are given.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Probes under way at once; beyond it they wait for the next look.
pub(crate) const PROBES_MAX: usize = 16;

/// Credentials whose tokens are kept at once; beyond it all are forgotten and fetched anew.
pub(crate) const TOKENS_MAX: usize = 4_096;

/// How long a token endpoint may take: real ones answer within a second.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A token endpoint's answer: Microsoft's are some 2 KiB.
pub(crate) const TOKEN_BODY_MAX: usize = 64 * 1024;

/// How long a token endpoint's refusal is believed without asking again.
pub(crate) const TOKEN_REFUSED_FOR: Duration = Duration::from_secs(1);

/// Files that are fetched for one request: Bedrock takes 20 pictures and 5 documents.
pub(crate) const FETCHES_MAX: usize = 25;

/// Bytes of one file that is fetched for a caller. OpenAI takes documents of 32 MB, Anthropic requests of as much in
/// base64.
pub(crate) const FETCHED_EACH_MAX: usize = 24 * 1024 * 1024;

/// Bytes of all files that are fetched for one request.
pub(crate) const FETCHED_MAX: usize = 48 * 1024 * 1024;

/// How long all of it may take: the client waits meanwhile, and has not heard anything yet.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// How long connecting to a file's server may take.
pub(crate) const FETCH_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a file's address: what servers take. Signed ones have some 2,000.
pub(crate) const FETCH_URL_MAX: usize = 8 * 1024;

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

/// Realtime sessions open at once. Each may hold a message of [`MESSAGE_MAX`] in either direction while it is being
/// assembled; whole ones count against `server.body_budget`.
pub(crate) const SESSIONS_MAX: usize = 4_096;

/// Bytes of one message of a realtime session. `OpenAI` takes 15 MiB of sound in one event, and a picture comes in one too.
pub(crate) const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// What a socket of a session reads at once: two of them stay allocated as long as the session lives.
pub(crate) const SESSION_READ_BUFFER: usize = 8 * 1024;

/// Responses of one session that are asked for or running. `OpenAI` runs one at a time in the conversation, and others
/// beside it only where the client asks.
pub(crate) const RESPONSES_MAX: usize = 32;

/// Subprotocols that a client may offer: there are five in use.
pub(crate) const PROTOCOLS_MAX: usize = 16;

/// How long an upstream gets to say what a response had used that was cancelled because its client had gone.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the two sides of a session that ends get to take their last messages.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pins held in memory; older ones are looked up in the database. Some 300 bytes each.
pub(crate) const PINS_IN_MEMORY_MAX: usize = 16_384;

/// Bytes of turns of conversations held in memory; older ones are looked up in the database.
pub(crate) const TURNS_IN_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of one turn that is kept: the longest contexts come to some 4 MiB of text; what goes beyond it in pictures has to
/// be sent again by the client.
pub(crate) const TURN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a kept conversation that is put in front of a request, all its turns together: half of the usual
/// `server.body_limit`.
pub(crate) const CONVERSATION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Things to be remembered that wait for the database: some seconds of a busy gateway.
pub(crate) const WRITES_MAX: usize = 8_192;

/// Bytes of turns among them.
pub(crate) const WRITES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Things written in one transaction: other writers want their turn.
pub(crate) const WRITES_BATCH_MAX: usize = 256;

/// How long a shutdown waits for what is to be remembered.
pub(crate) const WRITES_SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// How long a client waits for its deletion to be durable.
pub(crate) const DELETE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long the place of a response is remembered: providers keep them for 30 days.
pub(crate) const RESPONSE_KNOWN_FOR: Duration = Duration::from_hours(31 * 24);

/// How long the place of a file, batch and the like is remembered: they are kept until they are deleted.
pub(crate) const THING_KNOWN_FOR: Duration = Duration::from_hours(400 * 24);

/// How long an upload may take that has begun: Google forgets it after some two days.
pub(crate) const UPLOAD_KNOWN_FOR: Duration = Duration::from_hours(48);

/// Ids in the path and body of one request that are looked up.
pub(crate) const IDS_MAX: usize = 64;

/// Bytes of an answer that is looked through for the ids of what it made; such answers have some kilobytes.
pub(crate) const MADE_MAX: usize = 1024 * 1024;

/// Responses in the background that are not billed yet, of this process.
pub(crate) const JOBS_MAX: usize = 10_000;

/// The same of one user, so that none locks the others out.
pub(crate) const JOBS_OF_USER_MAX: usize = 1_000;

/// How long a response in the background may take before it is given up: the longest take hours.
pub(crate) const JOB_KNOWN_FOR: Duration = Duration::from_hours(48);

/// Batches that are not billed yet, of this process, and of one user: each has a hold and is asked for once a minute.
pub(crate) const BATCHES_MAX: usize = 1_000;
/// See [`BATCHES_MAX`].
pub(crate) const BATCHES_OF_USER_MAX: usize = 100;

/// How long a batch may take before it is given up: they take up to two days, and an upstream may be away after that.
pub(crate) const BATCH_KNOWN_FOR: Duration = Duration::from_hours(7 * 24);

/// Requests of one batch: Anthropic takes 100,000, `OpenAI` 50,000.
pub(crate) const BATCH_REQUESTS_MAX: usize = 100_000;

/// Bytes of a batch's file of requests or results: `OpenAI` takes 200 MB, Anthropic 256 MB; results of as many requests
/// with long answers come to some gigabytes. They are read line by line and never kept.
pub(crate) const BATCH_FILE_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Bytes of one line of such a file: a request with pictures, or an answer.
pub(crate) const BATCH_LINE_MAX: usize = 64 * 1024 * 1024;

/// Files of requests of which it is remembered what was uploaded here, and kinds of requests in one of them: nobody knows of
/// a file with more how many tokens it may be. Together some 30 MiB at most, and some hundred bytes a file as a rule.
pub(crate) const CENSUSES_MAX: usize = 256;
/// See [`CENSUSES_MAX`].
pub(crate) const CENSUS_KINDS_MAX: usize = 256;

/// How long a batch's requests may take to be read while its client waits, and its results in the background.
pub(crate) const BATCH_ASKED_TIMEOUT: Duration = Duration::from_mins(2);
/// See [`BATCH_ASKED_TIMEOUT`].
pub(crate) const BATCH_RESULTS_TIMEOUT: Duration = Duration::from_mins(15);

/// Batches whose results are read at the same time.
pub(crate) const BATCH_READS_MAX: usize = 4;

/// Receipts of a batch that are written before it is waited for their being durable.
pub(crate) const BATCH_RECEIPTS_MAX: usize = 256;

/// Responses in the background that are asked for at the same time.
pub(crate) const LOOKS_MAX: usize = 16;
