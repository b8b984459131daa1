//! Realtime sessions: `OpenAI`'s WebSocket, passed through and metered.
//!
//! A session is opened like any other call (authenticate, admit, route, the one retry loop) up to the moment at which an
//! upstream has switched protocols; until then a refusal is an ordinary HTTP answer. From there on messages go both ways
//! as they came, and each *response* within the session is a call of its own as far as money goes: it is held for, it is
//! settled when the upstream says what it used, and its receipt is in the journal before the client hears of it
//! ([ADR 18](../../../docs/adr/0018-each-response-of-a-session-is-settled.md)).

pub(crate) mod elsewhere;
mod handshake;
mod meter;
mod opening;
mod relay;
mod sessions;
mod socket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use domain::{Fault, FaultKind, Timestamp};
use http::header::HeaderValue;
use http::request::Parts;
use http::{Request, Response, StatusCode};

use crate::authenticate::{authenticate_as, presented_key};
use crate::body::Body;
use crate::dispatch::{chosen, seek};
use crate::gateway::Inner;
use crate::headers;
use crate::inbound::CallPath;
use crate::pipeline::{add_limits, request_id};
use crate::refuse::refuse;
use handshake::Offer;
use opening::Opened;
use relay::Session;

pub(crate) use sessions::Sessions;

/// Opens a session, or refuses it.
pub(crate) async fn open(
    gateway: &Arc<Inner>,
    path: CallPath,
    mut head: Parts,
    peer: IpAddr,
    started: (Timestamp, Instant),
) -> Result<Response<Body>, Fault> {
    let presented = presented_key(&head).or_else(|| handshake::presented_key(&head.headers));
    let caller = authenticate_as(gateway, &head, peer, presented)?;
    let key = Arc::clone(&caller.key);
    let offer = Offer::take(&mut head.headers)?;
    let switching = {
        let mut request = Request::from_parts(head, ());
        let switching = hyper::upgrade::on(&mut request);
        head = request.into_parts().0;
        switching
    };
    let mut opening = match opening::admit(gateway, caller, path, head, offer, started).await {
        Ok(opening) => opening,
        Err(fault) if fault.kind == FaultKind::RateLimited => {
            gateway.metrics.refused(fault.kind);
            let id = request_id(domain::CallId(uuid::Uuid::now_v7()));
            let mut response = refuse(domain::Dialect::OpenaiChat, &fault, id.to_str().unwrap_or_default());
            add_limits(gateway, &key, response.headers_mut());
            return Ok(response);
        }
        Err(fault) => return Err(fault),
    };
    let found = match seek(&mut opening).await {
        Ok(found) => found,
        Err(fault) => return Ok(opening.failed(&fault)),
    };
    let (opened, open) = found.got;
    let mut response = match opened {
        Opened::Refused { status, headers, body } => return Ok(opening.refused(status, headers, body)),
        Opened::Switched { socket, protocol } => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            opening.offer.answer(protocol.as_deref(), response.headers_mut());
            let head = response.headers_mut();
            head.insert(&headers::REQUEST_ID, request_id(opening.settlement.call));
            head.insert(&headers::ATTEMPTS, HeaderValue::from(found.tries));
            let route = Arc::clone(&opening.route);
            if let Ok((target, _)) = chosen(&route, found.choice)
                && let Ok(name) = HeaderValue::try_from(&target.upstream.name)
            {
                head.insert(&headers::UPSTREAM, name);
            }
            let closing = gateway.sessions.closing();
            let session = Session::new(opening, found.choice, found.attempts, socket, open, closing)?;
            gateway.sessions.start(session.run(switching));
            response
        }
    };
    add_limits(gateway, &key, response.headers_mut());
    Ok(response)
}
