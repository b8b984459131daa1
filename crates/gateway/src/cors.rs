//! Browsers from other origins: `server.cors_origins`, for `/v1/*` as for the rest.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::body::Body;

/// What a request's origin may do.
#[derive(Debug)]
pub(crate) struct Cors {
    /// The origin to allow; `None`: the request has none, or one that is not listed.
    allow: Option<HeaderValue>,
    /// Whether it is a preflight.
    is_preflight: bool,
    /// The headers that a preflight asks for.
    requested: Option<HeaderValue>,
}

impl Cors {
    /// Reads a request's head.
    pub(crate) fn read(head: &Parts, origins: &[HeaderValue]) -> Self {
        let Some(origin) = head.headers.get(ORIGIN) else {
            return Self {
                allow: None,
                is_preflight: false,
                requested: None,
            };
        };
        let listed = origins.iter().find(|listed| *listed == "*" || *listed == origin);
        let is_preflight = head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Self {
            allow: listed.map(|listed| if listed == "*" { listed.clone() } else { origin.clone() }),
            is_preflight,
            requested: head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
        }
    }

    /// The answer to a preflight; `None` if the request is not one.
    pub(crate) fn preflight(&self) -> Option<Response<Body>> {
        if !self.is_preflight {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allow.is_some() {
            let headers = response.headers_mut();
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
            );
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
            if let Some(requested) = &self.requested {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
            }
        }
        self.decorate(response.headers_mut());
        Some(response)
    }

    /// Adds what a browser needs to read the answer.
    pub(crate) fn decorate(&self, headers: &mut HeaderMap) {
        if let Some(origin) = &self.allow {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(origin: &'static str, origins: &[&'static str]) -> Cors {
        let request = Request::options("/v1/models")
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let origins: Vec<_> = origins.iter().map(|origin| HeaderValue::from_static(origin)).collect();
        Cors::read(&head, &origins)
    }

    #[test]
    fn listed_origins_are_allowed_and_others_not() {
        let allowed = read("https://a.example", &["https://a.example"]).preflight().unwrap();
        assert_eq!(allowed.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(allowed.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "authorization");
        let refused = read("https://b.example", &["https://a.example"]).preflight().unwrap();
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(
            read("https://b.example", &["*"]).preflight().unwrap().headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
            "*"
        );
    }
}
