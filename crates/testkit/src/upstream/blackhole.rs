//! An address at which connecting never succeeds and never fails: for connect timeouts.
//!
//! A listener whose queue is full makes the kernel ignore further connection attempts, as a firewall that drops packets
//! does. No packet leaves the machine, unlike with the reserved addresses that tests elsewhere use for this.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Attempts that fill the queue; one or two are enough for the shortest queue that there is.
const FILLERS_MAX: usize = 8;
/// A connection to a listener on this machine comes at once or not at all.
const COMES_AT_ONCE: Duration = Duration::from_millis(200);

/// The address, as long as this lives.
#[derive(Debug)]
pub struct Blackhole {
    address: SocketAddr,
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl Blackhole {
    /// Opens one.
    pub fn open() -> Self {
        let listener = shortest_queue();
        let address = listener.local_addr().expect("a bound socket has an address");
        let fillers: Vec<TcpStream> = (0..FILLERS_MAX)
            .map_while(|_| TcpStream::connect_timeout(&address, COMES_AT_ONCE).ok())
            .collect();
        assert!(fillers.len() < FILLERS_MAX, "the queue of {address} does not fill");
        Self {
            address,
            _listener: listener,
            _fillers: fillers,
        }
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The standard library has no say in the length of the queue; tokio has, inside a runtime.
fn shortest_queue() -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a tokio runtime");
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a free port");
        socket.listen(0).expect("the port listens")
    });
    listener.into_std().expect("a listener leaves its runtime")
}
