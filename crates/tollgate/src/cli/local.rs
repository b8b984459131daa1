//! A question to the server on this machine, over its own HTTP.
//!
//! Hand-written, because the gateway's client is for upstreams: it checks addresses, pools and follows the configuration
//! of an upstream, none of which is wanted for one question to ourselves.

use std::time::Duration;

use anyhow::Context as _;
use domain::Secret;
use serde_json::Value;
use store::Journal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::Config;

/// A server that needs longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Testing the way to an upstream waits for that, too.
const LONG_PATIENCE: Duration = Duration::from_mins(2);

/// Longest answer: the explanation of a model with thousands of targets is below it.
const ANSWER_MAX: u64 = 4 * 1024 * 1024;

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// What the server at `address` answered, or the sentence that it refused with.
    pub(super) fn told(self, address: &str) -> anyhow::Result<String> {
        if self.status == 200 {
            return Ok(self.body);
        }
        let refusal: Option<Value> = serde_json::from_str(&self.body).ok();
        let message = refusal
            .as_ref()
            .and_then(|refusal| refusal["error"]["message"].as_str());
        match message {
            Some(message) => anyhow::bail!("{address} says: {message}"),
            None => anyhow::bail!(
                "{address} answers with status {} and not as Tollgate does; is another server there?",
                self.status
            ),
        }
    }
}

/// Asks the server at `address`.
pub(super) async fn get(address: &str, path: &str, token: Option<&Secret>) -> anyhow::Result<Answer> {
    request(address, "GET", path, token, PATIENCE).await
}

/// Tells the server at `address` to do something that takes a while.
pub(super) async fn post(address: &str, path: &str, token: &Secret) -> anyhow::Result<Answer> {
    request(address, "POST", path, Some(token), LONG_PATIENCE).await
}

async fn request(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&Secret>,
    patience: Duration,
) -> anyhow::Result<Answer> {
    let text = tokio::time::timeout(patience, ask(address, method, path, token)).await;
    let text = text.map_err(|_| anyhow::anyhow!("{address} does not answer within {} s", patience.as_secs()))??;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    Ok(Answer {
        status: status.unwrap_or(0),
        body: body.to_owned(),
    })
}

/// Asks the server that has this configuration's data open. The token goes to nobody else.
pub(super) async fn ask_server(config: &Config, path: &str) -> anyhow::Result<String> {
    let journal = &config.storage.journal.dir;
    anyhow::ensure!(Journal::holder(journal).is_some(), "no server runs on this data");
    let token = config.security.admin_token.as_ref();
    let token = token.ok_or_else(|| anyhow::anyhow!("set ADMIN_TOKEN, for the server too, to ask it"))?;
    let address = address(&config.server.listen);
    get(&address, path, Some(token)).await?.told(&address)
}

async fn ask(address: &str, method: &str, path: &str, token: Option<&Secret>) -> anyhow::Result<String> {
    let connected = TcpStream::connect(address).await;
    let mut stream = connected.with_context(|| format!("{address} cannot be reached; is `tollgate serve` running?"))?;
    let login = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {}\r\n", token.expose())
    });
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{login}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a server that listens on all addresses is reached from here.
pub(super) fn address(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

/// A value as a query may hold it.
pub(super) fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_at_home() {
        assert_eq!(address("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(address("[::]:1"), "[::1]:1");
        assert_eq!(address("10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn a_refusal_is_told_as_a_sentence() {
        let told = |status, body: &str| {
            let body = body.to_owned();
            Answer { status, body }.told("a:1").map_err(|error| error.to_string())
        };
        assert_eq!(told(200, "{}"), Ok("{}".to_owned()));
        let refusal = r#"{"error":{"message":"there is no such thing","code":"not_found"}}"#;
        assert_eq!(told(404, refusal), Err("a:1 says: there is no such thing".to_owned()));
        assert!(told(502, "<html>").unwrap_err().contains("another server"));
    }

    #[test]
    fn what_would_end_a_query_is_encoded() {
        assert_eq!(encoded("a/b c&d=\r\nö"), "a%2Fb%20c%26d%3D%0D%0A%C3%B6");
    }
}
