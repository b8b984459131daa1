//! The world: events in the order of their time, and the promises, checked after each.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::declaration::Defaults;
use domain::limits::Limits;
use domain::snapshot::Route;
use domain::{Ending, FailureClass, Money, Operation, Policy, Price, Timestamp, UserId};
use metering::{Accounts, Bound, Facts, KeyLimiter, Reported, charge, hold_for};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use routing::{Attempts, Board, BreakerState, Choice, Step, plan};

use crate::call::{Bell, Call, Script, usage};
use crate::upstreams::{CHAT, Mood, Nature, START, STORMY, draw, price};

/// Calls of one world.
const CALLS: usize = 40;
/// How long a call waits for money before it is refused.
const HOLD_WAIT: Duration = Duration::from_secs(20);
/// How long a call may take from its admission.
const LIMIT: Duration = Duration::from_mins(2);
/// Pieces that a stream is relayed in.
const PIECES: u64 = 6;

/// How often what happened, over all worlds: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub complete: u64,
    pub client_gone: u64,
    pub upstream_gone: u64,
    pub limit: u64,
    pub failed: u64,
    pub over_limits: u64,
    pub out_of_money: u64,
    pub waited_for_money: u64,
    pub tries: u64,
    pub waits: u64,
    pub probes: u64,
    pub uncollected: u64,
    pub steps: u64,
    pub estimated: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    /// Asks for the hold again.
    PollHold(usize),
    GiveUpHold(usize),
    /// Asks the attempts what to do.
    Next(usize),
    /// The running try comes to its answer or failure.
    Answer(usize),
    /// The next piece of a stream, or the whole answer.
    Piece(usize),
    HangUp(usize),
    /// The settler books what is in the journal.
    Book,
}

struct User {
    id: UserId,
    policy: Policy,
    limiter: Arc<KeyLimiter>,
    limits: Limits,
    /// The ledger's balance.
    balance: i64,
    /// Everything ever credited.
    credited: i64,
    admitted: Vec<Timestamp>,
}

pub(crate) struct World {
    rng: SmallRng,
    now: Timestamp,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    sequence: u64,
    route: Route,
    natures: Vec<Nature>,
    steady: bool,
    board: Board,
    accounts: Accounts,
    users: Vec<User>,
    calls: Vec<Call>,
    price: Price,
    defaults: Defaults,
    rung: Arc<Mutex<Vec<usize>>>,
    /// Until when each credential (upstream, credential) must not be asked, as its provider said.
    told: HashMap<Choice, Timestamp>,
    /// Charges (call, user, amount) that the ledger does not have yet.
    journal: Vec<(usize, usize, i64)>,
    booked: HashSet<usize>,
    tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let steady = rng.random();
        let (route, natures) = draw(steady, &mut rng);
        let mut world = Self {
            now: START,
            queue: BinaryHeap::new(),
            sequence: 0,
            route,
            natures,
            steady,
            board: Board::new(),
            accounts: Accounts::new(),
            users: Vec::new(),
            calls: Vec::new(),
            price: price(),
            defaults: Defaults {
                bill_abandoned: rng.random_range(0..4) > 0,
                ..Defaults::default()
            },
            rung: Arc::default(),
            told: HashMap::new(),
            journal: Vec::new(),
            booked: HashSet::new(),
            tally: Tally::default(),
            rng,
        };
        world.draw_users();
        world.draw_calls();
        world
    }

    fn draw_users(&mut self) {
        for number in 0..self.rng.random_range(1..=3_i64) {
            let policy = [Policy::Hard, Policy::Hard, Policy::Soft, Policy::Unlimited][self.rng.random_range(0..4)];
            let id = UserId(number + 1);
            let balance = self.rng.random_range(0..60_000_000);
            self.accounts.set_balance(id, Money::from_nanos(balance));
            let some = |rng: &mut SmallRng, most: u32| if rng.random() { rng.random_range(1..most) } else { 0 };
            let limits = Limits {
                rpm: some(&mut self.rng, 40),
                tpm: some(&mut self.rng, 100_000),
                concurrency: some(&mut self.rng, 10),
            };
            let limiter = Arc::new(KeyLimiter::new(START));
            self.users.push(User {
                id,
                policy,
                limiter,
                limits,
                balance,
                credited: balance,
                admitted: Vec::new(),
            });
        }
    }

    fn draw_calls(&mut self) {
        // Some worlds are crowds, some are a trickle over the whole storm.
        let span = if self.rng.random() {
            20_000
        } else {
            STORMY.as_millis() as u64
        };
        for number in 0..CALLS {
            let rng = &mut self.rng;
            let at = START + Duration::from_millis(rng.random_range(0..span));
            let body_bytes = rng.random_range(100..4_000);
            let asked = rng.random_range(1..4_000);
            let output_bound = rng.random_range(0..3_u8).gt(&0).then_some(asked);
            let bound = Bound {
                body_bytes,
                output_bound,
                choices: 1,
                generates: true,
                ..Bound::default()
            };
            let script = Script {
                user: rng.random_range(0..self.users.len()),
                at,
                body_bytes,
                output_bound,
                usage: usage(body_bytes, asked, rng),
                stream: rng.random(),
                reports: rng.random_range(0..5) > 0,
                hangs_up: (rng.random_range(0..6) == 0)
                    .then(|| at + Duration::from_millis(rng.random_range(0..20_000))),
                hold_bound: hold_for(&bound, &self.price),
            };
            self.calls.push(Call::new(script, self.natures.len()));
            self.schedule(at, Event::Arrive(number));
        }
        self.schedule(START, Event::Book);
    }

    fn schedule(&mut self, at: Timestamp, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }

    fn soon(&mut self, ms: u64, event: Event) {
        self.schedule(self.now + Duration::from_millis(ms), event);
    }

    /// Runs to the end of the last call.
    pub(crate) fn run(mut self) -> Tally {
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            assert!(at >= self.now, "time runs backwards");
            self.now = at;
            self.handle(event);
            let rung = std::mem::take(&mut *self.rung.lock());
            for call in rung {
                self.soon(0, Event::PollHold(call));
            }
            self.check();
        }
        self.check_the_end();
        self.tally
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(call) => self.arrive(call),
            Event::PollHold(call) => self.poll_hold(call),
            Event::GiveUpHold(call) => self.give_up_hold(call),
            Event::Next(call) => self.next(call),
            Event::Answer(call) => self.answer(call),
            Event::Piece(call) => self.piece(call),
            Event::HangUp(call) => {
                if self.calls[call].ended.is_none() {
                    self.end(call, Ending::ClientGone, false);
                }
            }
            Event::Book => self.book(),
        }
    }

    fn arrive(&mut self, call: usize) {
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

    fn poll_hold(&mut self, call: usize) {
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
    fn give_up_hold(&mut self, call: usize) {
        if self.calls[call].waits_for_hold() {
            self.poll_hold(call);
            assert!(self.calls[call].hold.is_none(), "a wake-up was lost");
            if self.calls[call].ended.is_none() {
                self.tally.out_of_money += 1;
                self.end(call, Ending::Failed, false);
            }
        }
    }

    fn next(&mut self, call: usize) {
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

    fn answer(&mut self, call: usize) {
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
    fn piece(&mut self, call: usize) {
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

    /// The one place where a call ends: charge, journal, settle, give everything back.
    fn end(&mut self, call: usize, ending: Ending, hold_ran_out: bool) {
        let now = self.now;
        let state = &mut self.calls[call];
        assert_eq!(state.ended.replace(ending), None, "a call ended twice");
        let relayed_content = state.relayed > 0 || (ending == Ending::Complete);
        let complete = ending == Ending::Complete;
        let reported = if complete && state.script.reports {
            Reported::Possible(state.script.usage)
        } else {
            Reported::None
        };
        let user = &self.users[state.script.user];
        let hold = state.hold.take();
        let set_aside = hold.as_ref().map_or(Money::ZERO, metering::Hold::amount);
        let charge = charge(&Facts {
            operation: Operation::Chat,
            ending,
            hold_ran_out,
            status_ok: relayed_content,
            reported,
            relayed_content,
            content_bytes: state.relayed * 3,
            sound_tokens: 0,
            body_bytes: state.script.body_bytes,
            begun_bytes: 0,
            units: None,
            price: Some(&self.price),
            service_tier: None,
            policy: user.policy,
            hold: set_aside,
            bill_abandoned: self.defaults.bill_abandoned,
        });
        let billable = complete || relayed_content && matches!(ending, Ending::ClientGone) || hold_ran_out;
        assert!(
            billable || charge.charged == Money::ZERO,
            "{ending:?} was charged {}",
            charge.charged
        );
        if complete && state.script.reports {
            assert_eq!(charge.uncollected, Money::ZERO, "the hold was no bound");
            assert_eq!(
                charge.charged,
                metering::cost(&state.script.usage, &self.price.ordinary.rates)
            );
        }
        // The receipt is in the journal before the hold becomes a pending charge.
        if charge.charged > Money::ZERO {
            self.journal.push((call, state.script.user, charge.charged.nanos()));
        }
        if let Some(hold) = hold {
            hold.settle(charge.charged);
        }
        if let Some(permit) = state.permit.take() {
            permit.correct(charge.usage.total(), now);
        }
        state.attempts = None;
        state.in_flight = None;
        state.trying = None;
        state.probing = false;
        self.tally.note(ending, &charge);
    }

    /// A batch of the journal is booked, and sometimes somebody pays in.
    fn book(&mut self) {
        let batch = self.rng.random_range(0..=self.journal.len());
        let mut charged = vec![0; self.users.len()];
        for (call, user, amount) in self.journal.drain(..batch) {
            assert!(self.booked.insert(call), "call {call} was booked twice");
            charged[user] += amount;
        }
        for (user, charged) in self.users.iter_mut().zip(charged) {
            user.balance -= charged;
            if self.rng.random_range(0..8) == 0 {
                let paid = self.rng.random_range(0..5_000_000);
                user.balance += paid;
                user.credited += paid;
            }
            self.accounts
                .booked(user.id, Money::from_nanos(charged), Money::from_nanos(user.balance));
        }
        let over = self.journal.is_empty() && self.calls.iter().all(|call| call.ended.is_some());
        if !over {
            let pause = self.rng.random_range(100..6_000);
            self.soon(pause, Event::Book);
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        for (number, user) in self.users.iter().enumerate() {
            let view = self.accounts.get(user.id).view();
            let mine = || self.calls.iter().filter(|call| call.script.user == number);
            let held: i64 = mine()
                .filter_map(|call| call.hold.as_ref())
                .map(|hold| hold.amount().nanos())
                .sum();
            assert_eq!(view.held.nanos(), held, "what is held is not what the calls hold");
            let journalled: i64 = self
                .journal
                .iter()
                .filter(|entry| entry.1 == number)
                .map(|entry| entry.2)
                .sum();
            assert_eq!(
                view.pending.nanos(),
                journalled,
                "what is pending is not what is journalled"
            );
            assert_eq!(view.balance.nanos(), user.balance);
            if user.policy == Policy::Hard {
                assert!(
                    view.available >= Money::ZERO,
                    "user {number} spends what is not there: {view:?}"
                );
            }
            let open = mine().filter(|call| call.permit.is_some()).count();
            assert!(
                user.limits.concurrency == 0 || open <= user.limits.concurrency as usize,
                "{open} calls at once"
            );
        }
    }

    /// What holds when all is over.
    fn check_the_end(&self) {
        assert!(self.calls.iter().all(|call| call.ended.is_some()), "a call never ended");
        assert_eq!(self.accounts.held_total(), Money::ZERO, "something is still held");
        assert_eq!(self.accounts.pending_total(), Money::ZERO, "something was never booked");
        assert!(
            self.board
                .upstreams(self.now)
                .iter()
                .all(|status| status.open_calls == 0)
        );
        assert!(
            self.board
                .credentials(self.now)
                .iter()
                .all(|status| status.open_calls == 0)
        );
        for user in &self.users {
            assert!(
                user.policy != Policy::Hard || user.balance >= 0,
                "a hard balance ends at {}",
                user.balance
            );
            assert!(user.credited >= user.balance);
            for (n, first) in user.admitted.iter().enumerate() {
                let within = user.admitted[n..]
                    .iter()
                    .filter(|then| then.since(*first) < Duration::from_mins(1));
                assert!(
                    user.limits.rpm == 0 || within.count() <= user.limits.rpm as usize,
                    "over the rpm"
                );
            }
        }
        self.check_recovery();
    }

    /// Hours after the storm, a call is answered at the first try, unless no credential is any good.
    fn check_recovery(&self) {
        let later = START + STORMY + Duration::from_hours(3);
        let good = |choice: Choice| self.natures[choice.target].refused[choice.credential].is_none();
        let mut rng = SmallRng::seed_from_u64(1);
        let plan = plan(&self.route, CHAT, &self.board, later, &mut rng);
        assert!(plan.excluded.is_empty(), "still set aside: {:?}", plan.excluded);
        let mut attempts = Attempts::new(plan.clone(), &self.defaults, later + LIMIT);
        let Step::Try(choice) = attempts.next(&self.route, &self.board, later) else {
            panic!("nothing to try")
        };
        assert!(good(choice) || plan.order.first() == Some(&choice));
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

impl Tally {
    fn note(&mut self, ending: Ending, charge: &metering::Charge) {
        *match ending {
            Ending::Complete => &mut self.complete,
            Ending::ClientGone => &mut self.client_gone,
            Ending::UpstreamGone => &mut self.upstream_gone,
            Ending::Limit => &mut self.limit,
            Ending::Failed => &mut self.failed,
        } += 1;
        self.uncollected += u64::from(charge.uncollected > Money::ZERO);
        self.estimated += u64::from(charge.source == domain::UsageSource::Estimated);
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            complete: self.complete + other.complete,
            client_gone: self.client_gone + other.client_gone,
            upstream_gone: self.upstream_gone + other.upstream_gone,
            limit: self.limit + other.limit,
            failed: self.failed + other.failed,
            over_limits: self.over_limits + other.over_limits,
            out_of_money: self.out_of_money + other.out_of_money,
            waited_for_money: self.waited_for_money + other.waited_for_money,
            tries: self.tries + other.tries,
            waits: self.waits + other.waits,
            probes: self.probes + other.probes,
            uncollected: self.uncollected + other.uncollected,
            steps: self.steps + other.steps,
            estimated: self.estimated + other.estimated,
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        let Self {
            complete,
            client_gone,
            upstream_gone,
            limit,
            failed,
            over_limits,
            out_of_money,
            ..
        } = *self;
        let Self {
            waited_for_money,
            tries,
            waits,
            probes,
            uncollected,
            steps,
            estimated,
            ..
        } = *self;
        let endings = [
            complete,
            client_gone,
            upstream_gone,
            limit,
            failed,
            over_limits,
            out_of_money,
        ];
        let events = [waited_for_money, tries, waits, probes, uncollected, steps, estimated];
        assert!(
            endings.iter().chain(&events).all(|count| *count > 0),
            "something never happened: {self:#?}"
        );
    }
}
