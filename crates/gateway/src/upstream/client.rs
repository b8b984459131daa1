//! The pooled HTTP client: one pool per kind of outbound connection.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::snapshot::{Origin, Upstream};
use domain::{Failure, FailureClass};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::RwLock;

use super::address::AddressRules;
use super::connector::{Connector, Egress};
use super::resolve::Resolve;
use crate::limits::{EGRESS_MAX, IDLE_PER_HOST_MAX, IDLE_TIMEOUT};

type Pool = Client<Connector, Full<Bytes>>;

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
    pub(crate) async fn send(
        &self,
        upstream: &Upstream,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let pool = self
            .pool(upstream)
            .map_err(|message| Failure::new(FailureClass::Connect, message))?;
        pool.request(request).await.map_err(|error| failure(&error))
    }

    fn pool(&self, upstream: &Upstream) -> Result<Pool, String> {
        let egress = EgressRef::of(upstream);
        if let Some((_, pool)) = self.pools.read().iter().find(|(known, _)| egress.is(known)) {
            return Ok(pool.clone());
        }
        let egress = egress.to_owned();
        let connector = Connector::new(egress.clone(), Arc::clone(&self.rules), Arc::clone(&self.resolver))?;
        let pool = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let mut pools = self.pools.write();
        if pools.len() >= EGRESS_MAX {
            pools.clear();
        }
        Ok(pools.entry(egress).or_insert(pool).clone())
    }
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

/// What a failed exchange means: no connection, or one that broke.
fn failure(error: &Error) -> Failure {
    let class = if error.is_connect() {
        FailureClass::Connect
    } else {
        FailureClass::Reset
    };
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        detail.push_str(": ");
        detail.push_str(&inner.to_string());
        cause = inner.source();
    }
    Failure::new(class, detail)
}
