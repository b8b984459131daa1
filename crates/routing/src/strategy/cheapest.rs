//! By what this request would cost there.
//!
//! Not by the price per input token alone: a model that is cheap to ask and dear to hear is the wrong one for a short
//! question with a long answer. Caches are left out, because where a prompt is cached is not known beforehand. Equal costs
//! take turns; what has no known price goes last, since it may be any.

use domain::Price;

use super::{Load, by};
use crate::asked::Asked;

/// A cost as it is compared, in dollars.
pub(super) const DOLLARS: f64 = 1e-15;

pub(super) fn rank(load: &Load) -> u64 {
    by(load.cost.unwrap_or(f32::INFINITY), load)
}

/// What the call is expected to cost at this price, in nano-dollars (of a million calls: prices are per million tokens).
pub(crate) fn cost(price: &Price, asked: &Asked<'_>) -> f32 {
    let rates = price.ordinary.at(asked.input_tokens);
    let side = |tokens: u64, rate: domain::Money| tokens as f32 * rate.nanos().max(0) as f32;
    side(asked.input_tokens, rates.input) + side(asked.output_tokens, rates.output)
}
