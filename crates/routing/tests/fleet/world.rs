//! The fleet itself: what its upstreams do when, and the calls that meet them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
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

const SURFACE: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
/// A call may take as long as by default.
const LIMIT: Duration = Duration::from_mins(10);
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
    node: usize,
    mood: Mood,
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
        let blackout = start + Duration::from_mins(15);
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
            Step::GiveUp(_) => drop(self.calls.remove(&number)),
            Step::Try(choice) => {
                let upstream = &self.route.targets[choice.target].upstream;
                call.open = Some(
                    self.board
                        .begin(upstream, &upstream.credentials[choice.credential], self.now),
                );
                let takes = self.takes(choice.target);
                self.report.tries[choice.target].push(Try {
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
            Some(What::Down(_) | What::Limited { .. }) => Duration::from_millis(self.rng.random_range(5..60)),
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
            What::Limited { every, .. } if !credential.is_multiple_of(every) => None,
            What::Limited { wait, .. } => Some(Failure {
                status: Some(429),
                retry_after: wait.map(Duration::from_secs),
                ..Failure::new(FailureClass::RateLimited, "")
            }),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Try {
    at: Timestamp,
    ends: Timestamp,
    answered: bool,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    /// Calls answered by each upstream.
    pub(crate) per_node: Vec<u64>,
    /// Sessions that met their home, that could not, and that could have.
    pub(crate) kept: u64,
    pub(crate) moved: u64,
    pub(crate) moved_for_nothing: u64,
    latencies: Vec<Duration>,
    tries: Vec<Vec<Try>>,
}

impl Report {
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    }

    pub(crate) fn tries_in(&self, outage: &Outage) -> u64 {
        let within = |one: &&Try| one.at >= outage.mood.from && one.at < outage.mood.until;
        self.tries[outage.node].iter().filter(within).count() as u64
    }

    /// Answers within the breaker's window before an outage.
    pub(crate) fn answers_before(&self, outage: &Outage) -> u64 {
        let from = outage.mood.from;
        let within = |one: &&Try| one.answered && one.ends <= from && from.since(one.ends) < Duration::from_mins(1);
        self.tries[outage.node].iter().filter(within).count() as u64
    }

    /// Tries under way when an outage begins, or when its breaker may open: silence takes twenty seconds to be noticed.
    pub(crate) fn open_at(&self, outage: &Outage) -> u64 {
        let first_end = self.tries[outage.node]
            .iter()
            .find(|one| one.at >= outage.mood.from)
            .map(|one| one.ends);
        let noticed = first_end.unwrap_or(outage.mood.from);
        let under_way = |one: &&Try| one.at <= noticed && one.ends >= outage.mood.from;
        self.tries[outage.node].iter().filter(under_way).count() as u64
    }

    /// How long it takes on average until a call would go to an upstream that is well.
    pub(crate) fn gap(fleet: &Fleet, outage: &Outage, per_second: u64) -> Duration {
        let weights: u64 = fleet.nodes.iter().map(|node| u64::from(node.weight)).sum();
        let own = u64::from(fleet.nodes[outage.node].weight);
        Duration::from_secs(weights).div_f64((own * per_second) as f64)
    }

    /// How long after an outage the upstream answered again; `None` where nothing did until the end.
    pub(crate) fn next_answer(&self, outage: &Outage) -> Option<Duration> {
        let answer = self.answers_of(outage.node).find(|at| *at >= outage.mood.until)?;
        Some(answer.since(outage.mood.until))
    }

    pub(crate) fn answers_of(&self, node: usize) -> impl Iterator<Item = Timestamp> {
        self.tries[node].iter().filter(|one| one.answered).map(|one| one.ends)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tries: usize = self.tries.iter().map(Vec::len).sum();
        write!(
            f,
            "{} of {} calls answered, {tries} tries, p50 {:?}, p99 {:?}; sessions kept {}, moved {}",
            self.answered,
            self.calls,
            self.percentile(0.5),
            self.percentile(0.99),
            self.kept,
            self.moved
        )
    }
}
