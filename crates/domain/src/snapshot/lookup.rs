//! Finding where a model name goes.
//!
//! In order: a declared name or alias, `upstream/model`, a declared glob, then every upstream that serves the name.
//! All without regard to case. Names known beforehand are in the table; the rest is worked out on demand.

use std::sync::Arc;

use super::{Key, Route, Snapshot, Target, Upstream, build};
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

    fn declared_glob(&self, name: &str) -> Option<Route> {
        let (_, row) = self.globs.iter().find(|(pattern, _)| pattern.matches(name))?;
        let (route, _) = build::declared_route(row, name, &self.upstreams, &self.process());
        route
    }

    fn qualified(&self, name: &str) -> Option<Route> {
        let (upstream, model) = name.split_once('/')?;
        let upstream = self.upstream(upstream)?;
        let serves = upstream.models.is_empty() || upstream.models.iter().any(|pattern| pattern.matches(model));
        serves.then(|| build::implicit_route(name, &[(Arc::clone(upstream), model)], &self.process()))
    }

    fn served(&self, name: &str) -> Option<Route> {
        let targets: Vec<_> = self
            .upstreams
            .iter()
            .filter(|upstream| upstream.models.iter().any(|pattern| pattern.matches(name)))
            .map(|upstream| (Arc::clone(upstream), name))
            .collect();
        (!targets.is_empty()).then(|| build::implicit_route(name, &targets, &self.process()))
    }
}

impl Key {
    /// Whether the key may use a model of this name.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }
}

impl Route {
    /// The price of a call that `target` served and `answered` names: the declared one, else the catalog's for the
    /// model that answered, else the catalog's for the model that was asked.
    pub fn price_of(&self, target: &Target, answered: Option<&str>) -> Option<Arc<Price>> {
        if let Some(price) = &self.price {
            return Some(Arc::clone(price));
        }
        let other = answered.filter(|answered| !answered.eq_ignore_ascii_case(&target.model));
        other
            .and_then(|answered| catalog::models().find(target.upstream.provider.catalog_name(), answered))
            .and_then(|facts| facts.price.clone().map(Arc::new))
            .or_else(|| target.price.clone())
    }
}
