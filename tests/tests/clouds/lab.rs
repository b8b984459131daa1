//! A gateway whose upstream is a cloud, and what several clouds have in common.

use blackbox::CLIENT_KEY;
use serde_json::json;
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Received, Upstream};

pub(crate) struct World {
    pub(crate) gateway: Tollgate,
    pub(crate) upstream: Upstream,
}

impl World {
    pub(crate) fn new(config: impl Fn(&Upstream) -> String) -> Self {
        let upstream = Upstream::start();
        let yaml = format!(
            "defaults: {{retries: 1, retry_delay: 50ms}}
{}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
",
            config(&upstream)
        );
        Self {
            gateway: Setup::config(&yaml).start(),
            upstream,
        }
    }

    pub(crate) fn send(&self, request: &Request) -> Response {
        request.clone().bearer(CLIENT_KEY).send(&self.gateway.url())
    }

    pub(crate) fn asked(&self) -> Received {
        self.upstream.take_received().pop().expect("the upstream was asked")
    }
}

pub(crate) fn token(name: &str) -> Behaviour {
    let body = json!({"access_token": name, "expires_in": 3600, "token_type": "Bearer"});
    Behaviour::raw(200, &[("content-type", "application/json")], body.to_string())
}
