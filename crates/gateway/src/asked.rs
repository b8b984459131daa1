//! What choosing is told of a call.

use domain::declaration::Strategy;
use domain::snapshot::Route;
use metering::estimate;
use routing::Asked;

use crate::admit::Call;
use crate::headers;
use crate::needs;

/// The output that is expected where `cheapest` compares prices. Clients give bounds far beyond what they expect, and
/// most give none.
const OUTPUT_TOKENS: u64 = 1_000;

/// What a call asks for. What no strategy on its route looks at is not worked out.
pub(crate) fn of(call: &Call) -> Asked<'_> {
    let bound = call.facts.output_bound.unwrap_or(OUTPUT_TOKENS).min(OUTPUT_TOKENS);
    let surface = call.surface();
    Asked {
        surface,
        needs: needs::of(call),
        profile: call.profile.as_deref(),
        affinity: if is_sticky(&call.route) { affinity(call) } else { None },
        input_tokens: estimate::input_tokens(call.body.len() as u64),
        output_tokens: if surface.operation.generates() {
            bound.saturating_mul(call.facts.choices)
        } else {
            0
        },
    }
}

fn is_sticky(route: &Route) -> bool {
    route
        .targets
        .iter()
        .any(|target| route.strategy_of(target) == Strategy::Sticky || target.upstream.strategy == Strategy::Sticky)
}

/// What the caller names in a header goes before what the request itself says.
fn affinity(call: &Call) -> Option<u64> {
    match call.head.headers.get(&headers::SESSION) {
        Some(session) if !session.is_empty() => Some(dialects::named_affinity(session.as_bytes())),
        _ => dialects::affinity(call.surface(), &call.body),
    }
}
