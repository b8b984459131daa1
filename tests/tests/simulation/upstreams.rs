//! Upstreams that fail and recover by a plan drawn beforehand.

use std::sync::Arc;
use std::time::Duration;

use domain::declaration::{BreakerDecl, CooldownDecl, Strategy};
use domain::snapshot::{Credential, Origin, Route, Target, Timeouts, Upstream};
use domain::{
    CredentialId, Dialect, Failure, FailureClass, Money, Operation, Price, Rates, Secret, Surface, Timestamp,
    UpstreamId, catalog,
};
use rand::Rng;
use rand::rngs::SmallRng;

pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const CHAT: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
/// The upstreams' plans are drawn for this long; after it all are healthy.
pub(crate) const STORMY: Duration = Duration::from_mins(10);

pub(crate) fn price() -> Price {
    Price::flat(Rates {
        input: Money::from_dollars(1),
        output: Money::from_dollars(4),
        ..Rates::default()
    })
}

pub(crate) fn strategy(rng: &mut SmallRng) -> Strategy {
    let all = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Weighted,
        Strategy::LeastConnections,
        Strategy::LeastUsed,
        Strategy::LowestLatency,
        Strategy::Cheapest,
        Strategy::Sticky,
    ];
    all[rng.random_range(0..all.len())]
}

/// What an upstream does for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Healthy,
    /// 429, with or without a time.
    Limited(Option<Duration>),
    /// Every call fails like this.
    Down(FailureClass),
    /// Every second call fails like this.
    Flaky(FailureClass),
    /// Streams break off.
    Breaking,
}

/// How one upstream behaves.
#[derive(Debug)]
pub(crate) struct Nature {
    /// What it does until when, in order.
    moods: Vec<(Timestamp, Mood)>,
    /// Credentials that it never accepts, and how it says so.
    pub refused: Vec<Option<FailureClass>>,
}

impl Nature {
    fn steady(credentials: usize) -> Self {
        Self {
            moods: Vec::new(),
            refused: vec![None; credentials],
        }
    }

    fn drawn(credentials: usize, rng: &mut SmallRng) -> Self {
        let mut moods = Vec::new();
        let mut until = START;
        while until < START + STORMY {
            until = until + Duration::from_millis(rng.random_range(500..120_000));
            moods.push((until, mood(rng)));
        }
        let refused = (0..credentials).map(|_| match rng.random_range(0..10) {
            0 => Some(FailureClass::Auth),
            1 => Some(FailureClass::OutOfCredit),
            _ => None,
        });
        Self {
            moods,
            refused: refused.collect(),
        }
    }

    pub(crate) fn mood(&self, now: Timestamp) -> Mood {
        self.moods
            .iter()
            .find(|(until, _)| now < *until)
            .map_or(Mood::Healthy, |(_, mood)| *mood)
    }

    /// What comes of a try that begins now: an answer, or how it fails.
    pub(crate) fn answer(&self, credential: usize, now: Timestamp, rng: &mut SmallRng) -> Result<(), Failure> {
        if let Some(class) = self.refused[credential] {
            return Err(Failure::new(class, ""));
        }
        match self.mood(now) {
            Mood::Healthy | Mood::Breaking => Ok(()),
            Mood::Limited(named) => Err(Failure {
                retry_after: named,
                ..failure(FailureClass::RateLimited)
            }),
            Mood::Flaky(_) if rng.random() => Ok(()),
            Mood::Down(class) | Mood::Flaky(class) => Err(failure(class)),
        }
    }
}

fn failure(class: FailureClass) -> Failure {
    let status = match class {
        FailureClass::RateLimited => Some(429),
        FailureClass::Overloaded => Some(529),
        FailureClass::Server => Some(503),
        _ => None,
    };
    Failure {
        status,
        ..Failure::new(class, "")
    }
}

fn mood(rng: &mut SmallRng) -> Mood {
    let classes = [
        FailureClass::Connect,
        FailureClass::Reset,
        FailureClass::Silence,
        FailureClass::Server,
        FailureClass::Overloaded,
        FailureClass::Nonsense,
    ];
    let class = classes[rng.random_range(0..classes.len())];
    match rng.random_range(0..10) {
        0..3 => Mood::Healthy,
        3 => Mood::Limited(None),
        4 => Mood::Limited(Some(Duration::from_millis(rng.random_range(0..60_000)))),
        5..7 => Mood::Down(class),
        7..9 => Mood::Flaky(class),
        _ => Mood::Breaking,
    }
}

/// A route over drawn upstreams, and their natures. `steady`: the last one never fails.
pub(crate) fn draw(steady: bool, rng: &mut SmallRng) -> (Route, Vec<Nature>) {
    // Few enough that the attempts of one call reach the steady one.
    let count = rng.random_range(1..=3);
    let mut natures = Vec::new();
    let mut targets = Vec::new();
    for number in 0..count {
        let credentials = rng.random_range(1..=2);
        let never_fails = steady && number + 1 == count;
        natures.push(if never_fails {
            Nature::steady(credentials)
        } else {
            Nature::drawn(credentials, rng)
        });
        let upstream = Arc::new(upstream(number, credentials, rng));
        targets.push(Target {
            upstream,
            model: "m".into(),
            weight: rng.random_range(1..4),
            priority: if never_fails {
                rng.random_range(0..3)
            } else {
                rng.random_range(0..2)
            },
            tier: 0,
            identity: number as u64,
            price: None,
            context: 0,
            max_output: 0,
            thinks: None,
            capabilities: domain::Capabilities::default(),
        });
    }
    (
        Route {
            model: "m".to_owned(),
            strategy: strategy(rng),
            targets,
            price: None,
            system_prompt: None,
            bounds: domain::snapshot::RouteBounds::default(),
            stamp: domain::snapshot::RouteStamp::default(),
            fallbacks: Vec::new(),
            fallback_on: Vec::new(),
            recovery: false,
            hedge: None,
            group: None,
        },
        natures,
    )
}

fn upstream(number: usize, credentials: usize, rng: &mut SmallRng) -> Upstream {
    let provider = catalog::provider("openai").expect("a built-in preset").clone();
    let id = UpstreamId(number as i64 + 1);
    let credential =
        |n: usize| Credential::new(CredentialId(id.0 * 100 + n as i64), format!("k{n}"), Secret::new("sk"));
    let second = Duration::from_secs(1);
    Upstream {
        id,
        name: format!("u{number}"),
        base_url: String::new(),
        origin: Origin::Operator,
        auth: provider.auth,
        surfaces: provider.surfaces.clone(),
        surface_params: provider.surfaces.keys().map(|surface| (*surface, Vec::new())).collect(),
        variables: provider.variables.clone(),
        priority: 0,
        weight: 1,
        strategy: strategy(rng),
        credentials: (0..credentials).map(|n| Arc::new(credential(n))).collect(),
        rotates_slowly: false,
        group: None,
        forced: None,
        names_models: true,
        models: Vec::new(),
        headers: Vec::new(),
        params: Vec::new(),
        proxy: None,
        ca: None,
        timeouts: Timeouts {
            connect: second,
            first_byte: 10 * second,
            idle: 10 * second,
            total: 60 * second,
            session: Duration::from_hours(1),
        },
        breaker: Some(BreakerDecl::default()),
        cooldown: Some(CooldownDecl::default()),
        health: None,
        provider,
    }
}
