//! The program around the crates: configuration, command line and the wiring of a server.
//!
//! A library beside the binary, so that tests and fuzzing reach the configuration without starting a process.

pub mod cli;
pub mod config;
mod logins;
pub mod secrets;
mod serve;
