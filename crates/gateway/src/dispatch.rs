//! The only retry loop.
//!
//! [`routing::Attempts`] decides, this file carries out: try, wait, or give up. An attempt has succeeded when its first
//! *content* is here (or its whole answer, where it does not stream); until then nothing has gone to the client, so
//! failing over is free. What a stream says before its content is kept.

use std::sync::Arc;

use bytes::Bytes;
use dialects::{Edits, Report, StreamEnd, StreamFault, StreamTap, TapOptions, TapState, Transcoder, Verdict};
use domain::snapshot::{Credential, Target, Upstream};
use domain::{AttemptRecord, Dialect, Failure, FailureClass, Fault, FaultKind, Operation, Surface, Timestamp};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use routing::{Attempts, Choice, InFlight, Step};

use crate::admit::Call;
use crate::body::BodyError;
use crate::demo;
use crate::limits::{ANSWER_MAX, DRAIN_TIMEOUT, ERROR_BODY_MAX, PRELUDE_MAX};
use crate::translation;
use crate::upstream::auth::{self, Readied};
use crate::upstream::confidence;
use crate::upstream::incoming::UpstreamBody;
use crate::upstream::path;
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
#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times per call; a box would cost every whole answer an allocation"
)]
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
    pub(crate) tap: Transcoder,
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
    let served = target.upstream.serving(call.surface()).unwrap_or(call.surface());
    let mut losses = Vec::new();
    let result = match tokio::time::timeout(limit, exchange(call, target, credential, served, &mut losses)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(
            FailureClass::Silence,
            format!("no content within {limit:?}"),
        )),
    };
    let result = result.map_err(|failure| {
        let spoken = call.gateway.account_tokens.spoken(credential);
        if failure.class == FailureClass::Auth {
            call.gateway.account_tokens.doubt(credential, now);
        }
        Failure {
            detail: confidence::unspoken(&failure.detail, &target.upstream, &spoken),
            ..failure
        }
    });
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
        dialect: (served.dialect != call.dialect()).then_some(served.dialect),
        losses,
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

/// One exchange with a target, which is asked as `served`. What a format cannot say on the way is added to `losses`.
async fn exchange(
    call: &mut Call,
    target: &Target,
    credential: &Arc<Credential>,
    served: Surface,
    losses: &mut Vec<String>,
) -> Result<(HeaderMap, Answer), Failure> {
    if target.upstream.provider.builtin {
        return demonstrate(call, target, served).await;
    }
    let readied = auth::ready(&call.gateway, &target.upstream, credential).await?;
    let request = if served == call.surface() {
        outgoing(call, target, credential, readied)
    } else {
        translation::read(call)?;
        let told = translation::tell(call, target, served.dialect)?;
        losses.extend(translation::shown(&told.losses));
        translated(call, target, credential, readied, served, told.body)
    };
    let request = request.map_err(|message| Failure::new(FailureClass::Connect, message))?;
    let response = call.gateway.client.send(&target.upstream, request).await?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return refused(call, target, served, credential, &head, body).await;
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
            begin(call, target, served, source).await?
        } else {
            whole(call, served, head.status, source, losses).await?
        };
    let mut headers = relayed_headers(&head.headers);
    match &answer {
        Answer::Stream(_) if served != call.surface() => {
            headers.insert(CONTENT_TYPE, streamed_type(call));
        }
        Answer::Whole { .. } if served != call.surface() => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Answer::Refused { .. } => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Answer::Stream(_) | Answer::Whole { .. } | Answer::Taken => {}
    }
    Ok((headers, answer))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"text/event-stream") || content_type.starts_with(b"application/vnd.amazon.eventstream")
}

/// The request to send: the client's bytes, with the few edits that the target needs.
fn outgoing(
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
    let edits = Edits {
        model: Some(&target.model),
        omit_model: path::names_model(template, served.dialect),
        include_usage: wants_usage(call, target),
        params: upstream.params_of(served),
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
        body: call.facts.edit(&call.body, &edits),
    }
    .build()
}

/// The request to send to a target of another format.
fn translated(
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
    let is_gemini_stream = call.stream && served.dialect == Dialect::Gemini;
    Outgoing {
        upstream,
        credential,
        readied,
        method: Method::POST,
        path: &path::path(template, &asked),
        query: is_gemini_stream.then_some("alt=sse"),
        client_headers: &translation::neutral_headers(&call.head.headers),
        body: completed(
            served,
            body,
            upstream.params_of(served),
            path::names_model(template, served.dialect),
        ),
    }
    .build()
}

fn template(upstream: &Upstream, served: Surface) -> Result<&str, String> {
    let template = upstream.surfaces.get(&served).map(String::as_str);
    template.ok_or_else(|| "the upstream does not offer this operation".to_owned())
}

/// A body of ours with the upstream's own parameters, and without a model that stands in the path.
fn completed(served: Surface, body: Bytes, params: &[(String, String)], omit_model: bool) -> Bytes {
    if params.is_empty() && !omit_model {
        return body;
    }
    let edits = Edits {
        model: None,
        omit_model,
        include_usage: false,
        params,
    };
    dialects::scan(served, &body).map_or_else(|_| body.clone(), |facts| facts.edit(&body, &edits))
}

/// The content type of the stream that the client asked for.
const fn streamed_type(call: &Call) -> HeaderValue {
    if call.json_array {
        HeaderValue::from_static("application/json")
    } else {
        HeaderValue::from_static("text/event-stream")
    }
}

/// Whether the stream must be asked to report its usage, because the client did not.
fn wants_usage(call: &Call, target: &Target) -> bool {
    call.stream
        && call.dialect() == Dialect::OpenaiChat
        && matches!(call.surface().operation, Operation::Chat | Operation::Completions)
        && target.upstream.provider.include_usage
        && !call.facts.asked_for_usage()
}

async fn refused(
    call: &Call,
    target: &Target,
    served: Surface,
    credential: &Arc<Credential>,
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
    match dialects::classify(served.dialect, status, &head.headers, &body, call.gateway.clock.now()) {
        Verdict::Failure(failure) => Err(failure),
        Verdict::Caller => {
            let spoken = &*call.gateway.account_tokens.spoken(credential);
            let mut headers = confidence::headers(&head.headers, &target.upstream, spoken);
            let mut body = confidence::text(body, &target.upstream, spoken);
            if served != call.surface() {
                let id = call.settlement.call.to_string();
                body = dialects::retell_refusal(call.dialect(), status, &body, &id).body;
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            let answer = Answer::Refused {
                status: head.status,
                body,
            };
            Ok((headers, answer))
        }
    }
}

async fn whole(
    call: &Call,
    served: Surface,
    status: StatusCode,
    source: Source,
    losses: &mut Vec<String>,
) -> Result<Answer, Failure> {
    let body = collect(source, ANSWER_MAX, Overflow::Fail).await?;
    let report = dialects::read_answer(served, &body).map_err(|nonsense| Failure {
        status: Some(status.as_u16()),
        ..Failure::new(FailureClass::Nonsense, nonsense.to_string())
    })?;
    if let Some(failure) = failed_answer(&report) {
        return Err(failure);
    }
    if served == call.surface() {
        return Ok(Answer::Whole { status, body, report });
    }
    let told = translation::answer(call, served, &body, &report)?;
    losses.extend(translation::shown(&told.losses));
    Ok(Answer::Whole {
        status,
        body: told.body,
        report,
    })
}

/// What to do with a body beyond its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    Cut,
    Fail,
}

pub(crate) async fn collect(mut source: Source, max: usize, overflow: Overflow) -> Result<Bytes, Failure> {
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
async fn begin(call: &Call, target: &Target, served: Surface, source: Source) -> Result<Answer, Failure> {
    let is_same = served == call.surface();
    let tap = StreamTap::new(TapOptions {
        surface: served,
        hide_usage_chunk: is_same && wants_usage(call, target),
        json_array: is_same && call.json_array,
    });
    let tap = if is_same {
        Transcoder::Passthrough(tap)
    } else {
        Transcoder::translate(tap, call.dialect(), translation::reply(call)?.clone())
    };
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

async fn demonstrate(call: &Call, target: &Target, served: Surface) -> Result<(HeaderMap, Answer), Failure> {
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
            Ok((headers, begin(call, target, served, Source::Demo(script)).await?))
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
