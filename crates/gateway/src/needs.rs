//! What a call needs of a model, looked for only where it matters.
//!
//! The catalog knows of some models that they do not see, hear or call tools, and how long their prompts may be. Most
//! routes have no such target, and then nothing is looked at: the scan of the admission has already found whether there
//! are media and tools at all, and only if there are, and a target might not take them, the body is read once more for
//! what they are.

use domain::{Capability, CapabilitySet, Needs, Operation};
use metering::estimate;

use crate::admit::Call;

/// What only media in the body, or at an address, can need.
const OF_MEDIA: [Capability; 4] = [
    Capability::Image,
    Capability::Audio,
    Capability::Document,
    Capability::Video,
];

/// What the call needs.
pub(crate) fn of(call: &Call) -> Needs {
    let surface = call.surface();
    if surface.operation != Operation::Chat {
        return Needs::default();
    }
    let bounds = &call.route.bounds;
    let (tokens, least_tokens) = estimate::long_input(call.body.len() as u64);
    // Media say nothing about tokens by their bytes.
    let is_long = bounds.context != 0 && tokens > bounds.context && call.facts.inline_media == 0;
    let looked_for = looked_for(call);
    if !is_long && looked_for.is_empty() {
        return Needs::default();
    }
    let needed = if looked_for.is_empty() {
        CapabilitySet::EMPTY
    } else {
        dialects::needs(surface, &call.body)
    };
    let (tokens, least_tokens) = if is_long { (tokens, least_tokens) } else { (0, 0) };
    Needs {
        capabilities: needed.and(looked_for),
        tokens,
        least_tokens,
    }
}

/// What one of the targets lacks and the request may need, by what is known of it already.
fn looked_for(call: &Call) -> CapabilitySet {
    let mut lacking = call.route.bounds.lacking;
    // A model that does not think answers all the same, and one that calls one tool at a time too.
    lacking.remove(Capability::Thinking);
    lacking.remove(Capability::ParallelTools);
    // No request needs it; recovery asks each target for it.
    lacking.remove(Capability::Prefill);
    if lacking.is_empty() {
        return lacking;
    }
    if !call.facts.tools {
        lacking.remove(Capability::Tools);
    }
    if call.facts.inline_media == 0 && !call.facts.by_reference {
        for one in OF_MEDIA {
            lacking.remove(one);
        }
    }
    lacking
}
