//! One side of a session: a WebSocket, what waits to be sent on it, and when it was heard.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::{Sink as _, Stream as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::budget::{Budget, Share};
use crate::limits::{MESSAGE_MAX, SESSION_READ_BUFFER};

/// One side.
pub(super) struct Side {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// A message that is passed on, and at most an event of ours beside it.
    waiting: VecDeque<Message>,
    /// The bytes of those, of all that requests may hold.
    share: Share,
    is_flushed: bool,
    heard: Instant,
}

impl Side {
    pub(super) async fn new(socket: Upgraded, role: Role, budget: &Budget) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(SESSION_READ_BUFFER)
            // What is passed on waits for nothing.
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        Self {
            socket: WebSocketStream::from_raw_socket(TokioIo::new(socket), role, Some(config)).await,
            waiting: VecDeque::new(),
            share: budget.share(),
            is_flushed: true,
            heard: Instant::now(),
        }
    }

    /// When it was heard last.
    pub(super) const fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether nothing waits to be sent on it.
    pub(super) fn is_free(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends a message when there is room. False: there is no memory for it.
    pub(super) fn send(&mut self, message: Message) -> bool {
        let fits = self.share.grow(message.len());
        if fits {
            self.waiting.push_back(message);
        }
        fits
    }

    /// Sends what is so small that it needs no leave.
    pub(super) fn send_small(&mut self, message: Message) {
        self.waiting.push_back(message);
    }

    /// Says goodbye.
    pub(super) fn send_close(&mut self, frame: Option<CloseFrame>) {
        self.send_small(Message::Close(frame));
    }

    /// Shows that we are there, and makes the other side show that it is.
    pub(super) fn ping(&mut self) {
        if self.is_free() {
            self.send_small(Message::Ping(Bytes::new()));
        }
    }

    /// Sends what can be sent.
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while let Some(message) = self.waiting.front() {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            let message = message.clone();
            self.waiting.pop_front();
            self.is_flushed = false;
            if let Err(error) = Pin::new(&mut self.socket).start_send(message) {
                return Poll::Ready(Err(error));
            }
        }
        self.share.shrink();
        if !self.is_flushed {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.is_flushed = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The next message; `None` when there will be no more.
    pub(super) fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let polled = Pin::new(&mut self.socket).poll_next(cx);
        if polled.is_ready() {
            self.heard = Instant::now();
        }
        polled
    }
}
