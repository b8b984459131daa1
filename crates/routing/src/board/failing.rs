//! Which credentials fail while their siblings answer.
//!
//! A server error says little of the key that was sent along, until another key of the same upstream is answered. So it is
//! kept how often each failed in a row, and which were *proven*: answered while a sibling failed. One that fails beside a
//! proven one fails alone; that is no reason to leave the whole upstream alone, but one to let that credential rest a little,
//! behind those that do not fail. It never rests as the last one, and one that comes back fails once before it rests again.
//!
//! What was found out is forgotten when nothing has failed for as long as records tell of failures: so a record has all of it.

use std::time::Duration;

use domain::Timestamp;
use domain::snapshot::{Credential, Upstream};

use super::Board;
use super::entries::Entries;

/// How long a credential that fails more often than its siblings rests; doubled each time in a row.
const BEHIND: Duration = Duration::from_secs(1);
/// And at most: what was mended is to be used again soon.
const BEHIND_MAX: Duration = Duration::from_secs(30);
/// Failures in a row after which it rests.
const FAILING: u8 = 2;

/// Rank of one that was answered while others failed; see [`Board::sibling_rank`].
pub(crate) const PROVEN: u16 = 0;
/// Rank of one of which nothing is known.
pub(crate) const UNFAILED: u16 = 1;

/// What is known of a credential beside its siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Failures of its upstream's kind in a row.
    pub(crate) failing: u8,
    /// Whether it answered while a sibling failed.
    pub(crate) proven: bool,
}

/// The same, and in which time of failures it was found out.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    standing: Standing,
    /// The same before it was answered last, should that answer break off.
    before: Standing,
    shock: u32,
}

impl Found {
    pub(super) const fn new(standing: Standing, shock: u32) -> Self {
        Self {
            standing,
            before: standing,
            shock,
        }
    }

    fn before(self, shock: u32) -> Standing {
        if self.shock == shock {
            self.before
        } else {
            Standing::default()
        }
    }

    /// What still holds of it.
    pub(super) fn at(self, shock: u32) -> Standing {
        if self.shock == shock {
            self.standing
        } else {
            Standing::default()
        }
    }
}

impl Board {
    /// In which order siblings are tried after one of them failed: those first that were answered meanwhile, then those that
    /// did not fail.
    pub(crate) fn sibling_rank(&self, credential: &Credential) -> u16 {
        self.entries.lock().sibling_rank(credential)
    }
}

impl Entries {
    pub(crate) fn sibling_rank(&self, credential: &Credential) -> u16 {
        let standing = self.standing(credential);
        u16::from(!standing.proven) + u16::from(standing.failing)
    }

    fn standing(&self, credential: &Credential) -> Standing {
        let entry = self.credential(credential.id);
        entry.map_or_else(Standing::default, |entry| entry.found.at(self.shock))
    }

    fn stood(&self, credential: &Credential) -> Standing {
        let entry = self.credential(credential.id);
        entry.map_or_else(Standing::default, |entry| entry.found.before(self.shock))
    }

    fn stands(&mut self, credential: &Credential, standing: Standing) {
        let shock = self.shock;
        self.credential_mut(credential.id).found = Found::new(standing, shock);
    }

    /// A credential was answered.
    pub(super) fn answers(&mut self, upstream: &Upstream, credential: &Credential) {
        if !self.is_mixed(upstream.id) {
            return;
        }
        let known = self.standing(credential);
        if known.proven && known == self.stood(credential) {
            return;
        }
        let mut others = upstream.credentials.iter().filter(|other| other.id != credential.id);
        let proven = others.any(|other| self.standing(other).failing > 0);
        let shock = self.shock;
        self.credential_mut(credential.id).found = Found {
            standing: Standing { failing: 0, proven },
            before: known,
            shock,
        };
        // Until it is answered once more, its own failures may yet count.
        self.mix(upstream.id, proven || known.failing > 0);
    }

    /// A credential failed in a way that is the upstream's. Tells whether it is the only one that fails, as far as is known.
    /// `broke_off`: after [`Entries::answers`] was told of its answer.
    pub(super) fn fails(
        &mut self,
        upstream: &Upstream,
        credential: &Credential,
        (named, broke_off): (Option<Duration>, bool),
        now: Timestamp,
    ) -> bool {
        if upstream.credentials.len() < 2 {
            return false;
        }
        let known = if broke_off {
            self.stood(credential)
        } else {
            self.standing(credential)
        };
        let failing = known.failing.saturating_add(1);
        self.stands(credential, Standing { failing, proven: false });
        self.mix(upstream.id, true);
        let stands_well = |other: Standing| other.failing == 0;
        let alone = !known.proven
            && !self.is_doubted(upstream.id)
            && self.has_sibling(upstream, credential, now, |other| other.proven);
        let Some(settings) = upstream.cooldown else {
            return alone;
        };
        if (alone || failing >= FAILING) && self.has_sibling(upstream, credential, now, stands_well) {
            let rest = BEHIND.saturating_mul(1 << (failing - 1).min(5)).min(BEHIND_MAX);
            let rest = rest.max(named.filter(|_| alone).unwrap_or_default());
            let until = now + rest.min(settings.max.0);
            self.credential_mut(credential.id).cooldown.stay_behind(until, now);
            self.look_until(until);
        }
        alone
    }

    /// Whether there is another credential for the same keys that could be used now, and stands so.
    fn has_sibling(
        &self,
        upstream: &Upstream,
        credential: &Credential,
        now: Timestamp,
        stands: impl Fn(Standing) -> bool,
    ) -> bool {
        let usable = |other: &Credential| {
            let entry = self.credential(other.id);
            entry.is_none_or(|entry| entry.is_usable(other, now))
        };
        upstream.credentials.iter().any(|other| {
            other.id != credential.id
                && other.pool == credential.pool
                && other.state.deactivated.is_none()
                && stands(self.standing(other))
                && usable(other)
        })
    }
}
