//! What stands before the routes: who is nobody learns of none, and who takes the wrong method is told the right ones.
//!
//! The framework refuses a path or a method before any handler could ask who is there, and says which methods there are in a
//! header that it adds last. So both are looked at from outside, when the answer is there.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::ALLOW;
use http::request::Parts;

use crate::Shared;
use crate::auth::{Client, Operator};
use crate::error::{self, ApiError};

/// Lets a request through and looks at what became of it.
pub(crate) async fn watch(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut asked = head.clone();
    let response = next.run(Request::from_parts(head, body)).await;
    if !matches!(
        response.status(),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    ) {
        return response;
    }
    if let Err(unknown) = known(&mut asked, &shared).await {
        return unknown.into_response();
    }
    let Some(allow) = response.headers().get(ALLOW).cloned() else {
        return response;
    };
    let methods = allow.to_str().unwrap_or_default().replace(',', ", ");
    let mut told = error::no_such_method(&methods).into_response();
    told.headers_mut().insert(ALLOW, allow);
    told
}

/// Refuses who has neither kind of key, below `/api`, in the words of the views there.
async fn known(head: &mut Parts, shared: &Shared) -> Result<(), ApiError> {
    let path = head.uri.path().to_owned();
    if !path.starts_with("/api/") {
        return Ok(());
    }
    let client = Client::from_request_parts(head, shared).await;
    let operator = Operator::from_request_parts(head, shared).await;
    match (client, operator) {
        (Ok(_), _) | (_, Ok(_)) => Ok(()),
        (Err(unknown), Err(_)) if path.starts_with("/api/me/") => Err(unknown),
        (Err(_), Err(unknown)) => Err(unknown),
    }
}
