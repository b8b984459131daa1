//! Where an answer's bytes come from, and reading all of them.

use bytes::Bytes;
use dialects::Unwrapper;
use domain::{Failure, FailureClass};

use super::unwrapped;
use crate::body::BodyError;
use crate::demo;
use crate::limits::DRAIN_TIMEOUT;
use crate::upstream::incoming::UpstreamBody;

/// Where a stream's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// An upstream; and what was read ahead of it.
    Upstream(UpstreamBody, Option<Bytes>),
    /// The same, of events inside of Amazon's frames.
    Wrapped(Box<Self>, Unwrapper),
    /// The built-in demonstration.
    Demo(demo::Script),
    /// Nothing: it broke off, and another is sought.
    Over,
}

impl Source {
    /// The body of an upstream's answer.
    pub(super) fn upstream(body: UpstreamBody, is_wrapped: bool) -> Self {
        let source = Self::Upstream(body, None);
        if is_wrapped {
            Self::Wrapped(Box::new(source), Unwrapper::default())
        } else {
            source
        }
    }

    /// The next bytes; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, BodyError>>> {
        use http_body::Body as _;
        use std::pin::Pin;
        use std::task::{Poll, ready};
        match self {
            Self::Over => Poll::Ready(None),
            Self::Demo(script) => script.poll_next(cx).map(|next| next.map(Ok)),
            Self::Wrapped(inner, unwrapper) => unwrapped::poll_next(inner, unwrapper, cx),
            Self::Upstream(_, ahead) if ahead.is_some() => Poll::Ready(ahead.take().map(Ok)),
            Self::Upstream(incoming, _) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            },
        }
    }

    /// Whether the body begins as a stream of events does, whatever its content type says: some send streams as
    /// `application/json`. What is read for that is given again by `next`.
    pub(super) async fn begins_with_event(&mut self) -> Result<bool, Failure> {
        let Some(first) = self.next().await else {
            return Ok(false);
        };
        let first = first.map_err(|error| Failure::new(FailureClass::Reset, error.to_string()))?;
        let text = first.trim_ascii_start();
        let is_event = [&b"data:"[..], b"event:", b"id:", b":"]
            .iter()
            .any(|field| text.starts_with(field));
        if let Self::Upstream(_, ahead) = self {
            *ahead = Some(first);
        }
        Ok(is_event)
    }

    /// Reads what is left of a body whose content is complete, so that its connection can be used again.
    pub(crate) fn drain(mut self) {
        let waker = futures_util::task::noop_waker();
        let mut cx = std::task::Context::from_waker(&waker);
        loop {
            match self.poll_next(&mut cx) {
                std::task::Poll::Ready(Some(Ok(_))) => {}
                std::task::Poll::Ready(None | Some(Err(_))) => return,
                std::task::Poll::Pending => break,
            }
        }
        tokio::spawn(tokio::time::timeout(DRAIN_TIMEOUT, async move {
            while let Some(Ok(_)) = self.next().await {}
        }));
    }
}

/// What to do with a body beyond its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    Cut,
    Fail,
}

pub(crate) async fn collect(mut source: Source, max: usize, overflow: Overflow) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(next) = source.next().await {
        let data = next.map_err(|error| Failure::new(FailureClass::Reset, error.to_string()))?;
        if first.len() + all.len() + data.len() > max {
            match overflow {
                Overflow::Cut => break,
                Overflow::Fail => {
                    return Err(Failure::new(
                        FailureClass::Nonsense,
                        format!("the answer is over {max} bytes"),
                    ));
                }
            }
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
                first = Bytes::new();
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { Bytes::from(all) })
}
