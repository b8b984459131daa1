//! What two decisions about the same call have not in common.

use serde::{Deserialize, Serialize};

use super::{Candidate, Decision};

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is tried, as the first, second and so on.
    Tried(usize),
    /// It is set aside, for this reason.
    Excluded(String),
    /// There is no such candidate.
    Absent,
}

/// A candidate that two decisions treat differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The upstream's name.
    pub upstream: String,
    /// The credential's name.
    pub credential: String,
    /// The model's name there.
    pub model: String,
    /// In the one.
    pub before: Fate,
    /// In the other.
    pub after: Fate,
}

impl Decision {
    /// What another decision does differently; nothing where both are the same. Candidates are the same by their names, and
    /// those that stand in a configuration twice by which of them they are.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (mine, theirs) = (self.fates(), other.fates());
        let find = |all: &[(Id<'_>, Fate)], id: &Id<'_>| {
            let found = all.iter().find(|(known, _)| known == id);
            found.map_or(Fate::Absent, |(_, fate)| fate.clone())
        };
        let known = mine.iter().map(|(id, fate)| (id, fate.clone(), find(&theirs, id)));
        let new = theirs
            .iter()
            .filter(|(id, _)| find(&mine, id) == Fate::Absent)
            .map(|(id, fate)| (id, Fate::Absent, fate.clone()));
        known
            .chain(new)
            .filter(|(_, before, after)| before != after)
            .map(|(id, before, after)| Difference {
                upstream: id.upstream.to_owned(),
                credential: id.credential.to_owned(),
                model: id.model.to_owned(),
                before,
                after,
            })
            .collect()
    }

    fn fates(&self) -> Vec<(Id<'_>, Fate)> {
        let tried = self.order.iter().zip(1..).map(|(one, place)| (one, Fate::Tried(place)));
        let excluded = self.excluded.iter().map(|one| {
            let reason = one.reason.clone().unwrap_or_default();
            (one, Fate::Excluded(reason))
        });
        let mut all: Vec<(&Candidate, Fate)> = tried.chain(excluded).collect();
        all.sort_by_key(|(one, _)| one.terms.place);
        let mut fates: Vec<(Id<'_>, Fate)> = Vec::with_capacity(all.len());
        for (one, fate) in all {
            let mut id = Id {
                upstream: &one.upstream,
                credential: &one.credential,
                model: &one.model,
                again: 0,
            };
            id.again = fates.iter().filter(|(known, _)| known.is_named_as(&id)).count();
            fates.push((id, fate));
        }
        fates.sort_by_key(|(_, fate)| match fate {
            Fate::Tried(place) => *place,
            Fate::Excluded(_) | Fate::Absent => usize::MAX,
        });
        fates
    }
}

/// What tells a candidate from others.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Id<'a> {
    upstream: &'a str,
    credential: &'a str,
    model: &'a str,
    again: usize,
}

impl Id<'_> {
    fn is_named_as(&self, other: &Self) -> bool {
        (self.upstream, self.credential, self.model) == (other.upstream, other.credential, other.model)
    }
}
