//! Models that answer in another one's place.
//!
//! A fallback is no second call: its targets stand behind those of the model itself, in a tier of their own, so that one
//! plan, one retry loop, one hold over the dearest of all and one receipt serve both. The fallbacks of a fallback follow
//! when the model's own list is used up. A model is in the chain once, so that a circle, which `tollgate check` refuses
//! and which a reload beside models of the database can still make, only ends it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Fallback, ModelRow, Route, RouteBounds, RouteStamp, Snapshot};
use crate::names::{folded, same_name};

/// Models behind one model. Each may be asked several times and each failure takes its time; a list of more is a mistake.
pub const FALLBACKS_MAX: usize = 8;

impl Snapshot {
    /// Puts the targets of fallbacks behind those of the models that name them.
    pub(super) fn add_fallbacks(&mut self) {
        let declared: Vec<_> = self.fallbacks.clone().into_iter().collect();
        for (name, row) in declared {
            let Some(alone) = self.routes.get(&name).map(|route| alone(route)) else {
                continue;
            };
            let (route, problems) = self.with_fallbacks(alone, &row);
            self.routes.insert(name.clone(), Arc::new(route));
            if name == *folded(&row.decl.name) {
                for message in problems {
                    self.problem("model", &row.decl.name, message);
                }
            }
        }
    }

    /// A model's route with its fallbacks, and what is wrong with them.
    pub(super) fn with_fallbacks(&self, mut route: Route, row: &ModelRow) -> (Route, Vec<String>) {
        let mut problems = Vec::new();
        let mut names: VecDeque<String> = row.decl.fallbacks.iter().cloned().collect();
        while let Some(name) = names.pop_front() {
            if route.fallbacks.len() >= FALLBACKS_MAX {
                problems.push(format!(
                    "it has more than {FALLBACKS_MAX} fallbacks; the others are not tried"
                ));
                break;
            }
            let Some(next) = self.route_alone(&name) else {
                problems.push(format!("its fallback `{name}` is not served by any upstream"));
                continue;
            };
            if same_name(&route.model, &next.model) {
                problems.push(format!(
                    "its fallbacks lead back to it, as `{name}`; the chain ends there"
                ));
                continue;
            }
            let mut known = route.fallbacks.iter().map(|known| &known.model);
            if known.any(|known| same_name(known, &next.model)) {
                continue;
            }
            names.extend(self.fallbacks_of(&name));
            append(&mut route, next);
        }
        (route, problems)
    }

    /// Where a name goes by itself.
    fn route_alone(&self, name: &str) -> Option<Route> {
        match self.listed(name) {
            Some(route) => Some(alone(route)),
            None => self
                .glob_alone(name)
                .or_else(|| self.qualified(name))
                .or_else(|| self.served(name)),
        }
    }

    fn fallbacks_of(&self, name: &str) -> Vec<String> {
        let declared = self.fallbacks.get(&*folded(name));
        let glob = || {
            let is_listed = self.listed(name).is_some();
            self.globs
                .iter()
                .find(|(pattern, _)| !is_listed && pattern.matches(name))
                .map(|(_, row)| row)
        };
        declared
            .or_else(glob)
            .map(|row| row.decl.fallbacks.clone())
            .unwrap_or_default()
    }
}

/// A route without the targets of fallbacks.
fn alone(route: &Route) -> Route {
    let targets: Vec<_> = route.own_targets().cloned().collect();
    Route {
        bounds: RouteBounds::of(&targets),
        stamp: RouteStamp::default(),
        model: route.model.clone(),
        strategy: route.strategy,
        targets,
        price: route.price.clone(),
        system_prompt: route.system_prompt.clone(),
        fallbacks: Vec::new(),
        fallback_on: route.fallback_on.clone(),
        recovery: route.recovery,
        hedge: route.hedge,
        group: route.group.clone(),
    }
}

fn append(route: &mut Route, next: Route) {
    route.fallbacks.push(Fallback {
        model: next.model,
        strategy: next.strategy,
        price: next.price,
    });
    let tier = route.fallbacks.len() as u8;
    route
        .targets
        .extend(next.targets.into_iter().map(|target| super::Target { tier, ..target }));
    route.bounds = RouteBounds::of(&route.targets);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::snapshot::{Origin, Resources, UpstreamRow};
    use crate::{Groups, Snapshot, UpstreamId};

    use super::*;

    /// Upstreams `u1` and `u2`, and these models.
    fn snapshot(models: &[Value], groups: Value) -> Snapshot {
        let upstream = |id: i64| {
            UpstreamRow {
            id: UpstreamId(id),
            origin: Origin::Operator,
            decl: serde_json::from_value(json!({
                "name": format!("u{id}"), "provider": "openai-compatible", "base_url": "http://x", "group": format!("g{id}"),
                "models": if id == 1 { json!(["plain", "gpt-9"]) } else { Value::Null },
            }))
            .unwrap(),
            credentials: Vec::new(),
            forced: None,
        }
        };
        let row = |decl: &Value| ModelRow {
            decl: serde_json::from_value(decl.clone()).unwrap(),
        };
        Snapshot::build(Resources {
            upstreams: vec![upstream(1), upstream(2)],
            models: models.iter().map(row).collect(),
            groups: serde_json::from_value::<Groups>(groups).unwrap(),
            ..Resources::default()
        })
    }

    fn model(name: &str, upstream: &str, fallbacks: &[&str]) -> Value {
        json!({"name": name, "targets": [{"upstream": upstream}], "fallbacks": fallbacks, "price": {"input": "1.00"}})
    }

    fn chain(snapshot: &Snapshot, name: &str) -> Vec<(u8, String)> {
        let route = snapshot.route(name).unwrap();
        route
            .targets
            .iter()
            .map(|target| (target.tier, target.model.to_string()))
            .collect()
    }

    #[test]
    fn the_chain_is_the_own_list_and_then_theirs_each_once() {
        let models = [
            model("a", "u1", &["b", "c", "plain", "u2/x", "glob-1"]),
            model("b", "u2", &["d", "c"]),
            model("c", "u1", &[]),
            model("d", "u2", &[]),
            model("glob-*", "u1", &["d"]),
        ];
        let snapshot = snapshot(&models, json!({}));
        assert_eq!(snapshot.problems, []);
        let names = ["a", "b", "c", "plain", "x", "glob-1", "d"];
        let expected: Vec<_> = (0..).zip(names.map(str::to_owned)).collect();
        assert_eq!(chain(&snapshot, "A"), expected);
        assert_eq!(
            chain(&snapshot, "glob-7"),
            [(0, "glob-7".to_owned()), (1, "d".to_owned())]
        );
        let route = snapshot.route("a").unwrap();
        assert_eq!(route.own_targets().count(), 1);
        let fallbacks: Vec<_> = route
            .targets
            .iter()
            .map(|target| route.fallback_of(target).map(|one| &*one.model))
            .collect();
        assert_eq!(fallbacks[..3], [None, Some("b"), Some("c")]);
    }

    #[test]
    fn circles_and_strangers_end_the_chain() {
        let models = [model("a", "u1", &["b", "nobody"]), model("b", "u2", &["a"])];
        let snapshot = snapshot(&models, json!({}));
        assert_eq!(chain(&snapshot, "a").len(), 2);
        assert_eq!(chain(&snapshot, "b").len(), 3 - 1, "the stranger is no target");
        let told = |of: &str, what: &str| {
            let mut problems = snapshot.problems.iter();
            problems.any(|one| one.resource == of && one.message.contains(what))
        };
        assert!(
            told("model a", "its fallback `nobody` is not served"),
            "{:?}",
            snapshot.problems
        );
        assert!(told("model a", "lead back to it"), "{:?}", snapshot.problems);
        assert!(told("model b", "lead back to it"), "{:?}", snapshot.problems);
    }

    #[test]
    fn each_model_has_its_own_price() {
        let mut dear = model("dear", "u2", &[]);
        dear["price"] = json!({"input": "9.00"});
        let snapshot = snapshot(&[model("a", "u1", &["dear", "plain"]), dear], json!({}));
        let route = snapshot.route("a").unwrap();
        let price = |place: usize| {
            route
                .price_of(&route.targets[place], None)
                .map(|price| price.ordinary.rates.input.to_string())
        };
        assert_eq!(
            [price(0), price(1), price(2)],
            [Some("1.00".to_owned()), Some("9.00".to_owned()), None]
        );
    }

    #[test]
    fn a_name_of_a_group_goes_to_its_upstreams_alone() {
        let groups = json!({"g1": ["gpt-*"], "g2": ["gpt-9", "o?"]});
        let snapshot = snapshot(&[], groups);
        let upstreams = |name: &str| -> Vec<String> {
            let route = snapshot.route(name);
            route
                .iter()
                .flat_map(|route| &route.targets)
                .map(|target| target.upstream.name.clone())
                .collect()
        };
        assert_eq!(
            upstreams("gpt-9"),
            ["u2"],
            "the longest pattern decides, also for a name that u1 lists"
        );
        assert_eq!(
            upstreams("gpt-8"),
            Vec::<String>::new(),
            "u1 names exactly what it serves"
        );
        assert_eq!(upstreams("o3"), ["u2"]);
        assert_eq!(upstreams("plain"), ["u1"]);
        assert_eq!(upstreams("u1/gpt-9"), ["u1"], "who names the upstream gets it");
        assert_eq!(snapshot.route("o3").unwrap().group.as_deref(), Some("g2"));
    }
}
