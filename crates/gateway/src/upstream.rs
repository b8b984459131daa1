//! Everything that goes out: which addresses may be reached, how a connection is made, how a request is written.

pub(crate) mod address;
pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod confidence;
pub(crate) mod connector;
pub(crate) mod incoming;
mod link;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod resolve;
mod shelf;
mod stream;
mod tls;
pub(crate) mod upgrade;

pub use address::AddressRules;
pub use resolve::{Resolve, Resolving, SystemResolver};
