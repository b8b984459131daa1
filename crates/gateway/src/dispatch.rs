//! From a call to an answer.
//!
//! [`routing::Attempts`] decides, [`seek()`] carries out: try, wait, or give up; this file is one try of a call. It has
//! succeeded when its first *content* is here, or its whole answer, where it does not stream.

mod begin;
mod hedge;
mod outgoing;
mod seek;
mod source;

use std::sync::Arc;

use bytes::Bytes;
use dialects::{Allowance, Nonsense, Report, ReportedFailure, SoundTap, StreamEnd, TapState, Transcoder, Verdict};
use domain::declaration::{HedgeDecl, RefusalCause};
use domain::snapshot::{Credential, Route, Target};
use domain::{AttemptRecord, Dialect, Failure, FailureClass, Fault, Operation, Snapshot, Surface, Timestamp};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use routing::{Attempts, Choice, InFlight, Recording, Trace};

pub(crate) use begin::failure_of;
use begin::{begin, failed_answer, first_content};
pub(crate) use outgoing::completed;
use outgoing::{outgoing, translated, wants_usage};
use seek::Ended;
pub(crate) use seek::{Seeker, deadline, seek, seek_on};
pub(crate) use source::{Overflow, Source, collect};

use crate::admit::{self, Call};
use crate::asked;
use crate::decisions;
use crate::demo;
use crate::gateway::Inner;
use crate::limits::{ANSWER_MAX, ERROR_BODY_MAX};
use crate::recall;
use crate::recovery;
use crate::settle::{Settlement, attempt_record};
use crate::translation;
use crate::upstream::auth;
use crate::upstream::confidence;
use crate::upstream::incoming::UpstreamBody;

/// What came of a call, with the call itself.
pub(crate) type Dispatched = (Box<Call>, Result<Exchange, Fault>);

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
    /// None for a refusal, which is read to its end.
    open: Option<InFlight>,
}

/// What a try gives: headers for the client, the answer, and the load that it is.
pub(crate) type Got = (HeaderMap, Answer, Option<InFlight>);

impl Exchange {
    /// Its answer is over: it is no load any more.
    pub(crate) fn release(&mut self) {
        self.open = None;
    }

    /// It goes on with another answer.
    pub(crate) fn go_on(&mut self, choice: Choice, open: Option<InFlight>) {
        (self.choice, self.open) = (choice, open);
    }
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
        /// Why, where a fallback may take the request all the same.
        cause: Option<RefusalCause>,
    },
    /// All of it.
    Whole {
        /// The provider's status.
        status: StatusCode,
        /// The provider's body.
        body: Bytes,
        /// What was found in it.
        report: Report,
        /// The answer itself, where it is to be kept and the body tells it as a stream.
        kept: Option<String>,
    },
    /// The beginning of a stream.
    Stream(Box<Streamed>),
    /// Handed on to the relay.
    Taken,
}

impl Answer {
    const fn whole(status: StatusCode, body: Bytes, report: Report) -> Self {
        Self::Whole {
            status,
            body,
            report,
            kept: None,
        }
    }
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

impl Streamed {
    fn new(source: Source, tap: Transcoder) -> Self {
        Self {
            source,
            tap,
            ready: Vec::new(),
            state: TapState::Open,
            end: None,
        }
    }
}

/// Finds an answer for the call, trying as often as routing says.
pub(crate) async fn dispatch(mut call: Box<Call>) -> Dispatched {
    match seek(&mut *call).await {
        Ok(found) => {
            let (headers, answer, open) = found.got;
            if call.surface() == recall::RESPONSES
                && let Err(fault) = Box::pin(recall::note_made(&mut call, found.choice, &answer)).await
            {
                return (call, Err(fault));
            }
            let exchange = Exchange {
                choice: found.choice,
                attempts: found.attempts,
                tries: found.tries,
                headers,
                answer,
                first_content: found.at,
                open,
            };
            (call, Ok(exchange))
        }
        Err(fault) => (call, Err(fault)),
    }
}

impl Seeker for Call {
    type Got = Got;

    fn gateway(&self) -> &Arc<Inner> {
        &self.gateway
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn route(&self) -> &Arc<Route> {
        &self.route
    }

    fn surface(&self) -> Surface {
        Self::surface(self)
    }

    fn started(&self) -> Timestamp {
        self.started
    }

    fn asked(&self) -> routing::Asked<'_> {
        asked::of(self)
    }

    fn pinned(&self) -> Option<routing::Pinned> {
        Self::pinned(self)
    }

    fn recording(&self) -> Recording {
        decisions::recording(&self.gateway)
    }

    fn keep(&mut self, trace: Option<Box<Trace>>) {
        self.settlement.trace = trace;
    }

    fn walked(&mut self, walk: routing::decision::Walk) {
        if let Some(trace) = &mut self.settlement.trace {
            trace.walked(walk);
        }
    }

    fn refusal((_, answer, _): &Self::Got) -> Option<RefusalCause> {
        match answer {
            Answer::Refused { cause, .. } => *cause,
            Answer::Whole { .. } | Answer::Stream(_) | Answer::Taken => None,
        }
    }

    fn hedge(&self) -> Option<HedgeDecl> {
        hedge::of(self)
    }

    async fn hedged(
        &mut self,
        hedge: HedgeDecl,
        attempts: &mut Attempts,
        choice: Choice,
        deadline: Timestamp,
    ) -> Ended<Got> {
        hedge::race(self, hedge, attempts, choice, deadline).await
    }

    async fn attempt(&mut self, choice: Choice, deadline: Timestamp) -> Result<Self::Got, Failure> {
        attempt(self, choice, deadline).await
    }
}

/// One try. Its record is kept whatever comes of it.
pub(crate) async fn attempt(call: &mut Call, choice: Choice, deadline: Timestamp) -> Result<Got, Failure> {
    let started_ms = call.settlement.elapsed_ms();
    let route = Arc::clone(&call.route);
    let (target, credential) = chosen(&route, choice)?;
    call.settlement.trying = Some((choice, started_ms));
    let now = call.gateway.clock.now();
    let open = call.gateway.board.begin(&target.upstream, credential, now);
    let asked = call.surface();
    let served = target.serving(asked, call.facts.wants_chat).unwrap_or(asked);
    let mut losses = Vec::new();
    // What is fetched for the caller takes nothing of the time that the upstream has.
    let (prepared, begun) = if passes_through(call, served) {
        recovery::get_ready(call);
        (Ok(()), now)
    } else {
        let prepared = Box::pin(translation::prepare(call, target, served.dialect, deadline.since(now))).await;
        (prepared, call.gateway.clock.now())
    };
    let left = deadline.since(begun);
    let limit = target.upstream.timeouts.first_byte.min(left);
    let silence = || Failure::new(FailureClass::Silence, format!("no content within {limit:?}"));
    let result = match prepared {
        Err(failure) => Err(failure),
        Ok(()) => match tokio::time::timeout(limit, exchange(call, target, credential, served, &mut losses)).await {
            Ok(result) => result,
            Err(_) => Err(silence()),
        },
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
    let outcome = match &result {
        Ok((_, Answer::Refused { status, .. } | Answer::Whole { status, .. })) => Ok(status.as_u16()),
        Ok((_, Answer::Stream(_) | Answer::Taken)) => Ok(200),
        Err(failure) => Err(failure),
    };
    let record = AttemptRecord {
        dialect: (served.dialect != call.dialect()).then_some(served.dialect),
        losses,
        ..record(&call.settlement, target, credential, started_ms, outcome)
    };
    call.settlement.attempts.push(record);
    call.settlement.trying = None;
    result.map(|(headers, answer)| {
        let open = (!matches!(answer, Answer::Refused { .. })).then_some(open);
        (headers, answer, open)
    })
}

/// What is kept of a try. One that failed is logged here, and nowhere else.
pub(crate) fn record(
    settlement: &Settlement,
    target: &Target,
    credential: &Credential,
    started_ms: u32,
    outcome: Result<u16, &Failure>,
) -> AttemptRecord {
    if let Err(failure) = outcome {
        tracing::warn!(
            call = %settlement.call, upstream = target.upstream.name, credential = credential.name,
            class = failure.class.name(), status = failure.status, detail = failure.detail, "an attempt failed"
        );
    }
    AttemptRecord {
        status: outcome.map_or_else(|failure| failure.status, Some),
        failure: outcome.err().map(|failure| failure.class),
        ..attempt_record(target, credential, started_ms, settlement.elapsed_ms() - started_ms)
    }
}

/// The target and credential that a choice means.
pub(crate) fn chosen(route: &domain::snapshot::Route, choice: Choice) -> Result<(&Target, &Arc<Credential>), Failure> {
    let target = route.targets.get(choice.target);
    target
        .and_then(|target| Some((target, target.upstream.credentials.get(choice.credential)?)))
        .ok_or_else(|| Failure::new(FailureClass::Connect, "the chosen target does not exist"))
}

/// Whether the request goes on as the client wrote it. Where it brings back a seal that another provider put on its
/// reasoning, it is told anew without it, in the same format; the answer passes through all the same.
fn passes_through(call: &Call, served: Surface) -> bool {
    served == call.surface() && !call.facts.has_foreign_seals() && call.resumption.is_none()
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
        return Box::pin(demonstrate(call, target, served)).await;
    }
    let readied = auth::ready(&call.gateway, &target.upstream, credential).await?;
    let request = if passes_through(call, served) {
        outgoing(call, target, credential, readied)
    } else {
        let told = translation::tell(call, target, served.dialect)?;
        losses.extend(translation::shown(&told.losses));
        translated(call, target, credential, readied, served, told.body)
    };
    let request = request.map_err(|message| Failure::new(FailureClass::Connect, message))?;
    let response = call.gateway.client.send(&target.upstream, request).await?;
    let (head, body) = response.into_parts();
    learn(call, target, credential, served.dialect, &head);
    if !head.status.is_success() {
        return refused(call, target, served, credential, &head, body).await;
    }
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
        return Err(Failure::new(
            FailureClass::Nonsense,
            format!("the answer has content-encoding {encoding:?}, which was not asked for"),
        ));
    }
    // Frames around the events of another format are taken off first.
    let is_wrapped = is_amazons(&head.headers) && served.dialect != Dialect::BedrockConverse;
    let mut source = Source::upstream(body, is_wrapped);
    let mut answer =
        if is_event_stream(&head.headers) || call.stream && (call.json_array || source.begins_with_event().await?) {
            begin(call, target, served, source).await?
        } else if is_sound(served, &head.headers)? {
            first_content(call, Streamed::new(source, Transcoder::Sound(SoundTap::default()))).await?
        } else {
            whole(call, served, head.status, source, losses).await?
        };
    let spoken = call.gateway.account_tokens.spoken(credential);
    let mut headers = confidence::headers(&head.headers, &target.upstream, &spoken);
    match &mut answer {
        Answer::Stream(_) if is_wrapped || served != call.surface() => {
            headers.insert(CONTENT_TYPE, streamed_type(call));
        }
        Answer::Whole { .. } if served != call.surface() => {
            let content_type = if call.stream {
                streamed_type(call)
            } else {
                HeaderValue::from_static("application/json")
            };
            headers.insert(CONTENT_TYPE, content_type);
        }
        Answer::Refused { body, .. } => {
            *body = confidence::text(std::mem::take(body), &target.upstream, &spoken);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Answer::Stream(_) | Answer::Whole { .. } | Answer::Taken => {}
    }
    Ok((headers, answer))
}

/// Tells the board what an answer says of the limits that the next call will meet. Of a refusal only the allowances:
/// what it says of limits is read with its reason.
fn learn(call: &Call, target: &Target, credential: &Credential, dialect: Dialect, head: &http::response::Parts) {
    let (board, now) = (&call.gateway.board, call.gateway.clock.now());
    let told = Allowance::read(dialect, &head.headers, now);
    if let Some(wait) = told.used_up.filter(|_| head.status.is_success()) {
        board.spare(target, credential, wait, now);
    }
    if !told.windows.is_empty() {
        board.tell_windows(&target.upstream, credential, told.windows, now);
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"text/event-stream") || is_amazons(headers)
}

fn is_amazons(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"application/vnd.amazon.eventstream")
}

/// Whether the answer is sound, which goes through unread as it comes. Speech may also be told in JSON; a page is none.
fn is_sound(served: Surface, headers: &HeaderMap) -> Result<bool, Failure> {
    if served.operation != Operation::Speech {
        return Ok(false);
    }
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if content_type.starts_with(b"text/") {
        return Err(Failure::new(
            FailureClass::Nonsense,
            "the answer is text where sound was asked for",
        ));
    }
    Ok(!content_type.starts_with(b"application/json"))
}

/// The content type of the stream that the client asked for.
const fn streamed_type(call: &Call) -> HeaderValue {
    if call.json_array {
        HeaderValue::from_static("application/json")
    } else {
        HeaderValue::from_static("text/event-stream")
    }
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
            let has_fallback = !call.route.fallbacks.is_empty();
            let cause = has_fallback.then(|| dialects::refusal_cause(&body, "")).flatten();
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
                cause,
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
    let report = match dialects::read_answer(served, &body) {
        Ok(report) => report,
        Err(Nonsense::Error(failure)) => return said_failure(call, &failure, &body),
        Err(nonsense) => {
            return Err(Failure {
                status: Some(status.as_u16()),
                ..Failure::new(FailureClass::Nonsense, nonsense.to_string())
            });
        }
    };
    if let Some(failure) = failed_answer(&report) {
        return Err(failure);
    }
    if served == call.surface() {
        let body = repeating(call, body);
        return Ok(Answer::whole(status, body, report));
    }
    if let Some(failure) = &report.failure {
        return said_failure(call, failure, &body);
    }
    let told = translation::answer(call, served, &body, &report)?;
    losses.extend(translation::shown(&told.losses));
    Ok(Answer::Whole {
        status,
        body: told.body,
        report,
        kept: told.kept,
    })
}

/// A whole answer in the client's format, which repeats what the client sent.
fn repeating(call: &Call, body: Bytes) -> Bytes {
    match begin::repeated(call) {
        Some(own) => own.restore(&body),
        None => body,
    }
}

/// The provider's word under a 200 that it has no answer: what its error stands for, as in a stream.
fn said_failure(call: &Call, failure: &ReportedFailure, body: &[u8]) -> Result<Answer, Failure> {
    let Some(status) = begin::callers_status(failure) else {
        return Err(Failure {
            status: failure.status,
            ..Failure::new(failure.class, failure.detail.clone())
        });
    };
    let id = call.settlement.call.to_string();
    Ok(Answer::Refused {
        status,
        body: dialects::retell_refusal(call.dialect(), status.as_u16(), body, &id).body,
        cause: dialects::refusal_cause(body, ""),
    })
}

async fn demonstrate(call: &Call, target: &Target, served: Surface) -> Result<(HeaderMap, Answer), Failure> {
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
