//! What a target format cannot say.

use std::borrow::Cow;
use std::fmt;

use crate::limits::LOSSES_MAX;

/// One thing that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// What, by the name that it has in the vocabulary or in the client's format: `top_k`, `tools[2].strict`.
    pub what: Cow<'static, str>,
    /// Why not: the reason that is shown to people.
    pub why: &'static str,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// What did not arrive of one request or answer; each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses(Vec<Loss>);

impl Losses {
    /// Notes a loss.
    pub(crate) fn note(&mut self, what: impl Into<Cow<'static, str>>, why: &'static str) {
        let loss = Loss { what: what.into(), why };
        if self.0.len() < LOSSES_MAX && !self.0.contains(&loss) {
            self.0.push(loss);
        }
    }

    /// Notes one if there is something to lose.
    pub(crate) fn note_if(&mut self, is_lost: bool, what: &'static str, why: &'static str) {
        if is_lost {
            self.note(what, why);
        }
    }

    /// All of them, in the order in which they were noted.
    pub(crate) fn into_vec(self) -> Vec<Loss> {
        self.0
    }

    /// Those so far.
    pub(crate) fn as_slice(&self) -> &[Loss] {
        &self.0
    }
}
