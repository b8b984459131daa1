//! What the black-box tests share: configurations, and reading the books from outside.
//!
//! The tests see what an operator sees: the process, its port, its command line, its files. The journal's files are
//! read here with a reader of our own, so that a mistake in the product's cannot hide itself.
#![expect(
    clippy::missing_panics_doc,
    reason = "helpers for tests panic instead of returning errors"
)]

pub mod books;
pub mod format;
pub mod load;
pub mod postgres;
pub mod socks;
pub mod tunnel;
pub mod wait;

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use testkit::gateway::Tollgate;
use testkit::upstream::Upstream;

/// The key that the configurations below declare for the client.
pub const CLIENT_KEY: &str = "sk-tg-blackbox-client-0123456789abcdef";

/// The credential that the configurations below declare for the upstream.
pub const UPSTREAM_KEY: &str = "sk-upstream-secret-0123456789abcdef";

/// A configuration with one upstream per provider preset, all at the scripted upstream, and one user with one key.
pub fn config(upstream: &Upstream, more: &str) -> String {
    let (url, v1) = (upstream.url(), upstream.v1());
    format!(
        "upstreams:
  - {{name: openai-main, provider: openai, base_url: \"{v1}\", models: [\"gpt-*\", \"text-embedding-*\"], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: claude, provider: anthropic, base_url: \"{v1}\", models: [\"claude-*\"], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
  - {{name: google, provider: gemini, base_url: \"{url}/v1beta\", models: [\"gemini-*\"], credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}
users:
  - {{name: alice}}
keys:
  - {{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}
{more}"
    )
}

/// The receipts in a gateway's journal, by call id.
pub fn receipts(gateway: &Tollgate) -> HashMap<String, Value> {
    let mut found = HashMap::new();
    for record in journal_records(&gateway.path("data/journal")) {
        let call = record["call"].as_str().expect("a receipt names its call").to_owned();
        assert!(
            found.insert(call.clone(), record).is_none(),
            "two receipts of call {call}"
        );
    }
    found
}

/// Every whole record of a journal folder, in order.
pub fn journal_records(folder: &Path) -> Vec<Value> {
    let mut segments: Vec<_> = std::fs::read_dir(folder)
        .expect("the journal's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments
        .iter()
        .flat_map(|path| records(&std::fs::read(path).expect("a segment")))
        .collect()
}

/// The records of one segment: whatever lies between a `{"call":` and the end of that JSON value. The framing around
/// them (lengths, checksums) is the product's own affair.
fn records(bytes: &[u8]) -> Vec<Value> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = find(&bytes[at..], b"{\"call\":") {
        at += start;
        let mut values = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at += values.byte_offset();
                found.push(value);
            }
            _ => at += 1,
        }
    }
    found
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The receipt of a response, by its `x-request-id`.
pub fn receipt_of(gateway: &Tollgate, response: &testkit::client::Response) -> Value {
    let id = response
        .header("x-request-id")
        .expect("an answer names its call")
        .to_owned();
    receipts(gateway)
        .remove(&id)
        .unwrap_or_else(|| panic!("no receipt of call {id}"))
}

/// Runs `tollgate audit` and gives its report; panics if it finds a discrepancy.
pub fn audit(gateway: &Tollgate) -> Value {
    gateway.cli_json(&["audit", "--json"])
}
