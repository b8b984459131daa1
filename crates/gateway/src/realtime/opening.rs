//! A session until an upstream has taken it: admission, and one try after the other.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dialects::Verdict;
use domain::snapshot::{Credential, Key, Route, Target};
use domain::{
    CallId, Ending, Failure, FailureClass, Fault, FaultKind, Money, Operation, Policy, Snapshot, Surface, Timestamp,
};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::upgrade::Upgraded;
use metering::Hold;
use routing::{Choice, InFlight};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::handshake::Offer;
use super::meter;
use crate::admit::{find_route, take_hold};
use crate::authenticate::Caller;
use crate::body::Body;
use crate::decisions;
use crate::dispatch::{Seeker, chosen, record};
use crate::gateway::Inner;
use crate::headers;
use crate::inbound::CallPath;
use crate::pipeline::request_id;
use crate::refuse::refuse;
use crate::settle::{Outcome, Settlement};
use crate::upstream::auth;
use crate::upstream::confidence;
use crate::upstream::path;
use crate::upstream::request::Outgoing;
use crate::upstream::upgrade::Switch;

/// A session that may be opened. Owns everything that it needs to its end.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) gateway: Arc<Inner>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) key: Arc<Key>,
    pub(super) path: CallPath,
    /// The model as the client named it.
    pub(super) model: String,
    pub(super) route: Arc<Route>,
    pub(super) started: Timestamp,
    /// The session's own account: it has the tries and the place among the calls at the same time, and costs nothing.
    pub(super) settlement: Settlement,
    /// The beginning of what the first response may cost: nothing is spent before there is one.
    pub(super) reserve: Option<Hold>,
    pub(super) offer: Offer,
    pub(super) _place: OwnedSemaphorePermit,
    head: Parts,
}

/// What an upstream said to it.
pub(super) enum Opened {
    Switched {
        socket: Upgraded,
        /// The subprotocol that it chose.
        protocol: Option<String>,
    },
    /// The caller's own mistake, in the provider's words.
    Refused {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    },
}

/// Admits a session, or refuses it: as for other calls, but what its responses may cost is set aside when they come.
pub(super) async fn admit(
    gateway: &Arc<Inner>,
    caller: Caller,
    path: CallPath,
    head: Parts,
    offer: Offer,
    started: (Timestamp, Instant),
) -> Result<Opening, Fault> {
    if !gateway.journal.healthy() {
        let message = "calls cannot be recorded at the moment; nothing was sent upstream";
        return Err(Fault::new(FaultKind::Unrecordable, message).retry_after(std::time::Duration::from_secs(1)));
    }
    let Caller { key, snapshot } = caller;
    let place = gateway.sessions.place()?;
    let admitted = gateway.limiter(key.id).admit(&key.limits, 0, gateway.clock.now());
    let permit = admitted.map_err(|limited| {
        Fault::new(FaultKind::RateLimited, format!("the key is {limited}")).retry_after(limited.retry_after)
    })?;
    let model = path.model.clone().ok_or_else(|| {
        let message = "the session names no model; connect to `/v1/realtime?model=…`";
        Fault::new(FaultKind::Malformed, message)
    })?;
    let route = find_route(&snapshot, &key, &model)?;
    let amount = least(&route, path.surface, key.user.policy)?;
    let account = gateway.accounts.get(key.user.id);
    let reserve = take_hold(&account, key.user.policy, amount).await?;
    let settlement = Settlement::open(
        gateway,
        CallId(Uuid::now_v7()),
        &key,
        &path,
        &model,
        true,
        Arc::clone(&route),
        0,
        started,
    )
    .with_guards(None, None, Some(permit));
    Ok(Opening {
        gateway: Arc::clone(gateway),
        snapshot,
        key,
        path,
        model,
        route,
        started: started.0,
        settlement,
        reserve: Some(reserve),
        offer,
        _place: place,
        head,
    })
}

/// What must be left for a session to be opened: something, unless everything is free. Who pays in advance must know the
/// prices of all targets, since failover may go there.
fn least(route: &Route, surface: Surface, policy: Policy) -> Result<Money, Fault> {
    let mut most = Money::ZERO;
    let serving = |target: &&Target| target.upstream.serving(surface).is_some();
    for target in route.targets.iter().filter(serving) {
        let amount = meter::bound(policy, target, &meter::Context::default(), None)?;
        most = most.max(amount);
    }
    Ok(most.min(Money::from_nanos(1)))
}

impl Seeker for Opening {
    type Got = (Opened, InFlight);

    fn gateway(&self) -> &Arc<Inner> {
        &self.gateway
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn route(&self) -> &Arc<Route> {
        &self.route
    }

    fn surface(&self) -> Surface {
        self.path.surface
    }

    fn asked(&self) -> routing::Asked<'_> {
        routing::Asked {
            profile: self.key.profile.as_deref(),
            ..self.path.surface.into()
        }
    }

    fn started(&self) -> Timestamp {
        self.started
    }

    fn recording(&self) -> routing::Recording {
        decisions::recording(&self.gateway)
    }

    fn keep(&mut self, trace: Option<Box<routing::Trace>>) {
        self.settlement.trace = trace;
    }

    fn walked(&mut self, walk: routing::decision::Walk) {
        if let Some(trace) = &mut self.settlement.trace {
            trace.walked(walk);
        }
    }

    async fn attempt(&mut self, choice: Choice, deadline: Timestamp) -> Result<Self::Got, Failure> {
        let started_ms = self.settlement.elapsed_ms();
        let route = Arc::clone(&self.route);
        let (target, credential) = chosen(&route, choice)?;
        let now = self.gateway.clock.now();
        let open = self.gateway.board.begin(&target.upstream, credential, now);
        let limit = target.upstream.timeouts.first_byte.min(deadline.since(now));
        let silence = || {
            Failure::new(
                FailureClass::Silence,
                format!("no answer to the handshake within {limit:?}"),
            )
        };
        let asked = tokio::time::timeout(limit, self.ask(target, credential)).await;
        let result = asked.unwrap_or_else(|_| Err(silence()));
        let result = result.map_err(|failure| {
            let tokens = &self.gateway.account_tokens;
            if failure.class == FailureClass::Auth {
                tokens.doubt(credential, now);
            }
            Failure {
                detail: confidence::unspoken(&failure.detail, &target.upstream, &tokens.spoken(credential)),
                ..failure
            }
        });
        let outcome = match &result {
            Ok(Opened::Switched { .. }) => Ok(StatusCode::SWITCHING_PROTOCOLS.as_u16()),
            Ok(Opened::Refused { status, .. }) => Ok(status.as_u16()),
            Err(failure) => Err(failure),
        };
        let record = record(&self.settlement, target, credential, started_ms, outcome);
        self.settlement.attempts.push(record);
        result.map(|opened| (opened, open))
    }
}

impl Opening {
    /// The handshake with one target.
    async fn ask(&self, target: &Target, credential: &Arc<Credential>) -> Result<Opened, Failure> {
        let upstream = &target.upstream;
        let unsent = |message: String| Failure::new(FailureClass::Connect, message);
        let template = upstream.surfaces.get(&self.path.surface);
        let template = template.ok_or_else(|| unsent("the upstream does not offer this operation".to_owned()))?;
        let readied = auth::ready(&self.gateway, upstream, credential).await?;
        let asked = path::Asked {
            served: self.path.surface,
            model: &target.model,
            method: None,
            stream: true,
        };
        let query = self.head.uri.query().map(foreign_query);
        let request = Outgoing {
            upstream,
            credential,
            readied,
            method: Method::GET,
            path: &path::path(template, &asked),
            query: query.as_deref(),
            client_headers: &self.head.headers,
            body: Bytes::new(),
        };
        let mut request = request.build().map_err(unsent)?;
        let expected = self.offer.ask(request.headers_mut());
        let (head, socket) = match self.gateway.client.upgrade(upstream, request).await? {
            Switch::Switched(head, socket) => (head, socket),
            Switch::Refused(head, body) => return self.refusal(target, credential, &head, body),
        };
        if let Some(problem) = self.offer.problem_of(&head.headers, &expected) {
            return Err(Failure {
                status: Some(head.status.as_u16()),
                ..Failure::new(FailureClass::Nonsense, problem)
            });
        }
        let protocol = head
            .headers
            .get(SEC_WEBSOCKET_PROTOCOL)
            .and_then(|chosen| chosen.to_str().ok());
        Ok(Opened::Switched {
            socket,
            protocol: protocol.map(str::to_owned),
        })
    }

    fn refusal(
        &self,
        target: &Target,
        credential: &Credential,
        head: &http::response::Parts,
        body: Bytes,
    ) -> Result<Opened, Failure> {
        let status = head.status.as_u16();
        // An upstream that answers a handshake with content does not know the path.
        if head.status.is_success() || head.status.is_redirection() {
            let message = "the upstream does not speak WebSocket at this address, or redirects";
            return Err(Failure {
                status: Some(status),
                ..Failure::new(FailureClass::Nonsense, message)
            });
        }
        let now = self.gateway.clock.now();
        match dialects::classify(self.path.surface.dialect, status, &head.headers, &body, now) {
            Verdict::Failure(failure) => Err(failure),
            Verdict::Caller => {
                let mut headers = confidence::headers(&head.headers, &target.upstream, credential);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(Opened::Refused {
                    status: head.status,
                    headers,
                    body: confidence::text(body, &target.upstream, credential),
                })
            }
        }
    }

    /// Lets go of the request, whose headers hold the client's key, once an upstream has taken the session.
    pub(super) fn forget_request(&mut self) {
        self.head = http::Request::new(()).into_parts().0;
    }

    /// Ends a session that no upstream took.
    pub(super) fn failed(mut self, fault: &Fault) -> Response<Body> {
        self.gateway.metrics.refused(fault.kind);
        let id = request_id(self.settlement.call);
        let mut response = refuse(self.path.surface.dialect, fault, id.to_str().unwrap_or_default());
        let attempts = HeaderValue::from(self.settlement.attempts.len());
        response.headers_mut().insert(&headers::ATTEMPTS, attempts);
        self.settlement.abandon(response.status().as_u16(), fault);
        response
    }

    /// Ends a session that an upstream refused because of the caller.
    pub(super) fn refused(mut self, status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Response<Body> {
        headers.insert(&headers::REQUEST_ID, request_id(self.settlement.call));
        headers.insert(&headers::ATTEMPTS, HeaderValue::from(self.settlement.attempts.len()));
        let outcome = Outcome {
            ending: Ending::Failed,
            status: status.as_u16(),
            served: None,
            first_content: None,
            error: Some(format!(
                "the upstream refused the {} with status {}",
                Operation::Realtime,
                status.as_u16()
            )),
        };
        if let Err(fault) = self.settlement.finish(&outcome) {
            return self.failed(&fault);
        }
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// A client's query without what is ours, or what the target says in its own way.
fn foreign_query(query: &str) -> String {
    const OURS: [&str; 4] = ["key", "model", "deployment", "api-version"];
    let foreign = |pair: &&str| !OURS.contains(&pair.split('=').next().unwrap_or_default());
    query.split('&').filter(foreign).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_says_in_its_own_way_is_not_said_twice() {
        let query = "model=a&intent=transcription&key=sk-tg-1&api-version=1&deployment=b&x=1";
        assert_eq!(foreign_query(query), "intent=transcription&x=1");
        assert_eq!(foreign_query("model=a"), "");
    }
}
