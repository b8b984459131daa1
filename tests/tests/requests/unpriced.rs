//! What costs the operator money at a provider and cannot be priced here is not for accounts of policy `hard`.

use blackbox::{config, receipts, wait};
use serde_json::json;
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Upstream};

const HARD: &str = "sk-tg-hard-0123456789abcdef";
const SOFT: &str = "sk-tg-soft-0123456789abcdef";
const FREE: &str = "sk-tg-free-0123456789abcdef";

/// Lists of the operator's own: one for everything, one that names what it gives away, one of a server that costs nothing.
const OWN: &str = r#"providers:
  - {name: wide, base_url: "URL", surfaces: {chat: {openai_chat: /chat/completions}}, passthrough: ["*"]}
  - {name: narrow, base_url: "URL", surfaces: {chat: {openai_chat: /chat/completions}}, passthrough: ["/videos*", "/threads*", "/fine_tuning/jobs*"]}
  - {name: ours, base_url: "URL", surfaces: {chat: {openai_chat: /chat/completions}}, passthrough: ["*"], free: true}
  - {name: veo, base_url: "URL", surfaces: {chat: {gemini: "/models/{model}:{method}"}}, passthrough: ["/models/veo-*:predictLongRunning"]}
"#;

fn start(upstream: &Upstream) -> Tollgate {
    upstream.always(Behaviour::raw(
        200,
        &[("content-type", "application/json")],
        "{\"id\": \"x1\"}",
    ));
    let keys = format!(
        "  - {{name: hard, user: hard, key: {HARD}, passthrough: true}}\n  - {{name: soft, user: soft, key: {SOFT}, passthrough: true}}\n  - {{name: free, user: alice, key: {FREE}, passthrough: true}}\n"
    );
    let own = OWN.replace("URL", &upstream.v1());
    let listed = ["wide", "narrow", "ours", "veo"].map(|name| {
        format!("  - {{name: {name}, provider: {name}, priority: 9, credentials: [{{name: k, key: sk-{name}-0123456789}}]}}\n")
    });
    let listed = listed.concat();
    let yaml = config(upstream, &(keys + &own))
        .replace("upstreams:\n", &format!("upstreams:\n{listed}"))
        .replace(
            "keys:\n",
            "  - {name: hard, policy: hard, opening_credit: 5}\n  - {name: soft, policy: soft}\nkeys:\n",
        );
    Setup::config(&yaml).start()
}

fn ask(gateway: &Tollgate, (path, at): (&str, &str), key: &str) -> Response {
    let request = Request::post(path, &json!({"model": "m"})).bearer(key);
    request.header("x-tollgate-upstream", at).send(&gateway.url())
}

#[test]
fn what_makes_a_model_work_is_refused_under_hard_unless_the_operator_names_it() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let refused = [
        ("/v1beta/models/veo-3:predictLongRunning", "google"),
        ("/v1beta/models/imagen-4:predict", "google"),
        ("/v1beta/models/aqa:generateAnswer", "google"),
        // A metered call in other letters.
        ("/v1beta/models/gemini-2.5-pro:generateConten%74", "google"),
        ("/v1beta/tunedModels/t1:generateContent", "google"),
        ("/v1beta/cachedContents", "google"),
        ("/upload/v1beta/fileSearchStores/s1:uploadToFileSearchStore", "google"),
        ("/v1/threads/runs", "openai-main"),
        ("/v1/threads/thread_1/runs", "openai-main"),
        ("/v1/fine_tuning/jobs", "openai-main"),
        ("/v1/containers", "openai-main"),
        ("/v1/responses/compac%74", "openai-main"),
        ("/v1/complete", "claude"),
        ("/v1/videos", "wide"),
        ("/v1/evals/e1/runs", "wide"),
        ("/v1/openai/v1/chat/completions", "wide"),
        ("/v1/threads/thread_1/runs", "narrow"),
    ];
    let ask_as_its_client = |(path, at): (&str, &str), key: &str| {
        let request = Request::post(path, &json!({"model": "m"})).bearer(key);
        let request = request.header("x-tollgate-upstream", at);
        let request = if at == "claude" {
            request.header("anthropic-version", "2023-06-01")
        } else {
            request
        };
        request.send(&gateway.url())
    };
    for asked in refused {
        let response = ask_as_its_client(asked, HARD);
        assert_eq!(response.status(), 402, "{asked:?}: {}", response.text());
        assert!(
            response.text().contains("may cost money"),
            "{asked:?}: {}",
            response.text()
        );
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    for asked in refused {
        let response = ask_as_its_client(asked, FREE);
        assert_eq!(response.status(), 200, "{asked:?}: {}", response.text());
    }
    assert!(receipts(&gateway).is_empty());
}

#[test]
fn what_the_operator_names_or_costs_nothing_is_for_everybody() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    for asked in [
        ("/v1/videos", "narrow"),
        ("/v1/fine_tuning/jobs", "narrow"),
        ("/v1/videos", "ours"),
        ("/v1beta/models/veo-3:predictLongRunning", "veo"),
        ("/v1/files", "openai-main"),
        ("/v1/threads", "openai-main"),
        ("/v1/vector_stores", "openai-main"),
        ("/v1beta/files:register", "google"),
    ] {
        let response = ask(&gateway, asked, HARD);
        assert_eq!(response.status(), 200, "{asked:?}: {}", response.text());
    }
    // Who only looks makes nothing work, unless Google is told otherwise.
    let look = |method: Option<&str>| {
        let request = Request::get("/v1beta/cachedContents").bearer(HARD);
        match method {
            Some(method) => request.header("x-http-method-override", method),
            None => request,
        }
        .send(&gateway.url())
        .status()
    };
    assert_eq!((look(None), look(Some("POST"))), (200, 402));
}

#[test]
fn under_soft_something_must_be_left() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let status = |path: &str| ask(&gateway, (path, "openai-main"), SOFT).status();
    assert_eq!((status("/v1/threads/runs"), status("/v1/files")), (402, 200));
    gateway.cli_ok(&["balance", "add", "soft", "1"]);
    wait::until("the balance is known", || status("/v1/threads/runs") == 200);
}
