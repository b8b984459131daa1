//! Why a candidate was set aside, and what follows from each reason.

use domain::{Lack, Timestamp};

/// Why a candidate was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Its upstream offers this operation neither in this format nor in one that can be translated into it.
    Dialect,
    /// Its model is known not to be able to do what the request needs.
    Capability(Lack),
    /// Its credential is for keys of another profile, or of one.
    Profile,
    /// Its upstream has no credential, and its provider wants one.
    NoCredential,
    /// Its credential is out of service until an operator puts it back.
    Deactivated,
    /// Its credential was used as often as it may be today.
    DailyLimit {
        /// When the next day begins.
        until: Timestamp,
    },
    /// As much of its account's allowance is used as an operator wants to be used.
    Paused {
        /// When the allowance is whole again.
        until: Timestamp,
    },
    /// It is an account whose plan does not have the model.
    Plan,
    /// It is an account that somebody has to log in again.
    NeedsLogin,
    /// An operator keeps its breaker open.
    ForcedOpen,
    /// Its upstream failed too often.
    BreakerOpen {
        /// When it may be probed.
        until: Timestamp,
    },
    /// Its upstream failed too often, and another call is finding out whether it still does.
    Probing,
    /// Its upstream named a time at which it will be well again.
    UpstreamCooldown {
        /// That time. A guess all the same: unlike a limit, it may be over before.
        until: Timestamp,
    },
    /// Its credential rests.
    Cooldown {
        /// Until then.
        until: Timestamp,
        /// Whether the provider said so; otherwise we guess.
        named_by_provider: bool,
    },
    /// Its credential's account has no money.
    OutOfCredit {
        /// When to look again.
        until: Timestamp,
    },
    /// The request names something that lives elsewhere.
    Pinned,
}

/// When a reason is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not by itself.
    Never,
    /// Soon.
    Unknown,
    /// Then, as far as is known.
    At(Timestamp),
}

impl Exclusion {
    /// The name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialect => "dialect",
            Self::Capability(_) => "capability",
            Self::Profile => "profile",
            Self::NoCredential => "no_credential",
            Self::Deactivated => "deactivated",
            Self::DailyLimit { .. } => "daily_limit",
            Self::Paused { .. } => "paused",
            Self::UpstreamCooldown { .. } => "upstream_cooldown",
            Self::Plan => "plan",
            Self::NeedsLogin => "needs_login",
            Self::ForcedOpen => "forced_open",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Probing => "probing",
            Self::Cooldown { .. } => "cooldown",
            Self::OutOfCredit { .. } => "out_of_credit",
            Self::Pinned => "pinned",
        }
    }

    /// Whether it is declared, or over in a while whatever is declared, and when, where that is known.
    const fn end(self) -> End {
        match self {
            Self::Probing => End::Unknown,
            Self::BreakerOpen { until }
            | Self::UpstreamCooldown { until }
            | Self::Cooldown { until, .. }
            | Self::OutOfCredit { until }
            | Self::DailyLimit { until }
            | Self::Paused { until } => End::At(until),
            Self::Dialect
            | Self::Capability(_)
            | Self::Profile
            | Self::NoCredential
            | Self::Deactivated
            | Self::Plan
            | Self::NeedsLogin
            | Self::ForcedOpen
            | Self::Pinned => End::Never,
        }
    }

    /// When it is expected to end, where that is known.
    pub const fn until(self) -> Option<Timestamp> {
        match self.end() {
            End::At(until) => Some(until),
            End::Unknown | End::Never => None,
        }
    }

    /// Whether it may be over in a while, whatever is declared.
    pub(crate) const fn is_of_the_moment(self) -> bool {
        !matches!(self.end(), End::Never)
    }

    /// Whether it is our own guess, which is broken rather than turning a call away.
    pub(crate) const fn is_guess(self) -> bool {
        self.guess(Timestamp(0)).is_some()
    }

    /// Whether it is over by itself soon enough that a call may wait for it.
    pub(crate) const fn passes(self) -> bool {
        self.is_guess() || matches!(self, Self::Cooldown { .. })
    }

    /// For one that is our own guess: when we expect it to end. `None` for one that must be kept.
    pub(super) const fn guess(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Probing => Some(now),
            Self::BreakerOpen { until }
            | Self::UpstreamCooldown { until }
            | Self::Cooldown {
                until,
                named_by_provider: false,
            } => Some(until),
            Self::Dialect
            | Self::Capability(_)
            | Self::Profile
            | Self::NoCredential
            | Self::Deactivated
            | Self::DailyLimit { .. }
            | Self::Paused { .. }
            | Self::Plan
            | Self::NeedsLogin
            | Self::ForcedOpen
            | Self::Cooldown { .. }
            | Self::OutOfCredit { .. }
            | Self::Pinned => None,
        }
    }
}
