//! The connection tester: each step on the way to an upstream by itself, with its time.
//!
//! "It does not work" has five common causes, and the error of a call shows only the last one that was reached. Here the
//! name, the connection, TLS, the key and a call are tried one after the other, the first two of them beside the pool, so
//! that an idle connection hides nothing.

use std::time::{Duration, Instant};

use domain::Failure;
use domain::declaration::Probe;

use super::probe;
use crate::gateway::Gateway;

/// What was found on the way to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkup {
    /// The upstream's name.
    pub upstream: String,
    /// The credential's name.
    pub credential: String,
    /// The steps that were tried, in order; after one that fails there is none.
    pub steps: Vec<CheckupStep>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckupStep {
    /// `dns`, `tcp`, `proxy`, `tls`, `auth` or `call`.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was found, or what is wrong; for operators.
    pub found: Result<String, String>,
}

impl Gateway {
    /// Goes the way to an upstream step by step. `credential`: its first one where nothing is named; `model`: its cheapest.
    ///
    /// # Errors
    /// The upstream, the credential or the model does not exist.
    pub async fn checkup(
        &self,
        upstream: &str,
        credential: Option<&str>,
        model: Option<&str>,
    ) -> Result<Checkup, String> {
        let gateway = &self.inner;
        let snapshot = self.snapshot();
        let known = snapshot.upstream(upstream);
        let upstream = known.ok_or_else(|| {
            format!("there is no upstream `{upstream}`; `tollgate upstream list` shows those that there are")
        })?;
        let named = |name: &str| {
            let mut all = upstream.credentials.iter();
            let found = all.find(|credential| credential.name.eq_ignore_ascii_case(name));
            found.ok_or_else(|| format!("upstream `{}` has no credential `{name}`", upstream.name))
        };
        let first = || {
            upstream
                .credentials
                .first()
                .ok_or_else(|| format!("upstream `{}` has no credential", upstream.name))
        };
        let credential = credential.map_or_else(first, named)?;
        let mut targets = snapshot.targets_at(upstream.id);
        let target = match model {
            Some(model) => Some(
                targets
                    .find(|target| target.model.eq_ignore_ascii_case(model))
                    .ok_or_else(|| format!("upstream `{}` serves no model `{model}` by that name", upstream.name))?,
            ),
            None => probe::cheapest(targets),
        };
        let mut checkup = Checkup {
            upstream: upstream.name.clone(),
            credential: credential.name.clone(),
            steps: gateway.client.walk(upstream).await,
        };
        if checkup.is_well() {
            let began = Instant::now();
            let found = probe::ask(gateway, upstream, credential, Probe::Models).await;
            checkup.add("auth", began, found.map(|()| "the key is accepted".to_owned()));
        }
        if let (true, Some(target)) = (checkup.is_well(), target) {
            let began = Instant::now();
            let found = probe::call(gateway, target, credential).await;
            checkup.add("call", began, found.map(|()| format!("`{}` answered", target.model)));
        }
        Ok(checkup)
    }
}

impl Checkup {
    /// Whether no step failed.
    pub fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.found.is_ok())
    }

    fn add(&mut self, name: &'static str, began: Instant, found: Result<String, Failure>) {
        let found = found.map_err(|failure| {
            let status = failure.status.map(|status| format!(" ({status})")).unwrap_or_default();
            format!("{}{status}: {}", failure.class.name(), failure.detail)
        });
        let took = began.elapsed();
        self.steps.push(CheckupStep { name, took, found });
    }
}
