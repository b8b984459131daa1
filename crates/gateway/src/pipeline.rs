//! The life of a call.
//!
//! `Inbound → authenticate → Caller → admit → Call → dispatch → Exchange → relay → settle`. Each stage's type carries
//! what is known so far, and a fault at any of them ends in [`refuse`], in the caller's dialect.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use domain::snapshot::Key;
use domain::{CallId, Ending, Fault, FaultKind, KeyId};
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::admit::{self, Call};
use crate::arrival::{Arrival, Unhurried, read_body};
use crate::authenticate::{authenticate, client_address};
use crate::body::Body;
use crate::cors::Cors;
use crate::dispatch::{Answer, Exchange, chosen, dispatch};
use crate::gateway::Inner;
use crate::inbound::{CallPath, Inbound};
use crate::recall::{self, jobs, responses};
use crate::refuse::{recorded, refuse};
use crate::relay::Relay;
use crate::settle::{Outcome, Served, unrecorded};
use crate::stop::Stage;
use crate::{count_tokens, headers, listing, operate, passthrough, realtime, uploads};

/// Answers one request, whatever it is.
pub(crate) async fn answer(
    gateway: &Arc<Inner>,
    control: &Router,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<Body> {
    let started = (gateway.clock.now(), Instant::now());
    let (head, body) = request.into_parts();
    let cors = Cors::read(&head, &gateway.cors_origins);
    if let Some(preflight) = cors.preflight() {
        return preflight;
    }
    let (dialect, inbound) = Inbound::read(&head);
    // What is no call is boxed: this future has room for the largest of them.
    let result = match inbound {
        Ok(Inbound::Call(path)) => call(gateway, path, head, body, peer, started).await,
        Ok(Inbound::Realtime(path)) => Box::pin(realtime::open(gateway, path, head, peer, started)).await,
        Ok(Inbound::Models(dialect)) => listing::list(gateway, dialect, &head, peer),
        Ok(Inbound::ModelCard(dialect, name)) => listing::card(gateway, dialect, &name, &head, peer),
        Ok(Inbound::Response(wish, id)) => {
            let answering = Box::pin(responses::answer(gateway, (wish, &id), head, body, peer, started));
            gateway.stop.unless(Stage::Cutting, answering).await.flatten()
        }
        Ok(Inbound::Passthrough(dialect, path)) => {
            let forwarding = Box::pin(passthrough::forward(gateway, dialect, &path, head, body, peer, started));
            gateway.stop.unless(Stage::Cutting, forwarding).await.flatten()
        }
        Ok(Inbound::Upload(path)) => {
            let forwarding = Box::pin(uploads::forward(gateway, &path, head, body, peer, started));
            gateway.stop.unless(Stage::Cutting, forwarding).await.flatten()
        }
        Ok(Inbound::Live) => Ok(operate::live(gateway)),
        Ok(Inbound::Ready) => Ok(operate::ready(gateway)),
        Ok(Inbound::Metrics) => operate::metrics(gateway, &head),
        Ok(Inbound::Control) => {
            let address = client_address(gateway, &head, peer);
            let body = Unhurried::new(body, Arc::clone(gateway));
            Ok(Box::pin(control_plane(control, address, Request::from_parts(head, body))).await)
        }
        Err(fault) => Err(fault),
    };
    let mut response = result.unwrap_or_else(|fault| {
        gateway.metrics.refused(fault.kind);
        let id = request_id(CallId(Uuid::now_v7()));
        refuse(dialect, &fault, id.to_str().unwrap_or_default())
    });
    cors.decorate(response.headers_mut());
    response
}

/// The control plane knows keys that are bound to addresses too, so it is told the client's.
async fn control_plane(control: &Router, client: IpAddr, mut request: Request<Unhurried>) -> Response<Body> {
    request.extensions_mut().insert(client);
    match control.clone().oneshot(request.map(axum::body::Body::new)).await {
        Ok(response) => response.map(Body::control),
    }
}

/// A call to a model.
async fn call(
    gateway: &Arc<Inner>,
    path: CallPath,
    head: Parts,
    body: Incoming,
    peer: IpAddr,
    started: (domain::Timestamp, Instant),
) -> Result<Response<Body>, Fault> {
    let caller = authenticate(gateway, &head, peer)?;
    let key = Arc::clone(&caller.key);
    let dialect = path.surface.dialect;
    let body = {
        let arrival = Arrival::of(&key, &caller.snapshot);
        let reading = std::pin::pin!(read_body(gateway, &head, body, arrival));
        gateway.stop.unless(Stage::Cutting, reading).await??
    };
    let admitted = admit::admit(gateway, caller, path, head, body, started).await;
    let mut response = match admitted {
        Ok(call) if count_tokens::is_to_be_estimated(&call) => Box::pin(count_tokens::estimate(call)).await,
        Ok(call) if call.stream => stream(call).await,
        Ok(call) => {
            let (call, result) = dispatch(call).await;
            respond(call, result).await
        }
        // A limit's refusal carries the state of the limits too, so that clients can pace themselves.
        Err(fault) if fault.kind == FaultKind::RateLimited => {
            gateway.metrics.refused(fault.kind);
            let id = request_id(CallId(Uuid::now_v7()));
            refuse(dialect, &fault, id.to_str().unwrap_or_default())
        }
        Err(fault) => return Err(fault),
    };
    add_limits(gateway, &key, response.headers_mut());
    Ok(response)
}

/// A call whose client wants a stream: after a heartbeat's length without an answer it gets status 200 and a sign of
/// life, and the search goes on inside the body.
async fn stream(call: Box<Call>) -> Response<Body> {
    let (dialect, json_array) = (call.dialect(), call.json_array);
    let heartbeat = call.snapshot.defaults.heartbeat.0;
    let id = call.settlement.call;
    let mut dispatching = Box::pin(dispatch(call));
    if let Ok((call, result)) = tokio::time::timeout(heartbeat, &mut dispatching).await {
        return respond(call, result).await;
    }
    let mut response = Response::new(Body::relay(Relay::waiting(dispatching, dialect, heartbeat)));
    let content_type = if json_array {
        "application/json"
    } else {
        "text/event-stream"
    };
    let head = response.headers_mut();
    head.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    head.insert(&headers::REQUEST_ID, request_id(id));
    response
}

/// From what dispatch found to what the client gets.
async fn respond(mut call: Box<Call>, result: Result<Exchange, Fault>) -> Response<Body> {
    let mut exchange = match result {
        Ok(exchange) => exchange,
        Err(fault) => return failed(call, &fault),
    };
    let route = Arc::clone(&call.route);
    let Ok((target, credential)) = chosen(&route, exchange.choice) else {
        return failed(call, &Fault::new(FaultKind::Internal, "the answer has no target"));
    };
    let mut headers = std::mem::take(&mut exchange.headers);
    headers.insert(&headers::REQUEST_ID, request_id(call.settlement.call));
    headers.insert(&headers::ATTEMPTS, headers::number(exchange.tries.into()));
    if let Ok(name) = HeaderValue::try_from(&target.upstream.name) {
        headers.insert(&headers::UPSTREAM, name);
    }
    if let Some(fallback) = route.fallback_of(target)
        && let Ok(name) = HeaderValue::try_from(&fallback.model)
    {
        headers.insert(&headers::MODEL, name);
    }
    let (status, body) = match std::mem::replace(&mut exchange.answer, Answer::Taken) {
        Answer::Taken => return failed(call, &Fault::new(FaultKind::Internal, "the answer was taken already")),
        Answer::Stream(streamed) => (StatusCode::OK, Body::relay(Relay::streaming(call, exchange, *streamed))),
        Answer::Refused { status, body, .. } => {
            let outcome = Outcome {
                ending: Ending::Failed,
                status: status.as_u16(),
                served: None,
                first_content: None,
                error: Some(recorded(status)),
            };
            if let Err(fault) = call.settlement.finish(&outcome) {
                return failed(call, &fault);
            }
            (status, Body::full(body))
        }
        Answer::Whole { status, body, .. } if let Some(pin) = call.job.take() => {
            jobs::begin(&call.gateway, pin, &mut call.settlement);
            (status, Body::full(body))
        }
        Answer::Whole {
            status,
            body,
            report,
            kept,
        } => {
            let served = Served {
                target,
                credential: credential.id,
                report,
                relayed: true,
                sound_tokens: 0,
            };
            let outcome = Outcome {
                ending: Ending::Complete,
                status: status.as_u16(),
                served: Some(served),
                first_content: Some(exchange.first_content),
                error: None,
            };
            match call.settlement.finish(&outcome) {
                Err(fault) => return failed(call, &fault),
                Ok(settled) => {
                    if let Err(error) = settled.ticket.await {
                        tracing::error!(call = %call.settlement.call, %error, "a receipt is not durable");
                        return failed(call, &unrecorded());
                    }
                    if let Ok(cost) = HeaderValue::try_from(settled.charged.to_string()) {
                        headers.insert(&headers::COST, cost);
                    }
                }
            }
            if call.recalled.is_some()
                && target.upstream.serving(call.surface()) != Some(call.surface())
                && let Some(response) = kept.as_deref().or_else(|| std::str::from_utf8(&body).ok())
            {
                recall::keep_turn(&mut call, response);
            }
            (status, Body::full(body))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Ends a call without an answer.
fn failed(mut call: Box<Call>, fault: &Fault) -> Response<Body> {
    call.gateway.metrics.refused(fault.kind);
    let id = request_id(call.settlement.call);
    let mut response = refuse(call.dialect(), fault, id.to_str().unwrap_or_default());
    let attempts = HeaderValue::from(call.settlement.attempts.len());
    response.headers_mut().insert(&headers::ATTEMPTS, attempts);
    call.settlement.abandon(response.status().as_u16(), fault);
    response
}

pub(crate) fn request_id(call: CallId) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    HeaderValue::from_str(call.0.hyphenated().encode_lower(&mut buffer)).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The state of the key's limits, for keys that have limits of the kind that can be paced.
pub(crate) fn add_limits(gateway: &Inner, key: &Key, headers: &mut HeaderMap) {
    if key.id != KeyId::MASTER && (key.limits.rpm != 0 || key.limits.tpm != 0) {
        let state = gateway.limiter(key.id).state(&key.limits, gateway.clock.now());
        headers::add_limits(&state, headers);
    }
}
