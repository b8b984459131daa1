//! The fleet itself: what its upstreams do when, and the calls that meet them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::declaration::{Defaults, Strategy};
use domain::snapshot::{CredentialRow, ModelRow, Origin, Resources, Route, UpstreamRow};
use domain::{
    CredentialId, Dialect, Failure, FailureClass, Operation, Secret, Snapshot, Surface, Timestamp, UpstreamId,
};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use routing::{Asked, Attempts, Board, Choice, InFlight, Step, plan};
use serde_json::json;

use super::report::{Report, Try};

const SURFACE: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
/// A call may take as long as by default.
const LIMIT: Duration = Duration::from_mins(10);
/// Seconds that a storm of 429 tells to wait.
pub(crate) const STORM_WAIT: u64 = 100;
/// Conversations that go on at the same time under `sticky`.
const SESSIONS: u64 = 300;

/// What an upstream does for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mood {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// Every call fails so.
    Down(FailureClass),
    /// Some credentials are told to come back after so many seconds, where that is said.
    Limited { every: usize, wait: Option<u64> },
    /// The same of all but this one.
    AllButOne { well: usize },
    /// Answers take twenty times as long.
    Slow,
}

impl Mood {
    pub(crate) fn slow(from: Timestamp, length: Duration) -> Self {
        Self {
            from,
            until: from + length,
            what: What::Slow,
        }
    }

    pub(crate) fn length(&self) -> Duration {
        self.until.since(self.from)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) weight: u32,
    pub(crate) moods: Vec<Mood>,
}

/// An outage of one upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) node: usize,
    pub(crate) mood: Mood,
}

impl Outage {
    pub(crate) fn length(&self) -> Duration {
        self.mood.length()
    }
}

pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    pub(crate) start: Timestamp,
    keys: usize,
    strategy: Strategy,
    seed: u64,
}

impl Fleet {
    /// All well, with weights from 1 to 5.
    pub(crate) fn healthy(nodes: usize, keys: usize, strategy: Strategy, seed: u64) -> Self {
        let node = |number: usize| Node {
            weight: number as u32 % 5 + 1,
            moods: Vec::new(),
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            start: Timestamp::from_secs(1_700_000_000),
            keys,
            strategy,
            seed,
        }
    }

    /// All but the first have their bad times within the hour, and once all of them at the same moment.
    pub(crate) fn stormy(nodes: usize, keys: usize, strategy: Strategy, seed: u64) -> Self {
        let mut fleet = Self::healthy(nodes, keys, strategy, seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let start = fleet.start;
        let blackout = fleet.blackout();
        for node in fleet.nodes.iter_mut().skip(1) {
            let mut from = start + Duration::from_secs(rng.random_range(60..600));
            for _ in 0..rng.random_range(1..4) {
                let mood = Mood {
                    from,
                    until: from + Duration::from_secs(rng.random_range(20..240)),
                    what: what(&mut rng),
                };
                if mood.until < blackout || mood.from > blackout + Duration::from_mins(4) {
                    node.moods.push(mood);
                }
                from = mood.until + Duration::from_secs(rng.random_range(300..1_200));
            }
            node.moods.push(Mood {
                from: blackout,
                until: blackout + Duration::from_mins(2),
                what: What::Down(FailureClass::Server),
            });
        }
        fleet
    }

    /// When all but the first of a stormy fleet are down.
    pub(crate) fn blackout(&self) -> Timestamp {
        self.start + Duration::from_mins(15)
    }

    /// Upstreams that most calls go to (seven of the fifty), and their bad times: each class of failure, a storm of 429 that
    /// names a wait, and one that names none. So much traffic shows what a breaker or a rest keeps away, and when it ends.
    pub(crate) fn busy(seed: u64) -> Self {
        let classes = [
            FailureClass::Connect,
            FailureClass::Reset,
            FailureClass::Silence,
            FailureClass::Server,
            FailureClass::Overloaded,
        ];
        let storms = [Some(STORM_WAIT), None].map(|wait| What::Limited { every: 1, wait });
        let bad = classes.map(What::Down).into_iter().chain(storms);
        let mut fleet = Self::healthy(50, 20, Strategy::Weighted, seed);
        fleet.nodes.iter_mut().for_each(|node| node.weight = 1);
        for ((node, what), delay) in fleet.nodes.iter_mut().skip(1).zip(bad).zip(0..) {
            let from = fleet.start + Duration::from_secs(60 + 3 * delay);
            node.weight = 100;
            node.moods.push(Mood {
                from,
                until: from + Duration::from_mins(4),
                what,
            });
        }
        fleet
    }

    /// One upstream is left with one credential that is well, for minutes in which everybody else is down.
    pub(crate) fn one_well(seed: u64) -> Self {
        let mut fleet = Self::healthy(50, 20, Strategy::Weighted, seed);
        let from = fleet.start + Duration::from_mins(2);
        let until = from + Duration::from_mins(4);
        for (number, node) in fleet.nodes.iter_mut().enumerate() {
            let what = match number {
                7 => What::AllButOne { well: 13 },
                _ if number % 3 == 0 => What::Limited {
                    every: 1,
                    wait: Some(STORM_WAIT),
                },
                _ => What::Down(FailureClass::Server),
            };
            node.moods.push(Mood { from, until, what });
        }
        fleet
    }

    /// Storms of 429, and whether they say when to come back.
    pub(crate) fn storms(&self) -> impl Iterator<Item = (Outage, Option<u64>)> {
        self.nodes.iter().enumerate().flat_map(|(node, known)| {
            known.moods.iter().filter_map(move |mood| match mood.what {
                What::Limited { wait, .. } => Some((Outage { node, mood: *mood }, wait)),
                _ => None,
            })
        })
    }

    /// Calls come at this rate for so long.
    pub(crate) fn run(&self, per_second: u64, length: Duration) -> Report {
        let mut run = Run::new(self);
        let gap = 1_000_000 / per_second;
        for n in 0..per_second * length.as_secs() {
            let jitter = run.rng.random_range(0..gap);
            run.at(self.start + Duration::from_micros(n * gap + jitter), Event::Arrive);
        }
        while let Some(Reverse((now, _, event))) = run.events.pop() {
            run.now = now;
            match event {
                Event::Arrive => run.arrive(),
                Event::Next(call) => run.next(call),
                Event::Answer(call, choice) => run.answer(call, choice),
                Event::End(call) => drop(run.calls.remove(&call)),
            }
        }
        run.report
    }

    pub(crate) fn outages(&self) -> impl Iterator<Item = Outage> {
        self.nodes.iter().enumerate().flat_map(|(node, known)| {
            let down = known.moods.iter().filter(|mood| matches!(mood.what, What::Down(_)));
            down.map(move |mood| Outage { node, mood: *mood })
        })
    }

    fn route(&self) -> Arc<Route> {
        let upstream = |number: usize| {
            UpstreamRow {
            id: UpstreamId(number as i64 + 1),
            origin: Origin::Operator,
            decl: serde_json::from_value(json!({
                "name": format!("u{number}"), "provider": "openai", "weight": self.nodes[number].weight, "strategy": credentials_by(self.strategy),
            }))
            .expect("a declaration"),
            credentials: (0..self.keys)
                .map(|n| CredentialRow {
                    id: CredentialId((number * 1_000 + n) as i64 + 1),
                    name: format!("k{n}"),
                    secret: Secret::new("sk"),
                    weight: 1,
                    terms: domain::declaration::CredentialTerms::default(),
                    state: domain::snapshot::CredentialState::default(),
                    account: None,
                })
                .collect(),
            forced: None,
        }
        };
        let targets: Vec<_> = (0..self.nodes.len())
            .map(|n| json!({"upstream": format!("u{n}")}))
            .collect();
        let model = json!({"name": "m", "strategy": self.strategy, "targets": targets});
        let decl = serde_json::from_value(model).expect("a declaration");
        let resources = Resources {
            upstreams: (0..self.nodes.len()).map(upstream).collect(),
            models: vec![ModelRow { decl }],
            ..Resources::default()
        };
        Snapshot::build(resources).route("m").expect("a route")
    }
}

/// Under `sticky` the credentials are too; otherwise they take turns.
const fn credentials_by(strategy: Strategy) -> Strategy {
    match strategy {
        Strategy::Sticky => Strategy::Sticky,
        _ => Strategy::RoundRobin,
    }
}

fn what(rng: &mut SmallRng) -> What {
    let classes = [
        FailureClass::Connect,
        FailureClass::Reset,
        FailureClass::Silence,
        FailureClass::Server,
        FailureClass::Overloaded,
    ];
    match rng.random_range(0..4) {
        0 => What::Slow,
        1 => What::Limited {
            every: rng.random_range(1..4),
            wait: rng.random_bool(0.5).then(|| rng.random_range(1..60)),
        },
        _ => What::Down(classes[rng.random_range(0..classes.len())]),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Next(u64),
    Answer(u64, Choice),
    End(u64),
}

struct Call {
    attempts: Attempts,
    began: Timestamp,
    open: Option<InFlight>,
}

struct Run<'a> {
    fleet: &'a Fleet,
    route: Arc<Route>,
    board: Board,
    defaults: Defaults,
    rng: SmallRng,
    now: Timestamp,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    calls: HashMap<u64, Call>,
    count: u64,
    /// Where each session is at home, worked out when nothing was known of anybody.
    homes: Vec<Choice>,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let route = fleet.route();
        let mut rng = SmallRng::seed_from_u64(fleet.seed);
        let calm = Board::new();
        let home = |number| plan(&route, session(number), &calm, fleet.start, &mut rng).order[0];
        let homes = match fleet.strategy {
            Strategy::Sticky => (0..SESSIONS).map(home).collect(),
            _ => Vec::new(),
        };
        Self {
            homes,
            fleet,
            board: Board::new(),
            defaults: Defaults::default(),
            rng,
            now: fleet.start,
            events: BinaryHeap::new(),
            calls: HashMap::new(),
            count: 0,
            report: Report {
                per_node: vec![0; fleet.nodes.len()],
                tries: vec![Vec::new(); fleet.nodes.len()],
                ..Report::default()
            },
            route,
        }
    }

    fn at(&mut self, when: Timestamp, event: Event) {
        self.count += 1;
        self.events.push(Reverse((when, self.count, event)));
    }

    fn arrive(&mut self) {
        let number = self.rng.random_range(0..SESSIONS);
        let plan = plan(&self.route, session(number), &self.board, self.now, &mut self.rng);
        self.note_home(number, &plan);
        self.report.calls += 1;
        let attempts = Attempts::new(plan, &self.defaults, self.now + LIMIT);
        let call = self.report.calls;
        let began = self.now;
        self.calls.insert(
            call,
            Call {
                attempts,
                began,
                open: None,
            },
        );
        self.next(call);
    }

    /// Whether a session is at home, and if not, whether its home is set aside or crowded.
    fn note_home(&mut self, number: u64, plan: &routing::Plan) {
        let (Some(home), Some(first)) = (self.homes.get(number as usize), plan.order.first()) else {
            return;
        };
        if home == first {
            self.report.kept += 1;
            return;
        }
        let upstream = &self.route.targets[home.target].upstream;
        let open = self
            .board
            .upstreams(self.now)
            .iter()
            .find(|known| known.upstream == upstream.id)
            .map_or(0, |known| known.open_calls);
        let is_aside = plan.excluded.iter().any(|excluded| excluded.choice == *home);
        if is_aside || open >= 8 {
            self.report.moved += 1;
        } else {
            self.report.moved_for_nothing += 1;
        }
    }

    fn next(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        match call.attempts.next(&self.route, &self.board, self.now) {
            Step::Wait { until } => self.at(until, Event::Next(number)),
            Step::GiveUp(_) => {
                self.report.unanswered.push(call.began);
                self.calls.remove(&number);
            }
            Step::Try(choice) => {
                let upstream = &self.route.targets[choice.target].upstream;
                call.open = Some(
                    self.board
                        .begin(upstream, &upstream.credentials[choice.credential], self.now),
                );
                let takes = self.takes(choice.target);
                self.report.tries[choice.target].push(Try {
                    credential: choice.credential,
                    at: self.now,
                    ends: self.now + takes,
                    answered: false,
                });
                self.at(self.now + takes, Event::Answer(number, choice));
            }
        }
    }

    /// To the first content, or to the failure.
    fn takes(&mut self, node: usize) -> Duration {
        let usual = Duration::from_millis(self.rng.random_range(80..400));
        match self.fleet.nodes[node].mood(self.now) {
            Some(What::Slow) => usual * 20,
            Some(What::Down(FailureClass::Silence)) => Duration::from_secs(20),
            Some(What::Down(_) | What::Limited { .. } | What::AllButOne { .. }) => {
                Duration::from_millis(self.rng.random_range(5..60))
            }
            None => usual,
        }
    }

    fn answer(&mut self, number: u64, choice: Choice) {
        let failure = self.fleet.nodes[choice.target].failure(choice.credential, self.now);
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        if let Some(failure) = failure {
            call.open = None;
            call.attempts
                .failed(&self.route, choice, &failure, &self.board, self.now, &mut self.rng);
            self.next(number);
            return;
        }
        call.attempts.served(&self.route, choice, &self.board, self.now);
        self.report.answered += 1;
        self.report.per_node[choice.target] += 1;
        self.report.latencies.push(self.now.since(call.began));
        if let Some(last) = self.report.tries[choice.target]
            .iter_mut()
            .rev()
            .find(|last| last.ends == self.now)
        {
            last.answered = true;
        }
        // The rest of the answer.
        let rest = Duration::from_millis(self.rng.random_range(100..4_000));
        self.at(self.now + rest, Event::End(number));
    }
}

fn session(number: u64) -> Asked<'static> {
    Asked {
        affinity: Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        ..Asked::from(SURFACE)
    }
}

impl Node {
    fn mood(&self, now: Timestamp) -> Option<What> {
        let mood = self.moods.iter().find(|mood| mood.from <= now && now < mood.until);
        mood.map(|mood| mood.what)
    }

    fn failure(&self, credential: usize, now: Timestamp) -> Option<Failure> {
        match self.mood(now)? {
            What::Slow => None,
            What::Down(class) => Some(Failure::new(class, "")),
            What::AllButOne { well } if credential == well => None,
            What::AllButOne { .. } => Some(limited(Some(STORM_WAIT))),
            What::Limited { every, .. } if !credential.is_multiple_of(every) => None,
            What::Limited { wait, .. } => Some(limited(wait)),
        }
    }
}

fn limited(wait: Option<u64>) -> Failure {
    Failure {
        status: Some(429),
        retry_after: wait.map(Duration::from_secs),
        ..Failure::new(FailureClass::RateLimited, "")
    }
}
