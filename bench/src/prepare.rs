//! Everything that must be there before the first measurement: the gateway's binary, nginx, a network namespace in
//! which no program can reach anything but loopback, enough open files.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits::OPEN_FILES;
use crate::options::Options;
use crate::target::Target;

/// What `unshare` is tried with: as root, else as root of a user namespace of one's own.
const NAMESPACES: [&str; 2] = ["-n", "-rn"];
const LOOPBACK_UP: &str = "ip link set lo up && exec \"$@\"";

/// The folder of this crate, with the configurations.
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the gateway unless one is given; returns its path.
///
/// # Errors
/// When it cannot be built, or is not where it should be.
pub fn gateway(options: &Options, binaries: &Path) -> anyhow::Result<PathBuf> {
    let built = binaries.join("tollgate");
    let binary = options.bin.clone().unwrap_or(built);
    if !options.targets().contains(&Target::Tollgate) {
        return Ok(binary);
    }
    if options.bin.is_none() && !options.inside_namespace {
        let cargo = ["build", "--profile", &options.profile, "-p", "tollgate"];
        run(Command::new("cargo").args(cargo).current_dir(home())).context("building the gateway")?;
    }
    binary
        .canonicalize()
        .with_context(|| format!("no gateway at {}", binary.display()))
}

/// Installs nginx from apt if it is needed and not there.
///
/// # Errors
/// When that is not possible; `--only` runs without it.
pub fn nginx(options: &Options) -> anyhow::Result<()> {
    let wanted = options.targets().contains(&Target::Nginx);
    let there = || {
        Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !wanted || options.inside_namespace || there() {
        return Ok(());
    }
    let install = || -> anyhow::Result<()> {
        let mut command = Command::new("apt-get");
        // Run level 1 keeps the package from starting a server of its own.
        command.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive");
        run(command.args(["install", "-y", "-q", "--no-install-recommends", "nginx"]))
    };
    if install().is_err() {
        run(Command::new("apt-get").args(["update", "-q"]))?;
        install().context("installing nginx; `--only direct,hyper,tollgate` runs without it")?;
    }
    Ok(())
}

/// Starts this program once more, in a network namespace with only loopback. Returns only if that is not possible,
/// with the reason.
pub fn enter_namespace() -> String {
    let Some(flags) = NAMESPACES.into_iter().find(|flags| namespace_works(flags)) else {
        return "unshare and ip cannot make a network namespace here".to_owned();
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return format!("own path: {error}"),
    };
    let mut command = Command::new("unshare");
    command
        .args([flags, "sh", "-c", LOOPBACK_UP, "sh"])
        .arg(program)
        .arg("--inside-namespace");
    command.args(std::env::args_os().skip(1));
    format!("unshare: {}", command.exec())
}

/// Raises the limit of open files for this process and those that it starts, as far as that is allowed.
///
/// # Errors
/// When fewer are allowed than `streams` open streams need in a gateway.
pub fn raise_open_files(streams: u32) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < OPEN_FILES {
        // Only root may raise the hard limit; others get what it allows.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES.max(hard));
        raised.or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES), hard))?;
    }
    let (now, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = files_needed(streams);
    if now < needed {
        bail!(
            "{streams} open streams need {needed} open files, {now} are allowed: raise `ulimit -n` or give --streams"
        );
    }
    Ok(())
}

/// Two sockets a stream, and some hundred files for everything else.
fn files_needed(streams: u32) -> u64 {
    u64::from(streams) * 2 + 500
}

fn namespace_works(flags: &str) -> bool {
    let tried = Command::new("unshare")
        .args([flags, "sh", "-c", LOOPBACK_UP, "sh", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Runs a command to its end; what it prints goes to standard error, because standard output is for the tables.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.with_context(|| format!("{}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_suffices_for_the_streams_of_a_full_run() {
        assert!(files_needed(5_000) <= OPEN_FILES);
    }

    #[test]
    fn configurations_are_where_they_are_looked_for() {
        for name in ["nginx.conf", "tollgate.yaml"] {
            let text = std::fs::read_to_string(home().join(name)).unwrap();
            assert!(
                text.contains("${BENCH_LISTEN}") && text.contains("${BENCH_UPSTREAM}"),
                "{name}"
            );
        }
    }
}
