//! The request that goes to a target: the client's own with a few edits, or one of ours in another format.

use bytes::Bytes;
use dialects::Edits;
use domain::snapshot::{Credential, Target, Upstream};
use domain::{Dialect, Operation, Surface};
use http::{HeaderMap, HeaderValue, Method};

use crate::admit::Call;
use crate::translation;
use crate::upstream::auth::Readied;
use crate::upstream::path;
use crate::upstream::request::{Outgoing, in_body, query_without_key};

/// The request to send: the client's bytes, with the few edits that the target needs.
pub(super) fn outgoing(
    call: &Call,
    target: &Target,
    credential: &Credential,
    readied: Readied,
) -> Result<http::Request<http_body_util::Full<Bytes>>, String> {
    let upstream = &target.upstream;
    let served = call.surface();
    let template = template(upstream, served)?;
    let asked = path::Asked {
        served,
        model: &target.model,
        method: call.path.method.map(|method| method.name),
        stream: call.stream,
    };
    let told_in_body = in_body(upstream, &call.head.headers, served);
    let edits = Edits {
        model: Some(&target.model),
        omit_model: path::names_model(template, served.dialect),
        omit: &upstream.provider.omit,
        include_usage: wants_usage(call, target),
        params: told_in_body.as_deref().unwrap_or(upstream.params_of(served)),
    };
    let query = call.head.uri.query().map(query_without_key);
    Outgoing {
        upstream,
        credential,
        readied,
        method: Method::POST,
        path: &path::path(template, &asked),
        query: query.as_deref(),
        client_headers: &call.head.headers,
        body: match &call.recalled {
            Some(recalled) if recalled.has_others_words() => taken_over(call, &edits),
            _ => call.facts.edit(&call.body, &edits),
        },
    }
    .build()
}

/// The body for an upstream that goes on with a conversation which others answered before.
fn taken_over(call: &Call, edits: &Edits<'_>) -> Bytes {
    let body = dialects::conversation::for_provider(&call.body);
    dialects::scan(call.surface(), &body).map_or_else(|_| body.clone(), |facts| facts.edit(&body, edits))
}

/// The request to send to a target of another format.
pub(super) fn translated(
    call: &Call,
    target: &Target,
    credential: &Credential,
    readied: Readied,
    served: Surface,
    body: Bytes,
) -> Result<http::Request<http_body_util::Full<Bytes>>, String> {
    let upstream = &target.upstream;
    let template = template(upstream, served)?;
    let asked = path::Asked {
        served,
        model: &target.model,
        method: None,
        stream: call.stream,
    };
    let is_own = served == call.surface();
    let query = if is_own {
        call.head.uri.query().map(query_without_key)
    } else {
        (call.stream && served.dialect == Dialect::Gemini).then(|| "alt=sse".to_owned())
    };
    let mut neutral;
    let client_headers = if is_own {
        &call.head.headers
    } else {
        neutral = translation::neutral_headers(&call.head.headers);
        if let Some(betas) = call
            .question
            .as_ref()
            .and_then(|question| question.betas(served.dialect))
        {
            neutral.insert("anthropic-beta", HeaderValue::from_static(betas));
        }
        &neutral
    };
    Outgoing {
        upstream,
        credential,
        readied,
        method: Method::POST,
        path: &path::path(template, &asked),
        query: query.as_deref(),
        client_headers,
        body: completed(
            upstream,
            served,
            client_headers,
            body,
            path::names_model(template, served.dialect),
        ),
    }
    .build()
}

fn template(upstream: &Upstream, served: Surface) -> Result<&str, String> {
    let template = upstream.surfaces.get(&served).map(String::as_str);
    template.ok_or_else(|| "the upstream does not offer this operation".to_owned())
}

/// A body of ours with the upstream's own parameters, and without what stands in the path.
pub(crate) fn completed(
    upstream: &Upstream,
    served: Surface,
    client: &HeaderMap,
    body: Bytes,
    omit_model: bool,
) -> Bytes {
    let told_in_body = in_body(upstream, client, served);
    let params = told_in_body.as_deref().unwrap_or(upstream.params_of(served));
    let omit = &upstream.provider.omit;
    if params.is_empty() && omit.is_empty() && !omit_model {
        return body;
    }
    let edits = Edits {
        model: None,
        omit_model,
        omit,
        include_usage: false,
        params,
    };
    dialects::scan(served, &body).map_or_else(|_| body.clone(), |facts| facts.edit(&body, &edits))
}

/// Whether the stream must be asked to report its usage, because the client did not.
pub(super) fn wants_usage(call: &Call, target: &Target) -> bool {
    call.stream
        && call.dialect() == Dialect::OpenaiChat
        && matches!(call.surface().operation, Operation::Chat | Operation::Completions)
        && target.upstream.provider.include_usage
        && !call.facts.asked_for_usage()
}
