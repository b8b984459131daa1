//! What `/metrics` shows. Labels never name a user or a key: their number is not bounded.

use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use domain::{FailureClass, FaultKind, Receipt};
use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    dialect: &'static str,
    upstream: String,
    ending: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    upstream: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    upstream: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Which calls are counted together, without owning the upstream's name: looking up allocates nothing.
#[derive(Hash)]
struct Alike<'a> {
    operation: &'static str,
    dialect: &'static str,
    upstream: &'a str,
    ending: &'static str,
    status: u16,
}

impl Equivalent<CallLabels> for Alike<'_> {
    fn equivalent(&self, labels: &CallLabels) -> bool {
        self.status == labels.status
            && self.upstream == labels.upstream
            && self.operation == labels.operation
            && self.dialect == labels.dialect
            && self.ending == labels.ending
    }
}

/// The counters of such calls, found by one look-up instead of one for each of them.
struct Counters {
    calls: Counter,
    served: OnceLock<Counter>,
    tokens: [OnceLock<Counter>; TOKEN_KINDS.len()],
}

const TOKEN_KINDS: [&str; 4] = ["input", "cache_read", "cache_write", "output"];

/// Seconds: from a cache hit to the longest reasoning.
const DURATION_BUCKETS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// The counters of the data plane.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    usage: Family<CodeLabels, Counter>,
    refusals: Family<CodeLabels, Counter>,
    recoveries: Family<CodeLabels, Counter>,
    hedges: Family<OutcomeLabels, Counter>,
    charged_nanos: Counter,
    uncollected_nanos: Counter,
    duration: Histogram,
    first_content: Histogram,
    by_likeness: RwLock<HashMap<CallLabels, Arc<Counters>>>,
    open: Gauge,
    backlog: Gauge,
    held_nanos: Gauge<i64, AtomicI64>,
    journal_healthy: Gauge,
    body_bytes: Gauge,
    upstream_up: Family<UpstreamLabels, Gauge>,
}

/// What is read at the moment of a look, not counted.
pub(crate) struct Gauges {
    /// Receipts that are not in the ledger.
    pub(crate) backlog: u64,
    /// Nano-dollars set aside for open calls.
    pub(crate) held_nanos: i64,
    /// Whether receipts can be written.
    pub(crate) journal_healthy: bool,
    /// Bytes of request bodies held, of `server.body_budget`.
    pub(crate) body_bytes: usize,
    /// Upstreams by name, and whether calls may go there.
    pub(crate) upstreams: Vec<(String, bool)>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let metrics = Self {
            calls: Family::default(),
            attempts: Family::default(),
            tokens: Family::default(),
            usage: Family::default(),
            refusals: Family::default(),
            recoveries: Family::default(),
            hedges: Family::default(),
            charged_nanos: Counter::default(),
            uncollected_nanos: Counter::default(),
            duration: Histogram::new(DURATION_BUCKETS),
            first_content: Histogram::new(DURATION_BUCKETS),
            by_likeness: RwLock::default(),
            open: Gauge::default(),
            backlog: Gauge::default(),
            held_nanos: Gauge::default(),
            journal_healthy: Gauge::default(),
            body_bytes: Gauge::default(),
            upstream_up: Family::default(),
            registry: Registry::default(),
        };
        registry.register("calls", "Calls ended", metrics.calls.clone());
        registry.register("attempts", "Tries at upstreams", metrics.attempts.clone());
        registry.register("tokens", "Tokens consumed", metrics.tokens.clone());
        registry.register(
            "usage",
            "Receipts by where their usage comes from",
            metrics.usage.clone(),
        );
        registry.register(
            "refusals",
            "Requests refused by the gateway itself",
            metrics.refusals.clone(),
        );
        registry.register(
            "recoveries",
            "Answers that broke off, by what came of going on with them",
            metrics.recoveries.clone(),
        );
        registry.register(
            "hedges",
            "Calls that took long, by what came of a second attempt beside the first",
            metrics.hedges.clone(),
        );
        registry.register("charged_nanodollars", "Money charged", metrics.charged_nanos.clone());
        registry.register(
            "uncollected_nanodollars",
            "Cost beyond holds",
            metrics.uncollected_nanos.clone(),
        );
        registry.register_with_unit("call_duration", "Whole calls", Unit::Seconds, metrics.duration.clone());
        registry.register_with_unit(
            "first_content",
            "To the first content",
            Unit::Seconds,
            metrics.first_content.clone(),
        );
        registry.register("open_calls", "Calls being served", metrics.open.clone());
        registry.register(
            "journal_backlog_receipts",
            "Receipts not yet in the ledger",
            metrics.backlog.clone(),
        );
        registry.register(
            "held_nanodollars",
            "Money set aside for open calls",
            metrics.held_nanos.clone(),
        );
        registry.register(
            "journal_healthy",
            "1 while receipts can be written",
            metrics.journal_healthy.clone(),
        );
        registry.register(
            "request_body_bytes",
            "Request bodies held, of server.body_budget",
            metrics.body_bytes.clone(),
        );
        registry.register(
            "upstream_up",
            "1 while neither a breaker nor the last probe speaks against it",
            metrics.upstream_up.clone(),
        );
        Self { registry, ..metrics }
    }

    pub(crate) fn call_opened(&self) {
        self.open.inc();
    }

    pub(crate) fn open_calls(&self) -> i64 {
        self.open.get()
    }

    /// Counts a finished call.
    pub(crate) fn call_ended(&self, receipt: &Receipt, upstream: Option<&str>) {
        self.open.dec();
        let upstream = upstream.unwrap_or("");
        let counters = self.counters(&Alike {
            operation: receipt.operation.name(),
            dialect: receipt.dialect.name(),
            upstream,
            ending: receipt.ending.name(),
            status: receipt.status,
        });
        counters.calls.inc();
        for attempt in &receipt.attempts {
            match attempt.failure {
                None if attempt.cancelled => self.attempts_of(&attempt.upstream_name, "cancelled").inc(),
                None if attempt.upstream_name == upstream => {
                    let served = || self.attempts_with(upstream, None);
                    counters.served.get_or_init(served).inc()
                }
                failure => self.attempts_with(&attempt.upstream_name, failure).inc(),
            };
        }
        let code = receipt.usage_source.name();
        self.usage.get_or_create(&CodeLabels { code }).inc();
        let usage = &receipt.usage;
        let counts = [
            usage.input,
            usage.cache_read,
            usage.cache_write_5m + usage.cache_write_1h,
            usage.output,
        ];
        for ((kind, count), counter) in TOKEN_KINDS.into_iter().zip(counts).zip(&counters.tokens) {
            if count > 0 {
                counter.get_or_init(|| self.tokens_of(upstream, kind)).inc_by(count);
            }
        }
        self.charged_nanos.inc_by(receipt.charged.nanos().max(0) as u64);
        self.uncollected_nanos.inc_by(receipt.uncollected.nanos().max(0) as u64);
        self.duration.observe(f64::from(receipt.took_ms) / 1_000.0);
        if let Some(first) = receipt.first_content_ms {
            self.first_content.observe(f64::from(first) / 1_000.0);
        }
    }

    fn counters(&self, alike: &Alike<'_>) -> Arc<Counters> {
        if let Some(counters) = self.by_likeness.read().get(alike) {
            return Arc::clone(counters);
        }
        let labels = CallLabels {
            operation: alike.operation,
            dialect: alike.dialect,
            upstream: alike.upstream.to_owned(),
            ending: alike.ending,
            status: alike.status,
        };
        let fresh = || {
            Arc::new(Counters {
                calls: self.calls.get_or_create_owned(&labels),
                served: OnceLock::new(),
                tokens: Default::default(),
            })
        };
        Arc::clone(self.by_likeness.write().entry(labels.clone()).or_insert_with(fresh))
    }

    fn attempts_with(&self, upstream: &str, failure: Option<FailureClass>) -> Counter {
        self.attempts_of(upstream, failure.map_or("served", FailureClass::name))
    }

    fn attempts_of(&self, upstream: &str, result: &'static str) -> Counter {
        let upstream = upstream.to_owned();
        self.attempts.get_or_create_owned(&AttemptLabels { upstream, result })
    }

    fn tokens_of(&self, upstream: &str, kind: &'static str) -> Counter {
        let upstream = upstream.to_owned();
        self.tokens.get_or_create_owned(&TokenLabels { upstream, kind })
    }

    /// Counts a refusal that never became a call, or that ended one.
    pub(crate) fn refused(&self, kind: FaultKind) {
        self.refusals.get_or_create(&CodeLabels { code: kind.code() }).inc();
    }

    /// Counts an answer that broke off and was, or could not be, gone on with.
    pub(crate) fn recovered(&self, code: &'static str) {
        self.recoveries.get_or_create(&CodeLabels { code }).inc();
    }

    /// Counts a call that took long, by what came of hedging it.
    pub(crate) fn hedged(&self, outcome: &'static str) {
        self.hedges.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// The text for Prometheus, with the gauges that are read at this moment.
    pub(crate) fn render(&self, now: Gauges) -> String {
        self.backlog.set(i64::try_from(now.backlog).unwrap_or(i64::MAX));
        self.held_nanos.set(now.held_nanos);
        self.journal_healthy.set(i64::from(now.journal_healthy));
        self.body_bytes.set(i64::try_from(now.body_bytes).unwrap_or(i64::MAX));
        self.upstream_up.clear();
        for (upstream, up) in now.upstreams {
            let gauge = self.upstream_up.get_or_create_owned(&UpstreamLabels { upstream });
            gauge.set(i64::from(up));
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# the metrics could not be written: {error}\n"),
        }
    }
}
