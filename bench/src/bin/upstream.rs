//! The mock upstream as a program of its own, so that its CPU time is in nobody else's.

use std::net::SocketAddr;

use clap::Parser;
use tollgate_bench::upstream::Upstream;

/// Mock upstream: answers OpenAI and Anthropic calls as fast as one thread can.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // One thread: more would take the second core from the proxy, and one answers 100,000 requests a second.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Upstream::bind(options.listen)?.serve().await })?;
    Ok(())
}
