//! Chores of this repository that need to understand it: `cargo run -p xtask -- tidy | generate | catalog`.
//!
//! A rule that matters is enforced by a program, not by a reviewer's memory. What rustc and clippy can check stays with
//! them; what is about the repository as a whole (which crate may know which, dead files, generated files) is here.
//! It is an ordinary crate rather than a shell script, so that the rules themselves have tests.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

mod catalog;
mod manifest;
mod repo;
mod source;
mod tidy;
mod tree;

const USAGE: &str = "usage: cargo run -p xtask -- tidy      check the rules of the house
       cargo run -p xtask -- generate  write the generated files anew
       cargo run -p xtask -- catalog FILE.json  write the model catalog anew from a litellm price file
";

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(&root),
        ["generate"] => tidy::generated::write(&root),
        ["catalog", prices] => catalog::write(&root, Path::new(prices)),
        _ => {
            std::io::stderr().write_all(USAGE.as_bytes())?;
            Ok(ExitCode::from(2))
        }
    }
}
