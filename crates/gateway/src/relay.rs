//! A stream on its way to the client.
//!
//! No task and no channel: hyper asks for the next frame, the relay asks the upstream. Whatever the tap released goes
//! out as it came; the end of the answer is held back until its receipt is in the journal. This file is the client's
//! side: what it may be given next. [`streaming`] is the upstream's, [`silence`] the alarm while nothing comes, [`ending`]
//! what every end leads to, [`recovering`] the time between two upstreams.
//!
//! A relay may also begin before there is an answer: when routing is still trying and the client has waited a
//! heartbeat's length, status 200 is sent and the search goes on in here; failing over stays possible, because no
//! content has gone out.

mod ending;
mod recovering;
mod silence;
mod streaming;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{Ending, Fault, FaultKind};
use http_body::Frame;
use tokio::time::Sleep;

use crate::admit::Call;
use crate::body::BodyError;
use crate::dispatch::{Answer, Dispatched, Exchange, Streamed};
use crate::recall;
use crate::recovery::Searched;
use crate::refuse::recorded;
use crate::settle::{Outcome, Settled, unrecorded};
use crate::stop;
use ending::{Closed, End};
use recovering::{Meanwhile, Recovering};
use streaming::{Advance, Streaming};

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
