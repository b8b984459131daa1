//! The outbound connector: resolve, check, connect to that very address.
//!
//! Everything that leaves the process goes through here, so that the rules of [`AddressRules`] hold at the moment of
//! connecting and for the address connected to, whatever a name resolved to before or will after. A proxy gets the
//! host name where the operator declared the upstream (the proxy may be the only one that knows it), and the checked
//! address where it came from elsewhere.

mod walk;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::snapshot::Origin;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::address::{AddressError, AddressRules};
use super::resolve::Resolve;
use super::stream::Stream;
use super::tls;
use crate::limits::ADDRESSES_MAX;

/// How connections of one kind are made. Equal values share a connection pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Egress {
    pub(crate) origin: Origin,
    pub(crate) proxy: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
}

/// Why there is no connection. Messages are for operators.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("the name `{0}` cannot be resolved: {1}")]
    Resolve(String, std::io::Error),
    #[error("the name `{0}` has no address")]
    NoAddress(String),
    #[error("connecting to {0} failed: {1}")]
    Connect(SocketAddr, std::io::Error),
    #[error("no connection to {0} within {1:?}")]
    Timeout(String, Duration),
    #[error("tls with {0} failed: {1}")]
    Tls(String, std::io::Error),
    #[error("`{0}` is not a proxy address; use http:// or socks5://host:port")]
    ProxyAddress(String),
    #[error("the proxy refused the connection: {0}")]
    Proxy(String),
}

/// Makes connections for the client pool.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    egress: Egress,
    rules: Arc<AddressRules>,
    resolver: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
}

#[derive(Clone, Debug)]
struct Proxy {
    /// Scheme, host and port, without credentials.
    uri: Uri,
    socks: bool,
    login: Option<(String, String)>,
}

impl Connector {
    /// A connector of this kind; fails if its CA file or proxy address is bad.
    pub(crate) fn new(egress: Egress, rules: Arc<AddressRules>, resolver: Arc<dyn Resolve>) -> Result<Self, String> {
        let tls = tls::config(egress.ca.as_deref())?;
        let proxy = egress
            .proxy
            .as_deref()
            .map(Proxy::parse)
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            shared: Arc::new(Shared {
                egress,
                rules,
                resolver,
                tls,
                proxy,
            }),
        })
    }

    /// A connection for `uri`, within the time limit.
    pub(crate) async fn connect(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let limit = self.shared.egress.connect_timeout;
        let timeout = || ConnectError::Timeout(uri.host().unwrap_or_default().to_owned(), limit);
        let opened = tokio::time::timeout(limit, self.shared.open(uri)).await;
        opened.map_err(|_| timeout())?
    }
}

impl Shared {
    async fn open(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let origin = self.egress.origin;
        let (host, port) = AddressRules::check_url(uri, origin)?;
        let tcp = match &self.proxy {
            Some(proxy) => self.through(proxy, host, port).await?,
            None => self.direct(host, port).await?,
        };
        if uri.scheme_str() != Some("https") {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        let failed = |error| ConnectError::Tls(host.to_owned(), error);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(std::io::Error::other(error)))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, tcp)
            .await
            .map_err(failed)?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }

    /// Connects to the first address that answers; each is checked just before.
    async fn direct(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let mut last = ConnectError::NoAddress(host.to_owned());
        for address in self.addresses(host).await? {
            let address = SocketAddr::new(address, port);
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    tcp.set_nodelay(true)
                        .map_err(|error| ConnectError::Connect(address, error))?;
                    return Ok(tcp);
                }
                Err(error) => last = ConnectError::Connect(address, error),
            }
        }
        Err(last)
    }

    /// The addresses of a host. One that is not allowed refuses them all: a name that points to both is an attack.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let mut found = if let Ok(address) = host.parse::<IpAddr>() {
            vec![address]
        } else {
            let failed = |error| ConnectError::Resolve(host.to_owned(), error);
            self.resolver.resolve(host).await.map_err(failed)?
        };
        found.truncate(ADDRESSES_MAX);
        for address in &found {
            self.rules.check(*address, self.egress.origin)?;
        }
        Ok(found)
    }

    async fn through(&self, proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let host = match self.egress.origin {
            Origin::Operator => {
                // A name is the proxy's to look up, an address is known here.
                if let Ok(address) = host.trim_matches(['[', ']']).parse() {
                    self.rules.check(address, self.egress.origin)?;
                }
                host.to_owned()
            }
            Origin::Remote => {
                let addresses = self.addresses(host).await?;
                addresses
                    .first()
                    .ok_or_else(|| ConnectError::NoAddress(host.to_owned()))?
                    .to_string()
            }
        };
        let target = format!(
            "https://{}:{port}",
            if host.contains(':') { format!("[{host}]") } else { host }
        );
        let target: Uri = target
            .parse()
            .map_err(|_| ConnectError::Proxy("the host name cannot be sent".to_owned()))?;
        let (proxy_host, proxy_port) = AddressRules::check_url(&proxy.uri, Origin::Operator)?;
        let opened = self.direct(proxy_host, proxy_port).await?;
        proxy.handshake(opened, target).await
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, ConnectError> {
        let bad = || ConnectError::ProxyAddress(without_login(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let socks = matches!(scheme, "socks5" | "socks5h");
        if !socks && scheme != "http" {
            return Err(bad());
        }
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login.split_once(':').unwrap_or((login, ""))), host),
            None => (None, rest),
        };
        let host = host.trim_end_matches('/');
        let default_port = if socks { 1080 } else { 80 };
        let with_port = if host.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
            host.to_owned()
        } else {
            format!("{host}:{default_port}")
        };
        let uri: Uri = format!("http://{with_port}").parse().map_err(|_| bad())?;
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        Ok(Self { uri, socks, login })
    }

    /// Asks the proxy, over a connection to it, for one to `target`.
    async fn handshake(&self, opened: TcpStream, target: Uri) -> Result<TcpStream, ConnectError> {
        let once = Once(Some(opened));
        let refused = |error: &dyn std::fmt::Display| ConnectError::Proxy(error.to_string());
        let stream = if self.socks {
            let mut socks = SocksV5::new(self.uri.clone(), once);
            if let Some((user, password)) = &self.login {
                socks = socks.with_auth(user.clone(), password.clone());
            }
            socks.call(target).await.map_err(|error| refused(&error))?
        } else {
            let mut tunnel = Tunnel::new(self.uri.clone(), once);
            if let Some(header) = self.basic()? {
                tunnel = tunnel.with_auth(header);
            }
            tunnel.call(target).await.map_err(|error| refused(&error))?
        };
        Ok(stream.into_inner())
    }

    fn basic(&self) -> Result<Option<HeaderValue>, ConnectError> {
        use base64::Engine as _;
        let Some((user, password)) = &self.login else {
            return Ok(None);
        };
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
            .map_err(|_| ConnectError::Proxy("the login cannot be sent".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn without_login(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => text.to_owned(),
    }
}

/// A "connector" that hands out the one connection that was opened and checked before.
#[derive(Debug)]
struct Once(Option<TcpStream>);

impl Service<Uri> for Once {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let taken = self.0.take().map(TokioIo::new);
        std::future::ready(taken.ok_or_else(|| std::io::Error::other("the connection is used up")))
    }
}

#[cfg(test)]
mod tests;
