//! A port that stays free between a stop and the restart.

use std::net::{Ipv4Addr, TcpListener};

/// Ports below those that the system hands out (32768 and up on Linux): between a stop and the restart on the same port
/// no outgoing connection of another test can take it.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

pub(super) fn free_port() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    (0..span)
        .map(|_| PORTS.start + (random() % span) as u16)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// Different in every call and every process.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
