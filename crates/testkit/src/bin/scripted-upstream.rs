//! The scripted upstream as a program, so that tests in Python and Node can script it: prints its URL as its first line
//! and runs until it is killed or its stdin closes (so that it never outlives the test that started it).
//!
//! `scripted-upstream [ADDRESS]`, by default a free port of 127.0.0.1. Control endpoints: `POST /__script`,
//! `POST /__then`, `GET /__received[?calls=N]`, `DELETE /__received`; the forms are those of `testkit::upstream::Script`,
//! `Behaviour` and `Received`.

use std::io::{Read, Write};
use std::net::SocketAddr;

use testkit::upstream::Upstream;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address: SocketAddr = address
        .parse()
        .map_err(|error| std::io::Error::other(format!("{address} is no address ({error})")))?;
    let upstream = Upstream::start_controlled(address);
    writeln!(std::io::stdout(), "{}", upstream.url())?;
    std::io::stdout().flush()?;
    let mut rest = [0; 1024];
    while std::io::stdin().read(&mut rest)? > 0 {}
    Ok(())
}
