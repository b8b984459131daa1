//! Counting tokens where nobody counts: by estimate, and saying so.
//!
//! Agents ask for counts before nearly every turn to decide when to shorten their history. A model whose upstream has no
//! such endpoint (most OpenAI-compatible servers) would fail them for a figure that need not be exact.

use domain::{Ending, Operation};
use http::header::HeaderValue;
use http::{Response, StatusCode};

use crate::admit::Call;
use crate::body::Body;
use crate::refuse;
use crate::settle::{Outcome, unrecorded};

/// Says that the figure is ours.
const ESTIMATED: &str = "x-tollgate-estimated";

/// Whether the call asks for a count that no upstream of its model can give.
pub(crate) fn is_to_be_estimated(call: &Call) -> bool {
    let asked = call.surface();
    asked.operation == Operation::CountTokens
        && call
            .route
            .own_targets()
            .all(|target| target.upstream.serving(asked).is_none())
}

/// The estimate, as the client's format tells a count.
pub(crate) async fn estimate(mut call: Box<Call>) -> Response<Body> {
    let tokens = metering::estimate::input_tokens(call.body.len() as u64);
    let outcome = Outcome {
        ending: Ending::Complete,
        status: StatusCode::OK.as_u16(),
        served: None,
        first_content: None,
        error: None,
    };
    let id = call.settlement.call.to_string();
    let durable = match call.settlement.finish(&outcome) {
        Ok(settled) => settled.ticket.await.is_ok(),
        Err(_) => false,
    };
    if !durable {
        return refuse::refuse(call.dialect(), &unrecorded(), &id);
    }
    let told = dialects::count_answer(call.dialect(), tokens).to_string();
    let mut response = refuse::json(StatusCode::OK.as_u16(), told.into());
    let headers = response.headers_mut();
    headers.insert(ESTIMATED, HeaderValue::from_static("input_tokens"));
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert("x-request-id", id);
    }
    response
}
