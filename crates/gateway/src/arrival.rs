//! How the body of a request arrives: within its size, within its time, and leaving room for others.
//!
//! A body may be large and a client slow; what has arrived is held meanwhile. Three bounds keep that from shutting out
//! everyone else: the bytes of all bodies together (`server.body_budget`), half of them for what arrives for one key, and the
//! time that a call may take (`server.request_timeout`), so that a byte now and then does not hold the room for ever.
//!
//! A stop waits for what arrives, as for everything under way, and not for who has ceased to send: that is the same for calls,
//! files and whatever else has a body.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use domain::snapshot::{Key, Snapshot};
use domain::{Fault, FaultKind, KeyId};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::body::BodyError;
use crate::budget::Share;
use crate::gateway::Inner;
use crate::limits::{BODY_IDLE_TIMEOUT, STOP_UNSENT_MAX};
use crate::stop::{Stage, Stop};

/// For whom a body arrives, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    key: KeyId,
    until: Instant,
}

impl Arrival {
    /// From now on.
    pub(crate) fn of(key: &Key, snapshot: &Snapshot) -> Self {
        Self {
            key: key.id,
            until: Instant::now() + snapshot.request_timeout,
        }
    }
}

/// A request's body, and the bytes of the budget that it holds.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) bytes: Bytes,
    pub(crate) share: Share,
}

/// Reads a body within the bounds.
pub(crate) async fn read_body(
    gateway: &Inner,
    head: &Parts,
    body: Incoming,
    arrival: Arrival,
) -> Result<RequestBody, Fault> {
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
        let message = format!("content-encoding {encoding:?} is not supported; send the body as it is");
        return Err(Fault::new(FaultKind::UnsupportedMedia, message));
    }
    let declared = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let limit = gateway.body_limit;
    let too_large = || {
        Fault::new(
            FaultKind::TooLarge,
            format!("the body is over the limit of {limit} bytes (server.body_limit)"),
        )
    };
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut share = gateway.bodies.share();
    let full =
        || Fault::new(FaultKind::Saturated, "too many large requests at once").retry_after(Duration::from_secs(1));
    let mut collected = Collected::Nothing;
    let mut body = body;
    // Only of bodies in more than one piece, so that the usual ones do not meet in it.
    let mut arriving = None;
    while let Some(frame) = next_frame(&gateway.stop, &mut body, arrival.until).await? {
        let Ok(data) = frame.into_data() else { continue };
        let length = collected.len() + data.len();
        if length > limit {
            return Err(too_large());
        }
        // Not by the length that was declared: a few clients that declare much and send nothing would lock out the rest.
        if !share.grow(data.len()) {
            return Err(full());
        }
        if collected.len() > 0 {
            let arriving = arriving.get_or_insert_with(|| gateway.arriving.of(arrival.key));
            if !arriving.grow_to(length) {
                let message = "too many large requests of this key arrive at once";
                return Err(Fault::new(FaultKind::Saturated, message).retry_after(Duration::from_secs(1)));
            }
        }
        collected.push(data, declared);
    }
    Ok(RequestBody {
        bytes: collected.into_bytes(),
        share,
    })
}

async fn next_frame(
    stop: &Stop,
    body: &mut Incoming,
    until: Instant,
) -> Result<Option<http_body::Frame<Bytes>>, Fault> {
    let heard = Instant::now();
    let limit = BODY_IDLE_TIMEOUT.min(until.saturating_duration_since(heard));
    let mut frame = pin!(timeout(limit, body.frame()));
    let arrived = match stop.unless(Stage::Refusing, frame.as_mut()).await {
        Ok(arrived) => arrived,
        Err(stopping) => {
            let patience = STOP_UNSENT_MAX.saturating_sub(heard.elapsed());
            timeout(patience, frame).await.map_err(|_| stopping)?
        }
    };
    match arrived {
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(None) => Ok(None),
        Ok(Some(Err(error))) => Err(Fault::new(
            FaultKind::Malformed,
            format!("the body could not be read: {error}"),
        )),
        Err(_) => Err(Fault::new(
            FaultKind::RequestTimeout,
            "the body did not arrive in time: a minute without a byte, or longer than server.request_timeout in all",
        )),
    }
}

/// A body that goes to the control plane, which knows of no stop: what has not come when others are no longer waited for
/// breaks off.
#[derive(Debug)]
pub(crate) struct Unhurried {
    body: Incoming,
    gateway: Arc<Inner>,
}

impl Unhurried {
    pub(crate) const fn new(body: Incoming, gateway: Arc<Inner>) -> Self {
        Self { body, gateway }
    }
}

impl http_body::Body for Unhurried {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending if self.gateway.stop.has_reached(Stage::Refusing) => {
                Poll::Ready(Some(Err("the gateway is being stopped".into())))
            }
            poll => poll.map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A body that usually is one piece, which then is not copied.
enum Collected {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Collected {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes, declared: Option<usize>) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(declared.unwrap_or(0).max(first.len() + data.len()));
                all.extend_from_slice(first);
                all.extend_from_slice(&data);
                *self = Self::Many(all);
            }
            Self::Many(all) => all.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}
