//! A gateway with an upstream and an authorization server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Output;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, wait};
use serde_json::Value;
use testkit::authority::Authority;
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::Upstream;

pub(crate) const ADMIN: &str = "admin-token-of-the-operator-0123456789";
pub(crate) const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// In both plans.
pub(crate) const HAIKU: &str = "claude-3-5-haiku-20241022";
/// In the larger one only.
pub(crate) const OPUS: &str = "claude-3-opus-20240229";

pub(crate) struct Lab {
    pub(crate) gateway: Tollgate,
    pub(crate) upstream: Upstream,
    pub(crate) authority: Authority,
}

impl Lab {
    pub(crate) fn start() -> Self {
        let mut lab = Self::prepare();
        lab.gateway.restart();
        lab
    }

    /// Everything but the running gateway, so that accounts can be there before it.
    pub(crate) fn prepare() -> Self {
        let (upstream, authority) = (Upstream::start(), Authority::start());
        let yaml = config(&upstream, &authority);
        let gateway = setup(&yaml).prepare();
        Self {
            gateway,
            upstream,
            authority,
        }
    }

    /// Another gateway on the same database.
    pub(crate) fn replica(&self) -> Tollgate {
        let url = format!("sqlite://{}", self.gateway.path("data/tollgate.db").display());
        setup(&config(&self.upstream, &self.authority))
            .env("DATABASE_URL", &url)
            .start()
    }

    /// `tollgate account add`, with a person who logs in and pastes.
    pub(crate) fn add(&self, name: &str, mode: &str) -> Output {
        self.log_in(&["account", "add", name, "--mode", mode, "--code-stdin"], |url| {
            self.authority.log_in(url)
        })
    }

    pub(crate) fn add_ok(&self, name: &str, mode: &str) {
        assert_done(&self.add(name, mode));
    }

    /// Runs a command that prints an address, and pastes what `person` brings from there.
    pub(crate) fn log_in(&self, arguments: &[&str], person: impl Fn(&str) -> String) -> Output {
        let mut child = self.gateway.cli_child(arguments);
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let url = loop {
            let mut line = String::new();
            if stdout.read_line(&mut line).expect("it can be read") == 0 {
                break None;
            }
            if line.starts_with("http") {
                break Some(line.trim().to_owned());
            }
        };
        let mut stdin = child.stdin.take().expect("it is piped");
        if let Some(url) = url {
            writeln!(stdin, "{}", person(&url)).expect("it is read");
        }
        drop(stdin);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut rest).expect("it can be read");
        let mut output = child.wait_with_output().expect("it ends");
        output.stdout = rest.into_bytes();
        output
    }

    /// What operators see of accounts.
    pub(crate) fn accounts(&self) -> Vec<Value> {
        let response = Request::get("/api/accounts").bearer(ADMIN).send(&self.gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        response.json()["accounts"].as_array().expect("a list").clone()
    }

    pub(crate) fn account(&self, name: &str) -> Value {
        let found = self.accounts().into_iter().find(|account| account["name"] == name);
        found.unwrap_or_default()
    }

    /// Waits until the running server uses the account.
    pub(crate) fn wait_for(&self, name: &str) {
        wait::until(&format!("the server to know {name}"), || {
            self.account(name)["kind"] == "account"
        });
    }

    /// What `tollgate account list` says.
    pub(crate) fn listed(&self, name: &str) -> Value {
        let list = self.gateway.cli_json(&["account", "list", "--json"]);
        let found = list
            .as_array()
            .expect("a list")
            .iter()
            .find(|account| account["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no {name} in {list}"))
    }

    pub(crate) fn call(&self, model: &str) -> Response {
        call(&self.gateway, model)
    }

    /// No refresh token was spent twice.
    pub(crate) fn assert_nothing_was_spent_twice(&self) {
        let asked = self.authority.asked();
        assert!(asked.iter().all(|asked| asked.status != 400), "{asked:?}");
    }
}

fn config(upstream: &Upstream, authority: &Authority) -> String {
    let mode = |name: &str| {
        format!(
            "{{name: {name}, client_id: app-1, authorize_url: \"{}\", token_url: \"{}\", redirect_uri: \"{}\"}}",
            authority.authorize_url(),
            authority.token_url(),
            authority.redirect_uri()
        )
    };
    format!(
        "defaults: {{retries: 1, retry_delay: 50ms}}
accounts: [{}, {}]
upstreams: [{{name: claude, provider: anthropic, base_url: \"{}\"}}]
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\", passthrough: true}}]
",
        mode("console"),
        mode("max"),
        upstream.v1()
    )
}

fn setup(yaml: &str) -> Setup {
    Setup::config(yaml)
        .env("ADMIN_TOKEN", ADMIN)
        .env("ENCRYPTION_KEY", ENCRYPTION_KEY)
}

pub(crate) fn call(gateway: &Tollgate, model: &str) -> Response {
    let request = Format::Anthropic.call(model).header("user-agent", "my-client/1");
    request.bearer(CLIENT_KEY).send(&gateway.url())
}

pub(crate) fn assert_done(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// What a refused command said.
pub(crate) fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}
