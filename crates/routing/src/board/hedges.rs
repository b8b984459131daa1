//! What the models that are hedged have earned.

use domain::declaration::Percent;
use domain::snapshot::Route;

use super::Board;
use super::entries::ROUTES_MAX;
use crate::hedge_budget::HedgeBudget;

impl Board {
    /// A call of a model began that may be hedged.
    pub fn may_be_hedged(&self, route: &Route, share: Percent) {
        let mut entries = self.entries.lock();
        let hedges = &mut entries.hedges;
        if hedges.len() >= ROUTES_MAX && !hedges.contains_key(route.model.as_str()) {
            // They begin anew with nothing, so nobody can earn by making up names.
            hedges.clear();
        }
        hedges.entry_ref(route.model.as_str()).or_default().called(share);
    }

    /// Lets a call of a model be hedged, of which it is known that it was.
    pub(crate) fn grant_hedge(&self, route: &Route) {
        let mut entries = self.entries.lock();
        entries.hedges.entry_ref(route.model.as_str()).or_default().grant();
    }

    /// Takes a hedge from what the calls of a model have earned; `false` where there is none.
    pub(crate) fn take_hedge(&self, route: &Route) -> bool {
        let mut entries = self.entries.lock();
        let budget = entries.hedges.get_mut(route.model.as_str());
        budget.is_some_and(HedgeBudget::take)
    }
}
