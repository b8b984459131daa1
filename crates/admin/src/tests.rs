//! Over the real router and a real database, without a socket.

use axum::body::{Body, to_bytes};
use domain::declaration::{KeyTerms, UserDecl};
use domain::snapshot::UpstreamRow;
use domain::{Money, Policy, Timestamp, UpstreamId};
use http::{Request, StatusCode};
use routing::Board;
use routing::decision::Moment;
use serde_json::Value;
use store::{KeyRing, NewKey, Origin, StoreOptions};
use tower::ServiceExt as _;

use super::*;

const TOKEN: &str = "tg-admin-planted";
const MASTER: &str = "sk-master-planted";
const KEY: &str = "sk-tg-planted";
const BOUND: &str = "sk-tg-bound";
const EXPIRED: &str = "sk-tg-expired";

struct Bench {
    router: Router,
    accounts: Arc<Accounts>,
    alice: domain::UserId,
    _dir: tempfile::TempDir,
}

async fn bench(policy: Policy) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let ring = KeyRing::parse(KeyRing::generate().unwrap().expose()).unwrap();
    let url = format!("sqlite://{}/t.db", dir.path().display());
    let store = Store::open(&StoreOptions {
        url,
        ring,
        max_connections: 0,
        migrate: true,
    })
    .await
    .unwrap();
    let decl = UserDecl {
        name: "alice".to_owned(),
        opening_credit: Some("10.50".parse().unwrap()),
        policy: Some(policy),
    };
    let user = store.users().add(&decl, Origin::Cli).await.unwrap();
    for (name, key, addresses, expires) in [
        ("k", KEY, vec![], None),
        ("b", BOUND, vec!["10.0.0.0/8".parse().unwrap()], None),
        ("e", EXPIRED, vec![], Some("2020-01-01".to_owned())),
    ] {
        let terms = KeyTerms {
            addresses,
            expires,
            models: vec!["demo".into()],
            ..KeyTerms::default()
        };
        let new = NewKey {
            name: name.to_owned(),
            user: "alice".to_owned(),
            key: Some(Secret::new(key)),
            terms,
        };
        store.keys().add(new, Origin::Cli).await.unwrap();
    }
    let accounts = Arc::new(Accounts::new());
    accounts.set_balance(user.id, "10.50".parse().unwrap());
    let mut resources = store.resources(domain::declaration::Defaults::default()).await.unwrap();
    let decl = serde_json::from_str(r#"{"name": "demo", "provider": "demo"}"#).unwrap();
    resources.upstreams.push(UpstreamRow {
        id: UpstreamId(1),
        origin: domain::snapshot::Origin::Operator,
        decl,
        credentials: Vec::new(),
        forced: None,
    });
    let snapshot = Arc::new(Snapshot::build(resources));
    let current = Current {
        checkup: Arc::new(|of| Box::pin(async move { Err(format!("there is no upstream `{}`", of.upstream)) })),
        snapshot: Arc::new(move || Arc::clone(&snapshot)),
        standing: Arc::new(|| (Vec::new(), Vec::new())),
        decide: Arc::new(|route, asked| {
            let mut decision = routing::dry_run(route, asked, &Board::new(), Timestamp::from_secs(1), 1);
            decision.excluded.append(&mut decision.order);
            for excluded in &mut decision.excluded {
                excluded.reason = Some("breaker_open".to_owned());
                excluded.until = Some(Moment(Timestamp::from_secs(1_798_761_600)));
            }
            decision
        }),
    };
    let router = router(AdminOptions {
        store,
        accounts: Arc::clone(&accounts),
        current,
        logins: Logins {
            begin: Arc::new(|asked| Box::pin(async move { Err(LoginFailure::Refused(format!("no {}", asked.name))) })),
            complete: Arc::new(|_| Box::pin(async { Err(LoginFailure::Refused("nothing began".to_owned())) })),
        },
        admin_token: Some(Secret::new(TOKEN)),
        master_key: Some(Secret::new(MASTER)),
    });
    Bench {
        router,
        accounts,
        alice: user.id,
        _dir: dir,
    }
}

impl Bench {
    async fn send(&self, request: http::request::Builder) -> (StatusCode, String) {
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        let (status, body) = self
            .send(Request::get(path).header("authorization", format!("Bearer {token}")))
            .await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[tokio::test]
async fn a_client_is_known_by_its_key_wherever_it_is() {
    let bench = bench(Policy::Hard).await;
    for request in [
        Request::get("/api/me/balance").header("authorization", format!("Bearer {KEY}")),
        Request::get("/api/me/balance").header("x-api-key", KEY),
        Request::get("/api/me/balance").header("api-key", KEY),
        Request::get("/api/me/balance").header("x-goog-api-key", KEY),
        Request::get(format!("/api/me/balance?key={KEY}")),
    ] {
        assert_eq!(bench.send(request).await.0, StatusCode::OK);
    }
    for token in ["", "sk-tg-other", EXPIRED, TOKEN, BOUND] {
        let (status, body) = bench.get("/api/me/balance", token).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (StatusCode::UNAUTHORIZED, &"unauthenticated".into()),
            "{token}"
        );
        assert!(token.is_empty() || !body.to_string().contains(token));
    }
}

#[tokio::test]
async fn a_key_bound_to_addresses_is_refused_from_others() {
    let bench = bench(Policy::Hard).await;
    for (address, expected) in [("10.1.2.3", StatusCode::OK), ("192.0.2.1", StatusCode::UNAUTHORIZED)] {
        let address: std::net::IpAddr = address.parse().unwrap();
        let request = Request::get("/api/me/balance")
            .header("x-api-key", BOUND)
            .extension(address);
        assert_eq!(bench.send(request).await.0, expected, "{address}");
    }
}

#[tokio::test]
async fn the_balance_counts_what_is_held_and_pending() {
    let bench = bench(Policy::Hard).await;
    let user = bench.alice;
    bench.accounts.add_backlog(user, Money::from_dollars(1));
    let (_, body) = bench.get("/api/me/balance", KEY).await;
    assert_eq!(
        (&body["balance"], &body["pending"], &body["available"]),
        (&"10.50".into(), &"1.00".into(), &"9.50".into())
    );
    assert_eq!(
        (&body["user"], &body["policy"], &body["currency"]),
        (&"alice".into(), &"hard".into(), &"USD".into())
    );
}

#[tokio::test]
async fn one_api_clients_find_the_limit_and_what_was_spent() {
    let bench = bench(Policy::Hard).await;
    bench.accounts.add_backlog(bench.alice, "0.25".parse().unwrap());
    for prefix in ["/v1", "", "/api/v1", "/api/proxy/v1", "/openai/v1"] {
        let (_, subscription) = bench
            .get(&format!("{prefix}/dashboard/billing/subscription"), KEY)
            .await;
        assert_eq!(
            (&subscription["object"], subscription["hard_limit_usd"].as_f64()),
            (&"billing_subscription".into(), Some(10.5))
        );
        let (_, usage) = bench.get(&format!("{prefix}/dashboard/billing/usage"), KEY).await;
        // Cents: what is left is 10.50 - 25 / 100.
        assert_eq!(usage["total_usage"].as_f64(), Some(25.0));
    }
    let (_, subscription) = bench.get("/v1/dashboard/billing/subscription", MASTER).await;
    assert_eq!(subscription["hard_limit_usd"].as_f64(), Some(100_000_000.0));
}

#[tokio::test]
async fn usage_takes_dates() {
    let bench = bench(Policy::Soft).await;
    let (status, body) = bench.get("/api/me/usage?from=2026-01-01&to=2026-01-31", KEY).await;
    assert_eq!(
        (status, &body["from"], &body["lifetime"]["calls"]),
        (StatusCode::OK, &"2026-01-01".into(), &0.into())
    );
    for query in [
        "from=yesterday",
        "from=2026-02-01&to=2026-01-01",
        "from=2020-01-01&to=2026-01-01",
    ] {
        assert_eq!(
            bench.get(&format!("/api/me/usage?{query}"), KEY).await.0,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
}

#[tokio::test]
async fn models_are_those_of_the_key() {
    let bench = bench(Policy::Soft).await;
    let (_, body) = bench.get("/api/me/models", KEY).await;
    assert_eq!(body["models"][0]["id"], "demo");
    assert_eq!(body["models"][0]["price_per_million"]["input"], "0.00");
}

#[tokio::test]
async fn views_of_the_operator_take_the_admin_token_only() {
    let bench = bench(Policy::Soft).await;
    for path in [
        "/api/stats",
        "/api/accounts",
        "/api/requests?limit=5",
        "/api/explain?model=demo",
    ] {
        let (status, body) = bench.get(path, TOKEN).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert!(!body.to_string().contains("planted"), "{body}");
        for token in [KEY, MASTER, "tg-admin-plante", ""] {
            assert_eq!(
                bench.get(path, token).await.0,
                StatusCode::UNAUTHORIZED,
                "{path} {token}"
            );
        }
    }
    assert_eq!(
        bench.get("/api/accounts", TOKEN).await.1["accounts"][0]["upstream"],
        "demo"
    );
    assert_eq!(bench.get("/api/stats", TOKEN).await.1["keys"], 3);
}

#[tokio::test]
async fn an_explanation_is_of_this_moment() {
    let bench = bench(Policy::Soft).await;
    let (status, body) = bench.get("/api/explain?model=demo&dialect=gemini", TOKEN).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let excluded = &body["excluded"][0];
    assert_eq!(
        (
            &body["surface"],
            &excluded["upstream"],
            &excluded["reason"],
            &excluded["until"]
        ),
        (
            &"chat.gemini".into(),
            &"demo".into(),
            &"breaker_open".into(),
            &"2027-01-01T00:00:00.000Z".into()
        ),
        "{body}"
    );
    for (query, expected) in [
        ("model=nobody", StatusCode::NOT_FOUND),
        ("model=demo&operation=sing", StatusCode::BAD_REQUEST),
        ("model=demo&dialect=latin", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let request = Request::get(format!("/api/explain?{query}")).header("authorization", format!("Bearer {TOKEN}"));
        assert_eq!(bench.send(request).await.0, expected, "{query}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let bench = bench(Policy::Soft).await;
    let (status, body) = bench.get("/api/nothing", TOKEN).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_FOUND, &"not_found".into())
    );
    for (path, token, param) in [
        ("/api/requests?limit=-1", TOKEN, Some("limit")),
        ("/api/requests?limit=1&limit=2", TOKEN, Some("limit")),
        ("/api/requests/%ff", TOKEN, None),
        ("/api/explain?model=demo&tokens=-1", TOKEN, Some("tokens")),
        ("/api/explain?tokens=1", TOKEN, Some("model")),
        ("/api/me/usage?from=2026-01-01&from=2026-01-02", KEY, Some("from")),
        ("/api/me/usage?to=soon", KEY, Some("to")),
    ] {
        let (status, body) = bench.get(path, token).await;
        assert_eq!(
            (status, &body["error"]["code"], body["error"]["param"].as_str()),
            (StatusCode::BAD_REQUEST, &"malformed".into(), param),
            "{path}: {body}"
        );
    }
    let changes = [
        (Request::post("/api/admin/accounts/begin"), StatusCode::BAD_REQUEST),
        (Request::post("/api/admin/accounts/complete"), StatusCode::BAD_REQUEST),
        (Request::delete("/api/admin/accounts/%ff/a"), StatusCode::BAD_REQUEST),
        (Request::post("/api/admin/upstreams/%ff/test"), StatusCode::BAD_REQUEST),
        (
            Request::post("/api/admin/upstreams/x/test?model=a&model=b"),
            StatusCode::BAD_REQUEST,
        ),
        (Request::post("/api/admin/upstreams/x/test"), StatusCode::NOT_FOUND),
    ];
    for (request, expected) in changes {
        let (status, body) = bench
            .send(request.header("authorization", format!("Bearer {TOKEN}")))
            .await;
        let body: Value = serde_json::from_str(&body).expect("a refusal in JSON");
        assert_eq!(status, expected, "{body}");
        assert!(body["error"]["message"].is_string(), "{body}");
    }
}

/// Who is nobody gets one answer at all paths, so that none tells more than another.
#[tokio::test]
async fn paths_are_not_told_apart_by_nobody() {
    let bench = bench(Policy::Soft).await;
    let answer = async |method: &str, path: &str, token: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {token}"));
        let response = bench
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let allow = response
            .headers()
            .get("allow")
            .map(|allow| allow.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, allow, String::from_utf8(body.to_vec()).unwrap())
    };
    for (like, paths) in [
        (
            "/api/stats",
            [
                "/api/nothing",
                "/api/requests",
                "/api/admin/accounts/a/b",
                "/api/admin/accounts/begin",
            ],
        ),
        (
            "/api/me/usage",
            ["/api/me/nothing", "/api/me/balance", "/api/me/models", "/api/me/"],
        ),
    ] {
        for token in ["", "sk-tg-other"] {
            let expected = answer("GET", like, token).await;
            assert_eq!(expected.0, 401);
            for (path, method) in paths
                .iter()
                .flat_map(|path| ["GET", "POST", "PUT", "DELETE"].map(|method| (path, method)))
            {
                assert_eq!(answer(method, path, token).await, expected, "{method} {path}");
            }
        }
    }
    for token in [KEY, TOKEN] {
        let (status, allow, body) = answer("POST", "/api/requests", token).await;
        assert_eq!((status, allow.as_deref()), (405, Some("GET,HEAD")), "{body}");
        assert!(
            body.contains("send one of these: GET, HEAD") && body.contains("method_not_allowed"),
            "{body}"
        );
        assert_eq!(answer("POST", "/api/nothing", token).await.0, 404);
    }
    // Outside there is nothing to hide.
    assert_eq!(answer("GET", "/nothing", "").await.0, 404);
    let (status, _, body) = answer("DELETE", "/api/admin/accounts/a/zz", TOKEN).await;
    assert_eq!(status, 404);
    assert!(
        body.contains("there is no account `a/zz`; `tollgate account list`"),
        "{body}"
    );
}
