//! `tollgate healthcheck`: asks the local server whether it is ready. For containers, whose images have no curl.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::context::Context;

/// A server that needs longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer is a few hundred bytes.
const ANSWER_MAX: u64 = 16 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Healthcheck {}

impl Healthcheck {
    /// # Errors
    /// The server is not there or not ready: the exit code says so.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let address = local(&context.config()?.server.listen);
        let answer = tokio::time::timeout(PATIENCE, ask(&address)).await;
        let answer =
            answer.map_err(|_| anyhow::anyhow!("{address} does not answer within {} s", PATIENCE.as_secs()))??;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok())
            .unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
        anyhow::ensure!(status == 200, "{address} is not ready ({status}): {body}");
        context.say(
            &format!("{address} is ready"),
            &json!({"ready": true, "address": address}),
        )
    }
}

async fn ask(address: &str) -> anyhow::Result<String> {
    let connected = TcpStream::connect(address).await;
    let mut stream = connected.with_context(|| format!("{address} cannot be reached; is `tollgate serve` running?"))?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a server that listens on all addresses is reached from here.
fn local(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_at_home() {
        assert_eq!(local("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(local("[::]:1"), "[::1]:1");
        assert_eq!(local("10.0.0.1:1"), "10.0.0.1:1");
    }
}
