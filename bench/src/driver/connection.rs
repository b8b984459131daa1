//! One keep-alive connection with at most one request on its way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::Load;
use super::recording::Times;
use crate::framing::{Kind, MessageReader};
use crate::limits::CONNECT_TIME_MAX;

/// What reading brought.
pub(super) enum Event {
    /// Nothing that completes an answer.
    Nothing,
    /// A complete answer, to be judged.
    Answered,
    /// The connection ended too early.
    Lost(String),
    /// What came is not an answer.
    Broken(String),
}

pub(super) struct Connection {
    number: u64,
    socket: Option<TcpStream>,
    reader: MessageReader,
    request: Option<Request>,
    /// Requests that this socket has carried to their end.
    served: u64,
}

/// The request that is on its way.
struct Request {
    due: Instant,
    sent: Instant,
    written: usize,
    wants_room: bool,
    retried: bool,
    touched: bool,
    first_body: Option<Instant>,
    last_body: Instant,
    gap: Duration,
}

impl Connection {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number: number as u64,
            socket: None,
            reader: MessageReader::new(Kind::Response),
            request: None,
            served: 0,
        }
    }

    pub(super) fn connect(&mut self, address: SocketAddr, epoll: &Epoll) -> Result<(), String> {
        let connect = || -> io::Result<TcpStream> {
            let socket = TcpStream::connect_timeout(&address, CONNECT_TIME_MAX)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll.add(&socket, self.interest(EpollFlags::empty()))?;
            Ok(socket)
        };
        self.socket = Some(connect().map_err(|error| format!("connect: {:?}", error.kind()))?);
        self.served = 0;
        Ok(())
    }

    /// Begins a request that was due at `due`, on a new socket if there is none.
    pub(super) fn send(&mut self, load: &Load, epoll: &Epoll, due: Instant) -> Result<(), String> {
        if self.socket.is_none() {
            self.connect(load.address, epoll)?;
        }
        self.begin(due, false);
        self.write(load, epoll)
    }

    /// Begins the same request once more, on a new socket.
    pub(super) fn send_again(&mut self, load: &Load, epoll: &Epoll) -> Result<(), String> {
        let due = self.request.as_ref().map_or_else(Instant::now, |request| request.due);
        self.connect(load.address, epoll)?;
        self.begin(due, true);
        self.write(load, epoll)
    }

    /// Writes as much of the request as there is room for; asks epoll to say when there is more.
    pub(super) fn write(&mut self, load: &Load, epoll: &Epoll) -> Result<(), String> {
        let (Some(socket), Some(request)) = (self.socket.as_mut(), self.request.as_mut()) else {
            return Ok(());
        };
        let mut blocked = false;
        while request.written < load.request.len() && !blocked {
            match socket.write(&load.request[request.written..]) {
                Ok(written) => request.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("write: {:?}", error.kind())),
            }
        }
        if blocked != request.wants_room {
            request.wants_room = blocked;
            let also = if blocked {
                EpollFlags::EPOLLOUT
            } else {
                EpollFlags::empty()
            };
            let mut interest = self.interest(also);
            let socket = self.socket.as_ref().ok_or("no socket")?;
            epoll
                .modify(socket, &mut interest)
                .map_err(|error| format!("epoll: {error}"))?;
        }
        Ok(())
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Event {
        loop {
            let Some(socket) = self.socket.as_mut() else {
                return Event::Nothing;
            };
            let read = match socket.read(buffer) {
                Ok(0) => return self.ended(),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Event::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.lost(format!("read: {:?}", error.kind())),
            };
            match self.take(&buffer[..read]) {
                Event::Nothing if read == buffer.len() => {}
                event => return event,
            }
        }
    }

    pub(super) fn answer(&self) -> &MessageReader {
        &self.reader
    }

    /// When the request was due, sent, and what came when.
    pub(super) fn times(&self, now: Instant) -> Times {
        let Some(request) = &self.request else {
            return Times::default();
        };
        Times {
            latency: now - request.due,
            first_body: request
                .first_body
                .map_or(Duration::ZERO, |first| first.saturating_duration_since(request.due)),
            gap: request.gap,
        }
    }

    /// The request is over. The socket is kept for the next one if it may be.
    pub(super) fn finish(&mut self, verified: bool) {
        let whole = self.request.as_ref().is_some_and(|request| !request.wants_room);
        self.request = None;
        self.served += 1;
        if !verified || !whole || !self.reader.keep_alive() {
            self.socket = None;
        }
    }

    pub(super) fn may_retry(&self) -> bool {
        self.served > 0
            && self
                .request
                .as_ref()
                .is_some_and(|request| !request.touched && !request.retried)
    }

    /// How long the request has been on its way.
    pub(super) fn waited(&self, now: Instant) -> Option<Duration> {
        let request = self.request.as_ref()?;
        let last = request.first_body.map_or(request.sent, |_| request.last_body);
        Some(now.saturating_duration_since(last))
    }

    pub(super) fn is_arriving(&self) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| request.first_body.is_some())
    }

    fn begin(&mut self, due: Instant, retried: bool) {
        let sent = Instant::now();
        self.reader.reset();
        self.request = Some(Request {
            due,
            sent,
            written: 0,
            wants_room: false,
            retried,
            touched: false,
            first_body: None,
            last_body: sent,
            gap: Duration::ZERO,
        });
    }

    fn take(&mut self, input: &[u8]) -> Event {
        let Some(request) = self.request.as_mut() else {
            // Bytes that nobody asked for: whatever they are, this socket is not to be trusted.
            self.socket = None;
            return Event::Nothing;
        };
        request.touched = true;
        let before = self.reader.body().len();
        let taken = match self.reader.feed(input) {
            Ok(taken) => taken,
            Err(error) => return Event::Broken(error.to_string()),
        };
        if self.reader.body().len() > before {
            request.body_came(Instant::now());
        }
        if taken < input.len() {
            return Event::Broken("bytes after the answer".to_owned());
        }
        if self.reader.is_done() {
            Event::Answered
        } else {
            Event::Nothing
        }
    }

    fn ended(&mut self) -> Event {
        if self.request.is_some() && self.reader.may_end_with_connection() {
            return Event::Answered;
        }
        self.lost("cut".to_owned())
    }

    fn lost(&mut self, why: String) -> Event {
        self.socket = None;
        if self.request.is_some() {
            Event::Lost(why)
        } else {
            Event::Nothing
        }
    }

    fn interest(&self, also: EpollFlags) -> EpollEvent {
        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | also, self.number)
    }
}

impl Request {
    fn body_came(&mut self, now: Instant) {
        if self.first_body.is_none() {
            self.first_body = Some(now);
        } else {
            self.gap = self.gap.max(now - self.last_body);
        }
        self.last_body = now;
    }
}
