//! Whether a batch may be made, and what is set aside for it.
//!
//! Its requests are read where something depends on them: under policy `hard` what they may cost, and for a key that may
//! not use every model which they name. They name models as the upstream calls them, since they reach it as they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dialects::batch;
use domain::snapshot::{Credential, Key, Route, Snapshot, Target, Upstream};
use domain::{CallId, Dialect, Fault, FaultKind, Money, Operation, Policy, Surface, Timestamp};
use hashbrown::HashMap;
use http::StatusCode;
use uuid::Uuid;

use super::lines::Lines;
use super::{Asking, Made, census, get, surface};
use crate::admit::{hold_bound, take_hold};
use crate::authenticate::Caller;
use crate::gateway::Inner;
use crate::inbound::{CallPath, surface_at};
use crate::limits::{BATCH_ASKED_TIMEOUT, BATCH_REQUESTS_MAX};
use crate::recall::jobs::{route_of, unlisted_target};
use crate::settle::Settlement;

/// Admits a batch, or refuses it.
pub(crate) async fn admit(
    gateway: &Arc<Inner>,
    caller: &Caller,
    made: Made,
    place: (&Arc<Upstream>, &Arc<Credential>),
    body: &[u8],
    started: (Timestamp, Instant),
) -> Result<(Settlement, Made), Fault> {
    let key = &caller.key;
    if !gateway.journal.healthy() {
        let message = "calls cannot be recorded at the moment; nothing was sent upstream";
        return Err(Fault::new(FaultKind::Unrecordable, message).retry_after(Duration::from_secs(1)));
    }
    if gateway.recall.batches.are_full(key.user.id) {
        let message = "too many batches are not done and billed yet";
        return Err(Fault::new(FaultKind::Saturated, message).retry_after(Duration::from_mins(1)));
    }
    let dialect = made.dialect;
    let mut quote = Quote::new(&caller.snapshot, key, place.0);
    if let Some(of) = &made.of {
        // Whatever its requests are.
        quote.know(&of.model)?;
        quote.of = Some(of.clone());
    }
    match batch::asked(dialect, body).map_err(|why| malformed("the request body", &why))? {
        batch::Asked::Here(requests) => {
            let surface = Surface::new(quote.operation(), dialect);
            for request in requests {
                quote.add(surface, request.get())?;
            }
        }
        batch::Asked::File { id, .. } if dialect == Dialect::Gemini => {
            if key.user.policy == Policy::Hard {
                quote.add_unread(gateway, place, &id).await?;
            }
        }
        batch::Asked::File { id, endpoint } => {
            let surface = billed_at(&endpoint)?;
            if quote.is_needed() {
                let reading = read_file(gateway, place, &id, surface, &mut quote);
                let late = || {
                    Fault::new(
                        FaultKind::UpstreamTimeout,
                        "the file of requests could not be read in time",
                    )
                };
                tokio::time::timeout(BATCH_ASKED_TIMEOUT, reading)
                    .await
                    .map_err(|_| late())??;
            }
        }
    }
    let account = gateway.accounts.get(key.user.id);
    let hold = match key.user.policy {
        Policy::Hard => take_hold(&account, Policy::Hard, quote.amount).await?,
        // As for any call: soft asks only whether anything is left.
        Policy::Soft => take_hold(&account, Policy::Soft, Money::from_nanos(1)).await?,
        Policy::Unlimited => take_hold(&account, Policy::Unlimited, Money::ZERO).await?,
    };
    let path = CallPath {
        surface: surface(dialect),
        model: None,
        method: None,
    };
    let model = quote.first.as_deref().unwrap_or("batch");
    let (call, route) = (CallId(Uuid::now_v7()), Arc::new(route_of(model, None)));
    let bytes = quote.bytes.max(body.len());
    let settlement = Settlement::open(gateway, call, key, &path, model, false, route, bytes, started);
    Ok((settlement.with_guards(Some(hold), None, None), made))
}

/// What the requests of a batch ask for at an endpoint, if that is billed by what its answers say.
pub(super) fn billed_at(endpoint: &str) -> Result<Surface, Fault> {
    let path = endpoint.strip_prefix("/v1").unwrap_or(endpoint);
    surface_at(path).ok_or_else(|| malformed("the batch", "what its `endpoint` does cannot be billed"))
}

fn malformed(what: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Malformed, format!("{what}: {why}"))
}

async fn read_file(
    gateway: &Arc<Inner>,
    place: (&Arc<Upstream>, &Arc<Credential>),
    id: &str,
    surface: Surface,
    quote: &mut Quote<'_>,
) -> Result<(), Fault> {
    let is_plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let path = format!("/files/{id}/content");
    let found = if is_plain {
        get(gateway, place, &path).await
    } else {
        None
    };
    let Some((StatusCode::OK, source)) = found else {
        let why = "the upstream does not give it out, so what it asks for cannot be seen; this account pays in advance, or its \
                   key may not use every model: name a file that was uploaded to this upstream and can be read there";
        return Err(malformed("the file of requests", why));
    };
    let mut lines = Lines::new(source);
    let unreadable = |why: String| malformed("the file of requests", &why);
    while let Some(line) = lines.next().await.map_err(unreadable)? {
        let request = batch::request(line).map_err(unreadable)?;
        quote.add(surface, request.get())?;
    }
    Ok(())
}

/// What the requests of a batch may cost.
struct Quote<'a> {
    snapshot: &'a Snapshot,
    key: &'a Key,
    upstream: &'a Arc<Upstream>,
    /// The models seen so far, at the prices of batches.
    models: HashMap<String, Route>,
    first: Option<String>,
    /// What all requests ask for, where they do not say it themselves.
    of: Option<Asking>,
    requests: usize,
    bytes: usize,
    amount: Money,
}

impl<'a> Quote<'a> {
    fn new(snapshot: &'a Snapshot, key: &'a Key, upstream: &'a Arc<Upstream>) -> Self {
        Self {
            snapshot,
            key,
            upstream,
            models: HashMap::new(),
            first: None,
            of: None,
            requests: 0,
            bytes: 0,
            amount: Money::ZERO,
        }
    }

    /// Whether anything depends on what the requests are.
    fn is_needed(&self) -> bool {
        self.key.user.policy == Policy::Hard || !self.key.models.is_empty()
    }

    fn operation(&self) -> Operation {
        self.of.as_ref().map_or(Operation::Chat, |of| of.operation)
    }

    /// Adds the requests of a file that Google does not give out again (google-genai, `files.py`: "files created by `upload`
    /// can't be downloaded"): by what was seen of it when it was uploaded here, else by its size.
    async fn add_unread(
        &mut self,
        gateway: &Arc<Inner>,
        place: (&Arc<Upstream>, &Arc<Credential>),
        id: &str,
    ) -> Result<(), Fault> {
        let (Some(of), Some(card)) = (self.of.clone(), census::card(gateway, place, id).await) else {
            return Err(malformed("the file of requests", "the upstream does not know it"));
        };
        let Some(route) = self.models.get(&of.model) else {
            return Ok(());
        };
        let surface = Surface::new(of.operation, Dialect::Gemini);
        self.bytes = usize::try_from(card.bytes).unwrap_or(usize::MAX);
        self.amount += match gateway.recall.censuses.find(self.upstream.id, id, &card) {
            Some(census) => census.bound(route, surface)?,
            None if of.operation == Operation::Embeddings => census::bound_by_size(route, surface, card.bytes)?,
            None => {
                let why = "this account pays in advance, and what the file asks for cannot be seen: it was not uploaded through \
                           this gateway in one piece, or that is known no longer. Upload it again in one request (clients do so \
                           up to 8 MiB), or send the requests themselves";
                return Err(malformed("the batch", why));
            }
        };
        Ok(())
    }

    fn add(&mut self, surface: Surface, request: &str) -> Result<(), Fault> {
        self.requests += 1;
        self.bytes += request.len();
        if self.requests > BATCH_REQUESTS_MAX {
            return Err(malformed("the batch", "it has too many requests"));
        }
        let facts = dialects::scan(surface, request.as_bytes());
        let facts =
            facts.map_err(|error| malformed(&format!("request {} of the batch", self.requests), &error.to_string()))?;
        let of_all = self.of.clone();
        let named = of_all.as_ref().map(|of| &*of.model).or(facts.model.as_deref());
        let named = named.or(surface.operation.default_model());
        let Some(model) = named else {
            return Err(malformed(
                &format!("request {} of the batch", self.requests),
                "it names no `model`",
            ));
        };
        self.know(model)?;
        if self.key.user.policy == Policy::Hard
            && surface.operation.is_billed()
            && let Some(route) = self.models.get(model)
        {
            self.amount += hold_bound(route, &facts, surface, request.len())?.amount;
        }
        Ok(())
    }

    /// Looks a model up, once.
    fn know(&mut self, model: &str) -> Result<(), Fault> {
        if !self.models.contains_key(model) {
            let route = self.route(model)?;
            self.first.get_or_insert_with(|| route.model.clone());
            self.models.insert(model.to_owned(), route);
        }
        Ok(())
    }

    /// The model's only target here, at the prices of batches.
    fn route(&self, model: &str) -> Result<Route, Fault> {
        let known = self.snapshot.answering(self.upstream.id, model);
        let name = known.as_ref().map_or(model, |route| &route.model);
        if !self.key.may_use(model) && !self.key.may_use(name) {
            let message = format!("the key may not use the model `{name}`, which the batch names");
            return Err(Fault::new(FaultKind::Forbidden, message));
        }
        let own = known.as_ref().and_then(|route| own_target(route, self.upstream));
        let priced = match known.as_ref().zip(own) {
            Some((route, target)) => Target {
                price: route.price_of(target, Some(model)),
                ..target.clone()
            },
            None => unlisted_target(self.upstream, model),
        };
        let target = Target {
            price: priced.price.as_ref().map(|price| Arc::new(price.of_tier(batch::TIER))),
            ..priced
        };
        Ok(route_of(name, Some(target)))
    }
}

/// A route's target at an upstream.
pub(super) fn own_target<'a>(route: &'a Route, upstream: &Upstream) -> Option<&'a Target> {
    route.own_targets().find(|target| target.upstream.id == upstream.id)
}
