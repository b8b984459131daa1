//! The messages of a session, on their way in both directions.
//!
//! One task, no channel: it reads from a side only when the other has taken what was read before, so who is slow slows
//! down the other and nothing piles up. Messages go on as they came; our own are errors, pings and closes. However a
//! session ends, it is settled first and told afterwards.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dialects::realtime::{error_event, read_client, read_server};
use domain::{Ending, Fault, FaultKind};
use hyper::upgrade::{OnUpgrade, Upgraded};
use routing::{Attempts, Choice, InFlight};
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use uuid::Uuid;

use super::meter::{Meter, Refusal};
use super::opening::Opening;
use super::socket::Side;
use crate::dispatch::chosen;
use crate::limits::{CANCEL_TIMEOUT, CLOSE_TIMEOUT};
use crate::settle::{Outcome, unrecorded};

/// A session under way, as soon as its client has switched protocols too.
pub(super) struct Session {
    opening: Opening,
    meter: Meter,
    choice: Choice,
    attempts: Attempts,
    upstream: Upgraded,
    timing: Timing,
    closing: CancellationToken,
    _open: InFlight,
}

#[derive(Clone, Copy)]
struct Timing {
    heartbeat: Duration,
    idle: Duration,
    session: Duration,
}

/// How a session ended.
enum End {
    /// The client said goodbye, or was just gone.
    Client(Option<CloseFrame>),
    /// The upstream said goodbye.
    Upstream(Option<CloseFrame>),
    /// The upstream was just gone, fell silent or spoke nonsense.
    Broken(Fault),
    /// One of our limits, or the client's mistake.
    Refused(Fault, CloseCode),
    /// The process ends.
    Shutdown,
}

/// What happened.
enum Turn {
    Client(Option<Result<Message, Error>>),
    Upstream(Option<Result<Message, Error>>),
    Alarm,
    Shutdown,
}

impl Session {
    /// A session with the upstream that took it.
    pub(super) fn new(
        mut opening: Opening,
        choice: Choice,
        attempts: Attempts,
        upstream: Upgraded,
        open: InFlight,
        closing: CancellationToken,
    ) -> Result<Self, Fault> {
        let (target, _) =
            chosen(&opening.route, choice).map_err(|_| Fault::new(FaultKind::Internal, "the session has no target"))?;
        let timing = Timing {
            // Often enough that who is there has answered before it would count as silent.
            heartbeat: opening
                .snapshot
                .defaults
                .heartbeat
                .0
                .min(target.upstream.timeouts.idle / 3),
            idle: target.upstream.timeouts.idle,
            session: target.upstream.timeouts.session,
        };
        opening.forget_request();
        let meter = Meter::new(&mut opening, choice);
        Ok(Self {
            opening,
            meter,
            choice,
            attempts,
            upstream,
            timing,
            closing,
            _open: open,
        })
    }

    /// The session, to its end.
    pub(super) async fn run(self, switching: OnUpgrade) {
        let budget = self.opening.gateway.bodies.clone();
        let upstream = Side::new(self.upstream, Role::Client, &budget).await;
        let now = Instant::now();
        let mut relay = Relay {
            client: None,
            upstream,
            meter: self.meter,
            opening: self.opening,
            choice: self.choice,
            attempts: self.attempts,
            timing: self.timing,
            deadline: now + self.timing.session,
            spoke: now,
            eventful: now,
            alarm: Box::pin(tokio::time::sleep(self.timing.heartbeat)),
            closing: Box::pin(self.closing.cancelled_owned()),
            client_next: false,
        };
        let end = match switching.await {
            Ok(client) => {
                relay.client = Some(Side::new(client, Role::Server, &budget).await);
                relay.relay().await
            }
            Err(_) => End::Client(None),
        };
        relay.part(end).await;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

struct Relay {
    /// Absent where it was gone before it had begun.
    client: Option<Side>,
    upstream: Side,
    meter: Meter,
    opening: Opening,
    choice: Choice,
    attempts: Attempts,
    timing: Timing,
    deadline: Instant,
    /// When both sides were pinged last.
    spoke: Instant,
    /// When the upstream said something last, beyond signs of life.
    eventful: Instant,
    alarm: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whose turn it is to be read first.
    client_next: bool,
}

impl Relay {
    async fn relay(&mut self) -> End {
        loop {
            let end = match poll_fn(|cx| self.poll_turn(cx)).await {
                Turn::Client(Some(Ok(message))) => self.client_said(message),
                Turn::Client(Some(Err(error))) => Some(mistake(&error).unwrap_or(End::Client(None))),
                Turn::Client(None) => Some(End::Client(None)),
                Turn::Upstream(Some(Ok(message))) => self.upstream_said(message).await,
                Turn::Upstream(Some(Err(_)) | None) => Some(End::Broken(broken_off())),
                Turn::Alarm => self.ring(),
                Turn::Shutdown => Some(End::Shutdown),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let Some(client) = &mut self.client else {
            return Poll::Ready(Turn::Client(None));
        };
        if let Poll::Ready(Err(error)) = client.poll_out(cx) {
            return Poll::Ready(Turn::Client(Some(Err(error))));
        }
        if let Poll::Ready(Err(error)) = self.upstream.poll_out(cx) {
            return Poll::Ready(Turn::Upstream(Some(Err(error))));
        }
        // Both refusals and answers go to the client, so nothing is read while it has something to take.
        if client.is_free() {
            self.client_next = !self.client_next;
            for side in [self.client_next, !self.client_next] {
                if side && self.upstream.is_free() {
                    if let Poll::Ready(message) = client.poll_in(cx) {
                        return Poll::Ready(Turn::Client(message));
                    }
                } else if !side && let Poll::Ready(message) = self.upstream.poll_in(cx) {
                    return Poll::Ready(Turn::Upstream(message));
                }
            }
        }
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Turn::Shutdown);
        }
        self.alarm.as_mut().poll(cx).map(|()| Turn::Alarm)
    }

    fn client_said(&mut self, message: Message) -> Option<End> {
        match &message {
            Message::Close(frame) => return Some(End::Client(frame.clone())),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
            Message::Binary(_) => {}
            Message::Text(text) => {
                let event = read_client(text);
                match self.meter.client_says(&event, text.len()) {
                    Ok(()) => {}
                    Err(Refusal::Event(fault)) => {
                        self.opening.gateway.metrics.refused(fault.kind);
                        self.tell(&fault, event.event_id.as_deref());
                        return None;
                    }
                    Err(Refusal::Session(fault)) => return Some(End::Refused(fault, CloseCode::Policy)),
                }
            }
        }
        if self.upstream.send(message) {
            None
        } else {
            Some(saturated())
        }
    }

    async fn upstream_said(&mut self, message: Message) -> Option<End> {
        let mut end = None;
        match &message {
            Message::Close(frame) => return Some(End::Upstream(frame.clone())),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
            Message::Binary(_) => {}
            Message::Text(text) => {
                let verdict = self.meter.server_says(&read_server(text));
                if let Some(settled) = verdict.settled
                    && let Err(error) = settled.ticket.await
                {
                    let call = self.opening.settlement.call;
                    tracing::error!(session = %call, %error, "a receipt is not durable");
                    return Some(End::Refused(unrecorded(), CloseCode::Error));
                }
                end = verdict.end;
                if verdict.withheld {
                    return Some(End::Refused(end.unwrap_or_else(unrecorded), CloseCode::Error));
                }
            }
        }
        self.eventful = Instant::now();
        let client = self.client.as_mut()?;
        if !client.send(message) {
            return Some(saturated());
        }
        end.map(|fault| End::Refused(fault, CloseCode::Policy))
    }

    /// Tells the client of a refusal, as an event.
    fn tell(&mut self, fault: &Fault, about: Option<&str>) {
        let id = format!("event_{}", Uuid::now_v7().simple());
        if let Some(client) = &mut self.client {
            client.send_small(Message::text(error_event(fault, &id, about)));
        }
    }

    /// It is time for a sign of life, or for an end.
    fn ring(&mut self) -> Option<End> {
        let now = Instant::now();
        if now >= self.deadline {
            let message = "the session has reached its time limit; connect again";
            let fault = Fault::new(FaultKind::RequestTimeout, message);
            return Some(End::Refused(fault, CloseCode::Policy));
        }
        let client = self.client.as_mut()?;
        // A side that is not read because the other takes nothing is not silent by its own doing.
        let is_silent = |side: &Side| now >= side.heard() + self.timing.idle;
        if client.is_free() {
            let stalls = self.meter.is_running() && now >= self.eventful + self.timing.idle;
            if is_silent(&self.upstream) || stalls {
                let message = "the upstream fell silent in the middle of the session";
                return Some(End::Broken(Fault::new(FaultKind::UpstreamTimeout, message)));
            }
            if self.upstream.is_free() && is_silent(client) {
                return Some(End::Client(None));
            }
        }
        if now >= self.spoke + self.timing.heartbeat {
            self.spoke = now;
            client.ping();
            self.upstream.ping();
        }
        // Silence is noticed a heartbeat late at most.
        let next = (self.spoke + self.timing.heartbeat).min(self.deadline);
        self.alarm.as_mut().reset(next.into());
        None
    }

    /// Settles, then tells both sides.
    async fn part(mut self, end: End) {
        if matches!(end, End::Client(_)) && self.meter.is_running() {
            // A timeout is an answer too: then it is estimated.
            let _late = tokio::time::timeout(CANCEL_TIMEOUT, self.cancel()).await;
        }
        let (ending, fault) = match &end {
            End::Client(Some(_)) => (Ending::Complete, None),
            End::Client(None) => (Ending::ClientGone, None),
            End::Upstream(frame) => match frame {
                Some(frame) if !matches!(frame.code, CloseCode::Normal | CloseCode::Away) => {
                    let fault = Fault::new(FaultKind::BadGateway, "the upstream ended the session");
                    (Ending::UpstreamGone, Some(fault))
                }
                _ => (Ending::Complete, None),
            },
            End::Broken(fault) => (Ending::UpstreamGone, Some(fault.clone())),
            End::Refused(fault, _) => (Ending::Limit, Some(fault.clone())),
            End::Shutdown => (
                Ending::Limit,
                Some(Fault::new(
                    FaultKind::Saturated,
                    "the gateway is shutting down; connect again",
                )),
            ),
        };
        let of_responses = match &end {
            End::Client(_) => Ending::ClientGone,
            End::Upstream(_) | End::Broken(_) => Ending::UpstreamGone,
            End::Refused(..) | End::Shutdown => Ending::Limit,
        };
        let error = fault.as_ref().map(|fault| fault.message.to_string());
        if matches!(end, End::Broken(_)) {
            let now = self.opening.gateway.clock.now();
            self.attempts
                .broke(&self.opening.route, self.choice, &self.opening.gateway.board, now);
        }
        self.meter.close(of_responses, error.as_deref());
        self.settle(ending, error);
        self.say_goodbye(end, fault.as_ref());
        let both = async {
            let client = async {
                if let Some(client) = &mut self.client {
                    leave(client).await;
                }
            };
            tokio::join!(client, leave(&mut self.upstream));
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, both).await.is_err() {
            tracing::debug!("a side of a realtime session did not take its last messages");
        }
    }

    /// The client has gone: responses that run are cancelled, and the upstream may say what they had used.
    async fn cancel(&mut self) {
        let cancels: Vec<String> = self
            .meter
            .running()
            .map(|id| serde_json::json!({"type": "response.cancel", "response_id": id}).to_string())
            .collect();
        for cancel in cancels {
            self.upstream.send_small(Message::text(cancel));
        }
        while self.meter.is_running() {
            let next = poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = self.upstream.poll_out(cx) {
                    return Poll::Ready(Some(Err(error)));
                }
                self.upstream.poll_in(cx)
            });
            match next.await {
                Some(Ok(Message::Text(text))) => self.meter.server_says_in_vain(&read_server(&text)),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The session's own receipt: it costs nothing, and says how long it was and how it ended.
    fn settle(&mut self, ending: Ending, error: Option<String>) {
        let outcome = Outcome {
            ending,
            status: 101,
            served: None,
            first_content: None,
            error,
        };
        if self.opening.settlement.finish(&outcome).is_err() {
            let call = self.opening.settlement.call;
            tracing::error!(session = %call, "the receipt of a session could not be journalled; it charged nothing");
        }
    }

    fn say_goodbye(&mut self, end: End, fault: Option<&Fault>) {
        let frame = |code, reason: String| {
            Some(CloseFrame {
                code,
                reason: reason.into(),
            })
        };
        let (to_client, to_upstream) = match end {
            End::Client(said) => (None, said.or(frame(CloseCode::Away, String::new()))),
            End::Upstream(said) => {
                let said = said.map(|frame| CloseFrame {
                    reason: self.meter.unspoken(&frame.reason).into(),
                    ..frame
                });
                if let Some(client) = &mut self.client {
                    client.send_close(said);
                }
                return;
            }
            End::Broken(_) => (
                frame(CloseCode::Error, String::new()),
                frame(CloseCode::Away, String::new()),
            ),
            End::Refused(_, code) => (frame(code, String::new()), frame(CloseCode::Normal, String::new())),
            End::Shutdown => (
                frame(CloseCode::Away, String::new()),
                frame(CloseCode::Away, String::new()),
            ),
        };
        self.upstream.send_close(to_upstream);
        if to_client.is_none() {
            return;
        }
        if let Some(fault) = fault {
            self.opening.gateway.metrics.refused(fault.kind);
            self.tell(fault, None);
        }
        if let Some(client) = &mut self.client {
            client.send_close(to_client);
        }
    }
}

/// Sends what is left, and waits until the other side has closed too.
async fn leave(side: &mut Side) {
    poll_fn(|cx| {
        if let Poll::Ready(Err(_)) = side.poll_out(cx) {
            return Poll::Ready(());
        }
        loop {
            match side.poll_in(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// What a client did that it must be told; `None`: it was just gone.
fn mistake(error: &Error) -> Option<End> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            let message = "the message is over the limit of 16 MiB";
            Some(End::Refused(Fault::new(FaultKind::TooLarge, message), CloseCode::Size))
        }
        Error::Utf8(_) => {
            let message = "a text message is not UTF-8";
            Some(End::Refused(
                Fault::new(FaultKind::Malformed, message),
                CloseCode::Invalid,
            ))
        }
        _ => None,
    }
}

fn saturated() -> End {
    let fault = Fault::new(FaultKind::Saturated, "too many large messages at once");
    End::Refused(fault, CloseCode::Again)
}

fn broken_off() -> Fault {
    Fault::new(
        FaultKind::BadGateway,
        "the upstream broke off in the middle of the session",
    )
}
