//! One connection: bytes in, bytes out, and the knowledge that the other side has left.

use std::future::Future;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client may send ahead while an answer is under way, before we stop looking for its leaving.
const AHEAD_MAX: usize = 64 * 1024;

/// The client closed or reset the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

/// A connection and what was read ahead from it.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    pub(crate) buffer: BytesMut,
}

impl Conn {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Each chunk is to leave when it is written, or chunk sizes would mean nothing.
        stream.set_nodelay(true).ok();
        Self {
            stream,
            buffer: BytesMut::with_capacity(8 * 1024),
        }
    }

    /// Reads some more.
    pub(crate) async fn fill(&mut self) -> Result<(), Gone> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Writes all of `bytes`, unless the client has been seen to leave.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.look()?;
        self.stream.write_all(bytes).await.map_err(|_| Gone)
    }

    /// Waits for `event`, unless the client leaves first.
    pub(crate) async fn wait(&mut self, event: impl Future<Output = ()>) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = event => Ok(()),
            () = self.left() => Err(Gone),
        }
    }

    /// Returns when the client has left.
    pub(crate) async fn left(&mut self) {
        loop {
            if self.buffer.len() >= AHEAD_MAX {
                return std::future::pending().await;
            }
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    /// Closes in order: FIN after what was written.
    pub(crate) async fn close(mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Resets: RST, and nothing else.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().ok();
    }

    /// Whether the client has left already, without waiting.
    fn look(&mut self) -> Result<(), Gone> {
        if self.buffer.len() >= AHEAD_MAX {
            return Ok(());
        }
        match self.stream.try_read_buf(&mut self.buffer) {
            Ok(0) => Err(Gone),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Gone),
        }
    }
}
