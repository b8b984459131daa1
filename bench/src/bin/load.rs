//! One load by hand, on anything that listens: for a look with `perf` at a program that is under load.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use tollgate_bench::driver::drive;
use tollgate_bench::phase::Phase;
use tollgate_bench::target::{CLIENT_KEY, Target};
use tollgate_bench::wire::{Dialect, Size};

/// Puts the load of one phase on an address of this machine and prints what came back.
#[derive(Debug, Parser)]
struct Options {
    /// Where to send requests; the mock upstream itself if nothing is said.
    #[arg(long, default_value = "127.0.0.1:9100")]
    address: SocketAddr,
    /// What to send. The pace of streams is that of the mock upstream: `GET /__config?pause_us=10000`.
    #[arg(long, value_enum, default_value = "peak")]
    phase: Phase,
    /// For how long.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Format of the calls.
    #[arg(long, value_enum, default_value = "openai_chat")]
    dialect: Dialect,
    /// The client's key.
    #[arg(long, default_value = CLIENT_KEY)]
    key: String,
    /// The same with the 220 KB body.
    #[arg(long)]
    large: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    anyhow::ensure!(options.address.ip().is_loopback(), "only this machine itself is loaded");
    let mut load = options
        .phase
        .load(Target::Direct, options.dialect, Duration::from_secs(options.seconds));
    load.address = options.address;
    if options.large || options.key != CLIENT_KEY {
        let size = if options.large { Size::Large } else { Size::Small };
        let host = options.address.to_string();
        load.request = options
            .dialect
            .http_request(&host, &options.key, size, options.phase.shape());
    }
    let summary = drive(&load, &mut |_| {})?.summarise();
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?;
    anyhow::ensure!(summary.errors == 0, "{} errors", summary.errors);
    Ok(())
}
