//! The world: events in the order of their time, and the promises, checked after each.

mod calls;
mod drawing;
mod money;
mod promises;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::Defaults;
use domain::limits::Limits;
use domain::snapshot::Route;
use domain::{Ending, Policy, Price, Timestamp, UserId};
use metering::{Accounts, KeyLimiter};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use routing::{Board, Choice};

use crate::call::Call;
use crate::tally::Tally;
use crate::upstreams::{Nature, START, draw, price};

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
}
