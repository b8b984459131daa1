//! What became of credentials, for people who look after them.
//!
//! The board notes each change of a credential's state when it happens, once, and whoever keeps the log collects the
//! notes ([`Board::events`](crate::Board::events)). That a rest is over nobody does, it is only found: when the notes are
//! collected. Notes are few (a state changes far less often than calls are made) and their number is bounded, so that a
//! board whose notes nobody collects does not grow.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::{CredentialId, FailureClass, Timestamp, UpstreamId};

/// Notes that wait to be collected; of more, the newest are lost. Thousands of credentials may change at once.
const EVENTS_MAX: usize = 4_096;

/// A change of a credential's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialEvent {
    /// When.
    pub at: Timestamp,
    /// Its upstream.
    pub upstream: UpstreamId,
    /// Which.
    pub credential: CredentialId,
    /// Under which activation (see [`domain::snapshot::CredentialState`]).
    pub activation: i64,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It rests.
    CooldownBegan {
        /// For this model only; `None`: for all.
        model: Option<Arc<str>>,
        /// After this.
        class: FailureClass,
        /// Until then, as far as is known now.
        until: Timestamp,
        /// Whether the provider said so.
        named_by_provider: bool,
    },
    /// It rests no more.
    CooldownEnded {
        /// For this model only.
        model: Option<Arc<str>>,
    },
    /// Its account has no money.
    OutOfCredit {
        /// When to look again.
        until: Timestamp,
    },
    /// Its account has money again.
    CreditBack,
    /// It is out of service until an operator puts it back.
    Deactivated {
        /// Why, in words for people.
        reason: String,
    },
    /// An operator put it back into service.
    Activated,
    /// It was used as often as it may be on one day.
    DailyLimitReached {
        /// How often that is.
        limit: u64,
        /// When the next day begins.
        until: Timestamp,
    },
    /// As much of an allowance is used as an operator wants to be used.
    Paused {
        /// When the allowance is whole again.
        until: Timestamp,
    },
}

impl Change {
    /// The name in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CooldownBegan { .. } => "cooldown_began",
            Self::CooldownEnded { .. } => "cooldown_ended",
            Self::OutOfCredit { .. } => "out_of_credit",
            Self::CreditBack => "credit_back",
            Self::Deactivated { .. } => "deactivated",
            Self::Activated => "activated",
            Self::DailyLimitReached { .. } => "daily_limit_reached",
            Self::Paused { .. } => "paused",
        }
    }

    /// Whether it must not be lost: it is to be kept in the database. There is one of each per credential at most.
    const fn is_kept(&self) -> bool {
        matches!(
            self,
            Self::OutOfCredit { .. } | Self::CreditBack | Self::Deactivated { .. }
        )
    }
}

/// Notes that wait, and rests whose end is to be noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: VecDeque<CredentialEvent>,
    resting: Vec<(Subject, Option<Arc<str>>)>,
}

/// Whom a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) upstream: UpstreamId,
    pub(crate) credential: CredentialId,
    pub(crate) activation: i64,
}

impl Notes {
    pub(crate) fn add(&mut self, subject: Subject, change: Change, at: Timestamp) {
        let Subject {
            upstream,
            credential,
            activation,
        } = subject;
        if let Change::CooldownBegan { model, .. } = &change {
            let rest = (subject, model.clone());
            if self.resting.len() < EVENTS_MAX && !self.resting.contains(&rest) {
                self.resting.push(rest);
            }
        }
        if self.waiting.len() < EVENTS_MAX || change.is_kept() {
            self.waiting.push_back(CredentialEvent {
                at,
                upstream,
                credential,
                activation,
                change,
            });
        }
    }

    /// Hands the notes over, after noting the rests that are over: those of which `rests` says so.
    pub(crate) fn collect(
        &mut self,
        now: Timestamp,
        rests: impl Fn(CredentialId, Option<&str>) -> bool,
    ) -> Vec<CredentialEvent> {
        let over = self
            .resting
            .extract_if(.., |(subject, model)| !rests(subject.credential, model.as_deref()))
            .collect::<Vec<_>>();
        for (subject, model) in over {
            self.add(subject, Change::CooldownEnded { model }, now);
        }
        std::mem::take(&mut self.waiting).into()
    }
}
