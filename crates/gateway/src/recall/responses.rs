//! Asking again for a response: retrieve, cancel, delete, list what it answered.
//!
//! Any key may do that for responses that were made with keys of the same user. Kept ones are answered from here; the
//! others are asked for where they live. To everybody else a response does not exist.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dialects::conversation::{self, Page};
use dialects::{Instructions, Restorer};
use domain::snapshot::{Credential, Key, Snapshot, Upstream};
use domain::{Dialect, FailureClass, Fault, FaultKind, Pin, Timestamp};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use metering::Permit;

use super::{Found, RESPONSES, jobs, no_such};
use crate::arrival::{Arrival, read_body};
use crate::authenticate::{Caller, authenticate};
use crate::body::Body;
use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::limits::ANSWER_MAX;
use crate::passthrough;
use crate::refuse;
use crate::upstream::auth;
use crate::upstream::incoming::UpstreamBody;
use crate::upstream::request::{Outgoing, query_without_key};

/// What is asked of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The response itself.
    Retrieve,
    /// That it be deleted.
    Delete,
    /// That its work be ended.
    Cancel,
    /// What it answered.
    InputItems,
}

impl Wish {
    /// Reads a path below `/responses/`; `None` for one that is no such thing.
    pub(crate) fn read<'a>(method: &Method, rest: &'a str) -> Option<(Self, &'a str)> {
        let (id, action) = rest.split_once('/').map_or((rest, ""), |(id, action)| (id, action));
        let wish = match (method.as_str(), action) {
            ("GET", "") => Self::Retrieve,
            ("DELETE", "") => Self::Delete,
            ("POST", "cancel") => Self::Cancel,
            ("GET", "input_items") => Self::InputItems,
            _ => return None,
        };
        (!id.is_empty()).then_some((wish, id))
    }

    /// What follows the id in the path.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Retrieve | Self::Delete => "",
            Self::Cancel => "/cancel",
            Self::InputItems => "/input_items",
        }
    }
}

/// Answers it.
pub(crate) async fn answer(
    gateway: &Arc<Inner>,
    (wish, id): (Wish, &str),
    head: Parts,
    body: Incoming,
    peer: IpAddr,
    started: (Timestamp, Instant),
) -> Result<Response<Body>, Fault> {
    let Caller { key, snapshot } = authenticate(gateway, &head, peer)?;
    let permit = limited(gateway, &key)?;
    let (user, now) = (key.user.id, gateway.clock.now());
    if let Some(response) = kept(gateway, &key, wish, id, head.uri.query()).await? {
        return Ok(response);
    }
    match gateway.recall.find(user, id, now).await? {
        Found::Own(pin) => {
            let body = (body, Arrival::of(&key, &snapshot));
            pinned(gateway, &snapshot, &pin, wish, &head, body).await
        }
        Found::Unknown if key.passthrough => {
            // The operator's own. The slot is taken once more there.
            drop(permit);
            let path = format!("/responses/{id}{}", wish.suffix());
            passthrough::forward(gateway, Dialect::OpenaiResponses, &path, head, body, peer, started).await
        }
        Found::Foreign | Found::Unknown => Err(no_such("Response", id)),
    }
}

/// Requests and calls at the same time are limited here too; how many tokens such a request is, nobody says.
pub(crate) fn limited(gateway: &Inner, key: &Key) -> Result<Permit, Fault> {
    let admitted = gateway.limiter(key.id).admit(&key.limits, 0, gateway.clock.now());
    admitted.map_err(|limited| {
        Fault::new(FaultKind::RateLimited, format!("the key is {limited}")).retry_after(limited.retry_after)
    })
}

/// Answers for a response that is kept here; `None` for one that is not.
async fn kept(
    gateway: &Inner,
    key: &Key,
    wish: Wish,
    id: &str,
    query: Option<&str>,
) -> Result<Option<Response<Body>>, Fault> {
    let (user, now) = (key.user.id, gateway.clock.now());
    let turns = match gateway.recall.conversation(user, id, now).await {
        // Its beginning is gone, but it is there.
        Err(fault) if fault.kind == FaultKind::NoSuchPrevious => gateway.recall.last(user, id, now).await?,
        turns => turns?,
    };
    let Some(turns) = turns else { return Ok(None) };
    let Some(last) = turns.last() else { return Ok(None) };
    let body = match wish {
        Wish::Retrieve if query.is_some_and(|query| query.split('&').any(|pair| pair == "stream=true")) => {
            let message = "this response cannot be streamed again: only responses in the background can";
            return Err(Fault::new(FaultKind::Malformed, message));
        }
        Wish::Retrieve => conversation::response(&last.body).unwrap_or("{}").to_owned(),
        Wish::Cancel => {
            let message = "only responses that were created with `background: true` can be cancelled";
            return Err(Fault::new(FaultKind::Malformed, message));
        }
        Wish::InputItems => {
            let said: Vec<(&str, &str)> = turns.iter().map(|turn| (&*turn.id, &*turn.body)).collect();
            conversation::input_items(&said, &Page::read(query.unwrap_or_default()))
        }
        Wish::Delete => {
            gateway.recall.forget(user, id).await?;
            conversation::deleted(id)
        }
    };
    Ok(Some(refuse::json(StatusCode::OK.as_u16(), body.into())))
}

/// Asks the upstream where the response lives.
async fn pinned(
    gateway: &Arc<Inner>,
    snapshot: &Snapshot,
    pin: &Pin,
    wish: Wish,
    head: &Parts,
    (body, arrival): (Incoming, Arrival),
) -> Result<Response<Body>, Fault> {
    let home = jobs::home(snapshot, pin).filter(|(upstream, _)| !upstream.provider.builtin);
    let (upstream, credential) = home.ok_or_else(|| no_such("Response", &pin.id))?;
    let path = below(upstream, &pin.id, wish.suffix()).ok_or_else(|| no_such("Response", &pin.id))?;
    let body = read_body(gateway, head, body, arrival).await?;
    if wish == Wish::Delete && gateway.recall.jobs.has(pin) {
        // What is deleted can no longer be looked at, and so not be billed.
        jobs::look(gateway, pin).await;
        if gateway.recall.jobs.has(pin) {
            let message = "the response is still being worked out; cancel it first";
            return Err(Fault::new(FaultKind::Malformed, message));
        }
    }
    let query = head.uri.query().map(query_without_key);
    let ask = Ask {
        upstream,
        credential,
        method: head.method.clone(),
        path: &path,
        query: query.as_deref(),
        client_headers: &head.headers,
        body: body.bytes,
    };
    let (answered, body) = ask.send(gateway).await?.into_parts();
    let is_told = matches!(wish, Wish::Retrieve | Wish::Cancel) && is_json(&answered.headers);
    if answered.status.is_success() && is_told && gateway.recall.jobs.has(pin) {
        let body = collect(Source::Upstream(body, None), ANSWER_MAX, Overflow::Fail).await;
        let body = body.map_err(|failure| {
            tracing::warn!(id = pin.id, detail = failure.detail, "a response could not be read");
            Fault::new(FaultKind::BadGateway, "the upstream broke off its answer")
        })?;
        jobs::seen(gateway, pin, &body).await;
        return Ok(passthrough::relayed(
            (upstream, &gateway.account_tokens.spoken(credential)),
            &answered,
            Body::full(repeating(pin, &body)),
        ));
    }
    if let Some(hidden) = hidden(pin).filter(|_| answered.status.is_success() && wish != Wish::Delete) {
        let body = repeated(hidden, is_json(&answered.headers), Source::Upstream(body, None)).await?;
        let spoken = gateway.account_tokens.spoken(credential);
        return Ok(passthrough::relayed((upstream, &spoken), &answered, body));
    }
    if answered.status.is_success() && wish == Wish::Delete {
        gateway.recall.unpin(pin.user, &pin.id);
    }
    passthrough::relay(
        upstream,
        &gateway.account_tokens.spoken(credential),
        answered,
        Source::Upstream(body, None),
    )
    .await
}

/// What an answer is to repeat, where the operator's text stands before the client's own. What the client sent is not kept, but
/// it stands behind that text.
fn hidden(pin: &Pin) -> Option<Instructions> {
    let bytes = pin.operators_bytes?;
    Some(Instructions::Behind(usize::try_from(bytes).unwrap_or(usize::MAX)))
}

fn repeating(pin: &Pin, body: &Bytes) -> Bytes {
    hidden(pin).map_or_else(|| body.clone(), |hidden| hidden.restore(body))
}

/// An answer without the operator's text: a whole one, or a stream on its way.
async fn repeated(hidden: Instructions, is_whole: bool, source: Source) -> Result<Body, Fault> {
    if is_whole {
        let body = collect(source, ANSWER_MAX, Overflow::Fail).await;
        let body = body.map_err(|_| Fault::new(FaultKind::BadGateway, "the upstream broke off its answer"))?;
        return Ok(Body::full(hidden.restore(&body)));
    }
    let begun = Some((source, Restorer::new(hidden)));
    let chunks = futures_util::stream::unfold(begun, |going| async {
        let (mut source, mut restorer) = going?;
        Some(match source.next().await {
            None => (Ok(restorer.finish()), None),
            Some(Err(error)) => (Err(error), None),
            Some(Ok(chunk)) => match restorer.push(&chunk) {
                Some(events) => (Ok(events), Some((source, restorer))),
                None => (Err("an event of the stream is over the limit".into()), None),
            },
        })
    });
    Ok(Body::control(axum::body::Body::from_stream(chunks)))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"application/json")
}

/// The path of a response at an upstream; `None` where the upstream has no responses.
pub(crate) fn below(upstream: &Upstream, id: &str, suffix: &str) -> Option<String> {
    let template = upstream.surfaces.get(&RESPONSES)?;
    let is_plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        && !id.contains("..");
    let (path, query) = template
        .split_once('?')
        .map_or((&**template, None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    is_plain.then(|| format!("{path}/{id}{suffix}{query}"))
}

/// A request that is sent to one upstream, once.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) upstream: &'a Arc<Upstream>,
    pub(crate) credential: &'a Arc<Credential>,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) client_headers: &'a HeaderMap,
    pub(crate) body: Bytes,
}

impl Ask<'_> {
    /// Sends it. Nothing is retried, since such a request may have done its work already.
    pub(crate) async fn send(self, gateway: &Arc<Inner>) -> Result<Response<UpstreamBody>, Fault> {
        let Self {
            upstream, credential, ..
        } = self;
        let readied = auth::ready(gateway, upstream, credential).await.map_err(|failure| {
            tracing::warn!(
                upstream = upstream.name,
                detail = failure.detail,
                "a credential could not be used"
            );
            Fault::new(FaultKind::BadGateway, "the upstream's credential could not be used")
        })?;
        let request = Outgoing {
            upstream,
            credential,
            readied,
            method: self.method,
            path: self.path,
            query: self.query,
            client_headers: self.client_headers,
            body: self.body,
        };
        let request = request
            .build()
            .map_err(|message| Fault::new(FaultKind::Malformed, message))?;
        // It leaves no receipt from which it could be booked.
        let (board, began) = (&gateway.board, gateway.clock.now());
        board.count_beside(upstream, credential, began);
        let sent = tokio::time::timeout(upstream.timeouts.first_byte, gateway.client.send(upstream, request)).await;
        match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => {
                if matches!(failure.class, FailureClass::Connect | FailureClass::Barred) {
                    board.give_back_beside(credential, began);
                }
                tracing::warn!(
                    upstream = upstream.name,
                    detail = failure.detail,
                    "a passthrough request failed"
                );
                Err(Fault::new(FaultKind::BadGateway, "the upstream could not be reached"))
            }
            Err(_) => Err(Fault::new(
                FaultKind::UpstreamTimeout,
                "the upstream did not answer in time",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_from_method_and_path() {
        for (method, path, expected) in [
            ("GET", "resp_1", Some((Wish::Retrieve, "resp_1"))),
            ("DELETE", "resp_1", Some((Wish::Delete, "resp_1"))),
            ("POST", "resp_1/cancel", Some((Wish::Cancel, "resp_1"))),
            ("GET", "resp_1/input_items", Some((Wish::InputItems, "resp_1"))),
            ("POST", "resp_1", None),
            ("GET", "", None),
            ("GET", "resp_1/other", None),
        ] {
            assert_eq!(Wish::read(&method.parse().unwrap(), path), expected, "{method} {path}");
        }
    }
}
