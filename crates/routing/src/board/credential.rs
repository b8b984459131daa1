//! What is known of one credential.
//!
//! Everything that was found out about it (rests, refusals in a row, that it is out of service) holds for one
//! *activation*: when an operator puts the credential back into service, its state in the snapshot names another one, and
//! what is known here is forgotten before a call sees that snapshot. So nothing has to be in step with the database for an operator's word to count at once.

use std::sync::Arc;

use domain::declaration::Strategy;
use domain::snapshot::{Credential, Target};
use domain::{Timestamp, Windows};

use super::entries;
use super::failing::Found;
use crate::cooldown::{Cooldown, Rest};
use crate::plan::Exclusion;
use crate::strategy::{Latency, Load, Uses};

/// Models of one credential that rest by themselves: names come from clients (globs), so they must not grow without end.
/// Of more, the one that would end first goes.
pub(super) const RESTING_MODELS_MAX: usize = 64;

/// Refusals in a row after which a credential is taken out of service. A key that is being replaced, or a provider whose
/// login is broken for a moment, refuses a few times; each of these calls began after the refusal before it.
pub const REFUSALS_MAX: u32 = 5;

/// In the order of how often choices and records look at it, so that most of them read two lines of the cache.
#[derive(Default)]
#[repr(C)]
pub(crate) struct CredentialEntry {
    /// When it was last chosen, as a sequence number.
    pub(crate) used: u64,
    pub(super) daily: Daily,
    /// Calls open.
    pub(crate) open: u32,
    /// Out of service, until the snapshot says so itself.
    pub(super) deactivated: bool,
    /// Whether it is among those of which something is to be kept.
    pub(super) is_told: bool,
    /// How it does beside its siblings.
    pub(super) found: Found,
    resting_models: Vec<(Arc<str>, Cooldown)>,
    pub(super) cooldown: Cooldown,
    pub(super) windows: Windows,
    pub(super) uses: Uses,
    pub(super) latency: Latency,
    pub(super) last_used: Timestamp,
    refusals: Refusals,
    /// Under which the rest was found out; see [`domain::snapshot::CredentialState`].
    pub(super) activation: i64,
}

/// What is against a credential is not seen at a glance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unclear;

/// How often it was used on the latest day that it was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Daily {
    day: i64,
    uses: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    in_a_row: u32,
    /// When the latest one was counted.
    at: Timestamp,
}

impl CredentialEntry {
    /// What a strategy looks at.
    pub(crate) fn load(&self, strategy: Strategy, now: Timestamp) -> Load {
        Load {
            used: self.used,
            open: self.open,
            uses: entries::uses(&self.uses, strategy, now),
            latency: entries::latency(&self.latency, strategy, now),
            ..Load::default()
        }
    }

    /// Why the credential is not to be used for a target; `None` where nothing is against it. Of several reasons the one
    /// that allows least.
    pub(crate) fn exclusion(&self, target: &Target, credential: &Credential, now: Timestamp) -> Option<Exclusion> {
        if self.deactivated {
            return Some(Exclusion::Deactivated);
        }
        let resting = target.upstream.cooldown.is_some();
        let own = self.cooldown.rest(now).filter(|_| resting);
        if let Some(rest @ Rest::OutOfCredit(_)) = own {
            return Some(of_rest(rest));
        }
        if let Some(until) = self.spent_until(credential, now) {
            return Some(Exclusion::DailyLimit { until });
        }
        if let Some(until) = self.paused_until(credential, now) {
            return Some(Exclusion::Paused { until });
        }
        let models = self.model_rest(&target.model, now).filter(|_| resting);
        let rest = match (own, models) {
            (Some(own), Some(models)) => own.stricter(models),
            (own, models) => own.or(models)?,
        };
        Some(of_rest(rest))
    }

    /// The same of a credential without limits, for a target that `rests` or not, unless its models have to be looked at too.
    pub(crate) fn plain_exclusion(&self, rests: bool, now: Timestamp) -> Result<Option<Exclusion>, Unclear> {
        if !self.resting_models.is_empty() {
            return Err(Unclear);
        }
        if self.deactivated {
            return Ok(Some(Exclusion::Deactivated));
        }
        Ok(self.cooldown.rest(now).filter(|_| rests).map(of_rest))
    }

    /// Until when as much is used as an operator allows.
    pub(super) fn used_up_until(&self, credential: &Credential, now: Timestamp) -> Option<Timestamp> {
        self.spent_until(credential, now)
            .max(self.paused_until(credential, now))
    }

    /// Whether nothing is against it, whatever the model.
    pub(super) fn is_usable(&self, credential: &Credential, now: Timestamp) -> bool {
        !self.deactivated && self.cooldown.rest(now).is_none() && self.used_up_until(credential, now).is_none()
    }

    fn spent_until(&self, credential: &Credential, now: Timestamp) -> Option<Timestamp> {
        let spent = credential
            .daily_limit
            .is_some_and(|limit| self.daily.uses(now) >= limit);
        spent.then(|| now.next_midnight())
    }

    fn paused_until(&self, credential: &Credential, now: Timestamp) -> Option<Timestamp> {
        credential
            .pause_at
            .and_then(|share| self.windows.spared_until(share, now))
    }

    /// The rest of one model.
    pub(super) fn model_rest(&self, model: &str, now: Timestamp) -> Option<Rest> {
        let (_, cooldown) = self.resting_models.iter().find(|(name, _)| **name == *model)?;
        cooldown.rest(now)
    }

    /// The models that rest by themselves.
    pub(super) fn resting_models(&self, now: Timestamp) -> impl Iterator<Item = (Arc<str>, Rest)> {
        self.resting_models
            .iter()
            .filter_map(move |(model, cooldown)| Some((Arc::clone(model), cooldown.rest(now)?)))
    }

    /// The cooldown of one model, to be changed.
    pub(super) fn model_cooldown(&mut self, model: &Arc<str>, now: Timestamp) -> &mut Cooldown {
        let place = self.resting_models.iter().position(|(name, _)| **name == **model);
        let place = place.unwrap_or_else(|| {
            // A rest that is over still knows how often it failed in a row; that is forgotten only for want of room.
            if self.resting_models.len() >= RESTING_MODELS_MAX {
                self.resting_models.retain(|(_, cooldown)| cooldown.latest() > now);
            }
            if self.resting_models.len() >= RESTING_MODELS_MAX {
                let soonest = self.resting_models.iter().enumerate();
                let soonest = soonest.min_by_key(|(_, (_, cooldown))| cooldown.latest());
                if let Some(soonest) = soonest.map(|(index, _)| index) {
                    self.resting_models.swap_remove(soonest);
                }
            }
            self.resting_models.push((Arc::clone(model), Cooldown::default()));
            self.resting_models.len() - 1
        });
        &mut self.resting_models[place].1
    }

    /// A call for `model` that began at `began` was answered. Tells whether its account turned out to have money again.
    pub(super) fn succeeded(&mut self, model: Option<&Arc<str>>, began: Timestamp) -> bool {
        if let Some((_, cooldown)) = self.resting_models.iter_mut().find(|(name, _)| Some(name) == model) {
            cooldown.accepted(began);
        }
        self.accepted(began);
        self.cooldown.has_credit(began)
    }

    /// The provider took the credential for a request that began then; of credit that may say nothing.
    pub(super) fn accepted(&mut self, began: Timestamp) {
        self.refusals = Refusals::default();
        self.cooldown.accepted(began);
    }

    /// A call that began at `began` was refused for the credential's sake. Tells whether that was once too often.
    /// Calls under way at the same time are refused together and count as one.
    pub(super) fn refused(&mut self, began: Timestamp, now: Timestamp) -> bool {
        if self.deactivated || began < self.refusals.at {
            return false;
        }
        self.refusals = Refusals {
            in_a_row: self.refusals.in_a_row + 1,
            at: now,
        };
        self.deactivated = self.refusals.in_a_row >= REFUSALS_MAX;
        self.deactivated
    }

    /// How often in a row it was refused.
    pub(super) const fn refusals(&self) -> u32 {
        self.refusals.in_a_row
    }

    /// Forgets what was found out, because an operator put it back into service. Tells whether it was out of service, or
    /// out of credit, as far as is known here.
    pub(super) fn activate(&mut self, activation: i64) -> bool {
        let was_out = self.deactivated || self.cooldown.is_out_of_credit();
        self.activation = activation;
        self.deactivated = false;
        self.cooldown = Cooldown::default();
        self.resting_models.clear();
        self.found = Found::default();
        self.refusals = Refusals::default();
        was_out
    }
}

const fn of_rest(rest: Rest) -> Exclusion {
    match rest {
        Rest::OutOfCredit(until) => Exclusion::OutOfCredit { until },
        Rest::Named(until) => Exclusion::Cooldown {
            until,
            named_by_provider: true,
        },
        Rest::Guessed(until) => Exclusion::Cooldown {
            until,
            named_by_provider: false,
        },
    }
}

impl Daily {
    /// Uses today. A clock that was set back does not begin a day anew.
    pub(crate) const fn uses(self, now: Timestamp) -> u64 {
        if now.day() > self.day { 0 } else { self.uses }
    }

    /// One more; tells how many that makes.
    pub(crate) const fn count(&mut self, now: Timestamp) -> u64 {
        let uses = self.uses(now) + 1;
        if now.day() > self.day {
            self.day = now.day();
        }
        self.uses = uses;
        uses
    }

    /// One that was begun then came to nothing.
    pub(crate) const fn give_back(&mut self, began: Timestamp) {
        if began.day() == self.day {
            self.uses = self.uses.saturating_sub(1);
        }
    }

    /// As many, if it is known to be less.
    pub(crate) const fn raise(&mut self, day: i64, uses: u64) {
        if day > self.day || (day == self.day && uses > self.uses) {
            *self = Self { day, uses };
        }
    }

    /// What is known from before.
    pub(crate) const fn add(&mut self, day: i64, uses: u64) {
        if day > self.day {
            *self = Self { day, uses };
        } else if day == self.day {
            self.uses += uses;
        }
    }
}
