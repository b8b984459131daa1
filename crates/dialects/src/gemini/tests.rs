//! The codec over recorded traffic, over its own fixtures and over whatever it may be given.

mod answers;
mod foreign;
mod properties;
mod recorded;
mod requests;
mod streams;
