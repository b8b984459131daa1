//! One upstream with a pool of credentials, and three keys to ask it by: one of everybody, two of profiles.

use blackbox::wait;
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Upstream};

const ADMIN: &str = "tg-admin-of-the-pools-0123456789";
pub(crate) const COMMON: &str = "sk-tg-common-0123456789abcdef0123";
pub(crate) const TEAM_A: &str = "sk-tg-team-a-0123456789abcdef0123";
pub(crate) const TEAM_B: &str = "sk-tg-team-b-0123456789abcdef0123";

/// The secret of the credential of this name.
pub(crate) fn secret(name: &str) -> String {
    format!("sk-secret-of-{name}-0123456789abcdef")
}

pub(crate) struct World {
    pub(crate) gateway: Tollgate,
    pub(crate) upstream: Upstream,
}

impl World {
    /// One upstream whose credentials are these (name and settings), asked for models `m` and `n`.
    pub(crate) fn new(provider: &str, credentials: &[(&str, &str)], upstream_settings: &str) -> Self {
        let upstream = Upstream::start();
        upstream.always(Behaviour::text("hello"));
        let credentials: Vec<String> = credentials
            .iter()
            .map(|(name, settings)| format!("{{name: {name}, key: {}{settings}}}", secret(name)))
            .collect();
        let config = format!(
            "logs: {{dir: logs}}
defaults: {{retries: 0, retry_delay: 50ms}}
profiles: [team-a, team-b]
upstreams:
  - {{name: main, provider: {provider}, base_url: \"{}\", models: [m, n], breaker: off{upstream_settings}, credentials: [{}]}}
users: [{{name: alice}}]
keys:
  - {{name: common, user: alice, key: {COMMON}}}
  - {{name: a, user: alice, key: {TEAM_A}, profile: team-a}}
  - {{name: b, user: alice, key: {TEAM_B}, profile: Team-B}}
",
            if provider == "gemini" {
                format!("{}/v1beta", upstream.url())
            } else {
                upstream.v1()
            },
            credentials.join(", ")
        );
        let gateway = Setup::config(&config).env("ADMIN_TOKEN", ADMIN).start();
        Self { gateway, upstream }
    }

    pub(crate) fn call(&self, key: &str, model: &str) -> Response {
        let messages = json!([{"role": "user", "content": "hello"}]);
        Request::post("/v1/chat/completions", &json!({"model": model, "messages": messages}))
            .bearer(key)
            .send(&self.gateway.url())
    }

    /// One call of the common key: who served it, or the status.
    pub(crate) fn served(&self) -> String {
        self.served_to(COMMON)
    }

    pub(crate) fn served_to(&self, key: &str) -> String {
        let response = self.call(key, "m");
        let last = self.upstream.take_received().pop();
        match response.status() {
            200 => used(&last.expect("somebody was asked").credential.expect("with a key")),
            status => status.to_string(),
        }
    }

    /// What `/api/accounts` says of a credential.
    pub(crate) fn account(&self, name: &str) -> Value {
        let answer = Request::get("/api/accounts").bearer(ADMIN).send(&self.gateway.url());
        let accounts = answer.json()["accounts"].clone();
        let mut all = accounts.as_array().expect("a list").iter();
        all.find(|account| account["name"] == name)
            .expect("it is listed")
            .clone()
    }

    /// Why candidates are not for a call with this key, by credential.
    pub(crate) fn excluded(&self, key: &str) -> Vec<(String, String)> {
        let told = self
            .gateway
            .cli_json(&["explain", "--model", "m", "--key", key, "--json"]);
        assert_eq!(told["live"], true, "{told}");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let excluded = told["excluded"].as_array().expect("a list").iter();
        excluded
            .map(|one| (text(&one["credential"]), text(&one["reason"])))
            .collect()
    }

    /// The changes in the log of credential events: the change and the credential.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.gateway.path("logs")).expect("the folder of logs") {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a log");
            if name.starts_with("credentials.") {
                assert!(!text.contains("sk-secret-of"), "a secret in the log: {text}");
                lines.extend(
                    text.lines()
                        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")),
                );
            } else {
                assert!(!text.contains("tollgate::credential"), "in two logs");
            }
        }
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines
            .iter()
            .map(|line| (text(line, "change"), text(line, "credential")))
            .collect()
    }

    pub(crate) fn wait_for_event(&self, change: &str, credential: &str) {
        let wanted = (change.to_owned(), credential.to_owned());
        wait::until(change, || self.events().contains(&wanted));
    }
}

/// The name of the credential that has this secret.
pub(crate) fn used(secret: &str) -> String {
    let rest = secret.strip_prefix("sk-secret-of-").expect("one of ours");
    rest.split('-').next().expect("its name").to_owned()
}

pub(crate) fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}
