//! From the one vocabulary into Responses.
//!
//! Whole answers and streams are told by one machine ([`answer::Teller`]): a whole answer is what a stream's last event
//! says, without the events before it.

mod answer;
mod item;
mod request;
mod stream;

pub(crate) use answer::answer;
pub(crate) use request::request;
pub(crate) use stream::StreamEncoder;
