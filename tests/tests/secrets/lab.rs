//! A configuration that has every secret there is, and calls whose prompt is one.

use blackbox::format::Format;
use blackbox::tunnel::Proxy;
use serde_json::json;
use testkit::client::Request;
use testkit::upstream::Upstream;

use crate::planted::{ADMIN, CLAUDE, CLIENT, GEMINI, HEADER, MASTER, OPENAI, PROMPT, PROXY, planted};

pub(crate) fn config(upstream: &Upstream, proxy: &Proxy) -> String {
    let (url, v1) = (upstream.url(), upstream.v1());
    format!(
        "server: {{body_limit: 64KiB}}
logs: {{level: trace, dir: data/logs}}
security: {{encryption_key: \"${{ENCRYPTION_KEY}}\", admin_token: \"{}\", master_key: \"{}\"}}
defaults: {{retries: 1, retry_delay: 10ms}}
upstreams:
  - {{name: openai-main, provider: openai, base_url: \"{v1}\", breaker: off, cooldown: off, proxy: \"http://fleet:{}@{}\", headers: {{x-team-secret: \"{}\"}}, models: [\"gpt-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
  - {{name: claude, provider: anthropic, base_url: \"{v1}\", breaker: off, cooldown: off, models: [\"claude-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
  - {{name: google, provider: gemini, base_url: \"{url}/v1beta\", breaker: off, cooldown: off, models: [\"gemini-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
  - {{name: nowhere, provider: openai, base_url: \"http://127.0.0.1:1/v1\", models: [\"lost-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
users:
  - {{name: alice, opening_credit: 10.00, policy: soft}}
keys:
  - {{name: laptop, user: alice, key: \"{}\"}}
",
        planted(ADMIN), planted(MASTER), planted(PROXY), proxy.address(), planted(HEADER), planted(OPENAI), planted(CLAUDE),
        planted(GEMINI), planted(OPENAI), planted(CLIENT),
    )
}

pub(crate) const CREDENTIALS: [(Format, usize); 4] = [
    (Format::Chat, OPENAI),
    (Format::Responses, OPENAI),
    (Format::Anthropic, CLAUDE),
    (Format::Gemini, GEMINI),
];

/// A call whose prompt is the planted one.
pub(crate) fn call(format: Format, model: &str, stream: bool) -> Request {
    let body = format
        .body(model)
        .to_string()
        .replace("\"hi\"", &json!(planted(PROMPT)).to_string());
    let path = match (format, stream) {
        (Format::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        _ => format.path(model),
    };
    let body = if stream && format != Format::Gemini {
        body.replacen('{', "{\"stream\":true,", 1)
    } else {
        body
    };
    Request::new("POST", &path)
        .header("content-type", "application/json")
        .body(body)
}
