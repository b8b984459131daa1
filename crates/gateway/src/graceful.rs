//! A client's connection that ends with the request it is at, once the process stops.
//!
//! hyper-util has such a watch, but none for connections that may switch protocols.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::HttpService;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::body::{Body, BodyError};

/// A connection that is told when the process stops.
pub(crate) struct Graceful<I, S>
where
    S: HttpService<Incoming, ResBody = Body>,
{
    connection: Pin<Box<UpgradeableConnection<I, S>>>,
    /// Gone once it has been told.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<I, S> Graceful<I, S>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<BodyError>,
    I: Read + Write + Unpin + Send + 'static,
{
    pub(crate) fn new(connection: UpgradeableConnection<I, S>, stopping: CancellationToken) -> Self {
        Self {
            connection: Box::pin(connection),
            stopping: Some(Box::pin(stopping.cancelled_owned())),
        }
    }
}

impl<I, S> Future for Graceful<I, S>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<BodyError>,
    I: Read + Write + Unpin + Send + 'static,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { connection, stopping } = &mut *self;
        if let Some(told) = stopping
            && told.as_mut().poll(cx).is_ready()
        {
            connection.as_mut().graceful_shutdown();
            *stopping = None;
        }
        connection.as_mut().poll(cx)
    }
}
