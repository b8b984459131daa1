//! Where a call goes, and what happens when it fails there.
//!
//! Choosing is separated from doing: [`plan()`] orders a route's candidates from what the [`Board`] knows of them,
//! [`Attempts`] turns one call's failures into the next step, and the gateway does what they say. There is no IO, no
//! clock and no randomness in here (`now` and a generator are arguments), so a week of outages runs in milliseconds and
//! a seed that fails fails again.
//!
//! A *candidate* is a target (an upstream and the model's name there) with one of the upstream's credentials. What goes
//! wrong is remembered where it belongs: a connection error or a server error with the upstream (its [breaker]), a 429 or
//! a 401 with the credential (its [cooldown]), a caller's mistake nowhere.

pub mod asked;
pub mod attempts;
pub mod backoff;
pub mod board;
pub mod breaker;
pub mod chance;
pub mod cooldown;
pub mod decision;
pub mod events;
pub mod hedge_budget;
pub mod plan;
pub mod retry_budget;

mod fading;
mod strategy;

#[cfg(test)]
mod testing;

pub use asked::Asked;
pub use attempts::{Attempts, Beside, Step, Unhedged};
pub use board::{Board, CredentialStatus, InFlight, Probed, REFUSALS_MAX, UpstreamStatus};
pub use breaker::BreakerState;
pub use chance::Dice;
pub use decision::{Decision, Recording, Trace, decide, dry_run};
pub use domain::Forced;
pub use events::{Change, CredentialEvent};
pub use plan::{Choice, Excluded, Exclusion, Order, Pinned, Plan, plan};
