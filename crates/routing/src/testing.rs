//! Small worlds for the tests of this crate.

use std::sync::Arc;
use std::time::Duration;

use domain::declaration::{Defaults, Strategy};
use domain::snapshot::{CredentialRow, CredentialState, ModelRow, Origin, Resources, Route, UpstreamRow};
use domain::{
    CredentialId, Dialect, Failure, FailureClass, Fault, Operation, Scope, Secret, Snapshot, Surface, Timestamp,
    UpstreamId,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use crate::board::Tried;
use crate::{Asked, Attempts, Board, Choice, Pinned, Plan, Step, plan};

pub(crate) const CHAT: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
pub(crate) const START: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn at(ms: u64) -> Timestamp {
    START + Duration::from_millis(ms)
}

/// What would be planned, without marking anything.
pub(crate) fn preview(route: &Route, board: &Board, now: Timestamp, rng: &mut SmallRng) -> Plan {
    let mut entries = board.lock();
    let linked = entries.link(route, CHAT);
    Plan::made(route, &Asked::from(CHAT), None, (&entries, linked), now, rng)
}

/// The same for a request that names something which lives there.
pub(crate) fn preview_pinned(route: &Route, pinned: Pinned, board: &Board) -> Plan {
    let asked = Asked::from(CHAT);
    let mut entries = board.lock();
    let linked = entries.link(route, CHAT);
    Plan::made(route, &asked, Some(pinned), (&entries, linked), START, &mut rng(1))
}

/// A snapshot whose model `m` is served by these upstreams, each a declaration and its number of credentials (`keys`),
/// which may have terms (`key_terms`).
pub(crate) fn snapshot(strategy: Strategy, upstreams: &[Value]) -> Snapshot {
    let targets: Vec<_> = (1..=upstreams.len())
        .map(|id| json!({"upstream": format!("u{id}")}))
        .collect();
    snapshot_of(
        upstreams,
        &[json!({"name": "m", "strategy": strategy, "targets": targets})],
    )
}

/// A snapshot with these models over upstreams `u1`, `u2` and so on.
pub(crate) fn snapshot_of(upstreams: &[Value], models: &[Value]) -> Snapshot {
    let row = |decl: &Value| ModelRow {
        decl: serde_json::from_value(decl.clone()).unwrap(),
    };
    Snapshot::build(Resources {
        upstreams: upstreams
            .iter()
            .zip(1..)
            .map(|(upstream, id)| upstream_row(id, upstream))
            .collect(),
        models: models.iter().map(row).collect(),
        ..Resources::default()
    })
}

fn upstream_row(id: i64, upstream: &Value) -> UpstreamRow {
    let mut decl = json!({"name": format!("u{id}"), "provider": "openai", "priority": 0});
    let fields = upstream
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !["keys", "key_weights", "key_terms"].contains(&name.as_str()));
    decl.as_object_mut()
        .unwrap()
        .extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    let weight = |n: i64| upstream["key_weights"][n as usize].as_u64().unwrap_or(1) as u32;
    UpstreamRow {
        id: UpstreamId(id),
        origin: Origin::Operator,
        decl: serde_json::from_value(decl).unwrap(),
        credentials: (0..upstream["keys"].as_i64().unwrap_or(1))
            .map(|n| CredentialRow {
                id: CredentialId(id * 1_000 + n),
                name: format!("k{n}"),
                secret: Secret::new("sk"),
                weight: weight(n),
                terms: serde_json::from_value(upstream["key_terms"][n as usize].clone()).unwrap_or_default(),
                state: CredentialState::default(),
                account: None,
            })
            .collect(),
        forced: None,
    }
}

/// The route of [`snapshot`].
pub(crate) fn route(strategy: Strategy, upstreams: &[Value]) -> Arc<Route> {
    snapshot(strategy, upstreams).route("m").unwrap()
}

pub(crate) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

pub(crate) fn failure(class: FailureClass) -> Failure {
    Failure::new(class, "as scripted")
}

pub(crate) fn status(status: u16) -> Failure {
    let class = match status {
        429 => FailureClass::RateLimited,
        401 | 403 => FailureClass::Auth,
        402 => FailureClass::OutOfCredit,
        408 => FailureClass::Silence,
        529 => FailureClass::Overloaded,
        _ => FailureClass::Server,
    };
    Failure {
        status: Some(status),
        ..failure(class)
    }
}

pub(crate) fn after(mut failure: Failure, retry_after_ms: u64) -> Failure {
    failure.retry_after = Some(Duration::from_millis(retry_after_ms));
    failure
}

/// Tells the board of a failure, at `now`, of a call that began then.
pub(crate) fn fail(route: &Route, board: &Board, choice: (usize, usize), failure: &Failure, now: Timestamp) {
    board.failed(tried(route, choice, now), failure, None, now, &mut rng(1));
}

/// Lets one model of a credential rest, as its provider says.
pub(crate) fn rest_model(route: &Route, board: &Board, choice: (usize, usize), model: &str, ms: u64) {
    let limited = Failure {
        scope: Scope::Model,
        ..after(status(429), ms)
    };
    let tried = Tried {
        model: Some(&model.into()),
        ..tried(route, choice, START)
    };
    board.failed(tried, &limited, None, START, &mut rng(1));
}

/// A try of a call that began then.
pub(crate) fn tried(route: &Route, choice: (usize, usize), began: Timestamp) -> Tried<'_> {
    let target = &route.targets[choice.0];
    Tried {
        upstream: &target.upstream,
        model: Some(&target.model),
        credential: &target.upstream.credentials[choice.1],
        began,
    }
}

/// How a call went.
#[derive(Debug)]
pub(crate) struct Log {
    /// Milliseconds since the call's start, the upstream (from 1) and the credential (from 0), per try.
    pub(crate) tries: Vec<(u64, usize, usize)>,
    /// Served by this choice, or refused.
    pub(crate) end: Result<Choice, Fault>,
    /// When it ended, in milliseconds since its start.
    pub(crate) took: u64,
}

impl Log {
    /// The upstreams tried, in order.
    pub(crate) fn upstreams(&self) -> Vec<usize> {
        self.tries.iter().map(|(_, upstream, _)| *upstream).collect()
    }

    pub(crate) fn fault(&self) -> &Fault {
        self.end.as_ref().unwrap_err()
    }

    pub(crate) fn status(&self) -> u16 {
        self.end.as_ref().map_or_else(|fault| fault.kind.status(), |_| 200)
    }
}

/// One call: each try takes ten milliseconds and is answered by the script, which is told the number of the try (from
/// 0), the upstream (from 1) and the credential (from 0).
pub(crate) struct Call<'a> {
    pub(crate) route: &'a Route,
    pub(crate) board: &'a Board,
    pub(crate) start: Timestamp,
    pub(crate) limit: Duration,
    pub(crate) defaults: Defaults,
    pub(crate) seed: u64,
}

impl<'a> Call<'a> {
    pub(crate) fn new(route: &'a Route, board: &'a Board) -> Self {
        Self {
            route,
            board,
            start: START,
            limit: Duration::from_mins(10),
            defaults: Defaults::default(),
            seed: 1,
        }
    }

    pub(crate) fn at(self, start: Timestamp) -> Self {
        Self { start, ..self }
    }

    pub(crate) fn run(self, mut script: impl FnMut(usize, usize, usize) -> Result<(), Failure>) -> Log {
        let Self {
            route,
            board,
            start,
            limit,
            defaults,
            seed,
        } = self;
        let mut rng = rng(seed);
        let mut now = start;
        let ms = |now: Timestamp| now.since(start).as_millis() as u64;
        let plan = plan(route, CHAT, board, now, &mut rng);
        let mut attempts = Attempts::new(plan, &defaults, start + limit);
        let mut tries = Vec::new();
        loop {
            match attempts.next(route, board, now) {
                Step::Try(choice) => {
                    let upstream = &route.targets[choice.target].upstream;
                    let number = upstream.id.0 as usize;
                    let in_flight = board.begin(upstream, &upstream.credentials[choice.credential], now);
                    tries.push((ms(now), number, choice.credential));
                    assert_eq!(attempts.tries() as usize, tries.len());
                    now = now + Duration::from_millis(10);
                    let answer = script(tries.len() - 1, number, choice.credential);
                    drop(in_flight);
                    match answer {
                        Ok(()) => {
                            attempts.served(route, choice, board, now);
                            return Log {
                                tries,
                                end: Ok(choice),
                                took: ms(now),
                            };
                        }
                        Err(failure) => attempts.failed(route, choice, &failure, board, now, &mut rng),
                    }
                }
                Step::Wait { until } => {
                    assert!(until > now, "a wait that is over");
                    assert!(until < start + limit, "a wait beyond the deadline");
                    assert_eq!(
                        attempts.next(route, board, now),
                        Step::Wait { until },
                        "the same answer"
                    );
                    now = until;
                }
                Step::GiveUp(fault) => {
                    return Log {
                        tries,
                        end: Err(fault),
                        took: ms(now),
                    };
                }
            }
        }
    }
}
