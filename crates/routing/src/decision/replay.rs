//! Making a recorded choice again: as it was, or as another configuration would have made it.

use std::fmt;

use domain::snapshot::Route;
use serde::Deserialize;

use super::trace::decided;
use super::world::Known;
use super::{CANDIDATES_MAX, Candidate, Decision, VERSION};
use crate::board::Entries;
use crate::plan::Choice;

/// Why a record cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreplayable {
    /// Another version of the program wrote it.
    Version {
        /// Which form it has.
        found: u32,
    },
    /// It had more candidates than are recorded.
    TooMany {
        /// How many.
        candidates: usize,
    },
    /// It is damaged.
    Damaged(String),
}

impl fmt::Display for Unreplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => write!(
                f,
                "the record has version {found} and this program replays version {VERSION}; use the tollgate that wrote it"
            ),
            Self::TooMany { candidates } => write!(
                f,
                "the call had {candidates} candidates, and only up to {CANDIDATES_MAX} are recorded"
            ),
            Self::Damaged(why) => write!(f, "the record cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Unreplayable {}

/// Reads a record as it is kept.
///
/// # Errors
/// Another version wrote it, or it is damaged.
pub fn read(text: &str) -> Result<Decision, Unreplayable> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let damaged = |error: serde_json::Error| Unreplayable::Damaged(error.to_string());
    let Version { version } = serde_json::from_str(text).map_err(damaged)?;
    if version != VERSION {
        return Err(Unreplayable::Version { found: version });
    }
    serde_json::from_str(text).map_err(damaged)
}

impl Decision {
    /// The same choice, made again from this record alone.
    ///
    /// # Errors
    /// The record does not have what it takes.
    pub fn replay(&self) -> Result<Self, Unreplayable> {
        let (route, mut entries) = self.world()?;
        Ok(decided(
            &route,
            &self.question(),
            self.pin(),
            &mut entries,
            (self.at.0, self.seed.0),
        ))
    }

    /// What the same call would have met with another configuration, in the same state as far as its names are the same.
    ///
    /// # Errors
    /// The record does not have what it takes.
    pub fn with(&self, route: &Route) -> Result<Self, Unreplayable> {
        let mut entries = self.entries_with(route)?;
        Ok(decided(
            route,
            &self.question(),
            self.pin(),
            &mut entries,
            (self.at.0, self.seed.0),
        ))
    }

    /// The route and the entries of then, from this record alone.
    pub(super) fn world(&self) -> Result<(Route, Entries), Unreplayable> {
        self.check()?;
        let route = self.route();
        let route = route.ok_or_else(|| Unreplayable::Damaged("its candidates have gaps".to_owned()))?;
        let candidates = self.candidates();
        let entries = self.entries(&route, |choice| {
            let place = [choice.target, choice.credential];
            let found = candidates.binary_search_by_key(&place, |candidate| candidate.terms.place);
            let state = found.ok().map(|index| &candidates[index].state);
            Known {
                upstream: state,
                target: state,
                key: state,
                model_of_key: state,
            }
        });
        Ok((route, entries))
    }

    /// The entries of then, for another route.
    pub(super) fn entries_with(&self, route: &Route) -> Result<Entries, Unreplayable> {
        self.check()?;
        let candidates = self.candidates();
        Ok(self.entries(route, |choice| known(&candidates, route, choice)))
    }

    fn check(&self) -> Result<(), Unreplayable> {
        if self.version != VERSION {
            return Err(Unreplayable::Version { found: self.version });
        }
        match self.unrecorded {
            0 => Ok(()),
            candidates => Err(Unreplayable::TooMany { candidates }),
        }
    }
}

/// What the record says of a candidate of another route, by the names of upstream, credential and model.
fn known<'a>(candidates: &[&'a Candidate], route: &Route, choice: Choice) -> Known<'a> {
    let Some(target) = route.targets.get(choice.target) else {
        return Known::default();
    };
    let Some(credential) = target.upstream.credentials.get(choice.credential) else {
        return Known::default();
    };
    let fallback = route.fallback_of(target).map(|fallback| &*fallback.model);
    let of_upstream = |one: &&&'a Candidate| one.upstream.eq_ignore_ascii_case(&target.upstream.name);
    let here: Vec<&&Candidate> = candidates.iter().filter(of_upstream).collect();
    let is_key = |one: &Candidate| one.credential.eq_ignore_ascii_case(&credential.name);
    let is_model = |one: &Candidate| *one.model == *target.model;
    // A model may be a target twice, of its own and of a fallback.
    let is_target = |one: &Candidate| is_model(one) && one.fallback.as_deref() == fallback;
    let best = |fits: [&dyn Fn(&Candidate) -> bool; 3]| {
        let mut found = fits.iter().filter_map(|fits| here.iter().find(|one| fits(one)));
        found.next().map(|one| &one.state)
    };
    let never = |_: &Candidate| false;
    Known {
        upstream: here.first().map(|one| &one.state),
        target: best([&|one| is_target(one) && is_key(one), &is_target, &is_model]),
        key: best([
            &|one| is_target(one) && is_key(one),
            &|one| is_model(one) && is_key(one),
            &is_key,
        ]),
        model_of_key: best([
            &|one| is_target(one) && is_key(one),
            &|one| is_model(one) && is_key(one),
            &never,
        ]),
    }
}
