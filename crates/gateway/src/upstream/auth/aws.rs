//! Amazon's signature, version 4:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//!
//! What is signed is the host, the time, the content type and the session token, besides method, path, query and body:
//! what a proxy on the way may add or change of other headers does not matter.

use aws_lc_rs::{digest, hmac};
use domain::Timestamp;
use domain::cloud::AwsKeys;
use domain::snapshot::Upstream;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};

use super::form::percent;
use super::{Unsigned, variable};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Where a signature holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl<'a> Scope<'a> {
    pub(super) fn of(upstream: &'a Upstream) -> Self {
        Self {
            region: variable(upstream, "region"),
            service: variable(upstream, "service"),
        }
    }
}

/// Adds the headers of a signature made at `now`.
pub(super) fn sign(
    keys: &AwsKeys<'_>,
    scope: &Scope<'_>,
    request: &Unsigned<'_>,
    headers: &mut HeaderMap,
    now: Timestamp,
) -> Result<(), &'static str> {
    const UNSENDABLE: &str = "has characters that a header cannot carry";
    let time = written(now);
    // What a client says in Amazon's words would be signed with it, or stand against what is signed.
    let said: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-"))
        .cloned()
        .collect();
    for name in said {
        headers.remove(name);
    }
    headers.insert(HOST, host(request).ok_or("cannot sign for an address without a host")?);
    headers.insert(
        HeaderName::from_static("x-amz-date"),
        HeaderValue::try_from(time.as_str()).map_err(|_| UNSENDABLE)?,
    );
    if let Some(token) = keys.session_token {
        let mut value = HeaderValue::try_from(token.expose()).map_err(|_| UNSENDABLE)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-amz-security-token"), value);
    }
    let day = time.get(..8).unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let (canonical, signed) = canonical(request, headers);
    let text = format!(
        "{ALGORITHM}\n{time}\n{place}\n{}",
        hex(sha256(canonical.as_bytes()).as_ref())
    );
    let signature = hex(hmac::sign(&key(keys, day, scope), text.as_bytes()).as_ref());
    let value = format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={signed}, Signature={signature}",
        keys.id
    );
    let mut value = HeaderValue::try_from(value).map_err(|_| UNSENDABLE)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// The request in the one form in which both sides write it, and the names of the headers in it.
fn canonical(request: &Unsigned<'_>, headers: &HeaderMap) -> (String, String) {
    let names = [
        CONTENT_TYPE,
        HOST,
        HeaderName::from_static("x-amz-date"),
        HeaderName::from_static("x-amz-security-token"),
    ];
    let given: Vec<_> = names
        .iter()
        .filter_map(|name| Some((name.as_str(), headers.get(name)?.to_str().ok()?.trim())))
        .collect();
    let signed = given.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut lines = String::new();
    for (name, value) in &given {
        lines.extend([name, ":", value, "\n"]);
    }
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{signed}\n{}",
        request.method,
        // What is encoded in the path already is encoded again; only S3 does without.
        percent(request.uri.path().as_bytes(), b"-._~/"),
        query(request.uri.query().unwrap_or_default()),
        hex(sha256(request.body).as_ref()),
    );
    (canonical, signed)
}

/// Sorted, each with its `=`.
fn query(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// As it stands in the request: without the port that its scheme has anyway.
fn host(request: &Unsigned<'_>) -> Option<HeaderValue> {
    let authority = request.uri.authority()?;
    let default = if request.uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let text = if authority.port_u16() == Some(default) {
        authority.host()
    } else {
        authority.as_str()
    };
    HeaderValue::try_from(text).ok()
}

/// The key of one day, region and service.
fn key(keys: &AwsKeys<'_>, day: &str, scope: &Scope<'_>) -> hmac::Key {
    let first = format!("AWS4{}", keys.secret.expose());
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    for part in [day, scope.region, scope.service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    key
}

/// `20150830T123600Z`
fn written(now: Timestamp) -> String {
    let time = jiff::Timestamp::from_second(now.unix_secs()).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::Secret;
    use http::{Method, Uri};

    use super::*;

    /// Signs as Amazon's published test suite (`aws-sig-v4-test-suite`) has it: its keys, its time, its service.
    fn signature(
        method: &Method,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &str,
        token: &str,
    ) -> String {
        let secret = Secret::new(format!("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY{token}"));
        let uri: Uri = format!("https://example.amazonaws.com{path}").parse().unwrap();
        let mut sent: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let scope = Scope {
            region: "us-east-1",
            service: "service",
        };
        let request = Unsigned {
            method,
            uri: &uri,
            body: body.as_bytes(),
        };
        let keys = AwsKeys::read(&secret).unwrap().unwrap();
        // 2015-08-30T12:36:00Z
        sign(&keys, &scope, &request, &mut sent, Timestamp::from_secs(1_440_938_160)).unwrap();
        assert_eq!(sent["x-amz-date"], "20150830T123600Z");
        assert!(sent[AUTHORIZATION].is_sensitive());
        sent[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn signs_as_amazons_test_suite_does() {
        let expected = |signed: &str, signature: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, Signature={signature}"
            )
        };
        for (name, method, path, signature_) in [
            (
                "get-vanilla",
                Method::GET,
                "/",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                Method::POST,
                "/",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "get-vanilla-query-order-key-case",
                Method::GET,
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let found = signature(&method, path, &[], "", "");
            assert_eq!(found, expected("host;x-amz-date", signature_), "{name}");
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(
            signature(&Method::POST, "/", &form, "Param1=value1", ""),
            expected(
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
            ),
            "post-x-www-form-urlencoded"
        );
        let token = ":AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        assert_eq!(
            signature(&Method::POST, "/", &[], "", token),
            expected(
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
            ),
            "post-sts-header-before"
        );
    }

    #[test]
    fn a_clients_words_for_amazon_are_left_out() {
        let clients = [("x-amz-security-token", "theirs"), ("x-amz-content-sha256", "0")];
        assert_eq!(
            signature(&Method::GET, "/", &clients, "", ""),
            signature(&Method::GET, "/", &[], "", "")
        );
    }

    #[test]
    fn paths_are_encoded_twice() {
        let uri: Uri = "https://bedrock-runtime.eu-west-1.amazonaws.com:443/model/a%3A0/converse"
            .parse()
            .unwrap();
        let request = Unsigned {
            method: &Method::POST,
            uri: &uri,
            body: b"{}",
        };
        assert!(
            canonical(&request, &HeaderMap::new())
                .0
                .starts_with("POST\n/model/a%253A0/converse\n\n")
        );
        assert_eq!(host(&request).unwrap(), "bedrock-runtime.eu-west-1.amazonaws.com");
    }

    #[test]
    fn another_body_has_another_signature() {
        let of = |body| signature(&Method::POST, "/", &[], body, "");
        assert_ne!(of("{}"), of("{ }"));
    }
}
