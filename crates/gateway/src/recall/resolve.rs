//! What a request names, looked up before it is admitted.
//!
//! A response that is kept here is put in front of the request, which then is like any other. Whatever lives at an upstream
//! ties the call to that place. What somebody else made does not exist. What nobody made here, as far as is known, may be
//! the operator's own or older than this memory: it is left to an upstream of the same format to judge, and where there is
//! none it does not exist either.

use bytes::Bytes;
use dialects::{References, RequestFacts, conversation};
use domain::snapshot::{Key, Route, Snapshot, Target};
use domain::{Dialect, Fault, FaultKind, Operation, Pin, Surface};
use routing::Pinned;

use super::{Found, items, no_such, no_such_previous};
use crate::gateway::Inner;
use crate::limits::TURN_BYTES_MAX;

/// Answers that are kept are of this surface.
pub(crate) const RESPONSES: Surface = Surface::new(Operation::Chat, Dialect::OpenaiResponses);

impl Request<'_> {
    /// Takes another body in the place of the client's.
    pub(super) fn go_on_with(&mut self, body: Bytes) -> Result<(), Fault> {
        self.facts = dialects::scan(self.surface, &body)
            .map_err(|error| Fault::new(FaultKind::Malformed, format!("the request body: {error}")))?;
        self.body = body;
        Ok(())
    }
}

/// What was remembered for a call.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    /// Where the call must go.
    pub(crate) pinned: Option<Pinned>,
    /// The kept response that it continues.
    pub(crate) previous: Option<String>,
    /// The response that it continues, of which nothing is known here.
    pub(crate) unknown: Option<String>,
    /// An item that it names, of which nothing is known here.
    pub(crate) unknown_item: Option<String>,
    /// Whether items that are kept here were put into the request.
    pub(crate) has_kept_items: bool,
    /// The client's own items, where the answer may have to be kept.
    pub(crate) input: Option<String>,
}

/// A request whose facts are known.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) surface: Surface,
    pub(crate) key: &'a Key,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) body: Bytes,
    pub(crate) facts: RequestFacts,
}

/// A request that was looked into.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) recalled: Option<Box<Recalled>>,
    /// What the client said itself, without what stands in front of it.
    pub(crate) own: Bytes,
    pub(crate) body: Bytes,
    pub(crate) facts: RequestFacts,
}

/// Looks up what a request names.
pub(crate) async fn recall(gateway: &Inner, mut request: Request<'_>) -> Result<Looked, Fault> {
    let mut recalled = Recalled::default();
    if request.facts.references.as_deref().is_some_and(|named| named.has_items) {
        items::put_back(gateway, &mut request, &mut recalled).await?;
    }
    let own = request.body.clone();
    if let Some(previous) = request
        .facts
        .references
        .as_deref()
        .and_then(|named| named.previous.clone())
    {
        go_on(gateway, &mut request, &mut recalled, previous).await?;
    }
    if let Some(named) = request.facts.references.as_deref() {
        locate(gateway, &request, named, &mut recalled).await?;
    }
    let is_empty = recalled.pinned.is_none()
        && recalled.previous.is_none()
        && recalled.unknown.is_none()
        && recalled.unknown_item.is_none()
        && !recalled.has_kept_items;
    Ok(Looked {
        recalled: (!is_empty).then(|| Box::new(recalled)),
        own,
        body: request.body,
        facts: request.facts,
    })
}

/// Finds the response that the request continues.
async fn go_on(
    gateway: &Inner,
    request: &mut Request<'_>,
    recalled: &mut Recalled,
    previous: String,
) -> Result<(), Fault> {
    let (user, now) = (request.key.user.id, gateway.clock.now());
    if let Some(turns) = gateway.recall.conversation(user, &previous, now).await? {
        let said: Vec<&str> = turns.iter().map(|turn| turn.body.as_str()).collect();
        request.go_on_with(conversation::continued(&request.body, &said).map_err(|error| malformed(&error))?)?;
        recalled.previous = Some(previous);
        return Ok(());
    }
    match gateway.recall.find(user, &previous, now).await? {
        Found::Own(pin) => {
            recalled.pinned = Some(place(request.snapshot, &pin));
            Ok(())
        }
        Found::Unknown => {
            recalled.unknown = Some(previous);
            Ok(())
        }
        Found::Foreign => Err(no_such_previous(&previous)),
    }
}

/// Finds where the things live that the request names.
async fn locate(
    gateway: &Inner,
    request: &Request<'_>,
    named: &References,
    recalled: &mut Recalled,
) -> Result<(), Fault> {
    if named.are_too_many {
        return Err(Fault::new(
            FaultKind::Malformed,
            "the request names too many files and other things by their ids",
        ));
    }
    let (user, now) = (request.key.user.id, gateway.clock.now());
    for id in &named.things {
        match gateway.recall.find(user, id, now).await? {
            Found::Own(pin) => {
                let place = place(request.snapshot, &pin);
                if recalled.pinned.is_some_and(|known| known != place) {
                    return Err(Fault::new(
                        FaultKind::Malformed,
                        "the request names things that were made at different upstreams; no upstream knows all of them",
                    ));
                }
                recalled.pinned = Some(place);
            }
            Found::Foreign => return Err(no_such("Object", id)),
            Found::Unknown => {}
        }
    }
    if let (Some(item), None) = (&named.item, recalled.pinned) {
        let known = gateway.recall.item(user, item, now);
        recalled.pinned = known.map(|pin| place(request.snapshot, &pin));
    }
    Ok(())
}

/// Where a thing lives, as far as that place still exists.
pub(crate) fn place(snapshot: &Snapshot, pin: &Pin) -> Pinned {
    let upstream = snapshot.upstreams.iter().find(|upstream| upstream.id == pin.upstream);
    let is_there = upstream.is_none_or(|upstream| upstream.credentials.iter().any(|known| known.id == pin.credential));
    Pinned {
        upstream: pin.upstream,
        // A key that was exchanged for another of the same account still opens what the old one made.
        credential: is_there.then_some(pin.credential),
    }
}

impl Recalled {
    /// Whether the request holds what others answered before.
    pub(crate) const fn has_others_words(&self) -> bool {
        self.previous.is_some() || self.has_kept_items
    }

    /// Refuses a model that is not served where the request's things live, or can live.
    pub(crate) fn check(&self, route: &Route, surface: Surface) -> Result<(), Fault> {
        let is_native = |target: &Target| target.upstream.serving(surface) == Some(surface);
        if let Some(unknown) = &self.unknown
            && !route.targets.iter().any(is_native)
        {
            return Err(no_such_previous(unknown));
        }
        if let Some(unknown) = &self.unknown_item
            && !route.targets.iter().any(is_native)
        {
            return Err(no_such("Item", unknown));
        }
        let Some(pinned) = self.pinned else {
            return Ok(());
        };
        if route.targets.iter().any(|target| target.upstream.id == pinned.upstream) {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::NoSuchPrevious,
            format!(
                "what the request names was made by another upstream than those of the model `{}`; use the model that made it",
                route.model
            ),
        ))
    }
}

/// Sets the client's own items aside where the answer may have to be kept: where some target keeps none itself.
pub(crate) fn set_input_aside(
    gateway: &Inner,
    recalled: Option<Box<Recalled>>,
    route: &Route,
    is_retold: bool,
    own: &[u8],
) -> Result<Option<Box<Recalled>>, Fault> {
    let is_native = |target: &Target| target.upstream.serving(RESPONSES) == Some(RESPONSES);
    let is_pinned = recalled.as_ref().is_some_and(|recalled| recalled.pinned.is_some());
    if is_pinned || !gateway.recall.keeps_turns() || (!is_retold && route.targets.iter().all(is_native)) {
        return Ok(recalled);
    }
    let input = conversation::own_input(own).map_err(|error| malformed(&error))?;
    let mut recalled = recalled.unwrap_or_default();
    recalled.input = Some(input).filter(|input| input.len() <= TURN_BYTES_MAX);
    Ok(Some(recalled))
}

fn malformed(error: &dialects::BadRequest) -> Fault {
    Fault::new(FaultKind::Malformed, format!("the request body: {error}"))
}
