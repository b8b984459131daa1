//! What a request asks: in its query, its path, its body.
//!
//! The framework reads all three, and refuses what it cannot read in plain text, of which a program can make nothing and which
//! repeats values that may be secrets. So handlers take these instead: the refusal is an [`ApiError`] that says what is wrong,
//! where, and the mend, and repeats no value.

use std::fmt::Display;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;

/// What the query says.
#[derive(Debug)]
pub(crate) struct InQuery<T>(pub(crate) T);

/// What the path says.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

/// What the body says, which is a JSON object.
#[derive(Debug)]
pub(crate) struct InBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = head.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        let read = serde_path_to_error::deserialize(pairs);
        read.map(Self)
            .map_err(|error| wrong("query", &error.path().to_string(), error.inner()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Path::<T>::from_request_parts(head, state).await;
        read.map(|Path(read)| Self(read)).map_err(|_| {
            ApiError::malformed("a name in the path is no text; write it in UTF-8, percent-encoded (`/` is `%2F`)")
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for InBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !says_json(request.headers()) {
            let message = "the body is not said to be JSON; send `content-type: application/json`";
            return Err(ApiError::malformed(message));
        }
        let body = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unread(&rejection))?;
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::malformed("the body is no JSON object; send one: `{…}`"));
        }
        let mut reader = serde_json::Deserializer::from_slice(&body);
        let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let inner = error.inner();
            if inner.is_data() {
                wrong("body", &error.path().to_string(), inner)
            } else {
                no_json(inner)
            }
        })?;
        reader.end().map_err(|error| no_json(&error))?;
        Ok(Self(read))
    }
}

/// A whole number in a query.
///
/// # Errors
/// In words that say what it takes.
pub(crate) fn whole<'de, D: Deserializer<'de>, T: From<u64>>(value: D) -> Result<T, D::Error> {
    let text = String::deserialize(value)?;
    let read = text.parse::<u64>();
    read.map(T::from)
        .map_err(|_| serde::de::Error::custom("takes a whole number of 0 or more"))
}

fn says_json(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = said.and_then(|said| said.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json")
}

fn unread(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::too_large("the body is too long; such requests have some hundred bytes");
    }
    ApiError::malformed("the body did not arrive whole; send it again")
}

fn no_json(error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    ApiError::malformed(format!("the body is no JSON: look at line {line}, column {column}"))
}

/// What serde says, in words for people and without the values that it may repeat.
fn wrong(place: &str, path: &str, error: &impl Display) -> ApiError {
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let parent = path.trim_matches('.');
    let quoted = said.split('`').nth(1).unwrap_or_default();
    let within = |name: &str| match parent.strip_suffix(name).unwrap_or(parent).trim_end_matches('.') {
        "" => name.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    let expected = || said.rsplit_once("expected ").map(|(_, expected)| expected);
    let (param, message) = if said.starts_with("missing field") {
        let param = within(quoted);
        let message = format!("`{param}` is missing in the {place}; add it");
        (param, message)
    } else if said.starts_with("unknown field") {
        let param = within(quoted);
        let known = expected().and_then(|known| known.strip_prefix("one of ").or(Some(known)));
        let message = format!(
            "`{}` in the {place} is not known; it takes {}",
            param.escape_debug(),
            known.unwrap_or_default()
        );
        (param, message)
    } else if said.starts_with("duplicate field") {
        let param = within(quoted);
        let message = format!("`{param}` is in the {place} more than once; say it once");
        (param, message)
    } else if let Some(expected) = expected() {
        let message = format!("`{parent}` in the {place} is of another type; it takes {expected}");
        (parent.to_owned(), message)
    } else {
        let message = format!("`{parent}` in the {place}: {said}");
        (parent.to_owned(), message)
    };
    ApiError::malformed(message).about(param)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read only to be refused")]
    struct Wanted {
        name: String,
        #[serde(default, deserialize_with = "whole")]
        count: u64,
        #[serde(default)]
        again: bool,
    }

    fn query(text: &str) -> (String, Option<String>) {
        let mut head = http::Request::get(format!("/x?{text}"))
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let read = at_once(InQuery::<Wanted>::from_request_parts(&mut head, &()));
        read.unwrap_err().told()
    }

    fn body(text: &str) -> (String, Option<String>) {
        let request = Request::post("/x")
            .header("content-type", "application/json; charset=utf-8")
            .body(axum::body::Body::from(text.to_owned()))
            .unwrap();
        let read = at_once(InBody::<Wanted>::from_request(request, &()));
        read.unwrap_err().told()
    }

    fn at_once<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_query_is_refused_with_what_is_wrong_and_where() {
        for (text, param, message) in [
            ("", "name", "`name` is missing in the query; add it"),
            (
                "name=a&count=-1",
                "count",
                "`count` in the query: takes a whole number of 0 or more",
            ),
            (
                "name=a&name=b",
                "name",
                "`name` is in the query more than once; say it once",
            ),
        ] {
            assert_eq!(query(text), (message.to_owned(), Some(param.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_body_is_refused_without_a_word_of_what_it_says() {
        for (text, param, message) in [
            ("{}", Some("name"), "`name` is missing in the body; add it"),
            (
                r#"{"name":1}"#,
                Some("name"),
                "`name` in the body is of another type; it takes a string",
            ),
            (
                r#"{"name":"a","again":"secret"}"#,
                Some("again"),
                "`again` in the body is of another type; it takes a boolean",
            ),
            (
                r#"{"nam":"a"}"#,
                Some("nam"),
                "`nam` in the body is not known; it takes `name`, `count`, `again`",
            ),
            (
                r#"{"name":"a","name":"b"}"#,
                Some("name"),
                "`name` is in the body more than once; say it once",
            ),
            (
                r#"{"name":"secret"#,
                None,
                "the body is no JSON: look at line 1, column 15",
            ),
            (
                r#"{"name":"a"} secret"#,
                None,
                "the body is no JSON: look at line 1, column 14",
            ),
            (r#"["secret"]"#, None, "the body is no JSON object; send one: `{…}`"),
            ("", None, "the body is no JSON object; send one: `{…}`"),
        ] {
            assert_eq!(body(text), (message.to_owned(), param.map(str::to_owned)), "{text}");
        }
    }
}
