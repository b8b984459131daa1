//! Requests, answers and streams told in every other format.

/// The claims.
pub fn check(data: &[u8]) {
    dialects::fuzz::translation(data);
}
