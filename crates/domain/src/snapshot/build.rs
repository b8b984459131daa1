//! From declared resources to a [`Snapshot`]: in which order they are taken, and how one thing leads to the next.
//!
//! Each kind of resource is read in its own file. What is bad is a message there, and here it becomes a problem that is set
//! aside, so that building never fails.

mod credentials;
mod provider;
#[cfg(test)]
mod tests;
mod upstreams;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::routes::{Process, declared_route, implicit_route};
use super::{Key, KeyRow, ModelRow, Problem, Resources, Snapshot, Upstream, User, UserRow};
use crate::names::folded;
use crate::{NamePattern, catalog};
use credentials::{profile_name, unknown_modes};
use upstreams::upstream;

/// Names of one upstream that are listed and looked up without work, at most: a glob over a provider's whole catalog
/// stays below this.
const LISTED_MAX: usize = 10_000;

impl Snapshot {
    pub(super) const fn process(&self) -> Process<'_> {
        Process {
            defaults: &self.defaults,
            system_prompt: &self.system_prompt,
        }
    }

    /// Builds the view of these resources. Never fails: what is bad is set aside in `problems`.
    pub fn build(resources: Resources) -> Self {
        let mut snapshot = Self {
            revision: resources.revision,
            defaults: resources.defaults,
            system_prompt: resources.system_prompt,
            groups: resources.groups,
            request_timeout: resources.request_timeout.unwrap_or(Duration::from_mins(10)),
            account_modes: resources.account_modes,
            problems: resources.problems,
            ..Self::default()
        };
        for row in resources.upstreams {
            let name = row.decl.name.clone();
            match upstream(row, &resources.providers, &snapshot) {
                Ok(upstream) => {
                    snapshot.problems.extend(unknown_modes(&upstream));
                    let upstream = snapshot.with_models_of_group(upstream);
                    snapshot.upstreams.push(Arc::new(upstream));
                }
                Err(message) => snapshot.problem("upstream", &name, message),
            }
        }
        snapshot.upstreams.sort_by(|a, b| a.name.cmp(&b.name));
        snapshot.add_implicit_routes();
        snapshot.add_models(resources.models);
        snapshot.add_people(resources.users, resources.keys);
        snapshot
    }

    /// An upstream serves, beside what it names itself, what belongs to its group, unless it names exactly what it serves.
    fn with_models_of_group(&self, mut upstream: Upstream) -> Upstream {
        if let (Some(group), false) = (&upstream.group, upstream.names_models) {
            upstream.models.extend_from_slice(self.groups.models(group));
        }
        upstream
    }

    pub(super) fn problem(&mut self, kind: &str, name: &str, message: String) {
        self.problems.push(Problem {
            resource: format!("{kind} {name}"),
            message,
        });
    }

    /// A route for each name that an upstream is known to serve: what it names itself and what its provider's catalog
    /// lists. It leads to every upstream that serves the name, also to those that only have a glob for it.
    fn add_implicit_routes(&mut self) {
        let mut listed: HashMap<String, String> = HashMap::new();
        for model in self.upstreams.iter().flat_map(|upstream| known_models(upstream)) {
            listed.entry(folded(&model).into_owned()).or_insert(model);
        }
        for (lower, name) in listed {
            let group = self.groups.of(&name);
            let serving = self
                .upstreams
                .iter()
                .filter(|upstream| upstream.is_in(group))
                .filter_map(|upstream| {
                    let pattern = upstream.models.iter().find(|pattern| pattern.matches(&name))?;
                    // Its own spelling, where it has one.
                    let spelled = if pattern.is_glob() { &name } else { pattern.as_str() };
                    Some((Arc::clone(upstream), spelled))
                });
            let targets: Vec<_> = serving.collect();
            if !targets.is_empty() {
                let route = implicit_route(&name, &targets, &self.process()).of_group(group);
                self.routes.insert(lower, Arc::new(route));
            }
        }
    }

    fn add_models(&mut self, rows: Vec<ModelRow>) {
        for row in rows {
            let pattern = NamePattern::new(row.decl.name.as_str());
            let row = Arc::new(row);
            if pattern.is_glob() {
                self.globs.push((pattern, row));
                continue;
            }
            let (route, problems) = declared_route(&row, &row.decl.name, &self.upstreams, &self.process());
            for message in problems {
                self.problem("model", &row.decl.name, message);
            }
            let Some(route) = route.map(Arc::new) else { continue };
            for name in row.decl.names() {
                self.routes.insert(folded(name).into_owned(), Arc::clone(&route));
                if !row.decl.fallbacks.is_empty() {
                    self.fallbacks.insert(folded(name).into_owned(), Arc::clone(&row));
                }
            }
        }
        self.globs
            .sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.as_str().len()));
        self.add_fallbacks();
    }

    fn add_people(&mut self, users: Vec<UserRow>, keys: Vec<KeyRow>) {
        for row in users {
            let policy = row.policy.unwrap_or(self.defaults.policy);
            self.users.insert(
                row.id,
                Arc::new(User {
                    id: row.id,
                    name: row.name,
                    policy,
                }),
            );
        }
        for row in keys {
            let Some(user) = self.users.get(&row.user).cloned() else {
                self.problem(
                    "key",
                    &row.name,
                    "its user does not exist; remove the key or give it a user".to_owned(),
                );
                continue;
            };
            let key = Key {
                id: row.id,
                name: row.name,
                user,
                models: row.terms.models,
                limits: row.terms.limits.or(self.defaults.limits),
                expires: row.expires,
                addresses: row.terms.addresses,
                passthrough: row.terms.passthrough,
                profile: row.terms.profile.as_deref().map(profile_name),
            };
            self.keys.insert(row.hash, Arc::new(key));
        }
    }
}

/// Concrete names that an upstream serves, as far as they are known.
fn known_models(upstream: &Upstream) -> Vec<String> {
    let named = upstream
        .models
        .iter()
        .filter(|pattern| !pattern.is_glob())
        .map(|pattern| pattern.as_str().to_owned());
    let listed = catalog::models()
        .of_provider(upstream.provider.catalog_name())
        .filter(|facts| {
            upstream
                .models
                .iter()
                .any(|pattern| pattern.is_glob() && pattern.matches(&facts.name))
        })
        .map(|facts| facts.name.clone());
    named.chain(listed).take(LISTED_MAX).collect()
}
