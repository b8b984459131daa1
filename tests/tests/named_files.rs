//! Files that a request names: they go to the upstream that made them, in whatever format it is asked, and to no provider
//! that cannot know them.

use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Match, Upstream};

const KEY: &str = "sk-tg-blackbox-open-0123456789abcdef";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

struct World {
    gateway: Tollgate,
    anthropic: Upstream,
    openai: Upstream,
}

impl World {
    /// `claude` is at Anthropic only; `both` at Anthropic, then at OpenAI.
    fn new() -> Self {
        let (anthropic, openai) = (Upstream::start(), Upstream::start());
        let config = format!(
            "defaults: {{retries: 0}}
upstreams:
  - {{name: a, provider: anthropic, base_url: \"{}\", models: [claude], credentials: [{{name: k1, key: sk-a-0123456789}}]}}
  - {{name: o, provider: openai, base_url: \"{}\", models: [gpt], priority: 1, credentials: [{{name: k1, key: sk-o-0123456789}}]}}
models:
  - {{name: both, targets: [{{upstream: a, model: claude}}, {{upstream: o, model: gpt, priority: 1}}]}}
users: [{{name: alice}}]
keys: [{{name: open, user: alice, key: \"{KEY}\", passthrough: true}}]
",
            anthropic.v1(),
            openai.v1()
        );
        Self {
            gateway: Setup::config(&config).start(),
            anthropic,
            openai,
        }
    }

    fn ask(&self, model: &str, file: &str) -> Response {
        let content = json!([{"type": "text", "text": "read"}, {"type": "file", "file": {"file_id": file}}]);
        let body = json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": content}]});
        Request::post("/v1/chat/completions", &body)
            .bearer(KEY)
            .send(&self.gateway.url())
    }
}

#[test]
fn a_file_of_another_provider_is_refused_before_anybody_is_asked() {
    let world = World::new();
    let refused = world.ask("claude", "file-of-openai");
    assert_eq!(refused.status(), 400, "{}", refused.text());
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("file-of-openai") && message.contains("another provider"),
        "{message}"
    );
    assert!(world.anthropic.take_received().is_empty());
}

#[test]
fn where_a_target_can_know_the_file_the_others_are_passed_over() {
    let world = World::new();
    assert_eq!(world.ask("both", "file-of-openai").status(), 200);
    assert!(world.anthropic.take_received().is_empty());
    assert_eq!(world.openai.take_received().len(), 1);
}

#[test]
fn a_file_that_was_made_there_is_named_in_its_format() {
    let world = World::new();
    let made = json!({"id": "file_of_anthropic", "type": "file", "filename": "a.pdf"}).to_string();
    world
        .anthropic
        .rule(Match::path("/files"), Behaviour::raw(200, &JSON, made));
    let upload = Request::post("/v1/files", &json!({})).header("anthropic-version", "2023-06-01");
    assert_eq!(upload.bearer(KEY).send(&world.gateway.url()).status(), 200);
    world.anthropic.take_received();
    for model in ["claude", "both"] {
        assert_eq!(world.ask(model, "file_of_anthropic").status(), 200, "{model}");
        let asked = world.anthropic.take_received().pop().unwrap();
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let source = &body["messages"][0]["content"][1]["source"];
        assert_eq!(source, &json!({"type": "file", "file_id": "file_of_anthropic"}));
        let beta = asked.headers.iter().find(|(name, _)| name == "anthropic-beta");
        assert_eq!(beta.map(|(_, value)| value.as_str()), Some("files-api-2025-04-14"));
    }
    assert!(world.openai.take_received().is_empty());
}
