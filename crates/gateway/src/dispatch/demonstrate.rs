//! Asking the built-in demonstration, which answers in here instead of over a connection.

use dialects::Report;
use domain::snapshot::Target;
use domain::{Failure, FailureClass, Surface};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::answer::Answer;
use super::begin::begin;
use super::outgoing::wants_usage;
use super::source::Source;
use super::whole::repeating;
use crate::admit::{self, Call};
use crate::demo;

pub(super) async fn demonstrate(call: &Call, target: &Target, served: Surface) -> Result<(HeaderMap, Answer), Failure> {
    let ask = demo::Ask {
        surface: call.surface(),
        model: &target.model,
        body: &call.body,
        stream: call.stream,
        json_array: call.json_array,
        include_usage: call.facts.asked_for_usage() || wants_usage(call, target),
        form: admit::form_boundary(&call.head).and_then(Result::ok),
    };
    let mut headers = HeaderMap::new();
    match demo::answer(&ask) {
        demo::Reply::Whole(body) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let report = dialects::read_answer(call.surface(), &body)
                .map_err(|nonsense| Failure::new(FailureClass::Nonsense, nonsense.to_string()))?;
            let (status, body) = (StatusCode::OK, repeating(call, body));
            Ok((headers, Answer::whole(status, body, report)))
        }
        demo::Reply::Plain(content_type, body) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let (status, report) = (StatusCode::OK, Report::default());
            Ok((headers, Answer::whole(status, body, report)))
        }
        demo::Reply::Stream(script) => {
            let content_type = if call.json_array {
                "application/json"
            } else {
                "text/event-stream"
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            Ok((headers, begin(call, target, served, Source::Demo(script)).await?))
        }
        demo::Reply::Refused(body) => Ok((
            headers,
            Answer::Refused {
                status: StatusCode::BAD_REQUEST,
                body,
                cause: None,
            },
        )),
    }
}
