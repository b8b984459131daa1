//! Where log lines go: stdout, and files by the day and by size. What becomes of credentials has files of its own, so that it
//! is still found when the others are full of calls.
//!
//! Lines are written by threads of their own through bounded queues, so that a slow disk or terminal never holds up a
//! call; a line that finds its queue full is dropped rather than waited for. Accounts do not depend on logs.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, Logs};
use crate::secrets::private_dir;

use self::rotating::{Keep, RotatingFile};

mod rotating;

/// Lines that may wait for a slow writer: half a megabyte or so. The queues themselves take 32 bytes a line from the start.
const LINES_MAX: usize = 2_048;

const DAY: u64 = 86_400;

/// Of a file of all lines: what an editor still opens. How long they are kept is what the operator says; how many there are
/// by then is what their clients do.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Of a file of credential events: some fifty thousand of them.
const EVENTS_FILE_BYTES_MAX: u64 = 16 << 20;

/// Of all files of credential events: three million, so that a storm of rate limits does not fill the disk of the journal.
const EVENTS_BYTES_MAX: u64 = 1 << 30;

/// The target of lines about what became of a credential.
pub(crate) const CREDENTIAL_EVENTS: &str = "tollgate::credential";

/// Writes what still waits when dropped.
#[derive(Debug)]
pub(crate) struct Flush {
    _guards: Vec<WorkerGuard>,
}

/// Starts logging.
pub(crate) fn start(logs: &Logs) -> anyhow::Result<Flush> {
    let filter: Targets = logs.level.parse().context("logs.level cannot be read")?;
    let queue = || {
        NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_MAX)
            .lossy(true)
    };
    let (stdout, guard) = queue().thread_name("log-stdout").finish(io::stdout());
    let mut guards = vec![guard];
    let text_wanted = io::stdout().is_terminal();
    let format = logs
        .format
        .unwrap_or(if text_wanted { LogFormat::Text } else { LogFormat::Json });
    let to_stdout = match format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(stdout)
            .boxed(),
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(stdout).boxed(),
    };
    let mut to_files = Vec::new();
    if let Some(dir) = &logs.dir {
        private_dir(dir)?;
        let days = i64::try_from(logs.retention.0.as_secs().div_ceil(DAY)).unwrap_or(i64::MAX);
        let all = Keep {
            file_bytes_max: FILE_BYTES_MAX,
            bytes_max: u64::MAX,
            days: days.max(1),
        };
        let of_events = Keep {
            file_bytes_max: EVENTS_FILE_BYTES_MAX,
            bytes_max: EVENTS_BYTES_MAX,
            ..all
        };
        let rest = filter.clone().with_target(CREDENTIAL_EVENTS, LevelFilter::OFF);
        // All of them, whatever level of other lines is wanted: they are few.
        let events = Targets::new().with_target(CREDENTIAL_EVENTS, LevelFilter::TRACE);
        for (prefix, keep, filter) in [("tollgate", all, rest), ("credentials", of_events, events)] {
            let files = RotatingFile::open(dir, prefix, keep, super::now)
                .with_context(|| format!("logs cannot be written to {}", dir.display()))?;
            let (files, guard) = queue().thread_name("log-files").finish(files);
            guards.push(guard);
            let layer = fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_writer(files);
            to_files.push(layer.with_filter(filter).boxed());
        }
    }
    // A list without an element would say that no line is wanted by anybody.
    tracing_subscriber::registry()
        .with((!to_files.is_empty()).then_some(to_files))
        .with(to_stdout.with_filter(filter))
        .try_init()
        .context("logging was started twice")?;
    Ok(Flush { _guards: guards })
}
