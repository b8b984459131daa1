//! How a session is opened, and how it is refused: as any other call, until the upstream has switched protocols.

use blackbox::UPSTREAM_KEY;
use serde_json::json;
use testkit::client::Request;
use testkit::socket::Refused;

use super::*;

fn refused(gateway: &Tollgate, target: &str, headers: &[(&str, &str)]) -> Refused {
    Socket::open(&gateway.url(), target, headers).expect_err("refused")
}

#[test]
fn keys_are_taken_from_everywhere_and_go_nowhere() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::talk(Talk::of([manual()]).protocol("realtime")));
    let gateway = start(&upstream, "");
    let protocols = format!("realtime, openai-insecure-api-key.{CLIENT_KEY}, openai-beta.realtime-v1");
    let in_query = format!("/v1/realtime?key={CLIENT_KEY}&model=voice&x=1");
    for (target, name, value, chosen) in [
        (TARGET, "sec-websocket-protocol", protocols.as_str(), Some("realtime")),
        (TARGET, "api-key", CLIENT_KEY, None),
        ("/api/v1/realtime?model=voice", "authorization", &bearer(), None),
        ("/openai/v1/realtime?model=voice", "authorization", &bearer(), None),
        (
            "/openai/realtime?api-version=2025-04-01-preview&deployment=voice",
            "api-key",
            CLIENT_KEY,
            None,
        ),
        (&in_query, "openai-beta", "realtime=v1", None),
    ] {
        // An upstream must not choose what was not offered.
        let talk = Talk::of([manual()]);
        upstream.always(Behaviour::talk(match chosen {
            Some(protocol) => talk.protocol(protocol),
            None => talk,
        }));
        let mut socket = Socket::open(
            &gateway.url(),
            target,
            &[(name, value), ("origin", "https://page.example")],
        )
        .unwrap_or_else(|refused| panic!("{target} {name}: {refused:?}"));
        assert_eq!(socket.header("sec-websocket-protocol"), chosen, "{target}");
        assert_eq!(socket.header("x-tollgate-upstream"), Some("openai-main"));
        assert!(socket.header("x-request-id").is_some());
        assert_eq!(socket.json()["type"], "session.created");
    }
    for call in upstream.wait_for_calls(6) {
        assert_eq!(call.path(), "/v1/realtime");
        assert_eq!(call.model.as_deref(), Some("gpt-realtime"));
        assert_eq!(call.credential.as_deref(), Some(UPSTREAM_KEY));
        let head = format!("{} {:?}", call.target, call.headers);
        assert!(!head.contains("sk-tg-"), "{head}");
        assert_eq!(call.header("sec-websocket-extensions"), None);
        assert_eq!(call.header("origin"), None);
    }
    let calls = upstream.received();
    assert_eq!(
        calls[0].header("sec-websocket-protocol"),
        Some("realtime, openai-beta.realtime-v1")
    );
    assert_eq!(
        (calls[5].query(), calls[5].header("openai-beta")),
        (Some("model=gpt-realtime&x=1"), Some("realtime=v1"))
    );
    let logs = gateway.stdout() + &gateway.stderr();
    assert!(!logs.contains(CLIENT_KEY));
}

#[test]
fn refusals_are_openais_errors() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let key = bearer();
    let key = [("authorization", key.as_str())];
    for (target, headers, status, code) in [
        (
            TARGET,
            &[("authorization", "Bearer sk-tg-wrong")],
            401,
            "invalid_api_key",
        ),
        (
            TARGET,
            &[(
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.sk-tg-wrong",
            )],
            401,
            "invalid_api_key",
        ),
        ("/v1/realtime?model=nobody", &key, 404, "model_not_found"),
        ("/v1/realtime", &key, 400, "malformed_request"),
        ("/v1/realtime?call_id=rtc_1", &key, 403, "not_allowed"),
    ] {
        let refused = refused(&gateway, target, headers);
        assert_eq!(refused.status, status, "{target}: {}", refused.body);
        assert_eq!(refused.json()["error"]["code"], code);
        assert!(refused.header("x-request-id").is_some());
        assert!(refused.headers.iter().all(|(_, value)| !value.contains("sk-tg-wrong")));
    }
    let plain = Request::get(TARGET).bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(plain.status(), 400);
    assert!(plain.text().contains("WebSocket"), "{}", plain.text());
    // A model of an upstream that has no such sessions.
    let refused = refused(&gateway, "/v1/realtime?model=claude-sonnet-4-5", &key);
    assert!(matches!(refused.status, 400..=503), "{}", refused.body);
    assert_eq!(upstream.counts().started, 0);
}

#[test]
fn the_next_candidate_is_tried_until_one_has_switched() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual()]);
    let yaml = configured(&upstream, "").replace(
        &format!("credentials: [{{name: k1, key: \"{UPSTREAM_KEY}\"}}]}}\n  - {{name: claude"),
        "credentials: [{name: k1, key: sk-one}, {name: k2, key: sk-two}, {name: k3, key: sk-three}, {name: k4, key: sk-four}]}\n  - {name: claude",
    );
    for (key, behaviour) in [
        ("sk-one", Behaviour::status(401)),
        ("sk-two", Behaviour::status(429)),
        (
            "sk-three",
            Behaviour::raw(200, &[("content-type", "text/html")], "<html>"),
        ),
    ] {
        upstream.rule(Match::credential(key), behaviour);
    }
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    assert_eq!(socket.header("x-tollgate-attempts"), Some("4"));
    socket.close(1000);
    let (_, session) = ended(&gateway);
    let failures: Vec<_> = session["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["failure"])
        .collect();
    assert_eq!(
        failures,
        [&json!("auth"), &json!("rate_limited"), &json!("nonsense"), &Value::Null]
    );
}

#[test]
fn what_all_refuse_is_refused_before_the_switch() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let key = bearer();
    let key = [("authorization", key.as_str())];
    upstream.rule(realtime(), Behaviour::status(401));
    let all_refused = refused(&gateway, TARGET, &key);
    assert_eq!(all_refused.status, 503, "{}", all_refused.body);
    upstream.rule(realtime(), Behaviour::status(404));
    let callers = refused(&gateway, TARGET, &key);
    assert_eq!(
        callers.status, 404,
        "the caller's own mistake is told in the provider's words: {}",
        callers.body
    );
    assert!(receipts(&gateway).values().all(|receipt| receipt["ending"] == "failed"));
}

#[test]
fn limits_count_sessions_and_their_responses() {
    let upstream = Upstream::start();
    let mut turns = vec![manual()];
    for id in ["resp_1", "resp_2"] {
        turns.extend([heard("response.create"), created(id), done(id, 50, 10)]);
    }
    talks(&upstream, turns);
    let yaml = configured(&upstream, "").replace(
        &format!("key: \"{CLIENT_KEY}\"}}"),
        &format!("key: \"{CLIENT_KEY}\", limits: {{rpm: 3, concurrency: 1}}}}"),
    );
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    let key = bearer();
    let second = refused(&gateway, TARGET, &[("authorization", &key)]);
    assert_eq!(second.status, 429, "{}", second.body);
    assert!(second.header("retry-after").is_some() && second.header("x-ratelimit-limit-requests").is_some());
    for _ in 0..2 {
        socket.say_json(&ask());
        socket.until("response.done");
    }
    socket.say_json(&json!({"type": "response.create", "event_id": "mine"}));
    let error = socket.until("error");
    assert_eq!(
        (&error["error"]["code"], &error["error"]["event_id"]),
        (&json!("rate_limit_exceeded"), &json!("mine"))
    );
    socket.say_json(&json!({"type": "goes.on"}));
    let call = upstream.wait_for("what follows", |call| {
        call.messages.iter().any(|said| said.contains("goes.on"))
    });
    assert!(
        !call.messages.iter().any(|said| said.contains("mine")),
        "what was refused went on"
    );
}

/// What would go past the gateway could not be metered, so it is for nobody who is billed, whatever the provider's list says.
#[test]
fn what_goes_past_the_gateway_is_refused_to_whoever_is_billed() {
    let upstream = Upstream::start();
    let json = [("content-type", "application/json")];
    upstream.always(Behaviour::raw(200, &json, r#"{"value": "ek_1", "expires_at": 1}"#));
    let key = |name: &str| format!("sk-tg-{name}-0123456789abcdef");
    let line = |name: &str, more: &str| {
        let (user, key) = (name.split('-').next().unwrap_or_default(), key(name));
        format!("  - {{name: {name}, user: {user}, key: {key}, passthrough: true{more}}}\n")
    };
    let keys = line("free", "") + &line("hard", "") + &line("soft", "") + &line("free-narrow", ", models: [gpt-4o]");
    let more = format!(
        "{keys}providers: [{{name: open, surfaces: {{chat: {{openai_chat: /chat/completions}}}}, base_url: \"{}\", passthrough: [\"*\"]}}]\n",
        upstream.url()
    );
    let users = "  - {name: free, policy: unlimited}\n  - {name: hard, policy: hard, opening_credit: 5}\n  - {name: soft, policy: soft, opening_credit: 5}\nkeys:\n";
    let yaml = config(&upstream, &more).replace("keys:\n", users);
    let listed =
        "upstreams:\n  - {name: listed, provider: open, credentials: [{name: k, key: sk-listed-0123456789}]}\n";
    let mut gateway = Setup::config(&yaml).start();
    let paths = [
        "/v1/realtime/client_secrets",
        "/v1/realtime/calls",
        "/v1/realtime/transcription_sessions",
        "/openai/v1/realtime/sessions",
        "/v1/realtim%65/client_secrets",
        "/v1/realtime%2Fcalls",
        // The upstream's address has no version, so that any may follow.
        "/v1/openai/v1/realtime/client_secrets",
        "/v1/v1/realtime/client_secrets",
        "/v1/v1/realtime",
        "/v1/Realtime/client_secrets",
        "/v1/realtime;x/client_secrets",
        "/v1/realtime%20/client_secrets",
        "/v1/live/sessions",
    ];
    let ask =
        |gateway: &Tollgate, path: &str, key: &str| Request::post(path, &json!({})).bearer(key).send(&gateway.url());
    let refused = |gateway: &Tollgate, key: &str| {
        for path in paths {
            let response = ask(gateway, path, key);
            assert_eq!(response.status(), 403, "{path} {key}: {}", response.text());
            let error = response.json()["error"].clone();
            assert_eq!(error["code"], "not_allowed", "{error}");
            assert!(
                error["message"].as_str().is_some_and(|told| told.contains("WebSocket")),
                "{error}"
            );
        }
    };
    refused(&gateway, CLIENT_KEY);
    // The presets do not have it on their lists.
    assert_eq!(ask(&gateway, paths[0], &key("free")).status(), 404);
    gateway.write_config(&yaml.replacen("upstreams:\n", listed, 1));
    gateway.restart();
    for name in ["hard", "soft", "free-narrow"] {
        refused(&gateway, &key(name));
    }
    assert!(upstream.received().is_empty(), "nothing was handed out");
    let handed = ask(&gateway, paths[0], &key("free"));
    assert_eq!((handed.status(), &handed.json()["value"]), (200, &json!("ek_1")));
    assert!(receipts(&gateway).is_empty());
    // What the address says counts, too.
    let address = (upstream.url(), format!("{}/v1/realtime", upstream.url()));
    let below = yaml.replacen(
        &format!("\"{}\", passthrough", address.0),
        &format!("\"{}\", passthrough", address.1),
        1,
    );
    gateway.write_config(&below.replacen("upstreams:\n", listed, 1));
    gateway.restart();
    let asked = ask(&gateway, "/v1/client_secrets", &key("soft"));
    assert_eq!(asked.status(), 403, "{}", asked.text());
    assert_eq!(ask(&gateway, "/v1/client_secrets", &key("free")).status(), 200);
}

/// xAI bills its voice by the minute of a session, which no event reports: until that can be metered nobody gets it for nothing.
#[test]
fn voices_that_cannot_be_metered_are_not_offered() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual()]);
    let xai = format!(
        "upstreams:\n  - {{name: x, provider: xai, base_url: \"{}\", credentials: [{{name: k, key: sk-xai-0123456789}}]}}\n",
        upstream.v1()
    );
    let gateway = Setup::config(&configured(&upstream, "").replacen("upstreams:\n", &xai, 1)).start();
    let key = bearer();
    let refused = refused(
        &gateway,
        "/v1/realtime?model=grok-voice-latest",
        &[("authorization", key.as_str())],
    );
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("is not offered for realtime"), "{}", refused.body);
    assert_eq!(upstream.counts().started, 0);
}
