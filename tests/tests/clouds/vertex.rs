//! Vertex AI: by a service account's token, whose claim is checked by its public key.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blackbox::format::{FORMATS, Format};
use blackbox::receipt_of;
use serde_json::{Value, json};
use testkit::upstream::{Behaviour, Match};

use crate::lab::{World, token};

fn service_account(key: &KeyPair, token_uri: &str) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().expect("a key can be written");
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    json!({"type": "service_account", "project_id": "p1", "private_key_id": "k1", "private_key": pem,
        "client_email": "robot@p1.iam.gserviceaccount.com", "token_uri": token_uri})
    .to_string()
}

fn vertex(key: &KeyPair) -> World {
    World::new(|upstream| {
        let url = upstream.url();
        let good = service_account(key, &format!("{url}/good/token"));
        let revoked = service_account(key, &format!("{url}/revoked/token"));
        let base = format!("{url}/v1/projects/{{project}}/locations/{{location}}");
        format!(
            "upstreams:
  - {{name: google, provider: vertex, base_url: \"{base}\", variables: {{project: p1}}, breaker: off, credentials: [{{name: k1, key: '{good}'}}]}}
  - {{name: partner, provider: vertex-anthropic, base_url: \"{base}\", variables: {{project: p1, location: us-east5}}, breaker: off,
     credentials: [{{name: k1, key: '{good}'}}]}}
  - {{name: gone, provider: vertex, base_url: \"{base}\", variables: {{project: p1}}, models: [revoked], breaker: off,
     credentials: [{{name: k1, key: '{revoked}'}}]}}"
        )
    })
}

#[test]
fn vertex_is_asked_with_a_service_accounts_token() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let world = vertex(&key);
    world.upstream.rule(Match::path("/good/token"), token("ya29.good"));
    assert_eq!(world.send(&Format::Gemini.call("gemini-2.5-flash")).status(), 200);
    let received = world.upstream.take_received();
    let [claim, asked] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_eq!(
        asked.path(),
        "/v1/projects/p1/locations/global/publishers/google/models/gemini-2.5-flash:generateContent"
    );
    assert_eq!(
        (asked.header("authorization"), asked.header("x-goog-api-key")),
        (Some("Bearer ya29.good"), None)
    );
    let form = String::from_utf8_lossy(&claim.body).into_owned();
    let assertion = form.split_once("assertion=").expect("an assertion").1;
    let parts: Vec<&str> = assertion.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(claims["iss"], "robot@p1.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    let signed = format!("{}.{}", parts[0], parts[1]);
    public
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap())
        .expect("the claim is signed");
    // The second call finds the token.
    assert_eq!(world.send(&Format::Gemini.call("gemini-2.5-flash")).status(), 200);
    assert_eq!(world.upstream.take_received().len(), 1);
}

#[test]
fn claude_on_vertex_has_its_model_in_the_path_and_its_version_in_the_body() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let world = vertex(&key);
    world.upstream.rule(Match::path("/good/token"), token("ya29.good"));
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 2}});
    let answer = Behaviour::raw(200, &[("content-type", "application/json")], answer.to_string());
    world.upstream.rule(Match::path(":rawPredict"), answer);
    for client in FORMATS {
        let response = world.send(&client.call("claude-sonnet-4-5"));
        assert_eq!(response.status(), 200, "{client:?}: {}", response.text());
        assert!(response.text().contains("hello"), "{client:?}: {}", response.text());
        let asked = world.asked();
        let path = "/v1/projects/p1/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5:rawPredict";
        assert_eq!(asked.path(), path, "{client:?}");
        let body = asked.json();
        assert_eq!(body["anthropic_version"], "vertex-2023-10-16", "{client:?}");
        assert!(body.get("model").is_none(), "{client:?}: {body}");
    }
}

#[test]
fn a_refused_service_account_is_the_credentials_failure_and_stays_out_of_the_log() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let world = vertex(&key);
    let refusal = json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."});
    let refusal = Behaviour::raw(400, &[("content-type", "application/json")], refusal.to_string());
    world.upstream.rule(Match::path("/revoked/token"), refusal);
    let response = world.send(&Format::Gemini.call("revoked"));
    assert!(response.status() >= 500, "{}", response.text());
    let receipt = receipt_of(&world.gateway, &response);
    assert_eq!(receipt["attempts"][0]["failure"], "auth", "{receipt}");
    world.gateway.wait_for_output("invalid_grant");
    let logs = world.gateway.stdout() + &world.gateway.stderr();
    assert!(
        logs.contains("invalid_grant") && !logs.contains("PRIVATE KEY") && !logs.contains("assertion"),
        "{logs}"
    );
}
