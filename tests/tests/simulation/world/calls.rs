//! The course of a call, from its arrival over the hold and the tries to the last piece of its answer.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::{Ending, FailureClass, Policy, Timestamp};
use rand::Rng as _;
use routing::{Attempts, Board, BreakerState, Choice, Step, plan};

use super::{Event, World};
use crate::call::Bell;
use crate::upstreams::{CHAT, Mood};

/// How long a call waits for money before it is refused.
const HOLD_WAIT: Duration = Duration::from_secs(20);
/// How long a call may take from its admission.
pub(super) const LIMIT: Duration = Duration::from_mins(2);
/// Pieces that a stream is relayed in.
const PIECES: u64 = 6;

impl World {
    pub(super) fn arrive(&mut self, call: usize) {
        let script = self.calls[call].script;
        let user = &mut self.users[script.user];
        let expected = metering::input_tokens(script.body_bytes) + script.output_bound.unwrap_or(500);
        match user.limiter.admit(&user.limits, expected, self.now) {
            Ok(permit) => {
                user.admitted.push(self.now);
                self.calls[call].permit = Some(permit);
            }
            Err(limited) => {
                assert!(limited.retry_after > Duration::ZERO && limited.limit > 0, "{limited:?}");
                self.tally.over_limits += 1;
                self.calls[call].ended = Some(Ending::Failed);
                return;
            }
        }
        if let Some(at) = script.hangs_up {
            self.schedule(at, Event::HangUp(call));
        }
        self.schedule(self.now + HOLD_WAIT, Event::GiveUpHold(call));
        self.poll_hold(call);
        self.tally.waited_for_money += u64::from(self.calls[call].waits_for_hold());
    }

    pub(super) fn poll_hold(&mut self, call: usize) {
        if !self.calls[call].waits_for_hold() {
            return;
        }
        let script = &self.calls[call].script;
        let user = &self.users[script.user];
        let steps = script.hold_bound.steps.filter(|_| script.stream);
        let amount = steps.map_or(script.hold_bound.amount, |steps| steps.first);
        let waker = Arc::new(Bell {
            call,
            rung: Arc::clone(&self.rung),
        })
        .into();
        let account = self.accounts.get(user.id);
        match account.poll_hold(&mut Context::from_waker(&waker), user.policy, amount) {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => {
                let view = account.view();
                let affordable = view.balance - view.pending >= amount;
                assert!(
                    user.policy != Policy::Hard || !affordable,
                    "refused {amount} with {view:?}"
                );
                self.tally.out_of_money += 1;
                self.end(call, Ending::Failed, false);
            }
            Poll::Ready(Ok(hold)) => {
                let plan = plan(&self.route, CHAT, &self.board, self.now, &mut self.rng);
                let state = &mut self.calls[call];
                state.hold = Some(hold);
                state.covered = steps.map_or(u64::MAX, |steps| steps.step_tokens);
                state.attempts = Some(Attempts::new(plan, &self.defaults, self.now + LIMIT));
                state.not_before = self.now;
                self.soon(0, Event::Next(call));
            }
        }
    }

    /// The call gives up waiting for money. If there were enough by now, it should have been woken.
    pub(super) fn give_up_hold(&mut self, call: usize) {
        if self.calls[call].waits_for_hold() {
            self.poll_hold(call);
            assert!(self.calls[call].hold.is_none(), "a wake-up was lost");
            if self.calls[call].ended.is_none() {
                self.tally.out_of_money += 1;
                self.end(call, Ending::Failed, false);
            }
        }
    }

    pub(super) fn next(&mut self, call: usize) {
        let state = &mut self.calls[call];
        let (None, None, Some(attempts)) = (state.ended, state.trying, state.attempts.as_mut()) else {
            return;
        };
        let before: Vec<BreakerState> = breakers(&self.board, self.now, self.natures.len());
        let step = attempts.next(&self.route, &self.board, self.now);
        assert_eq!(
            step,
            attempts.next(&self.route, &self.board, self.now),
            "asked twice, answered twice"
        );
        match step {
            Step::Wait { until } => {
                assert!(until > self.now, "a wait that is over");
                if state.not_before == until {
                    return;
                }
                state.not_before = until;
                self.tally.waits += 1;
                // Asking too early must change nothing.
                let early = self.rng.random_range(0..=until.since(self.now).as_millis() as u64);
                self.soon(early, Event::Next(call));
                self.schedule(until, Event::Next(call));
            }
            Step::GiveUp(fault) => {
                assert!((400..600).contains(&fault.kind.status()));
                let out_of_time = self.now >= state.script.at + HOLD_WAIT + LIMIT;
                assert!(
                    !self.steady || out_of_time,
                    "refused although a healthy upstream remains: {fault:?}"
                );
                self.end(call, Ending::Failed, false);
            }
            Step::Try(choice) => self.begin(call, choice, &before),
        }
    }

    /// A try begins. What was promised about when and where is checked here.
    fn begin(&mut self, call: usize, choice: Choice, before: &[BreakerState]) {
        let state = &mut self.calls[call];
        assert!(self.now >= state.not_before, "a try before its wait was over");
        if let Some(until) = self.told.get(&choice) {
            assert!(
                self.now >= *until,
                "{choice:?} was asked before the time that its provider named"
            );
        }
        assert!(!state.silent[choice.target], "a silent upstream was asked again");
        let attempts = state.attempts.as_ref().expect("a running call");
        assert!(attempts.tries() <= self.defaults.attempts_max);
        let upstream = &self.route.targets[choice.target].upstream;
        match before[choice.target] {
            BreakerState::Open { until } => {
                assert!(
                    !self.steady,
                    "upstream {} is open until {until:?} and another is healthy",
                    choice.target
                );
            }
            BreakerState::HalfOpen { .. } => {
                state.probing = true;
                self.tally.probes += 1;
            }
            _ => {}
        }
        state.trying = Some(choice);
        state.in_flight = Some(
            self.board
                .begin(upstream, &upstream.credentials[choice.credential], self.now),
        );
        self.tally.tries += 1;
        let probes = self
            .calls
            .iter()
            .filter(|call| call.probing && call.trying.is_some_and(|c| c.target == choice.target));
        assert!(
            !self.steady || probes.count() <= 1,
            "two calls probe upstream {}",
            choice.target
        );
        let slow = if matches!(
            self.natures[choice.target].mood(self.now),
            Mood::Down(FailureClass::Silence)
        ) {
            10_000
        } else {
            0
        };
        let takes = slow + self.rng.random_range(5..800);
        self.soon(takes, Event::Answer(call));
    }

    pub(super) fn answer(&mut self, call: usize) {
        let state = &mut self.calls[call];
        let (None, Some(choice)) = (state.ended, state.trying) else {
            return;
        };
        let attempts = state.attempts.as_mut().expect("a running call");
        let answer = self.natures[choice.target].answer(choice.credential, self.now, &mut self.rng);
        match answer {
            Ok(()) => {
                attempts.served(&self.route, choice, &self.board, self.now);
                state.probing = false;
                self.piece(call);
            }
            Err(failure) => {
                attempts.failed(&self.route, choice, &failure, &self.board, self.now, &mut self.rng);
                match failure.class {
                    FailureClass::Silence => state.silent[choice.target] = true,
                    FailureClass::RateLimited => {
                        if let Some(wait) = failure.retry_after {
                            let until = self.told.entry(choice).or_insert(self.now);
                            *until = (*until).max(self.now + wait);
                        }
                    }
                    FailureClass::Auth | FailureClass::OutOfCredit | FailureClass::CreditShort => {}
                    _ => state.troubles[choice.target] += 1,
                }
                assert!(
                    state.troubles[choice.target] <= 1 + self.defaults.retries,
                    "upstream {choice:?} was hammered"
                );
                state.probing = false;
                state.trying = None;
                state.in_flight = None;
                self.soon(0, Event::Next(call));
            }
        }
    }

    /// A piece of the answer is relayed; of one that is no stream, all of it.
    pub(super) fn piece(&mut self, call: usize) {
        let state = &mut self.calls[call];
        let (None, Some(choice)) = (state.ended, state.trying) else {
            return;
        };
        let total = state.script.usage.output;
        let piece = if state.script.stream {
            total.div_ceil(PIECES).max(1)
        } else {
            total
        };
        state.relayed = (state.relayed + piece).min(total);
        if matches!(self.natures[choice.target].mood(self.now), Mood::Breaking) {
            let attempts = state.attempts.as_mut().expect("a running call");
            attempts.broke(&self.route, choice, &self.board, self.now);
            return self.end(call, Ending::UpstreamGone, false);
        }
        while state.relayed > state.covered {
            let (steps, hold) = (
                state.script.hold_bound.steps.expect("steps"),
                state.hold.as_mut().expect("a hold"),
            );
            if hold.grow(steps.step).is_err() {
                return self.end(call, Ending::Limit, true);
            }
            state.covered += steps.step_tokens;
            self.tally.steps += 1;
        }
        if state.relayed >= total {
            return self.end(call, Ending::Complete, false);
        }
        let pause = self.rng.random_range(5..3_000);
        self.soon(pause, Event::Piece(call));
    }
}

/// How each upstream's breaker stands, by its place.
fn breakers(board: &Board, now: Timestamp, count: usize) -> Vec<BreakerState> {
    let mut states = vec![BreakerState::Closed; count];
    for status in board.upstreams(now) {
        states[status.upstream.0 as usize - 1] = status.breaker;
    }
    states
}
