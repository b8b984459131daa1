//! The floor: the least that a proxy on hyper does. Its server in front, its pooled client behind, bodies handed over
//! frame by frame; no parsing, no logging, no metering. Everything that the gateway costs above this is the gateway's
//! own doing, everything below is the price of HTTP on this machine.

use std::io;
use std::net::SocketAddr;
use std::thread;

use hyper::body::Incoming;
use hyper::http::uri::{Authority, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, header};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket};

/// Idle connections to the upstream that are kept; above every concurrency that is measured with short requests.
const IDLE_MAX: usize = 1024;

/// How the work is spread over cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// One tokio runtime whose threads take work from each other.
    WorkStealing,
    /// A runtime per core with a listener and a connection pool of its own.
    PerCore,
}

/// A pass-through to one upstream.
#[derive(Debug, Clone)]
pub struct Floor {
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
}

/// A listening socket that several runtimes may share.
///
/// # Errors
/// When the address is taken, or outside a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

/// Serves until the process ends, on as many threads as there are cores.
///
/// # Errors
/// When the address is taken, or no connection can be accepted any more.
pub fn run(address: SocketAddr, upstream: &Authority, runtime: Runtime) -> io::Result<()> {
    let serve = || async { Floor::new(upstream.clone()).serve(listen(address)?).await };
    match runtime {
        Runtime::WorkStealing => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(serve()),
        Runtime::PerCore => {
            let cores = thread::available_parallelism()?.get();
            thread::scope(|scope| {
                let single = || {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?
                        .block_on(serve())
                };
                let running: Vec<_> = (0..cores).map(|_| scope.spawn(single)).collect();
                let gone = || io::Error::other("a runtime panicked");
                running
                    .into_iter()
                    .try_for_each(|runtime| runtime.join().map_err(|_| gone())?)
            })
        }
    }
}

impl Floor {
    /// A pass-through to `upstream`, with a connection pool of its own.
    pub fn new(upstream: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Self { client, upstream }
    }

    /// Serves connections of `listener`.
    ///
    /// # Errors
    /// When no connection can be accepted any more.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let floor = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| floor.pass(request));
                // An upstream that fails closes the client's connection: the driver counts that as an error.
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await
            });
        }
    }

    async fn pass(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.clone());
        *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and the path of a received request");
        request.headers_mut().remove(header::HOST);
        self.client.request(request).await
    }
}
