//! The pooled HTTP client: one pool per kind of outbound connection.
//!
//! Its connections are driven by the calls that use them ([ADR 14](../../../../docs/adr/0014-calls-drive-their-connections.md)).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::snapshot::{Origin, Upstream};
use domain::{Failure, FailureClass};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Response, Uri};
use parking_lot::RwLock;

use super::address::AddressRules;
use super::connector::{ConnectError, Connector, Egress};
use super::incoming::UpstreamBody;
use super::link::{Link, Sent};
use super::resolve::Resolve;
use super::shelf::{Place, Shelf};
use super::upgrade::{self, Switch};
use crate::health::CheckupStep;
use crate::limits::{EGRESS_MAX, FETCH_CONNECT_TIMEOUT};

/// Connections of one kind of egress: how they are made, and those at hand.
#[derive(Clone, Debug)]
struct Pool {
    connector: Connector,
    shelf: Arc<Shelf>,
}

/// Sends requests to upstreams.
#[derive(Debug)]
pub(crate) struct UpstreamClient {
    rules: Arc<AddressRules>,
    resolver: Arc<dyn Resolve>,
    pools: RwLock<HashMap<Egress, Pool>>,
}

impl UpstreamClient {
    pub(crate) fn new(rules: AddressRules, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            rules: Arc::new(rules),
            resolver,
            pools: RwLock::default(),
        }
    }

    /// Sends a request; resolves when the answer's head is there. Redirects are answers like any other.
    pub(crate) async fn send(&self, upstream: &Upstream, request: Sent) -> Result<Response<UpstreamBody>, Failure> {
        let pool = self
            .pool_of(upstream)
            .map_err(|message| Failure::new(FailureClass::Connect, message))?;
        pool.send(request).await
    }

    /// Goes the way to an upstream step by step, beside the pool.
    pub(crate) async fn walk(&self, upstream: &Upstream) -> Vec<CheckupStep> {
        let refused = |found: String| CheckupStep {
            name: "dns",
            took: Duration::ZERO,
            found: Err(found),
        };
        let uri: Uri = match upstream.base_url.parse() {
            Ok(uri) => uri,
            Err(error) => return vec![refused(format!("the base URL cannot be read: {error}"))],
        };
        match self.pool_of(upstream) {
            Ok(pool) => pool.connector.walk(&uri).await,
            Err(message) => vec![refused(message)],
        }
    }

    /// Asks to switch protocols, on a connection made for that.
    pub(crate) async fn upgrade(&self, upstream: &Upstream, mut request: Sent) -> Result<Switch, Failure> {
        let pool = self
            .pool_of(upstream)
            .map_err(|message| Failure::new(FailureClass::Connect, message))?;
        let target = std::mem::take(request.uri_mut());
        addressed(&mut request, &target)
            .ok_or_else(|| Failure::new(FailureClass::Connect, "the URL of the upstream has no host"))?;
        let stream = pool.connector.connect(&target).await;
        let stream = stream.map_err(|error| failure(class_of(&error), &error))?;
        let asked = upgrade::ask(stream, request).await;
        asked.map_err(|error| failure(FailureClass::Reset, &error))
    }

    /// Asks for a file that a caller named: as of a stranger, whatever our upstreams may do.
    pub(crate) async fn fetch(&self, request: Sent) -> Result<Response<UpstreamBody>, Failure> {
        let egress = Egress {
            origin: Origin::Remote,
            proxy: None,
            ca: None,
            connect_timeout: FETCH_CONNECT_TIMEOUT,
        };
        let known = self.pools.read().get(&egress).cloned();
        let pool = known.map_or_else(|| self.add_pool(egress), Ok);
        let pool = pool.map_err(|message| Failure::new(FailureClass::Connect, message))?;
        pool.send(request).await
    }

    fn pool_of(&self, upstream: &Upstream) -> Result<Pool, String> {
        let egress = EgressRef::of(upstream);
        if let Some((_, pool)) = self.pools.read().iter().find(|(known, _)| egress.is(known)) {
            return Ok(pool.clone());
        }
        self.add_pool(egress.to_owned())
    }

    fn add_pool(&self, egress: Egress) -> Result<Pool, String> {
        let connector = Connector::new(egress.clone(), Arc::clone(&self.rules), Arc::clone(&self.resolver))?;
        let pool = Pool {
            connector,
            shelf: Shelf::new(),
        };
        let mut known = self.pools.write();
        if known.len() >= EGRESS_MAX {
            known.clear();
        }
        Ok(known.entry(egress).or_insert(pool).clone())
    }
}

impl Pool {
    /// Sends over an idle connection, or else a new one. A connection that turns out to be closed before anything was
    /// sent is replaced; after that nobody knows what the upstream did, and routing decides.
    async fn send(&self, mut request: Sent) -> Result<Response<UpstreamBody>, Failure> {
        let target = std::mem::take(request.uri_mut());
        let place = addressed(&mut request, &target)
            .ok_or_else(|| Failure::new(FailureClass::Connect, "the URL of the upstream has no host"))?;
        loop {
            let (mut link, fresh) = match self.shelf.take(&place) {
                Some(link) => (link, false),
                // Connecting is rare, and its future so large that every call would carry it along.
                None => (Box::pin(self.connect(&target)).await?, true),
            };
            match link.send(request).await {
                Ok(answer) => {
                    return Ok(answer.map(|body| UpstreamBody::new(body, link, Arc::clone(&self.shelf), place)));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(failure(FailureClass::Reset, error.error())),
                },
            }
        }
    }

    async fn connect(&self, target: &Uri) -> Result<Box<Link>, Failure> {
        let stream = self.connector.connect(target).await;
        let stream = stream.map_err(|error| failure(class_of(&error), &error))?;
        let link = Link::open(stream).await;
        link.map_err(|error| failure(FailureClass::Connect, &error))
    }
}

/// Writes where the request goes as HTTP/1.1 has it, in the `host` header and a path; tells the place.
fn addressed(request: &mut Sent, target: &Uri) -> Option<Place> {
    let place = (target.scheme()?.clone(), target.authority()?.clone());
    if !request.headers().contains_key(HOST) {
        let host = host(&place.0, &place.1);
        request.headers_mut().insert(HOST, host?);
    }
    *request.uri_mut() = target
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"))
        .into();
    Some(place)
}

/// Host and port; the port that the scheme has anyway is left out.
fn host(scheme: &Scheme, authority: &Authority) -> Option<HeaderValue> {
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let text = match authority.port_u16() {
        Some(port) if port != usual => return HeaderValue::try_from(format!("{}:{port}", authority.host())).ok(),
        _ => authority.host(),
    };
    HeaderValue::from_str(text).ok()
}

/// An [`Egress`] borrowed from its upstream, so that the look-up of every call allocates nothing.
struct EgressRef<'a>(&'a Upstream);

impl<'a> EgressRef<'a> {
    const fn of(upstream: &'a Upstream) -> Self {
        Self(upstream)
    }

    fn is(&self, known: &Egress) -> bool {
        let Self(upstream) = self;
        known.origin == upstream.origin
            && known.connect_timeout == upstream.timeouts.connect
            && known.proxy == upstream.proxy
            && known.ca == upstream.ca
    }

    fn to_owned(&self) -> Egress {
        let Self(upstream) = self;
        let origin: Origin = upstream.origin;
        Egress {
            origin,
            proxy: upstream.proxy.clone(),
            ca: upstream.ca.clone(),
            connect_timeout: upstream.timeouts.connect,
        }
    }
}

/// What it means for the call that there is no connection.
const fn class_of(error: &ConnectError) -> FailureClass {
    match error {
        ConnectError::Address(_) => FailureClass::Barred,
        _ => FailureClass::Connect,
    }
}

/// Nothing came of an exchange, for this reason.
fn failure(class: FailureClass, error: &dyn std::error::Error) -> Failure {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        detail.push_str(": ");
        detail.push_str(&inner.to_string());
        cause = inner.source();
    }
    Failure::new(class, detail)
}

#[cfg(test)]
mod tests;
