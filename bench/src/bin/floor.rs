//! The bare pass-through on hyper as a program: see the library's `floor`.

use std::net::SocketAddr;

use clap::Parser;
use hyper::http::uri::Authority;
use tollgate_bench::floor::{Runtime, run};

/// Passes every request on to one upstream and its answer back, and does nothing else.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9202")]
    listen: SocketAddr,
    /// Host and port of the upstream.
    #[arg(long, default_value = "127.0.0.1:9100")]
    upstream: Authority,
    /// How the work is spread over cores.
    #[arg(long, value_enum, default_value = "work-stealing")]
    runtime: Runtime,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    run(options.listen, &options.upstream, options.runtime)?;
    Ok(())
}
