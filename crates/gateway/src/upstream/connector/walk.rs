//! The way to an upstream, step by step, for the connection tester.

use std::time::Instant;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{AddressRules, Arc, ConnectError, Connector, IpAddr, ServerName, Shared, SocketAddr, Uri};
use crate::health::CheckupStep;

impl Connector {
    /// Goes the way that [`connect`](Self::connect) goes, and tells each step; after one that fails there is none.
    pub(crate) async fn walk(&self, uri: &Uri) -> Vec<CheckupStep> {
        let mut steps = Vec::new();
        // A step that fails has told so itself.
        let walked = tokio::time::timeout(self.shared.egress.connect_timeout, self.shared.walk(uri, &mut steps)).await;
        if walked.is_err() {
            let limit = self.shared.egress.connect_timeout;
            let name = match steps.last().map(|step| step.name) {
                None => "dns",
                Some("dns") => "tcp",
                Some(_) => "tls",
            };
            steps.push(CheckupStep {
                name,
                took: limit,
                found: Err(format!("nothing within {limit:?}")),
            });
        }
        steps
    }
}

impl Shared {
    async fn walk(&self, uri: &Uri, steps: &mut Vec<CheckupStep>) -> Option<()> {
        let began = Instant::now();
        let checked = AddressRules::check_url(uri, self.egress.origin).map_err(ConnectError::from);
        let (host, port) = told(steps, "dns", began, checked, |_| None)?;
        let tcp = if let Some(proxy) = &self.proxy {
            let through = self.through(proxy, host, port).await;
            let words = |_: &TcpStream| Some(format!("through {}", proxy.uri));
            told(steps, "proxy", began, through, words)?
        } else {
            let list = |found: &Vec<IpAddr>| {
                let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
                Some(texts.join(", "))
            };
            let addresses = told(steps, "dns", began, self.addresses(host).await, list)?;
            let began = Instant::now();
            let peer = |tcp: &TcpStream| tcp.peer_addr().ok().map(|peer| peer.to_string());
            told(steps, "tcp", began, first_of(host, &addresses, port).await, peer)?
        };
        if uri.scheme_str() != Some("https") {
            return Some(());
        }
        let began = Instant::now();
        let failed = |error| ConnectError::Tls(host.to_owned(), error);
        let shaken = match ServerName::try_from(host.to_owned()) {
            Ok(name) => TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await,
            Err(error) => Err(std::io::Error::other(error)),
        };
        let version = |tls: &tokio_rustls::client::TlsStream<TcpStream>| {
            let version = tls.get_ref().1.protocol_version();
            Some(version.map_or_else(String::new, |version| format!("{version:?}")))
        };
        told(steps, "tls", began, shaken.map_err(failed), version).map(|_| ())
    }
}

async fn first_of(host: &str, addresses: &[IpAddr], port: u16) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NoAddress(host.to_owned());
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = ConnectError::Connect(address, error),
        }
    }
    Err(last)
}

/// Tells a step if it failed or `found` has something to say of it.
fn told<T>(
    steps: &mut Vec<CheckupStep>,
    name: &'static str,
    began: Instant,
    result: Result<T, ConnectError>,
    found: impl FnOnce(&T) -> Option<String>,
) -> Option<T> {
    let words = match &result {
        Ok(value) => found(value).map(Ok),
        Err(error) => Some(Err(error.to_string())),
    };
    if let Some(found) = words {
        let took = began.elapsed();
        steps.push(CheckupStep { name, took, found });
    }
    result.ok()
}
