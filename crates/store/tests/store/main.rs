//! The store from outside: every test runs on SQLite and on PostgreSQL, by one macro.
//!
//! PostgreSQL is the server that `TOLLGATE_TEST_POSTGRES` names (a superuser of a throw-away cluster, see
//! `scripts/postgres`); each test makes a database of its own in it. Without the variable that half says so and is
//! skipped, except in CI, where it fails: a suite that silently runs by half proves nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a skipped half must be seen")]

mod accounts;
mod bound;
mod file;
mod forced;
mod lab;
mod ledger;
mod oauth;
mod outage;
mod pins;
mod pools;
mod resources;
mod whole;
