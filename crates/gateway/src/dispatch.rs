//! The only retry loop.
//!
//! [`routing::Attempts`] decides, this file carries out: try, wait, or give up. An attempt has succeeded when its first
//! *content* is here (or its whole answer, where it does not stream); until then nothing has gone to the client, so
//! failing over is free. What a stream says before its content is kept.

use std::sync::Arc;

use bytes::Bytes;
use dialects::{Edits, Report, StreamEnd, StreamFault, StreamTap, TapOptions, TapState, Verdict};
use domain::snapshot::{Credential, Target};
use domain::{AttemptRecord, Dialect, Failure, FailureClass, Fault, FaultKind, Operation, Timestamp};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use routing::{Attempts, Choice, InFlight, Step};

use crate::admit::Call;
use crate::body::BodyError;
use crate::demo;
use crate::limits::{ANSWER_MAX, DRAIN_TIMEOUT, ERROR_BODY_MAX, PRELUDE_MAX};
use crate::upstream::incoming::UpstreamBody;
use crate::upstream::request::{Outgoing, query_without_key, relayed_headers};

/// What came of a call, with the call itself.
pub(crate) type Dispatched = (Call, Result<Exchange, Fault>);

/// An answer that will be given to the client.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) choice: Choice,
    pub(crate) attempts: Attempts,
    pub(crate) tries: u32,
    /// Headers for the client.
    pub(crate) headers: HeaderMap,
    pub(crate) answer: Answer,
    /// When the first content was here.
    pub(crate) first_content: Timestamp,
    _open: InFlight,
}

/// The three shapes of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The caller's own mistake, in the provider's words.
    Refused {
        /// The provider's status.
        status: StatusCode,
        /// The provider's body.
        body: Bytes,
    },
    /// All of it.
    Whole {
        /// The provider's status.
        status: StatusCode,
        /// The provider's body.
        body: Bytes,
        /// What was found in it.
        report: Report,
    },
    /// The beginning of a stream.
    Stream(Box<Streamed>),
    /// Handed on to the relay.
    Taken,
}

/// A stream that has begun.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) source: Source,
    pub(crate) tap: StreamTap,
    /// What may go to the client already.
    pub(crate) ready: Vec<Bytes>,
    pub(crate) state: TapState,
    /// How the stream ended, if it has ended already.
    pub(crate) end: Option<StreamEnd>,
}

/// Where a stream's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// An upstream; and what was read ahead of it.
    Upstream(UpstreamBody, Option<Bytes>),
    /// The built-in demonstration.
    Demo(demo::Script),
}

impl Source {
    /// The next bytes; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, BodyError>>> {
        use http_body::Body as _;
        use std::pin::Pin;
        use std::task::{Poll, ready};
        match self {
            Self::Demo(script) => script.poll_next(cx).map(|next| next.map(Ok)),
            Self::Upstream(_, ahead) if ahead.is_some() => Poll::Ready(ahead.take().map(Ok)),
            Self::Upstream(incoming, _) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            },
        }
    }

    /// Whether the body begins as a stream of events does, whatever its content type says: some send streams as
    /// `application/json`. What is read for that is given again by `next`.
    async fn begins_with_event(&mut self) -> Result<bool, Failure> {
        let Some(first) = self.next().await else {
            return Ok(false);
        };
        let first = first.map_err(|error| Failure::new(FailureClass::Reset, error.to_string()))?;
        let text = first.trim_ascii_start();
        let is_event = [&b"data:"[..], b"event:", b"id:", b":"]
            .iter()
            .any(|field| text.starts_with(field));
        if let Self::Upstream(_, ahead) = self {
            *ahead = Some(first);
        }
        Ok(is_event)
    }

    /// Reads what is left of a body whose content is complete, so that its connection can be used again.
    pub(crate) fn drain(mut self) {
        let waker = futures_util::task::noop_waker();
        let mut cx = std::task::Context::from_waker(&waker);
        loop {
            match self.poll_next(&mut cx) {
                std::task::Poll::Ready(Some(Ok(_))) => {}
                std::task::Poll::Ready(None | Some(Err(_))) => return,
                std::task::Poll::Pending => break,
            }
        }
        tokio::spawn(tokio::time::timeout(DRAIN_TIMEOUT, async move {
            while let Some(Ok(_)) = self.next().await {}
        }));
    }
}

/// Finds an answer for the call, trying as often as routing says.
pub(crate) async fn dispatch(mut call: Call) -> Dispatched {
    let plan = {
        let now = call.gateway.clock.now();
        routing::plan(&call.route, call.surface(), &call.gateway.board, now, &mut rand::rng())
    };
    let total = call
        .route
        .targets
        .iter()
        .map(|target| target.upstream.timeouts.total)
        .max()
        .unwrap_or_default();
    let deadline = call.started + total;
    let mut attempts = Attempts::new(plan, &call.snapshot.defaults, deadline);
    let mut tries = 0;
    loop {
        let step = attempts.next(&call.route, &call.gateway.board, call.gateway.clock.now());
        match step {
            Step::GiveUp(fault) => return (call, Err(fault)),
            Step::Wait { until } => tokio::time::sleep_until(call.gateway.clock.instant(until).into()).await,
            Step::Try(choice) => {
                tries += 1;
                match attempt(&mut call, choice, deadline).await {
                    Ok((headers, answer, open)) => {
                        let now = call.gateway.clock.now();
                        attempts.served(&call.route, choice, &call.gateway.board, now);
                        let exchange = Exchange {
                            choice,
                            attempts,
                            tries,
                            headers,
                            answer,
                            first_content: now,
                            _open: open,
                        };
                        return (call, Ok(exchange));
                    }
                    Err(failure) => {
                        let now = call.gateway.clock.now();
                        let rng = &mut rand::rng();
                        attempts.failed(&call.route, choice, &failure, &call.gateway.board, now, rng);
                    }
                }
            }
        }
    }
}

/// One try. Its record is kept whatever comes of it.
async fn attempt(
    call: &mut Call,
    choice: Choice,
    deadline: Timestamp,
) -> Result<(HeaderMap, Answer, InFlight), Failure> {
    let started_ms = call.settlement.elapsed_ms();
    let route = Arc::clone(&call.route);
    let (target, credential) = chosen(&route, choice)?;
    let now = call.gateway.clock.now();
    let open = call.gateway.board.begin(&target.upstream, credential, now);
    let limit = target.upstream.timeouts.first_byte.min(deadline.since(now));
    let result = match tokio::time::timeout(limit, exchange(call, target, credential)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(
            FailureClass::Silence,
            format!("no content within {limit:?}"),
        )),
    };
    let (status, failure) = match &result {
        Ok((_, Answer::Refused { status, .. } | Answer::Whole { status, .. })) => (Some(status.as_u16()), None),
        Ok((_, Answer::Stream(_) | Answer::Taken)) => (Some(200), None),
        Err(failure) => (failure.status, Some(failure.class)),
    };
    if let Err(failure) = &result {
        tracing::warn!(
            call = %call.settlement.call, upstream = target.upstream.name, credential = credential.name,
            class = failure.class.name(), status = failure.status, detail = failure.detail, "an attempt failed"
        );
    }
    call.settlement.attempts.push(AttemptRecord {
        upstream: target.upstream.id,
        upstream_name: target.upstream.name.clone(),
        credential: credential.id,
        credential_name: credential.name.clone(),
        model: target.model.to_string(),
        status,
        failure,
        started_ms,
        took_ms: call.settlement.elapsed_ms() - started_ms,
    });
    result.map(|(headers, answer)| (headers, answer, open))
}

/// The target and credential that a choice means.
pub(crate) fn chosen(route: &domain::snapshot::Route, choice: Choice) -> Result<(&Target, &Arc<Credential>), Failure> {
    let target = route.targets.get(choice.target);
    target
        .and_then(|target| Some((target, target.upstream.credentials.get(choice.credential)?)))
        .ok_or_else(|| Failure::new(FailureClass::Connect, "the chosen target does not exist"))
}

async fn exchange(call: &Call, target: &Target, credential: &Credential) -> Result<(HeaderMap, Answer), Failure> {
    if target.upstream.provider.builtin {
        return demonstrate(call, target).await;
    }
    let request = outgoing(call, target, credential).map_err(|message| Failure::new(FailureClass::Connect, message))?;
    let response = call.gateway.client.send(&target.upstream, request).await?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return refused(call, credential, &head, body).await;
    }
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
        return Err(Failure::new(
            FailureClass::Nonsense,
            format!("the answer has content-encoding {encoding:?}, which was not asked for"),
        ));
    }
    let mut source = Source::Upstream(body, None);
    let answer =
        if is_event_stream(&head.headers) || call.stream && (call.json_array || source.begins_with_event().await?) {
            begin(call, target, source).await?
        } else {
            whole(call, head.status, source).await?
        };
    let mut headers = relayed_headers(&head.headers);
    if matches!(answer, Answer::Refused { .. }) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok((headers, answer))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"text/event-stream")
}

/// The body of a refusal that goes on to the caller, without our credential: some providers repeat it. Everything else
/// stays as it came.
fn without_secret(body: Bytes, credential: &Credential) -> Bytes {
    let secret = credential.secret.expose().as_bytes();
    let finder = memchr::memmem::Finder::new(secret);
    if secret.is_empty() || finder.find(&body).is_none() {
        return body;
    }
    let mut blanked = body.to_vec();
    while let Some(at) = finder.find(&blanked) {
        blanked[at..at + secret.len()].fill(b'*');
    }
    Bytes::from(blanked)
}

/// The request to send: the client's bytes, with the few edits that the target needs.
fn outgoing(
    call: &Call,
    target: &Target,
    credential: &Credential,
) -> Result<http::Request<http_body_util::Full<Bytes>>, String> {
    let upstream = &target.upstream;
    let template = upstream
        .surfaces
        .get(&call.surface())
        .ok_or("the upstream does not offer this operation")?;
    let path = match call.path.method {
        Some(method) => template
            .replace("{model}", &encoded(&target.model))
            .replace("{method}", method.name),
        None => template.clone(),
    };
    let edits = Edits {
        model: Some(&target.model),
        include_usage: wants_usage(call, target),
        params: &upstream.params,
    };
    let query = call.head.uri.query().map(query_without_key);
    Outgoing {
        upstream,
        credential,
        method: Method::POST,
        path: &path,
        query: query.as_deref(),
        client_headers: &call.head.headers,
        body: call.facts.edit(&call.body, &edits),
    }
    .build()
}

/// Whether the stream must be asked to report its usage, because the client did not.
fn wants_usage(call: &Call, target: &Target) -> bool {
    call.stream
        && call.dialect() == Dialect::OpenaiChat
        && matches!(call.surface().operation, Operation::Chat | Operation::Completions)
        && target.upstream.provider.include_usage
        && !call.facts.asked_for_usage()
}

/// A model's name as a path segment. `/` stays: Gemini's resource names have it.
fn encoded(model: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(model.len());
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' => out.push(byte as char),
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)] as char);
                out.push(HEX[usize::from(byte & 15)] as char);
            }
        }
    }
    out
}

async fn refused(
    call: &Call,
    credential: &Credential,
    head: &http::response::Parts,
    body: UpstreamBody,
) -> Result<(HeaderMap, Answer), Failure> {
    let body = collect(Source::Upstream(body, None), ERROR_BODY_MAX, Overflow::Cut).await?;
    let status = head.status.as_u16();
    if head.status.is_redirection() {
        let message = "the upstream redirects; redirects are not followed, so give its final address as `base_url`";
        return Err(Failure {
            status: Some(status),
            ..Failure::new(FailureClass::Nonsense, message)
        });
    }
    match dialects::classify(call.dialect(), status, &head.headers, &body, call.gateway.clock.now()) {
        Verdict::Failure(failure) => Err(failure),
        Verdict::Caller => Ok((
            relayed_headers(&head.headers),
            Answer::Refused {
                status: head.status,
                body: without_secret(body, credential),
            },
        )),
    }
}

async fn whole(call: &Call, status: StatusCode, source: Source) -> Result<Answer, Failure> {
    let body = collect(source, ANSWER_MAX, Overflow::Fail).await?;
    let report = dialects::read_answer(call.surface(), &body).map_err(|nonsense| Failure {
        status: Some(status.as_u16()),
        ..Failure::new(FailureClass::Nonsense, nonsense.to_string())
    })?;
    match failed_answer(&report) {
        Some(failure) => Err(failure),
        None => Ok(Answer::Whole { status, body, report }),
    }
}

/// What to do with a body beyond its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Cut,
    Fail,
}

async fn collect(mut source: Source, max: usize, overflow: Overflow) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(next) = source.next().await {
        let data = next.map_err(|error| Failure::new(FailureClass::Reset, error.to_string()))?;
        if first.len() + all.len() + data.len() > max {
            match overflow {
                Overflow::Cut => break,
                Overflow::Fail => {
                    return Err(Failure::new(
                        FailureClass::Nonsense,
                        format!("the answer is over {max} bytes"),
                    ));
                }
            }
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
                first = Bytes::new();
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { Bytes::from(all) })
}

/// Reads a stream up to its first content.
async fn begin(call: &Call, target: &Target, source: Source) -> Result<Answer, Failure> {
    let tap = StreamTap::new(TapOptions {
        surface: call.surface(),
        hide_usage_chunk: wants_usage(call, target),
        json_array: call.json_array,
    });
    let mut streamed = Streamed {
        source,
        tap,
        ready: Vec::new(),
        state: TapState::Open,
        end: None,
    };
    let mut seen = 0;
    while !streamed.tap.has_content() && seen <= PRELUDE_MAX {
        match streamed.source.next().await {
            Some(Ok(chunk)) => {
                seen += chunk.len();
                streamed.state = streamed.tap.push(chunk, &mut streamed.ready);
                match &streamed.state {
                    TapState::Open => {}
                    TapState::Broken(fault) if !streamed.tap.has_content() => return unbegun(call, fault),
                    TapState::Terminal | TapState::Broken(_) => break,
                }
            }
            Some(Err(error)) => return Err(Failure::new(FailureClass::Reset, error.to_string())),
            None => {
                streamed.end = Some(streamed.tap.finish(true));
                break;
            }
        }
    }
    if !streamed.tap.has_content()
        && let Some(failure) = failed_answer(&streamed.tap.report())
    {
        return Err(failure);
    }
    match &streamed.end {
        // An answer may be empty, but then it must be a complete one.
        Some(StreamEnd::Incomplete { why }) if !streamed.tap.has_content() => Err(failure_of(why)),
        _ => Ok(Answer::Stream(Box::new(streamed))),
    }
}

/// A stream that broke before its content: another candidate may do better, unless the provider says that the caller
/// made the mistake.
fn unbegun(call: &Call, fault: &StreamFault) -> Result<Answer, Failure> {
    match fault {
        StreamFault::ErrorEvent {
            message,
            status: Some(status @ (400 | 404 | 413 | 422)),
            ..
        } => {
            let fault = Fault::new(
                FaultKind::Malformed,
                format!("the upstream refused the request: {message}"),
            );
            let rendered = dialects::refusal(call.dialect(), &fault, &call.settlement.call.to_string());
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(Answer::Refused {
                status,
                body: rendered.body,
            })
        }
        fault => Err(failure_of(fault)),
    }
}

/// The provider's own word that an answer failed, as the failure of an attempt; `None` where trying elsewhere is of no
/// use because the caller made the mistake.
fn failed_answer(report: &Report) -> Option<Failure> {
    let failure = report.failure.as_ref()?;
    let callers_own = matches!(failure.status, Some(400 | 404 | 413 | 422));
    (!callers_own).then(|| Failure {
        status: failure.status,
        ..Failure::new(failure.class, failure.message.clone())
    })
}

/// A stream's fault as the failure of an attempt.
pub(crate) fn failure_of(fault: &StreamFault) -> Failure {
    match fault {
        StreamFault::Malformed { event } => Failure::new(
            FailureClass::Nonsense,
            format!("event {event} of the stream is malformed"),
        ),
        StreamFault::ErrorEvent { class, message, status } => Failure {
            status: *status,
            ..Failure::new(*class, message.clone())
        },
        StreamFault::Truncated => Failure::new(FailureClass::Reset, "the stream ended before its content did"),
        StreamFault::TooLong => Failure::new(FailureClass::Nonsense, "an event of the stream is over the limit"),
    }
}

async fn demonstrate(call: &Call, target: &Target) -> Result<(HeaderMap, Answer), Failure> {
    let ask = demo::Ask {
        surface: call.surface(),
        model: &target.model,
        body: &call.body,
        stream: call.stream,
        json_array: call.json_array,
        include_usage: call.facts.asked_for_usage() || wants_usage(call, target),
    };
    let mut headers = HeaderMap::new();
    match demo::answer(&ask) {
        demo::Reply::Whole(body) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let report = dialects::read_answer(call.surface(), &body)
                .map_err(|nonsense| Failure::new(FailureClass::Nonsense, nonsense.to_string()))?;
            Ok((
                headers,
                Answer::Whole {
                    status: StatusCode::OK,
                    body,
                    report,
                },
            ))
        }
        demo::Reply::Stream(script) => {
            let content_type = if call.json_array {
                "application/json"
            } else {
                "text/event-stream"
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            Ok((headers, begin(call, target, Source::Demo(script)).await?))
        }
        demo::Reply::Refused(body) => Ok((
            headers,
            Answer::Refused {
                status: StatusCode::BAD_REQUEST,
                body,
            },
        )),
    }
}
