//! The body of an upstream's answer, with the connection that it comes on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::link::Link;
use super::shelf::{Place, Shelf};

/// The body of an upstream's answer. Reading it drives its connection; read to its end, it leaves the connection to the
/// next call; dropped before that, it closes it, which tells the upstream to stop.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    lent: Option<Lent>,
}

struct Lent {
    link: Box<Link>,
    shelf: Arc<Shelf>,
    place: Place,
}

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, link: Box<Link>, shelf: Arc<Shelf>, place: Place) -> Self {
        let lent = Some(Lent { link, shelf, place });
        let mut body = Self { incoming, lent };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(Lent { link, shelf, place }) = self.lent.take() {
            shelf.put(place, link);
        }
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, lent } = &mut *self;
        let incoming = Pin::new(incoming);
        let frame = ready!(match lent {
            Some(lent) => lent.link.poll_frame(incoming, cx),
            None => incoming.poll_frame(cx),
        });
        match &frame {
            Some(Ok(_)) if !self.incoming.is_end_stream() => {}
            Some(Ok(_)) | None => self.give_back(),
            Some(Err(_)) => self.lent = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamBody")
    }
}
