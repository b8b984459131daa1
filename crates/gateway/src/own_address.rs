//! The address at which a client reaches us, as far as its request says.
//!
//! A few answers name addresses at which the client is to go on: Google's uploads, Anthropic's results of batches. Told as
//! the provider's they would lead past us, and Anthropic's SDK would send our key there. The scheme is what a proxy in front
//! says; whoever lies about it lies to itself only.

use http::header::HOST;
use http::request::Parts;

/// Scheme and host, without a slash at the end.
pub(crate) fn of(head: &Parts) -> String {
    let said = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let is_encrypted = said("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let host = said("x-forwarded-host").or(authority).or_else(|| said(HOST.as_str()));
    let scheme = if is_encrypted { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_was_asked() {
        let own = |headers: &[(&str, &str)]| {
            let mut request = http::Request::builder().uri("/upload/v1beta/files");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            of(&request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(own(&[("host", "gate:8080")]), "http://gate:8080");
        let behind = [
            ("host", "inner"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "ai.example"),
        ];
        assert_eq!(own(&behind), "https://ai.example");
    }
}
