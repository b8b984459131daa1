//! Azure: by deployment and version, with a key or with an Entra application's token.

use blackbox::format::Format;
use testkit::upstream::Match;

use crate::lab::{World, token};

fn azure(key: &str) -> World {
    World::new(|upstream| {
        format!(
            "upstreams:
  - {{name: v1, provider: azure, base_url: \"{}/openai/v1\", models: [new], breaker: off, credentials: [{{name: k1, key: \"{key}\"}}],
     variables: {{resource: contoso, authority: \"{}/login\"}}}}
  - {{name: dated, provider: azure-deployments, base_url: \"{}/openai/deployments\", models: [old], breaker: off,
     credentials: [{{name: k1, key: \"{key}\"}}], variables: {{resource: contoso, authority: \"{}/login\"}}}}",
            upstream.url(),
            upstream.url(),
            upstream.url(),
            upstream.url()
        )
    })
}

#[test]
fn azure_is_asked_by_deployment_and_version_with_its_own_header() {
    let world = azure("0123456789abcdef");
    assert_eq!(world.send(&Format::Chat.call("new")).status(), 200);
    let asked = world.asked();
    assert_eq!(asked.target, "/openai/v1/chat/completions");
    assert_eq!(
        (asked.header("api-key"), asked.header("authorization")),
        (Some("0123456789abcdef"), None)
    );
    assert_eq!(asked.json()["model"], "new");
    assert_eq!(world.send(&Format::Chat.call("old")).status(), 200);
    let asked = world.asked();
    assert_eq!(
        asked.target,
        "/openai/deployments/old/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(asked.header("api-key"), Some("0123456789abcdef"));
    assert!(asked.json().get("model").is_none(), "the path says it");
}

#[test]
fn an_entra_application_gets_one_token_for_many_calls() {
    let world = azure("contoso.com:app-1:s3cr:et~value");
    world.upstream.rule(Match::path("/token"), token("tok-1"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(world.send(&Format::Chat.call("new")).status(), 200));
        }
    });
    let received = world.upstream.take_received();
    let (tokens, calls): (Vec<_>, Vec<_>) = received.iter().partition(|asked| asked.path().ends_with("/token"));
    assert_eq!((tokens.len(), calls.len()), (1, 8), "the token is fetched once");
    assert_eq!(tokens[0].path(), "/login/contoso.com/oauth2/v2.0/token");
    let form = String::from_utf8_lossy(&tokens[0].body).into_owned();
    assert!(
        form.contains("grant_type=client_credentials") && form.contains("client_secret=s3cr%3Aet~value"),
        "{form}"
    );
    for call in calls {
        assert_eq!(
            (call.header("authorization"), call.header("api-key")),
            (Some("Bearer tok-1"), None)
        );
    }
    let logs = world.gateway.stdout() + &world.gateway.stderr();
    assert!(
        !logs.contains("s3cr:et") && !logs.contains("tok-1"),
        "a secret is in the log"
    );
}
