//! Asking an upstream to switch protocols, on a connection of its own.
//!
//! Such a connection is never shared: once switched it belongs to one session. Until then it is an HTTP request like any
//! other, and a refusal is an answer like any other.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::StatusCode;
use http::response::Parts;
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1::Builder;
use hyper::upgrade::Upgraded;

use super::link::Sent;
use super::stream::Stream;
use crate::limits::ERROR_BODY_MAX;

/// What came of it.
pub(crate) enum Switch {
    /// The connection speaks the other protocol now.
    Switched(Parts, Upgraded),
    /// It does not; the body is cut at its bound.
    Refused(Parts, Bytes),
}

/// Asks over a fresh connection.
pub(super) async fn ask(stream: Stream, request: Sent) -> Result<Switch, hyper::Error> {
    let (mut sender, connection) = Builder::new().handshake(stream).await?;
    let mut connection = pin!(Driven(Some(connection.with_upgrades())));
    let answer = connection.as_mut().through(sender.send_request(request)).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = answer.into_parts();
        let mut answer = http::Response::from_parts(head, body);
        let switched = connection.as_mut().through(hyper::upgrade::on(&mut answer)).await?;
        return Ok(Switch::Switched(answer.into_parts().0, switched));
    }
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ERROR_BODY_MAX).collect();
    // What cannot be read of a refusal is left away: its status says enough.
    let body = connection
        .as_mut()
        .through(body)
        .await
        .map(http_body_util::Collected::to_bytes);
    Ok(Switch::Refused(head, body.unwrap_or_default()))
}

/// A connection that is driven by whoever waits for something on it.
struct Driven<C>(Option<C>);

impl<C: Future + Unpin> Driven<C> {
    async fn through<F: Future>(mut self: Pin<&mut Self>, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            if let Some(connection) = &mut self.0
                && let Poll::Ready(_) = Pin::new(connection).poll(cx)
            {
                self.0 = None;
            }
            wanted.as_mut().poll(cx)
        })
        .await
    }
}
