//! Checks of providers and upstreams: where calls go and by which secrets.

use domain::cloud::ServiceAccount;
use domain::declaration::{CredentialDecl, Strategy, TimeoutsDecl, UpstreamDecl};
use domain::provider::AuthScheme;
use domain::{Dialect, Provider, catalog};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Uri};

use super::super::Listed;
use super::super::mistake::{Mistake, Mistakes};
use super::super::suggest::hint;
use super::super::tree::Node;
use super::{Names, check_name, complain};

/// Fields of a request that Tollgate must read as the client wrote them.
const PARAMS_RESERVED: [&str; 2] = ["model", "stream"];

/// Headers that cannot be set for an upstream: they frame the message or belong to its connection.
const HEADERS_RESERVED: [&str; 12] = [
    "host",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "accept-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Checks `providers`.
pub fn providers(listed: &[Listed<'_, Provider>], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    for provider in listed {
        let decl = &provider.decl;
        check_name(provider, &decl.name, &mut names, mistakes);
        if !decl.base_url.is_empty()
            && let Some(problem) = base_url(&decl.base_url)
        {
            complain(provider, "base_url", problem, mistakes);
        }
        if decl.builtin {
            complain(
                provider,
                "builtin",
                "is only for the built-in demonstration; remove the key",
                mistakes,
            );
        }
        if decl.surfaces.is_empty() {
            let message = "offers nothing; add `surfaces`, such as {chat: {openai_chat: /chat/completions}}";
            mistakes.push(Mistake::of(provider.node.at.clone(), provider.path.as_str(), message));
        }
        for path in decl.surfaces.values().filter(|path| !path.starts_with('/')) {
            complain(
                provider,
                "surfaces",
                format!("the path `{path}` must begin with /"),
                mistakes,
            );
        }
    }
}

/// Checks `upstreams`; `own` are the presets of the file.
pub fn upstreams(listed: &[Listed<'_, UpstreamDecl>], own: &[&Provider], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    for upstream in listed {
        let decl = &upstream.decl;
        check_name(upstream, &decl.name, &mut names, mistakes);
        if decl.name.contains('/') {
            complain(
                upstream,
                "name",
                "must not contain /, which separates upstream and model in a name",
                mistakes,
            );
        }
        if decl.weight == 0 {
            complain(
                upstream,
                "weight",
                "is 0, so that it would never be chosen; at least 1, or remove the upstream",
                mistakes,
            );
        }
        if decl.strategy == Some(Strategy::Cheapest) {
            let message = "is for the targets of models; all credentials of an upstream cost the same: use round_robin";
            complain(upstream, "strategy", message, mistakes);
        }
        check_address(upstream, own, mistakes);
        let provider = provider_of(decl, own);
        if let Some(problem) = provider.and_then(|provider| provider.variables_problem(&decl.variables)) {
            complain(upstream, "variables", problem, mistakes);
        }
        let auth = provider.map_or(AuthScheme::Bearer, |provider| provider.auth);
        check_egress(upstream, auth, mistakes);
        check_timeouts(upstream, &decl.timeouts, mistakes);
        check_credentials(upstream, auth, mistakes);
    }
}

/// The provider that an upstream names, or that stands for the dialect that it names.
fn provider_of<'a>(decl: &UpstreamDecl, own: &[&'a Provider]) -> Option<&'a Provider> {
    let name = decl.provider.as_deref();
    let name = name.or((decl.dialect == Some(Dialect::BedrockConverse)).then_some("bedrock"))?;
    let own = own
        .iter()
        .copied()
        .find(|provider| provider.name.eq_ignore_ascii_case(name));
    own.or_else(|| catalog::provider(name).map(|provider| &**provider))
}

fn check_address(upstream: &Listed<'_, UpstreamDecl>, own: &[&Provider], mistakes: &mut Mistakes) {
    let decl = &upstream.decl;
    if let Some(url) = &decl.base_url
        && let Some(problem) = base_url(url)
    {
        complain(upstream, "base_url", problem, mistakes);
    }
    let mut without_address = decl.base_url.is_none();
    if let Some(name) = &decl.provider {
        let Some(provider) = provider_of(decl, own) else {
            let own = own.iter().map(|provider| provider.name.as_str());
            let known: Vec<&str> = own
                .chain(catalog::providers().iter().map(|provider| provider.name.as_str()))
                .collect();
            complain(
                upstream,
                "provider",
                format!("there is no provider `{name}`{}", hint(name, &known)),
                mistakes,
            );
            return;
        };
        without_address &= provider.base_url.is_empty() && !provider.builtin;
    } else if decl.dialect.is_none() {
        let message = "names neither a provider nor a dialect; add `provider: openai`, or `dialect` and `base_url`";
        mistakes.push(Mistake::of(upstream.node.at.clone(), upstream.path.as_str(), message));
        return;
    }
    if without_address {
        let message = "has no address; add `base_url`";
        mistakes.push(Mistake::of(upstream.node.at.clone(), upstream.path.as_str(), message));
    }
}

/// The headers in which a credential is presented.
const fn written_by(auth: AuthScheme) -> &'static [&'static str] {
    match auth {
        AuthScheme::Bearer | AuthScheme::Aws => &["authorization"],
        AuthScheme::XApiKey => &["x-api-key"],
        AuthScheme::ApiKey => &["api-key"],
        AuthScheme::XGoogApiKey => &["x-goog-api-key"],
        AuthScheme::Google => &["authorization", "x-goog-api-key"],
        AuthScheme::Azure => &["authorization", "api-key"],
        AuthScheme::None => &[],
    }
}

fn check_egress(upstream: &Listed<'_, UpstreamDecl>, auth: AuthScheme, mistakes: &mut Mistakes) {
    let decl = &upstream.decl;
    for (name, value) in &decl.headers {
        let header = upstream
            .node
            .get("headers")
            .map(|headers| headers.place_of(name))
            .unwrap_or_default();
        let path = format!("{}.headers.{name}", upstream.path);
        let is = |other: &&str| name.eq_ignore_ascii_case(other);
        if HEADERS_RESERVED.iter().any(is) {
            let message = "cannot be set here; it is written with each request";
            mistakes.push(Mistake::of(header, path, message));
        } else if written_by(auth).iter().any(is) && !decl.credentials.is_empty() {
            let message = "cannot be set here; it is written from `credentials`";
            mistakes.push(Mistake::of(header, path, message));
        } else if HeaderName::try_from(name.as_str()).is_err() {
            mistakes.push(Mistake::of(header, path, "is not the name of a header"));
        } else if HeaderValue::try_from(value.as_str()).is_err() {
            mistakes.push(Mistake::of(
                header,
                path,
                "has a value that cannot be sent; remove line breaks and the like",
            ));
        }
    }
    for name in PARAMS_RESERVED.iter().filter(|name| decl.params.contains_key(**name)) {
        complain(
            upstream,
            "params",
            format!("`{name}` cannot be set here; it is the client's"),
            mistakes,
        );
    }
    if let Some(proxy) = &decl.proxy
        && !["http", "socks5", "socks5h"].contains(&scheme(proxy).unwrap_or_default().as_str())
    {
        complain(
            upstream,
            "proxy",
            "is not the address of a proxy, such as http://host:port or socks5://host:port",
            mistakes,
        );
    }
    if let Some(ca) = &decl.ca
        && let Err(error) = std::fs::metadata(ca)
    {
        complain(upstream, "ca", format!("`{ca}` cannot be read: {error}"), mistakes);
    }
}

fn check_timeouts(upstream: &Listed<'_, UpstreamDecl>, timeouts: &TimeoutsDecl, mistakes: &mut Mistakes) {
    let given = [
        ("connect", timeouts.connect),
        ("first_byte", timeouts.first_byte),
        ("idle", timeouts.idle),
        ("total", timeouts.total),
        ("session", timeouts.session),
    ];
    for (key, _) in given
        .iter()
        .filter(|(_, period)| period.is_some_and(|period| period.0.is_zero()))
    {
        let at = upstream
            .node
            .get("timeouts")
            .map(|node| node.place_of(key))
            .unwrap_or_default();
        mistakes.push(Mistake::of(
            at,
            format!("{}.timeouts.{key}", upstream.path),
            "is zero; give it some time, or remove the key",
        ));
    }
}

fn check_credentials(upstream: &Listed<'_, UpstreamDecl>, auth: AuthScheme, mistakes: &mut Mistakes) {
    let mut names = Names::default();
    let nodes = upstream.node.get("credentials").map_or(&[][..], Node::elements);
    for (index, (decl, node)) in upstream.decl.credentials.iter().zip(nodes).enumerate() {
        let path = format!("{}.credentials[{index}]", upstream.path);
        check_name(
            &Listed {
                node,
                path: path.clone(),
                decl: (),
            },
            &decl.name,
            &mut names,
            mistakes,
        );
        check_credential(&Listed { node, path, decl: () }, decl, auth, mistakes);
    }
}

/// Checks credentials that are declared alone.
pub fn credentials(listed: &[Listed<'_, CredentialDecl>], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    for credential in listed {
        check_name(credential, &credential.decl.name, &mut names, mistakes);
        // For which upstream is not known here; a key file is told by its brace.
        let auth = if ServiceAccount::is_one(&credential.decl.key) {
            AuthScheme::Google
        } else {
            AuthScheme::Bearer
        };
        check_credential(credential, &credential.decl, auth, mistakes);
    }
}

fn check_credential<T>(credential: &Listed<'_, T>, decl: &CredentialDecl, auth: AuthScheme, mistakes: &mut Mistakes) {
    if decl.weight == 0 {
        complain(
            credential,
            "weight",
            "is 0, so that it would never be chosen; at least 1, or remove it",
            mistakes,
        );
    }
    for (key, is_zero) in [
        ("daily_limit", decl.daily_limit == Some(0)),
        ("rotate_after", decl.rotate_after == Some(0)),
    ] {
        if is_zero {
            complain(credential, key, "is 0; at least 1, or remove the key", mistakes);
        }
    }
    if let Some(problem) = auth.problem_of(&decl.key) {
        complain(credential, "key", problem, mistakes);
    }
}

/// What is wrong with the address of an API.
pub fn base_url(url: &str) -> Option<&'static str> {
    // What variables stand for is checked where they are given.
    let url = url.replace(['{', '}'], "");
    let Ok(uri) = url.parse::<Uri>() else {
        return Some("is not a URL such as https://api.example.com/v1");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some("must begin with https:// or http://");
    }
    let Some(authority) = uri.authority() else {
        return Some("has no host; write https://host/path");
    };
    if authority.as_str().contains('@') {
        return Some("has a user or a password in it; put the secret into `credentials`");
    }
    if authority.host().is_empty() {
        return Some("has no host; write https://host/path");
    }
    if has_bad_port(authority) {
        return Some("has a port that is none; ports go up to 65535");
    }
    uri.query()
        .is_some()
        .then_some("has a query; only scheme, host, port and path are used")
}

/// The library's parser lets any digits pass for a port, and then says that there is none.
fn has_bad_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let address = text.rsplit_once('@').map_or(text, |(_, address)| address);
    authority.port_u16().is_none() && address.len() != authority.host().len()
}

fn scheme(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    if has_bad_port(uri.authority()?) {
        return None;
    }
    uri.scheme_str().map(str::to_owned)
}
