//! What a call may cost, what it did cost, and whether there is enough.
//!
//! Money is where a gateway must not be clever: every rule here is a small function of plain data, so that it can be
//! tested against the table it implements and simulated over years. There is no IO and no clock; what changes with
//! time takes `now`. Two things are shared between calls and therefore locked: the [`Accounts`] (balance, pending
//! charges, holds) and a key's [`KeyLimiter`].
//!
//! The order in a call's life: [`KeyLimiter::admit`], then [`hold_for`] says how much to set aside and
//! [`Account::poll_hold`] sets it aside, then the call runs, then [`charge()`] says what it costs, the receipt is
//! journalled, [`Hold::settle`] turns the hold into a pending charge, and [`Accounts::booked`] forgets the pending
//! charge once the ledger has it.

pub mod accounts;
pub mod charge;
pub mod estimate;
pub mod limits;
pub mod pricing;
pub mod tasks;

pub use accounts::{Account, AccountView, Accounts, Exhausted, Hold};
pub use charge::{Charge, Facts, Reported, charge};
pub use estimate::{Bound, HoldBound, Steps, hold_for, input_bound, input_tokens, output_tokens};
pub use limits::{Dimension, DimensionState, KeyLimiter, LimitState, Limited, Permit};
pub use pricing::{cost, rates_for};
