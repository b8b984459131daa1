//! Models with some traffic behind them, whose candidates are all well, or for the most part not.

use std::sync::Arc;
use std::time::Duration;

use domain::declaration::{Defaults, Strategy};
use domain::snapshot::{CredentialRow, ModelRow, Origin, Resources, Route, UpstreamRow};
use domain::{
    CredentialId, Dialect, Failure, FailureClass, Operation, Secret, Snapshot, Surface, Timestamp, UpstreamId,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use routing::{Asked, Attempts, Board, Step, plan};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(crate) const DEADLINE: Timestamp = Timestamp::from_secs(1_700_000_600);
pub(crate) const SURFACE: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);

pub(crate) const STRATEGIES: [Strategy; 8] = [
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::LeastUsed,
    Strategy::LowestLatency,
    Strategy::Cheapest,
    Strategy::Sticky,
];

/// Upstreams and credentials of each: a hundred candidates.
pub(crate) const LARGE: [(i64, i64); 3] = [(100, 1), (10, 10), (1, 100)];

/// How candidates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing is against any.
    Well,
    /// A third has an open breaker (where there are several upstreams), a sixth rests as its provider said, a sixth has no
    /// money. Of one upstream a third of the credentials rests and a third has no money.
    Ill,
}

impl Health {
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Well => "",
            Self::Ill => "/ill",
        }
    }
}

/// A model and what is known of its candidates.
pub(crate) struct World {
    pub(crate) route: Arc<Route>,
    pub(crate) board: Board,
}

impl World {
    /// Every entry exists and every candidate that is not broken has been measured, as after some traffic.
    pub(crate) fn new(upstreams: i64, credentials: i64, strategy: Strategy, health: Health) -> Self {
        let world = Self {
            route: route(upstreams, credentials, strategy),
            board: Board::new(),
        };
        let is_ill = health == Health::Ill;
        let broken = if is_ill && upstreams > 1 { upstreams / 3 } else { 0 };
        // Before it was answered, so that one failure is enough.
        world.fail(broken, &Failure::new(FailureClass::Server, "down"));
        for session in 0..1_000 {
            world.call(session, None);
        }
        if is_ill {
            let each = (upstreams - broken) * credentials / if broken > 0 { 4 } else { 3 };
            let limited = Failure {
                retry_after: Some(Duration::from_hours(1)),
                ..Failure::new(FailureClass::RateLimited, "too many")
            };
            world.fail(each, &limited);
            world.fail(each, &Failure::new(FailureClass::OutOfCredit, "no money"));
            let plan = plan(
                &world.route,
                asked(1),
                &world.board,
                NOW,
                &mut SmallRng::seed_from_u64(1),
            );
            let meant = broken * credentials + 2 * each;
            assert_eq!(plan.excluded.len() as i64, meant, "as many as were meant");
        }
        world
    }

    fn fail(&self, times: i64, failure: &Failure) {
        (0..times).for_each(|session| self.call(session as u64, Some(failure)));
    }

    /// One call that is answered at once, or fails.
    fn call(&self, session: u64, failure: Option<&Failure>) {
        let (route, board, mut rng) = (&*self.route, &self.board, SmallRng::seed_from_u64(session));
        let plan = plan(route, asked(session), board, NOW, &mut rng);
        let mut attempts = Attempts::new(plan, &Defaults::default(), DEADLINE);
        let Step::Try(choice) = attempts.next(route, board, NOW) else {
            panic!("nothing to try")
        };
        match failure {
            Some(failure) => attempts.failed(route, choice, failure, board, NOW, &mut rng),
            None => attempts.served(route, choice, board, NOW),
        }
    }
}

/// A call of this session.
pub(crate) fn asked(session: u64) -> Asked<'static> {
    Asked {
        affinity: Some(session),
        ..Asked::from(SURFACE)
    }
}

/// A model served by this many upstreams with this many credentials each. A breaker opens at the first failure.
fn route(upstreams: i64, credentials: i64, strategy: Strategy) -> Arc<Route> {
    let upstream_row = |id: i64| UpstreamRow {
        id: UpstreamId(id),
        origin: Origin::Operator,
        decl: serde_json::from_value(serde_json::json!({
            "name": format!("u{id}"), "provider": "openai", "strategy": strategy, "weight": id,
            "breaker": {"failures": 1},
        }))
        .expect("a declaration"),
        credentials: (0..credentials)
            .map(|n| CredentialRow {
                id: CredentialId(id * 1_000 + n),
                name: format!("k{n}"),
                secret: Secret::new("sk"),
                weight: 1 + n as u32,
                terms: domain::declaration::CredentialTerms::default(),
                state: domain::snapshot::CredentialState::default(),
                account: None,
            })
            .collect(),
        forced: None,
    };
    let targets: Vec<_> = (1..=upstreams)
        .map(|id| serde_json::json!({"upstream": format!("u{id}")}))
        .collect();
    let price = serde_json::json!({"input": "1.00", "output": "4.00"});
    let model = serde_json::json!({"name": "m", "strategy": strategy, "targets": targets, "price": price});
    Snapshot::build(Resources {
        upstreams: (1..=upstreams).map(upstream_row).collect(),
        models: vec![ModelRow {
            decl: serde_json::from_value(model).expect("a declaration"),
        }],
        ..Resources::default()
    })
    .route("m")
    .expect("a route")
}
