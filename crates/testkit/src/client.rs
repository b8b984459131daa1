//! A client that hides nothing: the bytes of the body, when each piece came, and whether the end of the body was
//! reached or only the end of the connection.
//!
//! The difference decides the crash test: a call has reached its client if and only if the client saw HTTP's end of
//! body. Client libraries blur that, so this one is written by hand over a blocking socket.

mod connection;
mod exchange;
mod framing;
mod request;
mod response;

pub use connection::Connection;
pub use exchange::Exchange;
pub use request::{READ_MAX, Request};
pub use response::{Chunk, End, Head, Response};
