//! The rests that providers named, handed over to be kept, and taken back at the next start.
//!
//! A time that a provider named is kept to the letter, so a restart must not forget it. Guesses are left out: what they were
//! made of is soon found out again.

use domain::{CredentialId, NamedRests, Snapshot, Timestamp};

use super::{Board, Entries};
use crate::cooldown::Rest;

impl Board {
    /// What providers named since this was asked last: of each credential concerned all that is in force, and under which
    /// activation.
    pub fn take_named(&self, now: Timestamp) -> Vec<(CredentialId, i64, NamedRests)> {
        let mut entries = self.entries.lock();
        let told = std::mem::take(&mut entries.named);
        let mut all = Vec::with_capacity(told.len());
        for id in told {
            let entry = entries.credential_mut(id);
            entry.is_told = false;
            all.push((id, entry.activation, entry.named(now)));
        }
        all
    }

    /// What providers named before this process, as far as it still holds.
    pub fn restore_named(
        &self,
        snapshot: &Snapshot,
        named: impl IntoIterator<Item = (CredentialId, i64, NamedRests)>,
        now: Timestamp,
    ) {
        let mut entries = self.entries.lock();
        for (id, activation, rests) in named {
            let of_it = |upstream: &&std::sync::Arc<domain::snapshot::Upstream>| {
                let mut all = upstream.credentials.iter();
                all.any(|credential| credential.id == id && credential.state.activation == activation)
            };
            let Some(upstream) = snapshot.upstreams.iter().find(of_it) else {
                continue;
            };
            let entry = entries.credential_mut(id);
            entry.activation = activation;
            entry.windows = rests.windows;
            let windows = [rests.windows.five_hours, rests.windows.seven_days];
            let mut latest = windows.into_iter().flatten().map(|window| window.resets_at).max();
            if let Some(settings) = upstream.cooldown {
                let longest = now + settings.max.0;
                let models = rests.models.iter().map(|(model, until)| (Some(model), *until));
                for (model, until) in models.chain([(None, rests.until)]).filter(|(_, until)| *until > now) {
                    let cooldown = match model {
                        Some(model) => entry.model_cooldown(model, now),
                        None => &mut entry.cooldown,
                    };
                    cooldown.is_named(until.min(longest));
                    latest = latest.max(Some(until));
                }
            }
            entries.look_until(latest.unwrap_or_default());
        }
    }
}

impl Entries {
    /// A provider named something of a credential, which is to be kept.
    pub(super) fn told(&mut self, id: CredentialId) {
        let entry = self.credential_mut(id);
        if !std::mem::replace(&mut entry.is_told, true) {
            self.named.push(id);
        }
    }
}

impl super::credential::CredentialEntry {
    /// What its provider named and is in force.
    fn named(&self, now: Timestamp) -> NamedRests {
        let models = self.resting_models(now).filter_map(|(model, rest)| match rest {
            Rest::Named(until) => Some((model, until)),
            Rest::Guessed(_) | Rest::OutOfCredit(_) => None,
        });
        NamedRests {
            until: self.cooldown.named(),
            models: models.collect(),
            windows: self.windows,
        }
    }
}
