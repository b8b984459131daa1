//! The models that a key may use, in the caller's format.

use blackbox::{CLIENT_KEY, config};
use serde_json::Value;
use testkit::client::{Request, Response};
use testkit::gateway::Tollgate;
use testkit::upstream::Upstream;

const BOUND: &str = "sk-tg-may-use-little-0123456789abcdef";

fn start(upstream: &Upstream) -> Tollgate {
    let more = format!(
        "  - {{name: bound, user: alice, key: {BOUND}, models: [\"smart\", \"claude-*\"]}}
models:
  - {{name: smart, aliases: [best], targets: [{{upstream: openai-main, model: gpt-4o}}]}}
  - {{name: claude-mine, targets: [{{upstream: claude, model: claude-sonnet-4-5}}]}}
  - {{name: \"fast-*\", targets: [{{upstream: openai-main, model: gpt-4o-mini}}]}}
"
    );
    Tollgate::start(&config(upstream, &more))
}

/// A request for a list: path and headers.
#[derive(Clone, Copy, Debug)]
struct Way {
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    list: &'static str,
    id: &'static str,
}

const WAYS: [Way; 4] = [
    Way {
        path: "/v1/models",
        header: None,
        list: "data",
        id: "id",
    },
    Way {
        path: "/v1/models",
        header: Some(("anthropic-version", "2023-06-01")),
        list: "data",
        id: "id",
    },
    Way {
        path: "/v1beta/models",
        header: None,
        list: "models",
        id: "name",
    },
    Way {
        path: "/v1/models",
        header: Some(("x-goog-api-key", "")),
        list: "models",
        id: "name",
    },
];

fn get(gateway: &Tollgate, way: Way, path: &str, key: &str) -> Response {
    let request = Request::get(path);
    let request = match way.header {
        Some(("x-goog-api-key", _)) => request.header("x-goog-api-key", key),
        Some((name, value)) => request.header(name, value).header("x-api-key", key),
        None => request.bearer(key),
    };
    request.send(&gateway.url())
}

fn ids(way: Way, list: &Value) -> Vec<String> {
    let models = list[way.list].as_array().unwrap_or_else(|| panic!("{way:?}: {list}"));
    models
        .iter()
        .map(|model| {
            model[way.id]
                .as_str()
                .expect("an id")
                .trim_start_matches("models/")
                .to_owned()
        })
        .collect()
}

#[test]
fn the_list_is_what_the_key_may_use_in_each_format() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    for way in WAYS {
        let all = get(&gateway, way, way.path, CLIENT_KEY);
        assert_eq!(all.status(), 200, "{way:?}: {}", all.text());
        let names = ids(way, &all.json());
        for name in [
            "smart",
            "claude-mine",
            "gpt-4o",
            "claude-sonnet-4-5",
            "gemini-2.5-flash",
        ] {
            assert!(
                names.contains(&name.to_owned()),
                "{way:?}: {name} is missing: {names:?}"
            );
        }
        assert!(
            !names.iter().any(|name| name.contains('*')),
            "{way:?}: a glob is no model: {names:?}"
        );
        let bound = ids(way, &get(&gateway, way, way.path, BOUND).json());
        assert!(
            bound.contains(&"smart".to_owned()) && bound.contains(&"claude-mine".to_owned()),
            "{way:?}: {bound:?}"
        );
        assert!(
            bound.iter().all(|name| name == "smart" || name.starts_with("claude-")),
            "{way:?}: {bound:?}"
        );
    }
    assert!(upstream.received().is_empty(), "a list is answered from what is known");
}

#[test]
fn the_formats_are_those_of_the_sdks() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let [openai, anthropic, gemini, _] = WAYS.map(|way| get(&gateway, way, way.path, CLIENT_KEY).json());
    assert_eq!(openai["object"], "list");
    assert!(
        openai["data"][0]["created"].is_i64() && openai["data"][0]["owned_by"].is_string(),
        "{}",
        openai["data"][0]
    );
    assert_eq!(anthropic["has_more"], false);
    assert!(
        anthropic["data"][0]["type"] == "model" && anthropic["data"][0]["created_at"].is_string(),
        "{}",
        anthropic["data"][0]
    );
    let first = &gemini["models"][0];
    assert!(
        first["name"].as_str().is_some_and(|name| name.starts_with("models/")),
        "{first}"
    );
    assert!(first["supportedGenerationMethods"].is_array(), "{first}");
}

#[test]
fn one_model_is_shown_in_any_case_and_only_to_who_may_use_it() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    for way in WAYS {
        for name in ["smart", "SMART", "best", "gpt-4o"] {
            let card = get(&gateway, way, &format!("{}/{name}", way.path), CLIENT_KEY);
            assert_eq!(card.status(), 200, "{way:?}, {name}: {}", card.text());
            assert!(card.json()[way.id].is_string(), "{way:?}, {name}: {}", card.text());
        }
        for (name, key) in [("gpt-4o", BOUND), ("no-such-model", CLIENT_KEY)] {
            let refused = get(&gateway, way, &format!("{}/{name}", way.path), key);
            assert!(
                matches!(refused.status(), 403 | 404),
                "{way:?}, {name}: {}",
                refused.text()
            );
            assert!(refused.json()["error"].is_object());
        }
    }
}
