//! The body of an answer to a client.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::graceful::Answering;
use crate::relay::Relay;

/// Any error that a body may end with: the connection is then broken off, so that the client cannot take what it has
/// for the whole.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// An answer's body: bytes at hand, a stream under way, or one of the control plane's.
pub struct Body {
    kind: Kind,
    /// Of the connection that it goes out on.
    _answering: Option<Answering>,
}

enum Kind {
    Full(Option<Bytes>),
    Relay(Box<Relay>),
    Control(axum::body::Body),
}

impl Body {
    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self::of(Kind::Full(None))
    }

    /// These bytes.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self::of(Kind::Full(Some(bytes)))
    }

    /// A stream.
    pub(crate) fn relay(relay: Relay) -> Self {
        Self::of(Kind::Relay(Box::new(relay)))
    }

    /// The control plane's.
    pub(crate) const fn control(body: axum::body::Body) -> Self {
        Self::of(Kind::Control(body))
    }

    /// The same, as what a connection is answering with.
    pub(crate) fn on(self, answering: Answering) -> Self {
        Self {
            _answering: Some(answering),
            ..self
        }
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, _answering: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Full(_) => "Body::Full",
            Kind::Relay(_) => "Body::Relay",
            Kind::Control(_) => "Body::Control",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Relay(relay) => relay.poll_frame(cx),
            Kind::Control(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Relay(_) => false,
            Kind::Control(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Relay(_) => SizeHint::default(),
            Kind::Control(body) => body.size_hint(),
        }
    }
}
