//! Who writes down what is spoken: another model, at its own price.
//!
//! A session may have speech written down beside the conversation. That is no response: nobody asks for it, and what it
//! cost is known only when it is done. Its price is checked when it is wished for, and each transcript is held for and
//! settled at once; one that the balance does not bear is recorded and ends the session.

use std::sync::Arc;

use dialects::realtime::Transcribed;
use dialects::{Report, UsageReport};
use domain::snapshot::{Route, RouteBounds, RouteStamp, Target};
use domain::{Ending, Fault, FaultKind, Money, Policy, Usage, catalog};
use metering::{Exhausted, Hold};

use super::{Meter, Verdict, used_up};
use crate::dispatch::chosen;
use crate::settle::{Outcome, Served, unrecorded};

/// A model that writes down what is spoken, and what it costs.
#[derive(Debug)]
pub(super) struct Scribe {
    name: String,
    route: Arc<Route>,
}

impl Meter {
    /// Speech was written down. What that cost is known only now; it is held for and taken at once.
    pub(super) fn transcribed(&self, transcribed: &Transcribed) -> Verdict {
        let unnamed;
        let scribe = if let Some(scribe) = &self.scribe {
            scribe
        } else {
            unnamed = self.scribe_of("");
            &unnamed
        };
        let usage = match (transcribed.duration_ms, &transcribed.usage) {
            (Some(audio_ms), _) => UsageReport::Possible(Usage {
                audio_ms,
                ..Usage::default()
            }),
            (None, usage) => usage.clone(),
        };
        let hold = self.hold_for_transcript(scribe, &usage);
        let fell_short = hold.is_err();
        let mut settlement = self
            .open(&scribe.name, &scribe.route, 0)
            .with_guards(hold.ok(), None, None);
        let report = Report {
            usage,
            content_bytes: transcribed.text_bytes,
            complete: true,
            ..Report::default()
        };
        let served = scribe
            .route
            .targets
            .first()
            .zip(self.credential())
            .map(|(target, credential)| Served {
                target,
                credential,
                report,
                relayed: true,
                sound_tokens: 0,
            });
        let outcome = Outcome {
            ending: Ending::Complete,
            status: 200,
            served,
            first_content: None,
            error: None,
        };
        match settlement.finish(&outcome) {
            Err(_) => Verdict {
                end: Some(unrecorded()),
                withheld: true,
                settled: None,
            },
            Ok(settled) => Verdict {
                settled: Some(settled),
                end: fell_short.then(used_up),
                withheld: false,
            },
        }
    }

    fn credential(&self) -> Option<domain::CredentialId> {
        chosen(&self.route, self.choice)
            .ok()
            .map(|(_, credential)| credential.id)
    }

    fn hold_for_transcript(&self, scribe: &Scribe, usage: &UsageReport) -> Result<Hold, Exhausted> {
        let policy = self.key.user.policy;
        let price = scribe.route.targets.first().and_then(|target| target.price.as_deref());
        let cost = match (usage, price) {
            (UsageReport::Possible(usage), Some(price)) => {
                metering::cost(usage, metering::rates_for(price, usage, None))
            }
            _ => Money::ZERO,
        };
        let amount = if policy == Policy::Hard {
            cost
        } else {
            Money::from_nanos(1)
        };
        self.account.try_hold(policy, amount)
    }

    /// What writing down by the model `name` costs: what the operator declares for it, else its list price.
    pub(super) fn scribe_of(&self, name: &str) -> Scribe {
        let declared = self.snapshot.route(name).and_then(|route| route.price.clone());
        let targets = chosen(&self.route, self.choice).ok().map(|(target, _)| {
            let listed = catalog::models().find(target.upstream.provider.catalog_name(), name);
            let listed = listed.and_then(|facts| facts.price.clone().map(Arc::new));
            Target {
                model: name.into(),
                price: declared.clone().or(listed),
                ..target.clone()
            }
        });
        Scribe {
            name: name.to_owned(),
            route: Arc::new(Route {
                model: name.to_owned(),
                strategy: self.route.strategy,
                targets: targets.into_iter().collect(),
                price: declared,
                system_prompt: None,
                bounds: RouteBounds::default(),
                stamp: RouteStamp::default(),
                fallbacks: Vec::new(),
                fallback_on: Vec::new(),
                recovery: false,
                hedge: None,
                group: None,
            }),
        }
    }

    /// Whether this key may have that model write down what is spoken, and could pay for it.
    pub(super) fn check_scribe(&self, scribe: &Scribe) -> Result<(), Fault> {
        let name = &scribe.name;
        if !name.is_empty() && !self.key.may_use(name) {
            let message = format!("the key may not use the model `{name}`, which the session wants for transcription");
            return Err(Fault::new(FaultKind::Forbidden, message));
        }
        let is_priced = scribe.route.targets.iter().any(|target| target.price.is_some());
        if self.key.user.policy == Policy::Hard && !name.is_empty() && !is_priced {
            let message = format!(
                "the model `{name}`, which the session wants for transcription, has no price, and this account pays in advance; an operator must declare its price or declare it free"
            );
            return Err(Fault::new(FaultKind::Unpriced, message));
        }
        Ok(())
    }
}
