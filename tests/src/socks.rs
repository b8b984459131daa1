//! A small SOCKS5 proxy (RFC 1928, with the login of RFC 1929), and a record of who asked for what.
//!
//! Every name is the loopback address to it, so that a test can name an upstream that nobody else can resolve: an answer
//! then proves that the name went to the proxy as it is.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::tunnel::relay;

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const WITHOUT_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const GRANTED: u8 = 0;
const REFUSED: u8 = 5;

/// A proxy in a thread; it lives as long as the test's process.
#[derive(Debug)]
pub struct Socks {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// One connection that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// User and password, where they were given.
    pub login: Option<(String, String)>,
    /// The host as it was sent: a name, or an address.
    pub host: String,
    /// Whether `host` came as a name.
    pub by_name: bool,
    /// The port.
    pub port: u16,
}

impl Socks {
    /// Starts one on a free port; with a login it serves nobody who does not have it.
    pub fn start(login: Option<(&'static str, &'static str)>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A client or an upstream that leaves ends its tunnel, nothing more.
                std::thread::spawn(move || serve(client, login, &seen).ok());
            }
        });
        Ok(Self { address, asked })
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut client: TcpStream, expected: Option<(&str, &str)>, seen: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let [_, methods] = read(&mut client)?;
    let offered = read_some(&mut client, methods)?;
    let method = if expected.is_some() { WITH_LOGIN } else { WITHOUT_LOGIN };
    if !offered.contains(&method) {
        return client.write_all(&[VERSION, NO_METHOD]);
    }
    client.write_all(&[VERSION, method])?;
    let login = if expected.is_some() {
        Some(read_login(&mut client)?)
    } else {
        None
    };
    let welcome = login
        .as_ref()
        .map(|(user, password)| (user.as_str(), password.as_str()))
        == expected;
    if expected.is_some() {
        client.write_all(&[LOGIN_VERSION, u8::from(!welcome)])?;
    }
    if !welcome {
        return Ok(());
    }
    let (host, by_name) = read_target(&mut client)?;
    let port = u16::from_be_bytes(read(&mut client)?);
    let to = format!("{}:{port}", if by_name { "127.0.0.1" } else { &host });
    let asked = Asked {
        login,
        host,
        by_name,
        port,
    };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let upstream = TcpStream::connect(to);
    let outcome = if upstream.is_ok() { GRANTED } else { REFUSED };
    client.write_all(&[VERSION, outcome, 0, IPV4, 0, 0, 0, 0, 0, 0])?;
    relay(client, upstream?)
}

fn read_login(client: &mut TcpStream) -> io::Result<(String, String)> {
    let [_, length] = read(client)?;
    let user = read_text(client, length)?;
    let [length] = read(client)?;
    Ok((user, read_text(client, length)?))
}

/// The host, and whether it is a name.
fn read_target(client: &mut TcpStream) -> io::Result<(String, bool)> {
    let [_, command, _, kind] = read(client)?;
    match (command, kind) {
        (CONNECT, IPV4) => Ok((Ipv4Addr::from(read(client)?).to_string(), false)),
        (CONNECT, NAME) => {
            let [length] = read(client)?;
            Ok((read_text(client, length)?, true))
        }
        _ => Err(io::Error::other("not a connection to a name or an IPv4 address")),
    }
}

fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_some(client: &mut TcpStream, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(client: &mut TcpStream, length: u8) -> io::Result<String> {
    String::from_utf8(read_some(client, length)?).map_err(io::Error::other)
}
