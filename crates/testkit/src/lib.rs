//! What the black-box tests are made of: an upstream that does as it is told, a client that sees every byte, the real
//! binary as a process, and the recorded traffic.
//!
//! The testkit knows the wire formats a second time, by hand, and depends on none of our other crates. That is on
//! purpose: a test that built its upstream's answers with the code under test would share that code's mistakes.
//!
//! It is for tests only, so a thing that cannot work (no port, no binary, a deadline passed) panics with what was
//! expected and what was there instead.
#![expect(
    clippy::missing_panics_doc,
    reason = "helpers for tests panic instead of returning errors; the header says so"
)]

pub mod authority;
pub mod client;
pub mod frame;
pub mod gateway;
pub mod recordings;
pub mod socket;
pub mod sse;
pub mod upstream;
