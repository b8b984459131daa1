//! Accounts from outside: logging in, renewing, choosing by plan, and what is told when it goes wrong.
//!
//! The authorization server of the testkit takes each refresh token once, so a gateway that renewed twice or forgot what
//! it got would be told `invalid_grant`, and these tests would see it.

mod lab;
mod login;
mod plan;
mod renewal;
