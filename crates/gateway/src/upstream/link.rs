//! One connection to an upstream, driven by whoever uses it.
//!
//! hyper splits a client connection into a sender and a connection that somebody must poll. The usual somebody is a
//! task of the connection's own; then each request, each answer and each chunk is handed from task to task, and where
//! the other task sits on an idle worker that is woken for it. Here the call that waits for the answer polls the
//! connection itself. Between two calls nobody does: the connection lies on the [shelf](super::shelf), and what the
//! upstream did meanwhile is found out when it is taken or looked through.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::noop_waker_ref;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};

use super::stream::Stream;
use crate::selfwake::SelfWakes;

/// A request as it leaves.
pub(crate) type Sent = Request<Full<Bytes>>;

/// A connection to an upstream.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Gone when it has ended. A request that was handed over just before is answered only by that: as long as the
    /// connection is there, hyper leaves it waiting.
    connection: Option<Connection<Stream, Full<Bytes>>>,
    wakes: SelfWakes,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("ended", &self.connection.is_none())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// HTTP/1.1 on a fresh stream.
    pub(super) async fn open(stream: Stream) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) = Builder::new().handshake(stream).await?;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            wakes: SelfWakes::new(),
        }))
    }

    /// Sends a request; ready when the answer's head is there. An error has the request with it if nothing of it was
    /// sent.
    pub(super) async fn send(&mut self, request: Sent) -> Result<Response<Incoming>, TrySendError<Sent>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, wakes) = (&mut self.connection, &self.wakes);
        poll_fn(move |cx| {
            wakes.poll(cx, |cx| {
                drive(connection, cx);
                answer.as_mut().poll(cx)
            })
        })
        .await
    }

    /// The next frame of the answer that `incoming` is the body of.
    pub(super) fn poll_frame(
        &mut self,
        mut incoming: Pin<&mut Incoming>,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { connection, wakes, .. } = self;
        let mut asked = false;
        wakes.poll(cx, |cx| {
            if !asked {
                // Asking first tells the connection that it shall read; what it wakes for that is polled next.
                asked = true;
                if let Poll::Ready(frame) = incoming.as_mut().poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                wakes.heed();
            }
            drive(connection, cx);
            incoming.as_mut().poll_frame(cx)
        })
    }

    /// Whether the exchange is over and another one may follow, as far as can be seen. Lets go of the task that used it.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        drive(&mut self.connection, &mut cx);
        self.wakes.detach();
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Reads and writes what can be. A connection's error reaches whoever waits for its answer or body, not us.
fn drive(connection: &mut Option<Connection<Stream, Full<Bytes>>>, cx: &mut Context<'_>) {
    if let Some(running) = connection
        && Pin::new(running).poll(cx).is_ready()
    {
        *connection = None;
    }
}
