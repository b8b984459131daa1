//! Finding where a model name goes.
//!
//! In order: a declared name or alias, a declared glob, `upstream/model`, then every upstream that serves the name, or of
//! the name's group those that do.
//! All without regard to case. Names known beforehand are in the table; the rest is worked out on demand.

use std::sync::Arc;

use super::routes::{declared_route, implicit_route};
use super::{Fallback, Key, Route, Snapshot, Target, Upstream};
use crate::declaration::Strategy;
use crate::names::{folded, same_name};
use crate::{Price, UpstreamId, catalog};

impl Snapshot {
    /// Where `name` goes; `None` where no upstream serves it.
    pub fn route(&self, name: &str) -> Option<Arc<Route>> {
        let lower = folded(name);
        if let Some(route) = self.routes.get(&*lower) {
            return Some(Arc::clone(route));
        }
        self.declared_glob(name)
            .or_else(|| self.qualified(name))
            .or_else(|| self.served(name))
            .map(Arc::new)
    }

    /// The names that `key` may use, each once, in order of the alphabet.
    pub fn model_names(&self, key: &Key) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .routes
            .values()
            .map(|route| route.model.as_str())
            .filter(|name| key.may_use(name))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The route of a listed name, for its facts.
    pub fn listed(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(&*folded(name))
    }

    /// An upstream by name, in any case.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| same_name(&upstream.name, name))
    }

    /// Every known model at an upstream; some more than once, under several names.
    pub fn targets_at(&self, upstream: UpstreamId) -> impl Iterator<Item = &Target> {
        let targets = self.routes.values().flat_map(|route| &route.targets);
        targets.filter(move |target| target.upstream.id == upstream)
    }

    /// The route of the model at an upstream that an answer names, in the provider's words: `gpt-4o-2024-08-06` is what
    /// was asked for as `gpt-4o`. Declared names come first, since they have the prices that people set.
    pub fn answering(&self, upstream: UpstreamId, answered: &str) -> Option<Arc<Route>> {
        let serves = |route: &Route| {
            let own = route.own_targets();
            own.filter(|target| target.upstream.id == upstream)
                .any(|target| is_version(answered, &target.model))
        };
        let routes = self.routes.values().filter(|route| serves(route));
        // Of several names the first in the alphabet, so that it is always the same.
        let is_dated = |route: &Route| !route.own_targets().any(|target| same_name(&target.model, answered));
        let listed = routes
            .min_by_key(|route| (route.price.is_none(), is_dated(route), &route.model))
            .cloned();
        if listed.as_ref().is_some_and(|route| route.price.is_some()) {
            return listed;
        }
        let by_glob = self.declared_glob(answered).filter(serves);
        by_glob.map(Arc::new).or(listed)
    }

    fn declared_glob(&self, name: &str) -> Option<Route> {
        let (_, row) = self.globs.iter().find(|(pattern, _)| pattern.matches(name))?;
        Some(self.with_fallbacks(self.glob_alone(name)?, row).0)
    }

    pub(super) fn glob_alone(&self, name: &str) -> Option<Route> {
        let (_, row) = self.globs.iter().find(|(pattern, _)| pattern.matches(name))?;
        declared_route(row, name, &self.upstreams, &self.process()).0
    }

    pub(super) fn qualified(&self, name: &str) -> Option<Route> {
        let (upstream, model) = name.split_once('/')?;
        let upstream = self.upstream(upstream)?;
        let serves = upstream.models.is_empty() || upstream.models.iter().any(|pattern| pattern.matches(model));
        let targets = || [(Arc::clone(upstream), upstream.spelled(model))];
        serves.then(|| implicit_route(name, &targets(), &self.process()))
    }

    pub(super) fn served(&self, name: &str) -> Option<Route> {
        let group = self.groups.of(name);
        let targets: Vec<_> = self
            .upstreams
            .iter()
            .filter(|upstream| upstream.is_in(group))
            .filter(|upstream| upstream.models.iter().any(|pattern| pattern.matches(name)))
            .map(|upstream| (Arc::clone(upstream), name))
            .collect();
        let route = || implicit_route(name, &targets, &self.process());
        (!targets.is_empty()).then(|| route().of_group(group))
    }
}

impl Key {
    /// Whether the key may use a model of this name.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }
}

impl Upstream {
    /// A model's name as it is written there: as declared, else as the catalog has it. Providers know their models in one
    /// spelling only.
    fn spelled<'a>(&'a self, model: &'a str) -> &'a str {
        let mut declared = self.models.iter().filter(|pattern| !pattern.is_glob());
        if let Some(declared) = declared.find(|pattern| pattern.matches(model)) {
            return declared.as_str();
        }
        let facts = catalog::models().find(self.provider.catalog_name(), model);
        facts
            .map(|facts| facts.name.as_str())
            .filter(|name| same_name(name, model))
            .unwrap_or(model)
    }

    /// Whether calls for models of this group may go there: anywhere, where the name belongs to none.
    pub(super) fn is_in(&self, group: Option<&str>) -> bool {
        let own = self.group.as_deref();
        group.is_none_or(|group| own.is_some_and(|own| same_name(own, group)))
    }
}

impl Route {
    pub(super) fn of_group(self, group: Option<&str>) -> Self {
        Self {
            group: group.map(str::to_owned),
            ..self
        }
    }

    /// The model that a target belongs to, if that is not the one that was asked for.
    pub fn fallback_of(&self, target: &Target) -> Option<&Fallback> {
        self.fallbacks.get(usize::from(target.tier).checked_sub(1)?)
    }

    /// How the targets of a tier are ordered.
    pub fn strategy_of(&self, target: &Target) -> Strategy {
        self.fallback_of(target)
            .map_or(self.strategy, |fallback| fallback.strategy)
    }

    /// The targets of the model itself.
    pub fn own_targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.tier == 0)
    }

    /// The declared price of the model that a target belongs to.
    pub fn declared_price(&self, target: &Target) -> Option<&Arc<Price>> {
        match self.fallback_of(target) {
            Some(fallback) => fallback.price.as_ref(),
            None => self.price.as_ref(),
        }
    }

    /// The price of a call that `target` served and `answered` names: the declared one, else the catalog's for the
    /// model that answered, else the catalog's for the model that was asked.
    pub fn price_of(&self, target: &Target, answered: Option<&str>) -> Option<Arc<Price>> {
        if let Some(price) = self.declared_price(target) {
            return Some(Arc::clone(price));
        }
        let other = answered.filter(|answered| !answered.eq_ignore_ascii_case(&target.model));
        other
            .and_then(|answered| catalog::models().find(target.upstream.provider.catalog_name(), answered))
            .and_then(|facts| facts.price.clone().map(Arc::new))
            .or_else(|| target.price.clone())
    }
}

/// Digits that a version begins with at least.
const VERSION_MIN: usize = 3;

/// Whether a name is that of a model, or of a dated version of it.
fn is_version(answered: &str, model: &str) -> bool {
    let Some((start, rest)) = answered.split_at_checked(model.len()) else {
        return false;
    };
    // `-0613`, `-001`, `-2024-08-06`; but `claude-opus-4-1` is another model than `claude-opus-4`.
    let is_date = |rest: &str| {
        let first = rest.split('-').next().unwrap_or_default();
        first.len() >= VERSION_MIN && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    start.eq_ignore_ascii_case(model) && (rest.is_empty() || rest.strip_prefix('-').is_some_and(is_date))
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn dated_versions_are_told_from_other_models() {
        for (answered, model, expected) in [
            ("gpt-4o", "GPT-4o", true),
            ("gpt-4o-2024-08-06", "gpt-4o", true),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5", true),
            ("gpt-4-0613", "gpt-4", true),
            ("gemini-2.0-flash-001", "gemini-2.0-flash", true),
            ("claude-opus-4-1", "claude-opus-4", false),
            ("gpt-4-", "gpt-4", false),
            ("gpt-4o-mini", "gpt-4o", false),
            ("gpt-4o-mini-2024-07-18", "gpt-4o", false),
            ("gpt-4", "gpt-4o", false),
            ("é", "g", false),
        ] {
            assert_eq!(is_version(answered, model), expected, "{answered} {model}");
        }
    }
}
