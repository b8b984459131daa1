//! A stream on its way to the client.
//!
//! No task and no channel: hyper asks for the next frame, the relay asks the upstream. Whatever the tap released goes
//! out as it came; the end of the answer is held back until its receipt is in the journal. While nothing comes, one
//! alarm watches three limits (heartbeat, idle, whole call); it is set anew only when it rings, not with every chunk.
//!
//! A relay may also begin before there is an answer: when routing is still trying and the client has waited a
//! heartbeat's length, status 200 is sent and the search goes on in here; failing over stays possible, because no
//! content has gone out.

mod recovering;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialects::{StreamEnd, StreamFault, TapState};
use domain::snapshot::Route;
use domain::{Ending, Failure, FailureClass, Fault, FaultKind};
use http_body::Frame;
use tokio::time::Sleep;

use crate::admit::Call;
use crate::body::BodyError;
use crate::dispatch::{Answer, Dispatched, Exchange, Streamed, chosen, failure_of};
use crate::limits::{TERMINATOR_TIMEOUT, TRAIL_TIMEOUT, USAGE_TIMEOUT};
use crate::recall;
use crate::recovery::Searched;
use crate::refuse::recorded;
use crate::settle::{Outcome, Served, Settled, unrecorded};
use crate::stop::{self, Stage};
use crate::upstream::confidence;

use recovering::{Meanwhile, Recovering};

type Dispatching = Pin<Box<dyn Future<Output = Dispatched> + Send>>;

/// A stream on its way to the client.
pub(crate) struct Relay {
    state: State,
    alarm: Pin<Box<Sleep>>,
}

enum State {
    /// Still looking for an answer; the client has been sent status 200.
    Waiting {
        dispatching: Dispatching,
        dialect: domain::Dialect,
        heartbeat: Duration,
        greeted: bool,
    },
    /// Relaying.
    Streaming(Box<Streaming>),
    /// The upstream broke off, and somebody is sought who goes on.
    Recovering(Box<Recovering>),
    /// Everything is settled; these go out when the receipt is durable.
    Closing {
        settled: Option<Settled>,
        last: VecDeque<Bytes>,
        call: Box<Call>,
        /// The number of what could be told instead of the end, where events have numbers.
        next_number: u64,
        /// Nothing may be told in words: the answer is sound.
        is_sound: bool,
        /// The connection is to be broken off after `last`, so that what came is not taken for the whole.
        breaks: bool,
    },
    /// The connection is to be broken off.
    Breaking,
    /// Nothing more.
    Done,
}

struct Streaming {
    call: Box<Call>,
    exchange: Exchange,
    streamed: Streamed,
    ready: VecDeque<Bytes>,
    heard: Instant,
    spoke: Instant,
    timing: Timing,
    /// The terminal event was seen; only what trails it is awaited.
    trailing: bool,
    /// Everything but the terminal event was seen: it is awaited until then.
    whole_by: Option<Instant>,
    /// The upstream had nothing more when it was last asked.
    awaiting: bool,
    /// How long the client left lying what was there for it: the upstream is not to blame for that time.
    unread: Duration,
    /// How often its answer was gone on with.
    recoveries: u32,
    /// The break was counted against the upstream.
    blamed: bool,
}

#[derive(Clone, Copy)]
struct Timing {
    heartbeat: Duration,
    idle: Duration,
    deadline: Instant,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

impl Relay {
    /// A relay of a stream that has begun.
    pub(crate) fn streaming(call: Box<Call>, exchange: Exchange, streamed: Streamed) -> Self {
        let streaming = Streaming::new(call, exchange, streamed);
        let first = streaming.timing.next(streaming.heard, streaming.spoke);
        Self {
            state: State::Streaming(Box::new(streaming)),
            alarm: Box::pin(tokio::time::sleep_until(first.into())),
        }
    }

    /// A relay that begins while the answer is still sought.
    pub(crate) fn waiting(dispatching: Dispatching, dialect: domain::Dialect, heartbeat: Duration) -> Self {
        let alarm = Box::pin(tokio::time::sleep(heartbeat));
        Self {
            state: State::Waiting {
                dispatching,
                dialect,
                heartbeat,
                greeted: false,
            },
            alarm,
        }
    }

    /// The next frame for the client.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Breaking => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err("the answer broke off".into())));
                }
                State::Closing {
                    settled,
                    last,
                    call,
                    next_number,
                    is_sound,
                    breaks,
                } => {
                    if let Some(waiting) = settled {
                        let durable = ready!(Pin::new(&mut waiting.ticket).poll(cx));
                        *settled = None;
                        if let (Ok(()), Some(pin)) = (&durable, call.job.take()) {
                            recall::jobs::billed(&call.gateway, &pin);
                        }
                        if let Err(error) = durable {
                            tracing::error!(call = %call.settlement.call, %error, "a receipt is not durable");
                            // What was held back is withheld for good; what had been released before stays.
                            last.pop_back();
                            *breaks = *is_sound;
                            if !*is_sound {
                                let (dialect, fault) = (call.dialect(), unrecorded());
                                let told = dialects::in_band_numbered(dialect, &fault, call.json_array, *next_number);
                                last.push_back(told);
                            }
                        }
                    }
                    match last.pop_front() {
                        Some(bytes) => return data(bytes),
                        None if *breaks => {
                            // What was given to the connection goes out while nothing more is there for it.
                            self.state = State::Breaking;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        None => self.state = State::Done,
                    }
                }
                State::Waiting {
                    dispatching,
                    dialect,
                    heartbeat,
                    greeted,
                } => {
                    if !*greeted {
                        *greeted = true;
                        return data(Bytes::from_static(dialects::heartbeat(*dialect)));
                    }
                    match dispatching.as_mut().poll(cx) {
                        Poll::Ready(dispatched) => self.found(dispatched),
                        Poll::Pending => {
                            ready!(self.alarm.as_mut().poll(cx));
                            let next = Instant::now() + *heartbeat;
                            self.alarm.as_mut().reset(next.into());
                            return data(Bytes::from_static(dialects::heartbeat(*dialect)));
                        }
                    }
                }
                State::Recovering(recovering) => match ready!(recovering.poll(cx, self.alarm.as_mut())) {
                    Meanwhile::Data(bytes) => return data(bytes),
                    Meanwhile::Over(searched) => self.go_on(*searched),
                },
                State::Streaming(streaming) => {
                    if let Some(bytes) = streaming.ready.pop_front() {
                        return data(bytes);
                    }
                    match streaming.advance(cx, self.alarm.as_mut()) {
                        Poll::Pending if streaming.is_cut() => {
                            let end = streaming.cut();
                            self.close(end);
                        }
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Advance::More) => {}
                        Poll::Ready(Advance::Ended(end)) => self.close(end),
                    }
                }
            }
        }
    }

    /// The search that went on behind heartbeats has ended.
    fn found(&mut self, (call, result): Dispatched) {
        match result {
            Ok(Exchange {
                answer: Answer::Stream(_),
                ..
            }) => {
                let Ok(mut exchange) = result else { return };
                let Answer::Stream(streamed) = std::mem::replace(&mut exchange.answer, Answer::Taken) else {
                    return;
                };
                if !streamed.tap.between_events() {
                    // Events were promised, and sound came.
                    self.fail(call, &unstreamed(&Answer::Taken));
                    return;
                }
                let streaming = Streaming::new(call, exchange, *streamed);
                self.alarm
                    .as_mut()
                    .reset(streaming.timing.next(streaming.heard, streaming.spoke).into());
                self.state = State::Streaming(Box::new(streaming));
            }
            Ok(exchange) => {
                let fault = unstreamed(&exchange.answer);
                match &exchange.answer {
                    Answer::Refused { status, .. } => self.fail_as(call, &fault, status.as_u16(), recorded(*status)),
                    _ => self.fail(call, &fault),
                }
            }
            Err(fault) => {
                call.gateway.metrics.refused(fault.kind);
                self.fail(call, &fault);
            }
        }
    }

    /// Ends in-band: status 200 is out already.
    fn fail(&mut self, call: Box<Call>, fault: &Fault) {
        self.fail_as(call, fault, fault.kind.status(), fault.message.to_string());
    }

    /// The same, where what is kept of it is not what the client is told.
    fn fail_as(&mut self, mut call: Box<Call>, fault: &Fault, status: u16, error: String) {
        let outcome = Outcome {
            ending: Ending::Failed,
            status,
            served: None,
            first_content: None,
            error: Some(error),
        };
        let settled = call.settlement.finish(&outcome).ok();
        let last = VecDeque::from([dialects::in_band_opening(call.dialect(), fault, call.json_array)]);
        self.state = State::Closing {
            settled,
            last,
            call,
            next_number: 0,
            is_sound: false,
            breaks: false,
        };
    }

    /// The search for somebody who goes on has ended.
    fn go_on(&mut self, (call, exchange, found): Searched) {
        let State::Recovering(recovering) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        let (streaming, end) = recovering.rest.go_on(call, exchange, found);
        self.alarm
            .as_mut()
            .reset(streaming.timing.next(streaming.heard, streaming.spoke).into());
        self.state = State::Streaming(streaming);
        if let Some(end) = end {
            self.close(end);
        }
    }

    fn close(&mut self, end: End) {
        let State::Streaming(streaming) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        let (streaming, end) = match streaming.recover(end) {
            Ok(recovering) => {
                self.alarm
                    .as_mut()
                    .reset((Instant::now() + recovering.heartbeat).into());
                self.state = State::Recovering(recovering);
                return;
            }
            Err(ended) => ended,
        };
        let is_sound = !streaming.streamed.tap.between_events();
        let Closed {
            settled,
            last,
            call,
            next_number,
            is_whole,
        } = streaming.close(end);
        self.state = State::Closing {
            settled,
            last,
            call,
            next_number,
            is_sound,
            breaks: is_sound && !is_whole,
        };
    }
}

fn data(bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

/// What an answer that is no stream means to a client that has been promised one.
fn unstreamed(answer: &Answer) -> Fault {
    match answer {
        Answer::Refused { status, body, .. } => {
            let text = String::from_utf8_lossy(body.get(..body.len().min(2_000)).unwrap_or_default()).into_owned();
            Fault::new(
                FaultKind::Malformed,
                format!("the upstream refused the request with status {status}: {text}"),
            )
        }
        _ => Fault::new(FaultKind::BadGateway, "the upstream did not stream its answer"),
    }
}

/// How a stream ended.
enum End {
    /// With its terminal event, or a clean end after every finish reason.
    Complete { last: Bytes },
    /// The upstream broke it off.
    Broken(StreamFault),
    /// One of our limits.
    Limit(Fault),
    /// The client took its answer so slowly that the call's time was over.
    Unread(Fault),
}

impl From<StreamEnd> for End {
    fn from(end: StreamEnd) -> Self {
        match end {
            StreamEnd::Complete { last } => Self::Complete { last },
            StreamEnd::Incomplete { why } => Self::Broken(why),
        }
    }
}

/// What is left to do of a stream that has ended.
struct Closed {
    settled: Option<Settled>,
    last: VecDeque<Bytes>,
    call: Box<Call>,
    /// The number of what could be told instead of the end.
    next_number: u64,
    /// Nothing is to be told of a failure.
    is_whole: bool,
}

enum Advance {
    More,
    Ended(End),
}

impl Timing {
    /// When the alarm must ring next.
    fn next(&self, heard: Instant, spoke: Instant) -> Instant {
        (spoke + self.heartbeat).min(heard + self.idle).min(self.deadline)
    }
}

impl Streaming {
    fn new(mut call: Box<Call>, exchange: Exchange, mut streamed: Streamed) -> Self {
        call.forget_request();
        let now = Instant::now();
        let limits = call
            .route
            .targets
            .get(exchange.choice.target)
            .map(|target| target.upstream.timeouts);
        let (idle, total) = limits.map_or((Duration::MAX, Duration::MAX), |limits| (limits.idle, limits.total));
        let deadline = call.gateway.clock.instant(call.started + total);
        let timing = Timing {
            heartbeat: call.snapshot.defaults.heartbeat.0,
            idle,
            deadline,
        };
        let ready = VecDeque::from(std::mem::take(&mut streamed.ready));
        Self {
            call,
            exchange,
            streamed,
            ready,
            heard: now,
            spoke: now,
            timing,
            trailing: false,
            whole_by: None,
            awaiting: false,
            unread: Duration::ZERO,
            recoveries: 0,
            blamed: false,
        }
    }

    /// Reads on, until there is something to send, an end, or nothing to do.
    fn advance(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Advance> {
        match std::mem::replace(&mut self.streamed.state, TapState::Open) {
            TapState::Open => {}
            TapState::Terminal => {
                self.streamed.state = TapState::Terminal;
                return self.trail(cx, alarm).map(Advance::Ended);
            }
            TapState::Broken(fault) => return Poll::Ready(Advance::Ended(End::Broken(fault))),
        }
        if let Some(end) = self.streamed.end.take() {
            return Poll::Ready(Advance::Ended(End::from(end)));
        }
        match self.streamed.source.poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.hear();
                if let Some(end) = self.overdue(self.heard) {
                    return Poll::Ready(Advance::Ended(end));
                }
                self.streamed.state = self.streamed.tap.push(chunk, &mut self.streamed.ready);
                if !self.streamed.ready.is_empty() {
                    self.spoke = self.heard;
                    self.ready.extend(self.streamed.ready.drain(..));
                }
                if self.call.settlement.is_stepped()
                    && let Err(fault) = self.call.settlement.cover(self.streamed.tap.content_bytes())
                {
                    return Poll::Ready(Advance::Ended(End::Limit(fault)));
                }
                Poll::Ready(Advance::More)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Advance::Ended(self.finish(false))),
            Poll::Ready(None) => Poll::Ready(Advance::Ended(self.finish(true))),
            Poll::Pending => {
                self.awaiting = true;
                self.note_whole(alarm.as_mut());
                self.watch(cx, alarm)
            }
        }
    }

    /// Whether the process is not waiting for it any longer.
    fn is_cut(&self) -> bool {
        self.call.gateway.stop.has_reached(Stage::Cutting)
    }

    /// How it ends where the process does not wait for it any longer: what is whole but for its end is whole.
    fn cut(&mut self) -> End {
        if self.trailing || self.whole_by.is_some() {
            self.finish(true)
        } else {
            End::Limit(stop::fault())
        }
    }

    /// Notes that an answer lacks nothing but its terminator, and sets the alarm to when it will do without.
    fn note_whole(&mut self, alarm: Pin<&mut Sleep>) {
        let wait = self
            .streamed
            .tap
            .lacks_only_its_terminator()
            .map(|has_usage| if has_usage { TERMINATOR_TIMEOUT } else { USAGE_TIMEOUT });
        let by = wait.map(|wait| self.heard + wait);
        if self.whole_by != by {
            self.whole_by = by;
            if let Some(by) = by {
                alarm.reset(by.min(self.timing.next(self.heard, self.spoke)).into());
            }
        }
    }

    /// Notes that the upstream was heard. If nothing had been awaited, it was the client that did not ask.
    fn hear(&mut self) {
        let now = Instant::now();
        if !std::mem::replace(&mut self.awaiting, false) {
            self.unread += now.saturating_duration_since(self.heard);
        }
        self.heard = now;
    }

    /// Whether the call's time is over, and by whose doing: who reads slowly must not get for nothing what was produced.
    fn overdue(&self, now: Instant) -> Option<End> {
        if now < self.timing.deadline {
            return None;
        }
        let in_time_otherwise = now
            .checked_sub(self.unread)
            .is_some_and(|then| then < self.timing.deadline);
        Some(if in_time_otherwise {
            let message = "the client took its answer too slowly for the call's time limit (server.request_timeout)";
            End::Unread(Fault::new(FaultKind::RequestTimeout, message))
        } else {
            let message = "the call took longer than its time limit (server.request_timeout)";
            End::Limit(Fault::new(FaultKind::UpstreamTimeout, message))
        })
    }

    fn finish(&mut self, clean: bool) -> End {
        End::from(self.streamed.tap.finish(clean))
    }

    /// The terminal event is here. What follows it (a trailing `[DONE]`, the end of the body) is taken along if it comes
    /// soon; then the upstream's connection can be used again, too.
    fn trail(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<End> {
        if !std::mem::replace(&mut self.trailing, true) {
            alarm.as_mut().reset((Instant::now() + TRAIL_TIMEOUT).into());
        }
        loop {
            match self.streamed.source.poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.streamed.tap.push(chunk, &mut self.streamed.ready);
                }
                Poll::Pending if alarm.as_mut().poll(cx).is_pending() => return Poll::Pending,
                _ => break,
            }
        }
        self.ready.extend(self.streamed.ready.drain(..));
        Poll::Ready(self.finish(true))
    }

    /// Nothing came: is a limit reached, or a sign of life due?
    fn watch(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Advance> {
        while alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            // An alarm is looked at late when the client did not ask for more.
            let late = now.saturating_duration_since(alarm.deadline().into_std().max(self.heard));
            self.unread += late;
            self.heard += late;
            if let Some(end) = self.overdue(now) {
                return Poll::Ready(Advance::Ended(end));
            }
            if self.whole_by.is_some_and(|by| now >= by) {
                return Poll::Ready(Advance::Ended(self.finish(true)));
            }
            if now >= self.heard + self.timing.idle {
                let fault = Fault::new(
                    FaultKind::UpstreamTimeout,
                    "the upstream fell silent in the middle of its answer",
                );
                return Poll::Ready(Advance::Ended(End::Limit(fault)));
            }
            if now >= self.spoke + self.timing.heartbeat {
                self.spoke = now;
                if self.streamed.tap.between_events() {
                    let beat = dialects::heartbeat(self.call.dialect());
                    self.ready.push_back(Bytes::from_static(beat));
                }
            }
            let next = self.timing.next(self.heard, self.spoke);
            alarm
                .as_mut()
                .reset(self.whole_by.map_or(next, |by| by.min(next)).into());
            if !self.ready.is_empty() {
                return Poll::Ready(Advance::More);
            }
        }
        Poll::Pending
    }

    /// Settles, and says what goes out last.
    fn close(mut self, end: End) -> Closed {
        let failed = self.failed(&end);
        self.call.settlement.stream_ended(failed);
        let (ending, fault, last) = match end {
            // The provider's own word that the answer failed is passed on as it wrote it.
            End::Complete { last } if failed.is_some() => {
                self.blame();
                (Ending::UpstreamGone, None, self.unspoken(last))
            }
            End::Complete { last } => (Ending::Complete, None, last),
            End::Broken(why) => {
                let failure = failure_of(&why);
                self.blame();
                (Ending::UpstreamGone, Some(broken(&failure)), Bytes::new())
            }
            End::Limit(fault) => {
                if fault.kind == FaultKind::UpstreamTimeout {
                    self.blame();
                }
                let ending = if fault.kind == FaultKind::UpstreamTimeout {
                    Ending::UpstreamGone
                } else {
                    Ending::Limit
                };
                (ending, Some(fault), Bytes::new())
            }
            End::Unread(fault) => (Ending::ClientGone, Some(fault), Bytes::new()),
        };
        let error = fault.as_ref().map(|fault| fault.message.to_string());
        let settled = self.settle_or_hand_over(ending, error).transpose();
        let Self {
            mut call,
            mut streamed,
            mut ready,
            ..
        } = self;
        // Before its end is released: the client may continue it at once.
        if let (Ok(Some(_)), Some(response)) = (&settled, streamed.tap.take_kept()) {
            recall::keep_turn(&mut call, &response);
        }
        let told = settled.as_ref().err().cloned().or(fault);
        let is_whole = told.is_none();
        let next_number = streamed.tap.next_number();
        let last = match told {
            None => last,
            Some(_) if !streamed.tap.between_events() => Bytes::new(),
            Some(fault) => dialects::in_band_numbered(call.dialect(), &fault, call.json_array, next_number),
        };
        if ending == Ending::Complete {
            streamed.source.drain();
        }
        ready.push_back(last);
        Closed {
            settled: settled.ok().flatten(),
            last: ready,
            call,
            next_number,
            is_whole,
        }
    }

    /// The provider's words without what it was told in confidence.
    fn unspoken(&self, words: Bytes) -> Bytes {
        let Ok((target, credential)) = chosen(&self.call.route, self.exchange.choice) else {
            return words;
        };
        let spoken = self.call.gateway.account_tokens.spoken(credential);
        confidence::text(words, &target.upstream, &spoken)
    }

    /// What the upstream did wrong, if it ended like this.
    fn failed(&self, end: &End) -> Option<FailureClass> {
        match end {
            End::Complete { .. } => self.streamed.tap.failed(),
            End::Broken(why) => Some(failure_of(why).class),
            End::Limit(fault) => (fault.kind == FaultKind::UpstreamTimeout).then_some(FailureClass::Silence),
            End::Unread(_) => None,
        }
    }

    /// Counts the break against the upstream.
    fn blame(&mut self) {
        if std::mem::replace(&mut self.blamed, true) {
            return;
        }
        let now = self.call.gateway.clock.now();
        self.exchange
            .attempts
            .broke(&self.call.route, self.exchange.choice, &self.call.gateway.board, now);
    }

    /// Settles; or, where the upstream goes on in the background, hands the account over to whoever sees its end.
    fn settle_or_hand_over(&mut self, ending: Ending, error: Option<String>) -> Option<Result<Settled, Fault>> {
        let Some(pin) = self.call.job.take() else {
            return Some(self.settle(ending, error));
        };
        if ending == Ending::Complete {
            // Billed with its call, once the receipt is durable.
            self.call.job = Some(pin);
            return Some(self.settle(ending, error));
        }
        recall::jobs::begin(&self.call.gateway, pin, &mut self.call.settlement);
        None
    }

    /// What the upstream delivered.
    fn served<'a>(&self, route: &'a Route) -> Option<Served<'a>> {
        let (target, credential) = chosen(route, self.exchange.choice).ok()?;
        Some(Served {
            target,
            credential: credential.id,
            report: self.streamed.tap.report(),
            relayed: self.streamed.tap.has_content(),
            sound_tokens: 0,
        })
    }

    fn settle(&mut self, ending: Ending, error: Option<String>) -> Result<Settled, Fault> {
        self.call.settlement.lost(self.streamed.tap.losses());
        let route = std::sync::Arc::clone(&self.call.route);
        let served = self.served(&route);
        self.call.settlement.finish(&Outcome {
            ending,
            status: 200,
            served,
            first_content: Some(self.exchange.first_content),
            error,
        })
    }
}

/// What the client is told of a break: the kind of trouble, never the provider's words about our account.
fn broken(failure: &Failure) -> Fault {
    match failure.class {
        FailureClass::Overloaded => Fault::new(
            FaultKind::Overloaded,
            "the upstream became overloaded in the middle of its answer",
        ),
        FailureClass::RateLimited | FailureClass::OutOfCredit | FailureClass::CreditShort => Fault::new(
            FaultKind::UpstreamLimited,
            "the upstream's limit was reached in the middle of its answer",
        ),
        FailureClass::Silence => Fault::new(
            FaultKind::UpstreamTimeout,
            "the upstream fell silent in the middle of its answer",
        ),
        _ => Fault::new(
            FaultKind::BadGateway,
            "the upstream broke off in the middle of its answer",
        ),
    }
}

impl Drop for Relay {
    /// The client went away: what was produced is settled and flagged; dropping the source cancels the upstream. Or we
    /// did, at the end of a stop, and then nobody pays.
    fn drop(&mut self) {
        let State::Streaming(streaming) = &mut self.state else {
            return;
        };
        let (ending, error) = if streaming.is_cut() {
            (Ending::Limit, Some(stop::fault().message.to_string()))
        } else {
            (Ending::ClientGone, None)
        };
        streaming.call.settlement.stream_ended(None);
        if let Some(Err(_)) = streaming.settle_or_hand_over(ending, error) {
            tracing::error!(call = %streaming.call.settlement.call, "the receipt of an abandoned stream could not be journalled");
        }
    }
}
