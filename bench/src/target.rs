//! What is compared, and how each of them is started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::control;
use crate::driver::Load;
use crate::limits::START_TIME_MAX;
use crate::process::{Process, pause};

/// Where the mock upstream listens.
pub const UPSTREAM_ADDRESS: SocketAddr = loopback(9100);

/// The key that the driver sends; `tollgate.yaml` declares it. Nothing real is behind it.
pub const CLIENT_KEY: &str = "sk-tg-bench-0123456789abcdefghijklmnopqrstuvwxyz";

/// The token for Tollgate's `/metrics`. Nothing real is behind it either.
pub const ADMIN_TOKEN: &str = "bench-admin-token-0123456789abcdef";

/// The gauge of receipts that are in the journal and not yet in the ledger.
const BACKLOG_GAUGE: &str = "tollgate_journal_backlog_receipts";

/// Something that requests are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Target {
    /// The mock upstream itself: what the others are compared with.
    Direct,
    /// nginx as a plain reverse proxy.
    Nginx,
    /// The bare pass-through on hyper: the floor.
    Hyper,
    /// The same with a runtime per core; not in the default set.
    HyperPerCore,
    /// The gateway with everything on.
    Tollgate,
}

/// Files and folders of a run.
#[derive(Debug, Clone)]
pub struct Site {
    /// Folder with the binaries of this crate.
    pub binaries: PathBuf,
    /// The gateway.
    pub gateway: PathBuf,
    /// Folder with `nginx.conf` and `tollgate.yaml`.
    pub config: PathBuf,
    /// Folder for logs, rendered configurations and data; emptied before a run.
    pub work: PathBuf,
}

/// Whether a target finds what an earlier start left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing: its data folder is empty.
    Fresh,
    /// Everything from the start before.
    Kept,
}

/// A target that has given its first right answer.
#[derive(Debug)]
pub struct Running {
    /// Which one.
    pub target: Target,
    /// Its process; none for [`Target::Direct`], which runs anyway.
    pub process: Option<Process>,
    /// From the start of the process to its first right answer.
    pub started_in: Duration,
}

impl Target {
    /// What is measured if nothing else is asked for, in this order.
    pub const DEFAULT: [Self; 4] = [Self::Direct, Self::Nginx, Self::Hyper, Self::Tollgate];

    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct (no proxy)",
            Self::Nginx => "nginx",
            Self::Hyper => "bare hyper",
            Self::HyperPerCore => "bare hyper, runtime per core",
            Self::Tollgate => "**Tollgate**",
        }
    }

    /// Where it listens.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Direct => UPSTREAM_ADDRESS,
            Self::Nginx => loopback(9201),
            Self::Hyper => loopback(9202),
            Self::HyperPerCore => loopback(9203),
            Self::Tollgate => loopback(9204),
        }
    }

    /// Starts it and waits for its first right answer to `probe`, asking every millisecond.
    ///
    /// # Errors
    /// When it does not start, ends, or does not answer rightly in time; with the end of its log.
    pub fn start(self, site: &Site, data: Data, probe: &Load) -> anyhow::Result<Running> {
        if self == Self::Direct {
            await_answer(probe, None)?;
            return Ok(Running {
                target: self,
                process: None,
                started_in: Duration::ZERO,
            });
        }
        let folder = site.work.join(self.folder());
        if data == Data::Fresh && folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let command = self.command(site, &folder)?;
        let log = site.work.join(format!("{}.log", self.folder()));
        let begun = Instant::now();
        let mut process = Process::start(command, &log)?;
        if let Err(error) = await_answer(probe, Some(&mut process)) {
            bail!("{error:#}\n{}", process.log_tail());
        }
        Ok(Running {
            target: self,
            process: Some(process),
            started_in: begun.elapsed(),
        })
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Hyper => "hyper",
            Self::HyperPerCore => "hyper-per-core",
            Self::Tollgate => "tollgate",
        }
    }

    fn command(self, site: &Site, folder: &Path) -> anyhow::Result<Command> {
        let (listen, upstream) = (self.address().to_string(), UPSTREAM_ADDRESS.to_string());
        let floor = |runtime: &str| {
            let mut command = Command::new(site.binaries.join("bench-floor"));
            command.args(["--listen", &listen, "--upstream", &upstream, "--runtime", runtime]);
            command
        };
        Ok(match self {
            Self::Direct => bail!("nothing to start"),
            Self::Hyper => floor("work-stealing"),
            Self::HyperPerCore => floor("per-core"),
            Self::Nginx => {
                let template = fs::read_to_string(site.config.join("nginx.conf"))?;
                let rendered = template
                    .replace("${BENCH_LISTEN}", &listen)
                    .replace("${BENCH_UPSTREAM}", &upstream);
                let file = folder.join("nginx.conf");
                fs::write(&file, rendered)?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]);
                command
            }
            Self::Tollgate => {
                let mut command = Command::new(&site.gateway);
                command
                    .args(["serve", "-c"])
                    .arg(site.config.join("tollgate.yaml"))
                    .current_dir(folder);
                command
                    .env("BENCH_LISTEN", &listen)
                    .env("BENCH_UPSTREAM", &upstream)
                    .env("BENCH_DATA", folder);
                command.env("BENCH_KEY", CLIENT_KEY).env("ADMIN_TOKEN", ADMIN_TOKEN);
                command
            }
        })
    }
}

impl Running {
    /// Receipts that have not reached the ledger; none if this target has no such gauge.
    pub fn backlog(&self) -> Option<u64> {
        if self.target != Target::Tollgate {
            return None;
        }
        let authorization = format!("authorization: Bearer {ADMIN_TOKEN}\r\n");
        gauge(
            &control::get(self.target.address(), "/metrics", &authorization).ok()?,
            BACKLOG_GAUGE,
        )
    }

    /// Whether it does work after the answer that belongs to the answer.
    pub fn settles(&self) -> bool {
        self.target == Target::Tollgate
    }

    /// Ends it and waits for that.
    ///
    /// # Errors
    /// When it had failed before, did not end when asked to, or, being the gateway, did not exit with 0: then it has
    /// not flushed everything.
    pub fn stop(self) -> anyhow::Result<()> {
        let Some(process) = self.process else { return Ok(()) };
        let status = process.stop().with_context(|| format!("{:?}", self.target))?;
        if self.target == Target::Tollgate && !status.success() {
            bail!("the gateway ended with {status} when it was asked to stop");
        }
        Ok(())
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

fn await_answer(probe: &Load, mut process: Option<&mut Process>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let problem = match control::exchange(probe.address, &probe.request, Duration::from_secs(5)) {
            Ok(reply) => match probe.expected.check(reply.status, &reply.body) {
                Ok(()) => return Ok(()),
                Err(mismatch) => format!("{mismatch}: {}", String::from_utf8_lossy(&reply.body)),
            },
            Err(error) => error.to_string(),
        };
        if let Some(status) = process.as_mut().map(|process| process.ended()).transpose()?.flatten() {
            bail!("ended with {status} before its first answer");
        }
        if begun.elapsed() > START_TIME_MAX {
            bail!(
                "no right answer within {} s of the start; at last {problem}",
                START_TIME_MAX.as_secs()
            );
        }
        pause(Duration::from_millis(1));
    }
}

/// The value of a metric without labels, or the sum over its labels.
fn gauge(metrics: &str, name: &str) -> Option<u64> {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let labelled = || rest.strip_prefix('{')?.rsplit_once("} ").map(|(_, value)| value);
        let value = rest.strip_prefix(' ').or_else(labelled)?;
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    values.map(|value| value as u64).reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_its_whole_name_with_or_without_labels() {
        let metrics = "# TYPE a gauge\na_total 9\na 3\nb{x=\"1\"} 4\nb{x=\"} 2\"} 5 1700000000\n";
        assert_eq!(gauge(metrics, "a"), Some(3));
        assert_eq!(gauge(metrics, "b"), Some(9));
        assert_eq!(gauge(metrics, "c"), None);
    }

    #[test]
    fn no_two_targets_share_an_address() {
        let all = [
            Target::Direct,
            Target::Nginx,
            Target::Hyper,
            Target::HyperPerCore,
            Target::Tollgate,
        ];
        let addresses: std::collections::HashSet<_> = all.into_iter().map(Target::address).collect();
        assert_eq!(addresses.len(), all.len());
    }
}
