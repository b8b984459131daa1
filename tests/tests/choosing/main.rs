//! Which upstream and which model answer: fallbacks, groups, strategies, sessions, and what operators force.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fallbacks;
mod groups;
mod overrides;
mod records;
mod sessions;
mod strategies;

use blackbox::UPSTREAM_KEY;
use testkit::upstream::Upstream;

/// The line of an OpenAI-like upstream in a configuration.
fn upstream(name: &str, at: &Upstream, more: &str) -> String {
    format!(
        "  - {{name: {name}, provider: openai-compatible, base_url: \"{}\", credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]{more}}}\n",
        at.v1()
    )
}

/// A user and a key.
fn people() -> String {
    format!(
        "users: [{{name: alice}}]\nkeys: [{{name: laptop, user: alice, key: \"{}\"}}]\n",
        blackbox::CLIENT_KEY
    )
}
