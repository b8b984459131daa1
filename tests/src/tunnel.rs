//! A small HTTP proxy: `CONNECT` with a login, and a record of who asked for what.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest head of a request to the proxy.
const HEAD_MAX: usize = 16 * 1024;

/// A proxy in a thread; it lives as long as the test's process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one on a free port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A client or an upstream that leaves ends its tunnel, nothing more.
                std::thread::spawn(move || serve(client, &seen).ok());
            }
        });
        Ok(Self { address, heads })
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut client: TcpStream, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let is_tunnel = head.starts_with("CONNECT ");
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    if !is_tunnel {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n");
    }
    let upstream = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    relay(client, upstream)
}

/// Passes bytes on, both ways, until both sides are done.
pub(crate) fn relay(client: TcpStream, upstream: TcpStream) -> io::Result<()> {
    let (from, to) = (client.try_clone()?, upstream.try_clone()?);
    std::thread::spawn(move || pump(from, to).ok());
    pump(upstream, client)
}

fn pump(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    // A reset on one side must end the other, or whoever is there waits for ever.
    to.shutdown(if copied.is_ok() {
        Shutdown::Write
    } else {
        Shutdown::Both
    })
}
