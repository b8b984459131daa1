//! The request as it leaves: the client's own, with what belongs to this hop replaced.
//!
//! Everything that is not named here is forwarded: `anthropic-beta`, `anthropic-version`, tracing headers, whatever a
//! provider invents tomorrow. Removed are headers of the connection, the client's secrets, its cookies (they are for
//! us, not for the provider), what proxies said about the client, and the account selectors of `OpenAI`: with our
//! credential a foreign organisation would be answered with 401, and one caller could get a credential benched.

use bytes::Bytes;
use domain::Surface;
use domain::snapshot::{Credential, Upstream};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Full;

use super::auth::{self, Readied, Unsigned};
use crate::headers;

/// Headers of the connection, never forwarded in either direction (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers of a request that end here.
const NOT_FORWARDED: [&str; 22] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "host",
    "content-length",
    "accept-encoding",
    "trailer",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "origin",
    "referer",
];

/// Headers of an answer that end here: the provider's cookies, what it tells of the operator's account and limits, and
/// what describes its connection.
const NOT_RELAYED: [&str; 9] = [
    "set-cookie",
    "content-length",
    "trailer",
    "alt-svc",
    "strict-transport-security",
    "openai-organization",
    "openai-project",
    "x-request-id",
    "anthropic-organization-id",
];

/// What a request needs besides the client's headers.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) credential: &'a Credential,
    pub(crate) method: Method,
    /// What the credential needed beforehand.
    pub(crate) readied: Readied,
    /// Below the base URL, beginning with `/`; may have a query of the provider's own.
    pub(crate) path: &'a str,
    /// The client's query without its key.
    pub(crate) query: Option<&'a str>,
    pub(crate) client_headers: &'a HeaderMap,
    pub(crate) body: Bytes,
}

impl Outgoing<'_> {
    /// The request; `Err` says what cannot be sent.
    pub(crate) fn build(self) -> Result<Request<Full<Bytes>>, String> {
        let mut url = String::with_capacity(self.upstream.base_url.len() + self.path.len() + 16);
        url.push_str(&self.upstream.base_url);
        url.push_str(self.path);
        if let Some(query) = self.query.filter(|query| !query.is_empty()) {
            url.push(if self.path.contains('?') { '&' } else { '?' });
            url.push_str(query);
        }
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("the URL cannot be built: {error}"))?;
        let mut headers = head(self.upstream, self.client_headers)?;
        let unsigned = Unsigned {
            method: &self.method,
            uri: &uri,
            body: &self.body,
        };
        auth::present(self.upstream, self.credential, self.readied, &unsigned, &mut headers)?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn head(upstream: &Upstream, client: &HeaderMap) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    let connection = client.get_all(header::CONNECTION);
    for (name, value) in client {
        let named = is_named(&connection, name);
        let in_body = upstream.provider.body_headers.contains_key(name.as_str());
        if !named && !in_body && !HOP_BY_HOP.contains(name) && !NOT_FORWARDED.contains(&name.as_str()) && !is_ours(name)
        {
            headers.append(name, value.clone());
        }
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &upstream.provider.default_headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not a header name"))?;
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
        }
    }
    for (name, value) in &upstream.headers {
        headers.insert(name, value.clone());
    }
    Ok(headers)
}

/// Headers of the client that this provider wants in the body, with what is added there anyway; `None`: there are none.
pub(crate) fn in_body(upstream: &Upstream, client: &HeaderMap, served: Surface) -> Option<Vec<(String, String)>> {
    let told = upstream.provider.body_headers.iter().filter_map(|(name, header)| {
        let written = client.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        let values = header.values(written);
        (!values.is_empty()).then(|| (header.member.clone(), serde_json::json!(values).to_string()))
    });
    let mut told: Vec<_> = told.collect();
    if told.is_empty() {
        return None;
    }
    told.extend_from_slice(upstream.params_of(served));
    Some(told)
}

/// The lists of headers that are for the connection only: one list may be told in several headers.
type Named<'a> = header::GetAll<'a, HeaderValue>;

fn is_named(connection: &Named<'_>, name: &HeaderName) -> bool {
    let mut lists = connection.iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| list.split(',').any(|item| name == item.trim()))
}

fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-tollgate-")
}

/// Takes from an upstream's answer what goes on to the client.
pub(crate) fn relayed_headers(answer: &HeaderMap) -> HeaderMap {
    let mut relayed = HeaderMap::with_capacity(answer.len() + 6);
    let connection = answer.get_all(header::CONNECTION);
    for (name, value) in answer {
        let text = name.as_str();
        // Who may read our answers from a web page is for `server.cors_origins` to say.
        let ours = text.starts_with("x-ratelimit-")
            || text.starts_with("anthropic-ratelimit-")
            || text.starts_with("access-control-");
        if !ours
            && !is_named(&connection, name)
            && !HOP_BY_HOP.contains(name)
            && !NOT_RELAYED.contains(&text)
            && !is_ours(name)
        {
            relayed.append(name, value.clone());
        }
    }
    if let Some(id) = answer.get(&headers::REQUEST_ID) {
        relayed.insert(&headers::UPSTREAM_REQUEST_ID, id.clone());
    }
    relayed
}

/// A query without the client's key.
pub(crate) fn query_without_key(query: &str) -> String {
    query
        .split('&')
        .filter(|pair| !pair.starts_with("key=") && *pair != "key")
        .collect::<Vec<_>>()
        .join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::snapshot::{CredentialRow, Origin, Resources, Snapshot, UpstreamRow};
    use domain::{CredentialId, Secret, UpstreamId};

    fn request(headers: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
        let decl = serde_json::json!({"name": "a", "provider": "anthropic", "headers": {"x-team": "blue"}});
        let row = UpstreamRow {
            id: UpstreamId(1),
            origin: Origin::Operator,
            decl: serde_json::from_value(decl).unwrap(),
            credentials: vec![CredentialRow {
                id: CredentialId(1),
                name: "k".to_owned(),
                secret: Secret::new("sk-real"),
                weight: 1,
                terms: domain::declaration::CredentialTerms::default(),
                state: domain::snapshot::CredentialState::default(),
                account: None,
            }],
            forced: None,
        };
        let snapshot = Snapshot::build(Resources {
            upstreams: vec![row],
            ..Resources::default()
        });
        let upstream = &snapshot.upstreams[0];
        let client_headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let outgoing = Outgoing {
            upstream,
            credential: &upstream.credentials[0],
            readied: Readied::Plain,
            method: Method::POST,
            path: "/messages",
            query: Some("beta=true"),
            client_headers: &client_headers,
            body: Bytes::from_static(b"{}"),
        };
        outgoing.build().unwrap()
    }

    #[test]
    fn secrets_and_hop_headers_are_replaced_and_the_rest_goes_on() {
        let request = request(&[
            ("x-api-key", "sk-tg-client"),
            ("authorization", "Bearer sk-tg-client"),
            ("cookie", "session=1"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("anthropic-beta", "b1"),
            ("anthropic-version", "2024-01-01"),
            ("x-unknown", "kept"),
            ("openai-organization", "org-foreign"),
            ("accept-encoding", "gzip"),
            ("x-tollgate-debug", "1"),
        ]);
        let headers = request.headers();
        assert_eq!(request.uri(), "https://api.anthropic.com/v1/messages?beta=true");
        assert_eq!(headers["x-api-key"], "sk-real");
        assert_eq!(
            headers["anthropic-version"], "2024-01-01",
            "the client's own goes before the default"
        );
        assert_eq!(headers["accept-encoding"], "identity");
        for (name, value) in [("anthropic-beta", "b1"), ("x-unknown", "kept"), ("x-team", "blue")] {
            assert_eq!(headers[name], value);
        }
        for gone in [
            "authorization",
            "cookie",
            "connection",
            "x-hop",
            "te",
            "openai-organization",
            "x-tollgate-debug",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert!(headers["x-api-key"].is_sensitive());
    }

    #[test]
    fn what_an_upstream_says_of_connections_and_origins_ends_here() {
        let answer: HeaderMap = [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("x-ratelimit-remaining-requests", "1"),
            ("x-request-id", "req_1"),
            ("x-unknown", "kept"),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
        let relayed = relayed_headers(&answer);
        let names: Vec<&str> = relayed.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-unknown", "x-tollgate-upstream-request-id"]);
    }

    #[test]
    fn an_accounts_headers_join_the_clients_and_nothing_else_is_said_in_its_name() {
        use domain::account::{AccountMode, AccountState};
        let row = UpstreamRow {
            id: UpstreamId(1),
            origin: Origin::Operator,
            decl: serde_json::from_str(r#"{"name": "a", "provider": "anthropic"}"#).unwrap(),
            credentials: vec![CredentialRow {
                id: CredentialId(1),
                name: "me".to_owned(),
                secret: Secret::new("at-1"),
                weight: 1,
                terms: domain::declaration::CredentialTerms::default(),
                state: domain::snapshot::CredentialState::default(),
                account: Some(AccountState {
                    mode: "max".to_owned(),
                    generation: 1,
                    issued_at: domain::Timestamp(0),
                    expires_at: domain::Timestamp(0),
                    needs_login: None,
                }),
            }],
            forced: None,
        };
        let snapshot = Snapshot::build(Resources {
            upstreams: vec![row],
            account_modes: AccountMode::all(&[]).0,
            ..Resources::default()
        });
        let sent = |beta: Option<&'static str>| {
            let mut client_headers = HeaderMap::new();
            client_headers.insert("user-agent", HeaderValue::from_static("my-client/1"));
            if let Some(beta) = beta {
                client_headers.insert("anthropic-beta", HeaderValue::from_static(beta));
            }
            let upstream = &snapshot.upstreams[0];
            let outgoing = Outgoing {
                upstream,
                credential: &upstream.credentials[0],
                readied: Readied::Token(HeaderValue::from_static("Bearer at-2")),
                method: Method::POST,
                path: "/messages",
                query: None,
                client_headers: &client_headers,
                body: Bytes::new(),
            };
            outgoing.build().unwrap().headers().clone()
        };
        for (client, beta) in [
            (None, "oauth-2025-04-20"),
            (Some("b1, b2"), "b1, b2,oauth-2025-04-20"),
            (Some("b1,oauth-2025-04-20"), "b1,oauth-2025-04-20"),
        ] {
            let headers = sent(client);
            assert_eq!(headers["anthropic-beta"], beta);
            assert_eq!(
                (&headers["authorization"], &headers["user-agent"]),
                (&"Bearer at-2".parse().unwrap(), &"my-client/1".parse().unwrap())
            );
            assert!(!headers.contains_key("x-api-key") && !headers.contains_key("x-app"));
            assert_eq!(headers.len(), 5, "{headers:?}");
        }
    }

    #[test]
    fn a_default_header_is_filled_in() {
        assert_eq!(request(&[]).headers()["anthropic-version"], "2023-06-01");
    }

    #[test]
    fn the_key_leaves_the_query() {
        assert_eq!(query_without_key("alt=sse&key=sk-tg-1&x=1"), "alt=sse&x=1");
        assert_eq!(query_without_key("key=sk"), "");
    }
}
