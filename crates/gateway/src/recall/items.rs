//! Items that a request names in place of sending them, where the response they are of is kept here.
//!
//! They are put back before the request is admitted, for the same reason as the turns of a conversation: limits, holds, prices
//! and every format then see what a client would have sent that keeps its conversation itself. What is not kept here stays a
//! name, for an upstream of the same format to judge; nobody else is told a conversation with holes (`dialects`'s
//! `Question::refuse_references`).

use std::collections::BTreeMap;
use std::ops::Range;

use dialects::conversation::{self, Named};
use domain::{Fault, FaultKind};
use store::CONVERSATION_TURNS_MAX;

use super::no_such;
use super::resolve::{Recalled, Request};
use crate::gateway::Inner;
use crate::limits::CONVERSATION_BYTES_MAX;

/// Items in the places where they were named.
type Placed = Vec<(Range<usize>, String)>;

/// Puts the items back that are kept here.
pub(super) async fn put_back(gateway: &Inner, request: &mut Request<'_>, recalled: &mut Recalled) -> Result<(), Fault> {
    let mut named = conversation::named_items(&request.body);
    let homes = homes(&named)?;
    let (user, now) = (request.key.user.id, gateway.clock.now());
    let (mut placed, mut met) = (Placed::new(), Vec::new());
    // The latest first: what is new is likelier in memory, and whoever made an id twice means the latest.
    for (home, id) in homes.into_iter().rev() {
        let Some(turn) = gateway.recall.alone(user, &home, now).await? else {
            // Nobody else can know an id that we made.
            return Err(no_such("Item", &id));
        };
        take(&turn.body, &home, &mut named, &mut placed);
        met.push(home);
        if placed.iter().map(|(_, item)| item.len()).sum::<usize>() > CONVERSATION_BYTES_MAX {
            return Err(too_much());
        }
    }
    if let Some(named) = named.iter().find(|named| conversation::home_of(&named.id).is_some()) {
        return Err(no_such("Item", &named.id));
    }
    recalled.unknown_item = named.pop().map(|named| named.id);
    if placed.is_empty() {
        return Ok(());
    }
    placed.sort_by_key(|(place, _)| place.start);
    gateway.recall.used(user, met, now);
    recalled.has_kept_items = true;
    request.go_on_with(conversation::with_items(&request.body, &placed))
}

/// The responses that the items lead to, each with one of its items. Ids of calls sort by their time.
fn homes(named: &[Named]) -> Result<BTreeMap<String, String>, Fault> {
    let homes: BTreeMap<String, String> = named
        .iter()
        .filter_map(|named| Some((conversation::home_of(&named.id)?, named.id.clone())))
        .collect();
    if homes.len() > CONVERSATION_TURNS_MAX {
        return Err(too_much());
    }
    Ok(homes)
}

/// Takes from a turn what it has of the items that are named.
fn take(turn: &str, home: &str, named: &mut Vec<Named>, placed: &mut Placed) {
    named.retain(|named| {
        let is_elsewhere = conversation::home_of(&named.id).is_some_and(|other| other != home);
        let found = (!is_elsewhere)
            .then(|| conversation::item(turn, home, &named.id))
            .flatten();
        match found {
            None => true,
            Some(item) => {
                placed.push((named.place.clone(), item));
                false
            }
        }
    });
}

fn too_much() -> Fault {
    let message = "the request names too many items of earlier responses; send the whole conversation";
    Fault::new(FaultKind::Malformed, message)
}
