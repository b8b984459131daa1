//! A client's connection that heeds the stages of a stop.
//!
//! hyper-util has such a watch, but none for connections that may switch protocols, and none that tells a connection on
//! which a client has begun a request and not ended it from one whose answer is under way: both are just open. So it is
//! noted here which requests are being answered, and whether what was written has gone out.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::HttpService;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::body::{Body, BodyError};
use crate::gateway::Inner;
use crate::stop::Stage;

/// What is under way on a connection.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    answering: AtomicUsize,
    /// The last write did not take all.
    is_blocked: AtomicBool,
}

/// A request that is being answered; until this is dropped, which is when its answer's body has been taken.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Connected>);

impl Connected {
    pub(crate) fn answering(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Nothing is answered and nothing waits to go out: what there may be is the beginning of a request.
    fn is_idle(&self) -> bool {
        self.answering.load(Ordering::Relaxed) == 0 && !self.is_blocked.load(Ordering::Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket of which it is noted whether it takes what is written.
#[derive(Debug)]
pub(crate) struct Noted<I> {
    socket: I,
    connected: Arc<Connected>,
}

impl<I> Noted<I> {
    pub(crate) const fn new(socket: I, connected: Arc<Connected>) -> Self {
        Self { socket, connected }
    }

    fn note<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.connected.is_blocked.store(poll.is_pending(), Ordering::Relaxed);
        poll
    }
}

impl<I: Read + Unpin> Read for Noted<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<I: Write + Unpin> Write for Noted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        self.note(poll)
    }
}

type Bell = Pin<Box<WaitForCancellationFutureOwned>>;

/// A connection that is told when the process stops.
pub(crate) struct Graceful<I, S>
where
    S: HttpService<Incoming, ResBody = Body>,
{
    connection: Pin<Box<UpgradeableConnection<I, S>>>,
    connected: Arc<Connected>,
    gateway: Arc<Inner>,
    /// What rings next; gone after the last one.
    bell: Option<(Stage, Bell)>,
}

impl<I, S> Graceful<I, S>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<BodyError>,
    I: Read + Write + Unpin + Send + 'static,
{
    pub(crate) fn new(connection: UpgradeableConnection<I, S>, connected: Arc<Connected>, gateway: Arc<Inner>) -> Self {
        let bell = Some(bell(&gateway, Stage::Finishing));
        Self {
            connection: Box::pin(connection),
            connected,
            gateway,
            bell,
        }
    }

    /// Whether the connection is to be dropped.
    fn reached(&mut self, stage: Stage) -> bool {
        match stage {
            Stage::Finishing => self.connection.as_mut().graceful_shutdown(),
            Stage::Refusing => return self.connected.is_idle(),
            // Being polled is all that what is under way waits for.
            Stage::Cutting => {}
            Stage::Over => return true,
        }
        false
    }
}

fn bell(gateway: &Inner, stage: Stage) -> (Stage, Bell) {
    (stage, Box::pin(gateway.stop.bell(stage).cancelled_owned()))
}

impl<I, S> Future for Graceful<I, S>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<BodyError>,
    I: Read + Write + Unpin + Send + 'static,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some((stage, rings)) = &mut self.bell
            && rings.as_mut().poll(cx).is_ready()
        {
            let stage = *stage;
            self.bell = stage.next().map(|next| bell(&self.gateway, next));
            if self.reached(stage) {
                return Poll::Ready(Ok(()));
            }
        }
        self.connection.as_mut().poll(cx)
    }
}
