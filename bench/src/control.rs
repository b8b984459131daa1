//! One request at a time, blocking: for asking whether a program is up, for setting the mock upstream, for reading a
//! gauge. Nothing here is measured.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::framing::{Kind, MessageReader};
use crate::limits::CONNECT_TIME_MAX;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body, without framing.
    pub body: Vec<u8>,
}

/// Writes `request` to a new connection and reads the answer.
///
/// # Errors
/// When nothing listens, the connection breaks, the answer is not HTTP, or `time_max` passes without a byte.
pub fn exchange(address: SocketAddr, request: &[u8], time_max: Duration) -> io::Result<Reply> {
    let mut socket = TcpStream::connect_timeout(&address, CONNECT_TIME_MAX)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(time_max))?;
    socket.set_write_timeout(Some(time_max))?;
    socket.write_all(request)?;
    let mut reader = MessageReader::new(Kind::Response);
    let mut buffer = [0; 16 * 1024];
    while !reader.is_done() {
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            if reader.may_end_with_connection() {
                break;
            }
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.feed(&buffer[..read]).map_err(io::Error::other)?;
    }
    Ok(Reply {
        status: reader.status(),
        body: reader.body().to_vec(),
    })
}

/// `GET path`, with further header lines, each ended by CRLF.
///
/// # Errors
/// As [`exchange`], and for a status other than 200.
pub fn get(address: SocketAddr, path: &str, headers: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}connection: close\r\n\r\n");
    let reply = exchange(address, request.as_bytes(), Duration::from_secs(5))?;
    if reply.status != 200 {
        return Err(io::Error::other(format!("GET {path}: status {}", reply.status)));
    }
    String::from_utf8(reply.body).map_err(io::Error::other)
}
